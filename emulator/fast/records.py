"""Retire records of tensor instructions: docs/architecture.md, section 5."""

from __future__ import annotations

import numpy as np

from emulator import retire
from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.operands import HBM, element_bits
from emulator.fast.words import get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import load_i32
from isa.spec import BY_MNEMONIC

OP_TOPK, OP_QUANTR = BY_MNEMONIC["vtopk"].opcode, BY_MNEMONIC["vquantr"].opcode
OP_EXP2SUM = BY_MNEMONIC["vexp2sum"].opcode
OP_GATHER, OP_SCATTER = BY_MNEMONIC["dmag"].opcode, BY_MNEMONIC["dmas"].opcode
_REDUCTIONS = ("vrsum", "vrmax", "vrmin", "vargmax", "vtopk", "vquant", "vquantr", "vtrans")
REDUCED_MASK = sum(1 << BY_MNEMONIC[name].opcode - 0x40 for name in _REDUCTIONS)
STRIDE_LIMIT = (1 << 20) - 1
RUN_LIMIT = (1 << 31) - 1


@helper
def operand_record(w, operand):
    """Address of an operand's argument record."""
    return w + 8 * (at.W_ARGS + 16 * (operand + 1))


@helper
def operand_info(w, operand):
    """Address of what else is known of an operand."""
    return w + 8 * (at.W_INFO + 16 * operand)


@helper
def _extent(w, operand, axis):
    return get(operand_record(w, operand), at.A_SHAPE + axis)


@helper
def _bytes(w, operand):
    """Bytes of an operand with its scales; 0 if absent."""
    if get(operand_record(w, operand), at.A_RANK) < 0:
        return 0
    return get(operand_info(w, operand), at.I_BYTES)


@helper
def _formats(w, a, b):
    """Formats, scale kinds and the second one's layout."""
    first, second = operand_record(w, a), operand_record(w, b)
    value = get(first, at.A_FORMAT) | get(second, at.A_FORMAT) << 8
    value |= get(first, at.A_SCALE) << 16 | get(second, at.A_SCALE) << 24
    return value | get(second, at.A_LAYOUT) << 32


@njit
def fill(w, record, kind, operands):
    """Words 7..15 of a tensor instruction's record; returns 0."""
    if kind == rules.RECORD_GEMM:
        _gemm(w, record)
    elif kind == rules.RECORD_READOUT:
        _readout(w, record, operands)
    elif kind == rules.RECORD_VECTOR:
        _vector(w, record, operands)
    else:
        _dma(w, record)
    return np.int64(0)


@helper
def _gemm(w, record):
    rows, columns, depth = _extent(w, 0, 2), _extent(w, 0, 3), _extent(w, 1, 3)
    put(record, retire.ROWS, rows)
    put(record, retire.COLUMNS, columns)
    put(record, retire.DEPTH, depth)
    put(record, retire.FORMATS, _formats(w, 1, 2))
    put(record, retire.MACS, columns * _executed(w, rows, depth))
    put(record, retire.BYTES_A, _bytes(w, 1))
    put(record, retire.BYTES_W, _bytes(w, 2))
    put(record, retire.BYTES_ACC, _bytes(w, 0))


@helper
def _executed(w, rows, depth):
    """Values of k that all rows together execute."""
    bounds = operand_record(w, 3)
    if get(bounds, at.A_RANK) < 0:
        return rows * depth
    k0, address, total = get(w, at.W_ARGS + at.A_K0), get(bounds, at.A_ADDRESS), 0
    down, across = 4 * get(bounds, at.A_STRIDES + 2), 4 * get(bounds, at.A_STRIDES + 3)
    for row in range(rows):
        low = max(load_i32(address + row * down) - k0, 0)
        high = min(load_i32(address + row * down + across) - k0, depth)
        total += max(high - low, 0)
    return total


@helper
def _readout(w, record, operands):
    put(record, retire.ROWS, _extent(w, 0, 2))
    put(record, retire.COLUMNS, _extent(w, 0, 3))
    put(record, retire.FORMATS, _formats(w, 1, 0))
    put(record, retire.BYTES_READ, _read(w, operands, 1))
    put(record, retire.BYTES_WRITTEN, _bytes(w, 0))


@helper
def _read(w, operands, first):
    """Bytes of the operands from `first` on."""
    total = 0
    for operand in range(first, operands):
        total += _bytes(w, operand)
    return total


@helper
def _inner_stride(w, operand, operands):
    """Innermost stride of an operand, as far as it fits its 20 bits; 0 if there is none."""
    if operand >= operands or get(operand_record(w, operand), at.A_RANK) < 0:
        return 0
    return min(get(operand_record(w, operand), at.A_STRIDES + 3), STRIDE_LIMIT)


@helper
def _streams(w, first, operands, last):
    """Source tensors that have more than one value along the last axis."""
    streams = 0
    for operand in range(first, operands):
        record = operand_record(w, operand)
        if get(record, at.A_RANK) >= 0 and (last <= 1 or get(record, at.A_STRIDES + 3) != 0):
            streams += 1
    return streams


@helper
def _vector(w, record, operands):
    opcode = get(w, at.W_ARGS + at.A_OPCODE)
    source = operands - 1 if opcode == OP_TOPK or operands == 1 else 1
    written = 1
    third = 2
    if opcode == OP_TOPK:
        put(record, retire.TOPK, _extent(w, 0, 3))
        written, third = 2, 1
    elif opcode in (OP_QUANTR, OP_EXP2SUM):
        source, written, third = 2, 2, 1
    # A reduction is measured by what it reads, everything else by what it writes.
    measured = source if REDUCED_MASK >> (opcode - 0x40) & 1 else 0
    elements, last = get(operand_info(w, measured), at.I_ELEMENTS), _extent(w, measured, 3)
    put(record, retire.ELEMENTS, elements)
    put(record, retire.VECTOR_ROWS, elements // last if last > 0 else 0)
    put(record, retire.LAST_AXIS, last)
    put(record, retire.FORMATS, _formats(w, source, 0))
    strides = _inner_stride(w, 0, operands)
    if operands > 1:
        strides |= _inner_stride(w, source, operands) << 20
    strides |= _inner_stride(w, third, operands) << 40
    put(record, retire.STRIDES, strides | _streams(w, written, operands, last) << retire.STREAMS)
    put(record, retire.BYTES_READ, _read(w, operands, written))
    put(record, retire.BYTES_WRITTEN, _bytes(w, 0) + (_bytes(w, 1) if written == 2 else 0))


@helper
def _runs(w, operand, first_axis):
    """Contiguous bytes of an operand within its axes from first_axis on, and the step between."""
    record = operand_record(w, operand)
    bits = element_bits(get(record, at.A_FORMAT))
    run, axis = 1, 3
    while axis >= first_axis:
        extent = get(record, at.A_SHAPE + axis)
        if extent != 1:
            if get(record, at.A_STRIDES + axis) != run:
                break
            run *= extent
        axis -= 1
    # The step is that of the innermost axis left, be it that of an index list's rows.
    while axis >= first_axis and get(record, at.A_SHAPE + axis) == 1:
        axis -= 1
    step = get(record, at.A_STRIDES + axis) if axis >= 0 else 0
    return (run * bits + 7) >> 3, step * bits >> 3


@helper
def _dma(w, record):
    opcode = get(w, at.W_ARGS + at.A_OPCODE)
    dst, src = operand_info(w, 0), operand_info(w, 1)
    fan = get(dst, at.I_FAN)
    spaces = get(src, at.I_SPACE) | get(dst, at.I_SPACE) << 8 | fan << 16
    put(record, retire.SPACES, spaces)
    put(record, retire.SRC_OWNER, get(src, at.I_OWNER))
    put(record, retire.DST_OWNER, get(dst, at.I_OWNER))
    put(record, retire.FANSTEP, get(dst, at.I_FANSTEP))
    put(record, retire.SRC_ADDRESS, get(src, at.I_ADDRESS))
    put(record, retire.DST_ADDRESS, get(dst, at.I_ADDRESS))
    # With a list of rows, the listed side is cut at every row.
    rank = get(operand_record(w, 0), at.A_RANK)
    src_axis = 5 - rank if opcode == OP_GATHER else 0
    dst_axis = 5 - rank if opcode == OP_SCATTER else 0
    src_run, src_step = _runs(w, 1, src_axis)
    dst_run, dst_step = _runs(w, 0, dst_axis)
    moved = get(src, at.I_BYTES) if opcode == OP_SCATTER else get(dst, at.I_BYTES)
    if moved == 0:
        src_run = dst_run = src_step = dst_step = 0
    put(record, retire.BYTES, moved)
    put(record, retire.RUNS, min(src_run, RUN_LIMIT) | min(dst_run, RUN_LIMIT) << 32)
    if get(src, at.I_SPACE) == HBM or get(dst, at.I_SPACE) != HBM:
        put(record, retire.STRIDE, src_step)
    else:
        put(record, retire.STRIDE, dst_step)
