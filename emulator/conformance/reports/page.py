"""The report as one HTML file: no script, nothing from elsewhere.

It has the summary, what is wrong, what each point of the specification came to (coverage by
instruction, then the rules), and every case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Final

from emulator.conformance.judge import Status, Verdict
from emulator.conformance.reports.coverage import NOT_RUN, states
from emulator.conformance.reports.page_coverage import coverage_sections
from emulator.conformance.reports.report import Report

_STYLE: Final = Path(__file__).parents[1] / "assets" / "page.css"
_EXPLAINED: Final = 200  # failures with all there is to say
CLASSES: Final = {
    Status.PASS.value: "pass",
    Status.FAIL.value: "fail",
    Status.CRASHED.value: "fail",
    Status.TIMED_OUT.value: "fail",
    Status.UNSUPPORTED.value: "unsupported",
    NOT_RUN: "none",
}


def page(report: Report) -> str:
    """The page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = f"Tessera conformance: {report.device}"
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text()}</style>\n</head>\n<body>"
    yield "<header>"
    yield "<h1>Tessera conformance</h1>"
    yield f"<p>Device <code>{escape(report.device)}</code>, {escape(report.kit_line())}</p>"
    yield f"<p>{_result(report)}</p>"
    yield '<nav aria-label="Sections">' + _links(report) + "</nav>\n</header>\n<main>"
    yield from _summary(report)
    yield from _failures(report)
    yield from coverage_sections(states(report))
    yield from _cases(report)
    yield "</main>\n</body>\n</html>"


def _result(report: Report) -> str:
    counts, asked = report.counts(), len(report.entries)
    passed = counts[Status.PASS]
    kind = "pass" if passed == asked else "fail" if report.failures() else "unsupported"
    text = f"{passed} of {asked} cases pass"
    more = f" in {report.run.seconds:.1f} s" + (", interrupted" if report.run.interrupted else "")
    return f'<span class="p {kind}">{text}</span>{more}'


def _links(report: Report) -> str:
    parts = [("summary", "Summary")]
    if report.failures():
        parts.append(("failures", "What is wrong"))
    parts += [("instructions", "Instructions"), ("rules", "Rules"), ("cases", "Cases")]
    return " ".join(f'<a href="#{place}">{text}</a>' for place, text in parts)


def _summary(report: Report) -> Iterator[str]:
    yield '<section id="summary">\n<h2>Summary</h2>\n<div class="scroll">\n<table>'
    yield "<caption>How the cases of each profile ended</caption>"
    heads = ["cases", *(status.value for status in Status), NOT_RUN]
    cells = "".join(f'<th scope="col" class="n">{head}</th>' for head in heads)
    yield f'<thead><tr><th scope="col">profile</th>{cells}</tr></thead>\n<tbody>'
    for profile in [*report.profiles, None]:
        yield _count_row(report, profile)
    yield "</tbody>\n</table>\n</div>\n</section>"


def _count_row(report: Report, profile: str | None) -> str:
    counts, asked = report.counts(profile), report.asked(profile)
    numbers = [("", asked)]
    numbers += [(CLASSES[status.value], counts[status]) for status in Status]
    numbers.append(("none", asked - counts.total()))
    cells = "".join(
        f'<td class="n {kind if number else ""}">{number}</td>' for kind, number in numbers
    )
    head, kind = escape(profile or "all"), "" if profile else ' class="total"'
    return f'<tr{kind}><th scope="row">{head}</th>{cells}</tr>'


def _failures(report: Report) -> Iterator[str]:
    failures, notes = report.failures(), {entry.name: entry for entry in report.entries}
    if not failures:
        return
    yield f'<section id="failures">\n<h2>What is wrong: {len(failures)} cases</h2>'
    for verdict in failures[:_EXPLAINED]:
        entry = notes[verdict.case]
        yield from _explained(verdict, entry.note, entry.operation)
    if len(failures) > _EXPLAINED:
        yield f"<p>And {len(failures) - _EXPLAINED} more, in the tables of cases.</p>"
    yield "</section>"


def _explained(verdict: Verdict, note: str, operation: Iterable[str]) -> Iterator[str]:
    yield f'<article>\n<h3 class="name">{escape(verdict.case)}</h3>'
    yield f"<p>{chip(verdict.status.value)} {escape(verdict.detail)}</p>"
    if note:
        yield f'<p class="dim">{escape(note)}</p>'
    lines = "\n".join(operation)
    if lines:
        yield f"<pre>{escape(lines)}</pre>"
    if verdict.output.strip():
        yield "<details><summary>What the device printed</summary>"
        yield f"<pre>{escape(verdict.output)}</pre></details>"
    yield "</article>"


def chip(verdict: str) -> str:
    """A verdict as a coloured word."""
    return f'<span class="p {CLASSES[verdict]}">{verdict}</span>'


def _cases(report: Report) -> Iterator[str]:
    yield '<section id="cases">\n<h2>Cases</h2>'
    for profile in report.profiles:
        passed, asked = report.counts(profile)[Status.PASS], report.asked(profile)
        state = "" if passed == asked else " open"
        yield f"<details{state}>\n<summary>{escape(profile)}: {passed} of {asked} pass</summary>"
        yield '<div class="scroll">\n<table>'
        yield f"<caption>Cases of the profile {escape(profile)}</caption>"
        heads = '<th scope="col">case</th><th scope="col">verdict</th>'
        heads += '<th scope="col" class="n">seconds</th><th scope="col">what it is about</th>'
        yield f"<thead><tr>{heads}</tr></thead>\n<tbody>"
        yield from _rows(report, profile)
        yield "</tbody>\n</table>\n</div>\n</details>"
    yield "</section>"


def _rows(report: Report, profile: str) -> Iterator[str]:
    for entry in report.entries:
        if entry.profile != profile:
            continue
        verdict = report.verdicts.get(entry.name)
        word, seconds = (
            (verdict.status.value, f"{verdict.seconds:.2f}") if verdict else (NOT_RUN, "")
        )
        about = escape(entry.note)
        if verdict and verdict.detail:
            about += f'{"<br>" if about else ""}<span class="mono">{escape(verdict.detail)}</span>'
        yield (
            f'<tr><th scope="row" class="name mono">{escape(entry.name)}</th>'
            f'<td>{chip(word)}</td><td class="n">{seconds}</td><td>{about}</td></tr>'
        )
