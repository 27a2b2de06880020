"""The measurement as text: docs/conformance-strength.md, JSON, and a summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator.conformance.mutants.measure import Measured, Row
from emulator.conformance.mutants.seeded import groups

_HEAD = """\
<!-- Written by `make mutants`; edit emulator/conformance/mutants/ instead. -->

# How strong the conformance kit is

A kit that passes everything proves nothing. So errors are planted in the reference executor, and
the fast suite must notice each: the executor's source text is changed in memory, one place or a few
at a time, and the cases are run until one fails. `make mutants` does it again and writes this page;
`emu conformance strength --only NAME` does it for one.

"""
_SEEDED = """\
## Seeded faults

Errors that somebody could really make, written by hand. "Differs" means that a result, a fault or
a status bit is not the expected one; "crashed", that the executor gave up. The case is the first
that failed, of those that were tried.

"""
_DRAWN = """\
## Machine-made mutants

Each place of the reference executor where an operator, a comparison, a constant, a condition or a
statement can be changed is a possible mutant; there are {sites}. Left out is what no program can
see: types, texts of errors, retire records, diagnostics of undefined programs. {count} of them
were drawn with seed {seed}: first the kind of change, then the place.{stillborn}

"""


_COLUMNS = "| Fault | What is wrong | Verdict | Noticed by |\n|---|---|---|---|\n"


def markdown(measured: Measured) -> str:
    """The page."""
    parts = [_HEAD, "\n".join(f"- {line}" for line in summary(measured)) + "\n\n"]
    if measured.seeded:
        parts += [_SEEDED, *_seeded_tables(measured.seeded)]
    if measured.drawn:
        parts += [_drawn_text(measured), *_drawn_table(measured.drawn)]
    return "".join(parts).rstrip("\n") + "\n"


def summary(measured: Measured) -> list[str]:
    """The numbers, a line each."""
    lines = []
    if measured.seeded:
        killed = sum(row.killed for row in measured.seeded)
        lines.append(f"Seeded faults: {killed} of {len(measured.seeded)} are noticed.")
    if measured.drawn:
        killed = sum(row.killed for row in measured.drawn)
        argued = sum(not row.killed and row.good for row in measured.drawn)
        lines.append(
            f"Machine-made mutants: {killed} of {len(measured.drawn)} are noticed, and "
            f"{argued} give the bits they must."
        )
    lines.append(f"Cases of the fast suite: {measured.cases}.")
    return lines


def _seeded_tables(rows: list[Row]) -> Iterator[str]:
    by_name = {row.mutant.name: row for row in rows}
    for heading, mutants in groups():
        mine = [by_name[mutant.name] for mutant in mutants if mutant.name in by_name]
        if not mine:
            continue
        yield f"### {heading}\n\n{_COLUMNS}"
        yield from (
            f"| {row.mutant.name} | {_cell(row.mutant.what)} | {row.how} | {_killed_by(row)} |\n"
            for row in mine
        )
        yield "\n"


def _killed_by(row: Row) -> str:
    if row.killers:
        return f"`{row.finding.case}` and {len(row.killers) - 1} more"
    return f"`{row.finding.case}`" if row.killed else "nothing"


def _drawn_text(measured: Measured) -> str:
    skipped = (
        f" {measured.stillborn} more were drawn that no longer load, and were left out."
        if measured.stillborn
        else ""
    )
    return _DRAWN.format(
        sites=measured.sites, count=len(measured.drawn), seed=measured.seed, stillborn=skipped
    )


def _drawn_table(rows: list[Row]) -> Iterator[str]:
    yield "| Mutant | Place | Change | Verdict | Noticed by, or why not |\n|---|---|---|---|---|\n"
    for row in rows:
        site = row.site
        assert site is not None
        change = f"`{_cell(site.before)}` becomes `{_cell(site.after)}`"
        why = _killed_by(row) if row.killed else _cell(row.argument) or "nothing"
        yield f"| {site.name} | {site.place} | {change} | {row.how} | {why} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def data(measured: Measured) -> dict[str, Any]:
    """The same for programs."""
    return {
        "cases": measured.cases,
        "seed": measured.seed,
        "sites": measured.sites,
        "stillborn": measured.stillborn,
        "seeded": [_row(row) for row in measured.seeded],
        "drawn": [_row(row) for row in measured.drawn],
    }


def _row(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.mutant.name,
        "what": row.mutant.what,
        "verdict": row.how,
        "case": row.finding.case,
        "detail": row.finding.detail,
        "seconds": row.finding.seconds,
    }
    if row.argument:
        found["argument"] = row.argument
    if row.killers:
        found["killers"] = list(row.killers)
    return found
