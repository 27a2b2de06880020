"""A row: what is measured, what it is held against, and the bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from isa.errors import TesseraError

if TYPE_CHECKING:
    from emulator.bench.host import Host


class BenchError(TesseraError):
    """Something that cannot be measured: a row that there is not, a process that failed."""


@dataclass(frozen=True)
class Bar:
    """What a row's ratio has to be."""

    relation: str  #: ">=" or "<="
    limit: float

    def met(self, ratio: float) -> bool:
        """Whether a ratio is on the right side."""
        return ratio >= self.limit if self.relation == ">=" else ratio <= self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}"


@dataclass(frozen=True)
class Measured:
    """What came out of one row: `value` and `yardstick` in the row's unit; None: not measured."""

    value: float | None
    yardstick: float | None = None
    note: str = ""
    #: For a roofline: multiply-adds (or elements) of a call, the bytes it has to move, and on how
    #: many threads. A value in GB/s counts these bytes.
    operations: float | None = None
    bytes: float | None = None
    threads: int | None = None

    @property
    def ratio(self) -> float | None:
        """How much of the yardstick the value is."""
        if self.value is None or not self.yardstick:
            return None
        return self.value / self.yardstick


@dataclass(frozen=True)
class Entry:
    """A row that can be measured."""

    name: str
    unit: str
    measure: Callable[[Host], Measured]
    against: str = ""  #: what the yardstick is, for the table
    bar: Bar | None = None
    large: bool = False  #: only measured if asked for: it takes long, and much memory or disk


@dataclass(frozen=True)
class Row:
    """A row that has been measured."""

    entry: Entry
    measured: Measured

    def verdict(self) -> str:
        """`met` or `missed`; empty without a bar or without a value."""
        ratio = self.measured.ratio
        if self.entry.bar is None or ratio is None:
            return ""
        return "met" if self.entry.bar.met(ratio) else "missed"

    def json(self) -> dict[str, Any]:
        """The row as schema 1 has it."""
        row = asdict(
            JsonRow(
                self.entry.name,
                _rounded(self.measured.value),
                self.entry.unit,
                _rounded(self.measured.yardstick),
                _rounded(self.measured.ratio),
            )
        )
        return row | {key: value for key, value in self._optional().items() if value}

    def _optional(self) -> dict[str, Any]:
        """What a row may have beyond these, for tables and pictures."""
        entry, measured = self.entry, self.measured
        return {
            "of": entry.against,
            "bar": str(entry.bar or ""),
            "verdict": self.verdict(),
            "operations": _rounded(measured.operations),
            "bytes": _rounded(measured.bytes),
            "threads": measured.threads,
            "note": measured.note,
        }


@dataclass(frozen=True)
class JsonRow:
    """The fields that every row has in a file."""

    name: str
    value: float | None
    unit: str
    yardstick: float | None
    ratio: float | None


def _rounded(number: float | None) -> float | None:
    """Six digits: no clock knows more."""
    return None if number is None else float(f"{number:.6g}")
