"""Streams that tests of traces and explanations watch, and a plain observer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from test_timing_streams import INFO, Stream

from emulator.accounting import ProgramInfo
from emulator.timing import EntryTiming, Timing
from emulator.timing import slices as cut
from emulator.timing.watch import Observer, Watch
from isa.chip import Chip

Ints = NDArray[np.int64]


@dataclass
class Kept:
    """Keeps everything that an entry shows."""

    parts: list[Ints] = field(default_factory=list)
    keys: Ints = field(default_factory=lambda: np.empty((0, 2), np.int64))
    window: int = 0
    moved: Ints = field(default_factory=lambda: np.empty((0, len(cut.METERS)), np.int64))

    def slices(self, rows: Ints, keys: Ints) -> None:
        self.parts.append(rows.copy())
        self.keys = keys.copy()

    def meters(self, window: int, moved: Ints) -> None:
        self.window, self.moved = window, moved.copy()

    @property
    def rows(self) -> Ints:
        return np.concatenate(self.parts)


def watched(
    chip: Chip,
    records: Stream,
    observer: Observer,
    tiles: tuple[int, int] | None = None,
    info: ProgramInfo = INFO,
) -> EntryTiming:
    """The timing of one entry that is watched."""
    timing = Timing(chip, info)
    timing.begin("entry", Watch(observer, tiles))
    timing.feed(records)
    return timing.end()


def kept(chip: Chip, records: Stream, tiles: tuple[int, int] | None = None) -> Kept:
    """Everything that an entry shows."""
    observer = Kept()
    watched(chip, records, observer, tiles)
    return observer
