"""The largest magnitude of each of many blocks of consecutive elements, as fp32 patterns.

Source: the arithmetic contract, section 4: an integer maximum of |bits|. Codes of BF16 and FP16 are
ordered as the fp32 patterns they stand for (a NaN's lies above Inf's), so that only the maxima are
decoded. Sixteen blocks are reduced together: halves of two vectors are put side by side and
compared, four times, instead of folding each vector by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import block_bytes, decode_lanes, element_type, load_codes
from emulator.kernels.convert import for_blocks
from emulator.kernels.inner import inner
from emulator.kernels.lanes import I32, I64, WIDTH, Lanes, Vec
from emulator.kernels.operand import BF16, FP16, FP32


def _larger(a: Vec, b: Vec) -> Vec:
    return a.compare(">", b).choose(a, b)


def _magnitude(lanes: Lanes, fmt: int, address: Vec, vectors: int) -> Vec:
    """Lane by lane, the largest |code| of `vectors` consecutive sixteens."""
    sign = 1 << (element_type(fmt).width - 1)
    best = lanes.constant(I32, 0)
    for i in range(vectors):
        codes = load_codes(lanes, fmt, address + block_bytes(fmt) * i)
        best = _larger(codes & (sign - 1), best)
    return best


def maxima_of_vectors(lanes: Lanes, vectors: Sequence[Vec]) -> Vec:
    """Lane i is the largest lane of vector i, of sixteen."""
    distance = WIDTH // 2
    while distance:
        vectors = [
            _larger(*_halves(lanes, vectors[i], vectors[i + distance], distance))
            for i in range(distance)
        ]
        distance //= 2
    return vectors[0]


def _halves(lanes: Lanes, a: Vec, b: Vec, distance: int) -> tuple[Vec, Vec]:
    """Lanes of `a` where `distance` is not in their number and of `b` where it is: all, once."""
    low = [i if not i & distance else WIDTH + i - distance for i in range(WIDTH)]
    high = [i + distance if not i & distance else WIDTH + i for i in range(WIDTH)]
    return lanes.shuffle(a, b, low), lanes.shuffle(a, b, high)


def _make_maxima(fmt: int, vectors: int) -> Any:
    """(address, blocks of `vectors` sixteens, target): the largest magnitude of each block."""
    size = block_bytes(fmt) * vectors

    @intrinsic
    def maxima(typingctx: Any, source: Any, blocks: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, blocks, target = (lanes.vec(arg) for arg in args)

            def sixteen(carried: Sequence[Vec]) -> list[Vec]:
                at, to = carried
                each = [_magnitude(lanes, fmt, at + size * i, vectors) for i in range(WIDTH)]
                lanes.store(decode_lanes(lanes, fmt, maxima_of_vectors(lanes, each)), to)
                return [at + size * WIDTH, to + 4 * WIDTH]

            def single(carried: Sequence[Vec]) -> list[Vec]:
                at, to = carried
                largest = _fold(lanes, _magnitude(lanes, fmt, at, vectors))
                lanes.store(_decoded(lanes, fmt, largest), to)
                return [at + size, to + 4]

            def rest(carried: Sequence[Vec], remaining: Vec) -> None:
                lanes.counted_loop(remaining, carried, single)

            for_blocks(lanes, blocks, [source, target], sixteen, rest)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), codegen

    return maxima


def _fold(lanes: Lanes, vector: Vec) -> Vec:
    """The largest lane."""
    return lanes.call("llvm.vector.reduce.umax.v16i32", I32, vector)


def _decoded(lanes: Lanes, fmt: int, code: Vec) -> Vec:
    """The fp32 pattern of one magnitude."""
    values = decode_lanes(lanes, fmt, lanes.broadcast(code)).bits()
    return lanes.vec(lanes.builder.extract_element(values.value, I32(0)))


_of_32_fp32, _of_32_bf16, _of_32_fp16 = (_make_maxima(fmt, 2) for fmt in (FP32, BF16, FP16))
_of_16_fp32, _of_16_bf16, _of_16_fp16 = (_make_maxima(fmt, 1) for fmt in (FP32, BF16, FP16))


@inner
def maxima_of_32(fmt, source, blocks, target):
    """Of blocks of 32 elements, as fp32 patterns."""
    if fmt == BF16:
        _of_32_bf16(source, blocks, target)
    elif fmt == FP16:
        _of_32_fp16(source, blocks, target)
    else:
        _of_32_fp32(source, blocks, target)


@inner
def maxima_of_16(fmt, source, blocks, target):
    """Of blocks of 16 elements, as fp32 patterns."""
    if fmt == BF16:
        _of_16_bf16(source, blocks, target)
    elif fmt == FP16:
        _of_16_fp16(source, blocks, target)
    else:
        _of_16_fp32(source, blocks, target)


def _make_largest(fmt: int) -> Any:
    """(address, blocks of sixteen) -> the largest magnitude of all."""

    @intrinsic
    def largest(typingctx: Any, source: Any, blocks: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, blocks = (lanes.vec(arg) for arg in args)

            def body(carried: Sequence[Vec]) -> list[Vec]:
                at, best = carried
                return [at + block_bytes(fmt), _larger(_magnitude(lanes, fmt, at, 1), best)]

            _, best = lanes.counted_loop(blocks, [source, lanes.constant(I32, 0)], body)
            return _decoded(lanes, fmt, _fold(lanes, best)).cast("zext", I64).value

        return types.int64(types.int64, types.int64), codegen

    return largest


_largest_fp32, _largest_bf16, _largest_fp16 = map(_make_largest, (FP32, BF16, FP16))


@inner
def largest_magnitude(fmt, source, blocks):
    """The largest magnitude among blocks of sixteen elements, as an fp32 pattern."""
    if fmt == BF16:
        return _largest_bf16(source, blocks)
    if fmt == FP16:
        return _largest_fp16(source, blocks)
    return _largest_fp32(source, blocks)
