"""Probes, and two of them compared in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

Call = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Probe:
    """Work that can be repeated: how much it is, and a call that does it and returns seconds."""

    work: float
    seconds: Callable[[], float]

    def rate(self, repeats: int) -> float:
        """Median of work per second."""
        self.seconds()  # the first call compiles, faults pages in, wakes the clock
        return self.work / median(self.seconds() for _ in range(repeats))


def one_thread(work: float, call: Call) -> Probe:
    """A call that computes on one thread, timed by the processor time of that thread.

    Such a call never waits, so on a quiet machine this is the wall clock's time; on a busy one it
    leaves out what other processes took.
    """
    return Probe(work, lambda: _timed(call, time.thread_time))


def on_threads(work: float, calls: Sequence[Call], team: ThreadPoolExecutor) -> Probe:
    """Calls that run side by side, timed by the wall clock."""

    def together() -> None:
        for future in [team.submit(call) for call in calls]:
            future.result()

    return Probe(work, lambda: _timed(together, time.perf_counter))


def _timed(call: Call, clock: Clock) -> float:
    start = clock()
    call()
    return max(clock() - start, 1e-9)


def in_turns(probe: Probe, yardstick: Probe, repeats: int) -> tuple[float, float]:
    """Median rates of both, measured alternately."""
    pairs = [(probe.seconds(), yardstick.seconds()) for _ in range(repeats + 1)][1:]
    mine, theirs = zip(*pairs, strict=True)
    return probe.work / median(mine), yardstick.work / median(theirs)
