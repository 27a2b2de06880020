"""Block quantisation against exact fractions, and against the reference model's own code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from exact import SHAPES, exponent, finite, fp32, fractions, rne
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.reference import quantise as reference
from isa import blockscale
from isa.blockscale import (
    dequantise_mx,
    dequantise_nvfp4,
    dequantise_rows_fp8,
    quantise_mx,
    quantise_nvfp4,
    quantise_rows_fp8,
)
from isa.formats import Format, decode

ELEMENTS = (Format.E4M3FN, Format.E5M2, Format.E2M1)
FP8 = (Format.E4M3FN, Format.E5M2)


def samples(seed: int, rows: int, k: int) -> np.ndarray:
    """Rows of many magnitudes: Gaussian, far down, far up, a few exact powers and zeros."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, k)) * 2.0 ** rng.integers(-150, 120, (rows, 1))
    x[rng.random((rows, k)) < 0.05] = 0
    x[rng.random((rows, k)) < 0.05] *= -1.0
    power = rng.random((rows, k)) < 0.05
    x[power] = 2.0 ** rng.integers(-149, 127, int(power.sum()))
    return x.astype(np.float32)


def poisoned(seed: int, rows: int, k: int) -> np.ndarray:
    """The same with a NaN or an infinity here and there."""
    rng = np.random.default_rng(seed)
    x = samples(seed, rows, k)
    for value in (np.nan, np.inf, -np.inf, -0.0):
        x[rng.random((rows, k)) < 0.01] = value
    return x


def mx_scale(block: list[Fraction], name: str, floor: bool) -> int:
    """E8M0 code by its purpose: the least power of two that clips nothing, or OCP's floor."""
    largest = max(map(abs, block))
    if largest == 0:
        return 0
    top = SHAPES[name][2]
    e = exponent(largest) - exponent(top)
    if not floor and largest > top * Fraction(2) ** e:
        e += 1
    return min(max(e + 127, 0), 254)


def saturated(x: Fraction, name: str) -> Fraction:
    """x in a format, clipped to its range."""
    top = SHAPES[name][2]
    rounded = rne(max(min(x, top), -top), name)
    assert isinstance(rounded, Fraction)
    return rounded


@pytest.mark.parametrize("fmt", ELEMENTS)
@pytest.mark.parametrize("mode", ["round_up", "floor"])
def test_mx_is_the_exact_rule(fmt: Format, mode: str) -> None:
    x = samples(1, 12, 70)
    codes, scales = quantise_mx(x, fmt, mode)  # type: ignore[arg-type]
    assert codes.shape == (12, 70) and scales.shape == (12, 3)
    for row in range(12):
        for index in range(3):
            part = slice(32 * index, 32 * index + 32)
            block = fractions(x[row, part])
            scale = mx_scale(block, fmt.name, mode == "floor")
            assert scales[row, index] == scale
            expected = [saturated(v / Fraction(2) ** (scale - 127), fmt.name) for v in block]
            assert fractions(decode(fmt, codes[row, part])) == expected


@pytest.mark.parametrize("fmt", ELEMENTS)
def test_round_up_never_clips_and_floor_does(fmt: Format) -> None:
    x = np.random.default_rng(2).standard_normal((400, 32)).astype(np.float32)
    top = float(SHAPES[fmt.name][2])
    clipped = {}
    for mode in ("round_up", "floor"):
        _, scales = quantise_mx(x, fmt, mode)  # type: ignore[arg-type]
        clipped[mode] = np.abs(x).max(axis=1) > top * decode(Format.E8M0, scales)[:, 0]
    assert not clipped["round_up"].any()
    expected = 0.30 if fmt is Format.E2M1 else 0.17  # shares of Gaussian blocks, from the contract
    assert abs(clipped["floor"].mean() - expected) < 0.07


def nvfp4_scale(block: list[Fraction], ts_inv: Fraction) -> Fraction:
    """The E4M3FN block scale, each fp32 step rounded on its own."""
    product = fp32(max(map(abs, block)) * ts_inv)
    if not isinstance(product, Fraction):
        return SHAPES["E4M3FN"][2]
    ratio = fp32(product / 6)
    assert isinstance(ratio, Fraction)
    return saturated(ratio, "E4M3FN")


def nvfp4_element(x: Fraction, ts_inv: Fraction, scale: Fraction) -> Fraction:
    """The E2M1 element, each fp32 step rounded on its own."""
    if scale == 0:
        return Fraction(0)
    product = fp32(x * ts_inv)
    if not isinstance(product, Fraction):
        return Fraction(6 if product > 0 else -6)
    quotient = fp32(product / scale)
    if not isinstance(quotient, Fraction):
        return Fraction(6 if quotient > 0 else -6)
    return saturated(quotient, "E2M1")


@pytest.mark.parametrize("ts", [1.0, 0.0123, 3e-30, 7e20])
def test_nvfp4_is_the_exact_rule(ts: float) -> None:
    rng = np.random.default_rng(3)
    x = samples(3, 20, 40)
    x[:10] = rng.standard_normal((10, 40)).astype(np.float32) * np.float32(ts)
    codes, scales, sticky = quantise_nvfp4(x, np.float32(ts))
    assert scales.shape == (20, 3) and not sticky
    ts_inv = fp32(1 / Fraction(float(np.float32(ts))))
    assert isinstance(ts_inv, Fraction)
    for row in range(20):
        for index in range(3):
            part = slice(16 * index, 16 * index + 16)
            block = fractions(x[row, part])
            scale = nvfp4_scale(block, ts_inv)
            assert fractions(decode(Format.E4M3FN, scales[row, index : index + 1])) == [scale]
            expected = [nvfp4_element(v, ts_inv, scale) for v in block]
            assert fractions(decode(Format.E2M1, codes[row, part])) == expected


@pytest.mark.parametrize("fmt", ELEMENTS)
@pytest.mark.parametrize("k", [1, 31, 32, 33, 95])
def test_mx_is_the_reference(fmt: Format, k: int) -> None:
    x = poisoned(k, 40, k)
    for mode in ("round_up", "floor"):
        codes, scales = quantise_mx(x, fmt, mode)  # type: ignore[arg-type]
        expected = reference.quantise_mx(x, fmt, floor=mode == "floor")
        assert np.array_equal(codes, expected.codes)
        assert np.array_equal(scales, expected.scales)


@pytest.mark.parametrize("fmt", ELEMENTS)
def test_scale_steps_just_above_the_largest_element(fmt: Format) -> None:
    top = np.float32(SHAPES[fmt.name][2])
    x = np.array([[top * 8], [np.nextafter(top * 8, np.float32(np.inf))]], np.float32)
    assert quantise_mx(x, fmt)[1].ravel().tolist() == [130, 131]
    assert reference.quantise_mx(x, fmt).scales.ravel().tolist() == [130, 131]


def test_nvfp4_scale_is_two_roundings() -> None:
    steps = decode(Format.E4M3FN, np.arange(0x40, 0x70, dtype=np.uint8)).astype(np.float64)
    rng = np.random.default_rng(8)
    for ts in rng.uniform(0.5, 2, 20).astype(np.float32):
        ties = ((steps[1:] + steps[:-1]) * 3 * ts).astype(np.float32)
        bits = ties.view(np.int32)[:, None] + np.arange(-2, 3, dtype=np.int32)
        x = bits.view(np.float32).reshape(-1, 1)
        _, scales, _ = quantise_nvfp4(x, ts)
        ts_inv = finite(fp32(1 / Fraction(float(ts))))
        expected = [nvfp4_scale([v], ts_inv) for v in fractions(x.ravel())]
        assert fractions(decode(Format.E4M3FN, scales.ravel())) == expected


@pytest.mark.parametrize("fmt", FP8)
@pytest.mark.parametrize("k", [1, 7, 130])
def test_rows_are_the_reference(fmt: Format, k: int) -> None:
    x = poisoned(k, 60, k)
    codes, scales = quantise_rows_fp8(x, fmt)
    expected = reference.quantise_mx(x, fmt, block=k)
    assert np.array_equal(codes, expected.codes)
    assert np.array_equal(scales, expected.scales[:, 0])


@pytest.mark.parametrize("ts", [1.0, 0.3, 1e-38, 1e-45, 3e38, 0.0, -0.5, np.inf, np.nan])
def test_nvfp4_is_the_reference(ts: float) -> None:
    for x in (poisoned(5, 60, 37), samples(6, 60, 37) * np.float32(0)):
        codes, scales, sticky = quantise_nvfp4(x, np.float32(ts))
        expected = reference.quantise_nvfp4(x, np.float32(ts))
        assert np.array_equal(codes, expected.codes)
        assert np.array_equal(scales, expected.scales)
        assert sticky == expected.sticky


def test_poison_fills_its_block_only() -> None:
    x = np.ones((1, 96), np.float32)
    x[0, 40] = np.inf
    codes, scales = quantise_mx(x, Format.E4M3FN)
    assert scales.tolist() == [[119, 0xFF, 119]]
    assert not codes[0, 32:64].any() and (codes[0, :32] == codes[0, 64:]).all() and codes[0, 0]
    codes, scales, sticky = quantise_nvfp4(x, np.float32(1))
    assert sticky and scales[0].tolist() == [35, 35, 0x7F, 35, 35, 35]
    assert not codes[0, 32:48].any() and (codes[0, :32] == 7).all()


def test_zero_blocks_keep_signs() -> None:
    x = np.array([[0.0, -0.0]], np.float32)
    for fmt, negative in (
        (Format.E4M3FN, 0x80),
        (Format.E5M2, 0x80),
        (Format.E2M1, 0x8),
    ):
        codes, scales = quantise_mx(x, fmt)
        assert codes.tolist() == [[0, negative]] and scales.tolist() == [[0]]
    tiny = np.array([[1e-20, -1e-20]], np.float32)  # its scale underflows to 0
    codes, scales, sticky = quantise_nvfp4(tiny, np.float32(1))
    assert codes.tolist() == [[0, 8]] and scales.tolist() == [[0]] and not sticky


def test_empty_tensors() -> None:
    for rows, k in ((0, 32), (3, 0), (0, 0)):
        x = np.zeros((rows, k), np.float32)
        codes, scales = quantise_mx(x, Format.E2M1)
        assert codes.shape == (rows, k) and scales.shape == (rows, -(-k // 32))
        assert quantise_nvfp4(x, np.float32(1))[1].shape == (rows, -(-k // 16))
        assert quantise_rows_fp8(x, Format.E5M2)[1].tolist() == [0] * rows


def test_row_groups_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = poisoned(9, 50, 67)
    x[1:][~np.isfinite(x[1:])] = 1
    x[0, 0] = np.nan  # the sticky bit of the first group only
    whole = [quantise_mx(x, f) for f in ELEMENTS], quantise_nvfp4(x, np.float32(0.5))
    monkeypatch.setattr(blockscale, "_CHUNK", 130)
    parts = [quantise_mx(x, f) for f in ELEMENTS], quantise_nvfp4(x, np.float32(0.5))
    for old, new in zip([*whole[0], whole[1]], [*parts[0], parts[1]], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


def test_refusals() -> None:
    x = np.ones((1, 32), np.float32)
    with pytest.raises(ValueError, match="BF16"):
        quantise_mx(x, Format.BF16)
    with pytest.raises(ValueError, match="nearest"):
        quantise_mx(x, Format.E2M1, "nearest")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float64"):
        quantise_mx(x.astype(np.float64), Format.E2M1)
    with pytest.raises(TypeError, match="1 dim"):
        quantise_nvfp4(x[0], np.float32(1))


# ---- laws


def rows_of(width: int) -> st.SearchStrategy[list[float]]:
    """Rows of fp32 values that stay normal under a few doublings."""
    value = st.floats(2.0**-20, 2.0**20, width=32)
    return st.lists(value | value.map(lambda v: -v) | st.just(0.0), min_size=width, max_size=width)


@settings(max_examples=60, deadline=None)
@given(rows_of(40), st.sampled_from(ELEMENTS), st.integers(-30, 30))
def test_scaling_by_a_power_of_two_moves_only_the_scale(
    row: list[float], fmt: Format, shift: int
) -> None:
    x = np.array([row], np.float32)
    codes, scales = quantise_mx(x, fmt)
    moved_codes, moved_scales = quantise_mx(x * np.float32(2.0**shift), fmt)
    assert np.array_equal(codes, moved_codes)
    moved = scales.astype(int) + np.where(scales == 0, 0, shift)
    assert np.array_equal(moved_scales, moved)


@settings(max_examples=60, deadline=None)
@given(rows_of(40), st.sampled_from(ELEMENTS))
def test_dequantised_values_quantise_to_themselves(row: list[float], fmt: Format) -> None:
    x = np.array([row], np.float32)
    once = dequantise_mx(*quantise_mx(x, fmt), fmt)
    assert np.array_equal(dequantise_mx(*quantise_mx(once, fmt), fmt), once)


@settings(max_examples=40, deadline=None)
@given(rows_of(24), st.sampled_from(FP8))
def test_row_error_is_within_half_a_step(row: list[float], fmt: Format) -> None:
    x = np.array([row], np.float32)
    back = dequantise_rows_fp8(*quantise_rows_fp8(x, fmt), fmt)
    step = 2.0 ** -SHAPES[fmt.name][0]
    floor = float(np.abs(x).max()) * 2.0 ** (SHAPES[fmt.name][1] - SHAPES[fmt.name][0] - 7)
    assert (np.abs(back - x) <= np.abs(x) * step / 2 + floor).all()


def test_nvfp4_dequantises() -> None:
    codes = np.array([[2, 0xF]], np.uint8)  # 1 and -6
    scales = np.array([[0x80 | 0x40]], np.uint8)  # 2, whose sign is ignored
    assert dequantise_nvfp4(codes, scales, 0.5).tolist() == [[1.0, -6.0]]
    nan = dequantise_nvfp4(codes, np.array([[0x7F]], np.uint8))
    assert (nan.view(np.uint32) == 0x7FC00000).all()
