"""Rotary position embedding: frequencies and tables, the same bits on every host.

Follows transformers' modeling_rope_utils.py operation by operation: each of its fp32 operations is
here one correctly rounded fp32 operation (its power function, in torch, may be one unit off).
Transformers computes in fp32 and takes sines in fp32; ours are correctly rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler.config import ModelConfig, RopeConfig

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_DIGITS: Final = 60  # of decimal powers: far beyond what a rounding to 24 bits can need
_BITS: Final = 256  # fixed point of exact sines, fraction bits
#: A float64 whose bits below fp32's lie this close to the middle may round either way: redo it.
_NEAR_TIE: Final = 1 << 12
_LOW_BITS: Final = 29  # float64's mantissa bits beyond fp32's


# ---- frequencies


def inverse_frequencies(config: ModelConfig) -> F32:
    """Radians per position of each pair of elements of a head: fp32 [head_dim / 2]."""
    rope = config.rope
    with np.errstate(all="ignore"):
        plain = _default_frequencies(np.float32(rope.theta), config.head_dim)
        if rope.kind == "linear":
            return plain / np.float32(rope.factor)
        if rope.kind == "llama3":
            return _llama3(plain, rope)
        return plain


def _default_frequencies(theta: np.float32, head_dim: int) -> F32:
    """1 / theta ** (2i / head_dim)."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers = np.array([_power(theta, x) for x in exponents], np.float32)
    return np.float32(1) / powers


def _power(base: np.float32, exponent: np.float32) -> np.float32:
    """base ** exponent, correctly rounded; base at least 1."""
    with localcontext(prec=_DIGITS):
        return round_to_fp32(Fraction(Decimal(float(base)) ** Decimal(float(exponent))))


def _llama3(plain: F32, rope: RopeConfig) -> F32:
    """Long wavelengths divided by the factor, short ones kept, those between interpolated."""
    factor = np.float32(rope.factor)
    low = np.float32(rope.low_freq_factor)
    low_wavelength = np.float32(rope.original_max_positions / rope.low_freq_factor)
    high_wavelength = np.float32(rope.original_max_positions / rope.high_freq_factor)
    # torch divides a number by a tensor as the tensor's reciprocal times the number.
    wavelength = np.float32(1) / plain * np.float32(2 * math.pi)
    scaled = np.where(wavelength > low_wavelength, plain / factor, plain)
    turns = np.float32(1) / wavelength * np.float32(rope.original_max_positions)
    smooth = (turns - low) / np.float32(rope.high_freq_factor - rope.low_freq_factor)
    between = (np.float32(1) - smooth) * scaled / factor + smooth * scaled
    medium = ~(wavelength < high_wavelength) & ~(wavelength > low_wavelength)
    return np.where(medium, between, scaled)


# ---- tables


def rope_tables(config: ModelConfig, positions: npt.NDArray[np.integer]) -> tuple[F32, F32]:
    """Cosines and sines, fp32 [len(positions), head_dim / 2] each.

    Pair i of a head is its elements i and i + head_dim / 2, as transformers' rotate_half has it.
    The angle is position * frequency in fp32; the attention factor multiplies in fp32.
    """
    angles = positions.astype(np.float32)[:, None] * inverse_frequencies(config)
    scale = np.float32(config.rope.attention_factor)
    return cos_fp32(angles) * scale, sin_fp32(angles) * scale


def sin_fp32(angles: F32) -> F32:
    """Sines of fp32 radians, correctly rounded."""
    return _rounded(angles, np.sin, exact_sin)


def cos_fp32(angles: F32) -> F32:
    """Cosines of fp32 radians, correctly rounded."""
    return _rounded(angles, np.cos, exact_cos)


def _rounded(angles: F32, fast: Callable[[F64], F64], exact: Callable[[Fraction], Fraction]) -> F32:
    """fp32 of a function, by float64 where its error cannot matter and exactly elsewhere."""
    wide = fast(angles.astype(np.float64))
    values = wide.astype(np.float32)
    low = wide.view(np.int64) & ((1 << _LOW_BITS) - 1)
    near = np.abs(low - (1 << (_LOW_BITS - 1))) < _NEAR_TIE
    for index in zip(*np.nonzero(near), strict=True):
        values[index] = round_to_fp32(exact(Fraction(float(angles[index]))))
    return values


def exact_sin(x: Fraction) -> Fraction:
    """sin(x) for |x| below 2^60, to about 190 bits."""
    return _sine(_fixed(x))


def exact_cos(x: Fraction) -> Fraction:
    """cos(x) for |x| below 2^60, to about 190 bits."""
    return _sine(_fixed(x) + _half_pi())


def _fixed(x: Fraction) -> int:
    return (x.numerator << _BITS) // x.denominator


def _sine(x: int) -> Fraction:
    """Sine of fixed-point x: reduced to a half turn around 0, then Taylor's series."""
    half_turn = 2 * _half_pi()
    turns = (x + _half_pi()) // half_turn
    x -= turns * half_turn
    total, term, n = 0, x, 1
    while term:
        total += term
        term = -((term * x >> _BITS) * x >> _BITS) // ((n + 1) * (n + 2))
        term, n = (0 if abs(term) <= 1 else term), n + 2
    return Fraction(-total if turns % 2 else total, 1 << _BITS)


def _half_pi() -> int:
    """pi / 2 in fixed point, by Machin's formula, with guard bits."""
    guard = 32
    one = 1 << (_BITS + guard)
    quarter = 4 * _arctan_inverse(5, one) - _arctan_inverse(239, one)
    return quarter >> (guard - 1)


def _arctan_inverse(n: int, one: int) -> int:
    """arctan(1 / n) in units of 1 / one."""
    power, total, k = one // n, 0, 0
    while power:
        total += -(power // (2 * k + 1)) if k % 2 else power // (2 * k + 1)
        power, k = power // (n * n), k + 1
    return total


def round_to_fp32(x: Fraction) -> np.float32:
    """x rounded to nearest, ties to even; x within fp32's normal range, or 0."""
    if x == 0:
        return np.float32(0)
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** (exponent - 23)
    return np.float32(float(round(x / quantum) * quantum))
