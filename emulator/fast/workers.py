"""Threads that run tiles: the compiled code releases the interpreter's lock."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import numpy as np

from emulator.fast import layout as at
from emulator.fast.blocks import address
from emulator.kernels.scratch import LINE, SCRATCH_BYTES

Work = Callable[[int, int], object]


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
            work(machine, address(block))
            done.put(None)
        except BaseException as problem:  # the caller raises it again
            done.put(problem)


def _end(inboxes: list[SimpleQueue[tuple[Work, int] | None]]) -> None:
    for inbox in inboxes:
        inbox.put(None)
