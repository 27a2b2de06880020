"""A whole measurement: seeded faults, drawn mutants, and the arguments for those that survive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml

from emulator.conformance.mutants.bench import Bench
from emulator.conformance.mutants.change import Mutant
from emulator.conformance.mutants.journal import Finding
from emulator.conformance.mutants.operators import Site, all_sites, drawn
from emulator.conformance.mutants.seeded import seeded
from emulator.errors import InputError

ARGUMENTS: Final = Path(__file__).with_name("equivalent.yaml")


@dataclass(frozen=True)
class Row:
    """A mutant and what became of it."""

    mutant: Mutant
    finding: Finding
    site: Site | None = None  # of one that was drawn
    argument: str = ""  # why it can survive
    killers: tuple[str, ...] = ()  # if all of them were asked for

    @property
    def killed(self) -> bool:
        """Whether some case failed."""
        return bool(self.finding.case)

    @property
    def good(self) -> bool:
        """Killed, or equivalent."""
        return self.killed or bool(self.argument)

    @property
    def how(self) -> str:
        """How it was found out."""
        if not self.killed:
            return "equivalent" if self.argument else "SURVIVES"
        first = self.finding.detail.partition(":")[0]
        return first if first in ("crashed", "timed out") else "differs"


@dataclass
class Measured:
    """Everything that is known at the end."""

    seeded: list[Row] = field(default_factory=list)
    drawn: list[Row] = field(default_factory=list)
    seed: int = 0
    stillborn: int = 0  # drawn, and no executor at all
    sites: int = 0
    cases: int = 0

    @property
    def survivors(self) -> list[Row]:
        """Mutants that nothing kills, and nobody can say why."""
        return [row for row in (*self.seeded, *self.drawn) if not row.good]


def arguments() -> dict[str, str]:
    """Name of a mutant -> why it is equivalent. Raises InputError for a name that is none."""
    read: dict[str, Any] = yaml.safe_load(ARGUMENTS.read_text(encoding="utf-8")) or {}
    names = {site.name for site in all_sites()}
    stale = sorted(name for name in read if name not in names)
    if stale:
        raise InputError(f"{ARGUMENTS.name}: no such mutant: {', '.join(stale)}")
    return {name: " ".join(str(text).split()) for name, text in read.items()}


def seeded_rows(bench: Bench, only: Sequence[str] = ()) -> list[Row]:
    """The seeded faults, or those of them whose names match."""
    wanted = [mutant for mutant in seeded() if _wanted(mutant.name, only)]
    found = bench.measure(wanted)
    stillborn = [name for name, finding in found.items() if not finding.loads]
    if stillborn:
        raise InputError(f"a seeded fault must load: {', '.join(stillborn)}")
    return [Row(mutant, found[mutant.name]) for mutant in wanted]


def drawn_rows(bench: Bench, seed: int, count: int) -> tuple[list[Row], int]:
    """Machine-made mutants, and how many of those drawn could not even be loaded."""
    rows: list[Row] = []
    stillborn = 0
    order = drawn(all_sites(), seed)
    while len(rows) < count:
        sites = list(_take(order, count - len(rows)))
        if not sites:
            break
        found = _site_rows(bench, sites)
        rows += [row for row in found if row.finding.loads]
        stillborn += sum(not row.finding.loads for row in found)
    return rows, stillborn


def named_rows(bench: Bench, only: Sequence[str]) -> list[Row]:
    """Machine-made mutants by name."""
    return _site_rows(bench, [site for site in all_sites() if _wanted(site.name, only)])


def _site_rows(bench: Bench, sites: Sequence[Site]) -> list[Row]:
    why = arguments()
    found = bench.measure([site.mutant() for site in sites])
    return [Row(s.mutant(), found[s.name], s, why.get(s.name, "")) for s in sites]


def _take(sites: Iterator[Site], count: int) -> Iterable[Site]:
    for _, site in zip(range(count), sites, strict=False):
        yield site


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatchcase(name, pattern) for pattern in only)
