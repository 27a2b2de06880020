"""The timing model's face: feed it a retire stream, get an entry's cycles."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import Accounting, ProgramInfo, Traffic
from emulator.timing import engine, slices
from emulator.timing import layout as at
from emulator.timing.digest import Digest
from emulator.timing.events import restart
from emulator.timing.result import EntryTiming, entry_timing
from emulator.timing.state import State, addresses, grown, make_state
from emulator.timing.watch import Watch
from isa.chip import Chip
from isa.faults import unit_name

Ints = NDArray[np.int64]


class TimingError(RuntimeError):
    """A stream that is not the whole stream of a completed entry."""


class Timing:
    """Replays retire streams on a chip. Semaphore counts persist from entry to entry."""

    def __init__(self, chip: Chip, info: ProgramInfo | None = None) -> None:
        self.chip = chip
        self.info = ProgramInfo() if info is None else info
        self._state = make_state(chip)
        self._placed: tuple[State, Ints] | None = None
        self._accounting = Accounting(chip, self.info, self._state)
        self._entry: str | None = None
        self._watch: Watch | None = None
        self._grow_signals(4 * chip.num_tiles)
        self._grow_pool(1024)

    def begin(self, entry: str, watch: Watch | None = None, semaphores: Ints | None = None) -> None:
        """An entry has been rung: time starts at 0, every unit is idle.

        A watch gets a slice for each record (emulator/timing/watch.py). `semaphores`, int64
        [tiles, 64], are the counts that the entries before have left, if this model has not
        replayed them all.
        """
        if self._entry is not None:
            raise TimingError(f"begin({entry!r}) before end() of {self._entry!r}")
        self._entry = entry
        s = self._state
        self._recover_records()
        for array in (s.units, s.chans, s.res, s.seen, s.ts, s.banks, s.hbm_queues):
            array.fill(0)
        s.chans[:, at.C_REC] = s.chans[:, at.C_LAST_SPACE] = -1
        s.tiles.fill(-1)
        s.sems[:, at.S_WAITER :] = 0
        if semaphores is not None:
            s.sems[:, at.S_COUNT] = semaphores.reshape(-1)
        for name in (at.G_CLOSED, at.G_END, at.G_EVENTS, at.G_PIECES, at.G_STAMP):
            s.g[name] = 0
        s.g[at.G_LAST_UNIT] = -1
        s.g[at.G_TRACED], s.g[at.G_SLICES_LEFT] = 0, slices.UNWATCHED
        s.rows[:] = 0
        s.rows[:, at.ROW_FIRST] = at.NEVER
        restart(s.events, self.chip.num_tiles)
        self._state = s if watch is None else watch.begin(s)
        self._watch = watch

    def feed(self, chunk: Ints) -> None:
        """The next records, int64 [n, 16] (docs/architecture.md, section 5)."""
        if self._entry is None:
            raise TimingError("feed() outside begin() and end()")
        chunk = np.ascontiguousarray(chunk, np.int64)
        if chunk.ndim != 2 or chunk.shape[1] != 16:
            raise ValueError(f"expected records int64 [n, 16], got {chunk.shape}")
        rows = self._accounting.feed(chunk)
        self._grow_rows(self._accounting.row_count)
        first = 0
        while first < len(chunk):
            s = self._state
            first = engine.store(
                self._addresses(), chunk.ctypes.data, rows.ctypes.data, first, len(chunk)
            )
            if first < len(chunk):
                self._grow_pool(2 * len(s.pool))
        self._run()

    def end(self) -> EntryTiming:
        """The entry has completed: its cycles and tallies."""
        if self._entry is None:
            raise TimingError("end() without begin()")
        s = self._state
        s.g[at.G_CLOSED] = 1
        self._run()
        self._check_complete()
        engine.finish(self._addresses())
        if self._watch is not None:
            self._watch.end(s, self._accounting.keys)
        entry, self._entry = self._entry, None
        return entry_timing(self.chip, self.info, entry, s, self._accounting.take())

    def digest(self) -> Digest:
        """An empty digest for streams of this chip."""
        return Digest(self._state.p, self._state.opcodes)

    def products(self, chunks: Iterable[Ints]) -> Traffic:
        """The sums over matrix products (`products_of`) of a stream that need not be timed."""
        if self._entry is not None:
            raise TimingError(f"products() before end() of {self._entry!r}")
        for chunk in chunks:
            self._accounting.feed(chunk)
        return self._accounting.take()

    @property
    def buffered_records(self) -> int:
        """Records that wait in FIFOs and queues: the memory the stream's skew costs."""
        return len(self._state.pool) - int(self._state.g[at.G_FREE])

    def _run(self) -> None:
        while engine.run(self._addresses()) == engine.FULL:
            if self._watch is not None and self._watch.is_full(self._state):
                self._watch.drain(self._state, self._accounting.keys)
            else:
                self._grow_signals(2 * len(self._state.signals))

    def _addresses(self) -> Ints:
        """Of the state's arrays; asking NumPy for them takes longer than some events."""
        if self._placed is None or self._placed[0] is not self._state:
            self._placed = self._state, addresses(self._state)
        return self._placed[1]

    def _check_complete(self) -> None:
        s = self._state
        waiting = s.units[:, at.U_WAITING] != 0
        waiting |= s.units[:, at.U_COUNT] != 0
        if waiting.any():
            u = int(np.flatnonzero(waiting)[0])
            tile, unit = divmod(u, at.UNITS)
            self._entry = None
            self._accounting.take()
            raise TimingError(
                f"the stream ends while {unit_name(unit)} of tile {tile} still has work: "
                "it is not the stream of a completed entry"
            )

    # ---- room

    def _grow_rows(self, count: int) -> None:
        s = self._state
        have = len(s.rows)
        if count <= have:
            return
        rows = grown(s.rows, max(count, 2 * have, 64))
        rows[have:, at.ROW_FIRST] = at.NEVER
        self._state = s._replace(rows=rows)

    def _grow_pool(self, capacity: int) -> None:
        s = self._state
        have = len(s.pool)
        free, count = grown(s.free, capacity), int(s.g[at.G_FREE])
        free[count : count + capacity - have] = np.arange(have, capacity)
        s.g[at.G_FREE] += capacity - have
        self._state = s._replace(pool=grown(s.pool, capacity), free=free)

    def _recover_records(self) -> None:
        """All records are free (they may not be after a stream that was broken off)."""
        s = self._state
        s.free[:] = np.arange(len(s.pool))
        s.g[at.G_FREE] = len(s.pool)
        s.signals[:, at.SIG_NEXT] = np.arange(1, len(s.signals) + 1)
        s.g[at.G_SIGNAL_FREE], s.g[at.G_SIGNALS] = 0, len(s.signals)

    def _grow_signals(self, capacity: int) -> None:
        """Room for more signals under way."""
        s = self._state
        have = len(s.signals)
        signals = grown(s.signals, capacity)
        signals[have:, at.SIG_NEXT] = np.arange(have + 1, capacity + 1)
        signals[-1, at.SIG_NEXT] = s.g[at.G_SIGNAL_FREE]
        s.g[at.G_SIGNAL_FREE] = have
        s.g[at.G_SIGNALS] += capacity - have
        self._state = s._replace(signals=signals)


def state_of(timing: Timing) -> State:
    """The model's arrays, for tests of its laws."""
    return timing._state
