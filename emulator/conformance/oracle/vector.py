"""The vector engine's arithmetic on arrays of FP32 patterns, by integers alone.

add(a, b), subtract, multiply, divide, sqrt, reciprocal, rsqrt, minimum, maximum: patterns
compare("lt", a, b)                    # 0 or 1
elementwise("vadd", Format.BF16, (Format.FP32, a), (Format.FP16, b))     # codes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.conformance.oracle.convert import FP32, narrow, widen
from emulator.conformance.oracle.exp2 import exp2
from emulator.conformance.oracle.parts import Bools, Ints, ints, unpack
from emulator.conformance.oracle.soft import add, divide, multiply, sqrt
from isa.formats import Format

SIGN, NAN, ONE = 0x80000000, 0x7FC00000, 0x3F800000


def subtract(a: Any, b: Any) -> Ints:
    """RNE(a - b)."""
    return add(a, ints(b) ^ SIGN)


def reciprocal(x: Any) -> Ints:
    """RNE(1 / x)."""
    return divide(np.full_like(ints(x), ONE), x)


def rsqrt(x: Any) -> Ints:
    """RNE(1 / RNE(sqrt(x)))."""
    return reciprocal(sqrt(x))


def muladd2(a: Any, b: Any, c: Any, e: Any) -> Ints:
    """RNE(RNE(a * b) + RNE(c * e))."""
    return add(multiply(a, b), multiply(c, e))


def ordinal(patterns: Any) -> Ints:
    """Integers in the order of the numbers, -0 just below +0; of NaNs without meaning."""
    patterns = ints(patterns)
    return np.asarray(np.where(patterns >= SIGN, SIGN - 1 - patterns, patterns))


def _either_nan(a: Ints, b: Ints) -> Bools:
    return np.asarray(unpack(FP32, a).nan | unpack(FP32, b).nan)


def minimum(a: Any, b: Any) -> Ints:
    """IEEE 754-2019 minimum."""
    a, b = ints(a), ints(b)
    least = np.where(ordinal(a) <= ordinal(b), a, b)
    return np.asarray(np.where(_either_nan(a, b), NAN, least))


def maximum(a: Any, b: Any) -> Ints:
    """IEEE 754-2019 maximum."""
    a, b = ints(a), ints(b)
    most = np.where(ordinal(a) >= ordinal(b), a, b)
    return np.asarray(np.where(_either_nan(a, b), NAN, most))


def compare(relation: str, a: Any, b: Any) -> Ints:
    """The comparison of FP32 patterns: 1 or 0."""
    a, b = ints(a), ints(b)
    left, right = (np.where(x == SIGN, 0, ordinal(x)) for x in (a, b))
    unordered = _either_nan(a, b)
    answers = _relation(relation, left, right)
    return np.asarray(np.where(unordered, int(relation == "ne"), answers))


def _relation(relation: str, a: Ints, b: Ints) -> Ints:
    answers = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    return ints(answers[relation])


def signed(codes: Any) -> Ints:
    """I32 codes as numbers."""
    codes = ints(codes)
    return np.asarray(codes - (codes >> 31 << 32))


def compare_integers(relation: str, a: Any, b: Any) -> Ints:
    """The comparison of I32 codes."""
    return _relation(relation, signed(a), signed(b))


def integer(mnemonic: str, a: Any, b: Any) -> Ints:
    """I32 arithmetic, which wraps."""
    x, y = signed(a), signed(b)
    if mnemonic == "vmul":
        return np.asarray((x * (y & 0xFFFF) + (x * (y >> 16) << 16)) & 0xFFFFFFFF)
    sums = {"vadd": x + y, "vsub": x - y, "vmin": np.minimum(x, y), "vmax": np.maximum(x, y)}
    return np.asarray(sums[mnemonic] & 0xFFFFFFFF)


FUNCTIONS: dict[str, Any] = {
    "vadd": add,
    "vsub": subtract,
    "vmul": multiply,
    "vdiv": divide,
    "vmin": minimum,
    "vmax": maximum,
    "vmuladd2": muladd2,
    "vsqrt": sqrt,
    "vrcp": reciprocal,
    "vrsqrt": rsqrt,
    "vexp2": exp2,
}


def elementwise(mnemonic: str, target: Format, *operands: tuple[Format, Any]) -> Ints:
    """An elementwise instruction: widened, computed in FP32, converted once."""
    return narrow(target, FUNCTIONS[mnemonic](*(widen(fmt, codes) for fmt, codes in operands)))


def scan(rows: Any) -> Ints:
    """`vscan` along the last axis."""
    rows = ints(rows)
    out = np.zeros_like(rows)
    for j in range(rows.shape[-1]):
        out[..., j] = add(out[..., j - 1], rows[..., j]) if j else widen(FP32, rows[..., 0])
    return ints(out)


def iota(shape: tuple[int, ...], start: int) -> Ints:
    """`viota`."""
    last = shape[-1] if shape else 1
    row = (np.arange(last, dtype=np.int64) + start) & 0xFFFFFFFF
    return np.broadcast_to(row if shape else row[0], shape).copy()
