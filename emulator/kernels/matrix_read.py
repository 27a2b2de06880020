"""READOUT: the accumulator, scaled per row and per column, converted.

Source: the arithmetic contract, section 1 (read-out); isa/spec/matrix.py. Columns are taken a run
at a time, so that their factors are fetched once for all rows.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.copy import copy_tensor
from emulator.kernels.inner import inner
from emulator.kernels.memory import load_f32
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
from emulator.kernels.quantise import multiply_by
from emulator.kernels.rows import deliver_run, fetch_run, next_run
from emulator.kernels.vector import multiply_runs

DST, ACC, ROW, COL = 0, 1, 2, 3
FLAG_NOSAT = 1
BUFFERS = at.IN_AT, at.IN_AT + at.BUFFER, at.IN_AT + 2 * at.BUFFER


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
def _read_run(args, row, column, count, factors, base):
    """One row's run; `factors` is the address of the columns' factors, 0 without them."""
    values = _fetch(args, ACC, row, column, count, base + BUFFERS[0], base)
    out, blocks = base + at.OUT_AT, (count + 15) >> 4
    if not is_absent(args, ROW):
        factor = _fetch(args, ROW, row, 0, 1, base + BUFFERS[2], base)
        multiply_by(out, values, load_f32(factor), blocks)
        values = out
    if factors != 0:
        multiply_runs(out, values, factors, blocks)
        values = out
    fmt, stride = field(args, DST, FORMAT), field(args, DST, COLUMN_STRIDE)
    target = _element(args, DST, row, column)
    saturate = header(args, H_FLAGS) & FLAG_NOSAT == 0
    deliver_run(fmt, saturate, values, target, stride, count, base)


@njit
def k_readout(args):
    """readout: operands dst, acc, row [M, 1], col [1, N]; factors are FP32 or E8M0, optional."""
    base = at.aligned(header(args, H_SCRATCH))
    scaled = not (is_absent(args, ROW) and is_absent(args, COL))
    if not scaled and field(args, DST, FORMAT) == FP32:
        copy_tensor(args, base)
        return STATUS_OK
    rows, columns = field(args, ACC, ROWS), field(args, ACC, COLUMNS)
    start = 0
    while start < columns:
        count = next_run(start, columns)
        factors = 0
        if not is_absent(args, COL):
            factors = _fetch(args, COL, 0, start, count, base + BUFFERS[1], base)
        for row in range(rows):
            _read_run(args, row, start, count, factors, base)
        start += count
    return STATUS_OK
