"""What the errors rest on: every constant of a set's chip moved, one at a time.

The programs are compiled for the moved chip as for any other; so a constant that the compiler looks
at counts with what the compiler makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulator.validate.case import Set
from emulator.validate.errors import errors
from emulator.validate.run import Runner, Task
from isa.chip import Chip, load_chip
from isa.errors import TesseraError
from isa.schema import leaves

SHARE = 0.2
MOST_ROWS = 40  #: of a set
SMALL = 5  #: whole numbers below this are moved by one instead
#: Sizes, names and what another chip would be: not constants of a model of time.
LEFT_OUT = ("name", "clusters", "tiles_per_cluster", "mesh.", "scale_up.", "tile.tsram.bytes",
            "tile.acc.bytes", "cluster.csram.bytes", "hbm.bytes", "tile.dma.channels",
            "tile.mxu.splits")  # fmt: skip


@dataclass(frozen=True)
class Move:
    """A constant with another value."""

    path: str
    base: Any
    value: Any


@dataclass(frozen=True)
class Effect:
    """A constant, and the set's MAPE at less and at more of it (None: the chip cannot have it)."""

    path: str
    base: Any
    less: float | None
    more: float | None

    def largest(self, mape: float) -> float:
        """By how much the error moves at most."""
        return max((abs(v - mape) for v in (self.less, self.more) if v is not None), default=0.0)


def moves(chip: Chip) -> list[tuple[Move, Move]]:
    """Every constant, at less and at more."""
    found = []
    for path in leaves(Chip):
        if not path.startswith(LEFT_OUT) or path.startswith("hbm.bytes_per"):
            base = _value(chip, path)
            less, more = _around(base)
            found.append((Move(path, base, less), Move(path, base, more)))
    return found


def _value(chip: Chip, path: str) -> Any:
    value: Any = asdict(chip)
    for key in path.split("."):
        value = value[key]
    return value


def _around(base: Any) -> tuple[Any, Any]:
    if isinstance(base, bool):
        return not base, not base
    if isinstance(base, int):
        step = 1 if base < SMALL else round(base * SHARE)
        return base - step, base + step
    return base * (1 - SHARE), base * (1 + SHARE)


def rows(chosen: Set) -> list[int]:
    """The cases that are predicted again and again: those that count and are not heavy.

    Of a large set every so-manieth, so that it takes minutes.
    """
    cases = chosen.cases
    counted = [i for i in chosen.expressible if not cases[i].fitting and not cases[i].heavy]
    return counted[:: -(-len(counted) // MOST_ROWS) or 1]


def sensitivity(chosen: Set, data: Path | None, run: Runner) -> tuple[float | None, list[Effect]]:
    """The MAPE of the set's `rows`, and every constant's effect on it."""
    counted = rows(chosen)
    pairs = moves(load_chip(chosen.chip))
    base = _mape(chosen, counted, run([Task(chosen.name, i, data) for i in counted]))
    tasks, owners = [], []
    for number, pair in enumerate(pairs):
        for side, move in enumerate(pair):
            if _possible(chosen.chip, move):
                tasks += [Task(chosen.name, i, data, {move.path: move.value}) for i in counted]
                owners.append((number, side))
    values = run(tasks)
    found: dict[tuple[int, int], float | None] = {}
    for place, owner in enumerate(owners):
        part = values[place * len(counted) : (place + 1) * len(counted)]
        found[owner] = _mape(chosen, counted, part)
    effects = [
        Effect(pair[0].path, pair[0].base, found.get((i, 0)), found.get((i, 1)))
        for i, pair in enumerate(pairs)
    ]
    return base, effects


def count(chosen: Set) -> int:
    """About how many predictions that takes."""
    return len(rows(chosen)) * (1 + 2 * len(moves(load_chip(chosen.chip))))


def _possible(chip: str, move: Move) -> bool:
    try:
        load_chip(chip).with_(**{move.path: move.value})
    except TesseraError:
        return False
    return True


def _mape(chosen: Set, counted: Sequence[int], values: Sequence[float]) -> float | None:
    pairs = zip(values, (chosen.cases[i].measured for i in counted), strict=True)
    return errors(list(pairs)).mape


def table(name: str, mape: float | None, effects: Sequence[Effect]) -> Iterator[str]:
    """The constants that move the set's error, the strongest first."""
    base = mape or 0.0
    yield f"{name}: MAPE {100 * base:.1f} %; with a constant at 0.8 and at 1.2 of its value:"
    strongest = sorted(effects, key=lambda e: -e.largest(base))
    shown = [e for e in strongest if e.largest(base) >= 5e-4]
    for effect in shown:
        less, more = (_cell(v) for v in (effect.less, effect.more))
        yield f"  {effect.path:34} {effect.base!s:>12} {less:>9} {more:>9}"
    yield f"  {len(effects) - len(shown)} others move it by less than 0.05 points"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
