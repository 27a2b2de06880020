"""What top-k does to sixty-four elements, keys or ranks at a time.

Source: the arithmetic contract, section 2 (total order). A key is an fp32 number's place in the
total order as an integer (argmax.py); a group is a lane of sixty-four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.argmax import order_key
from emulator.kernels.lanes import F32, I32, I64, WIDTH, Lanes, Vec

VECTORS = 4
GROUPS = VECTORS * WIDTH
BLOCK_BYTES = 4 * GROUPS
NEGATIVE_INFINITY = 0xFF800000


def _mask(lanes: Lanes, condition: Vec) -> Vec:
    """The bits of a condition on up to 64 lanes as i64."""
    width = condition.value.type.count
    bits = lanes.vec(lanes.builder.bitcast(condition.value, ir.IntType(width)))
    return bits if width == GROUPS else bits.cast("zext", I64)


def _larger(a: Vec, b: Vec) -> Vec:
    return a.compare(">", b).choose(a, b)


@intrinsic
def fold_groups(typingctx: Any, maxima: Any, source: Any, blocks: Any) -> Any:
    """Fold blocks of 64 elements into the keys of the groups' maxima, NaNs left out."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        maxima, source, blocks = (lanes.vec(arg) for arg in args)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            address, *best = carried
            values = [lanes.load(address + 64 * i, F32) for i in range(VECTORS)]
            return [address + BLOCK_BYTES, *map(_larger, values, best)]

        start = [lanes.float_bits(NEGATIVE_INFINITY)] * VECTORS
        _, *best = lanes.counted_loop(blocks, [source, *start], body)
        for i, value in enumerate(best):
            place = maxima + 64 * i
            lanes.store(_larger(order_key(lanes, value.bits()), lanes.load(place, I32)), place)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@intrinsic
def above(typingctx: Any, source: Any, limit: Any, ahead: Any) -> Any:
    """Which of 64 elements are NaNs or above a limit; all, if that is a NaN.

    Asks for the memory `ahead` bytes further on.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, limit, ahead = (lanes.vec(arg) for arg in args)
        for line in range(BLOCK_BYTES // at.LINE):
            lanes.prefetch(source + ahead + at.LINE * line)
        values, limits = lanes.load(source, F32, GROUPS), lanes.broadcast(limit, GROUPS)
        above = builder.fcmp_unordered(">", values.value, limits.value)
        return _mask(lanes, lanes.vec(above)).value

    return types.int64(types.int64, types.float32, types.int64), codegen


@intrinsic
def maxima_above(typingctx: Any, maxima: Any, bound: Any) -> Any:
    """How many groups' maxima are above a bound."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        maxima, bound = (lanes.vec(arg) for arg in args)
        limit = lanes.broadcast(bound.cast("trunc", I32), GROUPS)
        mask = _mask(lanes, lanes.load(maxima, I32, GROUPS).compare(">", limit))
        return lanes.call("llvm.ctpop.i64", I64, mask).value

    return types.int64(types.int64, types.int64), codegen


def _make_extreme(relation: str, reduction: str) -> Any:
    @intrinsic
    def extreme(typingctx: Any, maxima: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            maxima = lanes.vec(args[0])
            best = lanes.load(maxima, I32)
            for i in range(1, VECTORS):
                key = lanes.load(maxima + 64 * i, I32)
                best = key.compare(relation, best).choose(key, best)
            return lanes.call(reduction, I32, best).cast("sext", I64).value

        return types.int64(types.int64), codegen

    return extreme


least = _make_extreme("<", "llvm.vector.reduce.smin.v16i32")
greatest = _make_extreme(">", "llvm.vector.reduce.smax.v16i32")


@intrinsic
def lowest_bit(typingctx: Any, mask: Any) -> Any:
    """The number of the lowest bit that is set, of one that has any."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def count_greater(typingctx: Any, ranks: Any, blocks: Any, rank: Any) -> Any:
    """How many ranks, of blocks of sixteen, are above one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        ranks, blocks, rank = (lanes.vec(arg) for arg in args)
        limit = lanes.broadcast(rank)

        def body(carried: Sequence[Vec]) -> list[Vec]:
            address, count = carried
            mask = _mask(lanes, lanes.load(address, I64).compare(">", limit))
            return [address + 8 * WIDTH, count + lanes.call("llvm.ctpop.i64", I64, mask)]

        _, count = lanes.counted_loop(blocks, [ranks, lanes.i64(0)], body)
        return count.value

    return types.int64(*[types.int64] * 3), codegen
