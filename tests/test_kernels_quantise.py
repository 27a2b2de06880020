"""The quantise unit and READOUT: lengths, strides, formats and awkward numbers of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.reference import arith
from emulator.reference.convert import to_format
from emulator.reference.quantise import quantise_mx, quantise_nvfp4
from isa.formats import FORMATS, Format, decode
from tests.kernel_records import Tensor, attach_scales, row_major, run, stored

SOURCES = (Format.FP32, Format.BF16, Format.FP16)
NARROW = (Format.E4M3FN, Format.E5M2, Format.E2M1)
E2M1_TIES = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)
AWKWARD = np.array(
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000),
        *(0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7FC00000, 0xFFC00001),
        *(0x3F600000, 0x3F600001, 0x3FC00000, 0x3FC00001, 0x3FE00000, 0x3FE00001),
    ],
    np.uint32,
).view(np.float32)


@st.composite
def sources(draw: st.DrawFn) -> Tensor:
    """Rows in a source format: tame, wild, or with few awkward elements; dense or not."""
    columns = draw(
        st.one_of(st.integers(1, 100), st.sampled_from((128, 480, 2048, 2049, 2080, 4101)))
    )
    shape = draw(st.integers(1, 4)), columns
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-140, 120, (shape[0], 1)))
    kind = draw(st.sampled_from(("tame", "wild", "spots", "ties")))
    if kind == "tame":
        x = rng.standard_normal(shape)
    x = x.astype(np.float32)
    if kind == "wild":
        x = rng.integers(0, 1 << 32, shape, dtype=np.uint64).astype(np.uint32).view(np.float32)
    elif kind == "spots":
        x = np.where(rng.random(shape) < 0.01, rng.choice(AWKWARD, shape), x)
    elif kind == "ties":
        x = rng.integers(-48, 49, shape).astype(np.float32) * np.float32(0.125)
    fmt = draw(st.sampled_from(SOURCES))
    codes = x.view(np.uint32) if fmt is Format.FP32 else to_format(fmt, x)
    return stored(fmt, codes, strides(draw, shape))


def strides(draw: st.DrawFn, shape: tuple[int, int]) -> tuple[int, ...]:
    """Dense, with gaps between rows, or between elements."""
    return draw(st.sampled_from((row_major(shape), row_major(shape, 3), (3 * shape[1] + 1, 3))))


def room(fmt: Format, shape: tuple[int, int], loose: bool) -> Tensor:
    """A destination; nibbles lie together, in rows of whole bytes."""
    if fmt is Format.E2M1:
        return stored(fmt, np.zeros(shape, np.uint8), (shape[1] + shape[1] % 2 + 2 * loose, 1))
    steps = (2 * shape[1] + 1, 2) if loose else row_major(shape)
    return stored(fmt, np.zeros(shape, np.uint8), steps)


def with_scales(dst: Tensor, kind: int, dense: bool) -> np.ndarray:
    """Attach room for scales and return it."""
    rows, columns = dst.shape
    blocks = -(-columns // (32 // kind))
    attach_scales(dst, kind, np.zeros((rows, blocks), np.uint8), False, np.random.default_rng(0))
    if not dense:
        return dst.keep[0][:, : 2 * blocks : 2]
    scales = np.zeros((rows, blocks), np.uint8)
    dst.keep.append(scales)
    dst.record[12:15] = (scales.ctypes.data, blocks, 1)
    return scales


def same(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_array_equal(got, want)


@given(sources(), st.sampled_from(NARROW), st.sampled_from((0, 2)), st.booleans(), st.booleans())
def test_mx_is_the_reference_s(src, fmt, floor, loose, dense):
    dst = room(fmt, src.shape, loose)
    scales = with_scales(dst, 1, dense)
    want = quantise_mx(decode(src.fmt, src.codes()), fmt, floor=bool(floor))
    assert run("vquant", dst, src, flags=floor) == 0
    same(scales, want.scales)
    same(dst.codes(), want.codes)


TENSOR_SCALES = (0.0, 1.0, 0.013, -3.0, 1e-40, -1e-40, -0.0, np.inf, -np.inf, np.nan, 3e38, 1e-36)


@given(sources(), st.sampled_from(TENSOR_SCALES), st.booleans(), st.booleans())
def test_nvfp4_is_the_reference_s(src, ts, loose, dense):
    dst = room(Format.E2M1, src.shape, loose)
    scales = with_scales(dst, 2, dense)
    pattern = int(np.float32(ts).view(np.uint32))
    want = quantise_nvfp4(decode(src.fmt, src.codes()), np.float32(ts if pattern else 1))
    assert run("vquant", dst, src, number=pattern) == int(want.sticky)
    same(scales, want.scales)
    same(dst.codes(), want.codes)


@given(sources(), st.sampled_from(NARROW[:2]), st.sampled_from((0, 2)), st.booleans())
def test_rows_are_the_reference_s(src, fmt, floor, loose):
    dst = room(fmt, src.shape, loose)
    scale = stored(Format.E8M0, np.zeros((src.shape[0], 1), np.uint8), (3, 1))
    want = quantise_mx(decode(src.fmt, src.codes()), fmt, src.shape[1], bool(floor))
    run("vquantr", dst, scale, src, flags=floor)
    same(scale.codes(), want.scales)
    same(dst.codes(), want.codes)


def test_nvfp4_around_every_tie_of_every_scale():
    """Quotients on a tie between two values, and one and two units in the last place beside it."""
    values = decode(Format.E4M3FN, np.arange(1, 0x7F, dtype=np.uint8))
    rows = []
    for s in values.astype(np.float32):
        for ties in (E2M1_TIES[:3], E2M1_TIES[3:]):
            block = np.zeros(16, np.float32)
            block[0] = np.float32(6) * s  # its scale code is s again
            exact = np.float32(ties) * s
            steps = np.array([-1, 0, 1, 2, -2], np.int32)[:, None]
            near = (exact.view(np.int32) + steps).astype(np.int32).view(np.float32).reshape(-1)
            block[1:16] = np.resize(near, 15) * np.where(np.arange(15) % 2, -1, 1)
            rows += [block, -block]
            block = block.copy()
            block[1:16] = np.resize(near[::-1], 15)
            rows.append(block)
    x = np.stack(rows).reshape(-1, 48)
    src, dst = stored(Format.FP32, x.view(np.uint32)), room(Format.E2M1, x.shape, False)
    scales = with_scales(dst, 2, True)
    want = quantise_nvfp4(x, np.float32(1))
    assert run("vquant", dst, src) == 0
    same(scales, want.scales)
    same(dst.codes(), want.codes)
    assert set(np.unique(scales)) == set(range(1, 0x7F))


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("columns", [5, 33, 47])
def test_the_nibble_behind_an_odd_row_keeps_its_value(kind, columns):
    x = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    dst = stored(Format.E2M1, np.zeros((3, columns), np.uint8), (columns + 1, 1), fill=0xF0)
    with_scales(dst, kind, False)
    run("vquant", dst, stored(Format.FP32, x.view(np.uint32)))
    assert [int(byte) >> 4 for byte in dst.data[columns // 2 :: (columns + 1) // 2]] == [15] * 3


@st.composite
def readouts(draw: st.DrawFn) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """An accumulator, factors of rows and of columns or none, a destination."""
    columns = draw(st.one_of(st.integers(1, 100), st.sampled_from((1024, 2049, 8192, 8211))))
    shape = draw(st.integers(1, 4)), columns
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))

    def values(size: tuple[int, int]) -> np.ndarray:
        x = rng.standard_normal(size).astype(np.float32)
        return np.where(rng.random(size) < 0.05, rng.choice(AWKWARD, size), x).astype(np.float32)

    def factor(size: tuple[int, int]) -> Tensor | None:
        kind = draw(st.sampled_from(("none", "fp32", "e8m0")))
        if kind == "none":
            return None
        if kind == "fp32":
            return stored(Format.FP32, values(size).view(np.uint32), strides(draw, size))
        codes = rng.integers(0, 256, size).astype(np.uint8)
        return stored(Format.E8M0, codes, strides(draw, size))

    acc = stored(Format.FP32, values(shape).view(np.uint32), strides(draw, shape))
    fmt = draw(st.sampled_from((*SOURCES, *NARROW[:2])))
    dst = stored(fmt, np.zeros(shape, FORMATS[fmt].dtype), strides(draw, shape))
    return acc, factor((shape[0], 1)), factor((1, columns)), dst


@given(readouts(), st.sampled_from((0, 1)))
def test_readout_is_the_reference_s(drawn, nosat):
    acc, row, column, dst = drawn
    run("readout", dst, acc, row, column, flags=nosat)
    if row is None and column is None and dst.fmt is Format.FP32:
        same(dst.codes(), acc.codes())
        return
    x = decode(acc.fmt, acc.codes())
    for factor in (row, column):
        x = x if factor is None else arith.mul(x, decode(factor.fmt, factor.codes()))
    same(dst.codes(), to_format(dst.fmt, x, not nosat))
