"""Rows: a study's points with what was found, metrics, and whether they meet the constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulator.explore import inputs
from emulator.explore.evaluate import DONE, ERROR, INVALID
from emulator.explore.expressions import Expression
from emulator.explore.metrics import Result, known
from emulator.explore.point import Point
from emulator.explore.store import Stored
from emulator.explore.study import Study
from emulator.explore.units import chip_unit

OK, VIOLATES = "ok", "violates"  #: beside INVALID and ERROR


@dataclass(frozen=True)
class Row:
    """One point: its inputs, its metrics by name (None: it has none), and how it ended.

    `note` says what of its timing is an estimate.
    """

    key: str
    status: str
    reason: str
    inputs: dict[str, Any]
    metrics: dict[str, float | None]
    note: str = ""


class Judge:
    """Makes rows of one study's points."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def forbidden(self, point: Point) -> str:
        """The constraint that the inputs alone violate; empty if none: no need to time it."""
        values = _Values(self.study, point, None)
        for constraint in self.study.constraints:
            if self._by_inputs(constraint) and constraint.value(values) is False:
                return constraint.text
        return ""

    def _by_inputs(self, expression: Expression) -> bool:
        """Whether no metric is mentioned, however indirectly."""
        for name in expression.names:
            if name in self.study.definitions:
                if not self._by_inputs(self.study.definitions[name]):
                    return False
            elif name in known():
                return False
        return True

    def row(self, point: Point, stored: Stored | None, error: str = "") -> Row:
        """The row of a point; `stored` is what the store has of it."""
        shown = self._shown(point)
        empty = dict.fromkeys(self.study.metrics)
        if point.job is None:
            return Row(point.key, INVALID, point.reason, shown, empty)
        forbidden = self.forbidden(point)
        if forbidden:
            return Row(point.key, VIOLATES, forbidden, shown, empty)
        if stored is None:
            return Row(point.key, ERROR, error or "not timed", shown, empty)
        if stored.status != DONE:
            return Row(point.key, stored.status, stored.reason, shown, empty)
        return self._timed(point, stored, shown)

    def _timed(self, point: Point, stored: Stored, shown: dict[str, Any]) -> Row:
        result = whole_result(point, stored)
        values = _Values(self.study, point, result)
        metrics = {name: values.column(name) for name in self.study.metrics}
        broken = [c.text for c in self.study.constraints if c.value(values) is not True]
        status, reason = (VIOLATES, broken[0]) if broken else (OK, "")
        return Row(point.key, status, reason, shown, metrics, _note(result))

    def _shown(self, point: Point) -> dict[str, Any]:
        """The columns of the inputs; a chip's key that this point leaves is the chip's own."""
        found = {}
        for name in self.study.shown:
            if name in point.inputs:
                found[name] = point.inputs[name]
            else:
                found[name] = None if point.chip is None else of_chip(point.chip, name)
        return found


def whole_result(point: Point, stored: Stored) -> Result:
    """What metrics are functions of (see `metrics.py`)."""
    result = stored.result
    assert result is not None and point.job is not None
    return {
        "inputs": dict(point.inputs),
        "chip": point.chip,
        "model": point.job["model"],
        "program": result["program"],
        "phases": result["phases"],
        "technology": point.technology,
    }


def of_chip(chip: Any, key: str) -> Any:
    """The value of a dotted key of a chip's plain data."""
    for part in key.split("."):
        chip = chip[part]
    return chip


class _Values:
    """Names of expressions as numbers of base units."""

    def __init__(self, study: Study, point: Point, result: Result | None) -> None:
        self.study, self.point, self.result = study, point, result

    def __call__(self, name: str) -> float | str | None:
        if name in self.study.definitions:
            return self.study.definitions[name].value(self)
        if name in known():
            if self.result is None:
                return None
            value = known()[name].value(self.result)
            return None if value is None else value * known()[name].scale
        if name in inputs.chip_keys():
            return self._chip(name)
        found = self.point.inputs[name]
        return found if isinstance(found, int | float | str) else None

    def column(self, name: str) -> float | None:
        """A metric in its own unit, a definition in base units."""
        metric = self.study.metric(name)
        if metric is None:
            return self.study.definitions[name].value(self)
        assert self.result is not None
        return metric.value(self.result)

    def _chip(self, name: str) -> float | None:
        if self.point.chip is None:
            return None
        value = of_chip(self.point.chip, name)
        return None if isinstance(value, list) else float(value) * chip_unit(name).value


def _note(result: Result) -> str:
    """What of the timing is an estimate; empty: every layer and step was simulated."""
    parts = []
    program = result["program"]
    if program["layers_simulated"] < program["layers"]:
        parts.append(f"{program['layers_simulated']} of {program['layers']} layers simulated")
    for name, phase in result["phases"].items():
        if phase["estimated"]:
            parts.append(f"{phase['simulated']} of {phase['steps']} {name} steps simulated")
    if program["beyond_capacity"]:
        needed, there = (value / 1e9 for value in program["beyond_capacity"].values())
        parts.append(f"needs {needed:.1f} GB of HBM, there are {there:.1f}")
    return "; ".join(parts)
