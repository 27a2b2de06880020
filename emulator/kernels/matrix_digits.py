"""FP8 (E4M3FN) by FP4 (E2M1) with integer dot products, for few rows, wherever no sum rounds.

Source: the arithmetic contract, section 1. An E4M3FN value is a multiple of 2^-9, an E2M1 value one
of 1/2, so a block's partial sums are multiples of 2^-10; more precisely, of 2^-10 times the lowest
bit that any of the block's integers a * 512 has set. None of them is above the sum of |a| * 6. If
that leaves 24 bits, all of them are exact in fp32: no step rounds, the order of additions is free,
and integers will do. `pack_a_digits` finds out for each block of A; the others go the usual way
(matrix_stream.py). Quantised activations nearly always pass.

a * 512 has 18 bits and a sign: three signed bytes (digits of base 256), each of which has a dot
product of its own (matrix_dots.py).

A row of digits in scratch: for each digit the bytes of even k, then of odd k; then the blocks'
starting values, and whether each block is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I32, I64, WIDTH, Lanes, Vec
from emulator.kernels.matrix_dots import (
    HAS_DOTS,
    ODD_AT,
    OFFSET,
    Shape,
    Tile,
    make_dots,
    only_with_dots,
)
from emulator.kernels.matrix_micro import add_scaled
from emulator.kernels.memory import load_i32, load_i64, out_of_line, store_i32
from emulator.kernels.operand import E2M1, E4M3FN
from emulator.kernels.scratch import AHEAD, BLOCKS, D_STRIDE, DEPTH

HAS_DIGITS = HAS_DOTS
DIGITS = 3
DIGIT_BYTES = DEPTH  # of one digit: even k, then odd k
START_AT = DIGITS * DIGIT_BYTES
EXACT_AT = START_AT + 4 * BLOCKS
FACTS_AT = EXACT_AT + 4 * BLOCKS  # while packing: of each 16 k the sum, the sum of magnitudes, bits
FACTS = 24
UNIT = 2.0**-10

PAIR_ROWS, PAIR_PANELS = 2, 2
SINGLE_PANELS = 4


@intrinsic
def _pack(typingctx: Any, source: Any, target: Any) -> Any:
    """128 fp32 values of E4M3FN to a row of digits, and the facts of each 16 of them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, target = (lanes.vec(arg) for arg in args)
        bytes_: list[list[Vec]] = [[] for _ in range(DIGITS)]
        for i in range(DEPTH // WIDTH):
            value = lanes.load(source + 4 * WIDTH * i, F32)
            number = (value * 512.0).cast("fptosi", I32)
            _facts(lanes, value, number, target + FACTS_AT + FACTS * i)
            rest = number
            for digit in bytes_:
                low = (rest << 24).ashr(24)
                digit.append(low.cast("trunc", I8))
                rest = (rest - low).ashr(8)
        for d, parts in enumerate(bytes_):
            for odd in range(2):
                lanes.store(
                    _every_second(lanes, parts, odd), target + d * DIGIT_BYTES + ODD_AT * odd
                )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _facts(lanes: Lanes, value: Vec, number: Vec, target: Vec) -> None:
    """Sum, sum of magnitudes, and all bits that are set; a NaN counts as huge and odd."""
    negative = number.ashr(31)
    magnitude = (number ^ negative) - negative
    magnitude = value.is_nan().choose(lanes.constant(I32, 1 << 26 | 1), magnitude)
    reduced = [("add", number), ("add", magnitude), ("or", magnitude)]
    for i, (how, vector) in enumerate(reduced):
        total = lanes.call(f"llvm.vector.reduce.{how}.v16i32", I32, vector)
        lanes.store(total.cast("sext", I64), target + 8 * i)


def _every_second(lanes: Lanes, parts: list[Vec], odd: int) -> Vec:
    """Bytes of even or of odd k, of vectors of sixteen bytes."""
    while len(parts) > 2:
        count = parts[0].value.type.count
        parts = [
            lanes.shuffle(a, b, range(2 * count))
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return lanes.shuffle(parts[0], parts[1], range(odd, DEPTH, 2))


def _add_units(lanes: Lanes, tile: Tile, totals: Tile, sa: Vec, sw: Vec, is_wide: Vec) -> None:
    """Sums in units of 2^-10, exact in fp32, go the way of all sums."""
    sums = [[total.cast("sitofp", F32) * UNIT for total in row] for row in totals]
    add_scaled(lanes, tile, sums, sa, sw, is_wide)


_single = make_dots(Shape(1, SINGLE_PANELS, D_STRIDE, DIGITS, DIGIT_BYTES), _add_units)
_two, _one = (
    make_dots(Shape(1, panels, D_STRIDE, DIGITS, DIGIT_BYTES), _add_units) for panels in (2, 1)
)
_pair = make_dots(Shape(PAIR_ROWS, PAIR_PANELS, D_STRIDE, DIGITS, DIGIT_BYTES), _add_units)


@inner
def can_use_digits(format_a, format_w):
    """Whether this machine has the instructions, for operands of these formats."""
    return HAS_DIGITS and format_a == E4M3FN and format_w == E2M1


@only_with_dots
def pack_a_digits(source, target, block):
    """128 fp32 values of one row of A (those behind its end may be anything)."""
    _pack(source, target)
    halves = block // 16
    for b in range(DEPTH // block):
        total, magnitude, bits = 0, 0, 0
        for half in range(b * halves, (b + 1) * halves):
            facts = target + FACTS_AT + FACTS * half
            total += load_i64(facts)
            magnitude += load_i64(facts + 8)
            bits |= load_i64(facts + 16)
        lowest = bits & -bits
        exact = bits == 0 or magnitude * OFFSET <= lowest << 24
        store_i32(target + START_AT + 4 * b, -OFFSET * total)
        store_i32(target + EXACT_AT + 4 * b, 1 if exact else 0)


@only_with_dots
def is_exact(digits, block):
    """Whether no sum of this block of a row can round."""
    return load_i32(digits + EXACT_AT + 4 * block) != 0


@only_with_dots
def digit_blocks(c, digits, w, w_stride, sa, sw, first, blocks, words, wide, ahead):
    """One row by SINGLE_PANELS panels of packed words, from block `first` of a chunk."""
    out_of_line()
    _single(
        c,
        0,
        digits + first * words * 4,
        w + first * words * 64,
        w_stride,
        sa + first * 4,
        sw + first * 64,
        digits + START_AT + first * 4,
        blocks,
        words,
        wide,
        ahead,
    )


@only_with_dots
def digit_narrow_blocks(panels, c, digits, w, w_stride, sa, sw, first, blocks, words, wide, ahead):
    """The same by two panels or one: what is left of a group."""
    out_of_line()
    at_digits, start = digits + first * words * 4, digits + START_AT + first * 4
    at_w, at_sa, at_sw = w + first * words * 64, sa + first * 4, sw + first * 64
    if panels == 2:
        _two(c, 0, at_digits, at_w, w_stride, at_sa, at_sw, start, blocks, words, wide, ahead)
    else:
        _one(c, 0, at_digits, at_w, w_stride, at_sa, at_sw, start, blocks, words, wide, ahead)


@only_with_dots
def digit_pair_blocks(c, c_stride, digits, w, w_stride, sa, sw, blocks, words, wide):
    """PAIR_ROWS rows by PAIR_PANELS panels of packed words, over a whole chunk."""
    out_of_line()
    start = digits + START_AT
    _pair(c, c_stride, digits, w, w_stride, sa, sw, start, blocks, words, wide, AHEAD)
