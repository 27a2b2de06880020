"""The reference executor's matrix and DMA instructions, and how tensors are addressed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refprogram import (
    CHIP,
    DATA,
    HALT,
    execute,
    get,
    loads,
    make_machine,
    only_on,
    put,
    scaled,
    tsram,
)

from emulator.reference.arith import bits_of
from emulator.reference.convert import to_format
from emulator.reference.matrix import block_gemm
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import FORMATS, Format, Layout, ScaleKind, decode

RNG = np.random.default_rng(21)
FP32, BF16, FP16, I32, U8 = Format.FP32, Format.BF16, Format.FP16, Format.I32, Format.U8


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def acc(rows: int, columns: int, base: int = 0) -> Descriptor:
    """A row-major FP32 tensor in the accumulator."""
    return tsram(FP32, (rows, columns), base, space=Space.ACC)


# ---- matrix unit


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


def test_dimensions_beyond_any_array() -> None:
    """An empty tensor may have other dimensions of any size; a row of stride 0, any length."""
    huge = 1 << 40
    shape, strides = (huge, huge, 0, huge), (1, 1, 1, 1)
    dst = tsram(Format.U8, (1,), 0)
    dst = replace(dst, shape=shape, strides=strides)
    execute(encode("dma", channel="dma0", dst=0, src=1), dst, replace(dst, base=64))
    counted = replace(tsram(Format.I32, (1,), 0), shape=(huge, 0), strides=(1, 1))
    execute(encode("viota", dst=0, start=0), counted)
    row = replace(tsram(Format.I32, (1,), 0), shape=(huge,), strides=(0,))
    last = encode("li", rd=2, imm=huge - 1)
    machine = execute(encode("ld", rd=1, src=0, index=(2, 0)), row, setup=[last])
    assert machine.tiles[0].control.scalars[1] == 0
