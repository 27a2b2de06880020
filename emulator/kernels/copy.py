"""Moves of bits: strided copies, gather and scatter by an index list, transposition.

Source: isa/spec/dma.py, isa/spec/vector.py (vcopy, vtrans), isa/spec/matrix.py (seed, and readout
as a spill). Contiguous runs go through memcpy; packed nibbles move as whole bytes.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.memory import (
    copy_bytes,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    E2M1,
    FORMAT,
    H_SCRATCH,
    RANK,
    ROW_STRIDE,
    ROWS,
    SHAPE,
    STATUS_OK,
    STRIDES,
    field,
    format_bits,
    header,
)
from emulator.kernels.squares import transpose_square

STATUS_BAD_INDEX = 2
# words of a copy in scratch: dimensions, then byte strides of target and source
C_SIZES, C_TO, C_FROM = 0, 4, 8


@inner
def _word(base, word):
    return load_i64(base + at.NEST_AT + 8 * word)


@inner
def _set_word(base, word, value):
    store_i64(base + at.NEST_AT + 8 * word, value)


@inner
def _read_axes(args, first_axis, base):
    """Dimensions and byte strides from `first_axis` on; returns the bytes that lie together."""
    bits = format_bits(field(args, 0, FORMAT))
    for axis in range(4):
        used = axis >= first_axis
        _set_word(base, C_SIZES + axis, field(args, 0, SHAPE + axis) if used else 1)
        _set_word(base, C_TO + axis, field(args, 0, STRIDES + axis) * bits // 8)
        _set_word(base, C_FROM + axis, field(args, 1, STRIDES + axis) * bits // 8)
    run = bits // 8
    if field(args, 0, FORMAT) == E2M1:
        run = _word(base, C_SIZES + 3) // 2
        _set_word(base, C_SIZES + 3, 1)
    for axis in (3, 2, 1, 0):
        size = _word(base, C_SIZES + axis)
        if size == 1:
            continue
        if _word(base, C_TO + axis) != run or _word(base, C_FROM + axis) != run:
            break
        run *= size
        _set_word(base, C_SIZES + axis, 1)
    return run


@inner
def _copy_line(target, source, count, to_step, from_step, run):
    """`count` runs of `run` bytes."""
    if run == 4:
        for i in range(count):
            store_u32(target + i * to_step, load_u32(source + i * from_step))
    elif run == 2:
        for i in range(count):
            store_u16(target + i * to_step, load_u16(source + i * from_step))
    elif run == 1:
        for i in range(count):
            store_u8(target + i * to_step, load_u8(source + i * from_step))
    else:
        for i in range(count):
            copy_bytes(target + i * to_step, source + i * from_step, run)


@inner
def _innermost(base):
    """The innermost axis that is left to loop over."""
    for axis in (3, 2, 1):
        if _word(base, C_SIZES + axis) != 1:
            return axis
    return 0


@inner
def _copy_axes(target, source, run, base):
    """Copy runs over the axes of `_read_axes`."""
    line = _innermost(base)
    count = _word(base, C_SIZES + line)
    to_step, from_step = _word(base, C_TO + line), _word(base, C_FROM + line)
    d0 = 1 if line == 0 else _word(base, C_SIZES)
    d1 = 1 if line <= 1 else _word(base, C_SIZES + 1)
    d2 = 1 if line <= 2 else _word(base, C_SIZES + 2)
    for i0 in range(d0):
        for i1 in range(d1):
            for i2 in range(d2):
                to = i0 * _word(base, C_TO) + i1 * _word(base, C_TO + 1)
                to += i2 * _word(base, C_TO + 2)
                fro = i0 * _word(base, C_FROM) + i1 * _word(base, C_FROM + 1)
                fro += i2 * _word(base, C_FROM + 2)
                _copy_line(target + to, source + fro, count, to_step, from_step, run)


@inner
def copy_tensor(args, base):
    """Operand 0 = operand 1, bits."""
    run = _read_axes(args, 0, base)
    _copy_axes(field(args, 0, ADDRESS), field(args, 1, ADDRESS), run, base)


@njit
def k_copy(args):
    """vcopy, seed, dma: operands dst, src, of one shape and element size."""
    copy_tensor(args, at.aligned(header(args, H_SCRATCH)))
    return STATUS_OK


@inner
def _move_rows(args, listed, table):
    """Gather (operand 0 is the listed side) or scatter (operand 1 is), row by row."""
    base = at.aligned(header(args, H_SCRATCH))
    axis = 4 - field(args, 0, RANK)
    bits = format_bits(field(args, 0, FORMAT))
    count = field(args, listed, SHAPE + axis)
    limit = field(args, table, SHAPE + axis)
    list_step = field(args, listed, STRIDES + axis) * bits // 8
    table_step = field(args, table, STRIDES + axis) * bits // 8
    index, index_step = field(args, 2, ADDRESS), 4 * field(args, 2, COLUMN_STRIDE)
    for i in range(count):
        row = load_i32(index + i * index_step)
        if row < 0 or row >= limit:
            return STATUS_BAD_INDEX
    run = _read_axes(args, axis + 1, base)
    for i in range(count):
        row = load_i32(index + i * index_step)
        in_list = field(args, listed, ADDRESS) + i * list_step
        in_table = field(args, table, ADDRESS) + row * table_step
        if listed == 0:
            _copy_axes(in_list, in_table, run, base)
        else:
            _copy_axes(in_table, in_list, run, base)
    return 0


@njit
def k_gather(args):
    """dmag: dst[i, ...] = src[index[i], ...]; operands dst, src, index. Status 2: a bad index."""
    return _move_rows(args, 0, 1)


@njit
def k_scatter(args):
    """dmas: dst[index[i], ...] = src[i, ...], i ascending; operands dst, src, index."""
    return _move_rows(args, 1, 0)


@njit
def k_transpose(args):
    """vtrans: dst[n, m] = a[m, n], bits; operands dst [N, M], a [M, N]."""
    bits = format_bits(field(args, 0, FORMAT))
    size = bits // 8
    rows, columns = field(args, 1, ROWS), field(args, 1, COLUMNS)
    target, source = field(args, 0, ADDRESS), field(args, 1, ADDRESS)
    to_row, to_column = field(args, 0, ROW_STRIDE) * size, field(args, 0, COLUMN_STRIDE) * size
    from_row, from_column = field(args, 1, ROW_STRIDE) * size, field(args, 1, COLUMN_STRIDE) * size
    squares = 0  # columns that are done sixteen at a time
    if size == 4 and to_column == 4 and from_column == 4:
        squares = columns & -16
    for m0 in range(0, rows, 16):  # squares of sixteen stay in the cache, read and written
        whole = squares if rows - m0 >= 16 else 0
        for n in range(0, whole, 16):
            to, fro = target + n * to_row + m0 * 4, source + m0 * from_row + n * 4
            transpose_square(fro, from_row, to, to_row)
        for n in range(whole, columns):
            to = target + n * to_row + m0 * to_column
            fro = source + m0 * from_row + n * from_column
            _copy_line(to, fro, min(16, rows - m0), to_column, from_row, size)
    return STATUS_OK
