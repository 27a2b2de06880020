"""Conversion between formats, by way of FP32: docs/isa/formats.md, "Conversion"."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.conformance.oracle.parts import Bools, Ints, Parts, ints, pack, shift_right, unpack
from isa.formats import Format

FP32 = Format.FP32


def widen(fmt: Format, codes: Any) -> Ints:
    """FP32 patterns of codes: exact, but for integers, which are rounded; NaNs are canonical."""
    return pack(FP32, unpack(fmt, codes))


def narrow(fmt: Format, patterns: Any, sat: bool = True) -> Ints:
    """FP32 patterns converted once; to I32 as unsigned codes."""
    x = unpack(FP32, patterns)
    return to_integer(x) if fmt is Format.I32 else pack(fmt, x, sat)


def convert(source: Format, codes: Any, target: Format, sat: bool = True) -> Ints:
    """`vcvt`."""
    return narrow(target, widen(source, codes), sat)


def to_integer(x: Parts) -> Ints:
    """I32: to nearest, ties to even, saturating; NaN gives 0."""
    huge = x.inf | (x.exponent > 31)
    up = np.left_shift(x.mantissa, np.clip(x.exponent, 0, 31))
    whole = np.where(x.exponent < 0, shift_right(x.mantissa, np.maximum(-x.exponent, 0)), up)
    whole = np.where(huge, 1 << 40, whole)
    signed = np.clip(np.where(x.negative, -whole, whole), -(1 << 31), (1 << 31) - 1)
    return np.asarray(np.where(x.nan, 0, signed) & 0xFFFFFFFF)


def sets_sticky(source: Format, codes: Any, target: Format) -> bool:
    """Whether a conversion sets the sticky bit: a NaN to E2M1."""
    return target is Format.E2M1 and bool(unpack(source, codes).nan.any())


def is_nan(fmt: Format, codes: Any) -> Bools:
    """Where codes are NaNs."""
    return unpack(fmt, ints(codes)).nan
