"""Squares of sixteen rows of sixteen 32-bit elements: transposed, or scanned row by row.

Rows are chains that do not touch each other, so a prefix sum along them runs sixteen side by side
once columns are vectors.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import canonical
from emulator.kernels.lanes import F32, I32, WIDTH, Lanes, Vec


def transposed(lanes: Lanes, rows: list[Vec]) -> list[Vec]:
    """Sixteen columns of sixteen rows."""
    for distance in (8, 4, 2, 1):
        rows = _exchange(lanes, rows, distance)
    return rows


def _exchange(lanes: Lanes, rows: list[Vec], distance: int) -> list[Vec]:
    """One step of a transposition: swap the off-diagonal blocks of size `distance`."""
    low = [i if not i & distance else WIDTH + i - distance for i in range(WIDTH)]
    high = [i + distance if not i & distance else WIDTH + i for i in range(WIDTH)]
    out = list(rows)
    for i in range(WIDTH):
        if not i & distance:
            out[i] = lanes.shuffle(rows[i], rows[i + distance], low)
            out[i + distance] = lanes.shuffle(rows[i], rows[i + distance], high)
    return out


@intrinsic
def transpose_square(typingctx: Any, source: Any, stride: Any, target: Any, to_stride: Any) -> Any:
    """Sixteen rows, `stride` bytes apart, to sixteen columns, `to_stride` bytes apart."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = Lanes(builder)
        source, stride, target, to_stride = (lanes.vec(arg) for arg in args)
        rows = [lanes.load(source + stride * i, I32) for i in range(WIDTH)]
        for i, column in enumerate(transposed(lanes, rows)):
            lanes.store(column, target + to_stride * i)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def scan_square(
    typingctx: Any, source: Any, stride: Any, target: Any, to_stride: Any, totals: Any
) -> Any:
    """Prefix sums of sixteen rows, going on from the sixteen fp32 at `totals`, kept up to date."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = Lanes(builder)
        source, stride, target, to_stride, totals = (lanes.vec(arg) for arg in args)
        rows = [lanes.load(source + stride * i, F32) for i in range(WIDTH)]
        total, sums = lanes.load(totals, F32), []
        for column in transposed(lanes, rows):
            total = canonical(lanes, total + column)
            sums.append(total)
        lanes.store(total, totals)
        for i, row in enumerate(transposed(lanes, sums)):
            lanes.store(row, target + to_stride * i)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen
