"""Threads that run tiles, and what can be done beside: compiled code releases Python's lock.

    workers.run(work, machine)      # every worker does its part of a superstep
    workers.defer(call)             # some other worker does this later, in order, one at a time
    workers.settle()                # until all that has been deferred is done

A worker that is busy with a deferred call does not hold up a superstep: the others run its tiles,
and it joins in when it is free.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

import numpy as np

from emulator.fast import layout as at
from emulator.fast.blocks import address
from emulator.kernels.float_mode import float_mode_operands, k_float_mode
from emulator.kernels.scratch import LINE, SCRATCH_BYTES
from isa.errors import TesseraError

Work = Callable[[int, int], object]
Call = Callable[[], object]

BACKLOG = 64  #: deferred calls that may wait: half a megabyte each, if they are for a chunk


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
        for block, scratch in zip(self._blocks, self._scratch, strict=True):
            block[at.W_SCRATCH] = address(scratch)
        self._board = _Board()
        self._started = False

    def __len__(self) -> int:
        return len(self._blocks)

    def block(self, worker: int) -> int:
        """Address of a worker's block."""
        return address(self._blocks[worker])

    def run(self, work: Work, machine: int) -> None:
        """Let the workers do `work(machine, its block)`; returns when all that began have."""
        self._start()
        self._board.open(lambda block: work(machine, block))
        try:
            work(machine, self.block(0))
        finally:
            self._board.close()
        self._board.raise_problem()

    def defer(self, call: Call) -> None:
        """Have a call done by another worker; by this one, at once, if there is no other."""
        if len(self) == 1:
            call()
            return
        self._start()
        self._board.raise_problem()
        self._board.add(call)

    def settle(self, abandon: bool = False) -> None:
        """Wait for all that has been deferred, or `abandon` what has not begun."""
        self._board.settle(abandon)
        if not abandon:
            self._board.raise_problem()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        for worker in range(1, len(self)):
            arguments = (self._board, self._blocks[worker], self._scratch[worker])
            Thread(target=_serve, args=arguments, daemon=True).start()
        weakref.finalize(self, self._board.end)


class _Board:
    """What there is to do for the workers beside the first, and what they are doing."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._work: Callable[[int], object] | None = None  # of the superstep under way
        self._rounds = 0  # supersteps so far
        self._joined = 0  # workers that are in it
        self._deferred: deque[Call] = deque()
        self._busy = False  # one of them is being done
        self._problem: BaseException | None = None
        self._ended = False

    # -- the first worker's side

    def open(self, work: Callable[[int], object]) -> None:
        """A superstep begins."""
        with self._changed:
            self._work = work
            self._rounds += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody may join it any more; wait for those who have."""
        with self._changed:
            self._work = None
            self._changed.wait_for(lambda: self._joined == 0)

    def add(self, call: Call) -> None:
        """One more call for later; waits while too many do."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._deferred) < BACKLOG)
            self._deferred.append(call)
            self._changed.notify_all()

    def settle(self, abandon: bool) -> None:
        """Wait until no deferred call is left."""
        with self._changed:
            if abandon:
                self._deferred.clear()
                self._problem = None
            self._changed.wait_for(lambda: not self._deferred and not self._busy)
            if abandon:
                self._problem = None

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

    # -- the other workers' side

    def serve(self, block: int) -> None:
        """Do what there is to do until the end; what was deferred first."""
        done = 0
        while True:
            with self._changed:
                while not self._has_work(done):
                    self._changed.wait()
                if self._ended:
                    return
                deferred, work = self._take()
                done = self._rounds if deferred is None else done
            try:
                check_float_mode()
                if deferred is not None:
                    deferred()
                elif work is not None:
                    work(block)
            except BaseException as problem:  # the first worker raises it again
                self._note(problem)
            self._leave(deferred is not None)

    def _has_work(self, done: int) -> bool:
        """Whether there is a call to make, or a superstep that this worker has not done."""
        if self._ended or (self._deferred and not self._busy):
            return True
        return self._work is not None and self._rounds > done

    def _take(self) -> tuple[Call | None, Callable[[int], object] | None]:
        """A deferred call if one may begin, else the superstep's work."""
        if self._deferred and not self._busy:
            self._busy = True
            call = self._deferred.popleft()
            self._changed.notify_all()  # there is room for one more
            return call, None
        self._joined += 1
        return None, self._work

    def _leave(self, deferred: bool) -> None:
        with self._changed:
            if deferred:
                self._busy = False
            else:
                self._joined -= 1
            self._changed.notify_all()

    def _note(self, problem: BaseException) -> None:
        """Keep the first problem; later calls would only follow from it."""
        with self._changed:
            self._problem = self._problem or problem
            self._deferred.clear()


def _serve(board: _Board, block: np.ndarray, scratch: np.ndarray) -> None:
    """A worker thread's life. It keeps its arrays alive."""
    board.serve(address(block))
