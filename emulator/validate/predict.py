"""Cycles of an operator's program on a chip: no values, only the retire stream and the timing."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.fast.machine import FastMachine
from emulator.timing import ProgramInfo, Timing
from isa.chip import Chip
from isa.program import Program

CHUNK_ROWS = 65536


def cycles(program: Program, chip: Chip) -> int:
    """Cycles of the program's first entry, from its first instruction to its last completion."""
    entry = next(iter(program.entries))
    machine = FastMachine(program, chip, timing_only=True, chunk_rows=CHUNK_ROWS)
    timing = Timing(chip, ProgramInfo.of(program))
    timing.begin(entry)
    machine.ring(entry, (), timing.feed)
    return int(timing.end().cycles)


def seconds(programs: Iterable[Program], chip: Chip) -> float:
    """One program after the other, each with the host's part of its latency."""
    host = chip.host.doorbell_s + chip.host.return_s
    return sum(cycles(program, chip) / chip.clock_hz + host for program in programs)
