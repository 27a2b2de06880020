"""The elementwise operations on sixteen lanes, and their loops.

Source: the arithmetic contract, section 2. Each operation is one loop over sixteen lanes of fp32
(or of i32, for I32 operands). The contract's canonical NaN is made in the loop, since the
destination may be its target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import canonical
from emulator.kernels.lanes import F32, I32, Lanes, Vec

ONE = 0x3F800000

# ---- the operations on sixteen lanes

Operation = Callable[..., Vec]


def minimum(lanes: Lanes, a: Vec, b: Vec) -> Vec:
    """IEEE 754-2019 minimum: -0 < +0 (equal values differ in the sign only), NaN propagates."""
    equal = (a.bits() | b.bits()).floats()
    less = a.compare("<", b).choose(a, b)
    return _or_nan(lanes, a, b, a.compare("==", b).choose(equal, less))


def maximum(lanes: Lanes, a: Vec, b: Vec) -> Vec:
    """IEEE 754-2019 maximum."""
    equal = (a.bits() & b.bits()).floats()
    greater = a.compare(">", b).choose(a, b)
    return _or_nan(lanes, a, b, a.compare("==", b).choose(equal, greater))


def _or_nan(lanes: Lanes, a: Vec, b: Vec, result: Vec) -> Vec:
    unordered = lanes.vec(lanes.builder.fcmp_unordered("uno", a.value, b.value))
    return unordered.choose(lanes.float_bits(0x7FC00000), result)


def _exact_nan(operation: Operation) -> Operation:
    """An operation whose NaNs are made canonical."""

    def wrapped(lanes: Lanes, *operands: Vec) -> Vec:
        return canonical(lanes, operation(lanes, *operands))

    return wrapped


def _reciprocal(lanes: Lanes, x: Vec) -> Vec:
    return lanes.float_bits(ONE) / x


EXP2_COEFFICIENTS = (
    0x3F800000,
    0x3F317218,
    0x3E75FDF0,
    0x3D635766,
    0x3C1D950E,
    0x3AAFA460,
    0x39222000,
)


def exp2(lanes: Lanes, x: Vec) -> Vec:
    """EXP2 of the contract: clamp, round to an integer, degree-6 Horner unfused, two scalings."""
    low, high = lanes.constant(F32, -160.0), lanes.constant(F32, 129.0)
    is_nan = x.is_nan()
    x = x.compare("<", low).choose(low, x)
    x = x.compare(">", high).choose(high, x)
    x = is_nan.choose(lanes.constant(F32, 0.0), x)
    n = (x + 12582912.0) - 12582912.0
    f = x - n
    p = lanes.float_bits(EXP2_COEFFICIENTS[6])
    for bits in reversed(EXP2_COEFFICIENTS[:6]):
        p = p * f + lanes.float_bits(bits)
    whole = n.cast("fptosi", I32)
    half = whole.ashr(1)
    p = p * _power(half)
    p = p * _power(whole - half)
    return is_nan.choose(lanes.float_bits(0x7FC00000), p)


def _power(exponent: Vec) -> Vec:
    """2^n for integers within fp32's normal range."""
    return ((exponent + 127) << 23).floats()


def integer_choice(relation: str) -> Operation:
    """The smaller or the larger of two integers."""
    return lambda lanes, a, b: a.compare(relation, b).choose(a, b)


# ---- loops


def _make_loop(inputs: int, operation: Operation, element: ir.Type = F32) -> Callable[..., Any]:
    """(target, address and step of each input, blocks of sixteen) -> nothing."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        target, *places, blocks = (lanes.vec(arg) for arg in args)
        addresses, steps = places[0::2], places[1::2]

        def body(carried: Sequence[Vec]) -> list[Vec]:
            to, *sources = carried
            operands = [lanes.load(source, element) for source in sources]
            lanes.store(operation(lanes, *operands), to)
            return [to + 64, *(s + step for s, step in zip(sources, steps, strict=True))]

        lanes.counted_loop(blocks, [target, *addresses], body)
        return context.get_dummy_value()

    def signature(count: int) -> Any:
        return types.void(*[types.int64] * count)

    if inputs == 1:

        @intrinsic
        def loop1(typingctx: Any, to: Any, a: Any, a_step: Any, blocks: Any) -> Any:
            return signature(4), generate

        return loop1
    if inputs == 2:

        @intrinsic
        def loop2(
            typingctx: Any, to: Any, a: Any, a_step: Any, b: Any, b_step: Any, blocks: Any
        ) -> Any:
            return signature(6), generate

        return loop2
    if inputs == 3:

        @intrinsic
        def loop3(
            typingctx: Any,
            to: Any,
            a: Any,
            a_step: Any,
            b: Any,
            b_step: Any,
            c: Any,
            c_step: Any,
            blocks: Any,
        ) -> Any:
            return signature(8), generate

        return loop3

    @intrinsic
    def loop4(
        typingctx: Any,
        to: Any,
        a: Any,
        a_step: Any,
        b: Any,
        b_step: Any,
        c: Any,
        c_step: Any,
        e: Any,
        e_step: Any,
        blocks: Any,
    ) -> Any:
        return signature(10), generate

    return loop4


add_loop = _make_loop(2, _exact_nan(lambda lanes, a, b: a + b))
sub_loop = _make_loop(2, _exact_nan(lambda lanes, a, b: a - b))
mul_loop = _make_loop(2, _exact_nan(lambda lanes, a, b: a * b))
div_loop = _make_loop(2, _exact_nan(lambda lanes, a, b: a / b))
min_loop, max_loop = _make_loop(2, minimum), _make_loop(2, maximum)
add_i32_loop = _make_loop(2, lambda lanes, a, b: a + b, I32)
sub_i32_loop = _make_loop(2, lambda lanes, a, b: a - b, I32)
mul_i32_loop = _make_loop(2, lambda lanes, a, b: a * b, I32)
min_i32_loop = _make_loop(2, integer_choice("<"), I32)
max_i32_loop = _make_loop(2, integer_choice(">"), I32)
muladd2_loop = _make_loop(4, _exact_nan(lambda lanes, a, b, c, e: a * b + c * e))
sqrt_loop = _make_loop(1, _exact_nan(lambda lanes, a: lanes.sqrt(a)))
rcp_loop = _make_loop(1, _exact_nan(_reciprocal))
rsqrt_loop = _make_loop(1, _exact_nan(lambda lanes, a: _reciprocal(lanes, lanes.sqrt(a))))
exp2_loop = _make_loop(1, exp2)


def _choose_by_mask(lanes: Lanes, mask: Vec, a: Vec, b: Vec) -> Vec:
    return mask.compare("!=", 0).choose(a, b)


select_loop = _make_loop(3, _choose_by_mask, I32)

# What a comparison can find, and the findings for which each relation holds.
LESS, EQUAL, GREATER, UNORDERED = 1, 2, 4, 8
RELATIONS = (EQUAL, LESS | GREATER | UNORDERED, LESS, LESS | EQUAL, GREATER, GREATER | EQUAL)


def _finding(lanes: Lanes, a: Vec, b: Vec, holds: Vec) -> Vec:
    """1 where the finding is among those of `holds`, else 0."""
    found = lanes.constant(I32, UNORDERED)
    for relation, bit in (("<", LESS), ("==", EQUAL), (">", GREATER)):
        found = a.compare(relation, b).choose(lanes.constant(I32, bit), found)
    return (found & holds).compare("!=", 0).cast("zext", I32)


compare_loop = _make_loop(3, lambda lanes, a, b, holds: _finding(lanes, a, b, holds.bits()))
compare_i32_loop = _make_loop(3, _finding, I32)
