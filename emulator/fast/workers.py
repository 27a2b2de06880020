"""Threads that run tiles: the compiled code releases the interpreter's lock."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import numpy as np

from emulator.fast import layout as at
from emulator.fast.blocks import address
from emulator.kernels.float_mode import float_mode_operands, k_float_mode
from emulator.kernels.scratch import LINE, SCRATCH_BYTES
from isa.errors import TesseraError

Work = Callable[[int, int], object]


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
        self._inboxes: list[SimpleQueue[tuple[Work, int] | None]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._blocks)

    def block(self, worker: int) -> int:
        """Address of a worker's block."""
        return address(self._blocks[worker])

    def run(self, work: Work, machine: int) -> None:
        """Let every worker do `work(machine, its block)`; returns when all have."""
        if not self._inboxes:
            self._start()
        for inbox in self._inboxes:
            inbox.put((work, machine))
        try:
            work(machine, self.block(0))
        finally:
            problems = [self._done.get() for _ in self._inboxes]
        for problem in problems:
            if problem is not None:
                raise problem

    def _start(self) -> None:
        for worker in range(1, len(self)):
            inbox: SimpleQueue[tuple[Work, int] | None] = SimpleQueue()
            self._inboxes.append(inbox)
            arguments = (inbox, self._done, self._blocks[worker], self._scratch[worker])
            Thread(target=_serve, args=arguments, daemon=True).start()
        weakref.finalize(self, _end, list(self._inboxes))


def _serve(
    inbox: SimpleQueue[tuple[Work, int] | None],
    done: SimpleQueue[BaseException | None],
    block: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """A worker thread's life. It keeps its arrays alive."""
    while (job := inbox.get()) is not None:
        work, machine = job
        try:
            check_float_mode()
            work(machine, address(block))
            done.put(None)
        except BaseException as problem:  # the caller raises it again
            done.put(problem)


def _end(inboxes: list[SimpleQueue[tuple[Work, int] | None]]) -> None:
    for inbox in inboxes:
        inbox.put(None)
