"""The table at the end of a study: the best point by each metric, and the Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from emulator.explore.evaluate import ERROR, INVALID
from emulator.explore.inputs import chip_keys
from emulator.explore.metrics import LESS
from emulator.explore.rows import OK, PROXY, VIOLATES, Row
from emulator.explore.study import Objective, Study
from emulator.explore.units import chip_unit_name, readable
from emulator.report_table import table

MOST_ROWS = 20


def summary(study: Study, rows: Sequence[Row]) -> list[str]:
    """Its lines."""
    good = [row for row in rows if row.status == OK]
    lines = [f"{study.name}: {_counts(rows)}", *_reasons(rows)]
    lines += _notes(good)
    if good:
        lines += ["", *_best(study, good)]
    if good and study.objectives:
        lines += ["", *_front(study, good)]
    return lines


def _counts(rows: Sequence[Row]) -> str:
    found = Counter(row.status for row in rows)
    words = {OK: "good", VIOLATES: "violate a constraint", INVALID: "invalid", ERROR: "failed"}
    parts = [f"{found[status]} {word}" for status, word in words.items() if found[status]]
    return f"{len(rows)} points: " + ", ".join(parts)


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why points are not good, the most frequent reason first."""
    found = Counter((row.status, row.reason) for row in rows if row.status != OK)
    lines = [f"  {count} x {status}: {reason}" for (status, reason), count in found.most_common(5)]
    if len(found) > 5:
        lines.append(f"  and {len(found) - 5} more reasons: the column `reason` of points.csv")
    return lines


def _notes(good: Sequence[Row]) -> list[str]:
    lines = []
    if any(row.note not in ("", PROXY) for row in good):
        lines.append(
            "  ESTIMATES: layers or steps were left out; the column `note` of points.csv says which"
        )
    if any(PROXY in row.note for row in good):
        lines.append(f"  A proxy: {PROXY}, whatever model is timed")
    return lines


def _best(study: Study, good: Sequence[Row]) -> list[str]:
    """For every metric with a better side, the best point."""
    rows: list[tuple[str, ...]] = [("best", "", *study.varied)]
    directions = {each.name: each.better for each in study.objectives}
    for name in study.metrics:
        metric = study.metric(name)
        better = directions.get(name, metric.better if metric else None)
        having = [row for row in good if row.metrics[name] is not None]
        if better is None or not having:
            continue
        objective = Objective(name, better)
        best = min(having, key=lambda row: (_minimised(row, objective), row.key))
        value = best.metrics[name]
        assert value is not None
        rows.append((name, readable(value, study.unit(name)), *_axes(study, best)))
    return table(rows, "<>" + ">" * len(study.varied))


def _axes(study: Study, row: Row) -> list[str]:
    return [shown(name, row.inputs[name]) for name in study.varied]


def _minimised(row: Row, objective: Objective) -> float:
    value = row.metrics[objective.name]
    assert value is not None
    return value * objective.sign


def front(objectives: Sequence[Objective], rows: Sequence[Row]) -> list[Row]:
    """The rows that no other beats in every objective, the first objective's best first.

    Of rows equal in all, the first by key stands for them.
    """
    having = [row for row in rows if all(row.metrics[o.name] is not None for o in objectives)]
    points = sorted(having, key=lambda row: ([_minimised(row, o) for o in objectives], row.key))
    found: list[tuple[list[float], Row]] = []
    for row in points:  # whoever beats it comes before it
        values = [_minimised(row, objective) for objective in objectives]
        if not any(all(a <= b for a, b in zip(other, values, strict=True)) for other, _ in found):
            found.append((values, row))
    return [row for _, row in found]


def _front(study: Study, good: Sequence[Row]) -> list[str]:
    chosen = front(study.objectives, good)
    names = [each.name for each in study.objectives]
    words = ", ".join(
        f"{'less' if o.better == LESS else 'more'} {o.name}" for o in study.objectives
    )
    rows: list[tuple[str, ...]] = [(*names, *study.varied)]
    for row in chosen[:MOST_ROWS]:
        cells = [readable(row.metrics[name] or 0.0, study.unit(name)) for name in names]
        rows.append((*cells, *_axes(study, row)))
    lines = [f"Pareto front of {words}: {len(chosen)} of {len(good)} points"]
    lines += table(rows, ">" * len(rows[0]))
    if len(chosen) > MOST_ROWS:
        lines.append(f"  and {len(chosen) - MOST_ROWS} more")
    return lines


def shown(name: str, value: Any) -> str:
    """A value of an input for a table, a chip's with its unit."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "/".join(map(str, value)) or "none"
    if name in chip_keys() and type(value) in (int, float):
        return readable(value, chip_unit_name(name))
    text = str(value)
    return text if len(text) <= 24 else "..." + text[-21:]
