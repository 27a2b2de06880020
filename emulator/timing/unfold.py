"""The timing of a step of all layers, from one of which only some were simulated.

A layer that was left out is a copy of a simulated one (`Fold.source`), moved to where its
predecessor ends. Bytes and work of copies are exact, since all layers have the same shapes; their
cycles, and what depends on addresses (bytes in whole bursts, bytes times hops), are those of the
layer that they copy. What is not kept layer by layer (units' shares, the critical path) is scaled
to the new length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import Traffic
from emulator.fold import Fold
from emulator.timing.result import EntryTiming, apportion, exclusive_shares

Ints = NDArray[np.int64]


def layer_ends(found: EntryTiming, simulated: int) -> Ints:
    """When each simulated layer ends; layer i is what runs in context i + 1."""
    layer = found.keys[:, 1] - 1
    return np.array([found.last[layer == i].max(initial=0) for i in range(simulated)], np.int64)


def layer_cycles(found: EntryTiming, fold: Fold) -> Ints:
    """Cycles of the layers that stand for others."""
    return np.diff(layer_ends(found, fold.simulated))[: fold.simulated - 2]


def unfold(found: EntryTiming, fold: Fold) -> EntryTiming:
    """The timing of all layers."""
    copies = _copies(found, fold)
    first = np.where(found.first[copies.rows] >= 0, found.first[copies.rows] + copies.shift, -1)
    last = np.where(first >= 0, found.last[copies.rows] + copies.shift, found.last[copies.rows])
    order = np.lexsort((copies.context, found.keys[copies.rows, 0], first))
    rows, first, last = copies.rows[order], first[order], last[order]
    keys = np.stack([found.keys[rows, 0], copies.context[order]], axis=1)
    cycles = found.cycles + copies.added
    exclusive, rest = exclusive_shares(first, last, cycles)
    return replace(
        found,
        found={},
        cycles=cycles,
        critical_cycles=_scaled(found.critical_cycles, cycles, found.cycles),
        critical_path=apportion(cycles, found.critical_path),
        units=_units(found.units, cycles),
        keys=keys,
        first=first,
        last=last,
        causes=found.causes[rows],
        bounds=found.bounds[rows],
        exclusive=exclusive,
        exclusive_causes=_causes(found.exclusive_causes[rows], exclusive),
        rest=rest,
        traffic=_traffic(found.traffic, keys, rows),
    )


@dataclass(frozen=True)
class _Copies:
    """Which simulated row each row is, its context, and by how much it is later."""

    rows: Ints
    context: Ints
    shift: Ints
    added: int  #: cycles of the layers that were not simulated


def _copies(found: EntryTiming, fold: Fold) -> _Copies:
    ends = layer_ends(found, fold.simulated)
    layer_of_row = found.keys[:, 1] - 1
    parts = []
    shift = end = 0
    for layer in range(fold.layers):
        source = fold.source(layer)
        if source > 0:
            shift = end - int(ends[source - 1])
        end = int(ends[source]) + shift
        rows = np.flatnonzero(layer_of_row == source)
        parts.append((rows, np.full(len(rows), layer + 1), np.full(len(rows), shift)))
    outside = np.flatnonzero((layer_of_row < 0) | (layer_of_row >= fold.simulated))
    late = found.last[outside] > ends[fold.simulated - 2]  # what comes after the layers
    parts.append((outside, found.keys[outside, 1], np.where(late, shift, 0)))
    rows, context, shifts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Copies(rows, context, shifts, shift)


def _scaled(value: int, new: int, old: int) -> int:
    return value * new // max(old, 1)


def _units(units: Ints, cycles: int) -> Ints:
    """Every unit's causes in the same proportions; they sum to `cycles` again."""
    whole = units.sum(axis=2, keepdims=True)
    scaled: Ints = np.floor(units / np.maximum(whole, 1) * cycles).astype(np.int64)
    largest = np.expand_dims(np.argmax(units, axis=2), 2)
    rest = cycles - scaled.sum(axis=2, keepdims=True)
    np.put_along_axis(scaled, largest, np.take_along_axis(scaled, largest, 2) + rest, 2)
    return scaled


def _causes(causes: Ints, exclusive: Ints) -> Ints:
    """Causes that sum to the rows' exclusive cycles, which differ where layers overlap."""
    found = causes.copy()
    for row in np.flatnonzero(causes.sum(axis=1) != exclusive):
        weights = {str(i): int(part) for i, part in enumerate(causes[row])}
        weights = weights if sum(weights.values()) else {"0": 1}
        found[row] = 0
        for name, part in apportion(int(exclusive[row]), weights).items():
            found[row, int(name)] = part
    return found


def _traffic(traffic: Traffic, keys: Ints, rows: Ints) -> Traffic:
    """Sums by row, and so by space and class; `totals` stay those of what was simulated."""
    return replace(traffic, keys=keys, rows=traffic.rows[rows], hbm_rows=traffic.hbm_rows[rows])
