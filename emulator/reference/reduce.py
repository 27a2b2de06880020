"""Row reductions, total order, argmax and top-k of the reference model.

Source: the arithmetic contract, section 2. A reduction has 32 lanes whatever the machine's width.
Bounds are per-row [begin, end) in absolute indices of the row; None means the whole row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from emulator.reference.arith import F32, I64, add, bits_of, canonical, maximum, minimum

LANES: Final = 32
Bounds = tuple[npt.ArrayLike, npt.ArrayLike] | None
Combine = Callable[[F32, F32], F32]


def row_bounds(bounds: Bounds, rows: int, k: int) -> tuple[I64, I64]:
    """begin[rows] and end[rows] of bounds, or of whole rows of k."""
    begin, end = (0, k) if bounds is None else bounds
    return (
        np.broadcast_to(np.asarray(begin, dtype=np.int64), (rows,)),
        np.broadcast_to(np.asarray(end, dtype=np.int64), (rows,)),
    )


def reduce_rows(combine: Combine, empty: float, x: F32, bounds: Bounds = None) -> F32:
    """Reduce fp32 x[R, K] to [R]: lane j takes indices j mod 32 in order, then lanes pair up."""
    rows, k = x.shape
    begin, end = row_bounds(bounds, rows, k)
    lanes = np.zeros((rows, LANES), np.float32)
    used = np.zeros((rows, LANES), np.bool_)
    for i in range(k):
        live = (begin <= i) & (i < end)
        lane = i % LANES
        lanes[:, lane] = _merge(combine, lanes[:, lane], used[:, lane], x[:, i], live)
        used[:, lane] |= live
    for step in (16, 8, 4, 2, 1):
        left, right = slice(0, step), slice(step, 2 * step)
        lanes[:, left] = _merge(
            combine, lanes[:, left], used[:, left], lanes[:, right], used[:, right]
        )
        used[:, left] |= used[:, right]
    return np.where(used[:, 0], canonical(lanes[:, 0]), np.float32(empty))


def _merge(
    combine: Combine,
    old: F32,
    has_old: npt.NDArray[np.bool_],
    new: F32,
    has_new: npt.NDArray[np.bool_],
) -> F32:
    """combine(old, new) where both exist; else the one that does. Empty lanes take no part."""
    both = np.where(has_old, combine(old, new), new)
    return np.where(has_new, both, old).astype(np.float32)


def row_sum(x: F32, bounds: Bounds = None) -> F32:
    """Sums of rows x[R, K]; an empty row gives +0."""
    return reduce_rows(add, 0.0, x, bounds)


def row_max(x: F32, bounds: Bounds = None) -> F32:
    """Maxima of rows x[R, K]; an empty row gives -Inf."""
    return reduce_rows(maximum, -np.inf, x, bounds)


def row_min(x: F32, bounds: Bounds = None) -> F32:
    """Minima of rows x[R, K]; an empty row gives +Inf."""
    return reduce_rows(minimum, np.inf, x, bounds)


def prefix_sum(x: F32) -> F32:
    """Inclusive sequential sums along rows x[R, K]; the first element starts the sum."""
    out = canonical(x)
    for i in range(1, x.shape[1]):
        out[:, i] = add(out[:, i - 1], x[:, i])
    return out


# ---- order


def order_key(x: F32) -> I64:
    """Integers that order fp32 x as NaN > +Inf > ... > +0 > -0 > ... > -Inf; all NaNs tie."""
    bits = bits_of(x).astype(np.int64)
    magnitude = bits & 0x7FFFFFFF
    key = np.where(bits == magnitude, magnitude, -magnitude - 1)
    return np.where(np.isnan(x), np.int64(1) << 32, key)


def rank(row: F32) -> list[int]:
    """Indices of a row, greatest first in the total order, ties to the lowest index."""
    keys = order_key(row).tolist()
    return sorted(range(len(keys)), key=lambda i: (-keys[i], i))


def topk(x: F32, k: int) -> list[list[int]]:
    """Per row of x[R, K], the indices of its k greatest elements in rank order (fewer if short)."""
    return [rank(row)[:k] for row in x]
