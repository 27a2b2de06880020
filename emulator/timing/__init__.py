"""Cycles of a retire stream: event-driven models of units, semaphores, DMA, mesh and HBM.

    timing = Timing(chip, ProgramInfo.of(program))
    timing.begin("step")
    for chunk in chunks:                # int64 [n, 16], docs/architecture.md section 5
        timing.feed(chunk)
    entry = timing.end()                # EntryTiming

docs/timing.md has the models and their constants.
"""

from typing import Any

_PLACES = {
    "EntryTiming": "emulator.timing.result",
    "ProgramInfo": "emulator.accounting",
    "Timing": "emulator.timing.model",
    "TimingError": "emulator.timing.model",
}
__all__ = ["EntryTiming", "ProgramInfo", "Timing", "TimingError"]


def __getattr__(name: str) -> Any:
    """Import on first use: the accounting and the models import each other's parts."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
