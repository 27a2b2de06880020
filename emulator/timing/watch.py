"""Watching an entry: who gets the slices that the engine makes (slices.py), chunk by chunk.

    watch = Watch(observer, tiles=(0, 4))           # the slices of tiles 0 to 3
    timing.begin("step", watch); timing.feed(...); timing.end()

The observer's `slices(rows, keys)` gets int64 [n, S_FIELDS], the slices of each unit in the order
of their time, and the operation and context of each row of the report (`keys[rows[:, S_ROW]]`).
Its `meters(window, bytes)` gets, at the end, the bytes of each window (int64 [n, METERS]) of so
many cycles. Memory is bounded by the buffer, however long the entry.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.timing.state import State

Ints = NDArray[np.int64]

CAPACITY = 1 << 15  #: slices in the buffer


class Observer(Protocol):
    """Who gets the slices of an entry."""

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some slices. The arrays are valid during the call only."""

    def meters(self, window: int, moved: Ints) -> None:
        """The entry is over: bytes by window."""


class Watch:
    """One entry's observer, and the tiles it is interested in: first, and one past the last."""

    def __init__(self, observer: Observer, tiles: tuple[int, int] | None = None) -> None:
        self.observer, self.tiles = observer, tiles

    def begin(self, s: State) -> State:
        """Switch the slices on: the state with room for them."""
        first, beyond = self.tiles or (0, int(s.p[at.P_TILES]))
        if not len(s.slices):
            s = s._replace(
                slices=np.zeros((CAPACITY, cut.S_FIELDS), np.int64),
                marks=np.zeros((len(s.queue), cut.M_FIELDS), np.int64),
                meters=np.zeros((cut.LINES, len(cut.METERS)), np.int64),
            )
        s.meters.fill(0)
        s.marks[:, cut.M_FROM] = -1
        s.g[at.G_TRACED_FROM], s.g[at.G_TRACED] = first, beyond
        s.g[at.G_SLICES], s.g[at.G_SLICES_LEFT] = 0, len(s.slices)
        s.g[at.G_SERIAL], s.g[at.G_WINDOW] = 0, cut.FIRST_WINDOW
        return s

    def is_full(self, s: State) -> bool:
        """Whether the buffer has no room for what one more event may make."""
        return bool(s.g[at.G_SLICES_LEFT] < cut.ROOM)

    def drain(self, s: State, keys: Ints) -> None:
        """Hand over what is in the buffer."""
        count = int(s.g[at.G_SLICES])
        s.g[at.G_SLICES], s.g[at.G_SLICES_LEFT] = 0, len(s.slices)
        if count:
            self.observer.slices(s.slices[:count], keys)

    def end(self, s: State, keys: Ints) -> None:
        """Hand over the rest, and switch the slices off."""
        self.drain(s, keys)
        s.g[at.G_TRACED], s.g[at.G_SLICES_LEFT] = 0, cut.UNWATCHED
        window = int(s.g[at.G_WINDOW])
        self.observer.meters(window, s.meters[: int(s.g[at.G_END]) // window + 1])
