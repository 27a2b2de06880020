"""The matrix unit's instructions.

Source: isa/spec/matrix.py; the arithmetic is in emulator/reference/matrix.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from emulator.reference.arith import F32, I64
from emulator.reference.matrix import block_gemm, read_out
from emulator.reference.reduce import row_bounds
from emulator.reference.registry import (
    ACC,
    FLOATS,
    INTEGERS,
    NARROW,
    Rule,
    Run,
    same_shapes,
    tensor,
)
from emulator.reference.tensor import SCALE_BLOCK, Tensor
from isa.formats import Format, ScaleKind

_FP32: Final = frozenset({Format.FP32})
_MATRIX: Final = NARROW | {Format.BF16, Format.FP16}
_ANY_SCALES: Final = frozenset(ScaleKind)
_FACTOR: Final = Rule(frozenset({Format.FP32, Format.E8M0}), rank=2)
BOUNDS: Final = Rule(INTEGERS, rank=2)


def clipped_bounds(run: Run, rows: int, extent: int) -> tuple[I64, I64]:
    """Each row's bounds, relative to the tensor and clipped to it; whole rows without bounds."""
    bounds = run.get("bounds")
    if bounds is None:
        return row_bounds(None, rows, extent)
    # Bounds are 32-bit and k0 is 64-bit: Python integers cannot overflow.
    pairs = [[min(max(b - run.op.b, 0), extent) for b in row] for row in bounds.integers().tolist()]
    low, high = np.array(pairs, np.int64).reshape(rows, 2).T
    return low, high


def _gemm_shapes(run: Run) -> bool:
    a, w, bounds = run["a"].shape, run["w"].shape, run.get("bounds")
    good = a[1] == w[1] and run["acc"].shape == (a[0], w[0])
    return good and (bounds is None or bounds.shape == (a[0], 2))


def _block_scales(operand: Tensor, block: int) -> F32 | None:
    """Scale values per block of the product: one of 32 serves two blocks of 16."""
    values = operand.scale_values()
    if values is None:
        return None
    return np.repeat(values, SCALE_BLOCK[operand.scale_kind] // block, axis=1)


@tensor(
    "gemm",
    {
        "acc": Rule(_FP32, rank=2, write=True, spaces=ACC),
        "a": Rule(_MATRIX, rank=2, scales=_ANY_SCALES),
        "w": Rule(_MATRIX, rank=2, scales=_ANY_SCALES, panel=True),
        "bounds": BOUNDS,
    },
    _gemm_shapes,
)
def gemm(run: Run) -> None:
    """acc (+)= a * w^T, blocks of 16 or 32 along K, inside each row's bounds."""
    acc, a, w = run["acc"], run["a"], run["w"]
    nv = ScaleKind.NV16 in (a.scale_kind, w.scale_kind)
    block = SCALE_BLOCK[ScaleKind.NV16 if nv else ScaleKind.MX32]
    start = acc.codes().view(np.float32) if run.op.flag("acc") else np.zeros(acc.shape, np.float32)
    low, high = clipped_bounds(run, *a.shape)
    scales = _block_scales(a, block), _block_scales(w, block)
    result = block_gemm(start, a.values(), w.values(), *scales, block, (low, high))
    acc.store(result.view(np.uint32))
    run.macs = sum(max(e - b, 0) for b, e in zip(low.tolist(), high.tolist(), strict=True))
    run.macs *= w.shape[0]


def _readout_shapes(run: Run) -> bool:
    rows, columns = run["acc"].shape
    row, col = run.get("row"), run.get("col")
    good = row is None or row.shape == (rows, 1)
    return (
        good and (col is None or col.shape == (1, columns)) and run["dst"].shape == (rows, columns)
    )


@tensor(
    "readout",
    {
        "dst": Rule(FLOATS | {Format.E4M3FN, Format.E5M2}, rank=2, write=True),
        "acc": Rule(_FP32, rank=2, spaces=ACC),
        "row": _FACTOR,
        "col": _FACTOR,
    },
    _readout_shapes,
)
def readout(run: Run) -> None:
    """dst = convert(acc * row * col); a spill (no factor, to FP32) copies bits."""
    dst, acc, row, col = run["dst"], run["acc"], run.get("row"), run.get("col")
    if row is None and col is None and dst.format is Format.FP32:
        dst.store(acc.codes())
        return
    alpha_row = None if row is None else row.values()[:, 0]
    alpha_col = None if col is None else col.values()[0]
    values = acc.values()
    dst.store(read_out(values, alpha_row, alpha_col, dst.format, not run.op.flag("sat")))


@tensor(
    "seed",
    {"acc": Rule(_FP32, rank=2, write=True, spaces=ACC), "src": Rule(_FP32, rank=2)},
    same_shapes,
)
def seed(run: Run) -> None:
    """acc = src, bits."""
    run["acc"].store(run["src"].codes())
