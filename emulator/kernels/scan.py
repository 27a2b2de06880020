"""The vector unit's prefix sums, along rows.

Source: the arithmetic contract, section 2; isa/spec/vector.py. A sum starts at -0: x + -0 is x,
even for -0.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.lanes import WIDTH
from emulator.kernels.memory import f32_of_bits, load_f32, store_f32, store_u32
from emulator.kernels.operand import COLUMN_STRIDE, H_SCRATCH, STATUS_OK, field, header
from emulator.kernels.rows import (
    evenly_spaced_rows,
    make_nest,
    nest_rows,
    row_address,
    row_length,
)
from emulator.kernels.squares import scan_square

NAN, NEGATIVE_ZERO = 0x7FC00000, 0x80000000


@njit
def k_scan(args):
    """vscan: prefix sums along the last axis, one after the other; operands dst, a (FP32)."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 2, base, False)
    together = field(args, 0, COLUMN_STRIDE) == 1 and field(args, 1, COLUMN_STRIDE) == 1
    rows, side_by_side, row = nest_rows(base), evenly_spaced_rows(base), 0
    while row < rows:
        if together and row % side_by_side + WIDTH <= side_by_side:
            _scan_rows(args, row, base)
            row += WIDTH
        else:
            target, source = row_address(base, 0, row), row_address(base, 1, row)
            _scan_row(args, target, source, f32_of_bits(NEGATIVE_ZERO), 0, row_length(base))
            row += 1
    return STATUS_OK


@inner
def _scan_row(args, target, source, total, first, last):
    """Columns [first, last) of one row."""
    step, source_step = 4 * field(args, 0, COLUMN_STRIDE), 4 * field(args, 1, COLUMN_STRIDE)
    for j in range(first, last):
        total = total + load_f32(source + j * source_step)
        if total != total:
            total = f32_of_bits(NAN)
        store_f32(target + j * step, total)


@inner
def _scan_rows(args, row, base):
    """Sixteen rows whose columns lie together: squares, then the rest row by row."""
    target, source = row_address(base, 0, row), row_address(base, 1, row)
    to_stride = row_address(base, 0, row + 1) - target
    stride = row_address(base, 1, row + 1) - source
    totals, length = base + at.LANES_AT, row_length(base)
    for lane in range(WIDTH):
        store_u32(totals + 4 * lane, NEGATIVE_ZERO)
    whole = length & -WIDTH
    for j in range(0, whole, WIDTH):
        scan_square(source + 4 * j, stride, target + 4 * j, to_stride, totals)
    for lane in range(WIDTH):
        to, fro = target + lane * to_stride, source + lane * stride
        _scan_row(args, to, fro, load_f32(totals + 4 * lane), whole, length)
