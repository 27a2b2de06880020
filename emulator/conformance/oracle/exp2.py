"""EXP2 by its steps: docs/isa/numerics.md, "EXP2"."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from emulator.conformance.oracle.parts import Ints, ints, unpack
from emulator.conformance.oracle.soft import FP32, add, multiply

COEFFICIENTS: Final = (
    0x3F800000, 0x3F317218, 0x3E75FDF0, 0x3D635766, 0x3C1D950E, 0x3AAFA460, 0x39222000,
)  # fmt: skip
MAGIC: Final = 0x4B400000  # 12582912
_SIGN, _NAN = 0x80000000, 0x7FC00000
LOWEST, HIGHEST = 0xC3200000, 0x43010000  # -160 and 129


def exp2(patterns: Any) -> Ints:
    """The results for FP32 patterns."""
    x = ints(patterns)
    nan = unpack(FP32, x).nan
    x = np.where(nan, 0, clamp(x))
    big = np.full_like(x, MAGIC)
    n = add(add(x, big), big ^ _SIGN)
    f = add(x, n ^ _SIGN)
    p = np.full_like(x, COEFFICIENTS[6])
    for coefficient in COEFFICIENTS[5::-1]:
        p = add(multiply(p, f), np.full_like(x, coefficient))
    whole = _whole(n)
    half = whole >> 1
    scaled = multiply(multiply(p, power_of_two(half)), power_of_two(whole - half))
    return np.asarray(np.where(nan, _NAN, scaled))


def clamp(x: Ints) -> Ints:
    """Numbers clamped to [-160, 129]."""
    low = x >= LOWEST  # negative, and of a magnitude of at least 160
    return np.where(low, LOWEST, np.where((x < _SIGN) & (x > HIGHEST), HIGHEST, x))


def power_of_two(n: Ints) -> Ints:
    """Patterns of 2^n, n from -126 to 127."""
    return np.asarray(n + 127 << 23)


def _whole(n: Ints) -> Ints:
    """Integers, from their patterns."""
    parts = unpack(FP32, n)
    size = parts.mantissa >> np.clip(-parts.exponent, 0, 62)
    return np.asarray(np.where(parts.negative, -size, size))
