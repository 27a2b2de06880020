"""Top-k and argmax of rows of every kind: ties, NaNs, zeros, adverse orders, many lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.reference import reduce
from isa.formats import Format
from tests.kernel_records import row_major, run, stored

AWKWARD = np.array(
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x807FFFFF),
        *(0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0xBF800000),
        *(0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF),
    ],
    np.uint32,
)


def check(bits: np.ndarray, k: int, stride: int = 1, pad: int = 0) -> None:
    """vtopk of rows of patterns against the reference's order, values bit for bit."""
    rows, columns = bits.shape
    src = stored(Format.FP32, bits, (columns * stride + pad, stride))
    values = stored(Format.FP32, np.zeros((rows, k), np.uint32), row_major((rows, k), pad))
    places = stored(Format.I32, np.zeros((rows, k), np.int32), (2 * k + pad, 2))
    assert run("vtopk", values, places, src, number=-3) == 0
    want = np.array(reduce.topk(bits.view(np.float32), k))
    np.testing.assert_array_equal(places.codes(), want - 3)
    np.testing.assert_array_equal(values.codes(), np.take_along_axis(bits, want, 1))


@st.composite
def rows_of_patterns(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Rows drawn from few patterns, so that most are ties, or from many."""
    columns = draw(st.one_of(st.integers(1, 200), st.sampled_from((2047, 2048, 2049, 4500))))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kind = draw(st.sampled_from(("awkward", "two", "any", "near", "mixed")))
    shape = draw(st.integers(1, 3)), columns
    anything = rng.integers(0, 1 << 32, shape, dtype=np.uint64).astype(np.uint32)
    if kind == "any":
        bits = anything
    elif kind == "near":
        bits = (int(rng.choice(AWKWARD)) + rng.integers(0, 3, shape)).astype(np.uint32)
    elif kind == "mixed":
        bits = np.where(rng.random(shape) < 0.02, rng.choice(AWKWARD, shape), anything)
    else:
        bits = rng.choice(AWKWARD if kind == "awkward" else rng.choice(AWKWARD, 2), shape)
    return bits, draw(st.integers(1, min(columns, 300)))


@given(rows_of_patterns(), st.sampled_from((1, 1, 2, 3)), st.integers(0, 5))
def test_topk_is_the_reference_s(drawn, stride, pad):
    check(*drawn, stride, pad)


@pytest.mark.parametrize("k", [1, 8, 63, 64, 65, 200, 3000])
@pytest.mark.parametrize("order", ["up", "down", "one group", "few groups", "equal", "end"])
def test_topk_of_adverse_orders(order, k):
    """Ascending, descending, all great ones where the filter sees least of them, all alike."""
    n = 5003
    x = np.random.default_rng(k).standard_normal(n).astype(np.float32)
    if order in ("up", "down"):
        x = np.sort(x)[:: 1 if order == "up" else -1].copy()
    elif order == "one group":
        x[5::64] = np.abs(x[5::64]) + 100
    elif order == "few groups":
        x[np.arange(n) % 64 < 7] += np.arange(n, dtype=np.float32)[np.arange(n) % 64 < 7]
    elif order == "equal":
        x[:] = -0.0
    else:
        x[-k:] = 7
    check(x.view(np.uint32)[None], k)


@pytest.mark.parametrize("value", AWKWARD.tolist())
def test_topk_of_equal_rows_with_one_better(value):
    """All elements alike but one, wherever that is: the first ones win the ties."""
    for place in (0, 63, 64, 2047, 2048, 2999):
        bits = np.full((1, 3000), value, np.uint32)
        bits[0, place] = 0x7F900000
        check(bits, 9)


@pytest.mark.parametrize("k", [2, 40, 100])
def test_topk_whose_least_is_a_zero(k):
    """+0 ranks above -0 among rows of little else."""
    rng = np.random.default_rng(k)
    bits = rng.choice(np.array([0, 1 << 31], np.uint32), (2, 3000), p=(0.01, 0.99))
    bits[:, ::500] = 0x3F800000
    check(bits, k)
    check(bits ^ np.uint32(1 << 31), k)


def test_topk_of_none_writes_nothing():
    src = stored(Format.FP32, np.zeros((1, 5), np.uint32))
    values = stored(Format.FP32, np.zeros((1, 0), np.uint32), (1, 1))
    places = stored(Format.I32, np.zeros((1, 0), np.int32), (1, 1))
    before = values.data.copy(), places.data.copy()
    run("vtopk", values, places, src)
    np.testing.assert_array_equal(values.data, before[0])
    np.testing.assert_array_equal(places.data, before[1])


@given(rows_of_patterns())
def test_argmax_is_the_first_of_topk(drawn):
    bits, _k = drawn
    dst = stored(Format.I32, np.zeros((len(bits), 1), np.int32))
    run("vargmax", dst, stored(Format.FP32, bits))
    want = np.array(reduce.topk(bits.view(np.float32), 1))
    np.testing.assert_array_equal(dst.codes(), want)
