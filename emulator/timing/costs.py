"""Closed forms: what one instruction costs by itself. docs/timing.md derives each of them."""

import math

from emulator.retire import GAP
from emulator.timing import layout as at
from emulator.timing.compiled import helper

LANES_PER_ROW = 32  #: a row is reduced in 32 lanes: the arithmetic contract, section 2
REDUCE_LEVELS = 5  #: then in log2(32) steps


@helper
def ceil_div(a, b):
    """a / b, rounded up."""
    return (a + b - 1) // b


@helper
def gap_cycles(p, record):
    """Cycles of the scalar instructions before a record."""
    gap = record[GAP]
    return (gap & 0xFFFFFFFF) * p[at.P_SCALAR] + (gap >> 32) * p[at.P_BRANCH]


@helper
def over(p, x, key):
    """x // p[key] of x >= 0. Most constants are powers of two, and dividing takes ten times as long
    as shifting.
    """
    shift = p[at.P_SHIFTS + key]
    return x >> shift if shift >= 0 else x // p[key]


@helper
def up(p, x, key):
    """x / p[key], rounded up."""
    return over(p, x + p[key] - 1, key)


@helper
def rest(p, x, key):
    """x % p[key] of x >= 0."""
    return x & (p[key] - 1) if p[at.P_SHIFTS + key] >= 0 else x % p[key]


@helper
def element_bits(format_code):
    """Bits of an element: FP32, BF16, FP16, E4M3FN, E5M2, E2M1, E8M0, I32, U8."""
    if format_code == 5:
        return 4
    if format_code == 0 or format_code == 7:
        return 32
    return 16 if format_code <= 2 else 8


@helper
def _width(bits):
    """Index of an element width in the table of array rates."""
    return 0 if bits == 16 else 1 if bits == 8 else 2


@helper
def width_pair(formats):
    """Number of a pair of element widths: 3 times that of a, and that of w."""
    a, w = element_bits(formats & 0xFF), element_bits(formats >> 8 & 0xFF)
    return 3 * _width(a) + _width(w)


@helper
def array_rate(f, formats):
    """Rate of the array for a pair of formats, relative to FP8 x FP8."""
    return f[at.F_RATES + width_pair(formats)]


@helper
def gemm_cost(p, f, m, n, k, formats, split):
    """(steps, stream, load, drain, columns, depths) of a GEMM on an array in `split` parts.

    It is `steps` folds one after the other, each with these cycles. Its weights are `columns`
    blocks of the array's columns (for each of which a is read again) by `depths` blocks of K.
    """
    rate = array_rate(f, formats)
    rows = p[at.P_MXU_ROWS] // split
    depth = int(rows * rate) if rate > 1.0 else rows  # narrow pairs are packed along K
    blocks = ceil_div(n, p[at.P_MXU_COLUMNS])
    depths = ceil_div(k, depth)
    folds = depths * blocks
    steps, groups = ceil_div(folds, split), 1
    if 0 < folds < split:  # spare sub-arrays take other rows of a
        groups = split // folds
    stream = ceil_div(m, groups)
    if rate < 1.0:
        stream = math.ceil(stream / rate)
    bits = element_bits(formats >> 8 & 0xFF)
    load = ceil_div(depth * bits, 8 * p[at.P_LOAD_ROWS])
    drain = p[at.P_PE] * (rows - 1) + p[at.P_MXU_COLUMNS] - 1
    return steps, max(stream, p[at.P_MIN_INTERVAL]), load, drain, blocks, depths


@helper
def _words_and_banks(p, elements, stride, bits):
    """Bank words that `elements` with a stride touch, and the banks these lie in."""
    step = stride * bits
    word = 8 * p[at.P_BANK_BYTES]
    if step == 0:
        return 1, p[at.P_BANKS]  # one word for all: it takes one access
    if step <= word:
        return ceil_div(elements * step, word), p[at.P_BANKS]
    banks, a = p[at.P_BANKS], step // word
    b = banks
    while a > 0:
        a, b = b % a, a
    return elements, banks // b


@helper
def _stream_banks(p, elements, stride, bits):
    """(cycles of the busiest bank, accesses) of one operand, for one group of elements."""
    words, banks = _words_and_banks(p, elements, stride, bits)
    return words / banks, words


@helper
def vector_cost(p, f, record, vector_class):
    """(cycles, conflict cycles, bank accesses) of a vector instruction, beside its start."""
    elements, rows, last = record[7], record[8], record[9]
    if elements == 0:
        return 0, 0, 0
    lanes = p[at.P_LANES]
    passes = f[at.F_PASSES + vector_class]
    if vector_class == at.V_SCAN:
        groups = ceil_div(rows, lanes) * last
        cycles = math.ceil(groups * passes)
    elif vector_class == at.V_REDUCE or vector_class == at.V_REDUCE_SLOW:
        groups = ceil_div(elements, min(lanes, LANES_PER_ROW * rows))
        cycles = math.ceil(groups * passes + REDUCE_LEVELS * f[at.F_PASSES + at.V_REDUCE])
    else:
        groups = ceil_div(elements, lanes)
        if vector_class == at.V_TOPK:
            groups *= record[11]
        cycles = math.ceil(groups * passes)
    busiest, words = _group_banks(p, record, vector_class, ceil_div(elements, max(groups, 1)))
    accesses = math.ceil(words * groups)
    accesses = max(accesses, ceil_div(record[13] + record[14], p[at.P_BANK_BYTES]))
    conflict = max(0, math.ceil(busiest * groups) - cycles)
    return cycles, conflict, accesses


@helper
def _group_banks(p, record, vector_class, elements):
    """(cycles of the busiest bank, accesses) for one group of elements, over all operands."""
    formats, strides = record[10], record[12]
    src_bits, dst_bits = element_bits(formats & 0xFF), element_bits(formats >> 8 & 0xFF)
    single = record[9] == 1  # no innermost axis: neighbours are what they are in memory
    src = 1 if single else strides >> 20 & 0xFFFFF
    busiest, words = _stream_banks(p, elements, src, src_bits)
    if vector_class in (at.V_REDUCE, at.V_TOPK, at.V_SCAN):
        return busiest, words
    dst = 1 if single else strides & 0xFFFFF
    cycles, count = _stream_banks(p, elements, dst, dst_bits)
    busiest, words = busiest + cycles, words + count
    more = 1 if vector_class == at.V_VECTOR2 else 3 if vector_class == at.V_VECTOR4 else 0
    third = 1 if single else strides >> 40 & 0xFFFFF
    cycles, count = _stream_banks(p, elements, third, src_bits)
    return busiest + more * cycles, words + more * count


@helper
def bank_accesses(p, size, run):
    """Bank accesses of `size` bytes in runs of `run` contiguous bytes."""
    if run <= 0 or run >= size:
        return up(p, size, at.P_BANK_BYTES)
    return ceil_div(size, run) * up(p, run, at.P_BANK_BYTES)
