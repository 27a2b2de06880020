"""The parent: a few child processes at a time, each with one batch; whatever they do, it goes on.

A child that crashes or hangs is a finding of the item it was at. The rest of its batch, before
and behind that item, is done by other children.
"""

from __future__ import annotations

import json
import mmap
import os
import selectors
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fuzz.journal import Batch, Finding
from fuzz.kinds import Kind
from fuzz.work import Clock, run_batch

PATIENCE = 15.0  #: seconds, times an item's processor time, until it hangs (the machine is shared)
_TICK = 0.25


@dataclass(eq=False)
class Job:
    """A batch on its way: parts of it that are still to be done."""

    kind: Kind
    batch: Batch
    parts: list[tuple[int, int]]
    met: Counter[str] = field(default_factory=Counter)
    running: int = 0


@dataclass(eq=False)
class _Child:
    """One process and the part it checks."""

    job: Job
    first: int
    count: int
    process: int
    pipe: int
    slot: int
    clock: Clock
    answer: bytearray = field(default_factory=bytearray)


class Pool:
    """Runs jobs. `done` is called with each finished batch, `tick` several times a second."""

    def __init__(
        self, processes: int, done: Callable[[Batch], None], tick: Callable[[], None]
    ) -> None:
        self._processes = processes
        self._done, self._tick = done, tick
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []
        self._waiting: deque[Job] = deque()
        shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._clocks = np.frombuffer(shared, np.int64).reshape(-1, 8)
        self._free = list(range(processes))

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all jobs to their end. An interrupt ends the children first."""
        todo = iter(jobs)
        try:
            while self._fill(todo) or self._children:
                for key, _ in self._selector.select(_TICK):
                    self._read(key.data)
                for child in [c for c in self._children if _hangs(c)]:
                    os.kill(child.process, signal.SIGKILL)
                self._tick()
        finally:
            for child in self._children:
                os.kill(child.process, signal.SIGKILL)
                os.waitpid(child.process, 0)

    def _fill(self, todo: Any) -> bool:
        """Start children while there is room; whether there was anything to start."""
        while self._free:
            job = self._waiting.popleft() if self._waiting else next(todo, None)
            if job is None:
                return False
            self._start(job)
        return True

    def _start(self, job: Job) -> None:
        first, count = job.parts.pop()
        if job.parts:
            self._waiting.append(job)
        job.running += 1
        slot = self._free.pop()
        clock = Clock(self._clocks[slot])
        pipe, out = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            _child(job.kind, first, count, clock, out)
        os.close(out)
        child = _Child(job, first, count, process, pipe, slot, clock)
        self._children.append(child)
        self._selector.register(pipe, selectors.EVENT_READ, child)

    def _read(self, child: _Child) -> None:
        """Take what a child has written; at its end, see how it ended."""
        piece = os.read(child.pipe, 1 << 16)
        if piece:
            child.answer += piece
            return
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        _, status = os.waitpid(child.process, 0)
        self._children.remove(child)
        self._free.append(child.slot)
        child.job.running -= 1
        self._ended(child, status)
        if not child.job.parts and not child.job.running:
            child.job.batch.met = dict(child.job.met)
            self._done(child.job.batch)

    def _ended(self, child: _Child, status: int) -> None:
        """Keep a child's results, or the fact that it died and where."""
        batch = child.job.batch
        if status == 0:
            result = json.loads(child.answer.decode())
            child.job.met.update(result["met"])
            batch.seconds += result["seconds"]
            batch.findings += [Finding(batch.kind, s, what) for s, what in result["findings"]]
            return
        seed = child.clock.seed
        what = _how(status, child)
        if seed is None:  # outside any item: the first one stands for the part
            seed = child.first
        batch.findings.append(Finding(batch.kind, seed, what))
        end = child.first + child.count
        parts = [(child.first, seed - child.first), (seed + 1, end - seed - 1)]
        child.job.parts += [part for part in parts if part[1] > 0]
        if child.job.parts and child.job not in self._waiting:
            self._waiting.append(child.job)


def _child(kind: Kind, first: int, count: int, clock: Clock, out: int) -> None:
    """The whole life of a child process."""
    status = 1
    try:
        run_batch(kind, first, count, clock, out)
        status = 0
    finally:
        os._exit(status)


def _hangs(child: _Child) -> bool:
    return child.clock.seconds > PATIENCE * child.job.kind.seconds


def _how(status: int, child: _Child) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and _hangs(child):
            return f"hang: stopped after {child.clock.seconds:.0f} s"
        return f"crash: {signal.Signals(number).name}"
    return f"exit: the process ended with status {os.WEXITSTATUS(status)}"
