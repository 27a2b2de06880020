"""A case of the kit: a program, and everything that must come out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from emulator.conformance.result import Result
from isa.chip import Chip
from isa.descriptor import Descriptor
from isa.program import Program

T = TypeVar("T")

#: The groups in which a team can bring up its device. `full` is all of them.
PROFILES = ("mxu", "vpu", "quant", "dma", "control", "sync", "faults")


@dataclass(frozen=True)
class View:
    """Where a tensor lies within a symbol's bytes: the descriptor's base counts from its start."""

    name: str
    symbol: str
    descriptor: Descriptor
    result: bool  # what the operation writes; else what it reads
    instruction: int | None = None  # the line of the case's `operation` whose operand it is
    operand: str = ""


@dataclass(frozen=True)
class Case:
    """One program with its expected result.

    ``name`` is `profile/instruction/what`. ``covers`` are the points of the specification that a
    wrong device would fail here (coverage.py says what points there are). ``image`` is the memory
    that the operation finds, for those who test a unit by itself: symbol `tsram` is what it
    leaves there, and ``operation`` says what it does in assembly.
    """

    name: str
    program: Program
    expected: Result
    covers: frozenset[str]
    note: str = ""
    views: tuple[View, ...] = ()
    image: bytes = b""
    operation: tuple[str, ...] = ()
    full: bool = False  # of the full suite only: it takes minutes
    seconds: float = 20.0  # what a slow device may take, as a default
    cut: bool = False  # whether `operation` is only the program's beginning

    @property
    def profile(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Maker:
    """A case that is not built yet: listing the kit costs nothing.

    A unit of a tile faults but once, so a case may want more ``tiles`` than a chip has. It is then
    made in parts, `NAME`, `NAME+1`, ...; `of_part` says what each of them holds.
    """

    name: str
    make: Callable[[Chip, str], Case] = field(repr=False)
    full: bool = False
    tiles: int = 1

    def case(self, chip: Chip) -> Case:
        """Build it."""
        made = self.make(chip, self.name)
        assert made.name == self.name and made.full == self.full, self.name
        return made

    def parts(self, chip: Chip) -> list[Maker]:
        """This case, or the parts that a chip with few tiles takes it in."""
        more = range(1, -(-self.tiles // chip.num_tiles))
        return [self, *(replace(self, name=f"{self.name}+{part}") for part in more)]


def of_part(items: Sequence[T], per_tile: int, chip: Chip, name: str) -> Sequence[T]:
    """What the part of this name holds of a case's items, so many of which fit on a tile."""
    size, part = per_tile * chip.num_tiles, int(name.partition("+")[2] or 0)
    return items[size * part : size * (part + 1)]
