"""Random operands: descriptors that are legal, in bounds and injective where they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import FORMATS, Format, Layout, ScaleKind

Rng = np.random.Generator
BLOCK = {ScaleKind.MX32: 32, ScaleKind.NV16: 16}


@dataclass(frozen=True)
class Place:
    """Bytes [start, stop) of a space that an operand may use."""

    space: Space
    start: int
    stop: int
    flush: int = 0  # -1: operands begin where it begins; 1: they end where it ends


class TooBig(Exception):
    """The operand does not fit its place: draw another one."""


def shape(rng: Rng, rank: int | None = None, limit: int = 300) -> tuple[int, ...]:
    """A shape of at most `limit` elements; now and then with an extent of 0 or 1."""
    rank = int(rng.integers(0, 5)) if rank is None else rank
    while True:
        dims = tuple(int(d) for d in rng.choice([1, 2, 3, 4, 5, 7, 8, 16, 17, 33], rank))
        if rng.random() < 0.03 and rank:
            dims = tuple(0 if axis == int(rng.integers(rank)) else d for axis, d in enumerate(dims))
        if math.prod(dims) <= limit:
            return dims


def written_strides(rng: Rng, dims: tuple[int, ...], packed: bool) -> tuple[int, ...]:
    """Strides under which no two elements share a place. Packed nibbles: even but the last's 1."""
    order = list(range(len(dims)))
    if rng.random() < 0.4:
        rng.shuffle(order)
    if packed and order:
        order.remove(len(dims) - 1)
        order.append(len(dims) - 1)
    strides, step = [0] * len(dims), 1
    for position, axis in enumerate(reversed(order)):
        if rng.random() < 0.25 and not (packed and position == 0):
            step += int(rng.integers(1, 4))
        if packed and position > 0:
            step += step % 2
        strides[axis] = step
        step *= max(dims[axis], 1)
    if packed:
        strides = [s + s % 2 if axis < len(dims) - 1 else 1 for axis, s in enumerate(strides)]
    return tuple(strides)


def read_strides(rng: Rng, dims: tuple[int, ...], packed: bool) -> tuple[int, ...]:
    """Any strides: broadcasts and overlapping windows too."""
    strides = list(written_strides(rng, dims, packed))
    for axis in range(len(dims)):
        last = axis == len(dims) - 1
        if rng.random() < 0.15 and not (packed and last):
            strides[axis] = 0 if rng.random() < 0.6 or packed else int(rng.integers(0, 6))
    return tuple(strides)


def extent(fmt: Format, dims: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Bytes from the first element to the last."""
    if 0 in dims:
        return 0
    last = sum((d - 1) * s for d, s in zip(dims, strides, strict=True))
    return ((last + 1) * FORMATS[fmt].bits + 7) // 8


def operand(
    rng: Rng,
    place: Place,
    fmt: Format,
    dims: tuple[int, ...],
    *,
    written: bool = False,
    scale_kind: ScaleKind = ScaleKind.NONE,
    panel: bool = False,
) -> Descriptor:
    """A random descriptor inside a place; raises TooBig."""
    if panel:
        return _panel(rng, place, fmt, dims, scale_kind)
    packed = fmt is Format.E2M1
    strides = (written_strides if written else read_strides)(rng, dims, packed)
    size = extent(fmt, dims, strides)
    align = max(FORMATS[fmt].bits // 8, 1)
    base = _at(rng, place if scale_kind is ScaleKind.NONE else _loose(place), size, align)
    if scale_kind is ScaleKind.NONE:
        return Descriptor(place.space, fmt, dims, strides, base)
    rows, blocks = dims[0], -(-dims[1] // BLOCK[scale_kind])
    rest = replace(place, start=base + size)
    steps = (blocks, 1)
    if rng.random() < 0.3:
        steps = (1, rows + int(rng.integers(0, 3)))
    if not written and rng.random() < 0.2:
        steps = (0, steps[1])
    used = max(rows - 1, 0) * steps[0] + max(blocks - 1, 0) * steps[1] + 1
    scale = _at(rng, rest, used, 1)
    return Descriptor(
        place.space, fmt, dims, strides, base, Layout.STRIDED, scale_kind, scale, steps
    )


def _panel(
    rng: Rng, place: Place, fmt: Format, dims: tuple[int, ...], scale_kind: ScaleKind
) -> Descriptor:
    group = 32 // FORMATS[fmt].bits
    panels, words = -(-dims[0] // PANEL_COLUMNS), -(-dims[1] // group)
    stride = PANEL_COLUMNS * group * (words + int(rng.integers(0, 2)))
    size = max(panels - 1, 0) * stride * FORMATS[fmt].bits // 8 + words * 4 * PANEL_COLUMNS
    base = _at(rng, place if scale_kind is ScaleKind.NONE else _loose(place), size, 4)
    scale, steps = 0, (0, 0)
    if scale_kind is not ScaleKind.NONE:
        blocks = -(-dims[1] // BLOCK[scale_kind])
        steps = (blocks * PANEL_COLUMNS + int(rng.integers(0, 5)), PANEL_COLUMNS)
        used = max(panels - 1, 0) * steps[0] + blocks * PANEL_COLUMNS
        scale = _at(rng, replace(place, start=base + size), used, 1)
    return Descriptor(
        place.space, fmt, dims, (stride, 1), base, Layout.PANEL, scale_kind, scale, steps
    )


def _loose(place: Place) -> Place:
    """The same place for data that have scales behind them."""
    return place if place.flush < 0 else replace(place, flush=0)


def _at(rng: Rng, place: Place, size: int, align: int) -> int:
    """A random address of `size` bytes within a place."""
    first = -(-place.start // align)
    last = (place.stop - size) // align
    if last < first:
        raise TooBig
    if place.flush:
        return (first if place.flush < 0 else last) * align
    return int(rng.integers(first, min(last, first + 40) + 1)) * align
