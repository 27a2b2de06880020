"""The vector unit's row instructions: reductions, argmax, top-k and quantisation.

Source: isa/spec/vector.py; the arithmetic is in emulator/reference/reduce.py and quantise.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from emulator.reference import reduce
from emulator.reference.arith import F32, exp2, from_bits, sub
from emulator.reference.mxu import BOUNDS, clipped_bounds
from emulator.reference.quantise import quantise_mx, quantise_nvfp4
from emulator.reference.reduce import Bounds
from emulator.reference.registry import FLOATS, INTEGERS, NARROW, Rule, Run, tensor
from isa.formats import Format, ScaleKind

_FP32: Final = frozenset({Format.FP32})


def _reduced(run: Run) -> bool:
    """dst is [M, 1] for src [M, N]; bounds, if any, are [M, 2]."""
    rows, bounds = run["src"].shape[0], run.get("bounds")
    return run["dst"].shape == (rows, 1) and (bounds is None or bounds.shape == (rows, 2))


def _reduction(mnemonic: str, function: Callable[[F32, Bounds], F32]) -> None:
    """Register a row reduction."""

    def run_reduction(run: Run) -> None:
        bounds = clipped_bounds(run, *run["src"].shape)
        run["dst"].store_values(function(run["src"].values(), bounds)[:, None])

    rules = {"dst": Rule(FLOATS, rank=2, write=True), "src": Rule(FLOATS, rank=2), "bounds": BOUNDS}
    tensor(mnemonic, rules, _reduced)(run_reduction)


_reduction("vrsum", reduce.row_sum)
_reduction("vrmax", reduce.row_max)
_reduction("vrmin", reduce.row_min)


def _summed_shapes(run: Run) -> bool:
    """dst is as a, [M, N]; total and b are [M, 1]; bounds, if any, are [M, 2]."""
    shape, bounds = run["a"].shape, run.get("bounds")
    column = (shape[0], 1)
    good = run["dst"].shape == shape and run["total"].shape == run["b"].shape == column
    return good and (bounds is None or bounds.shape == (shape[0], 2))


@tensor(
    "vexp2sum",
    {
        "dst": Rule(FLOATS, rank=2, write=True),
        "total": Rule(FLOATS, rank=2, write=True),
        "a": Rule(FLOATS, rank=2),
        "b": Rule(FLOATS, rank=2),
        "bounds": BOUNDS,
    },
    _summed_shapes,
)
def vexp2sum(run: Run) -> None:
    """dst = x = EXP2(RNE(a - b)), total = the sum of the FP32 x of each row within its bounds."""
    x = exp2(sub(run["a"].values(), run["b"].values()))
    total = reduce.row_sum(x, clipped_bounds(run, *x.shape))
    run["dst"].store_values(x)
    run["total"].store_values(total[:, None])


def _argmax_shapes(run: Run) -> bool:
    rows, columns = run["src"].shape
    return columns >= 1 and run["dst"].shape == (rows, 1)


@tensor(
    "vargmax",
    {"dst": Rule(INTEGERS, rank=2, write=True), "src": Rule(FLOATS, rank=2)},
    _argmax_shapes,
)
def vargmax(run: Run) -> None:
    """dst = index of each row's greatest element, plus an offset."""
    best = [[row[0] + run.op.b] for row in reduce.topk(run["src"].values(), 1)]
    _store_indices(run, "dst", best)


def _topk_shapes(run: Run) -> bool:
    rows, columns = run["src"].shape
    values, indices = run["values"].shape, run["indices"].shape
    return values == indices and values[0] == rows and values[1] <= columns


@tensor(
    "vtopk",
    {
        "values": Rule(_FP32, rank=2, write=True),
        "indices": Rule(INTEGERS, rank=2, write=True),
        "src": Rule(_FP32, rank=2),
    },
    _topk_shapes,
)
def vtopk(run: Run) -> None:
    """Each row's k greatest elements in rank order (bits), and their indices plus an offset."""
    codes, shape = run["src"].codes(), run["values"].shape
    best = reduce.topk(codes.view(np.float32), shape[1])
    values = [row[indices] for row, indices in zip(codes, best, strict=True)]
    run["values"].store(np.array(values, np.uint32).reshape(shape))
    _store_indices(run, "indices", [[i + run.op.b for i in row] for row in best])


def _store_indices(run: Run, name: str, indices: list[list[int]]) -> None:
    """Write indices, wrapping to 32 bits."""
    wrapped = np.array([[i % 2**32 for i in row] for row in indices], np.int64)
    run[name].store_integers(wrapped.reshape(run[name].shape))


# ---- quantisation


def _quant_formats(run: Run) -> bool:
    """NV16 has one scale rule only."""
    return not (run["dst"].scale_kind is ScaleKind.NV16 and run.op.flag("scale_mode"))


def _same_rows(run: Run) -> bool:
    rows, columns = run["src"].shape
    scale = run.get("scale")
    return run["dst"].shape == (rows, columns) and (scale is None or scale.shape == (rows, 1))


@tensor(
    "vquant",
    {
        "dst": Rule(
            NARROW,
            rank=2,
            write=True,
            scales=frozenset({ScaleKind.MX32, ScaleKind.NV16}),
        ),
        "src": Rule(FLOATS, rank=2),
    },
    _same_rows,
    _quant_formats,
)
def vquant(run: Run) -> None:
    """Block scales and elements of dst, by the MX or the NVFP4 rule."""
    dst, values = run["dst"], run["src"].values()
    if dst.scale_kind is ScaleKind.NV16:
        result = quantise_nvfp4(values, tensor_scale(run.op.pattern()))
    else:
        result = quantise_mx(values, dst.format, floor=bool(run.op.flag("scale_mode")))
    run.tile.sticky |= result.sticky
    dst.store(result.codes)
    dst.store_scales(result.scales)


def tensor_scale(pattern: int) -> np.float32:
    """The tensor scale of an FP32 pattern; an absent operand is all zeros, and means 1."""
    return np.float32(1) if pattern == 0 else np.float32(from_bits(pattern))


@tensor(
    "vquantr",
    {
        "dst": Rule(frozenset({Format.E4M3FN, Format.E5M2}), rank=2, write=True),
        "scale": Rule(frozenset({Format.E8M0}), rank=2, write=True),
        "src": Rule(FLOATS, rank=2),
    },
    _same_rows,
)
def vquantr(run: Run) -> None:
    """One power-of-two scale per row: the MX rule with the whole row as one block."""
    dst, values = run["dst"], run["src"].values()
    whole = max(values.shape[1], 1)
    result = quantise_mx(values, dst.format, whole, bool(run.op.flag("scale_mode")))
    dst.store(result.codes)
    scales = result.scales if values.shape[1] else np.zeros((values.shape[0], 1), np.uint8)
    run["scale"].store(scales)
