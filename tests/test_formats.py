"""The format table against ml_dtypes, gfloat and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from exact import SHAPES, fractions, random_patterns, rne
from gfloat import RoundMode, decode_float, encode_ndarray, round_ndarray
from gfloat import formats as gf

from isa.formats import (
    FORMATS,
    FP32_NAN,
    Format,
    Layout,
    ScaleKind,
    byte_size,
    decode,
    decode_table,
    e2m1_sticky,
    encode,
    pack_nibbles,
    unpack_nibbles,
)

ORACLE = {
    Format.BF16: ml_dtypes.bfloat16,
    Format.FP16: np.float16,
    Format.E4M3FN: ml_dtypes.float8_e4m3fn,
    Format.E5M2: ml_dtypes.float8_e5m2,
    Format.E2M1: ml_dtypes.float4_e2m1fn,
    Format.E8M0: ml_dtypes.float8_e8m0fnu,
}
GFLOAT = {
    Format.BF16: gf.format_info_bfloat16,
    Format.FP16: gf.format_info_binary16,
    Format.E4M3FN: gf.format_info_ocp_e4m3,
    Format.E5M2: gf.format_info_ocp_e5m2,
    Format.E2M1: gf.format_info_ocp_e2m1,
    Format.E8M0: gf.format_info_ocp_e8m0,
}
NARROW = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1)
EIGHT_BIT = (Format.E4M3FN, Format.E5M2)


def all_codes(fmt: Format) -> np.ndarray:
    """Every code of a format, in its own dtype."""
    return np.arange(1 << FORMATS[fmt].bits).astype(FORMATS[fmt].dtype)


def canonical_bits(values: np.ndarray) -> np.ndarray:
    """fp32 patterns with one NaN."""
    return np.where(np.isnan(values), np.uint32(FP32_NAN), values.view(np.uint32))


def oracle_codes(fmt: Format, x: np.ndarray) -> np.ndarray:
    """ml_dtypes' conversion of fp32, NaNs canonical (no NaN may go to E2M1: unsound there)."""
    info = FORMATS[fmt]
    with np.errstate(over="ignore", invalid="ignore"):
        converted = x.astype(ORACLE[fmt])
    codes = converted.view(info.dtype)
    if info.canonical_nan is None:
        return codes
    nan = np.isnan(converted.astype(np.float32))
    return np.where(nan, np.array(info.canonical_nan, info.dtype), codes)


def critical_values(fmt: Format) -> np.ndarray:
    """Each format value, each midpoint, their fp32 neighbours; fp32's own ends; NaNs excluded."""
    table = decode_table(fmt)[: FORMATS[fmt].max_code + 1].astype(np.float64)
    points = np.concatenate(
        [table, (table[1:] + table[:-1]) / 2, [table[-1] * 1.5 - table[-2] / 2]]
    )
    bits = points.astype(np.float32).view(np.uint32).astype(np.int64)
    near = (bits[:, None] + np.arange(-2, 3)).clip(0, 0x7F800000)
    ends = np.array([0, 1, 2, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000])
    magnitude = np.unique(np.concatenate([near.ravel(), ends])).astype(np.uint32)
    return np.concatenate([magnitude, magnitude | np.uint32(1 << 31)]).view(np.float32)


def test_codes_are_frozen() -> None:
    names = ["FP32", "BF16", "FP16", "E4M3FN", "E5M2", "E2M1", "E8M0", "I32", "U8"]
    assert [(f.name, int(f)) for f in Format] == [(n, i) for i, n in enumerate(names)]
    assert [(s.name, int(s)) for s in ScaleKind] == [("NONE", 0), ("MX32", 1), ("NV16", 2)]
    assert [(s.name, int(s)) for s in Layout] == [("STRIDED", 0), ("PANEL", 1)]
    assert set(FORMATS) == set(Format)
    assert all(info.name == fmt.name for fmt, info in FORMATS.items())


@pytest.mark.parametrize("fmt", ORACLE)
def test_facts_agree_with_ml_dtypes(fmt: Format) -> None:
    info, other = FORMATS[fmt], ml_dtypes.finfo(ORACLE[fmt])
    assert info.max_value == float(other.max)
    assert info.exponent_bits + info.mantissa_bits + info.signed == info.bits
    assert info.mantissa_bits == other.nmant
    assert 2.0**info.max_exponent == 2.0 ** np.floor(np.log2(info.max_value))
    assert info.has_inf == (GFLOAT[fmt].num_posinfs > 0)


@pytest.mark.parametrize("fmt", ORACLE)
def test_decode_is_ml_dtypes_on_every_code(fmt: Format) -> None:
    codes = all_codes(fmt)
    expected = codes.view(ORACLE[fmt]).astype(np.float32)
    assert np.array_equal(decode(fmt, codes).view(np.uint32), canonical_bits(expected))
    assert FORMATS[fmt].max_value == decode_table(fmt)[FORMATS[fmt].max_code]


@pytest.mark.parametrize("fmt", [f for f in ORACLE if FORMATS[f].bits <= 8])
def test_decode_is_gfloat_on_every_code(fmt: Format) -> None:
    expected = [decode_float(GFLOAT[fmt], int(c)).fval for c in all_codes(fmt)]
    actual = decode(fmt, all_codes(fmt))
    assert np.array_equal(actual, np.array(expected, np.float32), equal_nan=True)


def test_decode_fp32_copies_all_but_nans() -> None:
    codes = np.array([0, 0x80000000, 1, 0x7F800000, 0xFF800000, 0xFFC00000, 0x7F800001], np.uint32)
    expected = [*codes[:5].tolist(), FP32_NAN, FP32_NAN]
    assert decode(Format.FP32, codes).view(np.uint32).tolist() == expected


@pytest.mark.parametrize("fmt", NARROW)
def test_encode_inverts_decode(fmt: Format) -> None:
    codes = all_codes(fmt)
    values = decode(fmt, codes)
    expected = np.where(np.isnan(values), FORMATS[fmt].canonical_nan or 0, codes)
    sat = fmt is Format.E2M1
    assert np.array_equal(encode(fmt, values, sat), expected)


@pytest.mark.parametrize("fmt", NARROW)
@pytest.mark.parametrize("source", [Format.BF16, Format.FP16])
def test_encode_every_16_bit_value(fmt: Format, source: Format) -> None:
    x = decode_table(source)
    x = x[~np.isnan(x)]
    assert np.array_equal(encode(fmt, x, fmt is Format.E2M1), oracle_codes(fmt, x))


@pytest.mark.parametrize("fmt", NARROW)
def test_encode_critical_and_random_fp32(fmt: Format) -> None:
    rng = np.random.default_rng(int(fmt))
    random = rng.integers(0, 1 << 32, 1_000_000, dtype=np.uint32).view(np.float32)
    # Random patterns rarely lie in a narrow format's range: add values that do.
    inside = rng.standard_normal(500_000).astype(np.float32) * np.float32(
        min(2.0 ** rng.integers(-12, 12), FORMATS[fmt].max_value)
    )
    for x in (critical_values(fmt), random[~np.isnan(random)], inside):
        assert np.array_equal(encode(fmt, x, fmt is Format.E2M1), oracle_codes(fmt, x))


@pytest.mark.parametrize("fmt", [*EIGHT_BIT, Format.E2M1])
def test_saturation_is_gfloat(fmt: Format) -> None:
    x = critical_values(fmt)
    rounded = round_ndarray(GFLOAT[fmt], x.astype(np.float64), RoundMode.TiesToEven, sat=True)
    assert np.array_equal(encode(fmt, x, True), encode_ndarray(GFLOAT[fmt], rounded))


@pytest.mark.parametrize("name", SHAPES)
def test_encode_is_the_nearest_fraction(name: str) -> None:
    fmt = Format[name]
    x = random_patterns(np.random.default_rng(3), 2000)
    x = np.concatenate([x, np.random.default_rng(4).normal(0, 3, 2000).astype(np.float32)])
    top = Fraction(FORMATS[fmt].max_value)
    actual = fractions(decode(fmt, encode(fmt, x.clip(-float(top), float(top)), True)))
    expected = [rne(max(min(v, top), -top), name) for v in fractions(x)]
    assert actual == expected


@pytest.mark.parametrize(
    ("fmt", "sat", "expected"),
    [  # +Inf, -Inf, NaN, -NaN, -0, twice the maximum, minus that
        (Format.FP32, True, [0x7F800000, 0xFF800000, FP32_NAN, FP32_NAN, 1 << 31, None, None]),
        (Format.BF16, True, [0x7F80, 0xFF80, 0x7FC0, 0x7FC0, 0x8000, 0x7F80, 0xFF80]),
        (Format.FP16, True, [0x7C00, 0xFC00, 0x7E00, 0x7E00, 0x8000, 0x7C00, 0xFC00]),
        (Format.FP16, False, [0x7C00, 0xFC00, 0x7E00, 0x7E00, 0x8000, 0x7C00, 0xFC00]),
        (Format.E4M3FN, True, [0x7E, 0xFE, 0x7F, 0x7F, 0x80, 0x7E, 0xFE]),
        (Format.E4M3FN, False, [0x7F, 0x7F, 0x7F, 0x7F, 0x80, 0x7F, 0x7F]),
        (Format.E5M2, True, [0x7B, 0xFB, 0x7E, 0x7E, 0x80, 0x7B, 0xFB]),
        (Format.E5M2, False, [0x7C, 0xFC, 0x7E, 0x7E, 0x80, 0x7C, 0xFC]),
        (Format.E2M1, True, [0x7, 0xF, 0x7, 0x7, 0x8, 0x7, 0xF]),
    ],
)
def test_special_values(fmt: Format, sat: bool, expected: list[int | None]) -> None:
    with np.errstate(over="ignore"):
        twice = np.float32(FORMATS[fmt].max_value) * np.float32(2)
    x = np.array([np.inf, -np.inf, np.nan, -np.nan, -0.0, twice, -twice], np.float32)
    codes = encode(fmt, x, sat).tolist()
    assert [c for c, e in zip(codes, expected, strict=True) if e is not None] == [
        e for e in expected if e is not None
    ]


def test_e4m3fn_overflow_begins_above_464() -> None:
    x = np.array([448, 464, np.nextafter(np.float32(464), np.float32(500))], np.float32)
    assert encode(Format.E4M3FN, x, False).tolist() == [0x7E, 0x7E, 0x7F]
    assert encode(Format.E4M3FN, x, True).tolist() == [0x7E, 0x7E, 0x7E]


def test_sticky_bit_is_for_nans_only() -> None:
    assert e2m1_sticky(np.array([[1, np.nan]], np.float32))
    assert not e2m1_sticky(np.array([np.inf, -np.inf, 1e30], np.float32))


def test_shapes_survive() -> None:
    for shape in ((), (0,), (3, 0, 2), (2, 3, 4), (1 << 16,)):
        x = np.full(shape, 1.25, np.float32)
        assert encode(Format.E4M3FN, x).shape == shape
        assert encode(Format.BF16, np.asarray(x, order="F")).shape == shape
    x = np.arange(24, dtype=np.float32).reshape(4, 6).T[::2]
    assert np.array_equal(decode(Format.BF16, encode(Format.BF16, x)), x)


def test_refusals() -> None:
    one = np.ones(1, np.float32)
    for fmt in (Format.E8M0, Format.I32, Format.U8):
        with pytest.raises(ValueError, match=fmt.name):
            encode(fmt, one)
    with pytest.raises(ValueError, match="E2M1"):
        encode(Format.E2M1, one, False)
    with pytest.raises(TypeError, match="float64"):
        encode(Format.BF16, one.astype(np.float64))
    with pytest.raises(ValueError, match="too wide"):
        decode_table(Format.FP32)
    with pytest.raises(ValueError, match="I32"):
        decode(Format.I32, np.zeros(1, np.int32))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 32])
def test_nibbles_round_trip(count: int) -> None:
    codes = np.random.default_rng(count).integers(0, 16, (3, count)).astype(np.uint8)
    packed = pack_nibbles(codes)
    assert packed.shape == (3, byte_size(Format.E2M1, count))
    assert np.array_equal(unpack_nibbles(packed, count), codes)


def test_even_index_is_the_low_nibble() -> None:
    assert pack_nibbles(np.array([1, 2, 3], np.uint8)).tolist() == [0x21, 0x03]


def test_byte_sizes() -> None:
    assert [byte_size(f, 5) for f in Format] == [20, 10, 10, 5, 5, 3, 5, 20, 5]
