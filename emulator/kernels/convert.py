"""Runs of consecutive elements to and from fp32, in every format.

Source: the arithmetic contract, sections 1 and 2; the conversions themselves are in code_lanes.py.
fp32 work buffers must have room for a multiple of 16 elements; memory operands are never touched
beyond their last element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator.kernels.code_lanes import (
    RAW8,
    RAW16,
    RAW32,
    block_bytes,
    decode_lanes,
    encode_lanes,
    load_codes,
    load_tail,
    store_codes,
    store_tail,
)
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I64, WIDTH, Lanes, Vec
from emulator.kernels.memory import load_u8, out_of_line, store_u8
from emulator.kernels.operand import BF16, E2M1, E4M3FN, E5M2, E8M0, FP16, FP32
from emulator.kernels.operand import I32 as FORMAT_I32
from emulator.kernels.operand import U8 as FORMAT_U8


def for_blocks(
    lanes: Lanes,
    count: Vec,
    carried: Sequence[Vec],
    full: Callable[[Sequence[Vec]], Sequence[Vec]],
    rest: Callable[[Sequence[Vec], Vec], None],
) -> None:
    """Call `full` for every whole block of 16 of `count`, then `rest` if elements remain.

    `carried` must be i64 values; they live in stack slots, which LLVM turns into registers.
    """
    builder = lanes.builder
    slots = [cgutils.alloca_once_value(builder, value.value) for value in carried]

    def read() -> list[Vec]:
        return [lanes.vec(builder.load(slot, typ=I64)) for slot in slots]

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
