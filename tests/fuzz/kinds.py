"""What a kind of fuzzing is: a function of a seed that raises if it finds something.

Modules that define kinds put them into `KINDS` by `kind(...)`; `fuzz.catalogue` imports them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Checks one item: returns the names of what it met, for the tables; raises for a finding.
Check = Callable[[int], Iterable[str]]


@dataclass(frozen=True)
class Kind:
    """One kind of fuzzing. An item is what one seed makes."""

    name: str
    what: str
    check: Check
    count: int  # items of a full run
    batch: int  # items checked by one process
    milliseconds: float  # of an item, as a first guess
    programs: bool = False  # an item is a program that runs; otherwise it is an input
    weight: int = 1  # inputs in an item
    seconds: float = 2.0  # of processor time that an item may take
    memory: bool = True  # whether an item's memory is limited to what its size justifies
    bounds: bool = False  # runs in a process with NUMBA_BOUNDSCHECK=1
    prepare: Callable[[], None] = lambda: None  # once, before processes are forked
    data: Callable[[int], bytes] | None = None  # the input of a seed, to be looked at


KINDS: dict[str, Kind] = {}


def kind(entry: Kind) -> None:
    """Add a kind."""
    if entry.name in KINDS:
        raise ValueError(f"{entry.name} is defined twice")
    KINDS[entry.name] = entry
