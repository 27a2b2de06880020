"""GEMM: the matrix engine's one rule over whole operands.

Source: the arithmetic contract, section 1; instruction `gemm` of isa/spec/matrix.py. Rows are taken
`scratch.ROWS` at a time. For them, chunks of A are decoded once (matrix_pack.py, matrix_scales.py),
then for every group of columns chunks of W, and the arithmetic is done chunk by chunk
(matrix_chunk.py). Chunks begin at multiples of 64 or 128, so blocks are never cut, and the
accumulator in memory carries the chain from chunk to chunk. Bounds: matrix_ranges.py.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.matrix_ahead import ask_for_group
from emulator.kernels.matrix_chunk import W, all_exact, dot_chunk, run_chunk, stream_chunk
from emulator.kernels.matrix_digits import can_use_digits, pack_a_digits
from emulator.kernels.matrix_dots import HAS_DOTS
from emulator.kernels.matrix_memo import can_keep, forget, is_kept, keep, keeps_all
from emulator.kernels.matrix_nibbles import pack_a_dots, quarter_scales
from emulator.kernels.matrix_pack import pack_a, pack_w
from emulator.kernels.matrix_ranges import BOUNDS, chunk_ranges, row_ranges
from emulator.kernels.matrix_scales import (
    NO_SCALES,
    clear_w_scales,
    pack_a_scales,
    pack_w_scales,
    product_may_round,
    widen_range,
)
from emulator.kernels.matrix_stream import can_stream
from emulator.kernels.memory import (
    copy_bytes,
    fill_bytes,
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
    header,
    is_absent,
)

ACC, A = 0, 1  # operands; W and BOUNDS belong to those who read them
FLAG_ACCUMULATE = 1
STREAM_ROWS = 2  # up to here, decoding W again for each row beats writing it to scratch
DIGIT_ROWS = 8  # the same where rows come in pairs
FEW_ROWS = 8  # below this, chunks are short enough for a whole group to stay in the nearest cache


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


# ---- one block of rows


@inner
def _row_block(args, row0, rows, columns, base):
    depth = field(args, A, COLUMNS)
    nv16 = field(args, A, SCALE_KIND) == SCALE_NV16 or field(args, W, SCALE_KIND) == SCALE_NV16
    block = 16 if nv16 else 32
    begin, end = row_ranges(args, row0, rows, depth, base)
    dots = _may_dot(args)
    digits = can_use_digits(field(args, A, FORMAT), field(args, W, FORMAT))
    most = DIGIT_ROWS if digits else STREAM_ROWS
    streams = rows <= most and _may_stream(args, begin, end, depth)
    digits = digits and streams
    if digits:
        ask_for_group(args, 0)  # while A is packed, or found to be kept
    chunk = at.DEPTH if rows >= FEW_ROWS or streams or dots else at.DEPTH // 2
    held = max(1, at.ROWS // rows) * chunk  # k of A that fits in scratch
    for k0 in range(begin // chunk * chunk, end, held):
        k1 = min(k0 + held, depth, (end + block - 1) // block * block)
        keeps = rows == 1 and digits and can_keep(args, block)
        if keeps and is_kept(args, row0, block, base):
            if not keeps_all(base):
                _unpack_row(args, row0, depth, chunk, block, base)
        else:
            forget(base)
            for number in range((k1 - k0 + chunk - 1) // chunk):
                start = k0 + number * chunk
                stop = min(start + chunk, k1)
                _pack_rows(args, row0, rows, number, start, stop, block, dots, digits, base)
            if keeps:
                keep(args, row0, block, _all_chunks_exact(depth, chunk, block, base), base)
        for n0 in range(0, columns, at.COLUMNS):
            count = min(at.COLUMNS, columns - n0)
            stream = streams and (digits or count == at.COLUMNS)
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
def _all_chunks_exact(depth, chunk, block, base):
    """1 if no block of the one row that is packed needs it in fp32, else 0."""
    for number in range((depth + chunk - 1) // chunk):
        blocks = (min(chunk, depth - number * chunk) + block - 1) // block
        if not all_exact(number, 1, blocks, base):
            return 0
    return 1


@inner
def _unpack_row(args, row, depth, chunk, block, base):
    """The chunks of the one row that is packed that are needed in fp32, too."""
    for number in range((depth + chunk - 1) // chunk):
        start = number * chunk
        count = min(chunk, depth - start)
        if not all_exact(number, 1, (count + block - 1) // block, base):
            pack_a(args, A, row, start, count, base + at.A_AT + number * at.A_STRIDE, base)


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
        if digits and stop == k1:
            ask_for_group(args, n0 + at.COLUMNS)
        if stream and (stop - start) % block == 0:
            stream_chunk(
                args,
                target,
                stride,
                rows,
                slot,
                columns,
                n0,
                start,
                blocks,
                block,
                wide,
                dots,
                digits,
                base,
            )
            continue
        pack_w(args, W, n0, columns, start, stop - start, dots, base)
        if dots:
            dot_chunk(target, stride, rows, slot, columns, blocks, block, wide, base)
        else:
            chunk_ranges(rows, start, stop, block, base)
            run_chunk(target, stride, rows, slot, columns, start, block, wide, base)
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
