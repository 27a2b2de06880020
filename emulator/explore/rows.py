"""Rows: a study's points with what was found, metrics, and whether they meet the constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from emulator.explore import inputs
from emulator.explore.evaluate import DONE, ERROR, INVALID
from emulator.explore.expressions import Expression
from emulator.explore.metrics import Result, known
from emulator.explore.point import Job, Point, key_of
from emulator.explore.quality.job import jobs_of
from emulator.explore.store import Stored
from emulator.explore.study import Study
from emulator.explore.units import chip_unit

_NONE: Final[Mapping[str, str]] = MappingProxyType({})

#: A note that is no estimate: whose quality it is.
PROXY: Final = "quality is tessera-tiny's in these formats"

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
        self._of_formats: dict[str, Any] = {}  # few, and large

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

    def jobs(self, point: Point) -> dict[str, Job]:
        """What must be known of a point, by key, where it is not forbidden.

        The last is its timing: those before it are of its formats, shared with other points.
        Raises StudyError.
        """
        if point.job is None or self.forbidden(point):
            return {}
        quality = dict(self._quality(point).values())
        return quality | {point.key: point.job}

    def _quality(self, point: Point) -> dict[str, tuple[str, Job]]:
        """The jobs of a point's formats, by what they are of, with their keys."""
        if not self.study.asks_quality:
            return {}
        found = jobs_of(point.inputs, self.study.points.version)
        return {name: (key_of(job), job) for name, job in found.items()}

    def row(
        self, point: Point, found: Mapping[str, Stored], errors: Mapping[str, str] = _NONE
    ) -> Row:
        """The row of a point; `found` is what the store has of its jobs, by key."""
        shown = self._shown(point)
        empty = dict.fromkeys(self.study.metrics)
        if point.job is None:
            return Row(point.key, INVALID, point.reason, shown, empty)
        forbidden = self.forbidden(point)
        if forbidden:
            return Row(point.key, VIOLATES, forbidden, shown, empty)
        for key in reversed(self.jobs(point)):
            stored = found.get(key)
            if stored is None:
                return Row(point.key, ERROR, errors.get(key, "not timed"), shown, empty)
            if stored.status != DONE:
                return Row(point.key, stored.status, stored.reason, shown, empty)
        return self._timed(point, found, shown)

    def _timed(self, point: Point, found: Mapping[str, Stored], shown: dict[str, Any]) -> Row:
        result = whole_result(point, found[point.key], self._measured(point, found))
        values = _Values(self.study, point, result)
        metrics = {name: values.column(name) for name in self.study.metrics}
        broken = [c.text for c in self.study.constraints if c.value(values) is not True]
        status, reason = (VIOLATES, broken[0]) if broken else (OK, "")
        return Row(point.key, status, reason, shown, metrics, _note(result))

    def _measured(self, point: Point, found: Mapping[str, Stored]) -> dict[str, Any] | None:
        """The results of a point's formats, by what they are of; None: nothing asks for them."""
        measured = {}
        for name, (key, _) in self._quality(point).items():
            if key not in self._of_formats:
                self._of_formats[key] = found[key].result
            measured[name] = self._of_formats[key]
        return measured or None

    def _shown(self, point: Point) -> dict[str, Any]:
        """The columns of the inputs; a chip's key that this point leaves is the chip's own."""
        found = {}
        for name in self.study.shown:
            if name in point.inputs:
                found[name] = point.inputs[name]
            else:
                found[name] = None if point.chip is None else of_chip(point.chip, name)
        return found


def whole_result(point: Point, stored: Stored, quality: dict[str, Any] | None = None) -> Result:
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
        "base": point.base,
        "quality": quality,
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
    least, single = program["layers_simulated"], program["layers_simulated_in_decode"]
    if least < program["layers"]:
        text = f"{least} of {program['layers']} layers simulated"
        parts.append(text if single == least else f"{text}, {single} in decode")
    for name, phase in result["phases"].items():
        if phase["estimated"]:
            parts.append(f"{phase['simulated']} of {phase['steps']} {name} steps simulated")
    if program["beyond_capacity"]:
        needed, there = (value / 1e9 for value in program["beyond_capacity"].values())
        parts.append(f"needs {needed:.1f} GB of HBM, there are {there:.1f}")
    if result["quality"]:
        parts.append(PROXY)
    return "; ".join(parts)
