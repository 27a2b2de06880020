"""A ledger: entries that sum to their total, each with how it was computed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emulator.explore.economics.values import EconomicsError, Value, weakest


@dataclass(frozen=True)
class Entry:
    """One line: `amount` of something at `rate` each is `value`, in the ledger's unit."""

    name: str
    amount: float
    unit: str  #: of the amount
    rate: float
    rate_unit: str
    value: float
    kind: str  #: measured, derived or estimate
    source: str

    @property
    def json(self) -> dict[str, Any]:
        """The entry as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Ledger:
    """Entries in one unit; none is negative, and the total is their sum."""

    what: str
    unit: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for entry in self.entries:
            if not (math.isfinite(entry.value) and entry.value >= 0):
                raise EconomicsError(
                    f"{self.what}: {entry.name}: {entry.value} {self.unit} makes no sense; "
                    "check the technology's values and the counts"
                )

    @property
    def total(self) -> float:
        """The entries' sum, rounded once."""
        return math.fsum(entry.value for entry in self.entries)

    @property
    def kind(self) -> str:
        """What the total is: an estimate if any entry that counts is one."""
        counted = [entry.kind for entry in self.entries if entry.value]
        return weakest(*counted) if counted else "derived"

    def entry(self, name: str) -> Entry:
        """An entry by its name. Raises EconomicsError naming those there are."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise EconomicsError(f"{self.what}: no entry {name!r}; there are {known}")

    @property
    def json(self) -> dict[str, Any]:
        """The ledger as plain data; `share` of each entry is that of the total."""
        total = self.total
        entries = [
            entry.json | {"share": entry.value / total if total else 0.0} for entry in self.entries
        ]
        return {"unit": self.unit, "total": total, "kind": self.kind, "entries": entries}


def entry(
    name: str, amount: float, unit: str, rate: Value, factor: float = 1.0, note: str = "",
    kinds: Iterable[str] = (),
) -> Entry:  # fmt: skip
    """`amount` at a sourced rate; `factor` converts to the ledger's unit and scales the rate.

    `note` says what the factor is; `kinds` are of other numbers that it depends on.
    """
    scaled = rate.value * factor
    source = f"{rate.source} ({rate.date})" + (f"; {note}" if note else "")
    kind = weakest(rate.kind, *kinds)
    return Entry(name, amount, unit, scaled, f"per {unit}", amount * scaled, kind, source)
