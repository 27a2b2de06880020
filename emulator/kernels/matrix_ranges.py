"""Ranges of k: what each row of a matrix product takes, and how tiles of rows share it.

Bounds give every row a range of its own. A tile of rows runs together over the k its rows have in
common; what lies before and after (at most the rows' differences and cut blocks) runs row by row,
in ascending order for each row. All of it lies in scratch, one line for each row.
"""

from __future__ import annotations

from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.matrix_micro import TILE_ROWS
from emulator.kernels.memory import load_i32, load_i64, store_i64
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    H_K0,
    ROW_STRIDE,
    field,
    header,
    is_absent,
)

BOUNDS = 3  # the operand

# words of a row's range in scratch
BEGIN, END, HEAD, FIRST, LAST, TAIL = 0, 8, 16, 24, 32, 40


@inner
def row_ranges(args, row0, rows, depth, base):
    """Every row's [begin, end) clipped to [0, K); returns the whole block's begin and end."""
    k0 = header(args, H_K0)
    bounded = not is_absent(args, BOUNDS)
    least, largest = depth, 0
    for m in range(rows):
        begin, end = 0, depth
        if bounded:
            source = field(args, BOUNDS, ADDRESS)
            source += 4 * (row0 + m) * field(args, BOUNDS, ROW_STRIDE)
            begin = max(0, load_i32(source) - k0)
            second = source + 4 * field(args, BOUNDS, COLUMN_STRIDE)
            end = min(depth, load_i32(second) - k0)
            if begin >= end:
                begin, end = 0, 0
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        store_i64(ranges + BEGIN, begin)
        store_i64(ranges + END, end)
        if begin < end:
            least, largest = min(least, begin), max(largest, end)
    return least, largest


@inner
def chunk_ranges(rows, start, stop, block, base):
    """Cut the rows' ranges to a chunk: [HEAD, FIRST) alone, [FIRST, LAST) by tile, [LAST, TAIL)."""
    tiled = rows - rows % TILE_ROWS
    for top in range(0, tiled, TILE_ROWS):
        _tile_ranges(top, start, stop, block, base)
    for m in range(tiled, rows):
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        end = min(load_i64(ranges + END), stop)
        store_i64(ranges + HEAD, max(load_i64(ranges + BEGIN), start))
        store_i64(ranges + FIRST, end)
        store_i64(ranges + LAST, end)
        store_i64(ranges + TAIL, end)


@inner
def _tile_ranges(top, start, stop, block, base):
    """Common range of a tile: whole blocks, or the rows' own begin or end where they agree."""
    low, low_max, high, high_min = stop, start, start, stop
    for m in range(top, top + TILE_ROWS):
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        begin = max(load_i64(ranges + BEGIN), start)
        end = min(load_i64(ranges + END), stop)
        low, low_max = min(low, begin), max(low_max, begin)
        high, high_min = max(high, end), min(high_min, end)
    first = low if low == low_max else (low_max + block - 1) // block * block
    last = high if high == high_min else high_min // block * block
    for m in range(top, top + TILE_ROWS):
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        begin = max(load_i64(ranges + BEGIN), start)
        end = min(load_i64(ranges + END), stop)
        store_i64(ranges + HEAD, begin)
        store_i64(ranges + FIRST, first if first < last else end)
        store_i64(ranges + LAST, last if first < last else end)
        store_i64(ranges + TAIL, end)


@inner
def segment(k, last, block):
    """The next blocks of equal length from k: their number and length."""
    if k % block != 0 or last - k < block:
        return 1, min(block - k % block, last - k)
    return (last - k) // block, block
