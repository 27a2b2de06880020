"""The vector kernels against the reference model's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.reference import arith, reduce
from emulator.reference.convert import from_integer, to_format, to_integer
from emulator.reference.quantise import quantise_mx, quantise_nvfp4
from isa.formats import FORMATS, Format, decode, encode
from tests.kernel_records import Tensor, attach_scales, panels, row_major, run, stored

FLOATS = (Format.FP32, Format.BF16, Format.FP16)
INF, NAN = np.float32(np.inf), np.float32(np.nan)
EDGES = np.array(
    [0, -0.0, INF, -INF, NAN, 1, -1, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38],
    np.float32,
)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], wild: bool = True) -> np.ndarray:
    """fp32 values: Gaussian, with any pattern and the awkward values mixed in."""
    x = rng.standard_normal(shape).astype(np.float32)
    x *= np.exp2(rng.integers(-6, 7, shape)).astype(np.float32)
    if wild:
        patterns = rng.integers(0, 1 << 32, shape, dtype=np.uint32).view(np.float32)
        x = np.where(rng.random(shape) < 0.2, patterns, x)
        x = np.where(rng.random(shape) < 0.2, rng.choice(EDGES, shape), x)
    return x.astype(np.float32)


def strides_for(rng, shape, fmt=Format.FP32):
    """Contiguous, padded, or with gaps between elements."""
    style = rng.integers(0, 4)
    if fmt is Format.E2M1:
        pad = 2 * int(rng.integers(0, 2)) + shape[-1] % 2
        return row_major(shape, pad)
    if style == 0:
        return tuple(2 * s + (i == 0) for i, s in enumerate(row_major(shape)))
    if style == 1:
        return row_major(shape, 3)
    if style == 2 and len(shape) == 2:
        return (1, shape[0])
    return row_major(shape)


def tensor(rng, fmt: Format, values: np.ndarray) -> Tensor:
    """fp32 values stored in a format, somehow strided."""
    codes = values.view(np.uint32) if fmt is Format.FP32 else to_format(fmt, values)
    return stored(fmt, codes, strides_for(rng, values.shape, fmt))


def room(rng, fmt: Format, shape) -> Tensor:
    dtype = np.uint8 if fmt is Format.E2M1 else FORMATS[fmt].dtype
    return stored(fmt, np.zeros(shape, dtype), strides_for(rng, shape, fmt))


def values_of(t: Tensor) -> np.ndarray:
    return decode(t.fmt, t.codes())


def random_shape(rng) -> tuple[int, ...]:
    rank = int(rng.integers(0, 5))
    limit = (1, 3000, 90, 20, 9)[rank]
    return tuple(int(rng.integers(1, limit + 1)) for _ in range(rank))


def same(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_array_equal(got, want)


BINARY = {
    "vadd": arith.add,
    "vsub": arith.sub,
    "vmul": arith.mul,
    "vdiv": arith.div,
    "vmin": arith.minimum,
    "vmax": arith.maximum,
}
UNARY = {"vsqrt": arith.sqrt, "vrcp": arith.rcp, "vrsqrt": arith.rsqrt, "vexp2": arith.exp2}
INTEGER = {
    "vadd": np.add,
    "vsub": np.subtract,
    "vmul": np.multiply,
    "vmin": np.minimum,
    "vmax": np.maximum,
}


@pytest.mark.parametrize("mnemonic", sorted(BINARY))
@pytest.mark.parametrize("seed", range(8))
def test_binary(mnemonic, seed):
    rng = np.random.default_rng([seed, len(mnemonic), ord(mnemonic[2])])
    shape = random_shape(rng)
    fa, fb, fd = (FLOATS[int(i)] for i in rng.integers(0, 3, 3))
    a, b, dst = tensor(rng, fa, numbers(rng, shape)), tensor(rng, fb, numbers(rng, shape)), None
    dst = room(rng, fd, shape)
    number = int(rng.choice(EDGES).view(np.uint32)) | int(rng.integers(0, 4)) << 32
    scalar = rng.random() < 0.3
    assert run(mnemonic, dst, a, None if scalar else b, flags=int(scalar), number=number) == 0
    right = arith.from_bits(number & 0xFFFFFFFF) if scalar else values_of(b)
    same(dst.codes(), to_format(fd, BINARY[mnemonic](values_of(a), right)))


def test_binary_broadcast_rows_and_columns():
    rng = np.random.default_rng(5)
    x, row, column = numbers(rng, (37, 70)), numbers(rng, (1, 70)), numbers(rng, (37, 1))
    a, dst = tensor(rng, Format.FP32, x), room(rng, Format.FP32, x.shape)
    for small, strides in ((row, (0, 1)), (column, (1, 0))):
        b = stored(Format.FP32, small.view(np.uint32), (70, 1) if strides[1] else (1, 1))
        b.record[6:8] = x.shape
        b.record[10:12] = strides
        run("vmul", dst, a, b)
        same(dst.codes(), arith.bits_of(arith.mul(x, small)))


def test_binary_in_place():
    rng = np.random.default_rng(6)
    x, y = numbers(rng, (3, 1100)), numbers(rng, (3, 1100))
    a, b = stored(Format.FP32, x.view(np.uint32)), stored(Format.FP32, y.view(np.uint32))
    run("vadd", a, a, b)
    same(a.codes(), arith.bits_of(arith.add(x, y)))


@pytest.mark.parametrize("mnemonic", sorted(INTEGER))
def test_integers(mnemonic):
    rng = np.random.default_rng(len(mnemonic))
    x, y = (rng.integers(-(2**31), 2**31, (5, 77)).astype(np.int32) for _ in range(2))
    a, b = stored(Format.I32, x), stored(Format.I32, y, (160, 2))
    dst = stored(Format.I32, np.zeros_like(x))
    run(mnemonic, dst, a, b)
    same(dst.codes(), INTEGER[mnemonic](x, y))
    run(mnemonic, dst, a, None, flags=1, number=-7)
    same(dst.codes(), INTEGER[mnemonic](x, np.int32(-7)))


@pytest.mark.parametrize("mnemonic", sorted(UNARY))
@pytest.mark.parametrize("seed", range(6))
def test_unary(mnemonic, seed):
    rng = np.random.default_rng([seed, len(mnemonic)])
    shape = random_shape(rng)
    fa, fd = (FLOATS[int(i)] for i in rng.integers(0, 3, 2))
    x = numbers(rng, shape)
    if mnemonic == "vexp2":
        x = np.where(rng.random(shape) < 0.5, rng.uniform(-170, 140, shape), x).astype(np.float32)
    a, dst = tensor(rng, fa, x), room(rng, fd, shape)
    assert run(mnemonic, dst, a) == 0
    same(dst.codes(), to_format(fd, UNARY[mnemonic](values_of(a))))


@pytest.mark.parametrize("seed", range(6))
def test_muladd2(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    formats = [FLOATS[int(i)] for i in rng.integers(0, 3, 5)]
    a, b, c, e = (tensor(rng, fmt, numbers(rng, shape)) for fmt in formats[:4])
    dst = room(rng, formats[4], shape)
    run("vmuladd2", dst, a, b, c, e)
    left, right = arith.mul(values_of(a), values_of(b)), arith.mul(values_of(c), values_of(e))
    same(dst.codes(), to_format(formats[4], arith.add(left, right)))


CONVERT_TO = [f for f in Format if f not in (Format.E8M0, Format.U8)]


@pytest.mark.parametrize("source", list(Format))
@pytest.mark.parametrize("target", CONVERT_TO)
def test_convert(source, target):
    rng = np.random.default_rng([int(source), int(target)])
    for shape in ((7, 33), (2, 3, 50), (1500,), (5, 1)):
        info = FORMATS[source]
        if source is Format.FP32:
            codes = numbers(rng, shape).view(np.uint32)
        elif source is Format.I32:
            codes = (rng.integers(-(2**31), 2**31, shape) >> rng.integers(0, 30, shape)).astype(
                np.int32
            )
        else:
            codes = rng.integers(0, 1 << info.bits, shape).astype(info.dtype)
        a = stored(source, codes, strides_for(rng, shape, source))
        dst = room(rng, target, shape)
        integer = source in (Format.I32, Format.U8)
        x = from_integer(codes) if integer else decode(source, codes)
        for nosat in (0, 2) if target is not Format.E2M1 else (0,):
            status = run("vcvt", dst, a, flags=nosat)
            assert status == int(target is Format.E2M1 and np.isnan(x).any())
            if target is Format.I32:
                same(dst.codes(), to_integer(x))
            else:
                same(dst.codes(), to_format(target, x, not nosat))


def test_convert_in_place_makes_nans_canonical():
    x = stored(Format.FP32, np.full((2, 40), 0xFFC00001, np.uint32))
    run("vcvt", x, x)
    assert (x.codes() == 0x7FC00000).all()


def test_convert_broadcast():
    one = stored(Format.BF16, np.array([[0x3F80]], np.uint16))
    one.record[6:8], one.record[10:12] = (3, 50), (0, 0)
    dst = stored(Format.E4M3FN, np.zeros((3, 50), np.uint8))
    run("vcvt", dst, one)
    assert (dst.codes() == 0x38).all()


def test_odd_nibbles_keep_their_neighbour():
    x = np.array([[1, 2, 3], [4, -6, 0.5]], np.float32)
    dst = stored(Format.E2M1, np.zeros((2, 3), np.uint8), (4, 1), fill=0xF0)
    run("vcvt", dst, stored(Format.FP32, x.view(np.uint32)))
    same(dst.codes(), to_format(Format.E2M1, x))
    assert [int(byte) >> 4 for byte in dst.data[1::2]] == [15, 15]


RELATIONS = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)


@pytest.mark.parametrize("relation", range(6))
def test_compare(relation):
    rng = np.random.default_rng(relation)
    shape = (4, 100)
    x = numbers(rng, shape)
    y = np.where(rng.random(shape) < 0.3, x, numbers(rng, shape))
    for fmt in FLOATS:
        a, b = tensor(rng, fmt, x), tensor(rng, fmt, y)
        dst = room(rng, Format.U8, shape)
        run("vcmp", dst, a, b, flags=relation << 1)
        same(dst.codes(), RELATIONS[relation](values_of(a), values_of(b)))
        run("vcmp", dst, a, None, flags=relation << 1 | 1, number=0x80000000)
        same(dst.codes(), RELATIONS[relation](values_of(a), np.float32(0)))
    m, n = (rng.integers(-3, 4, shape).astype(np.int32) for _ in range(2))
    dst = room(rng, Format.U8, shape)
    run("vcmp", dst, stored(Format.I32, m), stored(Format.I32, n), flags=relation << 1)
    same(dst.codes(), RELATIONS[relation](m, n))


@pytest.mark.parametrize("fmt", [*FLOATS, Format.I32, Format.U8])
def test_select(fmt):
    rng = np.random.default_rng(int(fmt))
    shape, info = (6, 75), FORMATS[fmt]
    a, b = (rng.integers(0, 1 << info.bits, shape, np.uint64).astype(info.dtype) for _ in range(2))
    mask = rng.integers(0, 3, shape).astype(np.uint8) * 100
    dst = room(rng, fmt, shape)
    left, right = (stored(fmt, codes, strides_for(rng, shape)) for codes in (a, b))
    run("vsel", dst, stored(Format.U8, mask), left, right)
    same(dst.codes(), np.where(mask != 0, a, b))


def test_iota():
    dst = stored(Format.I32, np.zeros((3, 2, 50), np.int32), (200, 101, 2))
    run("viota", dst, number=2**31 - 10)
    want = (np.arange(50) + 2**31 - 10).astype(np.uint32).view(np.int32)
    same(dst.codes(), np.broadcast_to(want, (3, 2, 50)))


@pytest.mark.parametrize("wild", [False, True])
def test_scan(wild):
    rng = np.random.default_rng(3)
    x = numbers(rng, (2, 3, 45), wild)
    x[0, 0, :2] = -0.0
    a, dst = tensor(rng, Format.FP32, x), room(rng, Format.FP32, x.shape)
    run("vscan", dst, a)
    want = reduce.prefix_sum(x.reshape(6, 45)).reshape(x.shape)
    same(dst.codes(), arith.bits_of(want))


@pytest.mark.parametrize("shape", [(16, 16), (40, 50), (2, 17, 33), (3, 2, 31, 16), (16, 5)])
@pytest.mark.parametrize("in_place", [False, True])
def test_scan_of_rows_side_by_side(shape, in_place):
    rng = np.random.default_rng([len(shape), shape[-1], in_place])
    x = numbers(rng, shape)
    x[..., :2][rng.random(x[..., :2].shape) < 0.3] = -0.0
    a = stored(Format.FP32, x.view(np.uint32), row_major(shape, 3))
    dst = a if in_place else stored(Format.FP32, np.zeros(shape, np.uint32), row_major(shape, 1))
    run("vscan", dst, a)
    want = reduce.prefix_sum(x.reshape(-1, shape[-1])).reshape(shape)
    same(dst.codes(), arith.bits_of(want))


@pytest.mark.parametrize("shape", [(16, 16), (40, 50), (15, 64), (64, 15), (33, 17)])
@pytest.mark.parametrize("fmt", [Format.FP32, Format.I32])
def test_transposition_by_squares(shape, fmt):
    rng = np.random.default_rng(shape)
    codes = rng.integers(0, 1 << 32, shape, np.uint64).astype(FORMATS[fmt].dtype)
    src = stored(fmt, codes, row_major(shape, 3))
    dst = stored(fmt, np.zeros(shape[::-1], codes.dtype), row_major(shape[::-1], 5))
    run("vtrans", dst, src)
    same(dst.codes(), codes.T)


# ---- rows

REDUCTIONS = {"vrsum": reduce.row_sum, "vrmax": reduce.row_max, "vrmin": reduce.row_min}


@pytest.mark.parametrize("mnemonic", sorted(REDUCTIONS))
@pytest.mark.parametrize("seed", range(8))
def test_reductions(mnemonic, seed):
    rng = np.random.default_rng([seed, ord(mnemonic[2]), ord(mnemonic[3])])
    rows, columns = int(rng.integers(1, 6)), int(rng.choice((1, 31, 32, 33, 64, 100, 1024, 1500)))
    fs, fd = (FLOATS[int(i)] for i in rng.integers(0, 3, 2))
    x = numbers(rng, (rows, columns), bool(seed % 2))
    x[0] = -0.0
    src, dst = tensor(rng, fs, x), room(rng, fd, (rows, 1))
    k0 = int(rng.integers(0, 50))
    bounds = rng.integers(k0 - 10, k0 + columns + 10, (rows, 2)).astype(np.int32)
    bounded = bool(rng.integers(0, 2))
    limits = stored(Format.I32, bounds, (3, 1))
    run(mnemonic, dst, src, limits if bounded else None, k0=k0)
    clipped = np.clip(bounds - k0, 0, columns).T if bounded else None
    want = REDUCTIONS[mnemonic](values_of(src), clipped)
    same(dst.codes(), to_format(fd, want)[:, None])


@pytest.mark.parametrize("seed", range(6))
def test_argmax(seed):
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 5)), int(rng.choice((1, 15, 17, 1000, 3001)))
    x = rng.choice(EDGES[:9], shape) if seed % 2 else numbers(rng, shape, bool(seed % 3))
    fmt = FLOATS[seed % 3]
    src, dst = tensor(rng, fmt, x.astype(np.float32)), room(rng, Format.I32, (shape[0], 1))
    run("vargmax", dst, src, number=1000)
    best = [row[0] for row in reduce.topk(values_of(src), 1)]
    same(dst.codes()[:, 0], np.array(best) + 1000)


def test_argmax_of_equal_rows():
    for value in (-INF, NAN, np.float32(-0.0)):
        src = stored(Format.FP32, np.full((1, 21), value, np.float32).view(np.uint32))
        dst = stored(Format.I32, np.full((1, 1), 9, np.int32))
        run("vargmax", dst, src)
        assert dst.codes()[0, 0] == 0


@pytest.mark.parametrize("seed", range(6))
def test_topk(seed):
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 4)), int(rng.choice((1, 40, 1500)))
    k = int(rng.integers(1, min(shape[1], 60) + 1))
    x = numbers(rng, shape)
    if seed % 2:
        x = rng.choice(EDGES, shape)
    src = tensor(rng, Format.FP32, x)
    values, places = room(rng, Format.FP32, (shape[0], k)), room(rng, Format.I32, (shape[0], k))
    run("vtopk", values, places, src, number=7)
    want = np.array(reduce.topk(x, k))
    same(places.codes(), want + 7)
    same(values.codes(), np.take_along_axis(x.view(np.uint32), want, 1))


# ---- quantise


def scaled_room(rng, fmt, shape, kind):
    dst = room(rng, fmt, shape)
    blocks = -(-shape[1] // (32 // kind))
    attach_scales(dst, kind, np.zeros((shape[0], blocks), np.uint8), False, rng)
    return dst


def stored_scales(dst: Tensor, blocks: int) -> np.ndarray:
    return dst.keep[0][:, : 2 * blocks : 2]


def block_numbers(rng, shape) -> np.ndarray:
    """Gaussian rows of many magnitudes, with zero, tiny, huge, infinite and NaN spots."""
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-20, 20, (shape[0], 1)))
    x = x.astype(np.float32)
    x[rng.random(shape) < 0.1] = 0
    x[0, : shape[1] // 2] = -0.0
    spots = rng.random(shape) < 0.01
    return np.where(spots, rng.choice(EDGES, shape), x).astype(np.float32)


@pytest.mark.parametrize("fmt", [Format.E4M3FN, Format.E5M2, Format.E2M1])
@pytest.mark.parametrize("floor", [0, 2])
def test_quantise_mx(fmt, floor):
    rng = np.random.default_rng([int(fmt), floor])
    for shape in ((5, 64), (3, 50), (4, 17), (2, 1100), (1, 1)):
        x = block_numbers(rng, shape)
        src = tensor(rng, FLOATS[int(rng.integers(0, 3))], x)
        dst = scaled_room(rng, fmt, shape, 1)
        want = quantise_mx(values_of(src), fmt, floor=bool(floor))
        assert run("vquant", dst, src, flags=floor) == 0
        same(dst.codes(), want.codes)
        same(stored_scales(dst, want.scales.shape[1]), want.scales)


@pytest.mark.parametrize("ts", [0.0, 1.0, 0.013, -3.0, 1e-40, np.inf, np.nan, 3e38])
def test_quantise_nvfp4(ts):
    rng = np.random.default_rng(11)
    for shape in ((5, 64), (3, 50), (2, 1040), (1, 1)):
        for tame in (True, False):
            x = block_numbers(rng, shape)
            if tame:
                x = np.nan_to_num(x, nan=1, posinf=2, neginf=3)
            src = tensor(rng, Format.FP32, x)
            dst = scaled_room(rng, Format.E2M1, shape, 2)
            pattern = int(np.float32(ts).view(np.uint32))
            want = quantise_nvfp4(x, np.float32(ts if ts != 0 else 1))
            assert run("vquant", dst, src, number=pattern) == int(want.sticky)
            same(dst.codes(), want.codes)
            same(stored_scales(dst, want.scales.shape[1]), want.scales)


@pytest.mark.parametrize("fmt", [Format.E4M3FN, Format.E5M2])
@pytest.mark.parametrize("floor", [0, 2])
def test_quantise_rows(fmt, floor):
    rng = np.random.default_rng([int(fmt), floor])
    for shape in ((40, 64), (3, 50), (4, 1300), (1, 1)):
        x = block_numbers(rng, shape)
        src, dst = tensor(rng, Format.BF16, x), room(rng, fmt, shape)
        scale = room(rng, Format.E8M0, (shape[0], 1))
        want = quantise_mx(values_of(src), fmt, shape[1], bool(floor))
        run("vquantr", dst, scale, src, flags=floor)
        same(dst.codes(), want.codes)
        same(scale.codes(), want.scales)


# ---- read-out and moves


@pytest.mark.parametrize("seed", range(12))
def test_readout(seed):
    rng = np.random.default_rng(seed)
    fmt = (*FLOATS, Format.E4M3FN, Format.E5M2)[seed % 5]
    m, n = int(rng.integers(1, 8)), int(rng.choice((1, 16, 50, 1100)))
    acc, dst = tensor(rng, Format.FP32, numbers(rng, (m, n))), room(rng, fmt, (m, n))
    powers = rng.integers(0, 256, (m, 1)).astype(np.uint8)
    row = stored(Format.E8M0, powers, (3, 1)) if seed % 3 else None
    column = tensor(rng, Format.FP32, numbers(rng, (1, n))) if seed % 4 else None
    nosat = int(seed % 2)
    run("readout", dst, acc, row, column, flags=nosat)
    if row is None and column is None and fmt is Format.FP32:
        same(dst.codes(), acc.codes())
        return
    x = values_of(acc)
    x = x if row is None else arith.mul(x, values_of(row))
    x = x if column is None else arith.mul(x, values_of(column))
    same(dst.codes(), to_format(fmt, x, not nosat))


@pytest.mark.parametrize("fmt", [f for f in Format if f is not Format.E2M1])
def test_copy_and_transpose(fmt):
    rng = np.random.default_rng(int(fmt))
    info = FORMATS[fmt]
    for shape in ((3, 70), (33, 17), (2, 3, 4, 5), (2, 1, 9), (1,)):
        codes = rng.integers(0, 1 << info.bits, shape, np.uint64).astype(info.dtype)
        src = stored(fmt, codes, strides_for(rng, shape))
        dst = room(rng, fmt, shape)
        run("vcopy", dst, src)
        same(dst.codes(), codes)
        if len(shape) == 2:
            turned = room(rng, fmt, shape[::-1])
            run("vtrans", turned, src)
            same(turned.codes(), codes.T)


def test_copy_nibbles_and_broadcast():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (4, 6, 10)).astype(np.uint8)
    dst = room(rng, Format.E2M1, codes.shape)
    run("dma", dst, stored(Format.E2M1, codes, (80, 12, 1)))
    same(dst.codes(), codes)
    one = stored(Format.BF16, rng.integers(0, 9, (1, 5)).astype(np.uint16))
    one.record[6:8], one.record[10:12] = (7, 5), (0, 1)
    dst = room(rng, Format.BF16, (7, 5))
    run("dma", dst, one)
    same(dst.codes(), np.broadcast_to(one.codes(), (7, 5)))


@pytest.mark.parametrize("fmt", [Format.FP32, Format.E4M3FN, Format.E2M1])
def test_gather_and_scatter(fmt):
    rng = np.random.default_rng(int(fmt))
    for shape in ((9, 6), (9, 4, 8), (9,) if fmt is not Format.E2M1 else (9, 2)):
        info = FORMATS[fmt]
        table = rng.integers(0, 1 << info.bits, shape, np.uint64).astype(info.dtype)
        index = rng.integers(0, 9, 12).astype(np.int32)
        listed = stored(Format.I32, index, (2,))
        dst = room(rng, fmt, (12, *shape[1:]))
        assert run("dmag", dst, stored(fmt, table), listed) == 0
        same(dst.codes(), table[index])
        target = stored(fmt, table)
        rows = rng.integers(0, 1 << info.bits, (12, *shape[1:]), np.uint64).astype(info.dtype)
        assert run("dmas", target, stored(fmt, rows), listed) == 0
        for i, row in zip(index, rows, strict=True):
            table[i] = row
        same(target.codes(), table)
        wrong = stored(Format.I32, np.array([0, 9], np.int32))
        assert run("dmag", room(rng, fmt, (2, *shape[1:])), target, wrong) == 2


def test_seed():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, (5, 33), dtype=np.uint32)
    acc = room(rng, Format.FP32, bits.shape)
    run("seed", acc, stored(Format.FP32, bits, (40, 1)))
    same(acc.codes(), bits)


def test_panels_hold_what_they_say():
    """The test's own panels: word (n, k) holds consecutive k, lowest k in the lowest bits."""
    codes = np.arange(18 * 10, dtype=np.uint8).reshape(18, 10)
    t = panels(Format.E4M3FN, codes, np.random.default_rng(0))
    words = t.data.view(np.uint32).reshape(2, -1, 16)
    assert words[1, 2, 1] & 0xFFFF == int(codes[17, 8]) | int(codes[17, 9]) << 8


# ---- many patterns at once


@pytest.mark.parametrize("fmt", [Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1])
def test_convert_many_patterns(fmt):
    """Any patterns, and those around every exponent's ties, against the compiler's own codec."""
    rng = np.random.default_rng(int(fmt))
    anything = rng.integers(0, 1 << 32, 1 << 19, dtype=np.uint32)
    fraction = rng.integers(0, 1 << 12, 1 << 19).astype(np.uint32) << np.uint32(11)
    near = rng.integers(-1, 2, 1 << 19).astype(np.uint32)
    ties = (anything & np.uint32(0xFF800000)) + fraction + near
    x = np.concatenate([anything, ties]).view(np.float32)[None]
    for nosat in (0, 2) if fmt is not Format.E2M1 else (0,):
        dst = stored(fmt, np.zeros(x.shape, np.uint8 if fmt is Format.E2M1 else FORMATS[fmt].dtype))
        run("vcvt", dst, stored(Format.FP32, x.view(np.uint32)), flags=nosat)
        same(dst.codes(), encode(fmt, x, not nosat))


def test_exp2_many_patterns():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.integers(0, 1 << 32, 1 << 18, dtype=np.uint32).view(np.float32),
            rng.uniform(-165, 135, 1 << 18).astype(np.float32),
        ]
    )[None]
    dst = stored(Format.FP32, np.zeros(x.shape, np.uint32))
    run("vexp2", dst, stored(Format.FP32, x.view(np.uint32)))
    same(dst.codes(), arith.bits_of(arith.exp2(x)))
