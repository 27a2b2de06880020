"""How the vector unit's kernels walk their operands: loops over rows, and runs within a row.

A nest is the loops over up to four dimensions, with dimensions of one element dropped and
neighbours merged where every operand allows it. Its innermost dimension is cut into runs of at most
`scratch.RUN` elements, which `fetch` turns into fp32 (or into raw codes in i32 lanes) and `deliver`
converts back. Contiguous 32-bit operands are used where they lie.

A fetched operand is an address and a step: from one block of sixteen lanes to the next, 64 bytes,
or 0 for an operand that is one number.
"""

from __future__ import annotations

from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import RAW8, RAW16, RAW32
from emulator.kernels.convert import decode_run, encode_run
from emulator.kernels.inner import inner
from emulator.kernels.memory import (
    copy_bytes,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    out_of_line,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    E2M1,
    FORMAT,
    FP32,
    H_NUMBER,
    RANK,
    SHAPE,
    STRIDES,
    field,
    format_bits,
    header,
)

# words of a nest: its dimensions, then an entry of eight words for each operand
NEST_OPERANDS, NEST_OPERAND = 8, 8
N_STRIDES, N_ADDRESS, N_FORMAT, N_ABSENT = 0, 4, 5, 6


@inner
def raw_format(fmt):
    """The pseudo-format that moves a format's codes unchanged."""
    bits = format_bits(fmt)
    if bits == 32:
        return RAW32
    return RAW16 if bits == 16 else RAW8


@inner
def _entry(base, operand):
    return base + at.NEST_AT + 8 * (NEST_OPERANDS + NEST_OPERAND * operand)


@inner
def make_nest(args, operands, base, may_merge):
    """Read `operands` operands; the last axis keeps its place unless `may_merge`."""
    out_of_line()
    nest = base + at.NEST_AT
    for axis in range(4):
        store_i64(nest + 8 * axis, field(args, 0, SHAPE + axis))
    for i in range(operands):
        entry = _entry(base, i)
        fmt = field(args, i, FORMAT)
        for axis in range(4):
            store_i64(entry + 8 * (N_STRIDES + axis), field(args, i, STRIDES + axis))
        store_i64(entry + 8 * N_ADDRESS, field(args, i, ADDRESS))
        store_i64(entry + 8 * N_FORMAT, fmt)
        absent = field(args, i, RANK) < 0
        store_i64(entry + 8 * N_ABSENT, 1 if absent else 0)
        if fmt == E2M1 and not absent:
            may_merge = False  # its rows start at whole bytes
    if may_merge:
        _merge(operands, base)


@inner
def _merge(operands, base):
    """Push dimensions inwards: drop those of one element, join those without a gap."""
    out_of_line()
    nest = base + at.NEST_AT
    inner = 3
    for axis in (2, 1, 0):
        size = load_i64(nest + 8 * axis)
        if size == 1:
            continue
        inner_size = load_i64(nest + 8 * inner)
        if inner_size == 1:
            _move_axis(operands, base, axis, inner)
        elif _joins(operands, base, axis, inner, inner_size):
            store_i64(nest + 8 * inner, size * inner_size)
            store_i64(nest + 8 * axis, 1)
        else:
            inner -= 1
            if inner != axis:
                _move_axis(operands, base, axis, inner)


@inner
def _move_axis(operands, base, source, target):
    nest = base + at.NEST_AT
    store_i64(nest + 8 * target, load_i64(nest + 8 * source))
    store_i64(nest + 8 * source, 1)
    for i in range(operands):
        strides = _entry(base, i) + 8 * N_STRIDES
        store_i64(strides + 8 * target, load_i64(strides + 8 * source))
        store_i64(strides + 8 * source, 0)


@inner
def _joins(operands, base, axis, inner, inner_size):
    """Whether every operand goes from one axis to the other without a gap."""
    for i in range(operands):
        strides = _entry(base, i) + 8 * N_STRIDES
        if load_i64(strides + 8 * axis) != inner_size * load_i64(strides + 8 * inner):
            return False
    return True


@inner
def nest_rows(base):
    """How many rows the outer loops make."""
    nest = base + at.NEST_AT
    return load_i64(nest) * load_i64(nest + 8) * load_i64(nest + 16)


@inner
def evenly_spaced_rows(base):
    """Rows in one innermost loop: from one to the next of them it is always equally far."""
    return load_i64(base + at.NEST_AT + 16)


@inner
def row_length(base):
    """Elements of a row."""
    return load_i64(base + at.NEST_AT + 24)


@inner
def row_address(base, operand, row):
    """Address of a row's first element."""
    nest = base + at.NEST_AT
    entry = _entry(base, operand)
    d1, d2 = load_i64(nest + 8), load_i64(nest + 16)
    i2, rest = row % d2, row // d2
    offset = i2 * load_i64(entry + 16) + rest % d1 * load_i64(entry + 8)
    offset += rest // d1 * load_i64(entry)
    bits = format_bits(load_i64(entry + 8 * N_FORMAT))
    return load_i64(entry + 8 * N_ADDRESS) + offset * bits // 8


@inner
def next_run(start, length):
    """Elements of the run that begins at `start`: a multiple of sixteen but for the last."""
    count = min(at.RUN, length - start)
    return count if count < 16 else count & -16


@inner
def lead(step, left):
    """How many bytes on memory should be asked for, while it has time, by what is computed with it.

    Runs are `step` bytes apart and `left` of them, with this one, are still to come. It takes more
    than one run's time to bring a run; short ones are asked for many at a time.
    """
    if step <= 0:
        return 0
    runs = max(2, at.LEAD // step)
    return runs * step if runs < left else 0


@inner
def gather_codes(size, source, stride, target, count):
    """`count` codes of `size` bytes, `stride` bytes apart, copied together."""
    out_of_line()
    if stride == size:
        copy_bytes(target, source, size * count)
    elif size == 1:
        for i in range(count):
            store_u8(target + i, load_u8(source + i * stride))
    elif size == 2:
        for i in range(count):
            store_u16(target + 2 * i, load_u16(source + i * stride))
    else:
        for i in range(count):
            store_u32(target + 4 * i, load_u32(source + i * stride))


@inner
def scatter_codes(size, source, target, stride, count):
    """`count` codes that lie together, stored `stride` bytes apart."""
    out_of_line()
    if stride == size:
        copy_bytes(target, source, size * count)
    elif size == 1:
        for i in range(count):
            store_u8(target + i * stride, load_u8(source + i))
    elif size == 2:
        for i in range(count):
            store_u16(target + i * stride, load_u16(source + 2 * i))
    else:
        for i in range(count):
            store_u32(target + i * stride, load_u32(source + 4 * i))


@inner
def fetch_run(fmt, source, stride, count, buffer, base):
    """Elements `stride` apart as fp32 in `buffer`, or where they lie; returns their address."""
    out_of_line()
    if stride == 1 or fmt == E2M1:
        if count % 16 == 0 and fmt in (FP32, RAW32):
            return source
        decode_run(fmt, source, buffer, count)
        return buffer
    size = 4 if fmt == RAW32 else 2 if fmt == RAW16 else 1 if fmt == RAW8 else format_bits(fmt) // 8
    codes = base + at.CODES_AT
    gather_codes(size, source, stride * size, codes, count)
    decode_run(fmt, codes, buffer, count)
    return buffer


@inner
def _splat(word, buffer):
    for lane in range(16):
        store_u32(buffer + 4 * lane, word)


@inner
def fetch(args, operand, row, start, count, raw, base):
    """A run of an operand, or the header's number if the operand is absent: address and step."""
    out_of_line()
    entry = _entry(base, operand)
    buffer = base + at.IN_AT + (operand - 1) * at.BUFFER
    if load_i64(entry + 8 * N_ABSENT) != 0:
        _splat(header(args, H_NUMBER), buffer)
        return buffer, 0
    fmt = load_i64(entry + 8 * N_FORMAT)
    bits = format_bits(fmt)
    stride = load_i64(entry + 24)
    source = row_address(base, operand, row) + start * stride * bits // 8
    if raw:
        fmt = raw_format(fmt)
    if stride == 0 and count > 1:
        decode_run(fmt, source, buffer, 1)
        _splat(load_u32(buffer), buffer)
        return buffer, 0
    return fetch_run(fmt, source, stride, count, buffer, base), 64


@inner
def result_place(row, start, count, base):
    """Where a run's results are computed: in the destination, if `deliver` need not change them."""
    entry = _entry(base, 0)
    fmt, stride = load_i64(entry + 8 * N_FORMAT), load_i64(entry + 24)
    if format_bits(fmt) == 32 and stride == 1 and count % 16 == 0:
        return row_address(base, 0, row) + 4 * start
    return base + at.OUT_AT


@inner
def deliver(place, row, start, count, saturate, raw, base):
    """Convert a run's results to the destination; returns status bits."""
    out_of_line()
    entry = _entry(base, 0)
    fmt, stride = load_i64(entry + 8 * N_FORMAT), load_i64(entry + 24)
    bits = format_bits(fmt)
    target = row_address(base, 0, row) + start * stride * bits // 8
    if raw:
        fmt = raw_format(fmt)
    return deliver_run(fmt, saturate, place, target, stride, count, base)


@inner
def deliver_run(fmt, saturate, place, target, stride, count, base):
    """fp32 (or raw codes) at `place` to elements `stride` apart; returns status bits.

    A 32-bit result that was computed in the destination is left alone, but for its format.
    """
    out_of_line()
    if stride == 1 or fmt == E2M1:
        if place == target and fmt in (FP32, RAW32):
            return 0
        return encode_run(fmt, saturate, place, target, count)
    size = 4 if fmt == RAW32 else 2 if fmt == RAW16 else 1 if fmt == RAW8 else format_bits(fmt) // 8
    codes = base + at.CODES_AT
    status = encode_run(fmt, saturate, place, codes, count)
    scatter_codes(size, codes, target, stride * size, count)
    return status
