"""The matrix engine's one rule, in the order it is written.

Source: the arithmetic contract, section 1.
"""

from __future__ import annotations

import numpy as np

from emulator.reference.arith import F32, add, fma32, mul, scale_sum
from emulator.reference.convert import to_format
from emulator.reference.reduce import Bounds, row_bounds
from isa.formats import Codes, Format


def block_gemm(
    acc: F32,
    a: F32,
    w: F32,
    scale_a: F32 | None,
    scale_w: F32 | None,
    block: int,
    bounds: Bounds = None,
) -> F32:
    """acc[M, N] plus a[M, K] times w[N, K], fp32 values, under scales [M or N, ceil(K/block)].

    Blocks start at multiples of `block` from k = 0. Products outside a row's bounds are not
    executed; a block in which a row executes none leaves that row's accumulator as it was.
    """
    rows, k = a.shape
    begin, end = row_bounds(bounds, rows, k)
    for index, start in enumerate(range(0, k, block)):
        stop = min(start + block, k)
        executed = (begin < stop) & (end > start) & (begin < end)
        total = _block_sum(a[:, start:stop], w[:, start:stop], begin - start, end - start)
        term = scale_sum(total, _column(scale_a, index)[:, None], _column(scale_w, index)[None, :])
        acc = np.where(executed[:, None], add(acc, term), acc)
    return np.array(acc, dtype=np.float32)


def _block_sum(a: F32, w: F32, begin: np.ndarray, end: np.ndarray) -> F32:
    """Sum[M, N] of one block of a[M, b] and w[N, b]: from +0, k ascending, one rounding a step."""
    total = np.zeros((a.shape[0], w.shape[0]), np.float32)
    for k in range(a.shape[1]):
        live = (begin <= k) & (k < end)
        step = fma32(a[:, k, None], w[None, :, k], total)
        total = np.where(live[:, None], step, total)
    return total


def _column(scale: F32 | None, index: int) -> F32:
    """Scales of one block, one per row; 1 where there is none."""
    return np.ones(1, np.float32) if scale is None else scale[:, index]


def read_out(
    acc: F32, alpha_row: F32 | None, alpha_col: F32 | None, fmt: Format, sat: bool = True
) -> Codes:
    """Codes of RNE(RNE(acc[M, N] * alpha_row[M]) * alpha_col[N]), then one conversion."""
    if alpha_row is not None:
        acc = mul(acc, alpha_row[:, None])
    if alpha_col is not None:
        acc = mul(acc, alpha_col[None, :])
    return to_format(fmt, acc, sat)
