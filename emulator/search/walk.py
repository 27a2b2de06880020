"""The search: coordinate descent from the compiler's rules, then from random places near the best.

One knob after the other, in an order drawn by the seed, takes the values near its present one; all
of them are timed together, and the best is kept if it is better by more than chance. When no knob
helps, those that are not worth it go back to their rules, and some others are turned at random.
What is timed next follows from times alone, never from which came first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from compiler.errors import CompileError
from compiler.tiling import RULES, Tiling
from emulator.search import space
from emulator.search.steps import SEARCHED, Step
from emulator.search.subject import Time, Timer
from isa.errors import TesseraError

LEAST_GAIN: Final = 0.002  #: what the mean over SEARCHED moves by chance, about (estimate)
#: So much slower in the first of the near steps, a tiling is not timed in the others: a single
#: step moves by 1.5 % (docs/schedule.md).
MARGIN: Final = 0.02
_DRAWS: Final = 100  #: at random before there is nothing new to find

Advance = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Tried:
    """A tiling: the mean cycles of each step, over the near ones timed; or why it was refused.

    `over`: its cycles over those of the compiler's rules. `partly`: it was given up after the first
    of the near steps. `planned`: refused before there was a program, which costs nothing.
    """

    tiling: Tiling
    cycles: tuple[float, ...] = ()
    over: float = math.inf
    partly: bool = False
    reason: str = ""
    planned: bool = False


class Walk:
    """One search: `tried` is what was tried, in order; the first is the compiler's own tiling."""

    def __init__(
        self, timer: Timer, steps: Sequence[Step], budget: int, seed: int, advance: Advance
    ) -> None:
        self._timer, self._advance = timer, advance
        self._near = [step.near(SEARCHED) for step in steps]
        self._left, self._chance = budget, random.Random(seed)
        self._free = space.turned(timer.subject.options.tiling)
        self._seen: set[Tiling] = set()  # what tilings settle to, and those that do not
        self._timed: dict[Tiling, Tried] = {}  # by what the tiling settles to
        self._idle: set[str] = set()  # knobs that changed nothing when they were last turned
        self._base: list[list[float]] = []  # cycles of every near step with the rules
        self.tried: list[Tried] = []

    def run(self) -> Tried:
        """The best of all. Raises TesseraError where the rules' own program cannot be timed."""
        best = here = self._first()
        while self._left and self._free:
            here = self._simplified(self._descended(here))
            best = here if _is_better(here, best) else best
            found = self._kicked(best)
            if found is None:
                break
            here = found
        return best

    # -- moves -----------------------------------------------------------------------------------

    def _first(self) -> Tried:
        subject = self._timer.subject
        settled = subject.settled(RULES)
        self._seen.add(settled)
        (times,) = self._timer.times([(RULES, [step for near in self._near for step in near])])
        self._spend(1)
        for time in times:
            if isinstance(time, str):
                raise TesseraError(time)
        self._base = self._by_step([float(time) for time in times])
        found = Tried(RULES, tuple(sum(part) / len(part) for part in self._base), 1.0)
        self.tried.append(found)
        self._timed[settled] = found
        return found

    def _descended(self, here: Tried) -> Tried:
        """Where no single knob helps, or no program is left.

        Knobs on which nothing depended come last, and once.
        """
        knobs, better = list(self._free), True
        while better:
            better = False
            turns = space.order(knobs, self._chance)
            for knob in sorted(turns, key=lambda knob: knob in self._idle):
                best = min(self._turned(here, knob), key=lambda each: each.over, default=here)
                if _is_better(best, here):
                    here, better = best, True
            knobs = [knob for knob in knobs if knob not in self._idle]
        return here

    def _turned(self, here: Tried, knob: str) -> list[Tried]:
        """With a knob's next values; with those behind them as well, unless nothing depends on it.

        What was given up after one step is not among them.
        """
        now = self._timer.subject.settled(here.tiling)
        found: list[Tried] = []
        for far in (1, 2):
            found += self._all(space.near(here.tiling, now, knob, far), here)
            if found and all(each.over == here.over for each in found):
                self._idle.add(knob)
                return []
        if found:
            self._idle.discard(knob)
        return [each for each in found if not each.partly]

    def _simplified(self, here: Tried) -> Tried:
        """Without the knobs that are worth no more than chance."""
        for knob in list(here.tiling.given()):
            less = replace(here.tiling, **{knob: None})
            self._all([less], here)
            found = self._timed.get(self._settled(less) or less)
            if found and not found.partly and found.over < here.over * (1 + LEAST_GAIN):
                here = replace(found, tiling=less)
        return here

    def _kicked(self, best: Tried) -> Tried | None:
        """Somewhere else, timed; None if there is nothing new."""
        for _ in range(_DRAWS):
            if not self._left:
                break
            found = self._all([space.kicked(best.tiling, self._free, self._chance)], None)
            if found and not found[0].reason:
                return found[0]
        return None

    # -- programs --------------------------------------------------------------------------------

    def _all(self, tilings: Iterable[Tiling], here: Tried | None) -> list[Tried]:
        """Those that are new, as far as programs are left, timed; those worse than `here` partly.

        `here` is None where any will do.
        """
        new = [each for each in tilings if self._is_new(each)][: self._left]
        firsts = [near[0] for near in self._near]
        found = []
        for tiling, times in zip(new, self._timer.times([(t, firsts) for t in new]), strict=True):
            found.append(self._judged(tiling, [[time] for time in times]))
        limit = math.inf if here is None else here.over * (1 + MARGIN)
        rest = [each.tiling for each in found if each.over <= limit]
        every = [step for near in self._near for step in near]
        for tiling, times in zip(rest, self._timer.times([(t, every) for t in rest]), strict=True):
            found[new.index(tiling)] = self._judged(tiling, self._by_step(times))
        for each in found:
            self.tried.append(each)
            self._timed[self._timer.subject.settled(each.tiling)] = each
        self._spend(len(new))
        return found

    def _is_new(self, tiling: Tiling) -> bool:
        """Whether there is such a program, and it was not tried."""
        settled = self._settled(tiling)
        if settled is None or settled in self._seen:
            return False
        self._seen.add(settled)
        return True

    def _settled(self, tiling: Tiling) -> Tiling | None:
        """Every knob of the program; None if there is none, which is noted once."""
        try:
            return self._timer.subject.settled(tiling)
        except CompileError as error:
            if tiling not in self._seen:
                self._seen.add(tiling)
                self.tried.append(Tried(tiling, reason=str(error), planned=True))
            return None

    def _judged(self, tiling: Tiling, times: list[list[Time]]) -> Tried:
        """A tiling by the times of each step's near ones, or only the first of these."""
        for time in (time for part in times for time in part):
            if isinstance(time, str):
                return Tried(tiling, reason=time)
        cycles = [[float(time) for time in part] for part in times]
        overs = [
            sum(part) / sum(base[: len(part)])
            for part, base in zip(cycles, self._base, strict=True)
        ]
        partly = any(len(p) < len(base) for p, base in zip(cycles, self._base, strict=True))
        means = tuple(sum(part) / len(part) for part in cycles)
        return Tried(tiling, means, mean_of_ratios(overs), partly)

    def _by_step(self, times: Sequence[T]) -> list[list[T]]:
        """Times of all near steps, apart for each step."""
        left = iter(times)
        return [[next(left) for _ in near] for near in self._near]

    def _spend(self, programs: int) -> None:
        self._left -= programs
        self._advance(programs)


def _is_better(one: Tried, other: Tried) -> bool:
    """By more than chance."""
    return one.over < other.over * (1 - LEAST_GAIN)


def mean_of_ratios(ratios: Sequence[float]) -> float:
    """The geometric mean: steps count alike, however long they are."""
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
