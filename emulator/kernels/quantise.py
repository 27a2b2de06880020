"""The quantise unit: block scales by integers, elements by one saturating conversion.

Source: the arithmetic contract, section 4; vquant and vquantr of isa/spec/vector.py. A row is cut
into runs of whole blocks, read twice: for the scales, then for the elements, which are made from
the source's own format and put where they belong. The elements after the last whole block, strided
sources and strided destinations go by way of buffers.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import quantise_mx, quantise_nv
from emulator.kernels import scratch as at
from emulator.kernels.block_maxima import largest_magnitude
from emulator.kernels.inner import inner
from emulator.kernels.memory import (
    copy_bytes,
    fill_bytes,
    load_u8,
    load_u32,
    out_of_line,
    store_u8,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    E2M1,
    FORMAT,
    FP32,
    H_FLAGS,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    SCALE_ADDRESS,
    SCALE_KIND,
    SCALE_NV16,
    SCALE_STRIDE0,
    SCALE_STRIDE1,
    STATUS_NAN_TO_E2M1,
    STATUS_OK,
    field,
    format_bits,
    header,
)
from emulator.kernels.rows import fetch_run, lead, scatter_codes

FLAG_FLOOR = 2
INFINITY = 0x7F800000
UNIT = 32  # a run is a multiple of it, but for what is left of a row


@inner
def _floor(args):
    return header(args, H_FLAGS) & FLAG_FLOOR != 0


@inner
def _address(args, operand, row, column):
    """Of an element; nibbles lie together and are named in pairs."""
    index = row * field(args, operand, ROW_STRIDE) + column * field(args, operand, COLUMN_STRIDE)
    return field(args, operand, ADDRESS) + index * format_bits(field(args, operand, FORMAT)) // 8


@inner
def _run(start, columns):
    """Elements of the run that begins at `start`."""
    count = min(at.LONG_RUN, columns - start)
    return count if count < UNIT else count & -UNIT


@inner
def _fetch(args, operand, row, start, count, as_fp32, base):
    """A run where it lies, or (also if `as_fp32`) in a buffer as fp32: address and format.

    There it is filled up to a whole unit by its last element, which changes no maximum and meets no
    new NaN.
    """
    fmt, stride = field(args, operand, FORMAT), field(args, operand, COLUMN_STRIDE)
    source = _address(args, operand, row, start)
    if stride == 1 and count % UNIT == 0 and not as_fp32:
        return source, fmt
    values = fetch_run(fmt, source, stride, count, base + at.IN_AT, base)
    if count % UNIT == 0:
        return values, FP32
    if values == source:  # sixteen fp32 where they lie
        copy_bytes(base + at.IN_AT, source, 4 * count)
        values = base + at.IN_AT
    last = load_u32(values + 4 * (count - 1))
    for i in range(count, UNIT):
        store_u32(values + 4 * i, last)
    return values, FP32


@inner
def _ahead(args, operand, start, count, columns, rows_left):
    """How far on memory is asked for during a run."""
    size = format_bits(field(args, operand, FORMAT)) // 8
    if count == columns:
        return lead(size * field(args, operand, ROW_STRIDE), rows_left)
    return lead(size * count, (columns - start) // count)


@inner
def _room(args, row, start, count, base):
    """Where a run's codes are made: in the destination, if they lie there as they are made."""
    if field(args, 0, COLUMN_STRIDE) == 1 and count % UNIT == 0:
        return _address(args, 0, row, start)
    return base + at.CODES_AT


@inner
def _deliver(args, row, start, count, room, base):
    """Codes that were made together in a buffer go to the destination."""
    target = _address(args, 0, row, start)
    if room == target:
        return
    if field(args, 0, FORMAT) != E2M1:
        scatter_codes(1, room, target, field(args, 0, COLUMN_STRIDE), count)
        return
    copy_bytes(target, room, count >> 1)
    if count & 1:  # the nibble after an odd end keeps its value
        last = target + (count >> 1)
        store_u8(last, load_u8(last) & 0xF0 | load_u8(room + (count >> 1)) & 0x0F)


@inner
def _store_scales(args, row, first, codes, blocks):
    """Scale codes of a row's blocks from block `first` on."""
    stride = field(args, 0, SCALE_STRIDE1)
    target = field(args, 0, SCALE_ADDRESS) + row * field(args, 0, SCALE_STRIDE0) + first * stride
    scatter_codes(1, codes, target, stride, blocks)


@inner
def _clear_bad(maxima, blocks, room, size):
    """Zeros in the blocks of `size` bytes that hold a NaN or an Inf."""
    out_of_line()
    for block in range(blocks):
        if load_u32(maxima + 4 * block) >= INFINITY:
            fill_bytes(room + size * block, 0, size)


@inner
def _mx_run(args, row, start, count, ahead, base):
    """Quantise a run in blocks of 32."""
    out_of_line()
    fmt, blocks = field(args, 0, FORMAT), (count + 31) >> 5
    source, source_fmt = _fetch(args, 1, row, start, count, False, base)
    met = quantise_mx.block_scales(fmt, _floor(args), source_fmt, source, blocks, base)
    _store_scales(args, row, start >> 5, base + quantise_mx.SCALES_AT, blocks)
    room = _room(args, row, start, count, base)
    quantise_mx.scaled_elements(fmt, source_fmt, source, blocks, base, 4, room, ahead)
    if met != 0:
        _clear_bad(base + quantise_mx.MAXIMA_AT, blocks, room, 4 * format_bits(fmt))
    _deliver(args, row, start, count, room, base)


@inner
def _nv_run(args, row, start, count, inverse, ahead, base):
    """Quantise a run in blocks of 16; 1 if a NaN or an Inf was met."""
    out_of_line()
    pairs = (count + 31) >> 5
    as_fp32 = not quantise_nv.is_finite(inverse)
    source, source_fmt = _fetch(args, 1, row, start, count, as_fp32, base)
    met = quantise_nv.block_scales(source_fmt, source, 2 * pairs, inverse, base)
    _store_scales(args, row, start >> 4, base + quantise_nv.SCALES_AT, (count + 15) >> 4)
    room = _room(args, row, start, count, base)
    nans = quantise_nv.scaled_elements(source_fmt, source, pairs, inverse, base, room, ahead)
    if met != 0:
        _clear_bad(base + quantise_nv.MAXIMA_AT, 2 * pairs, room, 8)
    _deliver(args, row, start, count, room, base)
    return met | nans


@inner
def _is_dense(args, block):
    """Whether rows of whole blocks follow each other without a gap, and so do their scales."""
    columns = field(args, 0, COLUMNS)
    dense = columns % UNIT == 0
    for operand in range(2):
        dense &= field(args, operand, COLUMN_STRIDE) == 1
        dense &= field(args, operand, ROW_STRIDE) == columns
    return dense and field(args, 0, SCALE_STRIDE0) == columns // block * field(
        args, 0, SCALE_STRIDE1
    )


@njit
def k_quantise(args):
    """vquant: operands dst with block scales, src; the header's number is NV16's tensor scale."""
    base = at.aligned(header(args, H_SCRATCH))
    nv16 = field(args, 0, SCALE_KIND) == SCALE_NV16
    inverse = quantise_nv.tensor_scale_inverse(args)
    rows, columns, met = field(args, 0, ROWS), field(args, 0, COLUMNS), 0
    if _is_dense(args, quantise_nv.BLOCK if nv16 else quantise_mx.BLOCK):  # one long row
        rows, columns = 1, rows * columns
    for row in range(rows):
        start = 0
        while start < columns:
            count = _run(start, columns)
            ahead = _ahead(args, 1, start, count, columns, rows - row)
            if nv16:
                met |= _nv_run(args, row, start, count, inverse, ahead, base)
            else:
                _mx_run(args, row, start, count, ahead, base)
            start += count
    return STATUS_NAN_TO_E2M1 if met != 0 else STATUS_OK


@inner
def _row_scale(args, row, base):
    """The scale code of a whole row."""
    columns, largest, start = field(args, 0, COLUMNS), 0, 0
    while start < columns:
        count = _run(start, columns)
        source, source_fmt = _fetch(args, 2, row, start, count, False, base)
        largest = max(largest, largest_magnitude(source_fmt, source, (count + 15) >> 4))
        start += count
    return quantise_mx.mx_scale(largest, field(args, 0, FORMAT), _floor(args))


@inner
def _row_elements(args, row, code, base):
    """The elements of a row under a scale code."""
    quantise_mx.row_scale(code, base)
    fmt, columns, start = field(args, 0, FORMAT), field(args, 0, COLUMNS), 0
    ahead = _ahead(args, 2, 0, columns, columns, field(args, 0, ROWS) - row)
    while start < columns:
        count = _run(start, columns)
        source, source_fmt = _fetch(args, 2, row, start, count, False, base)
        room, blocks = _room(args, row, start, count, base), (count + 31) >> 5
        if code == quantise_mx.E8M0_NAN:
            fill_bytes(room, 0, count)
        else:
            quantise_mx.scaled_elements(fmt, source_fmt, source, blocks, base, 0, room, ahead)
        _deliver(args, row, start, count, room, base)
        start += count


@njit
def k_quantise_rows(args):
    """vquantr: operands dst (FP8), scale E8M0 [M, 1], src; the whole row is one block."""
    base = at.aligned(header(args, H_SCRATCH))
    for row in range(field(args, 0, ROWS)):
        code = _row_scale(args, row, base)
        store_u8(field(args, 1, ADDRESS) + row * field(args, 1, ROW_STRIDE), code)
        _row_elements(args, row, code, base)
    return STATUS_OK
