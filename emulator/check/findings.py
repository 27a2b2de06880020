"""What the checker found, in words: a title, the instructions, the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.check import layout as at
from isa.disassembler import disassemble_word
from isa.faults import DMA0, NUM_UNITS, unit_name
from isa.program import Program

RACE, UNWRITTEN, UNBALANCED, DEADLOCK = "race", "unwritten", "unbalanced", "deadlock"
MOST = 20  # findings that are printed

#: What the first and the second instruction of a finding do.
_DOES = {
    at.UNWRITTEN: ("reads", ""),
    at.READ_OF_WRITE: ("writes", "reads"),
    at.WRITE_OVER_READ: ("reads", "writes"),
    at.WRITE_OVER_WRITE: ("writes", "writes"),
}
_TITLES = {
    at.UNWRITTEN: "a read of bytes that were never written",
    at.READ_OF_WRITE: "a read that does not wait for the write",
    at.WRITE_OVER_READ: "a write into a buffer still in use",
    at.WRITE_OVER_WRITE: "two writes in no order",
}
_DMA_TITLE = "a DMA into a buffer still in use"


@dataclass(frozen=True)
class Site:
    """An instruction of a finding: where it is, and what it does there."""

    tile: int
    unit: int
    pc: int
    does: str


@dataclass(frozen=True)
class Bytes:
    """Bytes [first, beyond) of a space; `place` says whose: a tile, a cluster, a region's name."""

    space: str
    place: int | str
    first: int
    beyond: int

    def __str__(self) -> str:
        owner = {"HBM": "region", "CSRAM": "cluster"}.get(self.space, "tile")
        return (
            f"{self.space} of {owner} {self.place}, bytes {self.first:#x} to {self.beyond:#x} "
            f"({self.beyond - self.first})"
        )


@dataclass
class Finding:
    """One finding: its kind, its first example, and how often there was one like it."""

    kind: str
    title: str
    sites: tuple[Site, ...]
    times: int = 1
    bytes: Bytes | None = None
    details: list[str] = field(default_factory=list)

    @property
    def pcs(self) -> tuple[int, ...]:
        """The instructions, in the order of the sites."""
        return tuple(site.pc for site in self.sites)

    def lines(self, program: Program) -> Iterator[str]:
        """The finding for people; its first line is the title."""
        often = "" if self.times == 1 else f"; {self.times:,} times, first"
        yield f"{self.kind}: {self.title}{often}"
        for site in () if self.details else self.sites:  # details name them already
            yield f"  {unit_of(site)}, pc {site.pc}{_does(site)}: {instruction(program, site.pc)}"
        if self.bytes is not None:
            yield f"  {self.bytes}"
        yield from (f"  {detail}" for detail in self.details)

    def json(self, program: Program) -> dict[str, Any]:
        """The finding as docs/report.md has it."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "title": self.title,
            "times": self.times,
            "instructions": [
                {
                    "tile": site.tile,
                    "unit": unit_name(site.unit),
                    "pc": site.pc,
                    "does": site.does,
                    "text": text_of(program, site.pc),
                    "operation": program.op_name(site.pc),
                }
                for site in self.sites
            ],
            "bytes": None,
            "details": self.details,
        }
        if self.bytes is not None:
            shown["bytes"] = vars(self.bytes)
        return shown


def memory_findings(rows: NDArray[np.int64], program: Program) -> list[Finding]:
    """Races and reads of unwritten bytes, of the checker's rows.

    A read that a later write should have come before is a race; that nobody had written yet when
    the checker came to it is no second finding.
    """
    raced = {
        pc
        for row in rows.tolist()
        for pc, does in zip(row[at.F_PC :], _DOES[row[at.F_KIND]], strict=False)
        if row[at.F_KIND] != at.UNWRITTEN and does == "reads"
    }
    return [
        _memory_finding(row, program)
        for row in rows.tolist()
        if row[at.F_KIND] != at.UNWRITTEN or row[at.F_PC] not in raced
    ]


def _memory_finding(row: list[int], program: Program) -> Finding:
    kind = row[at.F_KIND]
    sites = [_site(row[at.F_THREAD], row[at.F_PC], _DOES[kind][0])]
    if row[at.F_OTHER_PC] >= 0:
        sites.append(_site(row[at.F_OTHER_THREAD], row[at.F_OTHER_PC], _DOES[kind][1]))
    into_use = kind == at.WRITE_OVER_READ and sites[1].unit >= DMA0
    return Finding(
        UNWRITTEN if kind == at.UNWRITTEN else RACE,
        _DMA_TITLE if into_use else _TITLES[kind],
        tuple(sites),
        row[at.F_COUNT],
        _bytes(row, program),
    )


def _site(thread: int, pc: int, does: str) -> Site:
    return Site(thread // NUM_UNITS, thread % NUM_UNITS, pc, does)


def _bytes(row: list[int], program: Program) -> Bytes:
    place, first, beyond = row[at.F_PLACE], row[at.F_LOW], row[at.F_HIGH]
    if place < at.REGIONS:
        return Bytes(("CSRAM", "TSRAM", "ACC")[place], row[at.F_OWNER], first, beyond)
    region = program.region_at(first)
    return Bytes("HBM", region.name if region is not None else "?", first, beyond)


# ---- words


def unit_of(site: Site) -> str:
    """A tile's unit."""
    return f"tile {site.tile} {unit_name(site.unit)}"


def _does(site: Site) -> str:
    return f" {site.does}" if site.does else ""


def instruction(program: Program, pc: int) -> str:
    """An instruction's text and the graph operation it came from."""
    op = program.op_name(pc)
    return f"`{text_of(program, pc)}`" + (f" of {op}" if op else "")


def text_of(program: Program, pc: int) -> str:
    """An instruction's text."""
    return _text(int(program.code[pc][0]), int(program.code[pc][1]))


@cache
def _text(low: int, high: int) -> str:
    return disassemble_word(low, high)
