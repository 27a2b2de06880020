"""All that a report shows, as plain data: the same for the same results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, Final

from emulator.explore import inputs
from emulator.explore.chips import facts
from emulator.explore.cost_metrics import technology
from emulator.explore.economics.part import Part
from emulator.explore.evaluate import DONE
from emulator.explore.export import description
from emulator.explore.point import Point
from emulator.explore.report.details import Details
from emulator.explore.report.sensitivity import swings
from emulator.explore.rows import OK, Row, whole_result
from emulator.explore.run import identity
from emulator.explore.store import Store
from emulator.explore.study import Study
from emulator.explore.summary import front
from emulator.explore.units import chip_unit_name

SCHEMA: Final = 1
MOST_DETAILS: Final = 2000  #: points with a breakdown; one takes about 3 KB
_AT_A_TIME: Final = 100

Plain = dict[str, Any]


def report_data(study: Study, points: Sequence[Point], rows: Sequence[Row], store: Store) -> Plain:
    """What the report of these points shows; `rows` are theirs, as `run.rows` gives them."""
    ordered = sorted(points, key=identity)
    leading = _front(study, rows)
    details = Details()
    chosen = _with_details(rows, leading)
    broken_down = dict(_details(details, chosen, ordered, store))
    axes = {name: _values(study, rows, name) for name in study.varied}
    about = description(study, rows)
    kept = ("name", "code", "workloads", "fixed", "objectives", "constraints")
    return {
        "schema": SCHEMA,
        **{name: about[name] for name in kept},
        "technologies": list(dict.fromkeys(technology(p.technology).name for p in ordered)),
        "sampling": study.sampling.kind,
        "axes": axes,
        "inputs": [_input(study, name) for name in study.shown],
        "metrics": [
            each | {"what": _what(study, each["name"])} for each in about["metrics"]
        ],
        "counts": dict(sorted(Counter(row.status for row in rows).items())),
        "reasons": _reasons(rows),
        "notes": [[note, n] for note, n in Counter(r.note for r in rows if r.note).most_common()],
        "points": _columns(study, rows, leading),
        "details": [broken_down.get(i) for i in range(len(rows))],
        "tables": details.tables,
        "sensitivity": swings(rows, axes, study.metrics),
        "chips": _chips(study, ordered[0].technology),
    }  # fmt: skip


def _front(study: Study, rows: Sequence[Row]) -> set[int]:
    """Places of the rows on the Pareto front of the study's objectives."""
    good = [row for row in rows if row.status == OK]
    if not study.objectives:
        return set()
    best = {id(row) for row in front(study.objectives, good)}
    return {i for i, row in enumerate(rows) if id(row) in best}


def _with_details(rows: Sequence[Row], leading: set[int]) -> list[int]:
    """Places of the rows that get a breakdown: the front, then good ones, then others timed."""
    timed = [i for i, row in enumerate(rows) if any(v is not None for v in row.metrics.values())]
    timed.sort(key=lambda i: (i not in leading, rows[i].status != OK, i))
    return sorted(timed[:MOST_DETAILS])


def _details(
    details: Details, chosen: Sequence[int], ordered: Sequence[Point], store: Store
) -> Iterator[tuple[int, Plain]]:
    """Places and breakdowns. Results are read a few at a time: they may be large."""
    for first in range(0, len(chosen), _AT_A_TIME):
        part = chosen[first : first + _AT_A_TIME]
        stored = store.get(ordered[i].key for i in part)
        for i in part:
            found = stored.get(ordered[i].key)
            if found is not None and found.status == DONE:
                yield i, details.point(whole_result(ordered[i], found))


# ---- what was asked


def _values(study: Study, rows: Sequence[Row], name: str) -> list[Any]:
    """An axis's values among the rows: numbers in their order, others as the study has them."""
    there = {repr(row.inputs[name]): row.inputs[name] for row in rows}
    asked = [*study.axes.get(name, ()), *(p[name] for p in study.sampling.points if name in p)]
    listed = dict.fromkeys(repr(value) for value in asked)
    values = [there[text] for text in (*listed, *(t for t in there if t not in listed))
              if text in there]  # fmt: skip
    if all(type(value) in (int, float) for value in values):
        return sorted(values)
    return [value for value in values if value is not None]


def _input(study: Study, name: str) -> Plain:
    known = inputs.known().get(name)
    unit = chip_unit_name(name) if known is None else ""
    what = known.what if known else "of the chip"
    return {"name": name, "unit": unit, "what": what, "varied": name in study.varied}


def _what(study: Study, name: str) -> str:
    metric = study.metric(name)
    return metric.what if metric else study.definitions[name].text


# ---- what was found


def _reasons(rows: Sequence[Row]) -> list[list[Any]]:
    """[status, reason, points] of those that are not good, the most frequent first."""
    found = Counter((row.status, row.reason) for row in rows if row.status != OK)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [[status, reason, count] for (status, reason), count in ordered]


def _columns(study: Study, rows: Sequence[Row], leading: set[int]) -> Plain:
    """The rows by column; `front` says which are on the front of the objectives."""
    return {
        "key": [row.key for row in rows],
        "status": [row.status for row in rows],
        "reason": [row.reason for row in rows],
        "note": [row.note for row in rows],
        "front": [i in leading for i in range(len(rows))],
        "inputs": {name: [row.inputs[name] for row in rows] for name in study.shown},
        "metrics": {name: [_finite(row.metrics[name]) for row in rows] for name in study.metrics},
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and isfinite(value) else None


def _chips(study: Study, prices: str) -> list[Plain]:
    """Facts of the study's chips as their files are, before axes change them."""
    kept = ("summary", "node", "weights", "tiles", "clock_hz", "array", "peak_flops", "sram",
            "hbm", "flop_per_byte", "area_mm2", "power_w", "usd_to_make", "usd",
            "unpriced")  # fmt: skip
    found = []
    for name, place in study.chips.items():
        chip = facts(Part.load(place), technology(prices))
        found.append({"name": name} | {key: chip[key] for key in kept})
    return found
