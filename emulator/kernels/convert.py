"""Decode and encode every number format, sixteen lanes at a time, by bit manipulation.

Source: the arithmetic contract, section 1 (read-out, canonical NaNs) and section 2 (convert).
Nothing is looked up in tables shared with `isa`: exponents are rebased by integer addition,
subnormals made normal by one exact fp32 subtraction, and rounding is integer addition, or, below
the smallest normal, one fp32 addition whose unit in the last place is the target's quantum.

`decode_run` and `encode_run` treat runs of consecutive elements; fp32 work buffers must have room
for a multiple of 16 elements, memory operands are never touched beyond their last element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I16, I32, I64, WIDTH, Lanes, Vec
from emulator.kernels.memory import load_u8, out_of_line, store_u8
from emulator.kernels.operand import (
    BF16,
    E2M1,
    E4M3FN,
    E5M2,
    E8M0,
    FP16,
    FP32,
)
from emulator.kernels.operand import I32 as FORMAT_I32
from emulator.kernels.operand import U8 as FORMAT_U8

NAN = 0x7FC00000
INFINITY = 0x7F800000
MAGNITUDE = 0x7FFFFFFF
SIGN = 0x80000000

RAW8, RAW16, RAW32 = 16, 17, 18  # not formats of the chip: codes as they are, in i32 lanes

# mantissa bits, bias, bits: the shape of each narrow float
SHAPES = {FP16: (10, 15, 16), E4M3FN: (3, 7, 8), E5M2: (2, 15, 8), E2M1: (1, 1, 4)}


def canonical(lanes: Lanes, value: Vec) -> Vec:
    """NaN lanes become 0x7FC00000: what arithmetic writes."""
    return value.is_nan().choose(lanes.float_bits(NAN), value)


# ---- decode: codes in i32 lanes to fp32


def decode_lanes(lanes: Lanes, fmt: int, code: Vec) -> Vec:
    """fp32 values of zero-extended codes; NaN patterns are some NaN, not yet canonical."""
    if fmt in (FP32, RAW8, RAW16, RAW32):
        return code.floats()
    if fmt == BF16:
        return (code << 16).floats()
    if fmt == FORMAT_I32:
        return code.cast("sitofp", F32)
    if fmt == FORMAT_U8:
        return code.cast("uitofp", F32)
    if fmt == E8M0:
        return decode_power(lanes, code)
    bits = SHAPES[fmt][2]
    return decode_top(lanes, fmt, code << (32 - bits), exact=True)


def decode_power(lanes: Lanes, code: Vec) -> Vec:
    """E8M0: 2^(code - 127); 0 is the subnormal 2^-127, 255 is NaN."""
    subnormal = lanes.constant(I32, 0x00400000)
    value = code.compare("==", 0).choose(subnormal, code << 23)
    return code.compare("==", 255).choose(lanes.constant(I32, NAN), value).floats()


def decode_top(lanes: Lanes, fmt: int, word: Vec, exact: bool) -> Vec:
    """fp32 values of codes that lie in the top bits of i32 lanes (lower bits are ignored).

    Without `exact` the caller promises that no code is an Inf or a NaN.
    """
    if fmt == BF16:
        return (word & 0xFFFF0000).floats()
    mantissa, bias, bits = SHAPES[fmt]
    if fmt == E2M1:
        return decode_e2m1(lanes, word)
    aligned = word.ashr(9 - (bits - mantissa))  # exponent and mantissa move to fp32's place
    magnitude_mask = ((1 << (bits - 1)) - 1) << (23 - mantissa)
    magnitude = aligned & magnitude_mask
    smallest = (128 - bias) << 23
    # 0.m becomes 1.m less 1: an exact subtraction, where multiplying a subnormal would be slow
    small = magnitude.compare("<", 1 << 23)
    rebase = lanes.constant(I32, smallest - (1 << 23))
    moved = magnitude + small.choose(lanes.constant(I32, smallest), rebase)
    one = small.choose(lanes.float_bits(smallest), lanes.float_bits(0))
    sign = aligned & SIGN
    value = ((moved.floats() - one).bits() | sign).floats()
    if not exact:
        return value
    if fmt == E4M3FN:
        is_nan = magnitude.compare("==", magnitude_mask)
        return is_nan.choose(lanes.float_bits(NAN), value)
    is_special = magnitude.compare(">=", 0x1F << 23)
    return is_special.choose((magnitude | sign | INFINITY).floats(), value)


def decode_e2m1(lanes: Lanes, word: Vec) -> Vec:
    """0, 0.5, 1, 1.5, 2, 3, 4, 6 by integers: subnormal tricks would be slow, 0.5 is frequent."""
    sign = word & SIGN
    magnitude = word.lshr(28) & 7
    small = magnitude.compare("<", 2)
    base = small.choose(lanes.constant(I32, 127 << 23), lanes.constant(I32, 126 << 23))
    value = ((magnitude << 22) + base).floats()
    one = small.choose(lanes.float_bits(127 << 23), lanes.float_bits(0))
    return ((value - one).bits() | sign).floats()


# ---- encode: fp32 to codes in i32 lanes


def encode_lanes(lanes: Lanes, fmt: int, value: Vec, saturate: bool) -> Vec:
    """Codes of fp32 lanes, one RNE; NaNs canonical (E2M1: +6; ask `is_nan` for the sticky bit)."""
    if fmt in (RAW8, RAW16, RAW32):
        return value.bits()
    if fmt == FP32:
        return canonical(lanes, value).bits()
    if fmt == FORMAT_I32:
        return encode_integer(lanes, value)
    if fmt == BF16:
        return encode_bf16(lanes, value)
    return encode_narrow(lanes, fmt, value, saturate)


def encode_integer(lanes: Lanes, value: Vec) -> Vec:
    """Nearest integer, ties to even, saturating; NaN gives 0."""
    kind = value.value.type
    whole = lanes.call(f"llvm.rint.v{kind.count}f32", kind, value)
    target = ir.VectorType(I32, kind.count)
    return lanes.call(f"llvm.fptosi.sat.v{kind.count}i32.v{kind.count}f32", target, whole)


def encode_bf16(lanes: Lanes, value: Vec) -> Vec:
    bits = value.bits()
    rounded = (bits + (bits.lshr(16) & 1) + 0x7FFF).lshr(16)
    return value.is_nan().choose(lanes.constant(I32, 0x7FC0), rounded)


def encode_narrow(lanes: Lanes, fmt: int, value: Vec, saturate: bool) -> Vec:
    """FP16, E4M3FN, E5M2, E2M1."""
    mantissa, bias, width = SHAPES[fmt]
    drop = 23 - mantissa
    bits = value.bits()
    magnitude = bits & MAGNITUDE
    rebase = (1 << (drop - 1)) - 1 - ((127 - bias) << 23)
    normal = (magnitude + (magnitude.lshr(drop) & 1) + (rebase & 0xFFFFFFFF)).lshr(drop)
    quantum = (1 - bias + drop + 127) << 23  # 2^(emin + 23 - mantissa): its ulp is the quantum
    subnormal = (magnitude.floats() + lanes.float_bits(quantum)).bits() - quantum
    is_small = magnitude.compare("<", (128 - bias) << 23)
    code = is_small.choose(subnormal, normal)
    sign = bits.lshr(31) << (width - 1)
    limit, overflow, nan = _overflow_codes(fmt, saturate)
    too_big = code.compare(">", limit)
    if fmt == E4M3FN and not saturate:  # the overflow is the canonical NaN, which has no sign
        result = too_big.choose(lanes.constant(I32, nan), code | sign)
    else:
        result = too_big.choose(lanes.constant(I32, overflow), code) | sign
    is_nan = magnitude.compare(">", INFINITY)
    return is_nan.choose(lanes.constant(I32, nan), result)


def _overflow_codes(fmt: int, saturate: bool) -> tuple[int, int, int]:
    """Largest finite code, what replaces anything larger, and what a NaN becomes."""
    if fmt == FP16:
        return 0x7BFF, 0x7C00, 0x7E00
    if fmt == E4M3FN:
        return 0x7E, 0x7E if saturate else 0x7F, 0x7F
    if fmt == E5M2:
        return 0x7B, 0x7B if saturate else 0x7C, 0x7E
    return 0x7, 0x7, 0x7


# ---- memory: sixteen consecutive elements

ELEMENT = {FP32: I32, BF16: I16, FP16: I16, FORMAT_I32: I32, RAW16: I16, RAW32: I32}


def element_type(fmt: int) -> ir.IntType:
    return ELEMENT.get(fmt, I8)


def block_bytes(fmt: int) -> int:
    """Bytes of sixteen consecutive elements."""
    return 8 if fmt == E2M1 else 2 * element_type(fmt).width


def load_codes(lanes: Lanes, fmt: int, address: Vec) -> Vec:
    """Sixteen consecutive codes as i32 lanes."""
    if fmt == E2M1:
        packed = lanes.load(address, I8, 8)
        order = [half * 8 + byte for byte in range(8) for half in (0, 1)]
        return lanes.shuffle(packed & 15, packed.lshr(4), order).cast("zext", I32)
    codes = lanes.load(address, element_type(fmt))
    return codes if element_type(fmt) is I32 else codes.cast("zext", I32)


def store_codes(lanes: Lanes, fmt: int, codes: Vec, address: Vec) -> None:
    if element_type(fmt) is I32:
        lanes.store(codes, address)
        return
    narrow = codes.cast("trunc", element_type(fmt))
    if fmt == E2M1:
        even = lanes.shuffle(narrow, narrow, range(0, WIDTH, 2))
        odd = lanes.shuffle(narrow, narrow, range(1, WIDTH, 2))
        narrow = even | (odd << 4)
    lanes.store(narrow, address)


def tail_bytes(lanes: Lanes, fmt: int, count: Vec) -> Vec:
    """Bytes of `count` consecutive elements; an odd nibble takes a whole byte."""
    if fmt == E2M1:
        return (count + 1).lshr(1)
    return count * (element_type(fmt).width // 8)


def stack_block(lanes: Lanes, fmt: int) -> tuple[ir.Value, Vec]:
    """Room on the stack for sixteen elements: its pointer and its address."""
    room = cgutils.alloca_once(lanes.builder, ir.ArrayType(I8, 64))
    pointer = lanes.builder.bitcast(room, I8.as_pointer())
    return pointer, lanes.vec(lanes.builder.ptrtoint(pointer, I64))


def byte_pointer(lanes: Lanes, address: Vec) -> ir.Value:
    return lanes.builder.inttoptr(address.value, I8.as_pointer())


def load_tail(lanes: Lanes, fmt: int, address: Vec, count: Vec) -> Vec:
    """`count` < 16 codes as i32 lanes; the other lanes are code 0."""
    builder = lanes.builder
    pointer, room = stack_block(lanes, fmt)
    cgutils.memset(builder, pointer, ir.Constant(I64, 64), 0)
    size = tail_bytes(lanes, fmt, count)
    cgutils.raw_memcpy(builder, pointer, byte_pointer(lanes, address), size.value, 1)
    return load_codes(lanes, fmt, room)


def store_tail(lanes: Lanes, fmt: int, codes: Vec, address: Vec, count: Vec) -> None:
    builder = lanes.builder
    pointer, room = stack_block(lanes, fmt)
    store_codes(lanes, fmt, codes, room)
    size = tail_bytes(lanes, fmt, count)
    cgutils.raw_memcpy(builder, byte_pointer(lanes, address), pointer, size.value, 1)


# ---- runs


def for_blocks(
    lanes: Lanes,
    count: Vec,
    carried: list[Vec],
    full: Callable[[list[Vec]], list[Vec]],
    rest: Callable[[list[Vec], Vec], None],
) -> None:
    """Call `full` for every whole block of 16 of `count`, then `rest` if elements remain.

    `carried` must be i64 values; they live in stack slots, which LLVM turns into registers.
    """
    builder = lanes.builder
    slots = [cgutils.alloca_once_value(builder, value.value) for value in carried]
    read = lambda: [lanes.vec(builder.load(slot, typ=I64)) for slot in slots]  # noqa: E731
    blocks = count.lshr(4)
    with builder.if_then(blocks.compare(">", 0).value):
        after = lanes.counted_loop(blocks, read(), full)
        for slot, value in zip(slots, after, strict=True):
            builder.store(value.value, slot)
    remaining = count & 15
    with builder.if_then(remaining.compare(">", 0).value):
        rest(read(), remaining)


def _make_decode(fmt: int) -> Callable[..., Any]:
    size = block_bytes(fmt)

    @intrinsic
    def decode(typingctx, source, target, count):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, dst, n = (lanes.vec(arg) for arg in args)

            def full(carried):
                at, to = carried
                lanes.store(decode_lanes(lanes, fmt, load_codes(lanes, fmt, at)), to)
                return [at + size, to + 64]

            def rest(carried, remaining):
                at, to = carried
                lanes.store(decode_lanes(lanes, fmt, load_tail(lanes, fmt, at, remaining)), to)

            for_blocks(lanes, n, [src, dst], full, rest)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return decode


_DECODERS = {
    fmt: _make_decode(fmt)
    for fmt in (FP32, BF16, FP16, E4M3FN, E5M2, E2M1, E8M0, FORMAT_I32, FORMAT_U8, RAW8, RAW16)
}
_decode_fp32, _decode_bf16, _decode_fp16 = _DECODERS[FP32], _DECODERS[BF16], _DECODERS[FP16]
_decode_e4m3fn, _decode_e5m2, _decode_e2m1 = _DECODERS[E4M3FN], _DECODERS[E5M2], _DECODERS[E2M1]
_decode_e8m0, _decode_i32, _decode_u8 = (
    _DECODERS[E8M0],
    _DECODERS[FORMAT_I32],
    _DECODERS[FORMAT_U8],
)
_decode_raw8, _decode_raw16 = _DECODERS[RAW8], _DECODERS[RAW16]


@inner
def decode_run(fmt, source, target, count):
    """`count` consecutive elements at `source` to fp32 at `target` (room for a multiple of 16)."""
    out_of_line()
    if fmt in (FP32, RAW32):
        _decode_fp32(source, target, count)
    elif fmt == BF16:
        _decode_bf16(source, target, count)
    elif fmt == FP16:
        _decode_fp16(source, target, count)
    elif fmt == E4M3FN:
        _decode_e4m3fn(source, target, count)
    elif fmt == E5M2:
        _decode_e5m2(source, target, count)
    elif fmt == E2M1:
        _decode_e2m1(source, target, count)
    elif fmt == E8M0:
        _decode_e8m0(source, target, count)
    elif fmt == FORMAT_I32:
        _decode_i32(source, target, count)
    elif fmt == RAW8:
        _decode_raw8(source, target, count)
    elif fmt == RAW16:
        _decode_raw16(source, target, count)
    else:
        _decode_u8(source, target, count)


def _make_encode(fmt: int, saturate: bool) -> Callable[..., Any]:
    """(fp32 address, target address, count) -> status bits."""
    size = block_bytes(fmt)

    @intrinsic
    def encode(typingctx, source, target, count):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, dst, n = (lanes.vec(arg) for arg in args)
            sticky = cgutils.alloca_once_value(builder, ir.Constant(I64, 0))

            def note_nans(value, valid=None):
                if fmt != E2M1:
                    return
                nans = value.is_nan()
                mask = builder.bitcast(nans.value, ir.IntType(WIDTH))
                if valid is not None:
                    below = (lanes.i64(1) << valid) - 1
                    mask = builder.and_(mask, builder.trunc(below.value, ir.IntType(WIDTH)))
                met = builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(WIDTH), 0))
                old = builder.load(sticky, typ=I64)
                builder.store(builder.or_(old, builder.zext(met, I64)), sticky)

            def full(carried):
                at, to = carried
                value = lanes.load(at, F32)
                note_nans(value)
                store_codes(lanes, fmt, encode_lanes(lanes, fmt, value, saturate), to)
                return [at + 64, to + size]

            def rest(carried, remaining):
                at, to = carried
                value = lanes.load(at, F32)
                note_nans(value, remaining)
                codes = encode_lanes(lanes, fmt, value, saturate)
                store_tail(lanes, fmt, codes, to, remaining)

            for_blocks(lanes, n, [src, dst], full, rest)
            return builder.load(sticky, typ=I64)

        return types.int64(types.int64, types.int64, types.int64), codegen

    return encode


_encode_fp32, _encode_bf16, _encode_fp16 = (_make_encode(f, True) for f in (FP32, BF16, FP16))
_encode_e4m3fn, _encode_e5m2, _encode_e2m1 = (_make_encode(f, True) for f in (E4M3FN, E5M2, E2M1))
_encode_e4m3fn_nosat, _encode_e5m2_nosat = (_make_encode(f, False) for f in (E4M3FN, E5M2))
_encode_i32 = _make_encode(FORMAT_I32, True)
_encode_raw8, _encode_raw16, _encode_raw32 = (_make_encode(f, True) for f in (RAW8, RAW16, RAW32))


@inner
def _encode_nibbles(source, target, count):
    """E2M1; the nibble after an odd end is not part of the run and keeps its value."""
    if count % 2 == 0:
        return _encode_e2m1(source, target, count)
    last = target + count // 2
    neighbour = load_u8(last) & 0xF0
    status = _encode_e2m1(source, target, count)
    store_u8(last, load_u8(last) & 0x0F | neighbour)
    return status


@inner
def encode_run(fmt, saturate, source, target, count):
    """fp32 at `source` (readable to a multiple of 16) to `count` elements; returns status bits."""
    out_of_line()
    if fmt == FP32:
        return _encode_fp32(source, target, count)
    if fmt == BF16:
        return _encode_bf16(source, target, count)
    if fmt == FP16:
        return _encode_fp16(source, target, count)
    if fmt == E2M1:
        return _encode_nibbles(source, target, count)
    if fmt == FORMAT_I32:
        return _encode_i32(source, target, count)
    if fmt == RAW8:
        return _encode_raw8(source, target, count)
    if fmt == RAW16:
        return _encode_raw16(source, target, count)
    if fmt == RAW32:
        return _encode_raw32(source, target, count)
    if fmt == E4M3FN:
        if saturate:
            return _encode_e4m3fn(source, target, count)
        return _encode_e4m3fn_nosat(source, target, count)
    if saturate:
        return _encode_e5m2(source, target, count)
    return _encode_e5m2_nosat(source, target, count)
