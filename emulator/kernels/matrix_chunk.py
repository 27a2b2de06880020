"""One chunk of k for a group of columns: which micro-kernels run over which rows and panels.

A and W lie in scratch, or W is read from the panels' words where they are: by tiles of rows and by
single rows in fp32 (matrix_micro.py), by rows from packed words (matrix_stream.py), by integer dot
products of nibbles (matrix_nibbles.py), and of digits (matrix_digits.py).
"""

from __future__ import annotations

from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.matrix_digits import (
    PAIR_PANELS,
    PAIR_ROWS,
    SINGLE_PANELS,
    digit_blocks,
    digit_narrow_blocks,
    digit_pair_blocks,
    is_exact,
)
from emulator.kernels.matrix_micro import (
    ROW_PANELS,
    TILE_PANELS,
    TILE_ROWS,
    row_blocks,
    tile_blocks,
)
from emulator.kernels.matrix_nibbles import (
    DOT_PANELS,
    DOT_ROWS,
    dot_row_blocks,
    dot_stream_blocks,
    dot_tile_blocks,
)
from emulator.kernels.matrix_ranges import FIRST, HEAD, LAST, TAIL, segment
from emulator.kernels.matrix_stream import STREAM_PANELS, stream_blocks, stream_narrow_blocks
from emulator.kernels.memory import load_i64
from emulator.kernels.operand import ADDRESS, E2M1, FORMAT, ROW_STRIDE, field, format_bits

W = 2  # the operand

# ---- decoded in scratch


@inner
def run_chunk(c, c_stride, rows, slot, columns, start, block, wide, base):
    """The arithmetic of one chunk and column group: heads, tiles, tails."""
    tiled = rows - rows % TILE_ROWS
    for m in range(rows):
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        head, first = load_i64(ranges + HEAD), load_i64(ranges + FIRST)
        _run_row(c, c_stride, m, slot, columns, start, head, first, block, wide, base)
    panel_step = TILE_PANELS
    for panel in range(0, (columns + 15) // 16, panel_step):
        for m in range(0, tiled, TILE_ROWS):
            ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
            first, last = load_i64(ranges + FIRST), load_i64(ranges + LAST)
            _run_tile(c, c_stride, m, slot, panel, start, first, last, block, wide, base)
    for m in range(tiled):
        ranges = base + at.RANGES_AT + m * at.RANGES_STRIDE
        last, tail = load_i64(ranges + LAST), load_i64(ranges + TAIL)
        _run_row(c, c_stride, m, slot, columns, start, last, tail, block, wide, base)


@inner
def _run_row(c, c_stride, row, slot, columns, start, first, last, block, wide, base):
    """One row over k in [first, last)."""
    k = first
    while k < last:
        blocks, length = segment(k, last, block)
        number = k // block - start // block
        a = base + at.A_AT + (slot + row) * at.A_STRIDE + (k - start) * 4
        sa = base + at.SA_AT + (slot + row) * at.SA_STRIDE + number * 4
        for panel in range(0, (columns + 15) // 16, ROW_PANELS):
            row_blocks(
                c + row * c_stride + panel * 64,
                c_stride,
                a,
                base + at.W_AT + panel * at.W_STRIDE + (k - start) * 64,
                sa,
                base + at.SW_AT + panel * at.SW_STRIDE + number * 64,
                blocks,
                length,
                wide,
            )
        k += blocks * length


@inner
def _run_tile(c, c_stride, row, slot, panel, start, first, last, block, wide, base):
    """A tile of rows over k in [first, last)."""
    k = first
    while k < last:
        blocks, length = segment(k, last, block)
        number = k // block - start // block
        tile_blocks(
            c + row * c_stride + panel * 64,
            c_stride,
            base + at.A_AT + (slot + row) * at.A_STRIDE + (k - start) * 4,
            base + at.W_AT + panel * at.W_STRIDE + (k - start) * 64,
            base + at.SA_AT + (slot + row) * at.SA_STRIDE + number * 4,
            base + at.SW_AT + panel * at.SW_STRIDE + number * 64,
            blocks,
            length,
            wide,
        )
        k += blocks * length


@inner
def dot_chunk(c, c_stride, rows, slot, columns, blocks, block, wide, base):
    """The arithmetic of one chunk and column group, by dot products of bytes."""
    words, panels = block // 8, (columns + 15) // 16
    tiled = rows - rows % DOT_ROWS
    a, sa = base + at.A_AT + slot * at.A_STRIDE, base + at.SA_AT + slot * at.SA_STRIDE
    w, sw = base + at.W_AT, base + at.SW_AT
    for panel in range(0, panels, DOT_PANELS):
        at_w, at_sw = w + panel * at.W_STRIDE, sw + panel * at.SW_STRIDE
        for m in range(0, tiled, DOT_ROWS):
            to, at_a = c + m * c_stride + 64 * panel, a + m * at.A_STRIDE
            at_sa = sa + m * at.SA_STRIDE
            dot_tile_blocks(to, c_stride, at_a, at_w, at_sa, at_sw, blocks, words, wide)
    for m in range(tiled, rows):
        at_a, at_sa = a + m * at.A_STRIDE, sa + m * at.SA_STRIDE
        dot_row_blocks(c + m * c_stride, at_a, w, at_sa, sw, blocks, words, wide)


# ---- from the packed words


@inner
def stream_chunk(
    args, c, c_stride, rows, slot, columns, n0, start, blocks, block, wide, dots, digits, base
):
    """Whole blocks of a chunk and column group, from the packed words, row by row.

    With digits there may be any number of columns, else a whole group.
    """
    fmt = field(args, W, FORMAT)
    bits = format_bits(fmt)
    panel_bytes = field(args, W, ROW_STRIDE) * bits // 8
    w = field(args, W, ADDRESS) + n0 // 16 * panel_bytes + start * bits * 2
    words = block * bits // 32
    if digits:
        panels = (columns + 15) // 16
        _digit_chunk(c, c_stride, rows, slot, w, panel_bytes, panels, blocks, words, wide, base)
        return
    for row in range(rows):
        a = base + at.A_AT + (slot + row) * at.A_STRIDE
        sa = base + at.SA_AT + (slot + row) * at.SA_STRIDE
        for panel in range(0, at.GROUP, STREAM_PANELS):
            to = c + row * c_stride + panel * 64
            first = w + panel * panel_bytes
            sw = base + at.SW_AT + panel * at.SW_STRIDE
            if dots:
                dot_stream_blocks(to, a, first, panel_bytes, sa, sw, blocks, words, wide)
            else:
                stream_blocks(fmt, to, a, first, panel_bytes, sa, sw, blocks, words, wide)


@inner
def _digit_chunk(c, c_stride, rows, slot, w, panel_bytes, panels, blocks, words, wide, base):
    """The same for FP8 by FP4: pairs of rows without inexact blocks together, others alone."""
    row, paired = 0, panels - panels % PAIR_PANELS
    while row < rows:
        to, alone, count = c + row * c_stride, 0, 1
        if row + PAIR_ROWS <= rows and all_exact(slot + row, PAIR_ROWS, blocks, base):
            _digit_pair(to, c_stride, slot + row, w, panel_bytes, paired, blocks, words, wide, base)
            alone, count = paired, PAIR_ROWS
        if alone < panels:
            for m in range(count):
                to = c + (row + m) * c_stride
                _digit_row(
                    to, slot + row + m, w, panel_bytes, alone, panels, blocks, words, wide, base
                )
        row += count


@inner
def all_exact(slot, rows, blocks, base):
    """Whether no sum of so many blocks of rows of digits can round."""
    for row in range(slot, slot + rows):
        for b in range(blocks):
            if not is_exact(base + at.DIGITS_AT + row * at.D_STRIDE, b):
                return False
    return True


@inner
def _digit_pair(c, c_stride, slot, w, panel_bytes, panels, blocks, words, wide, base):
    digits = base + at.DIGITS_AT + slot * at.D_STRIDE
    sa = base + at.SA_AT + slot * at.SA_STRIDE
    for panel in range(0, panels, PAIR_PANELS):
        to, at_w = c + panel * 64, w + panel * panel_bytes
        sw = base + at.SW_AT + panel * at.SW_STRIDE
        digit_pair_blocks(to, c_stride, digits, at_w, panel_bytes, sa, sw, blocks, words, wide)


@inner
def _digit_row(c, slot, w, panel_bytes, alone, panels, blocks, words, wide, base):
    """Runs of exact blocks by digits, of others by fused multiply-adds; panels [alone, panels)."""
    a = base + at.A_AT + slot * at.A_STRIDE
    digits = base + at.DIGITS_AT + slot * at.D_STRIDE
    sa = base + at.SA_AT + slot * at.SA_STRIDE
    ahead = at.AHEAD_OF_GROUP if panels >= SINGLE_PANELS else at.AHEAD_OF_FEW
    first = 0
    while first < blocks:
        exact, last = is_exact(digits, first), first + 1
        while last < blocks and is_exact(digits, last) == exact:
            last += 1
        panel = alone
        while panel < panels:
            at_w, at_sw = w + panel * panel_bytes, base + at.SW_AT + panel * at.SW_STRIDE
            to = c + panel * 64
            if exact:
                panel += _digit_part(
                    to,
                    digits,
                    at_w,
                    panel_bytes,
                    panels - panel,
                    sa,
                    at_sw,
                    first,
                    last,
                    words,
                    wide,
                    ahead,
                )
            else:
                panel += _stream_part(
                    to, a, at_w, panel_bytes, panels - panel, sa, at_sw, first, last, words, wide
                )
        first = last


@inner
def _digit_part(c, digits, w, panel_bytes, panels, sa, sw, first, last, words, wide, ahead):
    """Blocks [first, last) of a chunk, exact ones, for some of the panels; how many."""
    count = last - first
    if panels >= SINGLE_PANELS:
        digit_blocks(c, digits, w, panel_bytes, sa, sw, first, count, words, wide, ahead)
        return SINGLE_PANELS
    fewer = min(panels, 2)
    digit_narrow_blocks(fewer, c, digits, w, panel_bytes, sa, sw, first, count, words, wide, ahead)
    return fewer


@inner
def _stream_part(c, a, w, panel_bytes, panels, sa, sw, first, last, words, wide):
    """The same for blocks of E2M1 that are not exact."""
    count = last - first
    a, sa = a + first * words * 32, sa + first * 4
    w, sw = w + first * words * 64, sw + first * 64
    if panels >= STREAM_PANELS:
        stream_blocks(E2M1, c, a, w, panel_bytes, sa, sw, count, words, wide)
        return STREAM_PANELS
    stream_narrow_blocks(c, a, w, panel_bytes, sa, sw, count, words, wide)
    return 1
