"""What each axis does to each metric, all other inputs held.

Good points that agree in every other input are a group. A group that has the axis's first and last
value gives a swing: the metric at the last over that at the first. Of the values that have a good
point, these are the lowest and the highest if they are numbers, else as the study lists them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from emulator.explore.report.names import short
from emulator.explore.rows import OK, Row

Plain = dict[str, Any]


def swings(
    rows: Sequence[Row], axes: Mapping[str, Sequence[Any]], metrics: Sequence[str]
) -> list[Plain]:
    """For each axis with several values: its ends, and every metric's swing (None: it has none).

    `axes` are all varied inputs, each with its values in order.
    """
    good = [row for row in rows if row.status == OK]
    found = []
    for axis, values in axes.items():
        there = {repr(row.inputs[axis]) for row in good}
        able = [value for value in values if repr(value) in there]
        if len(values) > 1 and able:
            ends = (able[0], able[-1])
            pairs = _pairs(good, axis, ends, [name for name in axes if name != axis])
            found.append({
                "axis": axis, "from": ends[0], "to": ends[1],
                "metrics": {name: _swing(pairs, name) for name in metrics},
            })  # fmt: skip
    return found


def _pairs(
    good: Sequence[Row], axis: str, ends: tuple[Any, Any], others: Sequence[str]
) -> list[tuple[Row, Row]]:
    groups: dict[str, dict[int, Row]] = {}
    for row in good:
        if row.inputs[axis] in ends:
            held = repr([row.inputs[name] for name in others])
            groups.setdefault(held, {})[ends.index(row.inputs[axis])] = row
    return [(group[0], group[1]) for group in groups.values() if len(group) == 2]


def _swing(pairs: Sequence[tuple[Row, Row]], name: str) -> Plain | None:
    """Median, least and most of last over first, and of how many pairs; None: there are none."""
    ratios = []
    for first, last in pairs:
        below, above = first.metrics[name], last.metrics[name]
        if below and above and below * above > 0:
            ratios.append(above / below)
    if not ratios:
        return None
    return {
        "median": short(statistics.median(ratios)),
        "least": short(min(ratios)),
        "most": short(max(ratios)),
        "pairs": len(ratios),
    }
