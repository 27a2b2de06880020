"""The vector engine as the numerics page has it, on one exact number at a time."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import Any

from emulator.conformance.oracle.exact import over, plus, times
from emulator.conformance.oracle.exp2 import COEFFICIENTS
from emulator.conformance.oracle.numbers import NAN, Number, decode, encode, fp32
from isa.formats import Format

FP32 = Format.FP32
ONE = Number.of(1)


def number(pattern: int) -> Number:
    """What an FP32 pattern stands for."""
    return decode(FP32, pattern)


def pattern(x: Number) -> int:
    """RNE, as a pattern."""
    return encode(FP32, x)


def minus(x: Number) -> Number:
    """-x."""
    return Number(x.magnitude, not x.negative, x.kind)


def root(x: Number) -> Number:
    """The square root, or a number that rounds as it does."""
    if x.kind == "nan" or (x.negative and (x.kind == "inf" or x.magnitude)):
        return NAN
    if x.kind == "inf" or not x.magnitude:
        return x
    scaled = x.magnitude * 4**200
    whole = isqrt(int(scaled))
    inexact = whole * whole != scaled
    return Number(Fraction(2 * whole + inexact, 2 * 2**200))


def converted(source: Format, code: int, target: Format, sat: bool) -> int:
    """A code of `vcvt`."""
    x = fp32(decode(source, code))
    if target is not Format.I32:
        return encode(target, x, sat)
    if x.kind == "nan":
        return 0
    limit = Fraction(1 << 40)
    value = (-limit if x.negative else limit) if x.kind == "inf" else x.value
    return min(max(round(value), -(1 << 31)), (1 << 31) - 1) & 0xFFFFFFFF


def before(x: Number, y: Number) -> bool:
    """x < y, with -0 below +0."""
    if x.kind == "finite" and y.kind == "finite" and x.value == y.value:
        return x.negative and not y.negative
    return size(x) < size(y)


def size(x: Number) -> Fraction:
    """A number for comparison: infinities are beyond all others."""
    if x.kind == "finite":
        return x.value
    return Fraction(-(1 << 200) if x.negative else 1 << 200)


def minimum(x: Number, y: Number) -> Number:
    """IEEE 754-2019 minimum."""
    if "nan" in (x.kind, y.kind):
        return NAN
    return x if before(x, y) else y


def maximum(x: Number, y: Number) -> Number:
    """IEEE 754-2019 maximum."""
    if "nan" in (x.kind, y.kind):
        return NAN
    return y if before(x, y) else x


def exp2(x: Number) -> Number:
    """The steps of EXP2, each rounded."""
    if x.kind == "nan":
        return x
    x = Number.of(min(max(size(x), Fraction(-160)), Fraction(129)), x.negative)
    magic = Number.of(12582912)
    n = fp32(plus(fp32(plus(x, magic)), minus(magic)))
    f = fp32(plus(x, minus(n)))
    p = number(COEFFICIENTS[6])
    for c in COEFFICIENTS[5::-1]:
        p = fp32(plus(fp32(times(p, f)), number(c)))
    whole = int(n.value)
    half = whole >> 1
    p = fp32(times(p, Number.of(Fraction(2) ** half)))
    return fp32(times(p, Number.of(Fraction(2) ** (whole - half))))


UNARY: dict[str, Any] = {
    "vsqrt": root,
    "vrcp": lambda x: over(ONE, x),
    "vrsqrt": lambda x: over(ONE, fp32(root(x))),
    "vexp2": exp2,
}
BINARY: dict[str, Any] = {
    "vadd": plus,
    "vsub": lambda x, y: plus(x, minus(y)),
    "vmul": times,
    "vdiv": over,
    "vmin": minimum,
    "vmax": maximum,
}


def compared(relation: str, x: Number, y: Number) -> int:
    """`vcmp`."""
    if "nan" in (x.kind, y.kind):
        return int(relation == "ne")
    a, b = size(x), size(y)
    return int(
        {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[relation]
    )


def reduced(mnemonic: str, row: list[int], low: int, high: int) -> int:
    """A reduction of FP32 patterns, of the elements from `low` to before `high`."""
    take = {"vrsum": plus, "vrmax": maximum, "vrmin": minimum}[mnemonic]
    lanes: dict[int, Number] = {}
    for i in range(max(low, 0), min(high, len(row))):
        x = number(row[i])
        lanes[i % 32] = fp32(take(lanes[i % 32], x)) if i % 32 in lanes else x
    for distance in (16, 8, 4, 2, 1):
        for i in range(distance):
            if i + distance in lanes:
                other = lanes.pop(i + distance)
                lanes[i] = fp32(take(lanes[i], other)) if i in lanes else other
    empty = {"vrsum": 0, "vrmax": 0xFF800000, "vrmin": 0x7F800000}[mnemonic]
    return pattern(lanes[0]) if lanes else empty


def exponentials(row: list[int], less: int, low: int, high: int) -> tuple[list[int], int]:
    """`vexp2sum` of FP32 patterns: a row of dst, and its total."""
    number_b = minus(number(less))
    x = [pattern(exp2(fp32(plus(number(code), number_b)))) for code in row]
    return x, reduced("vrsum", x, low, high)


def ranked(row: list[int]) -> list[int]:
    """Indices in the total order, the largest element first."""

    def key(i: int) -> tuple[bool, Fraction, bool]:
        x = number(row[i])
        return (
            x.kind == "nan",
            size(x) if x.kind != "nan" else Fraction(0),
            not x.negative or x.kind == "nan",
        )

    return sorted(range(len(row)), key=key, reverse=True)
