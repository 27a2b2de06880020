"""Threads that run tiles, and what can be done beside: compiled code releases Python's lock.

    with workers.helping(work):     # the first worker runs supersteps, and others help it to
        workers.wake()              # ... when told that there is enough to do
    workers.defer(call, lane)       # some other worker does this later: a lane's in order
    workers.settle()                # until all that has been deferred is done

Deferred calls of one lane are made one at a time, in order; those of several lanes, of which there
are a few, side by side. A worker that is busy with one does not hold up a superstep: the others run
its tiles, and it joins in when it is free. And the first worker, when it has to wait for deferred
calls, makes some of them itself.

How a superstep is shared is in rounds.py, whose board is kept here: workers that have not found one
for a while sleep in Python until they are woken, and deferred calls go before supersteps.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread

import numpy as np

from emulator.fast import layout as at
from emulator.fast.blocks import address, lines
from emulator.fast.rounds import B_ASLEEP, B_CALLED, board_words
from emulator.kernels.float_mode import float_mode_operands, k_float_mode
from emulator.kernels.scratch import LINE, SCRATCH_BYTES
from isa.errors import TesseraError

#: A worker's part of supersteps, given its block; whether it was called away from them.
Work = Callable[[int], object]
Call = Callable[[], object]

LANES = 4  #: if there are several workers: one may be long, and the next ones need not wait for it
BACKLOG = 64  #: deferred calls of a lane that may wait: half a megabyte each, if for a chunk


class FloatModeError(TesseraError):
    """This host's floating point is not IEEE's, and so would give other bits than the chip."""


def check_float_mode() -> None:
    """Raise FloatModeError if the calling thread flushes subnormals or rounds otherwise."""
    operands = float_mode_operands()
    wrong = k_float_mode(address(operands))
    if wrong:
        flushes = "flushes subnormal numbers to zero" if wrong & 3 else "does not round to nearest"
        raise FloatModeError(
            f"this process {flushes}, so results would be wrong; some library has changed the "
            "processor's floating-point mode: run without it, or import it in another process"
        )


class Workers:
    """A fixed number of workers, each with its block; the first is the calling thread."""

    def __init__(self, count: int) -> None:
        self._scratch = [np.zeros(SCRATCH_BYTES + LINE, np.uint8) for _ in range(count)]
        self._blocks = [np.zeros(at.W_WORDS, np.int64) for _ in range(count)]
        for number, (block, scratch) in enumerate(zip(self._blocks, self._scratch, strict=True)):
            block[at.W_SCRATCH], block[at.W_NUMBER] = address(scratch), number
        self.board = lines(1, 8 * board_words(count)).view(np.int64)[0]  #: see rounds.py
        self.lanes = 1 if count == 1 else LANES  #: of deferred calls
        self._calls = _Calls(self.lanes, count - 1, self.board)
        self._started = False

    def __len__(self) -> int:
        return len(self._blocks)

    def block(self, worker: int) -> int:
        """Address of a worker's block."""
        return address(self._blocks[worker])

    @contextmanager
    def helping(self, work: Work) -> Iterator[None]:
        """Meanwhile others may do `work`, given their blocks: now and again, until it is over."""
        self._calls.work = work
        try:
            yield
        finally:
            self._calls.work = None
        self._calls.raise_problem()

    def wake(self) -> None:
        """There is work for those who are asleep."""
        self._start()
        self._calls.raise_problem()
        self._calls.wake()

    def defer(self, call: Call, lane: int = 0) -> None:
        """Have a call done by another worker; by this one, at once, if there is no other."""
        if len(self) == 1:
            call()
            return
        self._start()
        self._calls.raise_problem()
        self._calls.add(call, lane)

    def settle(self, lanes: Iterable[int] | None = None, abandon: bool = False) -> None:
        """Wait for what has been deferred, or `abandon` what has not begun; None: of all lanes."""
        chosen = range(self.lanes) if lanes is None else lanes
        self._calls.settle(frozenset(chosen), abandon)
        if not abandon:
            self._calls.raise_problem()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        for worker in range(1, len(self)):
            arguments = (self._calls, self._blocks[worker], self._scratch[worker])
            Thread(target=_serve, args=arguments, daemon=True).start()
        weakref.finalize(self, self._calls.end)


class _Calls:
    """What there is to do for the workers beside the first, and what they are doing."""

    def __init__(self, lanes: int, others: int, board: np.ndarray) -> None:
        self.work: Work | None = None  #: what they do when there is nothing else
        self._changed = Condition()
        self._others = others  # workers beside the first
        self._board = board
        self._board[B_ASLEEP] = others > 0
        self._wakings = 0  # so far
        self._deferred: list[deque[Call]] = [deque() for _ in range(lanes)]
        self._busy = [False] * lanes  # one of the lane's calls is being made
        self._problem: BaseException | None = None
        self._ended = False

    # -- the first worker's side

    def wake(self) -> None:
        """Let those who are asleep do the work there is."""
        with self._changed:
            self._board[B_ASLEEP] = 0
            self._wakings += 1
            self._changed.notify_all()

    def add(self, call: Call, lane: int) -> None:
        """One more call for later; while too many of its lane wait, this worker helps."""
        calls = self._deferred[lane]
        self._help_until(lambda: len(calls) < BACKLOG, lane)
        with self._changed:
            calls.append(call)
            self._tell()

    def settle(self, lanes: frozenset[int], abandon: bool) -> None:
        """See that no deferred call of these lanes is left."""
        if not abandon:
            self._help_until(lambda: not any(self._deferred[i] or self._busy[i] for i in lanes))
            return
        with self._changed:
            for lane in lanes:
                self._deferred[lane].clear()
            self._tell()
            self._changed.wait_for(lambda: not any(self._busy[lane] for lane in lanes))
            self._problem = None

    def _help_until(self, enough: Callable[[], bool], lane: int = 0) -> None:
        """Wait until enough deferred calls are made; make some if nobody else is free to."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: enough() or self._is_left_to_me())
                if enough():
                    return
                lane, call = self._take_call(lane)
            try:
                call()
            except BaseException as problem:
                self._note(problem)
                self.raise_problem()
            finally:
                self._give_back(lane)

    def raise_problem(self) -> None:
        """Raise what another worker met, once."""
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def end(self) -> None:
        """There will be nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _is_left_to_me(self) -> bool:
        """Whether a call may be made now, and all other workers are making one."""
        return sum(self._busy) >= self._others and self._free_lane() is not None

    # -- the other workers' side

    def serve(self, block: int) -> None:
        """Do what there is to do until the end; what was deferred first."""
        woken, latest = 0, 0
        while True:
            with self._changed:
                while not self._has_work(woken):
                    self._board[B_ASLEEP] = 1
                    self._changed.wait()
                if self._ended:
                    return
                lane, call, work = None, None, None
                if self._free_lane() is not None:
                    lane, call = self._take_call(latest)
                    latest = lane
                else:
                    woken, work = self._wakings, self.work
            try:
                check_float_mode()
                if call is not None:
                    call()
                called_away = call is not None or (work is not None and work(block))
            except BaseException as problem:  # the first worker raises it again
                self._note(problem)
                called_away = False
            if called_away:
                woken = -1  # there may be a superstep under way: look at once
            if lane is not None:
                self._give_back(lane)
            call = work = None  # a thread that sleeps keeps nothing alive

    def _has_work(self, woken: int) -> bool:
        """Whether there is a call to make, or work for one who was last woken by that waking."""
        if self._ended or self._free_lane() is not None:
            return True
        return self.work is not None and self._wakings != woken

    def _free_lane(self, latest: int = 0) -> int | None:
        """A lane with a call that may be made now; the `latest` if it may be that one.

        What a lane's calls work on is then in the cache of the processor that made the one before.
        """
        count = len(self._deferred)
        for lane in range(latest, latest + count):
            if self._deferred[lane % count] and not self._busy[lane % count]:
                return lane % count
        return None

    def _take_call(self, latest: int) -> tuple[int, Call]:
        """A call that may be made now, and its lane, which is busy from here on."""
        lane = self._free_lane(latest)
        assert lane is not None
        self._busy[lane] = True
        call = self._deferred[lane].popleft()
        self._tell()  # there is room for one more
        return lane, call

    def _give_back(self, lane: int) -> None:
        """A lane is not busy any more."""
        with self._changed:
            self._busy[lane] = False
            self._tell()

    def _tell(self) -> None:
        """Something has changed; those who help with supersteps learn it from the board."""
        self._board[B_CALLED] = self._free_lane() is not None
        self._changed.notify_all()

    def _note(self, problem: BaseException) -> None:
        """Keep the first problem; later calls would only follow from it."""
        with self._changed:
            self._problem = self._problem or problem
            for calls in self._deferred:
                calls.clear()
            self._tell()


def _serve(calls: _Calls, block: np.ndarray, scratch: np.ndarray) -> None:
    """A worker thread's life. It keeps its arrays alive."""
    calls.serve(address(block))
