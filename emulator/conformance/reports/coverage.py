"""What a run says about each point of the specification."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.conformance.coverage import points
from emulator.conformance.judge import Status
from emulator.conformance.reports.report import Report

NOT_RUN = "not run"


@dataclass(frozen=True)
class PointState:
    """A point: how many of the cases that cover it were run, and how many passed."""

    point: str
    verdict: str  # pass, fail, unsupported, or NOT_RUN
    passed: int
    run: int
    meaning: str = ""


def states(report: Report) -> list[PointState]:
    """Every point there is, and those that the kit covers beyond, in order."""
    meanings = points()
    by_point: dict[str, list[Status]] = {point: [] for point in meanings}
    for entry in report.entries:
        verdict = report.verdicts.get(entry.name)
        for point in entry.covers:
            found = by_point.setdefault(point, [])
            if verdict is not None:
                found.append(verdict.status)
    return [
        _state(point, found, meanings.get(point, "")) for point, found in sorted(by_point.items())
    ]


def _state(point: str, found: list[Status], meaning: str) -> PointState:
    passed = found.count(Status.PASS)
    if not found:
        verdict = NOT_RUN
    elif passed == len(found):
        verdict = Status.PASS.value
    elif passed + found.count(Status.UNSUPPORTED) == len(found):
        verdict = Status.UNSUPPORTED.value
    else:
        verdict = Status.FAIL.value
    return PointState(point, verdict, passed, len(found), meaning)
