"""Sums, products and quotients of Numbers: exact, with the rules of IEEE 754 for what is special.

Nothing is rounded here: the page says where, and `numbers.fp32` does it.
"""

from __future__ import annotations

from emulator.conformance.oracle.numbers import INF, MINUS_INF, NAN, Number


def plus(x: Number, y: Number) -> Number:
    """x + y; x + (-x) is +0, and only -0 + -0 is -0."""
    if "nan" in (x.kind, y.kind):
        return NAN
    if x.kind == "inf" and y.kind == "inf":
        return x if x.negative == y.negative else NAN
    if "inf" in (x.kind, y.kind):
        return x if x.kind == "inf" else y
    both_minus_zero = x.negative and y.negative and x.magnitude == 0 and y.magnitude == 0
    return Number.of(x.value + y.value, negative_zero=both_minus_zero)


def times(x: Number, y: Number) -> Number:
    """x * y; infinity times zero is a NaN."""
    if "nan" in (x.kind, y.kind):
        return NAN
    negative = x.negative != y.negative
    if x.kind == "finite" and y.kind == "finite":
        return Number(x.magnitude * y.magnitude, negative)
    if _is_zero(x) or _is_zero(y):
        return NAN
    return MINUS_INF if negative else INF


def over(x: Number, y: Number) -> Number:
    """x / y; 0/0 and infinity/infinity are NaNs, anything else over zero is an infinity."""
    if "nan" in (x.kind, y.kind):
        return NAN
    negative = x.negative != y.negative
    if x.kind == "inf":
        return NAN if y.kind == "inf" else Number(kind="inf", negative=negative)
    if y.kind == "inf":
        return Number(negative=negative)
    if _is_zero(y):
        return NAN if _is_zero(x) else Number(kind="inf", negative=negative)
    return Number(x.magnitude / y.magnitude, negative)


def _is_zero(x: Number) -> bool:
    return x.kind == "finite" and x.magnitude == 0
