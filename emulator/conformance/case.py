"""A case of the kit: a program, and everything that must come out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.conformance.result import Result
from isa.chip import Chip
from isa.descriptor import Descriptor
from isa.program import Program

#: The groups in which a team can bring up its device. `full` is all of them.
PROFILES = ("mxu", "vpu", "quant", "dma", "control", "sync", "faults")


@dataclass(frozen=True)
class View:
    """Where a tensor lies within a symbol's bytes: the descriptor's base counts from its start."""

    name: str
    symbol: str
    descriptor: Descriptor
    result: bool  # what the operation writes; else what it reads


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

    @property
    def profile(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Maker:
    """A case that is not built yet: listing the kit costs nothing."""

    name: str
    make: Callable[[Chip, str], Case] = field(repr=False)
    full: bool = False

    def case(self, chip: Chip) -> Case:
        """Build it."""
        made = self.make(chip, self.name)
        assert made.name == self.name and made.full == self.full, self.name
        return made
