"""GEMM: the matrix engine's one rule over whole operands.

Source: the arithmetic contract, section 1; instruction `gemm` of isa/spec/matrix.py. Rows are taken
`scratch.ROWS` at a time. For them, chunks of A are decoded once, then for every group of columns
chunks of W, and the micro-kernels of matrix_micro.py do the arithmetic. Chunks begin at multiples
of 64 or 128, so blocks are never cut, and the accumulator in memory carries the chain from chunk to
chunk.

Bounds: a tile of rows runs together over the k its rows have in common; what lies before and after
(at most the rows' differences and cut blocks) runs row by row, in ascending order for each row.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.matrix_digits import (
    PAIR_PANELS,
    PAIR_ROWS,
    SINGLE_PANELS,
    can_use_digits,
    digit_blocks,
    digit_pair_blocks,
    is_exact,
    pack_a_digits,
)
from emulator.kernels.matrix_dots import (
    DOT_PANELS,
    DOT_ROWS,
    HAS_DOTS,
    dot_row_blocks,
    dot_stream_blocks,
    dot_tile_blocks,
    pack_a_dots,
    quarter_scales,
)
from emulator.kernels.matrix_micro import (
    ROW_PANELS,
    TILE_PANELS,
    TILE_ROWS,
    row_blocks,
    tile_blocks,
)
from emulator.kernels.matrix_pack import (
    NO_SCALES,
    clear_w_scales,
    pack_a,
    pack_a_scales,
    pack_w,
    pack_w_scales,
    product_may_round,
    widen_range,
)
from emulator.kernels.matrix_stream import STREAM_PANELS, can_stream, stream_blocks
from emulator.kernels.memory import (
    copy_bytes,
    fill_bytes,
    load_i32,
    load_i64,
    load_u32,
    store_i64,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    E2M1,
    FORMAT,
    H_FLAGS,
    H_K0,
    H_SCRATCH,
    LAYOUT,
    PANEL,
    ROW_STRIDE,
    ROWS,
    SCALE_KIND,
    SCALE_NONE,
    SCALE_NV16,
    STATUS_OK,
    field,
    format_bits,
    header,
    is_absent,
)

ACC, A, W, BOUNDS = 0, 1, 2, 3  # operands
FLAG_ACCUMULATE = 1
STREAM_ROWS = 2  # up to here, decoding W again for each row beats writing it to scratch
DIGIT_ROWS = 8  # the same where rows come in pairs
FEW_ROWS = 8  # below this, chunks are short enough for a whole group to stay in the nearest cache

# words of a row's range in scratch
BEGIN, END, HEAD, FIRST, LAST, TAIL = 0, 8, 16, 24, 32, 40


@njit
def k_gemm(args):
    """acc[M, N] (+)= a[M, K] * w[N, K]^T; operands acc, a, w, bounds; returns status bits."""
    base = at.aligned(header(args, H_SCRATCH))
    rows = field(args, ACC, ROWS)
    columns = field(args, ACC, COLUMNS)
    if header(args, H_FLAGS) & FLAG_ACCUMULATE == 0:
        _clear(args, rows, columns)
    if columns > 0:
        if field(args, W, SCALE_KIND) == SCALE_NONE:
            clear_w_scales(base)
        for row0 in range(0, rows, at.ROWS):
            _row_block(args, row0, min(at.ROWS, rows - row0), columns, base)
    return STATUS_OK


@inner
def _clear(args, rows, columns):
    """+0 in every element of the accumulator."""
    c = field(args, ACC, ADDRESS)
    row_stride = field(args, ACC, ROW_STRIDE) * 4
    stride = field(args, ACC, COLUMN_STRIDE) * 4
    for m in range(rows):
        if stride == 4:
            fill_bytes(c + m * row_stride, 0, columns * 4)
        else:
            for n in range(columns):
                store_u32(c + m * row_stride + n * stride, 0)


# ---- ranges of k


@inner
def _row_ranges(args, row0, rows, depth, base):
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
def _chunk_ranges(rows, start, stop, block, base):
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


# ---- one block of rows


@inner
def _row_block(args, row0, rows, columns, base):
    depth = field(args, A, COLUMNS)
    nv16 = field(args, A, SCALE_KIND) == SCALE_NV16 or field(args, W, SCALE_KIND) == SCALE_NV16
    block = 16 if nv16 else 32
    begin, end = _row_ranges(args, row0, rows, depth, base)
    dots = _may_dot(args)
    digits = can_use_digits(field(args, A, FORMAT), field(args, W, FORMAT))
    most = DIGIT_ROWS if digits else STREAM_ROWS
    streams = rows <= most and _may_stream(args, begin, end, depth)
    digits = digits and streams
    chunk = at.DEPTH if rows >= FEW_ROWS or streams or dots else at.DEPTH // 2
    held = max(1, at.ROWS // rows) * chunk  # k of A that fits in scratch
    for k0 in range(begin // chunk * chunk, end, held):
        k1 = min(k0 + held, depth, (end + block - 1) // block * block)
        for number in range((k1 - k0 + chunk - 1) // chunk):
            start = k0 + number * chunk
            stop = min(start + chunk, k1)
            _pack_rows(args, row0, rows, number, start, stop, block, dots, digits, base)
        for n0 in range(0, columns, at.COLUMNS):
            count = min(at.COLUMNS, columns - n0)
            stream = streams and count == at.COLUMNS
            _column_group(
                args, row0, rows, n0, count, k0, k1, chunk, block, stream, dots, digits, base
            )


@inner
def _may_dot(args):
    """Whether integers will do: E2M1 on both sides, every k of every row."""
    both = field(args, A, FORMAT) == E2M1 and field(args, W, FORMAT) == E2M1
    return HAS_DOTS and both and is_absent(args, BOUNDS)


@inner
def _may_stream(args, begin, end, depth):
    """Whether rows are whole, and W's panels may be used as they lie."""
    if begin != 0 or end != depth or not is_absent(args, BOUNDS):
        return False
    return field(args, W, LAYOUT) == PANEL and can_stream(field(args, W, FORMAT))


@inner
def _pack_rows(args, row0, rows, number, start, stop, block, dots, digits, base):
    """A chunk of A and its scales as the `number`-th of the chunks held."""
    seen = NO_SCALES
    blocks = (stop - start + block - 1) // block
    for m in range(rows):
        slot = number * rows + m
        target = base + at.A_AT + slot * at.A_STRIDE
        if dots:
            source = field(args, A, ADDRESS)
            source += ((row0 + m) * field(args, A, ROW_STRIDE) + start) // 2
            pack_a_dots(source, target, stop - start, block, base + at.STAGE_AT)
        else:
            pack_a(args, A, row0 + m, start, stop - start, target, base)
            if digits:
                pack_a_digits(target, base + at.DIGITS_AT + slot * at.D_STRIDE, block)
        scales = base + at.SA_AT + slot * at.SA_STRIDE
        part = pack_a_scales(args, A, row0 + m, block, start // block, blocks, scales)
        seen = widen_range(seen, part)
        if dots:
            quarter_scales(scales, blocks)
    store_i64(base + at.SCALES_AT + 8 * number, seen)


@inner
def _column_group(args, row0, rows, n0, columns, k0, k1, chunk, block, stream, dots, digits, base):
    """Up to 128 columns over the chunks held."""
    c_stride = field(args, ACC, ROW_STRIDE) * 4
    n_stride = field(args, ACC, COLUMN_STRIDE) * 4
    c = field(args, ACC, ADDRESS) + row0 * c_stride + n0 * n_stride
    direct = columns == at.COLUMNS and n_stride == 4
    target, stride = c, c_stride
    if not direct:
        target, stride = base + at.C_AT, at.C_STRIDE
        _copy_tile(c, c_stride, n_stride, target, stride, 4, rows, columns)
    for number in range((k1 - k0 + chunk - 1) // chunk):
        start = k0 + number * chunk
        stop = min(start + chunk, k1)
        blocks = (stop - start + block - 1) // block
        seen_w = pack_w_scales(args, W, n0, columns, block, start // block, blocks, base)
        seen_a = load_i64(base + at.SCALES_AT + 8 * number)
        wide = 1 if product_may_round(seen_a, seen_w, dots) else 0
        slot = number * rows
        if stream and (stop - start) % block == 0:
            _stream_chunk(
                args, target, stride, rows, slot, n0, start, blocks, block, wide, dots, digits, base
            )
            continue
        pack_w(args, W, n0, columns, start, stop - start, dots, base)
        if dots:
            _dot_chunk(target, stride, rows, slot, columns, blocks, block, wide, base)
        else:
            _chunk_ranges(rows, start, stop, block, base)
            _run_chunk(target, stride, rows, slot, columns, start, block, wide, base)
    if not direct:
        _copy_tile(target, stride, 4, c, c_stride, n_stride, rows, columns)


@inner
def _copy_tile(source, row_from, step_from, target, row_to, step_to, rows, columns):
    """Accumulator bits between memory and the edge tile; strides in bytes."""
    for m in range(rows):
        if step_from == 4 and step_to == 4:
            copy_bytes(target + m * row_to, source + m * row_from, 4 * columns)
        else:
            for n in range(columns):
                word = load_u32(source + m * row_from + n * step_from)
                store_u32(target + m * row_to + n * step_to, word)


@inner
def _run_chunk(c, c_stride, rows, slot, columns, start, block, wide, base):
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
def _stream_chunk(
    args, c, c_stride, rows, slot, n0, start, blocks, block, wide, dots, digits, base
):
    """Whole blocks of a chunk and column group, from the packed words, row by row."""
    fmt = field(args, W, FORMAT)
    bits = format_bits(fmt)
    panel_bytes = field(args, W, ROW_STRIDE) * bits // 8
    w = field(args, W, ADDRESS) + n0 // 16 * panel_bytes + start * bits * 2
    words = block * bits // 32
    if digits:
        _digit_chunk(c, c_stride, rows, slot, w, panel_bytes, blocks, words, wide, base)
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
def _digit_chunk(c, c_stride, rows, slot, w, panel_bytes, blocks, words, wide, base):
    """The same for FP8 by FP4: pairs of rows without inexact blocks together, others alone."""
    row = 0
    while row < rows:
        if row + PAIR_ROWS <= rows and _all_exact(slot + row, PAIR_ROWS, blocks, base):
            to = c + row * c_stride
            _digit_pair(to, c_stride, slot + row, w, panel_bytes, blocks, words, wide, base)
            row += PAIR_ROWS
        else:
            to = c + row * c_stride
            _digit_row(to, slot + row, w, panel_bytes, blocks, words, wide, base)
            row += 1


@inner
def _all_exact(slot, rows, blocks, base):
    for row in range(slot, slot + rows):
        for b in range(blocks):
            if not is_exact(base + at.DIGITS_AT + row * at.D_STRIDE, b):
                return False
    return True


@inner
def _digit_pair(c, c_stride, slot, w, panel_bytes, blocks, words, wide, base):
    digits = base + at.DIGITS_AT + slot * at.D_STRIDE
    sa = base + at.SA_AT + slot * at.SA_STRIDE
    for panel in range(0, at.GROUP, PAIR_PANELS):
        to, at_w = c + panel * 64, w + panel * panel_bytes
        sw = base + at.SW_AT + panel * at.SW_STRIDE
        digit_pair_blocks(to, c_stride, digits, at_w, panel_bytes, sa, sw, blocks, words, wide)


@inner
def _digit_row(c, slot, w, panel_bytes, blocks, words, wide, base):
    """Runs of exact blocks by digits, of others by fused multiply-adds."""
    a = base + at.A_AT + slot * at.A_STRIDE
    digits = base + at.DIGITS_AT + slot * at.D_STRIDE
    sa, sw = base + at.SA_AT + slot * at.SA_STRIDE, base + at.SW_AT
    first = 0
    while first < blocks:
        exact, last = is_exact(digits, first), first + 1
        while last < blocks and is_exact(digits, last) == exact:
            last += 1
        count = last - first
        if exact:
            for panel in range(0, at.GROUP, SINGLE_PANELS):
                at_w, at_sw = w + panel * panel_bytes, sw + panel * at.SW_STRIDE
                to = c + panel * 64
                digit_blocks(to, digits, at_w, panel_bytes, sa, at_sw, first, count, words, wide)
        else:
            _stream_part(c, a, w, panel_bytes, sa, sw, first, count, words, wide)
        first = last


@inner
def _stream_part(c, a, w, panel_bytes, sa, sw, first, count, words, wide):
    """Some of the blocks of a chunk of E2M1, for all panels of a group."""
    a, sa = a + first * words * 32, sa + first * 4
    for panel in range(0, at.GROUP, STREAM_PANELS):
        at_w = w + panel * panel_bytes + first * words * 64
        at_sw = sw + panel * at.SW_STRIDE + first * 64
        to = c + panel * 64
        stream_blocks(E2M1, to, a, at_w, panel_bytes, sa, at_sw, count, words, wide)


@inner
def _dot_chunk(c, c_stride, rows, slot, columns, blocks, block, wide, base):
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


@inner
def _segment(k, last, block):
    """The next blocks of equal length from k: their number and length."""
    if k % block != 0 or last - k < block:
        return 1, min(block - k % block, last - k)
    return (last - k) // block, block


@inner
def _run_row(c, c_stride, row, slot, columns, start, first, last, block, wide, base):
    """One row over k in [first, last)."""
    k = first
    while k < last:
        blocks, length = _segment(k, last, block)
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
        blocks, length = _segment(k, last, block)
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
