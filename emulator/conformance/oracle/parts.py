"""Whole arrays of codes taken apart into integers, and put together again with one rounding.

A finite number is ``mantissa * 2^exponent`` with a sign; mantissas have up to 62 bits, and the
lowest bit may stand for anything nonzero below it (*sticky*), as long as at least two bits lie
between it and the result. Everything is int64, so everything is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.conformance.oracle.numbers import FACTS, Facts
from isa.formats import Format

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SATURATING = (Format.E4M3FN, Format.E5M2, Format.E2M1)


@dataclass(frozen=True)
class Parts:
    """Numbers: the mantissa is 0 where they are infinite or NaN."""

    negative: Bools
    mantissa: Ints
    exponent: Ints
    inf: Bools
    nan: Bools

    @property
    def zero(self) -> Bools:
        """Where the number is a zero."""
        return np.asarray((self.mantissa == 0) & ~self.inf & ~self.nan)


def ints(codes: Any) -> Ints:
    """Codes of any integer type as int64."""
    return np.asarray(codes).astype(np.int64)


def unpack(fmt: Format, codes: Any) -> Parts:
    """The numbers that codes stand for, of every format."""
    codes = ints(codes)
    nowhere = np.zeros(codes.shape, np.bool_)
    if fmt is Format.E8M0:
        nan = codes == 0xFF
        return Parts(nowhere, np.where(nan, 0, 1), codes - 127, nowhere, nan)
    if fmt in (Format.I32, Format.U8):
        signed = codes - (codes >> 31 << 32) if fmt is Format.I32 else codes
        return Parts(signed < 0, np.abs(signed), np.zeros_like(codes), nowhere, nowhere)
    facts = FACTS[fmt]
    magnitude = codes & (1 << facts.bits - 1) - 1
    field, fraction = magnitude >> facts.mantissa, magnitude & (1 << facts.mantissa) - 1
    nan = (magnitude >= facts.nans.start) & (magnitude < facts.nans.stop)
    inf = magnitude == facts.inf if facts.inf is not None else nowhere
    mantissa = np.where(field == 0, fraction, fraction | 1 << facts.mantissa)
    return Parts(
        codes >> facts.bits - 1 & 1 == 1,
        np.where(nan | inf, 0, mantissa),
        np.maximum(field, 1) - facts.bias - facts.mantissa,
        inf,
        nan,
    )


def bit_length(values: Ints) -> Ints:
    """How many bits nonnegative integers have."""
    length, rest = np.zeros_like(values), values.copy()
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= 1 << step
        length += np.where(large, step, 0)
        rest = np.where(large, rest >> step, rest)
    return np.asarray(length + rest)


def shift_right(values: Ints, amount: Ints) -> Ints:
    """Nonnegative values / 2^amount, rounded to nearest, ties to even."""
    amount = np.minimum(amount, 63)
    half = np.left_shift(1, np.maximum(amount - 1, 0))
    whole = values >> amount
    rest = values - (whole << amount)
    up = (amount > 0) & ((rest > half) | ((rest == half) & (whole & 1 == 1)))
    return np.asarray(np.where(amount == 63, 0, whole + up))


def pack(fmt: Format, x: Parts, sat: bool = True) -> Ints:
    """The codes that numbers are rounded to; ``sat`` matters to E4M3FN and E5M2."""
    facts = FACTS[fmt]
    code = _round(facts, x.mantissa, x.exponent)
    sign = x.negative.astype(np.int64) << facts.bits - 1
    over, infinite = _overflow(fmt, facts, sign, sat), x.inf | (code > facts.largest)
    code = np.where(infinite, over, sign | code)
    nan = facts.largest if facts.nan is None else facts.nan
    return np.asarray(np.where(x.nan, nan, code))


def _overflow(fmt: Format, facts: Facts, sign: Ints, sat: bool) -> Ints:
    """What infinities and overflow become."""
    if fmt in SATURATING and sat:
        return np.asarray(sign | facts.largest)
    if facts.inf is not None:
        return np.asarray(sign | facts.inf)
    assert facts.nan is not None
    return np.full_like(sign, facts.nan)


def _round(facts: Facts, mantissa: Ints, exponent: Ints) -> Ints:
    """The nearest code, as if exponents had no end; see `numbers.encode`."""
    top = bit_length(mantissa) - 1 + exponent
    quantum = np.maximum(top, 1 - facts.bias) - facts.mantissa
    down = quantum - exponent
    left = np.left_shift(mantissa, np.clip(-down, 0, 62))
    steps = np.where(down > 0, shift_right(mantissa, np.maximum(down, 0)), left)
    code = (np.maximum(top, 1 - facts.bias) + facts.bias - 1 << facts.mantissa) + steps
    return np.asarray(np.where(steps < 1 << facts.mantissa, steps, code))


def normalise(x: Parts, bits: int) -> tuple[Ints, Ints]:
    """Mantissas of exactly this many bits (0 stays 0) and their exponents."""
    up = bits - bit_length(x.mantissa)
    assert (up >= 0).all()
    return np.left_shift(x.mantissa, up), x.exponent - up
