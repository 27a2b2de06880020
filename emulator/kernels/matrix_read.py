"""READOUT: the accumulator, scaled per row and per column, converted.

Source: the arithmetic contract, section 1 (read-out); isa/spec/matrix.py. Rows are read along
their whole length, which memory likes best, unless more factors of columns belong to one than can
be held.
"""

from __future__ import annotations

import numpy as np

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.copy import copy_tensor
from emulator.kernels.inner import inner
from emulator.kernels.matrix_read_loops import read_run
from emulator.kernels.memory import copy_bytes, load_f32, store_u32
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    FP32,
    H_FLAGS,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    STATUS_OK,
    field,
    format_bits,
    header,
    is_absent,
)
from emulator.kernels.rows import fetch_run, next_run, scatter_codes

DST, ACC, ROW, COL = 0, 1, 2, 3
FLAG_NOSAT = 1
ONE = 0x3F800000
SPAN = 8192  # columns whose factors are held at once, as fp32
ROW_AT, FACTORS_AT = at.IN_AT + at.BUFFER, at.CODES_AT + at.BUFFER


@inner
def _element(args, operand, row, column):
    """Address of an element of a matrix of whole bytes."""
    index = row * field(args, operand, ROW_STRIDE) + column * field(args, operand, COLUMN_STRIDE)
    return field(args, operand, ADDRESS) + index * format_bits(field(args, operand, FORMAT)) // 8


@inner
def _fetch(args, operand, row, column, count, buffer, base):
    source = _element(args, operand, row, column)
    fmt, stride = field(args, operand, FORMAT), field(args, operand, COLUMN_STRIDE)
    return fetch_run(fmt, source, stride, count, buffer, base)


@inner
def _ones(buffer):
    for lane in range(16):
        store_u32(buffer + 4 * lane, ONE)
    return buffer


@inner
def _column_factors(args, start, count, base):
    """Columns' factors (ones if there are none), and the step from sixteen to the next."""
    buffer = base + FACTORS_AT
    if is_absent(args, COL):
        return _ones(buffer), 0
    together = field(args, COL, COLUMN_STRIDE) == 1 and count % 16 == 0
    if together and field(args, COL, FORMAT) == FP32:
        return _element(args, COL, 0, start), 64
    first = 0
    while first < count:
        part = next_run(first, count)
        to = buffer + 4 * first
        values = _fetch(args, COL, 0, start + first, part, to, base)
        if values != to:
            copy_bytes(to, values, 4 * part)
        first += part
    return buffer, 64


@inner
def _row_factor(args, row, base):
    if is_absent(args, ROW):
        return np.float32(1)
    return load_f32(_fetch(args, ROW, row, 0, 1, base + ROW_AT, base))


@inner
def _read_row(args, row, start, count, factors, step, base):
    """Columns of one row."""
    fmt, stride = field(args, DST, FORMAT), field(args, DST, COLUMN_STRIDE)
    saturate = header(args, H_FLAGS) & FLAG_NOSAT == 0
    factor = _row_factor(args, row, base)
    if stride == 1 and field(args, ACC, COLUMN_STRIDE) == 1:
        source, target = _element(args, ACC, row, start), _element(args, DST, row, start)
        read_run(fmt, saturate, source, factor, factors, step, target, count)
        return
    first = 0
    while first < count:
        part = next_run(first, count)
        values = _fetch(args, ACC, row, start + first, part, base + at.IN_AT, base)
        out, target = base + at.OUT_AT, _element(args, DST, row, start + first)
        at_factor = factors + step * (first >> 4)
        read_run(fmt, saturate, values, factor, at_factor, step, out, part)
        scatter_codes(format_bits(fmt) // 8, out, target, stride * (format_bits(fmt) // 8), part)
        first += part


@njit
def k_readout(args):
    """readout: operands dst, acc, row [M, 1], col [1, N]; factors are FP32 or E8M0, optional."""
    base = at.aligned(header(args, H_SCRATCH))
    scaled = not (is_absent(args, ROW) and is_absent(args, COL))
    if not scaled and field(args, DST, FORMAT) == FP32:
        copy_tensor(args, base)
        return STATUS_OK
    rows, columns = field(args, ACC, ROWS), field(args, ACC, COLUMNS)
    for start in range(0, columns, SPAN):
        count = min(SPAN, columns - start)
        factors, step = _column_factors(args, start, count, base)
        for row in range(rows):
            _read_row(args, row, start, count, factors, step, base)
    return STATUS_OK
