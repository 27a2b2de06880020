"""NVFP4: blocks of 16 under an E4M3FN scale each, and a tensor scale for all.

Source: the arithmetic contract, section 4: with y = RNE(x * ts_inv), an element is the E2M1 code of
q = RNE(y / s). That division is not done: of each tie t between neighbouring values (0.25, 0.75,
... 5) the code asks whether |q| is above, on or below it, and that is how |y| lies to t * s.

    t has at most three significant bits and s four, so that t * s is an fp32 number. Where |y| is
    another one they are at least a unit in the last place of t * s apart. Divided by s < 2^(b+1),
    2^b being its power of two, that is more than half a unit in the last place of t: the quotient
    does not round to t. (Below a power of two that unit is halved for both: t is one wherever
    t * s is.)

As t * s has at most seven bits, the upper half of |y| with its last bit set if anything lies below
it (rounding to odd) compares as |y| does. So two blocks share a vector of sixteen-bit lanes, the
even one in the lower half of each word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.block_maxima import maxima_of_16
from emulator.kernels.code_lanes import (
    block_bytes,
    decode_lanes,
    encode_lanes,
    load_codes,
)
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I16, I32, I64, WIDTH, Lanes, Vec
from emulator.kernels.memory import bits_of_f32, f32_of_bits, fill_bytes
from emulator.kernels.operand import BF16, E4M3FN, FP16, FP32, H_NUMBER, header

INFINITY = 0x7F800000
ONE = 0x3F800000
SCALE_NAN = 0x7F
BLOCK = 16
DOUBLE = 0x80  # of the exponent, in the upper half of an fp32 number
SMALL, LARGE = 0x1F800000, 0x71800000  # 2^-64 and 2^100: no fp32 times one comes near the other
TIES = 7
# Of one run: maxima, what elements are multiplied by, scale codes; for each tie what the
# upper half of a magnitude has to be above.
BLOCKS = at.LONG_RUN // BLOCK
MAXIMA_AT, FACTORS_AT = at.OUT_AT, at.OUT_AT + 4 * BLOCKS
SCALES_AT, LIMITS_AT = at.OUT_AT + 8 * BLOCKS, at.OUT_AT + 9 * BLOCKS
LIMITS_STRIDE = 2 * BLOCKS


@inner
def tensor_scale_inverse(args):
    """RNE(1 / ts); an absent tensor scale is 0 in the record, and means 1."""
    bits = header(args, H_NUMBER) & 0xFFFFFFFF
    return np.float32(1) / f32_of_bits(bits if bits != 0 else ONE)


@inner
def is_finite(inverse):
    """Neither a NaN nor an Inf."""
    return bits_of_f32(inverse) & INFINITY != INFINITY


@intrinsic
def _scales(typingctx: Any, base: Any, inverse: Any, part: Any) -> Any:
    """Sixteen blocks: s = CVT(RNE(RNE(amax * ts_inv) / 6)), and what it does to the elements.

    Where s is 0 the elements keep their signs alone, by a small factor and a large scale. Where
    s is a NaN, every y is one too, and above whatever limits. Returns whether a block holds a NaN
    or an Inf.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        base, inverse, part = (lanes.vec(arg) for arg in args)
        words = base + (part << 6)
        inverses = lanes.broadcast(inverse)
        largest = lanes.load(words + MAXIMA_AT, I32)
        bad = largest.compare(">=", INFINITY)
        code = encode_lanes(lanes, E4M3FN, largest.floats() * inverses / 6.0, True)
        code = bad.choose(lanes.constant(I32, SCALE_NAN), code)
        magnitude = code & 0x7F
        scale = decode_lanes(lanes, E4M3FN, magnitude)
        scale = magnitude.compare("==", SCALE_NAN).choose(lanes.float_bits(ONE), scale)
        none = magnitude.compare("==", 0)
        scale = none.choose(lanes.float_bits(LARGE), scale)
        for i, limit in enumerate(_limits(scale)):
            lanes.store(limit, base + (part << 5) + (LIMITS_AT + LIMITS_STRIDE * i))
        lanes.store(none.choose(lanes.float_bits(SMALL), inverses), words + FACTORS_AT)
        lanes.store(code.cast("trunc", I8), base + (part << 4) + SCALES_AT)
        found = lanes.vec(builder.bitcast(bad.value, I16))
        return found.compare("!=", 0).cast("zext", I64).value

    return types.int64(types.int64, types.float32, types.int64), codegen


def _limits(scale: Vec) -> list[Vec]:
    """For each tie, what the upper halves of magnitudes have to be above, in sixteen-bit lanes.

    On three ties the code above is the even one, and so on the tie itself. Powers of two of a tie
    differ in the exponent field.
    """
    quarter, three_quarters, five_quarters, seven_quarters = (
        (scale * factor).bits().lshr(16).cast("trunc", I16) for factor in (0.25, 0.75, 1.25, 1.75)
    )
    seven_quarters = seven_quarters - 1
    return [
        quarter,
        three_quarters - 1,
        five_quarters,
        seven_quarters,
        five_quarters + DOUBLE,
        seven_quarters + DOUBLE,
        five_quarters + 2 * DOUBLE,
    ]


@inner
def block_scales(source_fmt, source, blocks, inverse, base):
    """Scale codes of a run's blocks at SCALES_AT, and what their elements need beside.

    Returns 1 if a block holds a NaN or an Inf, else 0.
    """
    maxima_of_16(source_fmt, source, blocks, base + MAXIMA_AT)
    if blocks & 15:
        fill_bytes(base + MAXIMA_AT + 4 * blocks, 0, 64)  # of no blocks, but looked at
    met = 0
    for part in range((blocks + 15) >> 4):
        met |= _scales(base, inverse, part)
    return met


def _rounded_to_odd(y: Vec) -> Vec:
    """The bits of y, of which the upper half says whether there was anything in the lower."""
    bits = y.bits()
    return bits | ((bits & 0xFFFF) + 0xFFFF)


def _halves(lanes: Lanes, even: Vec, odd: Vec) -> Vec:
    """Two blocks of y in the halves of words."""
    words = _rounded_to_odd(even).lshr(16) | (_rounded_to_odd(odd) & 0xFFFF0000)
    return lanes.vec(lanes.builder.bitcast(words.value, ir.VectorType(I16, 2 * WIDTH)))


def _codes(halves: Vec, nan: Vec | None, limits: Sequence[Vec]) -> Vec:
    """Codes of `_halves`, their bits found from the highest down; +6 for a NaN."""
    one, two, three, four, five, six, seven = limits
    magnitude, sign = halves & 0x7FFF, halves.lshr(12) & 8
    bit2 = magnitude.compare(">", four)
    bit1 = magnitude.compare(">", bit2.choose(six, two))
    limit = bit1.choose(bit2.choose(seven, three), bit2.choose(five, one))
    bit0 = magnitude.compare(">", limit)
    code = sign if nan is None else nan.choose(sign ^ sign, sign)
    for bit, weight in ((bit2, 4), (bit1, 2), (bit0, 1)):
        code = bit.choose(code + weight, code)
    return code


def _store_pair(lanes: Lanes, codes: Vec, to: Vec) -> None:
    """Two blocks of nibbles: neighbours are 32 bits apart, blocks sixteen."""
    pairs = lanes.vec(lanes.builder.bitcast(codes.value, ir.VectorType(I64, WIDTH // 2)))
    pairs = pairs | pairs.lshr(28)
    bytes_ = lanes.vec(lanes.builder.bitcast(pairs.value, ir.VectorType(I8, 4 * WIDTH)))
    order = [*range(0, 4 * WIDTH, 8), *range(2, 4 * WIDTH, 8)]
    lanes.store(lanes.shuffle(bytes_, bytes_, order), to)


def _load_scaled(lanes: Lanes, fmt: int, source: Vec, words: Vec) -> Vec:
    """A block's y."""
    factor = lanes.broadcast(lanes.load_scalar(words + FACTORS_AT, F32))
    return decode_lanes(lanes, fmt, load_codes(lanes, fmt, source)) * factor


def _load_limits(lanes: Lanes, address: Vec) -> list[Vec]:
    """The limits of two blocks, in the halves of words."""
    words = [lanes.load_scalar(address + LIMITS_STRIDE * i, I32) for i in range(TIES)]
    kind = ir.VectorType(I16, 2 * WIDTH)
    both = [lanes.broadcast(word).value for word in words]
    return [lanes.vec(lanes.builder.bitcast(limit, kind)) for limit in both]


def _make_elements(fmt: int, nans: bool) -> Any:
    """(source, pairs of blocks, base, target, ahead) -> 1 if a NaN was met; `ahead` as in MX.

    Without `nans` the caller promises that the tensor scale's inverse is finite: no y is a NaN.
    """
    size = block_bytes(fmt)

    @intrinsic
    def elements(
        typingctx: Any, source: Any, pairs: Any, base: Any, target: Any, ahead: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, pairs, base, target, ahead = (lanes.vec(arg) for arg in args)

            def body(carried: Sequence[Vec]) -> list[Vec]:
                at_block, words, at_limits, to, met = carried
                for line in range(2 * size // at.LINE):
                    lanes.prefetch(at_block + ahead + at.LINE * line)
                even = _load_scaled(lanes, fmt, at_block, words)
                odd = _load_scaled(lanes, fmt, at_block + size, words + 4)
                halves = _halves(lanes, even, odd)
                nan = (halves & 0x7FFF).compare(">", 0x7F80) if nans else None
                codes = _codes(halves, nan, _load_limits(lanes, at_limits))
                _store_pair(lanes, codes, to)
                if nan is not None:
                    met = met | lanes.vec(builder.bitcast(nan.value, I32))
                return [at_block + 2 * size, words + 8, at_limits + 4, to + 16, met]

            start = [source, base, base + LIMITS_AT, target, lanes.vec(I32(0))]
            *_, met = lanes.counted_loop(pairs, start, body)
            return met.compare("!=", 0).cast("zext", I64).value

        return types.int64(*[types.int64] * 5), codegen

    return elements


_from_fp32, _from_bf16, _from_fp16 = (_make_elements(fmt, False) for fmt in (FP32, BF16, FP16))
_with_nans = _make_elements(FP32, True)


@inner
def scaled_elements(source_fmt, source, pairs, inverse, base, target, ahead):
    """Codes of pairs of blocks of 16 elements under `block_scales`; 1 if a quotient is a NaN.

    The source is fp32 unless `is_finite(inverse)`.
    """
    if not is_finite(inverse):
        return _with_nans(source, pairs, base, target, ahead)
    if source_fmt == BF16:
        return _from_bf16(source, pairs, base, target, ahead)
    if source_fmt == FP16:
        return _from_fp16(source, pairs, base, target, ahead)
    return _from_fp32(source, pairs, base, target, ahead)
