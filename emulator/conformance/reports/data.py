"""The report as JSON; docs/cli.md says what the keys mean."""

from __future__ import annotations

from typing import Any, Final

from emulator.conformance.judge import Status
from emulator.conformance.reports.coverage import states
from emulator.conformance.reports.report import Report

SCHEMA: Final = 1


def data(report: Report) -> dict[str, Any]:
    """What `--json` writes."""
    run = report.run
    return {
        "schema": SCHEMA,
        "device": report.device,
        "kit": report.facts,
        "complete": len(report.verdicts) == len(report.entries),
        "seconds": round(run.seconds, 3),
        "resumed": run.resumed,
        "totals": _counts(report, None),
        "profiles": {profile: _counts(report, profile) for profile in report.profiles},
        "coverage": {state.point: state.verdict for state in states(report)},
        "cases": [_case(report, entry.name) for entry in report.entries],
    }


def _counts(report: Report, profile: str | None) -> dict[str, int]:
    counts = report.counts(profile)
    return {"cases": report.asked(profile), **{s.value: counts[s] for s in Status}}


def _case(report: Report, name: str) -> dict[str, Any]:
    verdict = report.verdicts.get(name)
    if verdict is None:
        return {"name": name, "verdict": "not run"}
    return {
        "name": name,
        "verdict": verdict.status.value,
        "detail": verdict.detail,
        "seconds": verdict.seconds,
        "output": verdict.output,
    }
