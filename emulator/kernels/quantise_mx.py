"""Elements under scales that are powers of two: blocks of 32 (MX), and whole rows.

Source: the arithmetic contract, section 4. The product x * 2^-e is exact, or so small that every
element format has zero for it. Blocks with a NaN or an Inf, whose elements are zeros, are rare:
they are made like the others, anyhow, and then set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.block_maxima import maxima_of_32
from emulator.kernels.code_lanes import (
    block_bytes,
    decode_lanes,
    encode_narrow,
    load_code_pair,
    store_code_pair,
)
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I16, I32, I64, Lanes, Vec
from emulator.kernels.memory import fill_bytes, store_u32
from emulator.kernels.operand import BF16, E2M1, E4M3FN, E5M2, FP16, FP32

INFINITY = 0x7F800000
E8M0_NAN = 0xFF
BLOCK = 32
# Of one run: maxima, what elements are multiplied by, scale codes.
BLOCKS = at.LONG_RUN // BLOCK
MAXIMA_AT, FACTORS_AT, SCALES_AT = at.OUT_AT, at.OUT_AT + 4 * BLOCKS, at.OUT_AT + 8 * BLOCKS


@inner
def _top_exponent(fmt):
    """Of the format's largest number."""
    return 8 if fmt == E4M3FN else 15 if fmt == E5M2 else 2


@inner
def _fraction_limit(fmt, floor):
    """The largest fraction field, as fp32 has it, that does not raise the scale."""
    if floor:
        return 0x7FFFFF
    return 0x400000 if fmt == E2M1 else 0x600000


@inner
def mx_scale(largest, fmt, floor):
    """E8M0 code of a block whose largest |pattern| is `largest`."""
    if largest >= INFINITY:
        return E8M0_NAN
    code = (largest >> 23) - _top_exponent(fmt)
    if largest & 0x7FFFFF > _fraction_limit(fmt, floor):
        code += 1
    return max(code, 0)


@intrinsic
def _scales(typingctx: Any, base: Any, exponent: Any, limit: Any, half: Any) -> Any:
    """`mx_scale` of sixteen maxima, and 2^-e; returns whether a block holds a NaN or an Inf."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        base, exponent, limit, half = (lanes.vec(arg) for arg in args)
        words = base + (half << 6)
        down = lanes.broadcast(exponent.cast("trunc", I32))
        limits = lanes.broadcast(limit.cast("trunc", I32))
        zero, one = lanes.constant(I32, 0), lanes.constant(I32, 1)
        largest = lanes.load(words + MAXIMA_AT, I32)
        above = (largest & 0x7FFFFF).compare(">", limits).choose(one, zero)
        code = largest.lshr(23) - down + above
        code = code.compare(">", 0).choose(code, zero)
        bad = largest.compare(">=", INFINITY)
        factor = (lanes.constant(I32, 254) - code) << 23  # no finite maximum has a code above 253
        code = bad.choose(lanes.constant(I32, E8M0_NAN), code)
        lanes.store(factor, words + FACTORS_AT)
        lanes.store(code.cast("trunc", I8), base + (half << 4) + SCALES_AT)
        found = lanes.vec(builder.bitcast(bad.value, I16))
        return found.compare("!=", 0).cast("zext", I64).value

    return types.int64(*[types.int64] * 4), codegen


@inner
def block_scales(fmt, floor, source_fmt, source, blocks, base):
    """Scale codes of a run's blocks at SCALES_AT, and what their elements need beside.

    Returns 1 if a block holds a NaN or an Inf, else 0.
    """
    maxima_of_32(source_fmt, source, blocks, base + MAXIMA_AT)
    if blocks & 15:
        fill_bytes(base + MAXIMA_AT + 4 * blocks, 0, 64)  # of no blocks, but looked at
    met = 0
    for half in range((blocks + 15) >> 4):
        met |= _scales(base, _top_exponent(fmt), _fraction_limit(fmt, floor), half)
    return met


@inner
def row_scale(code, base):
    """Have one scale code, of finite elements, hold for every block."""
    store_u32(base + FACTORS_AT, (254 - code) << 23)


def _scaled_codes(lanes: Lanes, source_fmt: int, fmt: int, codes: Vec, factor: Vec) -> Vec:
    """Sixteen codes of the source to codes of its elements."""
    product = decode_lanes(lanes, source_fmt, codes) * factor
    return encode_narrow(lanes, fmt, product, True, nans=False)


def _make_elements(source_fmt: int, fmt: int) -> Any:
    """(source, blocks of 32, base, bytes from a block's factor to the next, target, ahead).

    `ahead` is how far what will be read next lies from what is read here: computing leaves memory
    time to bring it.
    """

    @intrinsic
    def elements(
        typingctx: Any, source: Any, blocks: Any, base: Any, step: Any, target: Any, ahead: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, blocks, base, step, target, ahead = (lanes.vec(arg) for arg in args)
            size, source_size = block_bytes(fmt), block_bytes(source_fmt)

            def body(carried: Sequence[Vec]) -> list[Vec]:
                at_block, at_factor, to = carried
                factor = lanes.broadcast(lanes.load_scalar(at_factor, F32))
                for line in range(2 * source_size // at.LINE):
                    lanes.prefetch(at_block + ahead + at.LINE * line)
                low, high = (
                    _scaled_codes(lanes, source_fmt, fmt, codes, factor)
                    for codes in load_code_pair(lanes, source_fmt, at_block)
                )
                store_code_pair(lanes, fmt, (low, high), source_fmt, to)
                return [at_block + 2 * source_size, at_factor + step, to + 2 * size]

            lanes.counted_loop(blocks, [source, base + FACTORS_AT, target], body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return elements


_fp32_e4m3fn, _bf16_e4m3fn, _fp16_e4m3fn = (_make_elements(f, E4M3FN) for f in (FP32, BF16, FP16))
_fp32_e5m2, _bf16_e5m2, _fp16_e5m2 = (_make_elements(f, E5M2) for f in (FP32, BF16, FP16))
_fp32_e2m1, _bf16_e2m1, _fp16_e2m1 = (_make_elements(f, E2M1) for f in (FP32, BF16, FP16))


@inner
def _from_fp32(fmt, source, blocks, base, step, target, ahead):
    if fmt == E4M3FN:
        _fp32_e4m3fn(source, blocks, base, step, target, ahead)
    elif fmt == E5M2:
        _fp32_e5m2(source, blocks, base, step, target, ahead)
    else:
        _fp32_e2m1(source, blocks, base, step, target, ahead)


@inner
def _from_bf16(fmt, source, blocks, base, step, target, ahead):
    if fmt == E4M3FN:
        _bf16_e4m3fn(source, blocks, base, step, target, ahead)
    elif fmt == E5M2:
        _bf16_e5m2(source, blocks, base, step, target, ahead)
    else:
        _bf16_e2m1(source, blocks, base, step, target, ahead)


@inner
def _from_fp16(fmt, source, blocks, base, step, target, ahead):
    if fmt == E4M3FN:
        _fp16_e4m3fn(source, blocks, base, step, target, ahead)
    elif fmt == E5M2:
        _fp16_e5m2(source, blocks, base, step, target, ahead)
    else:
        _fp16_e2m1(source, blocks, base, step, target, ahead)


@inner
def scaled_elements(fmt, source_fmt, source, blocks, base, step, target, ahead):
    """Codes of blocks of 32 elements under `block_scales` (step 4) or `row_scale` (step 0)."""
    if source_fmt == BF16:
        _from_bf16(fmt, source, blocks, base, step, target, ahead)
    elif source_fmt == FP16:
        _from_fp16(fmt, source, blocks, base, step, target, ahead)
    else:
        _from_fp32(fmt, source, blocks, base, step, target, ahead)
