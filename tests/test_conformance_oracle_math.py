"""The kit's exact arithmetic, held against other sources of the same facts."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest

from emulator.conformance.oracle import exact, scaled
from emulator.conformance.oracle.numbers import FACTS, NAN, Number, decode, encode, fp32
from isa.formats import Format
from tests.exact import SHAPES, random_patterns, rne

F = Format
SATURATING = (F.E4M3FN, F.E5M2, F.E2M1)


def random_fractions(rng: Random, count: int) -> list[Fraction]:
    """Numbers of every magnitude that FP32 has and beyond, ties among them."""
    found = []
    for _ in range(count):
        n = rng.getrandbits(rng.choice((1, 4, 12, 25, 60))) | 1
        found.append(Fraction(n) * Fraction(2) ** rng.randint(-200, 130))
    return found


def modes(fmt: Format) -> tuple[bool, ...]:
    return (True,) if fmt is F.E2M1 else (True, False)


@pytest.mark.parametrize("fmt", list(FACTS))
def test_scaled_rounding_is_the_obvious_one(fmt: Format) -> None:
    rng = Random(1)
    for value in random_fractions(rng, 800):
        sign, bottom = rng.getrandbits(1), value.denominator.bit_length() - 1
        x = Number(value, bool(sign))
        for sat in modes(fmt):
            parts = scaled.Parts(sign, value.numerator, -bottom)
            assert scaled.code_of(fmt, parts, sat) == encode(fmt, x, sat), (value, sat)


@pytest.mark.parametrize("fmt", list(FACTS))
def test_rounding_is_that_of_the_arithmetic_tests(fmt: Format) -> None:
    largest = SHAPES[fmt.name][2]
    for value in random_fractions(Random(2), 500):
        want, got = rne(value, fmt.name), decode(fmt, encode(fmt, Number.of(value)))
        if not isinstance(want, Fraction):
            assert got.kind == "inf" or got.magnitude == largest
        else:
            assert got.value == want


@pytest.mark.parametrize("fmt", [*SATURATING, F.BF16])
def test_conversion_is_that_of_ml_dtypes(fmt: Format) -> None:
    # Sound for FP32 sources without NaNs: see docs/conformance-oracles.md.
    dtype = {
        F.E4M3FN: ml_dtypes.float8_e4m3fn,
        F.E5M2: ml_dtypes.float8_e5m2,
        F.E2M1: ml_dtypes.float4_e2m1fn,
        F.BF16: ml_dtypes.bfloat16,
    }[fmt]
    x = random_patterns(np.random.default_rng(3), 2000) if fmt is F.BF16 else near(fmt)
    with np.errstate(over="ignore"):
        codes = x.astype(dtype).view(np.uint16 if fmt is F.BF16 else np.uint8)
    limit, facts = Fraction(largest_before_overflow(fmt)), FACTS[fmt]
    for value, code in zip(x.tolist(), codes.tolist(), strict=True):
        if abs(Fraction(value)) >= limit:
            continue  # what overflows is the mode's business
        sign = bool(np.signbit(value))
        assert encode(fmt, Number(abs(Fraction(value)), sign)) == code & (1 << facts.bits) - 1


def near(fmt: Format) -> np.ndarray:
    """FP32 values in the format's range, and a little beyond."""
    rng = np.random.default_rng(4)
    exponent = rng.uniform(-FACTS[fmt].bias - 6, FACTS[fmt].bias + 3, 3000)
    return (np.exp2(exponent) * rng.choice([-1, 1], 3000)).astype(np.float32)


def largest_before_overflow(fmt: Format) -> Fraction:
    top = decode(fmt, FACTS[fmt].largest).magnitude
    return top + (top - decode(fmt, FACTS[fmt].largest - 1).magnitude) / 2


@pytest.mark.parametrize("fmt", SATURATING)
def test_saturating_conversion_is_that_of_gfloat(fmt: Format) -> None:
    info = {
        F.E4M3FN: gfloat.formats.format_info_ocp_e4m3,
        F.E5M2: gfloat.formats.format_info_ocp_e5m2,
        F.E2M1: gfloat.formats.format_info_ocp_e2m1,
    }[fmt]
    for value in near(fmt).tolist()[:700]:
        rounded = gfloat.round_float(info, value, sat=True)
        want = gfloat.encode_float(info, rounded)
        assert encode(fmt, Number(abs(Fraction(value)), value < 0)) == want, value


def test_sums_products_and_quotients_are_those_of_ieee_754() -> None:
    rng = np.random.default_rng(5)
    special = [0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000]
    special += [code | 0x80000000 for code in special]
    codes = [(x, y) for x in special for y in special]
    codes += [(int(x), int(y)) for x, y in rng.integers(0, 1 << 32, (800, 2))]
    x, y = np.array(codes, np.uint32).T.copy().view(np.float32)
    with np.errstate(all="ignore"):
        results = {exact.plus: x + y, exact.times: x * y, exact.over: x / y}
    for function, values in results.items():
        for (a, b), want in zip(codes, values, strict=True):
            got = encode(F.FP32, function(decode(F.FP32, a), decode(F.FP32, b)))
            bits = 0x7FC00000 if np.isnan(want) else int(want.view(np.uint32))
            assert got == bits, (function, hex(a), hex(b))


def test_scaled_quotients_are_exact_ones() -> None:
    rng = Random(6)
    for _ in range(500):
        x, y = (scaled.Parts(rng.getrandbits(1), rng.getrandbits(24), rng.randint(-149, 104))
                for _ in range(2))  # fmt: skip
        if y.n == 0:
            continue
        numbers = [Number(Fraction(v.n) * Fraction(2) ** v.e, bool(v.sign)) for v in (x, y)]
        want = encode(F.FP32, exact.over(*numbers))
        assert scaled.code_of(F.FP32, scaled.quotient(x, y)) == want


def test_multiples_and_codes_of_fp32() -> None:
    rng = Random(7)
    for _ in range(2000):
        code = rng.getrandbits(32)
        if scaled.finite(F.FP32, code) and code & 0x7FFFFFFF:
            assert scaled.fp32_code(scaled.multiple(F.FP32, code)) == code
    for value in random_fractions(rng, 800):
        n, e = value.numerator, 1 - value.denominator.bit_length()
        want = fp32(Number.of(-value))
        got = scaled.fp32_multiple(-n, e)
        if got is None:
            assert want.kind == "inf" or want.magnitude == 0
        else:
            assert want.value == Fraction(got, 1 << 149)


def test_a_nan_is_one_nan() -> None:
    for fmt in (F.FP32, F.BF16, F.FP16, F.E4M3FN, F.E5M2):
        assert decode(fmt, encode(fmt, NAN)) == NAN
