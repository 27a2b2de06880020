"""Codes as exact numbers, and exact numbers rounded to codes: docs/isa/formats.md, word for word.

x = decode(Format.BF16, 0x3F80)            # Number(1)
encode(Format.E4M3FN, Number.of(Fraction(449)), sat=True)    # 0x7E
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Final

from isa.formats import Format


@dataclass(frozen=True)
class Facts:
    """The tables of docs/isa/formats.md. `inf` and `nans` are codes without the sign bit."""

    bits: int
    exponent: int
    mantissa: int
    bias: int
    largest: int  # code of the largest finite value
    inf: int | None
    nans: range
    nan: int | None  # the canonical one


FACTS: Final = {
    Format.FP32: Facts(
        32, 8, 23, 127, 0x7F7FFFFF, 0x7F800000, range(0x7F800001, 1 << 31), 0x7FC00000
    ),
    Format.BF16: Facts(16, 8, 7, 127, 0x7F7F, 0x7F80, range(0x7F81, 0x8000), 0x7FC0),
    Format.FP16: Facts(16, 5, 10, 15, 0x7BFF, 0x7C00, range(0x7C01, 0x8000), 0x7E00),
    Format.E4M3FN: Facts(8, 4, 3, 7, 0x7E, None, range(0x7F, 0x80), 0x7F),
    Format.E5M2: Facts(8, 5, 2, 15, 0x7B, 0x7C, range(0x7D, 0x80), 0x7E),
    Format.E2M1: Facts(4, 2, 1, 1, 0x7, None, range(0), None),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number (with a sign, also if zero), an infinity or a NaN."""

    magnitude: Fraction = Fraction(0)
    negative: bool = False
    kind: str = "finite"  # or "inf" or "nan"

    @staticmethod
    def of(value: Fraction | int, negative_zero: bool = False) -> Number:
        """A finite number; zero is positive unless told otherwise."""
        value = Fraction(value)
        return Number(abs(value), value < 0 or (value == 0 and negative_zero))

    @property
    def value(self) -> Fraction:
        """The signed value of a finite number."""
        assert self.kind == "finite"
        return -self.magnitude if self.negative else self.magnitude


NAN: Final = Number(kind="nan")
INF: Final = Number(kind="inf")
MINUS_INF: Final = Number(kind="inf", negative=True)


def decode(fmt: Format, code: int) -> Number:
    """The number that a code stands for; integers are numbers as well."""
    if fmt is Format.E8M0:
        return NAN if code == 0xFF else Number.of(Fraction(2) ** (code - 127))
    if fmt is Format.I32:
        return Number.of(code - (code >> 31 << 32))
    if fmt is Format.U8:
        return Number.of(code)
    return _decode_float(fmt, code)


def _decode_float(fmt: Format, code: int) -> Number:
    facts = FACTS[fmt]
    negative, magnitude = bool(code >> (facts.bits - 1)), code & (1 << facts.bits - 1) - 1
    if magnitude in facts.nans:
        return NAN
    if magnitude == facts.inf:
        return Number(kind="inf", negative=negative)
    return Number(_magnitude(fmt, magnitude), negative)


def _magnitude(fmt: Format, code: int) -> Fraction:
    """The value of a finite code without its sign bit."""
    facts = FACTS[fmt]
    e, m = code >> facts.mantissa, code & (1 << facts.mantissa) - 1
    if e == 0:
        return Fraction(m, 1 << facts.mantissa) * Fraction(2) ** (1 - facts.bias)
    return (1 + Fraction(m, 1 << facts.mantissa)) * Fraction(2) ** (e - facts.bias)


@cache
def largest(fmt: Format) -> Fraction:
    """The largest finite value of a format."""
    return _magnitude(fmt, FACTS[fmt].largest)


def encode(fmt: Format, x: Number, sat: bool = True) -> int:
    """The code that a number is rounded to: to nearest, ties to the even code.

    ``sat`` matters to E4M3FN, E5M2 and E2M1 alone; E2M1 takes nothing else. A NaN becomes +6 in
    E2M1 (and sets the sticky bit: see `sticky`).
    """
    facts = FACTS[fmt]
    saturates = sat and fmt in (Format.E4M3FN, Format.E5M2, Format.E2M1)
    assert saturates or fmt is not Format.E2M1
    if x.kind == "nan":
        return facts.largest if facts.nan is None else facts.nan
    sign = int(x.negative) << (facts.bits - 1)
    code = None if x.kind == "inf" else _round(facts, x.magnitude)
    if code is not None and code <= facts.largest:
        return sign | code
    if saturates:
        return sign | facts.largest
    if facts.inf is not None:
        return sign | facts.inf
    assert facts.nan is not None
    return facts.nan  # E4M3FN's overflow, which has no sign


def _round(facts: Facts, magnitude: Fraction) -> int:
    """The nearest code, as if exponents had no end."""
    exponent = _floor_log2(magnitude) if magnitude else 1 - facts.bias
    quantum = Fraction(2) ** (max(exponent, 1 - facts.bias) - facts.mantissa)
    steps = round(magnitude / quantum)  # Fraction rounds half to even
    if steps < 1 << facts.mantissa:
        return steps
    # `steps` has mantissa + 1 bits, or is the next power of two: adding carries into the exponent.
    return (max(exponent, 1 - facts.bias) + facts.bias - 1 << facts.mantissa) + steps


def _floor_log2(x: Fraction) -> int:
    """floor(log2 x) of a positive fraction."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= Fraction(2) ** e else e - 1


def sticky(fmt: Format, x: Number) -> bool:
    """Whether this conversion sets the sticky status bit."""
    return fmt is Format.E2M1 and x.kind == "nan"


def fp32(x: Number) -> Number:
    """RNE: the number rounded to FP32."""
    return decode(Format.FP32, encode(Format.FP32, x))
