"""The reference executor's tensor instructions: addressing, operands, and what each writes."""

from __future__ import annotations

import numpy as np
import pytest
from exact import random_patterns
from refprogram import (
    CHIP,
    DATA,
    HALT,
    execute,
    floats,
    get,
    loads,
    make_machine,
    only_on,
    put,
    tsram,
)

from emulator.reference import quantise, reduce
from emulator.reference.arith import bits_of, from_bits
from emulator.reference.convert import to_format
from emulator.reference.matrix import block_gemm
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import FORMATS, Format, Layout, ScaleKind, decode

RNG = np.random.default_rng(21)
FP32, BF16, FP16, I32, U8 = Format.FP32, Format.BF16, Format.FP16, Format.I32, Format.U8
NAN = 0x7FC00000


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def acc(rows: int, columns: int, base: int = 0) -> Descriptor:
    """A row-major FP32 tensor in the accumulator."""
    return tsram(FP32, (rows, columns), base, space=Space.ACC)


# ---- matrix unit


def scaled(fmt: Format, shape: tuple[int, int], base: int, kind: ScaleKind) -> Descriptor:
    """A row-major tensor whose block scales lie 3072 bytes behind it."""
    block = {ScaleKind.NONE: 32, ScaleKind.MX32: 32, ScaleKind.NV16: 16}[kind]
    strides = (-(-shape[1] // block), 1) if kind is not ScaleKind.NONE else (0, 0)
    return tsram(fmt, shape, base, scale_kind=kind, scale=base + 3072, scale_strides=strides)


def scale_codes(d: Descriptor) -> np.ndarray:
    """Random scale codes of a tensor; NV16's have random signs, which must not matter."""
    shape = (d.shape[0], max(d.scale_strides[0], 1))
    if d.scale_kind is ScaleKind.NV16:
        return (RNG.integers(40, 80, shape) | RNG.choice([0, 128], shape)).astype(np.uint8)
    return RNG.integers(120, 134, shape).astype(np.uint8)


def scale_values(d: Descriptor, codes: np.ndarray) -> np.ndarray | None:
    """Values per block of a product's blocks."""
    if d.scale_kind is ScaleKind.NONE:
        return None
    fmt = Format.E8M0 if d.scale_kind is ScaleKind.MX32 else Format.E4M3FN
    return np.abs(decode(fmt, codes))


@pytest.mark.parametrize(
    ("a_format", "a_kind", "w_format", "w_kind"),
    [
        (BF16, ScaleKind.NONE, BF16, ScaleKind.NONE),
        (BF16, ScaleKind.NONE, Format.E2M1, ScaleKind.MX32),
        (Format.E4M3FN, ScaleKind.MX32, Format.E2M1, ScaleKind.NV16),
        (Format.E2M1, ScaleKind.NV16, Format.E5M2, ScaleKind.MX32),
        (FP16, ScaleKind.NONE, Format.E4M3FN, ScaleKind.NONE),
    ],
)
@pytest.mark.parametrize("keep", [False, True])
def test_gemm(
    a_format: Format, a_kind: ScaleKind, w_format: Format, w_kind: ScaleKind, keep: bool
) -> None:
    m, n, k = 3, 5, 70
    a, w = scaled(a_format, (m, k), 0, a_kind), scaled(w_format, (n, k), 4096, w_kind)
    a_codes, w_codes = to_format(a_format, normal(m, k)), to_format(w_format, normal(n, k))
    a_scales, w_scales = scale_codes(a), scale_codes(w)
    bounds = np.array([[1000, 1070], [1010, 1033], [990, 2000]])
    word = encode("gemm.acc" if keep else "gemm", acc=0, a=1, w=2, bounds=3, k0=(0, 1000))
    spots = [acc(m, n), a, w, tsram(I32, (m, 2), 8192)]
    old = normal(m, n)
    code = only_on(0, [*loads(4), word, HALT])
    machine = make_machine(code, *spots)
    for d, codes in zip(spots, (bits_of(old), a_codes, w_codes, bounds), strict=True):
        put(machine, d, codes)
    for d, scales in ((a, a_scales), (w, w_scales)):
        if d.scale_kind is not ScaleKind.NONE:
            machine.memory.tsram[0, d.scale : d.scale + scales.size] = scales.reshape(-1)
    machine.ring("main")
    block = 16 if ScaleKind.NV16 in (a_kind, w_kind) else 32
    factors = [scale_values(a, a_scales), scale_values(w, w_scales)]
    if block == 16:  # a scale of 32 serves two blocks
        for i, kind in enumerate((a_kind, w_kind)):
            if kind is ScaleKind.MX32:
                factors[i] = np.repeat(factors[i], 2, axis=1)  # type: ignore[arg-type]
    start = old if keep else np.zeros_like(old)
    limits = (np.clip(bounds[:, 0] - 1000, 0, k), np.clip(bounds[:, 1] - 1000, 0, k))
    values = decode(a_format, a_codes), decode(w_format, w_codes)
    expected = block_gemm(start, *values, *factors, block, limits)
    assert np.array_equal(get(machine, acc(m, n)), bits_of(expected))


@pytest.mark.parametrize("fmt", [BF16, Format.E4M3FN, Format.E2M1])
def test_packed_panels_hold_the_same_weights(fmt: Format) -> None:
    m, n, k, bits = 2, 35, 37, FORMATS[fmt].bits
    group = 32 // bits
    blocks, kind = 2, ScaleKind.NONE if fmt is BF16 else ScaleKind.MX32
    words = -(-k // group)
    panel = Descriptor(
        Space.TSRAM, fmt, (n, k), (16 * group * (words + 1), 1), 4096, Layout.PANEL, kind,
        12288, (16 * blocks + 8, 16) if kind else (0, 0),
    )  # fmt: skip
    codes, scales = to_format(fmt, normal(n, k)), RNG.integers(120, 130, (n, blocks))
    memory = np.full(8192, 0xFF, np.uint8)  # what pads the panels must not matter
    scale_memory = np.full(4096, 0xFF, np.uint8)
    for row in range(n):
        for column in range(k):
            word = (row // 16) * 64 * (words + 1) + (column // group) * 64 + (row % 16) * 4
            spot, shift = divmod(column % group * bits, 8)
            code = int(codes[row, column])
            for byte in range(max(bits // 8, 1)):
                mask = (1 << min(bits, 8)) - 1
                old = int(memory[word + spot + byte]) & ~(mask << shift)
                memory[word + spot + byte] = old | (code >> 8 * byte & mask) << shift
        for block in range(blocks):
            at = (row // 16) * (16 * blocks + 8) + block * 16 + row % 16
            scale_memory[at] = scales[row, block]
    a = tsram(BF16, (m, k), 0)
    values = normal(m, k)
    code = only_on(0, [*loads(3), encode("gemm", acc=0, a=1, w=2), HALT])
    machine = make_machine(code, acc(m, n), a, panel)
    put(machine, a, to_format(BF16, values))
    machine.memory.tsram[0, 4096:12288] = memory
    machine.memory.tsram[0, 12288:16384] = scale_memory
    machine.ring("main")
    factor = decode(Format.E8M0, scales) if kind else None
    expected = block_gemm(
        np.zeros((m, n), np.float32),
        decode(BF16, to_format(BF16, values)), decode(fmt, codes), None, factor, 32,
    )  # fmt: skip
    assert np.array_equal(get(machine, acc(m, n)), bits_of(expected))


def test_readout_scales_and_converts() -> None:
    values = normal(3, 4) * 300
    row, col = tsram(Format.E8M0, (3, 1), 1024), tsram(FP32, (1, 4), 2048)
    factors = np.array([126, 130, 255]), normal(1, 4)
    for fmt, suffix in ((Format.E4M3FN, ""), (Format.E4M3FN, ".nosat"), (FP32, ""), (FP16, "")):
        dst = tsram(fmt, (3, 4), 0)
        word = encode("readout" + suffix, dst=0, acc=1, row=2, col=3)
        operands = [(acc(3, 4), bits_of(values)), (row, factors[0]), (col, bits_of(factors[1]))]
        machine = execute(word, dst, *operands)
        scaled_values = values * decode(Format.E8M0, factors[0])[:, None] * factors[1]
        expected = to_format(fmt, scaled_values, suffix == "")
        assert np.array_equal(get(machine, dst), expected)


def test_spill_and_seed_copy_bits() -> None:
    odd = np.array([[0xFFC00001, 0x7F800001, 0x80000000]], np.uint32)
    dst, a = tsram(FP32, (1, 3), 0), acc(1, 3)
    assert np.array_equal(get(execute(encode("readout", dst=0, acc=1), dst, (a, odd)), dst), odd)
    assert np.array_equal(get(execute(encode("seed", acc=0, src=1), a, (dst, odd)), a), odd)
    narrow = tsram(BF16, (1, 3), 64)
    machine = execute(encode("readout", dst=0, acc=1), narrow, (a, odd))
    assert get(machine, narrow).tolist() == [[0x7FC0, 0x7FC0, 0x8000]]


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


# ---- DMA


def test_dma_strides_spaces_and_owners() -> None:
    hbm = Descriptor(Space.HBM, BF16, (3, 4), (10, 2), DATA)
    mine = tsram(BF16, (3, 4), 32, strides=(1, 3))
    shared = Descriptor(Space.CSRAM, BF16, (3, 4), (4, 1), 8, owner=1)
    theirs = tsram(BF16, (3, 4), 64, owner=2)
    moves = [(1, 0), (2, 1), (3, 2)]
    code = [*loads(4), *(encode("dma", channel="dma2", dst=d, src=s) for d, s in moves), HALT]
    machine = make_machine(only_on(1, code), hbm, mine, shared, theirs)
    data = RNG.integers(0, 65536, 40).astype(np.uint16)
    machine.memory.write(DATA, data.view(np.uint8))
    machine.ring("main")
    expected = data[(np.arange(3) * 10)[:, None] + np.arange(4) * 2]
    assert np.array_equal(machine.memory.csram[1, 8:32].view(np.uint16).reshape(3, 4), expected)
    assert np.array_equal(get(machine, theirs, tile=2), expected)
    turned = machine.memory.tsram[1, 32:56].view(np.uint16).reshape(4, 3)
    assert np.array_equal(turned, expected.T)
    assert not machine.memory.tsram[[0, 3]].any() and not machine.memory.csram[0].any()


def test_dma_broadcasts_and_multicasts() -> None:
    row = tsram(Format.E2M1, (3, 4), 0, strides=(0, 1))
    every = tsram(Format.E2M1, (3, 4), 16, owner=3, fan=2, fanstep=-2)
    machine = execute(encode("dma", channel="dma0", dst=0, src=1), every, row)
    assert not machine.memory.tsram.any()
    machine.memory.tsram[0, 0:2] = [0x21, 0x43]
    machine.ring("main")
    for tile in range(4):
        expected = [0x21, 0x43] * 3 if tile in (1, 3) else [0] * 6
        assert machine.memory.tsram[tile, 16:22].tolist() == expected


def test_gather_and_scatter() -> None:
    table, listed = tsram(FP32, (5, 3), 0), tsram(FP32, (4, 3), 256)
    index = tsram(I32, (4,), 512)
    rows, order = RNG.integers(0, 2**32, (5, 3)), [4, 0, 4, 2]
    word = encode("dmag", channel="dma0", dst=0, src=1, index=2)
    machine = execute(word, listed, (table, rows), (index, order))
    assert np.array_equal(get(machine, listed), rows[order])
    new = RNG.integers(0, 2**32, (4, 3))
    word = encode("dmas", channel="dma0", dst=0, src=1, index=2)
    machine = execute(word, (table, rows), (listed, new), (index, order))
    expected = rows.copy()
    expected[[4, 0, 2]] = new[[2, 1, 3]]  # the later of two rows for one place wins
    assert np.array_equal(get(machine, table), expected)


def test_empty_tensors_do_nothing_anywhere() -> None:
    nothing = tsram(FP32, (0, 4), 2**40 + 1)
    far = Descriptor(Space.HBM, FP32, (0, 4), (4, 1), 3)
    machine = execute(encode("dma", channel="dma0", dst=0, src=1), nothing, far)
    assert not machine.memory.tsram.any()
    nobody = tsram(FP32, (0, 1), 0)
    execute(encode("vrsum", dst=0, src=1), nobody, nothing)
    zero_k = tsram(BF16, (2, 0), 0)
    old = np.array([[1, 2], [3, 4]])
    machine = execute(encode("gemm", acc=0, a=1, w=2), (acc(2, 2), old), zero_k, zero_k)
    assert not get(machine, acc(2, 2)).any()
    machine = execute(encode("gemm.acc", acc=0, a=1, w=2), (acc(2, 2), old), zero_k, zero_k)
    assert np.array_equal(get(machine, acc(2, 2)), old)


def test_four_dimensions_and_none() -> None:
    x = RNG.integers(0, 256, (2, 3, 2, 5))
    a, b = tsram(U8, (2, 3, 2, 5), 0), tsram(U8, (2, 3, 2, 5), 101, strides=(6, 2, 1, 12))
    machine = execute(encode("vcopy", dst=0, a=1), b, (a, x))
    memory = machine.memory.tsram[0, 101:161].reshape(5, 2, 3, 2)
    assert np.array_equal(memory.transpose(1, 2, 3, 0), x)
    assert CHIP.num_tiles == 4
