"""One layer of a step as tile 0's units see it: who did what when, from the trace's slices.

lanes = Lanes(info)
run(..., recorder=lanes.recorder(step))     # a recorder of `emulator.tracing`
layer = lanes.layer(number)                 # its bars, and the bytes that HBM gave meanwhile
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emulator.bench.rows import BenchError
from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.tracing.recorder import Recorder
from emulator.tracing.selection import Range
from isa.faults import MXU, VPU, unit_name

Ints = NDArray[np.int64]

UNITS: Final = tuple(unit_name(unit) for unit in range(at.UNITS))
LAYER: Final = 2  #: the third layer: the first that has two simulated ones before it
_KINDS: Final = (cut.WORK, cut.WAIT, cut.ISSUE)  #: signals take no time; a full queue is no work
_COLUMNS: Final = (cut.S_UNIT, cut.S_KIND, cut.S_BEGIN, cut.S_END)


@dataclass(frozen=True)
class Layer:
    """Bars of a window of cycles, and what HBM gave in it."""

    begin: int  #: cycle of the step at which the arithmetic of the layer before ends
    end: int
    bars: Ints  #: [n, 5] unit, whether it waits, operation, begin and end within the window
    window: int  #: cycles of one of
    read: Ints  #: bytes of HBM, of the whole chip, from `begin` on


class Lanes:
    """Collects tile 0's slices of one step; one of `Recorder`'s writers."""

    def __init__(self) -> None:
        self._rows: list[Ints] = []
        self._window, self._moved = 1, np.zeros((0, len(cut.METERS)), np.int64)

    def recorder(self, step: int) -> Recorder:
        """What gives the slices of a step to this."""
        return Recorder([self], Range(step, 1), (0, 1))

    def begin(self, base: int) -> None:
        """The step begins."""

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some of its slices: [unit, kind, begin, end, operation, context]."""
        wanted = rows[np.isin(rows[:, cut.S_KIND], _KINDS)]
        self._rows.append(np.hstack([wanted[:, _COLUMNS], keys[wanted[:, cut.S_ROW]]]))

    def meters(self, window: int, moved: Ints) -> None:
        """Its bytes."""
        self._window, self._moved = window, moved.copy()

    def end(self, name: str, cycles: int) -> None:
        """The step is over."""

    def layer(self, number: int) -> Layer:
        """A layer (from 0), from the end of the one before to its own. Raises BenchError.

        Layer i runs in context i + 1; context 0 is what comes before and after the layers.
        """
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 6), np.int64)
        begin = self._ended(rows, number) if number else 0
        end = self._ended(rows, number + 1)
        if begin >= end:
            raise BenchError(f"--svg: layer {number} of the step was not simulated on tile 0")
        within = rows[(rows[:, 3] > begin) & (rows[:, 2] < end)]
        spans = np.clip(within[:, 2:4], begin, end) - begin
        waits = (within[:, 1] == cut.WAIT)[:, None]
        bars = np.hstack([within[:, :1], waits, within[:, 4:5], spans])
        order = np.lexsort((bars[:, 3], bars[:, 0]))
        first, beyond = begin // self._window, -(-end // self._window)
        read = self._moved[first:beyond, cut.HBM_READ]
        return Layer(begin, end, bars[order].astype(np.int64), self._window, read)

    @staticmethod
    def _ended(rows: Ints, context: int) -> int:
        """When a context's arithmetic is done: transfers may be of layers to come."""
        done = (rows[:, 5] == context) & (rows[:, 1] == cut.WORK) & np.isin(rows[:, 0], (MXU, VPU))
        return int(rows[done, 3].max(initial=-1))
