"""What each technique of the schedule is worth: cycles without it over cycles with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.options import TECHNIQUES
from emulator.bench.chip.rows import ChipRow
from emulator.bench.chip.step import Advance, Setting, run
from isa.errors import TesseraError

#: What is left out -> the change of `compiler.options.Options` that leaves it out.
OFF: dict[str, dict[str, Any]] = {
    **{name: {"without": (name,)} for name in TECHNIQUES},
    "split": {"split": 1},  # the array in one piece, however few rows there are
}
MEANINGS = TECHNIQUES | {"split": "the array is divided for steps of few rows"}


@dataclass(frozen=True)
class Gain:
    """A row without one technique."""

    row: str
    technique: str
    cycles: int | None  #: without it; None: there is no such program
    gain: float | None  #: those over the cycles with it
    note: str = ""

    def json(self) -> dict[str, Any]:
        """For the bench's JSON."""
        gain = None if self.gain is None else float(f"{self.gain:.6g}")
        found = {"row": self.row, "technique": self.technique, "cycles": self.cycles, "gain": gain}
        return found | ({"note": self.note} if self.note else {})


def gains(setting: Setting, row: ChipRow, advance: Advance) -> list[Gain]:
    """Every technique left out of a case that has been measured with all of them."""
    return [_gain(setting, row, name, advance) for name in OFF]


def _gain(setting: Setting, row: ChipRow, name: str, advance: Advance) -> Gain:
    case = row.case
    if case is None or row.cycles is None:
        advance(1)
        return Gain(row.name, name, None, None, row.row.measured.note)
    try:
        ran = run(setting, case, setting.options(case, **OFF[name]), advance)
    except TesseraError as error:
        return Gain(row.name, name, None, None, str(error))
    return Gain(row.name, name, ran.cycles, ran.cycles / row.cycles)


def heading(names: int) -> str:
    """The first line: cycles without over cycles with."""
    return f"{'row':{names}} " + " ".join(f"{name:>{_width(name)}}" for name in OFF)


def line(name: str, found: Sequence[Gain], names: int) -> str:
    """A row's gains."""
    cells = (
        f"{'-' if gain.gain is None else f'{gain.gain:.3f}':>{_width(gain.technique)}}"
        for gain in found
    )
    return f"{name:{names}} " + " ".join(cells)


def _width(name: str) -> int:
    return max(len(name), 7)


def legend() -> list[str]:
    """What each technique does."""
    return ["", *(f"  {name}: {meaning}" for name, meaning in MEANINGS.items())]
