"""What a search found: what was tried, and what the best is worth where it was not searched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.tiling import RULES, Tiling
from emulator.progress import progress
from emulator.search.steps import HELD_OUT, SEARCHED, Step
from emulator.search.subject import Subject, Timer, timer
from emulator.search.walk import Tried, Walk, mean_of_ratios
from isa.errors import TesseraError

SCHEMA = 1


@dataclass(frozen=True)
class Limits:
    """How long a search may take: programs, the default among them; and by which chance."""

    programs: int
    seed: int = 0
    jobs: int = 1  #: processes; no result depends on it


@dataclass(frozen=True)
class Measured:
    """A step's mean cycles over the near steps held out: with the rules, and with what was found"""

    step: Step
    rules: float
    found: float

    @property
    def over(self) -> float:
        """Cycles over those with the rules."""
        return self.found / self.rules


@dataclass(frozen=True)
class Found:
    """The result of a search. `best` is by the steps searched on, `measured` by those held out."""

    subject: Subject
    limits: Limits
    tried: tuple[Tried, ...]
    best: Tried
    measured: tuple[Measured, ...]
    timed: int  #: steps that this run timed
    known: int  #: that were known

    @property
    def over(self) -> float:
        """Cycles of the best over the rules', held out, steps counting alike."""
        return mean_of_ratios([each.over for each in self.measured])

    @property
    def tiling(self) -> Tiling:
        """The best tiling; the rules, if it is no better where it was not searched on."""
        return self.best.tiling if self.over < 1 else RULES

    @property
    def programs(self) -> int:
        """That were made."""
        return sum(not each.planned for each in self.tried)

    def json(self) -> dict[str, Any]:
        """For files: the same for the same search, whatever was known before."""
        return {
            "schema": SCHEMA,
            "chip": self.subject.chip.name,
            "seed": self.limits.seed,
            "budget": self.limits.programs,
            "programs": self.programs,
            "less": {"searched": list(SEARCHED), "held_out": list(HELD_OUT)},
            "tiling": self.tiling.given(),
            "over": _six(self.over),
            "steps": [
                {
                    "step": str(each.step),
                    "rules": each.rules,
                    "found": each.found,
                    "over": _six(each.over),
                }
                for each in self.measured
            ],
            "tried": [_tried(each) for each in self.tried],
        }


def _tried(each: Tried) -> dict[str, Any]:
    found: dict[str, Any] = {"tiling": each.tiling.given()}
    if each.reason:
        return found | {"status": "refused", "reason": each.reason}
    status = "given up" if each.partly else "timed"
    return found | {"status": status, "cycles": list(each.cycles), "over": _six(each.over)}


def _six(number: float) -> float:
    return float(f"{number:.6g}")


def search(subject: Subject, steps: Sequence[Step], limits: Limits, label: str) -> Found:
    """The best tiling for the steps. Raises TesseraError where the subject cannot take them."""
    with (
        timer(subject, limits.jobs) as clock,
        progress(label, limits.programs, log=True) as advance,
    ):
        walk = Walk(clock, steps, limits.programs, limits.seed, advance)
        best = walk.run()
        measured = _held_out(clock, steps, best.tiling)
        counts = len(clock.timed), len(clock.known)
        return Found(subject, limits, tuple(walk.tried), best, tuple(measured), *counts)


def _held_out(clock: Timer, steps: Sequence[Step], best: Tiling) -> list[Measured]:
    """What each step takes, on the average of those near it that were not searched on."""
    found = []
    for step in steps:
        near = step.near(HELD_OUT)
        means = []
        for times in clock.times([(RULES, near), (best, near)]):
            for time in times:
                if isinstance(time, str):
                    raise TesseraError(f"{step}: {time}")
            means.append(sum(float(time) for time in times) / len(times))
        found.append(Measured(step, *means))
    return found
