"""The child process: checks the items of a batch, one after the other, and says what it found."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from typing import Any

import numpy as np

from fuzz.kinds import Kind

SPARE = 64 << 20  #: bytes that any item may take
MOST_INPUT = 64 << 10  #: bytes of the largest input that kinds make
#: What an item may take beyond what the process has: 64 MiB and four times its size.
MEMORY = SPARE + 4 * MOST_INPUT
_PR_SET_PDEATHSIG = 1
_SHOWN = 20  # findings of a batch with their text; others are counted
_NOTHING = -1  # no item is being checked


class Clock:
    """Shared with the parent: the seed that is being checked, and since when."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words
        self.stop()

    def start(self, seed: int) -> None:
        """An item begins."""
        self._words[1] = time.monotonic_ns()
        self._words[0] = seed

    def stop(self) -> None:
        """No item is being checked."""
        self._words[0] = _NOTHING

    @property
    def seed(self) -> int | None:
        """The seed of the item that is being checked."""
        return None if self._words[0] == _NOTHING else int(self._words[0])

    @property
    def seconds(self) -> float:
        """How long it has been checked."""
        return 0.0 if self.seed is None else (time.monotonic_ns() - int(self._words[1])) / 1e9


def run_batch(kind: Kind, first: int, count: int, clock: Clock, out: int) -> None:
    """Check items and write one line of JSON: what was met, what was found, and the time."""
    _prepare()
    met: Counter[str] = Counter()
    findings: list[tuple[int, str]] = []
    hook = Unraisable()
    start = time.process_time()
    for seed in range(first, first + count):
        clock.start(seed)
        problem = check(kind, seed, met, hook)
        if problem is not None and len(findings) == _SHOWN:
            met["more findings"] += 1
        elif problem is not None:
            findings.append((seed, problem))
    clock.stop()
    result = {"met": met, "findings": findings, "seconds": time.process_time() - start}
    with os.fdopen(out, "w") as stream:
        json.dump(result, stream)


def _prepare() -> None:
    """End with the parent; leave no core file; be quiet; one thread."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    os.environ["RUST_BACKTRACE"] = "0"  # making one hangs if memory is short
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.disable()  # the parent says what happened
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children itself
    silence = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        os.dup2(silence, handle)


class Unraisable:
    """Errors that compiled code cannot raise through its callers: a failed bounds check."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        sys.unraisablehook = self._note

    def _note(self, args: Any) -> None:
        self.seen.append(f"{args.exc_type.__name__}: {args.exc_value} (in compiled code)")

    def take(self) -> str | None:
        """The first since the last look."""
        first = self.seen[0] if self.seen else None
        self.seen.clear()
        return first


def check(kind: Kind, seed: int, met: Counter[str], hook: Unraisable) -> str | None:
    """Check one item; what is wrong with it, or None."""
    if kind.memory:
        limit_memory()
    start = time.process_time()
    try:
        met.update(kind.check(seed))
    except BaseException as error:
        return _described(error)
    spent = time.process_time() - start
    if spent > kind.seconds:
        return f"slow: {spent:.1f} s of processor time"
    return hook.take()


def limit_memory() -> None:
    """No more than `MEMORY` bytes beyond what the process has now."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))


def _described(error: BaseException) -> str:
    """An error with the place in the code it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames[-4:]]
    text = str(error)[:600] or (frames[-1].line if frames else "")
    return f"{type(error).__name__}: {text} [{' < '.join(reversed(places))}]"
