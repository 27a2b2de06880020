"""The reference model's conversions, reductions and order, against fractions and laws."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import inf, isinf

import numpy as np
import pytest
from exact import finite_fp32, fractions, random_patterns, same, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.reference import convert, reduce
from emulator.reference.arith import bits_of, f32, from_bits
from isa.formats import FORMATS, Format, decode_table, encode

NARROW = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1)
any_fp32 = st.floats(width=32) | st.sampled_from([0.0, -0.0, inf, -inf, float("nan")])


# ---- conversions


@pytest.mark.parametrize("fmt", NARROW)
@pytest.mark.parametrize("sat", [True, False])
def test_conversion_is_the_codec_found_by_search(fmt: Format, sat: bool) -> None:
    if fmt is Format.E2M1 and not sat:
        with pytest.raises(ValueError, match="NOSAT"):
            convert.to_format(fmt, f32(1), sat)
        return
    table = decode_table(fmt)[: FORMATS[fmt].max_code + 1].astype(np.float64)
    middle = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    edge = (bits_of(middle).astype(np.int64)[:, None] + np.arange(-1, 2)).clip(0).ravel()
    rng = np.random.default_rng(14)
    x = np.concatenate(
        [
            from_bits(edge),
            -from_bits(edge),
            rng.integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32),
            vector(inf, -inf, np.nan, 464, 464.001, 61440, 65520, 3.4e38),
        ]
    )
    assert np.array_equal(convert.to_format(fmt, x, sat), encode(fmt, x, sat))


def test_float64_sources_round_once() -> None:
    trap = np.array([1 + 2.0**-8 + 2.0**-40])  # fp32 first would make it a tie, and go down
    assert convert.to_format(Format.BF16, trap) == 0x3F81
    assert convert.to_format(Format.BF16, trap.astype(np.float32)) == 0x3F80


def test_integers() -> None:
    x = vector(0.5, 1.5, 2.5, -0.5, -1.5, 2.0**31, -(2.0**31), -3e9, inf, -inf, np.nan)
    top, low = 2**31 - 1, -(2**31)
    assert convert.to_integer(x).tolist() == [0, 2, 2, 0, -2, top, low, low, top, low, 0]
    whole = np.array([0, 16777217, 16777219, -16777217, top], np.int32)
    expected = [0, 16777216, 16777220, -16777216, 2.0**31]
    assert convert.from_integer(whole).tolist() == expected


# ---- reductions and order


def sum_by_lanes(row: list[Fraction], low: int, high: int) -> float:
    """32 lanes and a tree, on fractions; None stands for an empty lane."""
    lanes: list[Fraction | None] = [None] * 32
    for i in range(max(low, 0), min(high, len(row))):
        old = lanes[i % 32]
        lanes[i % 32] = row[i] if old is None else finite_fp32(old + row[i])
    for step in (16, 8, 4, 2, 1):
        for i in range(step):
            a, b = lanes[i], lanes[i + step]
            lanes[i] = a if b is None else b if a is None else finite_fp32(a + b)
    return float(lanes[0]) if lanes[0] is not None else 0.0


@pytest.mark.parametrize("k", [1, 5, 31, 32, 33, 100])
def test_row_sums_are_32_lanes(k: int) -> None:
    rng = np.random.default_rng(k)
    x = (rng.standard_normal((6, k)) * 2.0 ** rng.integers(-20, 20, (6, k))).astype(np.float32)
    low, high = np.array([0, 0, 3, -2, k, 40]), np.array([k, k + 9, k - 1, 2, k, 30])
    actual = reduce.row_sum(x, (low, high))
    rows = zip(x, low.tolist(), high.tolist(), strict=True)
    assert actual.tolist() == [sum_by_lanes(fractions(r), b, e) for r, b, e in rows]


def test_sums_of_signed_zeros() -> None:
    minus = np.full((1, 3), -0.0, np.float32)
    assert bits_of(reduce.row_sum(minus)) == 1 << 31
    assert bits_of(reduce.row_sum(minus, ([1], [1]))) == 0
    assert bits_of(reduce.row_sum(np.zeros((1, 0), np.float32))) == 0


def test_maxima_and_minima() -> None:
    rng = np.random.default_rng(15)
    x = rng.standard_normal((5, 70)).astype(np.float32)
    low, high = np.array([0, 10, 69, 5, 3]), np.array([70, 20, 70, 5, 70])
    spans = list(zip(x.tolist(), low.tolist(), high.tolist(), strict=True))
    greatest = [max(r[b:e], default=-inf) for r, b, e in spans]
    assert reduce.row_max(x, (low, high)).tolist() == greatest
    least = [min(r[b:e], default=inf) for r, b, e in spans]
    assert reduce.row_min(x, (low, high)).tolist() == least
    x[4, 3] = np.nan
    assert np.isnan(reduce.row_max(x, (low, high))).tolist() == [False] * 4 + [True]


def test_prefix_sum_is_sequential() -> None:
    x = (np.random.default_rng(16).standard_normal((2, 50)) * 1e3).astype(np.float32)
    for row, sums in zip(x, reduce.prefix_sum(x), strict=True):
        running: Fraction | None = None
        for v, s in zip(fractions(row), sums.tolist(), strict=True):
            running = v if running is None else finite_fp32(running + v)
            assert float(running) == s


def test_total_order_of_landmarks() -> None:
    descending = vector(np.nan, inf, 3e38, 1, 1e-45, 0.0, -0.0, -1e-45, -1, -3e38, -inf)
    assert reduce.rank(descending) == list(range(11))
    assert reduce.rank(descending[::-1]) == list(range(10, -1, -1))
    nans = from_bits([0x7F800001, 0xFFFFFFFF, 0x7FC00000])
    assert reduce.rank(nans) == [0, 1, 2]


@given(st.lists(any_fp32, min_size=1, max_size=40), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_topk_is_a_prefix_of_a_stable_ranking(row: list[float], k: int) -> None:
    x = vector(*row)[None]
    best = reduce.topk(x, k)[0]
    assert best[:1] == reduce.topk(x, 1)[0] and len(best) == min(k, len(row))
    left = [i for i in range(len(row)) if i not in best]
    for winner, loser in [*pairwise(best), *((best[-1], i) for i in left)]:
        a, b = x[0, winner], x[0, loser]
        greater = a > b or (np.isnan(a) and not np.isnan(b))
        greater |= a == b == 0 and np.signbit(b) > np.signbit(a)
        tie = bits_of(a) == bits_of(b) or (np.isnan(a) and np.isnan(b))
        assert greater or (tie and winner < loser)


@given(st.integers(0, 2**32), st.integers(1, 90))
@settings(max_examples=30, deadline=None)
def test_other_rows_never_matter(seed: int, k: int) -> None:
    x = random_patterns(np.random.default_rng(seed), (4, k))
    alone = np.concatenate([reduce.row_sum(x[i : i + 1]) for i in range(4)])
    assert same(reduce.row_sum(x), alone)


def test_overflowing_sums_reach_infinity() -> None:
    x = np.full((1, 40), 3e38, np.float32)
    assert isinf(reduce.row_sum(x)[0])
    assert reduce.topk(np.zeros((1, 0), np.float32), 1) == [[]]
