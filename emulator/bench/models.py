"""Rows of whole models, from their configs alone."""

from __future__ import annotations

from functools import partial
from statistics import median

from emulator.bench import programs
from emulator.bench.host import Host
from emulator.bench.rows import Bar, Entry, Measured

TIMED = {"70b": 2.0, "405b": 5.0}  #: model of the Llama 3.1 family -> seconds it may take
STEPS = 3


def entries() -> list[Entry]:
    """Timing alone of 70B and 405B."""
    bar = Bar("<=", 1.0)
    return [
        Entry(f"timing_{name}", "s", partial(_timing_only, name), "a fixed time", bar)
        for name in TIMED
    ]


def _timing_only(name: str, host: Host) -> Measured:
    """One decode step from the config alone, in the loop and the timing model."""
    runs = [programs.timing_only_step(name) for _ in range(STEPS + 1)][1:]
    cycles = runs[-1][0]
    note = f"a decode step, {programs.FOLDED} layers stand for all: about {cycles:,} cycles"
    return Measured(median(seconds for _, seconds in runs), TIMED[name], note)
