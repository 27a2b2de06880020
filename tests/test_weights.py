"""Packed weights: the PANEL layout byte by byte, and the contract's quantisation."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.precision import PRECISIONS, Precision
from compiler.safetensors import Tensor
from compiler.weights import (
    PanelLayout,
    RowSource,
    Segment,
    pack,
    tensor_scale,
    unpack,
    unpack_codes,
    unpack_scales,
)
from isa import blockscale
from isa.formats import Format, encode

SHAPES = [(1, 1), (16, 32), (17, 33), (40, 72), (5, 136), (31, 280), (997, 88), (64, 2048)]
ALL = list(PRECISIONS.values())
BLOCKED = [p for p in ALL if p.block]


def matrix(n: int, k: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Weights of uneven rows, with a row of zeros and exact ties."""
    rng = np.random.default_rng([seed, n, k])
    x = rng.standard_normal((n, k)) * 2.0 ** rng.integers(-9, 3, (n, 1))
    x[rng.random((n, k)) < 0.1] = 0
    ties = rng.random((n, k)) < 0.1
    x[ties] = rng.choice([0.25, -0.75, 1.25, 1.75, 2.5, -5.0, 6.0], int(ties.sum()))
    x[n // 2] = 0
    return x.astype(np.float32)


def tensor(name: str, values: np.ndarray[Any, np.dtype[np.float32]]) -> Tensor:
    """An fp32 tensor in memory."""
    return Tensor(name, "memory", "F32", values)


def quantised(
    x: np.ndarray[Any, np.dtype[np.float32]], precision: Precision
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Codes and scales of an unpadded matrix straight from the contract's rules."""
    if precision.name == "nvfp4":
        codes, scales, _ = blockscale.quantise_nvfp4(x, tensor_scale(tensor("x", x)))
        return codes, scales
    if precision.name == "fp8":
        return blockscale.quantise_rows_fp8(x)
    if precision.name == "bf16":
        return encode(Format.BF16, x), None
    return blockscale.quantise_mx(x, precision.element)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
def test_codes_and_scales_are_the_contracts(shape: tuple[int, int], precision: Precision) -> None:
    n, k = shape
    x = matrix(n, k)
    packed = pack(RowSource.array(x), precision)
    codes, scales = quantised(x, precision)
    stored = unpack_codes(packed)
    np.testing.assert_array_equal(stored[:n, :k], codes)
    assert not stored[n:].any()
    assert not stored[:, k:].any()
    if precision.block:
        assert scales is not None
        blocks = unpack_scales(packed)
        np.testing.assert_array_equal(blocks[:n, : scales.shape[1]], scales)
        assert not blocks[n:].any()
        assert not blocks[:, scales.shape[1] :].any()
    else:
        assert packed.scales is None
    if precision.name == "fp8":
        assert packed.column_codes is not None
        np.testing.assert_array_equal(packed.column_codes[:n], scales)


@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
def test_bytes_lie_where_the_architecture_says(precision: Precision) -> None:
    n, k = 37, 72
    x = matrix(n, k, seed=1)
    packed = pack(RowSource.array(x), precision)
    layout = packed.layout
    codes, scales = quantised(x, precision)
    per_word = 32 // precision.bits
    words = packed.data.view("<u4")
    for row, column in np.random.default_rng(0).integers(0, (n, k), (300, 2)):
        byte = (row // 16) * layout.panel_stride * precision.bits // 8
        byte += (column // per_word) * 64 + (row % 16) * 4
        code = words[byte // 4] >> np.uint32(column % per_word * precision.bits)
        assert code & ((1 << precision.bits) - 1) == codes[row, column]
        if precision.block:
            assert scales is not None and packed.scales is not None
            block = column // precision.block
            at = (row // 16) * layout.scale_panel_bytes + block * 16 + row % 16
            assert packed.scales[at] == scales[row, block]
    assert packed.data.size == layout.data_bytes
    assert layout.panel_stride % (16 * per_word) == 0


@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
def test_unpacking_gives_the_dequantised_matrix(precision: Precision) -> None:
    x = matrix(50, 90)
    codes, scales = quantised(x, precision)
    result = unpack(pack(RowSource.array(x), precision))
    if precision.name == "bf16":
        expected = (codes.astype(np.uint32) << 16).view(np.float32)
    elif precision.name == "fp8":
        assert scales is not None
        expected = blockscale.dequantise_rows_fp8(codes, scales)
    elif precision.name == "nvfp4":
        assert scales is not None
        expected = blockscale.dequantise_nvfp4(codes, scales, tensor_scale(tensor("x", x)))
    else:
        assert scales is not None
        expected = blockscale.dequantise_mx(codes, scales, precision.element)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_allclose(result, x, rtol=0, atol=np.abs(x).max() / 4)


@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
def test_packed_values_pack_to_themselves(precision: Precision) -> None:
    source = RowSource.array(unpack(pack(RowSource.array(matrix(40, 72)), precision)))
    once = pack(source, precision)
    if precision.name != "nvfp4":  # its tensor scale need not survive the rounding of amax
        np.testing.assert_array_equal(unpack(once), source.read(0, 40))


def test_scale_modes_differ() -> None:
    source = RowSource.array(matrix(64, 64))
    up = pack(source, PRECISIONS["mxfp4"])
    floor = pack(source, PRECISIONS["mxfp4"], "floor")
    codes, scales = blockscale.quantise_mx(matrix(64, 64), Format.E2M1, "floor")
    np.testing.assert_array_equal(unpack_codes(floor)[:64, :64], codes)
    np.testing.assert_array_equal(unpack_scales(floor), scales)
    assert (unpack_scales(up) != unpack_scales(floor)).any()


def test_layout_is_known_without_weights() -> None:
    layout = PanelLayout(997, 88, PRECISIONS["mxfp4"])
    assert (layout.panels, layout.k_padded) == (63, 96)
    assert (layout.panel_bytes, layout.scale_panel_bytes) == (16 * 48, 16 * 3)
    assert (layout.data_bytes, layout.scale_bytes) == (63 * 16 * 48, 63 * 16 * 3)


# ---- rows from several tensors


def test_stacked_rows() -> None:
    q, k, v = (matrix(n, 72, seed=i) for i, n in enumerate((40, 7, 7)))
    source = RowSource.stack(tensor("q", q), tensor("k", k), tensor("v", v))
    np.testing.assert_array_equal(source.read(0, 54), np.concatenate((q, k, v)))
    np.testing.assert_array_equal(source.read(38, 50), np.concatenate((q, k, v))[38:50])


def test_interleaved_panels_have_matching_columns() -> None:
    gate, up = matrix(104, 72, seed=1), matrix(104, 72, seed=2)
    source = RowSource.interleave(tensor("gate", gate), tensor("up", up))
    assert source.rows == 2 * 7 * 16
    rows = source.read(0, source.rows).reshape(7, 2, 16, 72)
    padded = np.zeros((2, 112, 72), np.float32)
    padded[0, :104], padded[1, :104] = gate, up
    np.testing.assert_array_equal(rows.transpose(1, 0, 2, 3).reshape(2, 112, 72), padded)


def test_any_row_order() -> None:
    x = matrix(20, 40)
    order = np.random.default_rng(0).permutation(20)
    source = RowSource([Segment(tensor("x", x), int(row), 1) for row in order], 40)
    np.testing.assert_array_equal(source.read(0, 20), x[order])
    packed = pack(source, PRECISIONS["bf16"])
    np.testing.assert_array_equal(unpack_codes(packed)[:20, :40], encode(Format.BF16, x[order]))


def test_unequal_rows_do_not_stack() -> None:
    with pytest.raises(ValueError, match="b: expected rows of 8"):
        RowSource.stack(tensor("a", matrix(4, 8)), tensor("b", matrix(4, 9)))


@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
def test_fusion_changes_no_bit(precision: Precision) -> None:
    gate, up = matrix(104, 72, seed=1), matrix(104, 72, seed=2) * np.float32(3)
    fused = pack(RowSource.interleave(tensor("gate", gate), tensor("up", up)), precision)
    panels = fused.data.reshape(7, 2, -1)
    for index, alone in enumerate((gate, up)):
        packed = pack(RowSource.array(alone), precision)
        np.testing.assert_array_equal(panels[:, index].reshape(-1), packed.data)
        if packed.column_factors is not None:
            assert fused.column_factors is not None
            factors = fused.column_factors.reshape(7, 2, 16)[:, index].reshape(-1)
            np.testing.assert_array_equal(factors[:104], packed.column_factors[:104])


# ---- scales of whole tensors and columns


def test_tensor_scale() -> None:
    x = matrix(300, 5000)
    scale = np.abs(x).max() / np.float32(2688)
    assert tensor_scale(tensor("x", x)) == float(scale)
    packed = pack(RowSource.stack(tensor("x", x)), PRECISIONS["nvfp4"])
    assert packed.tensor_scales == {"x": float(scale)}
    assert packed.column_factors is not None
    assert set(packed.column_factors[:300]) == {scale}
    assert set(packed.column_factors[300:]) == {np.float32(1)}


@pytest.mark.parametrize(("value", "scale"), [(0.0, 1.0), (1e-40, 2.0**-126), (-3e38, 3e38 / 2688)])
def test_tensor_scales_at_the_edges(value: float, scale: float) -> None:
    x = np.full((3, 20), value, np.float32)
    assert tensor_scale(tensor("x", x)) == pytest.approx(scale, rel=1e-6)
    assert np.isfinite(unpack(pack(RowSource.array(x), PRECISIONS["nvfp4"]))).all()


def test_fp8_columns_have_powers_of_two() -> None:
    packed = pack(RowSource.array(matrix(40, 72)), PRECISIONS["fp8"])
    assert packed.column_factors is not None
    mantissas, _ = np.frexp(packed.column_factors)
    assert (mantissas == 0.5).all()
    assert (packed.column_factors[40:] == 1).all()


# ---- bad input, memory


@pytest.mark.parametrize("precision", ALL, ids=lambda p: p.name)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_refused_by_name(precision: Precision, value: float) -> None:
    x = matrix(100, 72)
    x[77, 3] = value
    with pytest.raises(CompileError, match=r"memory: tensor w\.weight: row 77 has NaN or Inf"):
        pack(RowSource.stack(tensor("w.weight", x)), precision)


def test_what_bf16_cannot_hold_is_refused() -> None:
    x = np.full((2, 2), 3.4e38, np.float32)
    with pytest.raises(CompileError, match=r"tensor w: a value is too large for bf16"):
        pack(RowSource.stack(tensor("w", x)), PRECISIONS["bf16"])
    pack(RowSource.stack(tensor("w", x)), PRECISIONS["mxfp8"])


def test_packs_into_given_memory() -> None:
    source = RowSource.array(matrix(100, 72))
    layout = PanelLayout(100, 72, PRECISIONS["mxfp4"])
    data, scales = np.empty(layout.data_bytes, np.uint8), np.empty(layout.scale_bytes, np.uint8)
    packed = pack(source, PRECISIONS["mxfp4"], data=data, scales=scales)
    assert packed.data is data
    np.testing.assert_array_equal(data, pack(source, PRECISIONS["mxfp4"]).data)


@pytest.mark.parametrize("precision", BLOCKED, ids=lambda p: p.name)
def test_packing_needs_little_memory_besides_its_result(precision: Precision) -> None:
    bits = np.full((8192, 1024), 0x3C00, np.uint16)
    source = RowSource.stack(Tensor("w", "memory", "BF16", bits))
    tracemalloc.start()
    packed = pack(source, precision)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = packed.data.nbytes + (0 if packed.scales is None else packed.scales.nbytes)
    assert peak < result + 40e6
