"""The vector unit's elementwise instructions.

Source: the arithmetic contract, section 2; isa/spec/vector.py. Each operation is one loop over
sixteen lanes of fp32 (or of i32, for I32 operands); every other format is converted on the way in
and out. The contract's canonical NaN is made in the loop, since the destination may be its target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.convert import canonical, encode_run
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I32, Lanes, Vec
from emulator.kernels.memory import load_u32, store_u32
from emulator.kernels.operand import (
    COLUMN_STRIDE,
    FORMAT,
    FP32,
    H_FLAGS,
    H_NUMBER,
    H_OPCODE,
    H_SCRATCH,
    STATUS_OK,
    field,
    header,
)
from emulator.kernels.operand import I32 as FORMAT_I32
from emulator.kernels.rows import (
    deliver,
    fetch,
    make_nest,
    nest_rows,
    next_run,
    result_place,
    row_address,
    row_length,
)
from isa.spec import BY_MNEMONIC

VADD, VSUB, VMUL, VDIV, VMIN, VMAX = (
    BY_MNEMONIC[name].opcode for name in ("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax")
)
VSQRT, VRCP, VRSQRT, VEXP2 = (
    BY_MNEMONIC[name].opcode for name in ("vsqrt", "vrcp", "vrsqrt", "vexp2")
)
FLAG_NOSAT = 2
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


_add = _make_loop(2, _exact_nan(lambda lanes, a, b: a + b))
_sub = _make_loop(2, _exact_nan(lambda lanes, a, b: a - b))
_mul = _make_loop(2, _exact_nan(lambda lanes, a, b: a * b))
_div = _make_loop(2, _exact_nan(lambda lanes, a, b: a / b))
_min, _max = _make_loop(2, minimum), _make_loop(2, maximum)
_add_i32 = _make_loop(2, lambda lanes, a, b: a + b, I32)
_sub_i32 = _make_loop(2, lambda lanes, a, b: a - b, I32)
_mul_i32 = _make_loop(2, lambda lanes, a, b: a * b, I32)
_min_i32 = _make_loop(2, integer_choice("<"), I32)
_max_i32 = _make_loop(2, integer_choice(">"), I32)
_muladd2 = _make_loop(4, _exact_nan(lambda lanes, a, b, c, e: a * b + c * e))
_sqrt = _make_loop(1, _exact_nan(lambda lanes, a: lanes.sqrt(a)))
_rcp = _make_loop(1, _exact_nan(_reciprocal))
_rsqrt = _make_loop(1, _exact_nan(lambda lanes, a: _reciprocal(lanes, lanes.sqrt(a))))
_exp2 = _make_loop(1, exp2)


def _choose_by_mask(lanes: Lanes, mask: Vec, a: Vec, b: Vec) -> Vec:
    return mask.compare("!=", 0).choose(a, b)


_select = _make_loop(3, _choose_by_mask, I32)

# What a comparison can find, and the findings for which each relation holds.
LESS, EQUAL, GREATER, UNORDERED = 1, 2, 4, 8
RELATIONS = (EQUAL, LESS | GREATER | UNORDERED, LESS, LESS | EQUAL, GREATER, GREATER | EQUAL)


def _finding(lanes: Lanes, a: Vec, b: Vec, holds: Vec) -> Vec:
    """1 where the finding is among those of `holds`, else 0."""
    found = lanes.constant(I32, UNORDERED)
    for relation, bit in (("<", LESS), ("==", EQUAL), (">", GREATER)):
        found = a.compare(relation, b).choose(lanes.constant(I32, bit), found)
    return (found & holds).compare("!=", 0).cast("zext", I32)


_compare = _make_loop(3, lambda lanes, a, b, holds: _finding(lanes, a, b, holds.bits()))
_compare_i32 = _make_loop(3, _finding, I32)

# ---- kernels


@inner
def _binary_loop(op, integer, to, a, a_step, b, b_step, blocks):
    if integer:
        if op == VADD:
            _add_i32(to, a, a_step, b, b_step, blocks)
        elif op == VSUB:
            _sub_i32(to, a, a_step, b, b_step, blocks)
        elif op == VMUL:
            _mul_i32(to, a, a_step, b, b_step, blocks)
        elif op == VMIN:
            _min_i32(to, a, a_step, b, b_step, blocks)
        else:
            _max_i32(to, a, a_step, b, b_step, blocks)
    elif op == VADD:
        _add(to, a, a_step, b, b_step, blocks)
    elif op == VSUB:
        _sub(to, a, a_step, b, b_step, blocks)
    elif op == VMUL:
        _mul(to, a, a_step, b, b_step, blocks)
    elif op == VDIV:
        _div(to, a, a_step, b, b_step, blocks)
    elif op == VMIN:
        _min(to, a, a_step, b, b_step, blocks)
    else:
        _max(to, a, a_step, b, b_step, blocks)


@inner
def multiply_runs(target, a, b, blocks):
    """Products of two runs of fp32."""
    _mul(target, a, 64, b, 64, blocks)


@njit
def k_binary(args):
    """vadd, vsub, vmul, vdiv, vmin, vmax: operands dst, a, b (absent: the header's number)."""
    base = at.aligned(header(args, H_SCRATCH))
    op = header(args, H_OPCODE)
    integer = field(args, 0, FORMAT) == FORMAT_I32
    make_nest(args, 3, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, integer, base)
            b, b_step = fetch(args, 2, row, start, count, integer, base)
            place = result_place(row, start, count, base)
            _binary_loop(op, integer, place, a, a_step, b, b_step, (count + 15) >> 4)
            deliver(place, row, start, count, True, integer, base)
            start += count
    return STATUS_OK


@njit
def k_muladd2(args):
    """vmuladd2: dst = RNE(RNE(a * b) + RNE(c * e)); operands dst, a, b, c, e."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 5, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            b, b_step = fetch(args, 2, row, start, count, False, base)
            c, c_step = fetch(args, 3, row, start, count, False, base)
            e, e_step = fetch(args, 4, row, start, count, False, base)
            place = result_place(row, start, count, base)
            blocks = (count + 15) >> 4
            _muladd2(place, a, a_step, b, b_step, c, c_step, e, e_step, blocks)
            deliver(place, row, start, count, True, False, base)
            start += count
    return STATUS_OK


@njit
def k_unary(args):
    """vsqrt, vrcp, vrsqrt, vexp2: operands dst, a."""
    base = at.aligned(header(args, H_SCRATCH))
    op = header(args, H_OPCODE)
    make_nest(args, 2, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            place = result_place(row, start, count, base)
            blocks = (count + 15) >> 4
            if op == VSQRT:
                _sqrt(place, a, a_step, blocks)
            elif op == VRCP:
                _rcp(place, a, a_step, blocks)
            elif op == VRSQRT:
                _rsqrt(place, a, a_step, blocks)
            else:
                _exp2(place, a, a_step, blocks)
            deliver(place, row, start, count, True, False, base)
            start += count
    return STATUS_OK


@inner
def _spread(place, blocks, base):
    """A number as a run of its own in the result's buffer."""
    out = base + at.OUT_AT
    for block in range(blocks):
        for lane in range(16):
            store_u32(out + 64 * block + 4 * lane, load_u32(place + 4 * lane))
    return out


@njit
def k_convert(args):
    """vcvt by way of fp32: operands dst, a; the status bit of E2M1."""
    base = at.aligned(header(args, H_SCRATCH))
    saturate = header(args, H_FLAGS) & FLAG_NOSAT == 0
    make_nest(args, 2, base, True)
    length = row_length(base)
    status = 0
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            if a_step == 0:
                a = _spread(a, (count + 15) >> 4, base)
            elif a == result_place(row, start, count, base):  # fp32 to fp32, in place
                encode_run(FP32, True, a, a, count)
            status |= deliver(a, row, start, count, saturate, False, base)
            start += count
    return status


@njit
def k_compare(args):
    """vcmp: operands dst (U8), a, b (absent: the header's number)."""
    base = at.aligned(header(args, H_SCRATCH))
    integer = field(args, 1, FORMAT) == FORMAT_I32
    holds = base + at.HOLDS_AT
    for lane in range(16):
        store_u32(holds + 4 * lane, RELATIONS[header(args, H_FLAGS) >> 1 & 7])
    make_nest(args, 3, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, integer, base)
            b, b_step = fetch(args, 2, row, start, count, integer, base)
            place, blocks = base + at.OUT_AT, (count + 15) >> 4
            if integer:
                _compare_i32(place, a, a_step, b, b_step, holds, 0, blocks)
            else:
                _compare(place, a, a_step, b, b_step, holds, 0, blocks)
            deliver(place, row, start, count, True, True, base)
            start += count
    return STATUS_OK


@njit
def k_select(args):
    """vsel: dst = a where mask is not 0, else b, bits; operands dst, mask, a, b."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 4, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            mask, mask_step = fetch(args, 1, row, start, count, True, base)
            a, a_step = fetch(args, 2, row, start, count, True, base)
            b, b_step = fetch(args, 3, row, start, count, True, base)
            place, blocks = result_place(row, start, count, base), (count + 15) >> 4
            _select(place, mask, mask_step, a, a_step, b, b_step, blocks)
            deliver(place, row, start, count, True, True, base)
            start += count
    return STATUS_OK


@njit
def k_iota(args):
    """viota: dst[..., j] = start + j, wrapping; operand dst."""
    base = at.aligned(header(args, H_SCRATCH))
    first = header(args, H_NUMBER)
    make_nest(args, 1, base, False)
    step = 4 * field(args, 0, COLUMN_STRIDE)
    for row in range(nest_rows(base)):
        target = row_address(base, 0, row)
        for j in range(row_length(base)):
            store_u32(target + j * step, first + j)
    return STATUS_OK
