"""Cycles of a retire stream: event-driven models of units, semaphores, DMA, mesh and HBM.

    timing = Timing(chip, ProgramInfo.of(program))
    timing.begin("step")
    for chunk in chunks:                # int64 [n, 16], docs/architecture.md section 5
        timing.feed(chunk)
    entry = timing.end()                # EntryTiming

docs/timing.md has the models and their constants.
"""

from emulator.accounting import ProgramInfo
from emulator.timing.model import Timing, TimingError
from emulator.timing.result import EntryTiming

__all__ = ["EntryTiming", "ProgramInfo", "Timing", "TimingError"]
