"""The same rounding as `numbers`, on integers: a magnitude is n * 2^e. For many elements.

A finite code is (sign, n, e): `split`. `code_of` rounds any n * 2^e once to a format. Infinities
and NaNs are not for this module: `finite` says which codes are.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from emulator.conformance.oracle.numbers import FACTS
from isa.formats import Format

FP32 = Format.FP32


class Parts(NamedTuple):
    """A finite number: (-1)^sign * n * 2^e."""

    sign: int
    n: int
    e: int


def finite(fmt: Format, code: int) -> bool:
    """Whether a code is neither an infinity nor a NaN."""
    if fmt is Format.E8M0:
        return code != 0xFF
    return code & (1 << FACTS[fmt].bits - 1) - 1 <= FACTS[fmt].largest


def split(fmt: Format, code: int) -> Parts:
    """A finite code as sign, integer and exponent; E8M0 as well."""
    if fmt is Format.E8M0:
        return Parts(0, 1, code - 127)
    facts = FACTS[fmt]
    sign, magnitude = code >> facts.bits - 1, code & (1 << facts.bits - 1) - 1
    field, fraction = magnitude >> facts.mantissa, magnitude & (1 << facts.mantissa) - 1
    lowest = 1 - facts.bias - facts.mantissa
    if field == 0:
        return Parts(sign, fraction, lowest)
    return Parts(sign, fraction + (1 << facts.mantissa), lowest + field - 1)


def halves_to_even(n: int, drop: int) -> int:
    """n / 2^drop to the nearest integer, ties to even; n of either sign."""
    if drop <= 0:
        return n << -drop
    quotient = n >> drop
    twice_rest = (n - (quotient << drop)) * 2
    whole = 1 << drop
    if twice_rest > whole or (twice_rest == whole and quotient & 1):
        quotient += 1
    return quotient


def code_of(fmt: Format, x: Parts, sat: bool = True) -> int:
    """The code that x is rounded to; overflow as docs/isa/formats.md says."""
    facts = FACTS[fmt]
    if x.n == 0:
        return x.sign << facts.bits - 1
    exponent = max(x.n.bit_length() - 1 + x.e, 1 - facts.bias)
    steps = halves_to_even(x.n, exponent - facts.mantissa - x.e)
    code = (exponent + facts.bias - 1 << facts.mantissa) + steps
    sign = x.sign << facts.bits - 1
    if code <= facts.largest:
        return sign | code
    if sat and fmt in (Format.E4M3FN, Format.E5M2, Format.E2M1):
        return sign | facts.largest
    if facts.inf is not None:
        return sign | facts.inf
    assert facts.nan is not None
    return facts.nan


def product(x: Parts, y: Parts) -> Parts:
    """x * y, exactly."""
    return Parts(x.sign ^ y.sign, x.n * y.n, x.e + y.e)


def quotient(x: Parts, y: Parts) -> Parts:
    """x / y for y != 0, to 64 bits more than any rounding needs; the last bit is 1 if inexact."""
    shift = max(0, y.n.bit_length() - x.n.bit_length()) + 64
    whole, rest = divmod(x.n << shift, y.n)
    return Parts(x.sign ^ y.sign, whole << 1 | (rest != 0), x.e - y.e - shift - 1)


@cache
def unit(fmt: Format) -> int:
    """u such that every finite value of the format is a multiple of 2^-u."""
    facts = FACTS[fmt]
    return facts.bias - 1 + facts.mantissa


def multiple(fmt: Format, code: int) -> int:
    """A finite value as a multiple of 2^-unit; both zeros are 0."""
    x = split(fmt, code)
    n = x.n << x.e + unit(fmt)
    return -n if x.sign else n


def fp32_multiple(n: int, e: int) -> int | None:
    """RNE(n * 2^e) as a multiple of 2^-149.

    None where that is no plain number: an overflow, or a number other than zero rounded to a zero
    (whose sign an integer does not have).
    """
    if n == 0:
        return 0
    drop = max(n.bit_length() - 24, -149 - e)
    steps = halves_to_even(n, drop)
    shift = drop + e + 149
    if steps == 0 or steps.bit_length() + shift > 128 + 149:
        return None
    return steps << shift


def fp32_code(n: int) -> int:
    """The code of n * 2^-149, which is an FP32 number; +0 if n is 0."""
    magnitude = abs(n)
    shift = max(magnitude.bit_length() - 24, 0)
    code = (shift << 23) + (magnitude >> shift)
    return code | 0x80000000 if n < 0 else code
