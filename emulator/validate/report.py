"""What `emu validate` found: rows and errors of every set, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emulator.validate.case import Set
from emulator.validate.errors import Errors, errors

SCHEMA = 1


@dataclass(frozen=True)
class Found:
    """A set with its predictions, by the number of the case, and all that stands beside them."""

    set: Set
    predicted: Mapping[int, float]
    others: Mapping[str, Mapping[int, float]]

    @property
    def counted(self) -> list[int]:
        """The cases the errors are of: predicted, and not used for fitting."""
        return [i for i in self.predicted if not self.set.cases[i].fitting]

    @property
    def errors(self) -> Errors:
        """Our errors."""
        return self._errors(self.predicted)

    @property
    def published(self) -> dict[str, Errors]:
        """Others' errors, each on those counted cases it has a value for."""
        return {name: self._errors(values) for name, values in self.others.items()}

    def _errors(self, values: Mapping[int, float]) -> Errors:
        cases = self.set.cases
        return errors([(values[i], cases[i].measured) for i in self.counted if i in values])


def found(chosen: Set, predicted: Mapping[int, float]) -> Found:
    """A set with its predictions, and its baselines computed."""
    others: dict[str, dict[int, float]] = {}
    for index, case in enumerate(chosen.cases):
        for name, value in case.others.items():
            others.setdefault(name, {})[index] = value
    for name, values in (chosen.baselines() if chosen.baselines else {}).items():
        others[name] = {i: value for i, value in enumerate(values) if value is not None}
    return Found(chosen, dict(sorted(predicted.items())), others)


def as_json(results: Sequence[Found], skipped: Mapping[str, str]) -> dict[str, Any]:
    """Schema 1: the errors of every set, fractions; and beyond what it promises, the rows."""
    return {
        "schema": SCHEMA,
        "sets": [_set_json(result) for result in results],
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped.items()],
    }


def _set_json(result: Found) -> dict[str, Any]:
    chosen = result.set
    return {
        "name": chosen.name,
        **asdict(result.errors),
        "chip": chosen.chip,
        "unit": chosen.unit,
        "citation": chosen.citation,
        "published": {name: asdict(found) for name, found in result.published.items()},
        "cases": [_case_json(result, index) for index in range(len(chosen.cases))],
    }


def _case_json(result: Found, index: int) -> dict[str, Any]:
    case = result.set.cases[index]
    predicted = result.predicted.get(index)
    return {
        "name": case.name,
        "measured": case.measured,
        "predicted": predicted,
        "error": None if predicted is None else predicted / case.measured - 1,
        "fitting": case.fitting,
        "note": case.note,
        "others": {name: v[index] for name, v in result.others.items() if index in v},
    }
