"""The four operations that IEEE 754 rounds once, on arrays of FP32 patterns, by integers alone.

No floating-point arithmetic decides anything here; `sqrt` takes a first guess from it, which
integers then prove or move.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.conformance.oracle.parts import Ints, Parts, ints, normalise, pack, unpack
from isa.formats import Format

FP32 = Format.FP32
_GUARD = 32  # bits below the larger operand of an addition


def add(a: Any, b: Any) -> Ints:
    """RNE(a + b)."""
    x, y = unpack(FP32, a), unpack(FP32, b)
    total, exponent = _sum(x, y)
    both_zero = (x.mantissa == 0) & (y.mantissa == 0)
    negative = np.where(both_zero, x.negative & y.negative, total < 0)
    infinite = x.inf | y.inf
    negative = np.where(infinite, np.where(x.inf, x.negative, y.negative), negative)
    nan = x.nan | y.nan | (x.inf & y.inf & (x.negative != y.negative))
    return pack(FP32, Parts(negative, np.abs(total), exponent, infinite, nan))


def _sum(x: Parts, y: Parts) -> tuple[Ints, Ints]:
    """The signed sum of two mantissas, at the larger exponent with guard bits.

    The smaller operand loses bits only if the exponents are more than `_GUARD` apart. Then the
    larger one is normal, the sum has at least 55 bits, and a sticky bit stands for what is lost.
    """
    exponent = np.maximum(x.exponent, y.exponent)
    terms = []
    for part in (x, y):
        distance = np.minimum(exponent - part.exponent, 62)
        wide = part.mantissa << _GUARD
        kept = wide >> distance
        kept |= (kept << distance) != wide
        terms.append(np.where(part.negative, -kept, kept))
    return np.asarray(terms[0] + terms[1]), exponent - _GUARD


def multiply(a: Any, b: Any) -> Ints:
    """RNE(a * b)."""
    x, y = unpack(FP32, a), unpack(FP32, b)
    nan = x.nan | y.nan | (x.inf & y.zero) | (y.inf & x.zero)
    product = x.mantissa * y.mantissa
    negative = x.negative != y.negative
    return pack(FP32, Parts(negative, product, x.exponent + y.exponent, x.inf | y.inf, nan))


def divide(a: Any, b: Any) -> Ints:
    """RNE(a / b)."""
    x, y = unpack(FP32, a), unpack(FP32, b)
    nan = x.nan | y.nan | (x.zero & y.zero) | (x.inf & y.inf)
    (top, e), (bottom, f) = normalise(x, 24), normalise(y, 24)
    bottom = np.where(bottom == 0, 1, bottom)
    quotient = (top << 38) // bottom
    quotient |= quotient * bottom != top << 38
    quotient = np.where(y.inf, 0, quotient)
    infinite = x.inf | (y.zero & ~x.zero)
    return pack(FP32, Parts(x.negative != y.negative, quotient, e - f - 38, infinite, nan))


def sqrt(a: Any) -> Ints:
    """RNE(sqrt(a)); the root of -0 is -0."""
    x = unpack(FP32, a)
    mantissa, exponent = normalise(x, 24)
    odd = exponent & 1
    square = mantissa << 36 + odd
    root = integer_root(square)
    root |= root * root != square
    nan = x.nan | (x.negative & ~x.zero)
    return pack(FP32, Parts(x.negative, root, exponent - odd - 36 >> 1, x.inf, nan))


def integer_root(values: Any) -> Ints:
    """The largest integers whose squares are at most these values, below 2^62."""
    values = ints(values)
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    assert (root * root <= values).all() and ((root + 1) * (root + 1) > values).all()
    return np.asarray(root)
