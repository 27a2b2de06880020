"""Elementwise arithmetic of the reference model: obvious, slow, and every bit as the contract says.

Source: the arithmetic contract, sections 1 (canonical NaN, product) and 2 (vector engine).
Arguments and results are fp32 arrays that broadcast. Only NumPy's elementwise + - * / and sqrt are
used, which IEEE 754 fixes; `self_test` refuses a host whose floating-point mode was changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, ParamSpec

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
P = ParamSpec("P")

NAN_BITS: Final = 0x7FC00000
_EXP2_COEFFICIENTS: Final = (
    0x3F800000,
    0x3F317218,
    0x3E75FDF0,
    0x3D635766,
    0x3C1D950E,
    0x3AAFA460,
    0x39222000,
)


def bits_of(x: F32) -> U32:
    """The patterns of fp32 x, same shape."""
    return np.asarray(x, dtype=np.float32, order="C").view(np.uint32)


def from_bits(bits: npt.ArrayLike) -> F32:
    """The fp32 values of patterns, same shape."""
    return np.asarray(bits, dtype=np.uint32, order="C").view(np.float32)


def f32(value: float) -> F32:
    """A constant, which must be an fp32 value, as a 0-d fp32 array."""
    return np.asarray(value, dtype=np.float32)


_ONE: Final = f32(1)
_EXP2_LOW: Final = f32(-160)
_EXP2_HIGH: Final = f32(129)
_ROUNDER: Final = f32(12582912)  # 1.5 * 2^23: adding it leaves no fraction bits


def canonical(x: npt.ArrayLike) -> F32:
    """x with every NaN replaced by 0x7FC00000: what arithmetic writes."""
    values = np.array(x, dtype=np.float32)
    return np.where(np.isnan(values), from_bits(NAN_BITS), values).astype(np.float32)


def _arithmetic(function: Callable[P, Any]) -> Callable[P, F32]:
    """Make an operation silent about IEEE exceptions, and its NaNs canonical."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> F32:
        with np.errstate(all="ignore"):
            return canonical(function(*args, **kwargs))

    return wrapped


# ---- the basic operations


@_arithmetic
def add(a: F32, b: F32) -> F32:
    """RNE(a + b)."""
    return np.add(a, b, dtype=np.float32)


@_arithmetic
def sub(a: F32, b: F32) -> F32:
    """RNE(a - b)."""
    return np.subtract(a, b, dtype=np.float32)


@_arithmetic
def mul(a: F32, b: F32) -> F32:
    """RNE(a * b)."""
    return np.multiply(a, b, dtype=np.float32)


@_arithmetic
def div(a: F32, b: F32) -> F32:
    """RNE(a / b)."""
    return np.divide(a, b, dtype=np.float32)


@_arithmetic
def sqrt(x: F32) -> F32:
    """RNE(square root of x)."""
    return np.sqrt(x, dtype=np.float32)


def rcp(x: F32) -> F32:
    """RNE(1 / x)."""
    return div(_ONE, x)


def rsqrt(x: F32) -> F32:
    """RNE(1 / RNE(sqrt(x)))."""
    return rcp(sqrt(x))


@_arithmetic
def minimum(a: F32, b: F32) -> F32:
    """IEEE 754-2019 minimum: a NaN wins, and -0 is less than +0."""
    a, b = np.broadcast_arrays(a, b)
    smaller = np.where((a < b) | ((a == b) & np.signbit(a)), a, b)
    return np.where(np.isnan(a), a, smaller)


@_arithmetic
def maximum(a: F32, b: F32) -> F32:
    """IEEE 754-2019 maximum: a NaN wins, and +0 is greater than -0."""
    a, b = np.broadcast_arrays(a, b)
    greater = np.where((a > b) | ((a == b) & ~np.signbit(a)), a, b)
    return np.where(np.isnan(a), a, greater)


@_arithmetic
def neg(x: F32) -> F32:
    """x with its sign flipped."""
    return np.negative(x)


@_arithmetic
def absolute(x: F32) -> F32:
    """x with its sign cleared."""
    return np.abs(x)


# ---- powers of two


def power_of_two(n: I64) -> F32:
    """2^n for integers -126 <= n <= 127, as a pattern: no arithmetic, no rounding."""
    return from_bits((np.asarray(n, dtype=np.int64) + 127) << 23)


def exp2(x: F32) -> F32:
    """EXP2: degree-6 Horner about the nearest integer, unfused; at most 1.25 ulp from 2^x."""
    x = np.asarray(x, dtype=np.float32)
    clamped = np.where(np.isnan(x), np.float32(0), x)
    clamped = np.where(clamped < _EXP2_LOW, _EXP2_LOW, clamped)
    clamped = np.where(clamped > _EXP2_HIGH, _EXP2_HIGH, clamped)
    n = sub(add(clamped, _ROUNDER), _ROUNDER)
    fraction = sub(clamped, n)
    coefficients = [from_bits(c) for c in _EXP2_COEFFICIENTS]
    p = coefficients[6]
    for i in (5, 4, 3, 2, 1, 0):
        p = add(mul(p, fraction), coefficients[i])
    whole = n.astype(np.int64)
    half = whole >> 1  # two steps, since 2^n alone may leave fp32's range
    result = mul(mul(p, power_of_two(half)), power_of_two(whole - half))
    return canonical(np.where(np.isnan(x), x, result))


# ---- fused operations of the matrix engine


def fma32(a: F32, b: F32, c: F32) -> F32:
    """RNE(a * b + c), rounded once.

    The product is exact in float64. The sum is rounded to odd there, which keeps what the final
    rounding to fp32 needs (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
    """
    with np.errstate(all="ignore"):
        product = np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64)
        total, error = _two_sum(product, np.asarray(c, dtype=np.float64))
        return canonical(_to_odd(total, error).astype(np.float32))


def _two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    """The rounded sum of float64 a and b, and what the rounding lost, exactly (Knuth)."""
    total = np.asarray(a + b)
    part = total - a
    error = (a - (total - part)) + (b - part)
    return total, np.asarray(error)


def _to_odd(total: F64, error: F64) -> F64:
    """total, moved one step towards the exact total + error if it is inexact and even."""
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    inexact = np.isfinite(total) & (error != 0)
    step = np.where(np.signbit(error) == np.signbit(total), 1, -1)
    return np.where(inexact & even, bits + step, bits).view(np.float64)


def scale_sum(s: F32, scale_a: F32, scale_w: F32) -> F32:
    """RNE(s * scale_a * scale_w): 24 + 4 + 4 significand bits and any exponents fit float64."""
    with np.errstate(all="ignore"):
        wide = np.asarray(s, dtype=np.float64) * np.asarray(scale_a, dtype=np.float64)
        return canonical((wide * np.asarray(scale_w, dtype=np.float64)).astype(np.float32))


# ---- the host's floating-point mode


def self_test() -> None:
    """Raise RuntimeError if this thread flushes subnormals or does not round to nearest even."""
    half, big = f32(0.5), from_bits([0x4B800000])  # 2^24, where adding 1 is a tie
    _expect(add(from_bits([1]), from_bits([0])), 1, "subnormal operands are read as zero")
    _expect(mul(from_bits([0x00800000]), half), 0x00400000, "subnormal results are flushed")
    _expect(canonical(np.array([2.0**-149])), 1, "conversions flush subnormals")
    _expect(add(big, _ONE), 0x4B800000, "ties do not round to even")
    _expect(add(neg(big), neg(_ONE)), 0xCB800000, "rounding is directed")
    _expect(mul(from_bits([0x3F800001]), from_bits([0x3F800001])), 0x3F800002, "rounding is up")
    _expect(add(_ONE, from_bits([0x33800001])), 0x3F800001, "rounding is down")


def _expect(value: F32, bits: int, complaint: str) -> None:
    if int(bits_of(value)[0]) != bits:
        raise RuntimeError(f"the host's floating-point mode is not IEEE 754: {complaint}")
