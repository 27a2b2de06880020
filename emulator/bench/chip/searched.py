"""Each row with a tiling that was searched for it, beside the compiler's own rules.

A row is one step, whose cycles move by chance; what a tiling is worth is therefore said by the mean
over steps near it that the search has not seen (`emulator.search`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from compiler.errors import CompileError
from emulator.bench.chip import table
from emulator.bench.chip.rows import ChipRow, measured_row
from emulator.bench.chip.step import Setting
from emulator.search import table as search_table
from emulator.search.found import Found, Limits, search
from emulator.search.steps import Step
from emulator.search.subject import Subject
from isa.errors import TesseraError


@dataclass(frozen=True)
class Searched:
    """A row of the bench with the best tiling of a search; no row where there is no program."""

    name: str  #: of the row with the rules
    chip: str
    found: Found | None
    row: ChipRow | None
    note: str = ""

    def json(self) -> dict[str, Any]:
        """For the bench's JSON."""
        head: dict[str, Any] = {"row": self.name, "chip": self.chip}
        if self.found is None or self.row is None:
            return head | {"note": self.note}
        row = self.row.json()
        kept = ("cycles", "over_bound", "utilisation", "ratio")
        return head | {name: row[name] for name in kept} | self.found.json()


def searched(setting: Setting, row: ChipRow, rate: float, limits: Limits) -> Searched:
    """The row of a case with the best tiling for it; the row itself stays as it is."""
    case = row.case
    if case is None or row.cycles is None:
        return Searched(row.name, row.chip, None, None, row.row.measured.note)
    subject = Subject(case.config, setting.chip, setting.options(case), ignore_capacity=True)
    step = Step(case.phase, case.batch, case.context)
    try:
        found = search(subject, [step], limits, f"{row.name}, searching")
    except TesseraError as error:
        return Searched(row.name, row.chip, None, None, str(error))
    best = measured_row(replace(setting, tiling=found.tiling), case, rate)
    if best.cycles is None:
        raise CompileError(f"internal: {row.name} of a search: {best.row.measured.note}")
    return Searched(row.name, row.chip, found, best.named(f"{row.name}, searched"))


def lines(one: Searched) -> Iterator[str]:
    """What was tried for a row; then the row with the best tiling."""
    if one.found is None or one.row is None:
        yield f"{one.name}: {one.note}"
        return
    yield from search_table.lines(one.found)
    width = len(one.row.name)
    yield from ["", table.heading(width), *table.lines(one.row, width)]
