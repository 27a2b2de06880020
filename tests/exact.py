"""Exact-rational oracle for the arithmetic tests: rounding done on fractions, nothing shared."""

from __future__ import annotations

import struct
from fractions import Fraction
from math import inf

import numpy as np

# format name: (mantissa bits, smallest normal exponent, largest finite value)
SHAPES = {
    "FP32": (23, -126, Fraction(2) ** 128 - Fraction(2) ** 104),
    "BF16": (7, -126, Fraction(2) ** 128 - Fraction(2) ** 120),
    "FP16": (10, -14, Fraction(65504)),
    "E4M3FN": (3, -6, Fraction(448)),
    "E5M2": (2, -14, Fraction(57344)),
    "E2M1": (1, 0, Fraction(6)),
}


def exponent(x: Fraction) -> int:
    """floor(log2 |x|) for x != 0, without logarithms."""
    x = abs(x)
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= Fraction(2) ** e else e - 1


def rne(x: Fraction, name: str) -> Fraction | float:
    """x rounded to nearest, ties to even, in a format; +-inf where it overflows."""
    mantissa, lowest, largest = SHAPES[name]
    if x == 0:
        return x
    quantum = Fraction(2) ** (max(exponent(x), lowest) - mantissa)
    rounded = round(x / quantum) * quantum  # Fraction.__round__ is half to even
    if abs(rounded) > largest:
        return inf if x > 0 else -inf
    return rounded


def fp32(x: Fraction) -> Fraction | float:
    """x rounded to fp32."""
    return rne(x, "FP32")


def finite(x: Fraction | float) -> Fraction:
    """x, which must not have overflowed."""
    assert isinstance(x, Fraction)
    return x


def finite_fp32(x: Fraction) -> Fraction:
    """x rounded to fp32, where it must not overflow."""
    return finite(fp32(x))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two fp32 arrays have equal patterns."""
    return np.array_equal(np.asarray(a).view(np.uint32), np.asarray(b).view(np.uint32))


def vector(*values: float) -> np.ndarray:
    """A small fp32 vector."""
    return np.array(values, np.float32)


def fractions(values: np.ndarray) -> list[Fraction]:
    """The exact values of a finite fp32 vector."""
    return [Fraction(float(v)) for v in values]


def bits(x: float) -> int:
    """Pattern of a value that fp32 represents."""
    return int(struct.unpack("<I", struct.pack("<f", x))[0])


def random_patterns(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    """Finite fp32 values whose patterns are uniform: every exponent is as likely as another."""
    values = rng.integers(0, 1 << 32, shape, dtype=np.uint32).view(np.float32)
    return np.where(np.isfinite(values), values, np.float32(1.5)).astype(np.float32)
