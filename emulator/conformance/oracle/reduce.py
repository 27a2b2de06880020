"""Reductions and order: docs/isa/numerics.md, "Reductions and order"."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.conformance.oracle.convert import narrow, widen
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.soft import add
from emulator.conformance.oracle.vector import NAN, elementwise, maximum, minimum, ordinal
from isa.formats import Format

LANES = 32
Columns = tuple[Format, Ints]  #: codes and their format
TAKING_IN: dict[str, Any] = {"vrsum": add, "vrmax": maximum, "vrmin": minimum}
EMPTY = {"vrsum": 0, "vrmax": 0xFF800000, "vrmin": 0x7F800000}


def reduce_rows(
    mnemonic: str, source: Format, rows: Any, target: Format, bounds: Any = None, k0: int = 0
) -> Ints:
    """`vrsum`, `vrmax`, `vrmin` of codes [M, N]: codes [M, 1]."""
    x = widen(source, rows)
    m, n = x.shape
    limits = np.tile(np.array([0, n]), (m, 1)) if bounds is None else ints(bounds) - k0
    limits = np.clip(limits, 0, n)
    columns = np.arange(n)
    taken = (columns >= limits[:, :1]) & (columns < limits[:, 1:])
    return narrow(target, _combined(mnemonic, *_lanes(mnemonic, x, taken)))


def exp2_rows(
    a: Columns, b: Columns, target: Format, total: Format, bounds: Any = None, k0: int = 0
) -> tuple[Ints, Ints]:
    """`vexp2sum` of a [M, N] and b [M, 1]: codes of dst and of total."""
    fp32 = Format.FP32
    number = np.broadcast_to(b[1], a[1].shape)
    x = elementwise("vexp2", fp32, (fp32, elementwise("vsub", fp32, a, (b[0], number))))
    return narrow(target, x), reduce_rows("vrsum", fp32, x, total, bounds, k0)


def _lanes(mnemonic: str, x: Ints, taken: Any) -> tuple[Ints, Any]:
    """What each lane holds, and whether it holds anything."""
    m, n = x.shape
    lanes, held = np.zeros((m, LANES), np.int64), np.zeros((m, LANES), np.bool_)
    for start in range(0, n, LANES):
        piece, here = x[:, start : start + LANES], taken[:, start : start + LANES]
        width = piece.shape[1]
        lanes[:, :width], held[:, :width] = _take(
            mnemonic, lanes[:, :width], held[:, :width], piece, here
        )
    return lanes, held


def _take(mnemonic: str, a: Ints, has_a: Any, b: Ints, has_b: Any) -> tuple[Ints, Any]:
    both = TAKING_IN[mnemonic](a, b)
    return np.where(has_a & has_b, both, np.where(has_b, b, a)), has_a | has_b


def _combined(mnemonic: str, lanes: Ints, held: Any) -> Ints:
    width = LANES // 2
    while width:
        lanes, held = _take(
            mnemonic, lanes[:, :width], held[:, :width], lanes[:, width:], held[:, width:]
        )
        width //= 2
    return np.where(held, lanes, EMPTY[mnemonic])


def ranks(source: Format, rows: Any) -> Ints:
    """Integers that grow in the total order: NaNs, all alike, on top."""
    x = widen(source, rows)
    return np.where(x == NAN, 1 << 40, ordinal(x))


def order(source: Format, rows: Any) -> Ints:
    """Column numbers [M, N], the largest element first, equal ones by index."""
    return np.argsort(-ranks(source, rows), axis=1, kind="stable")


def argmax(source: Format, rows: Any, offset: int = 0) -> Ints:
    """`vargmax`: codes [M, 1]."""
    return np.asarray((order(source, rows)[:, :1] + offset) & 0xFFFFFFFF)


def topk(rows: Any, k: int, offset: int = 0) -> tuple[Ints, Ints]:
    """`vtopk` of FP32 patterns: values and indices, [M, k]."""
    places = order(Format.FP32, rows)[:, :k]
    values = np.take_along_axis(ints(rows), places, axis=1)
    return values, np.asarray((places + offset) & 0xFFFFFFFF)
