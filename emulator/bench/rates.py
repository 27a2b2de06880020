"""Rows of the loops around the kernels: instructions executed, events of the timing model."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from emulator.bench import programs
from emulator.bench.host import Host
from emulator.bench.rows import Bar, Entry, Measured

MEGA = 1e6
THREADS = 2
FLOOR = Bar(">=", 1.0)
LEAST_INSTRUCTIONS, LEAST_EVENTS = 5.0, 10.0  #: millions a second


def entries() -> list[Entry]:
    """Rates whose yardsticks are numbers; that of a decode step has no bar."""
    fixed = "a fixed rate"
    return [
        Entry("instructions_per_s", "M/s", _instructions, fixed, FLOOR),
        Entry("timing_events_per_s", "M/s", _small_events, fixed, FLOOR),
        Entry("timing_events_decode_per_s", "M/s", _decoder_events, fixed),
    ]


def _instructions(host: Host) -> Measured:
    turns = host.effort.turns
    rate = _rate(lambda: programs.instructions(turns, THREADS), host)
    return Measured(rate, LEAST_INSTRUCTIONS, f"small ones, 64 tiles, {THREADS} threads")


def _small_events(host: Host) -> Measured:
    rate = _rate(lambda: programs.timing_events(host.effort.turns), host)
    return Measured(rate, LEAST_EVENTS, "of small instructions, 64 tiles")


def _decoder_events(host: Host) -> Measured:
    rate = _rate(lambda: programs.decoder_events(host.effort.model, 1), host)
    return Measured(rate, LEAST_EVENTS, f"of a decode step of one layer of {host.effort.model}")


def _rate(measure: Callable[[], tuple[int, float]], host: Host) -> float:
    """Median of millions a second."""
    measure()
    results = [measure() for _ in range(host.effort.repeats)]
    return median(count / seconds for count, seconds in results) / MEGA
