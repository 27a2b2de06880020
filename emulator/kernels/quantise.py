"""The quantise unit: block scales by integers, elements by one saturating conversion.

Source: the arithmetic contract, section 4; vquant and vquantr of isa/spec/vector.py. Scales of MX
blocks are exponents, so the product x * 2^-e is exact, or so small that every element format has
zero for it. NVFP4 divides twice, by 6 and by the block's scale, each time rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import block_bytes, encode_lanes, store_codes
from emulator.kernels.convert import decode_run, encode_run
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I32, I64, Lanes, Vec
from emulator.kernels.memory import (
    f32_of_bits,
    fill_bytes,
    load_f32,
    load_u8,
    load_u32,
    store_u8,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    E2M1,
    E4M3FN,
    E5M2,
    FORMAT,
    H_FLAGS,
    H_NUMBER,
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
from emulator.kernels.rows import deliver_run, fetch_run

FLAG_FLOOR = 2
INFINITY = 0x7F800000
ONE = 0x3F800000
E8M0_NAN, NV16_NAN = 0xFF, 0x7F
MX_BLOCK, NV_BLOCK = 32, 16
SIGN = 0x80000000
# Of one run of NVFP4: block maxima, quotients and scale values as fp32, scale codes as bytes.
MAXIMA_AT, SCALED_AT, VALUES_AT = at.NEST_AT, at.NEST_AT + 256, at.NEST_AT + 512
CODES_AT, UNSIGNED_AT = at.NEST_AT + 768, at.NEST_AT + 832


@intrinsic
def _largest_magnitude(typingctx: Any, source: Any, blocks: Any) -> Any:
    """Integer maximum of |pattern| over blocks of sixteen."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, blocks = (lanes.vec(arg) for arg in args)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            at_block, best = carried
            magnitude = lanes.load(at_block, I32) & 0x7FFFFFFF
            return [at_block + 64, magnitude.compare(">", best).choose(magnitude, best)]

        _, best = lanes.counted_loop(blocks, [source, lanes.constant(I32, 0)], body)
        largest = lanes.call("llvm.vector.reduce.umax.v16i32", I32, best)
        return largest.cast("zext", I64).value

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def multiply_by(typingctx: Any, target: Any, source: Any, factor: Any, blocks: Any) -> Any:
    """Blocks of sixteen times one fp32 factor."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        target, source, factor, blocks = (lanes.vec(arg) for arg in args)
        factors = lanes.broadcast(factor)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            to, at_block = carried
            lanes.store(lanes.load(at_block, F32) * factors, to)
            return [to + 64, at_block + 64]

        lanes.counted_loop(blocks, [target, source], body)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, types.int64), codegen


@intrinsic
def _divide(typingctx: Any, target: Any, divisor: Any, blocks: Any) -> Any:
    """Blocks of sixteen divided by one fp32 number, in place."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        target, divisor, blocks = (lanes.vec(arg) for arg in args)
        divisors = lanes.broadcast(divisor)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            to = carried[0]
            lanes.store(lanes.load(to, F32) / divisors, to)
            return [to + 64]

        lanes.counted_loop(blocks, [target], body)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32, types.int64), codegen


# ---- MX: a power of two per block


@inner
def top_exponent(fmt):
    """Of the format's largest number."""
    return 8 if fmt == E4M3FN else 15 if fmt == E5M2 else 2


@inner
def mx_scale(largest, fmt, floor):
    """E8M0 code of a block whose largest |pattern| is `largest`."""
    if largest == 0:
        return 0
    if largest >= INFINITY:
        return E8M0_NAN
    exponent = top_exponent(fmt)
    fraction = 0x400000 if fmt == E2M1 else 0x600000
    code = (largest >> 23) - exponent
    if not floor and largest & 0x7FFFFF > fraction:
        code += 1
    return min(max(code, 0), 254)


@inner
def _scale_block(target, source, code, blocks):
    """x * 2^-e; zeros under a NaN scale."""
    if code == E8M0_NAN:
        fill_bytes(target, 0, 64 * blocks)
    else:
        inverse = (254 - code) << 23  # a power of two: no finite maximum has a code above 253
        multiply_by(target, source, f32_of_bits(inverse), blocks)


# Of one run of MX blocks: maxima, what elements are masked by and multiplied by, scale codes.
MX_MAXIMA_AT, MX_FACTORS_AT, MX_MASKS_AT = at.NEST_AT, at.NEST_AT + 128, at.NEST_AT + 256
MX_CODES_AT = at.NEST_AT + 384


@intrinsic
def _mx_maxima(typingctx: Any, source: Any, blocks: Any, target: Any) -> Any:
    """The largest |pattern| of each block of 32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, blocks, target = (lanes.vec(arg) for arg in args)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            at_block, to = carried
            low, high = (lanes.load(at_block + 64 * i, I32) & 0x7FFFFFFF for i in range(2))
            best = low.compare(">", high).choose(low, high)
            lanes.store(lanes.call("llvm.vector.reduce.umax.v16i32", I32, best), to)
            return [at_block + 128, to + 4]

        lanes.counted_loop(blocks, [source, target], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@intrinsic
def _mx_scales(typingctx: Any, base: Any, exponent: Any, fraction: Any) -> Any:
    """`mx_scale` of 32 maxima, and what it does to elements: x & mask, times the factor."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        base, exponent, fraction = (lanes.vec(arg) for arg in args)
        down = lanes.broadcast(exponent.cast("trunc", I32))
        limit = lanes.broadcast(fraction.cast("trunc", I32))
        zero, one = lanes.constant(I32, 0), lanes.constant(I32, 1)
        for half in range(2):
            largest = lanes.load(base + (MX_MAXIMA_AT + 64 * half), I32)
            above = (largest & 0x7FFFFF).compare(">", limit).choose(one, zero)
            code = largest.lshr(23) - down + above
            code = code.compare(">", 0).choose(code, zero)
            bad = largest.compare(">=", INFINITY)
            factor = (lanes.constant(I32, 254) - code) << 23
            code = bad.choose(lanes.constant(I32, E8M0_NAN), code)
            lanes.store(factor, base + (MX_FACTORS_AT + 64 * half))
            lanes.store(bad.choose(zero, zero - 1), base + (MX_MASKS_AT + 64 * half))
            lanes.store(code.cast("trunc", I8), base + (MX_CODES_AT + 16 * half))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


def _make_mx_encode(fmt: int) -> Any:
    """(fp32 address, blocks of 32, base, target): codes of the elements under their scales."""

    @intrinsic
    def encode(typingctx: Any, source: Any, blocks: Any, base: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, blocks, base, target = (lanes.vec(arg) for arg in args)
            size = block_bytes(fmt)

            def body(carried: Sequence[Vec]) -> list[Vec]:
                at_block, at_factor, to = carried
                factor = lanes.broadcast(lanes.load_scalar(at_factor, F32))
                mask = lanes.broadcast(
                    lanes.load_scalar(at_factor + (MX_MASKS_AT - MX_FACTORS_AT), I32)
                )
                for i in range(2):
                    value = (lanes.load(at_block + 64 * i, I32) & mask).floats() * factor
                    codes = encode_lanes(lanes, fmt, value, True)
                    store_codes(lanes, fmt, codes, to + size * i)
                return [at_block + 128, at_factor + 4, to + 2 * size]

            lanes.counted_loop(blocks, [source, base + MX_FACTORS_AT, target], body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return encode


_mx_e4m3fn, _mx_e5m2, _mx_e2m1 = map(_make_mx_encode, (E4M3FN, E5M2, E2M1))


@inner
def _mx_run_whole(args, row, start, count, source, base):
    """A run of whole blocks to consecutive elements: maxima, then scales, then elements."""
    fmt, floor = field(args, 0, FORMAT), header(args, H_FLAGS) & FLAG_FLOOR != 0
    blocks = count // MX_BLOCK
    _mx_maxima(source, blocks, base + MX_MAXIMA_AT)
    fraction = 0x400000 if fmt == E2M1 else 0x600000
    _mx_scales(base, top_exponent(fmt), 0x7FFFFF if floor else fraction)
    stride = field(args, 0, SCALE_STRIDE1)
    scales = field(args, 0, SCALE_ADDRESS) + row * field(args, 0, SCALE_STRIDE0)
    scales += start // MX_BLOCK * stride
    for block in range(blocks):
        store_u8(scales + block * stride, load_u8(base + MX_CODES_AT + block))
    first = row * field(args, 0, ROW_STRIDE) + start
    target = field(args, 0, ADDRESS) + first * format_bits(fmt) // 8
    if fmt == E4M3FN:
        _mx_e4m3fn(source, blocks, base, target)
    elif fmt == E5M2:
        _mx_e5m2(source, blocks, base, target)
    else:
        _mx_e2m1(source, blocks, base, target)


@inner
def _mx_run(args, row, start, count, source, base):
    """Quantise a run of whole blocks (but for the last); fp32 at `source`, zero beyond `count`."""
    fmt, floor = field(args, 0, FORMAT), header(args, H_FLAGS) & FLAG_FLOOR != 0
    scales = field(args, 0, SCALE_ADDRESS) + row * field(args, 0, SCALE_STRIDE0)
    out = base + at.OUT_AT
    for first in range(0, count, MX_BLOCK):
        values = source + 4 * first
        blocks = 2 if count - first > 16 else 1
        code = mx_scale(_largest_magnitude(values, blocks), fmt, floor)
        number = (start + first) // MX_BLOCK
        store_u8(scales + number * field(args, 0, SCALE_STRIDE1), code)
        _scale_block(out + 4 * first, values, code, blocks)


# ---- NVFP4: an E4M3FN scale per block, and a tensor scale


@inner
def _tensor_scale_inverse(args):
    """RNE(1 / ts); an absent tensor scale is 0 in the record, and means 1."""
    bits = header(args, H_NUMBER) & 0xFFFFFFFF
    return np.float32(1) / f32_of_bits(bits if bits != 0 else ONE)


@inner
def _nv_maxima(source, blocks, base):
    """Each block's largest |pattern|; returns whether one is a NaN's or an Inf's."""
    bad = False
    for block in range(blocks):
        largest = _largest_magnitude(source + 64 * block, 1)
        store_u32(base + MAXIMA_AT + 4 * block, largest)
        bad |= largest >= INFINITY
    return bad


@inner
def _nv_scales(blocks, inverse, base):
    """Scale codes of the maxima, s = CVT(RNE(RNE(amax * ts_inv) / 6)), and the scales' values."""
    padded = (blocks + 15) >> 4
    multiply_by(base + SCALED_AT, base + MAXIMA_AT, inverse, padded)
    _divide(base + SCALED_AT, np.float32(6), padded)
    encode_run(E4M3FN, True, base + SCALED_AT, base + CODES_AT, blocks)
    for block in range(blocks):
        if load_u32(base + MAXIMA_AT + 4 * block) >= INFINITY:
            store_u8(base + CODES_AT + block, NV16_NAN)
        store_u8(base + UNSIGNED_AT + block, load_u8(base + CODES_AT + block) & 0x7F)
    decode_run(E4M3FN, base + UNSIGNED_AT, base + VALUES_AT, blocks)


@inner
def _nv_elements(source, blocks, inverse, base):
    """RNE(RNE(x * ts_inv) / s), signed zeros under a zero scale, zeros in a bad block."""
    out = base + at.OUT_AT
    multiply_by(out, source, inverse, blocks)
    for block in range(blocks):
        place = out + 64 * block
        if load_u32(base + MAXIMA_AT + 4 * block) >= INFINITY:
            fill_bytes(place, 0, 64)
        elif load_u8(base + UNSIGNED_AT + block) == 0:
            for lane in range(16):
                store_u32(place + 4 * lane, load_u32(source + 64 * block + 4 * lane) & SIGN)
        else:
            _divide(place, load_f32(base + VALUES_AT + 4 * block), 1)


@inner
def _nv_run(args, row, start, count, source, base):
    """Quantise a run of whole blocks (but for the last); returns status bits."""
    inverse = _tensor_scale_inverse(args)
    blocks = (count + 15) >> 4
    bad = _nv_maxima(source, blocks, base)
    _nv_scales(blocks, inverse, base)
    _nv_elements(source, blocks, inverse, base)
    stride = field(args, 0, SCALE_STRIDE1)
    scales = field(args, 0, SCALE_ADDRESS) + row * field(args, 0, SCALE_STRIDE0)
    scales += start // NV_BLOCK * stride
    for block in range(blocks):
        store_u8(scales + block * stride, load_u8(base + CODES_AT + block))
    return STATUS_NAN_TO_E2M1 if bad else 0


# ---- kernels


@inner
def _fetch_padded(args, operand, row, start, count, base):
    """A run of an operand as fp32, zero beyond its end up to a multiple of 32."""
    fmt, stride = field(args, operand, FORMAT), field(args, operand, COLUMN_STRIDE)
    first = row * field(args, operand, ROW_STRIDE) + start * stride
    source = field(args, operand, ADDRESS) + first * (format_bits(fmt) // 8)
    values = fetch_run(fmt, source, stride, count, base + at.IN_AT, base)
    if count % 16 != 0:
        fill_bytes(values + 4 * count, 0, 4 * (-count % MX_BLOCK))
    return values


@inner
def _deliver_elements(args, row, start, count, base):
    """Convert a run at OUT_AT to operand 0; returns status bits."""
    fmt, stride = field(args, 0, FORMAT), field(args, 0, COLUMN_STRIDE)
    first = row * field(args, 0, ROW_STRIDE) + start * stride
    target = field(args, 0, ADDRESS) + first * format_bits(fmt) // 8
    return deliver_run(fmt, True, base + at.OUT_AT, target, stride, count, base)


@njit
def k_quantise(args):
    """vquant: operands dst with block scales, src; the header's number is NV16's tensor scale."""
    base = at.aligned(header(args, H_SCRATCH))
    nv16 = field(args, 0, SCALE_KIND) == SCALE_NV16
    columns = field(args, 0, COLUMNS)
    whole = field(args, 0, COLUMN_STRIDE) == 1
    status = 0
    for row in range(field(args, 0, ROWS)):
        for start in range(0, columns, at.RUN):
            count = min(at.RUN, columns - start)
            source = _fetch_padded(args, 1, row, start, count, base)
            if not nv16 and whole and count % MX_BLOCK == 0:
                _mx_run_whole(args, row, start, count, source, base)
                continue
            if nv16:
                status |= _nv_run(args, row, start, count, source, base)
            else:
                _mx_run(args, row, start, count, source, base)
            status |= _deliver_elements(args, row, start, count, base)
    return status


@njit
def k_quantise_rows(args):
    """vquantr: operands dst (FP8), scale E8M0 [M, 1], src; the whole row is one block."""
    base = at.aligned(header(args, H_SCRATCH))
    fmt, floor = field(args, 0, FORMAT), header(args, H_FLAGS) & FLAG_FLOOR != 0
    columns = field(args, 0, COLUMNS)
    for row in range(field(args, 0, ROWS)):
        largest = 0
        for start in range(0, columns, at.RUN):
            count = min(at.RUN, columns - start)
            source = _fetch_padded(args, 2, row, start, count, base)
            largest = max(largest, _largest_magnitude(source, (count + 15) >> 4))
        code = mx_scale(largest, fmt, floor)
        store_u8(field(args, 1, ADDRESS) + row * field(args, 1, ROW_STRIDE), code)
        for start in range(0, columns, at.RUN):
            count = min(at.RUN, columns - start)
            source = _fetch_padded(args, 2, row, start, count, base)
            _scale_block(base + at.OUT_AT, source, code, (count + 15) >> 4)
            _deliver_elements(args, row, start, count, base)
    return STATUS_OK
