"""The reference executor's vector instructions: formats, rounding, and what each writes."""

from __future__ import annotations

import numpy as np
import pytest
from exact import random_patterns
from refprogram import HALT, execute, floats, get, loads, make_machine, only_on, put, scaled, tsram

from emulator.reference import arith, quantise, reduce
from emulator.reference.arith import bits_of, from_bits
from emulator.reference.convert import to_format
from isa.codec import encode
from isa.formats import FORMATS, Format, ScaleKind, decode

RNG = np.random.default_rng(22)
FP32, BF16, FP16, I32, U8 = Format.FP32, Format.BF16, Format.FP16, Format.I32, Format.U8
NAN = 0x7FC00000


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


# ---- vector unit, elementwise

FLOAT_OPS = {
    "vadd": np.add,
    "vsub": np.subtract,
    "vmul": np.multiply,
    "vdiv": np.divide,
    "vmin": np.minimum,
    "vmax": np.maximum,
}


@pytest.mark.parametrize("name", FLOAT_OPS)
def test_floating_operations_mix_formats(name: str) -> None:
    a, b = normal(2, 3, 4), normal(2, 3, 4)
    places = tsram(FP16, (2, 3, 4), 0), tsram(FP32, (2, 3, 4), 256), tsram(BF16, (2, 3, 4), 512)
    operands = (places[1], bits_of(a)), (places[2], to_format(BF16, b))
    machine = execute(encode(name, dst=0, a=1, b=2), places[0], *operands)
    expected = FLOAT_OPS[name](a, decode(BF16, to_format(BF16, b)))
    assert np.array_equal(get(machine, places[0]), to_format(FP16, expected))
    machine = execute(encode(name, dst=0, a=1, b=2.5), places[0], operands[0])
    expected = FLOAT_OPS[name](a, np.float32(2.5))
    assert np.array_equal(get(machine, places[0]), to_format(FP16, expected))


@pytest.mark.parametrize("name", ["vadd", "vsub", "vmul", "vmin", "vmax"])
def test_integer_operations_wrap(name: str) -> None:
    a = np.array([2**31 - 1, -(2**31), 7, -1], np.int32)
    b = np.array([1, -1, 2**30, -1], np.int32)
    places = [tsram(I32, (4,), 64 * i) for i in range(3)]
    word = encode(name, dst=0, a=1, b=2)
    machine = execute(word, places[0], (places[1], a), (places[2], b))
    with np.errstate(over="ignore"):
        assert np.array_equal(get(machine, places[0]), FLOAT_OPS[name](a, b))
        machine = execute(encode(name, dst=0, a=1, b=(0, -3)), places[0], (places[1], a))
        assert np.array_equal(get(machine, places[0]), FLOAT_OPS[name](a, np.int32(-3)))


def test_integer_numbers_are_their_low_32_bits() -> None:
    dst, a = tsram(I32, (2,), 0), tsram(I32, (2,), 64)
    setup = [encode("li", rd=1, imm=2**32 + 5)]
    machine = execute(encode("vmin", dst=0, a=1, b=(1, 1)), dst, (a, [4, 9]), setup=setup)
    assert get(machine, dst).tolist() == [4, 6]


def test_broadcast_transposed_and_in_place() -> None:
    x = normal(3, 4)
    flat, column = tsram(FP32, (3, 4), 0), tsram(FP32, (3, 4), 64, strides=(1, 0))
    values = normal(3)
    operands = (flat, bits_of(x)), (column, np.resize(bits_of(values), (3, 4)))
    machine = execute(encode("vmul", dst=0, a=0, b=1), *operands)
    expected = x * bits_of(values).view(np.float32)[:, None]
    assert np.array_equal(floats(machine, flat), expected)
    turned = tsram(FP32, (4, 3), 0, strides=(1, 4))
    plain = tsram(FP32, (4, 3), 512)
    machine = execute(encode("vcopy", dst=0, a=1), plain, (turned, bits_of(x).reshape(4, 3)))
    assert np.array_equal(floats(machine, plain), x.T)


def test_vmuladd2_and_unaries() -> None:
    xs = [np.abs(normal(8)) for _ in range(4)]
    places = [tsram(FP32, (8,), 64 * i) for i in range(5)]
    operands = [(p, bits_of(x)) for p, x in zip(places[1:], xs, strict=True)]
    machine = execute(encode("vmuladd2", dst=0, a=1, b=2, c=3, e=4), places[0], *operands)
    assert np.array_equal(floats(machine, places[0]), xs[0] * xs[1] + xs[2] * xs[3])
    one = np.float32(1)
    for name, value in (
        ("vsqrt", np.sqrt(xs[0])),
        ("vrcp", one / xs[0]),
        ("vrsqrt", one / np.sqrt(xs[0])),
    ):
        machine = execute(encode(name, dst=0, a=1), places[0], operands[0])
        assert np.array_equal(floats(machine, places[0]), value)
    whole = (places[1], bits_of(np.arange(8, dtype=np.float32) - 4))
    machine = execute(encode("vexp2", dst=0, a=1), places[0], whole)
    assert np.array_equal(floats(machine, places[0]), np.exp2(np.arange(8) - 4.0))


@pytest.mark.parametrize("source", Format)
def test_conversions_from_every_format(source: Format) -> None:
    info = FORMATS[source]
    codes = np.arange(256) % (1 << min(info.bits, 8)) << max(info.bits - 8, 0)
    codes = codes.astype(np.uint64).astype(f"u{max(info.bits // 8, 1)}").view(info.dtype)
    values = decode(source, codes) if info.is_float else codes.astype(np.float64).astype("f4")
    src = tsram(source, (256,), 0)
    for fmt in (FP32, BF16, FP16, Format.E4M3FN, Format.E5M2, Format.E2M1, I32):
        dst = tsram(fmt, (256,), 4096)
        machine = execute(encode("vcvt", dst=0, a=1), dst, (src, codes))
        if fmt is I32:
            limited = np.clip(np.nan_to_num(values.astype(np.float64)), -(2**31), 2**31 - 1)
            expected = np.rint(limited).astype(np.int32)
        else:
            expected = to_format(fmt, values)
        assert np.array_equal(get(machine, dst), expected)
        assert machine.sticky[0] == (fmt is Format.E2M1 and bool(np.isnan(values).any()))


def test_odd_rows_of_nibbles_leave_their_neighbours() -> None:
    dst, src = tsram(Format.E2M1, (2, 3), 64), tsram(FP32, (2, 3), 0)
    word = encode("vcvt", dst=0, a=1)
    machine = make_machine(only_on(0, [*loads(2), word, HALT]), dst, src)
    put(machine, src, bits_of(np.full((2, 3), 6, np.float32)))
    machine.memory.tsram[0, 64:68] = 0xAA
    machine.ring("main")
    assert machine.memory.tsram[0, 64:68].tolist() == [0x77, 0xA7, 0x77, 0xA7]


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(name: str) -> None:
    x = from_bits([NAN, 0, 0x80000000, 0x3F800000, 0xBF800000])
    a, b = np.repeat(x, 5), np.tile(x, 5)
    dst, left, right = tsram(U8, (25,), 0), tsram(FP32, (25,), 64), tsram(FP32, (25,), 256)
    word = encode(f"vcmp.{name}", dst=0, a=1, b=2)
    machine = execute(word, dst, (left, bits_of(a)), (right, bits_of(b)))
    function = {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
        "gt": np.greater, "ge": np.greater_equal,
    }[name]  # fmt: skip
    assert np.array_equal(get(machine, dst), function(a, b))
    whole = tsram(I32, (25,), 64)
    word = encode(f"vcmp.{name}", dst=0, a=1, b=(0, -3))
    machine = execute(word, dst, (whole, np.arange(25) - 12))
    assert np.array_equal(get(machine, dst), function(np.arange(25) - 12, -3))


def test_select_copies_bits() -> None:
    odd = np.array([0xFFC00001, 0x7F800001, 3], np.uint32)
    places = [tsram(FP32, (3,), 0), tsram(U8, (3,), 64), tsram(FP32, (3,), 128)]
    places.append(tsram(FP32, (3,), 192))
    operands = (places[1], [0, 1, 255]), (places[2], odd), (places[3], odd[::-1])
    machine = execute(encode("vsel", dst=0, mask=1, a=2, b=3), places[0], *operands)
    assert get(machine, places[0]).tolist() == [3, odd[1], 3]


def test_iota_scan_and_transpose() -> None:
    dst = tsram(I32, (2, 3), 0)
    machine = execute(encode("viota", dst=0, start=(0, 2**31 - 2)), dst)
    assert get(machine, dst).tolist() == [[2**31 - 2, 2**31 - 1, -(2**31)]] * 2
    scalar = tsram(I32, (), 0)
    assert get(execute(encode("viota", dst=0, start=(0, 7)), scalar), scalar) == 7
    x, sums = normal(2, 3, 9), tsram(FP32, (2, 3, 9), 512)
    machine = execute(encode("vscan", dst=0, a=1), sums, (tsram(FP32, (2, 3, 9), 0), bits_of(x)))
    running = x.copy()
    for j in range(1, 9):
        running[..., j] = running[..., j - 1] + x[..., j]
    assert np.array_equal(floats(machine, sums), running)
    wide, turned = tsram(BF16, (3, 5), 0), tsram(BF16, (5, 3), 64)
    codes = RNG.integers(0, 65536, (3, 5))
    machine = execute(encode("vtrans", dst=0, a=1), turned, (wide, codes))
    assert np.array_equal(get(machine, turned), codes.T)


# ---- vector unit, rows


@pytest.mark.parametrize("name", ["vrsum", "vrmax", "vrmin"])
@pytest.mark.parametrize("bounded", [False, True])
def test_reductions(name: str, bounded: bool) -> None:
    x = normal(4, 77)
    limits = np.array([[5, 50], [-9, 6], [300, 400], [33, 20]]) + 1000
    src, dst, bounds = tsram(FP32, (4, 77), 0), tsram(BF16, (4, 1), 2048), tsram(I32, (4, 2), 3072)
    more = {"bounds": 2, "k0": (0, 1000)} if bounded else {}
    operands = [(src, bits_of(x)), (bounds, limits)][: 1 + bounded]
    machine = execute(encode(name, dst=0, src=1, **more), dst, *operands)
    function = {"vrsum": reduce.row_sum, "vrmax": reduce.row_max, "vrmin": reduce.row_min}[name]
    span = np.clip(limits - 1000, 0, 77)
    expected = function(x, (span[:, 0], span[:, 1]) if bounded else None)
    assert np.array_equal(get(machine, dst)[:, 0], to_format(BF16, expected))


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_exponentials_with_their_sums(bounded: bool, in_place: bool) -> None:
    x, less = normal(4, 77), normal(4, 1)
    limits = np.array([[5, 50], [-9, 6], [300, 400], [33, 20]]) + 1000
    a, b = tsram(FP32, (4, 77), 0), tsram(FP32, (4, 1), 2048)
    dst = a if in_place else tsram(BF16, (4, 77), 4096)
    total, bounds = b if in_place else tsram(FP16, (4, 1), 2560), tsram(I32, (4, 2), 3072)
    more = {"bounds": 4, "k0": (0, 1000)} if bounded else {}
    given = [(a, bits_of(x)), (b, bits_of(less)), (bounds, limits)]
    word = encode("vexp2sum", dst=0, total=1, a=2, b=3, **more)
    machine = execute(word, dst, total, *given[: 2 + bounded])
    expected = arith.exp2(x - less)
    span = np.clip(limits - 1000, 0, 77)
    sums = reduce.row_sum(expected, (span[:, 0], span[:, 1]) if bounded else None)
    assert np.array_equal(get(machine, dst), to_format(dst.format, expected))
    assert np.array_equal(get(machine, total)[:, 0], to_format(total.format, sums))


def test_argmax_and_topk() -> None:
    x = from_bits(RNG.integers(0, 2**32, (3, 40)))
    src, best = tsram(FP32, (3, 40), 0), tsram(I32, (3, 1), 2048)
    machine = execute(encode("vargmax", dst=0, src=1, offset=(0, 100)), best, (src, bits_of(x)))
    winners = reduce.topk(x, 6)
    assert get(machine, best)[:, 0].tolist() == [row[0] + 100 for row in winners]
    values, indices = tsram(FP32, (3, 6), 1024), tsram(I32, (3, 6), 2048)
    word = encode("vtopk", values=0, indices=1, src=2, offset=(0, -5))
    machine = execute(word, values, indices, (src, bits_of(x)))
    assert (get(machine, indices) + 5).tolist() == winners
    expected = np.take_along_axis(bits_of(x), np.array(winners), axis=1)
    assert np.array_equal(get(machine, values), expected)


@pytest.mark.parametrize("fmt", [Format.E4M3FN, Format.E5M2, Format.E2M1])
@pytest.mark.parametrize("floor", [False, True])
def test_quantisation(fmt: Format, floor: bool) -> None:
    x = random_patterns(np.random.default_rng(5), (3, 50))
    x[0, 3] = 3.3e38  # a fraction beyond both formats' largest: FLOOR and ROUND_UP differ
    x[2, 40] = np.inf
    src, dst = tsram(FP32, (3, 50), 0), scaled(fmt, (3, 50), 2048, ScaleKind.MX32)
    word = encode("vquant.floor" if floor else "vquant", dst=0, src=1)
    machine = execute(word, dst, (src, bits_of(x)))
    expected = quantise.quantise_mx(x, fmt, floor=floor)
    assert np.array_equal(get(machine, dst), expected.codes)
    assert np.array_equal(machine.memory.tsram[0, 5120:5126].reshape(3, 2), expected.scales)
    if fmt is Format.E2M1:
        return
    rows, scale = tsram(fmt, (3, 50), 2048), tsram(Format.E8M0, (3, 1), 4096)
    word = encode("vquantr.floor" if floor else "vquantr", dst=0, scale=1, src=2)
    machine = execute(word, rows, scale, (src, bits_of(x)))
    expected = quantise.quantise_mx(x, fmt, 50, floor)
    assert np.array_equal(get(machine, rows), expected.codes)
    assert np.array_equal(get(machine, scale), expected.scales)


@pytest.mark.parametrize("ts", [None, 0.25])
def test_nvfp4_quantisation(ts: float | None) -> None:
    x = normal(3, 50)
    src, dst = tsram(FP32, (3, 50), 0), scaled(Format.E2M1, (3, 50), 2048, ScaleKind.NV16)
    word = encode("vquant", dst=0, src=1, **({} if ts is None else {"ts": ts}))
    for poison in (False, True):
        x[1, 1] = np.nan if poison else 1
        machine = execute(word, dst, (src, bits_of(x)))
        expected = quantise.quantise_nvfp4(x, np.float32(1 if ts is None else ts))
        assert np.array_equal(get(machine, dst), expected.codes)
        assert np.array_equal(machine.memory.tsram[0, 5120:5132].reshape(3, 4), expected.scales)
        assert machine.sticky == [poison, False, False, False]
