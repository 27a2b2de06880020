"""The parent: a few children at a time, each with one mutant, and a limit for every case.

for trial, outcome in Pool(cases, limits, jobs=2).run(trials):
    ...
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emulator.conformance.mutants.cases import Prepared
from emulator.conformance.mutants.child import live

_TICK: Final = 0.5
LOADING: Final = 60.0  #: seconds that a child may take until its first case


@dataclass(frozen=True)
class Trial:
    """A mutant as texts of modules, and the cases to run, in order."""

    key: str
    texts: Mapping[str, str]
    order: Sequence[int]
    all_of_them: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: the cases that failed, by index, and why the first one did."""

    failed: tuple[int, ...] = ()
    detail: str = ""
    loads: bool = True
    seconds: float = 0.0
    each: dict[int, float] = field(default_factory=dict)  # seconds of each case that ended


@dataclass(eq=False)
class _Child:
    trial: Trial
    process: int
    pipe: int
    started: float
    text: bytearray = field(default_factory=bytearray)
    at: int = -1  # the case it is in
    since: float = 0.0
    killed: bool = False


class Pool:
    """Runs trials in forked children."""

    def __init__(self, cases: Sequence[Prepared], limits: Sequence[float], jobs: int = 1) -> None:
        self._cases, self._limits, self._jobs = cases, limits, jobs
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []

    def run(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Outcome]]:
        """The outcomes, as they come. Children end with the iterator."""
        todo = iter(trials)
        try:
            while self._fill(todo) or self._children:
                for key, _ in self._selector.select(_TICK):
                    child: _Child = key.data
                    if self._read(child):
                        yield child.trial, self._ended(child)
                self._stop_late_ones()
        finally:
            for child in self._children:
                os.kill(child.process, signal.SIGKILL)
                os.waitpid(child.process, 0)
                os.close(child.pipe)
            self._selector.close()

    def _fill(self, todo: Iterator[Trial]) -> bool:
        while len(self._children) < self._jobs:
            trial = next(todo, None)
            if trial is None:
                return False
            self._start(trial)
        return True

    def _start(self, trial: Trial) -> None:
        pipe, out = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(pipe)
            live(trial.texts, self._cases, trial.order, trial.all_of_them, out)
        os.close(out)
        now = time.monotonic()
        child = _Child(trial, process, pipe, now, since=now)
        self._children.append(child)
        self._selector.register(pipe, selectors.EVENT_READ, child)

    def _read(self, child: _Child) -> bool:
        """Take what a child has written; whether that was its end."""
        piece = os.read(child.pipe, 1 << 16)
        child.text += piece
        lines = bytes(child.text).splitlines()
        cases = [line for line in lines if line.startswith(b"at ")]
        if piece and cases and int(cases[-1].split()[1]) != child.at:
            child.at, child.since = int(cases[-1].split()[1]), time.monotonic()
        return not piece

    def _ended(self, child: _Child) -> Outcome:
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        _, status = os.waitpid(child.process, 0)
        self._children.remove(child)
        seconds = time.monotonic() - child.started
        if status == 0:
            return _outcome(json.loads(bytes(child.text).splitlines()[-1]), seconds)
        if child.at < 0:
            return Outcome((), f"{_how(status, child)} while it was loaded", False, seconds)
        return Outcome((child.at,), _how(status, child), True, seconds)

    def _stop_late_ones(self) -> None:
        now = time.monotonic()
        for child in self._children:
            limit = LOADING if child.at < 0 else self._limits[child.at]
            if now - child.since > limit and not child.killed:
                child.killed = True
                os.kill(child.process, signal.SIGKILL)


def _outcome(data: dict[str, Any], seconds: float) -> Outcome:
    each = {int(index): value for index, value in data["seconds"].items()}
    return Outcome(tuple(data["failed"]), data["detail"], data["loads"], seconds, each)


def _how(status: int, child: _Child) -> str:
    if child.killed:
        return "timed out"
    if os.WIFSIGNALED(status):
        return f"crashed: {signal.Signals(os.WTERMSIG(status)).name}"
    return f"crashed: exit status {os.WEXITSTATUS(status)}"
