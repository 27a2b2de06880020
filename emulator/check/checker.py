"""The checker's face: feed it an entry's retire records, then check it against its access log.

    checker = Checker(program, chip)
    checker.begin("step")
    machine.ring("step", ..., sink=checker.feed)
    checker.end(machine.access_log)
    checker.rows()                      # what was found so far

docs/check.md says what it finds and how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.check import layout as at
from emulator.check.boxes import walk_box
from emulator.check.events import add_faulted, arrange, attach, store
from emulator.check.operands import instruct
from emulator.check.replay import replay
from emulator.check.shadows import Shadows
from emulator.fast.access_log import AccessLog
from emulator.jit import address_of
from emulator.memory import zeros
from isa.chip import Chip
from isa.errors import TesseraError
from isa.faults import NUM_UNITS
from isa.program import Program
from isa.spec.model import NUM_SEMAPHORES

Words = NDArray[np.int64]

_IDS = (1 << 32) - 1
_NODES = (1 << 31) - at.MOST_NODES


class CheckError(TesseraError):
    """An entry that is more than the checker can hold."""


@dataclass
class Work:
    """How much was checked."""

    entries: int = 0
    instructions: int = 0
    accesses: int = 0
    waits: int = 0


class Checker:
    """Happens-before over all entries of a machine, from its first one."""

    def __init__(self, program: Program, chip: Chip) -> None:
        threads = chip.num_tiles * NUM_UNITS
        clock = (4 * threads + 63) // 64 * 64
        self.work = Work()
        self.shadows = Shadows(program, chip)
        self._events = np.empty((0, at.E_WORDS), np.int64)
        self.semaphores = np.zeros((chip.num_tiles, NUM_SEMAPHORES, at.S_WORDS), np.int64)
        self.findings = np.zeros((at.MOST_FINDINGS, at.F_WORDS), np.int64)
        self._words = np.zeros(at.C_WORDS, np.int64)
        self._clocks = zeros(threads, clock)
        self._tables: dict[int, NDArray[Any]] = {}
        for word, table in self._fixed_tables(chip, threads, clock).items():
            self._place(word, table)
        for word, value in (
            (at.C_TILES, chip.num_tiles),
            (at.C_TILES_PER_CLUSTER, chip.tiles_per_cluster),
            (at.C_THREADS, threads),
            (at.C_CLOCK_BYTES, clock),
            (at.C_WALK_BOX, address_of(walk_box, 3)),
            (at.C_INSTRUCT, address_of(instruct, 2)),
            (at.C_NEXT, at.FIRST_ID),
            (at.C_NEXT_NODE, 1),
        ):
            self._words[word] = value

    def _fixed_tables(self, chip: Chip, threads: int, clock: int) -> dict[int, NDArray[Any]]:
        """Tables that stay for good, and the first ones of those that grow."""
        return {
            at.C_THREAD: np.zeros((threads, at.TH_WORDS), np.int64),
            at.C_TILE: np.zeros((chip.num_tiles, at.TI_WORDS), np.int64),
            at.C_SEMAPHORES: self.semaphores,
            at.C_CLOCKS: self._clocks,
            at.C_SLOTS: zeros(at.MOST_SLOTS, clock),
            at.C_SLOT_USERS: zeros(at.MOST_SLOTS, 8),
            at.C_SIGNALS: zeros(at.MOST_SIGNALS, 8 * at.G_WORDS),
            at.C_NODES: zeros(at.MOST_NODES, 8),
            at.C_MEMO: np.zeros((at.MEMO_ROWS, at.MEMO_WORDS), np.int64),
            at.C_FINDINGS: self.findings,
            at.C_PLACES: self.shadows.places,
            at.C_TURNS: np.zeros(threads, np.int64),
            at.C_RANGES: zeros(2 * chip.tile.acc.bytes // 4 + 2, 8),  # a gemm has no more rows
            at.C_ACCESSES: np.empty((0, at.A_WORDS), np.int64),
            at.C_EVENTS: self._events,
        }

    # ---- an entry

    def begin(self) -> None:
        """An entry is about to be rung."""
        self._words[at.C_EVENT_COUNT] = 0

    def feed(self, chunk: Words) -> None:
        """Some of its retire records, int64 [n, 16]."""
        chunk = np.ascontiguousarray(chunk, np.int64)
        self._make_room(len(chunk))
        store(self._words.ctypes.data, chunk.ctypes.data, len(chunk))

    def _make_room(self, events: int) -> None:
        wanted = int(self._words[at.C_EVENT_COUNT]) + events
        if wanted > len(self._events):
            self._events = _grown(self._events, max(2 * len(self._events), wanted, 4096))
            self._place(at.C_EVENTS, self._events)

    def end(self, log: AccessLog, faulted: bool = False) -> None:
        """It has completed, or come to rest: check it. Raises CheckError."""
        c, words, pieces = self._words.ctypes.data, self._words, log.pieces().tolist()
        if faulted:
            self._make_room(int(words[at.C_THREADS]))
            for tile, piece in enumerate(pieces):
                add_faulted(c, tile, *piece)
        events = int(words[at.C_EVENT_COUNT])
        self._place(at.C_BY_THREAD, np.empty(events, np.int64))
        self._place(at.C_BY_TILE, np.empty(events, np.int64))
        accesses = int(arrange(c))
        self._clear(accesses)
        attached = sum(attach(c, tile, *piece) for tile, piece in enumerate(pieces))
        problem = int(replay(c)) if words[at.C_PROBLEM] == at.OK else at.MIXED_UP
        if problem in (at.NO_SLOTS, at.NO_SIGNALS, at.NO_NODES):
            raise CheckError("the entry is too long to be checked: too many signals or reads")
        if problem != at.OK or attached + self._number_of(at.LOAD) != accesses:
            raise RuntimeError("the access log does not belong to the retire stream")
        self._count(events)

    def _clear(self, accesses: int) -> None:
        """Everything an entry begins with."""
        words = self._words
        if len(self._tables[at.C_ACCESSES]) < accesses:
            self._place(at.C_ACCESSES, np.empty((2 * accesses, at.A_WORDS), np.int64))
        if words[at.C_NEXT] + accesses > _IDS or words[at.C_NEXT_NODE] > _NODES:
            self.shadows.renew()
            words[at.C_NEXT], words[at.C_NEXT_NODE] = at.FIRST_ID, 1
        words[at.C_FIRST], words[at.C_FIRST_NODE] = words[at.C_NEXT], words[at.C_NEXT_NODE]
        self._clocks.fill(0)
        self._tables[at.C_MEMO].fill(0)
        self.findings[:, at.F_IDS] = 0
        for word in (at.C_SLOT_COUNT, at.C_SIGNAL_COUNT, at.C_TURN_HEAD, at.C_TURN_TAIL):
            words[word] = 0
        for word in (at.C_SLOT_FREE, at.C_SIGNAL_FREE, at.C_FORCED):
            words[word] = -1
        words[at.C_CURSOR], words[at.C_PROBLEM] = 0, at.OK

    def _place(self, word: int, table: NDArray[Any]) -> None:
        self._tables[word] = table
        self._words[word] = table.ctypes.data

    @property
    def stored(self) -> Words:
        """The entry's events, int64 [n, E_WORDS]."""
        return self._events[: int(self._words[at.C_EVENT_COUNT])]

    def _number_of(self, kind: int) -> int:
        """How many events of a kind the entry has."""
        return int(np.count_nonzero(self.stored[:, at.E_HEAD] >> 32 == kind))

    def _count(self, events: int) -> None:
        self.work.entries += 1
        self.work.instructions += events
        self.work.accesses += int(self._words[at.C_NEXT] - self._words[at.C_FIRST])
        self.work.waits += self._number_of(at.WAIT)

    # ---- what was found

    def rows(self) -> Words:
        """Rows of the findings so far, int64 [n, F_WORDS], in the order of their first examples.

        What goes wrong first is most likely the cause of the others.
        """
        found: Words = self.findings[self.findings[:, at.F_KIND] != 0]
        order = np.argsort(found[:, at.F_NUMBER])
        return np.take(found, order, axis=0)

    @property
    def lost(self) -> int:
        """Findings that the table had no room for."""
        return int(self._words[at.C_LOST])


def _grown(table: Words, rows: int) -> Words:
    bigger = np.empty((rows, *table.shape[1:]), np.int64)
    bigger[: len(table)] = table
    return bigger
