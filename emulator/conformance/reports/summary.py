"""The summary on the terminal: counts by profile, and what is wrong first."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.conformance.judge import Status, Verdict
from emulator.conformance.reports.report import Report

_EXPLAINED = 10  # failures
_LISTED = 10  # unsupported cases
_OUTPUT_LINES = 3  # of what a crashed device printed


def summary(report: Report) -> str:
    """Everything that a terminal shows at the end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.device}: {report.kit_line()}"
    yield ""
    yield from table(report)
    yield from _failures(report)
    yield from _unsupported(report)
    yield ""
    yield _end(report)


def table(report: Report) -> list[str]:
    """Counts of verdicts, a line for each profile."""
    rows = [["profile", "cases", *(status.value for status in Status)]]
    for profile in [*report.profiles, None]:
        counts = report.counts(profile)
        cells = [str(counts[status]) for status in Status]
        rows.append([profile or "all", str(report.asked(profile)), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _failures(report: Report) -> Iterator[str]:
    failures = report.failures()
    if failures:
        yield ""
    for verdict in failures[:_EXPLAINED]:
        yield from _explained(verdict)
    if len(failures) > _EXPLAINED:
        yield f"and {len(failures) - _EXPLAINED} more; --html or --json has them all"


def _explained(verdict: Verdict) -> Iterator[str]:
    yield f"{verdict.status.value}: {verdict.case}"
    yield from (f"    {line}" for line in verdict.detail.splitlines())
    if verdict.status is Status.CRASHED:
        lines = [line for line in verdict.output.splitlines() if line.strip()]
        yield from (f"    | {line[:160]}" for line in lines[-_OUTPUT_LINES:])


def _unsupported(report: Report) -> Iterator[str]:
    found = report.of(Status.UNSUPPORTED)
    if found:
        yield ""
    for verdict in found[:_LISTED]:
        yield f"unsupported: {verdict.case}" + (f": {verdict.detail}" if verdict.detail else "")
    if len(found) > _LISTED:
        yield f"and {len(found) - _LISTED} more that are unsupported"


def _end(report: Report) -> str:
    run = report.run
    note = f"{run.note}\n" if run.note else ""
    done, asked = len(report.verdicts), len(report.entries)
    text = note + f"{report.counts()[Status.PASS]} of {asked} pass, in {run.seconds:.1f} s"
    if run.resumed:
        text += f"; {run.resumed} were done by an earlier run"
    if run.interrupted:
        text += f"; stopped after {done}: the same command goes on"
    return text
