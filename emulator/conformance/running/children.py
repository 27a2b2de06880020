"""Processes with limits: forked, each in a group of its own, several at a time.

    pool = Pool(jobs=2)
    for job, end in pool.run(jobs):        # in the order in which they end
        ...

A job's process ends by itself, at its time limit, or when the file it writes grows too large;
then its whole group is killed, so nothing of it is left. What it prints is read and kept in part.
All is done by one thread, so forking is safe, and a killed runner takes its children along where
the system can (Linux).
"""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MOST_FILE: Final = 1 << 30  #: no file that a job writes can grow beyond this
_KEPT: Final = 8192  # bytes of what a job prints: as many of its beginning as of its end
_PIECE: Final = 1 << 16
_LOOK: Final = 0.02  # seconds between two looks at the limits
_SOON: Final = 0.001
_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_RESET: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGXFSZ")


@dataclass(frozen=True)
class Job:
    """What a child does: `body` runs in it and gives its exit status, or replaces it by exec."""

    name: str
    body: Callable[[], int]
    seconds: float
    watched: Path | None = None  # a file
    most_bytes: int = MOST_FILE  # that must not grow beyond this
    extra: Any = None  # for whoever made the job


@dataclass(frozen=True)
class End:
    """How a job ended. ``status`` is the exit status, or a signal's number below zero."""

    status: int
    seconds: float
    output: str
    timed_out: bool = False
    too_large: bool = False


@dataclass
class _Printed:
    """The beginning and the end of what was printed."""

    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    dropped: int = 0

    def add(self, data: bytes) -> None:
        room = _KEPT - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > _KEPT:
            self.dropped += len(self.tail) - _KEPT
            del self.tail[:-_KEPT]

    def text(self) -> str:
        gap = f"\n... {self.dropped} bytes ...\n".encode() if self.dropped else b""
        return (bytes(self.head) + gap + bytes(self.tail)).decode(errors="replace")


class Pool:
    """Runs jobs, some at a time; `idle` is called at every look at them."""

    def __init__(self, jobs: int, idle: Callable[[], None] = lambda: None) -> None:
        self.jobs = jobs
        self._idle = idle
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()

    def run(self, jobs: Iterable[Job]) -> Generator[tuple[Job, End], None, None]:
        """Each job as it ends. Leaving the iteration kills what still runs."""
        waiting = iter(jobs)
        try:
            more = True
            while more or self._children:
                while more and len(self._children) < self.jobs:
                    job = next(waiting, None)
                    if job is None:
                        more = False
                    else:
                        self._start(job)
                yield from self._ended()
                self._idle()
        finally:
            for child in self._children:
                child.finish()
            self._children.clear()
            self._selector.close()

    def _start(self, job: Job) -> None:
        child = _Child(job)
        self._children.append(child)
        self._selector.register(child.pipe, selectors.EVENT_READ, child)

    def _ended(self) -> Iterator[tuple[Job, End]]:
        """Wait a little; whoever has ended or must end now."""
        if not self._children:
            return
        for key, _ in self._selector.select(self._patience()):
            if not key.data.read():
                self._selector.unregister(key.fileobj)
        for child in list(self._children):
            if child.is_over():
                self._children.remove(child)
                with suppress(KeyError):
                    self._selector.unregister(child.pipe)
                yield child.job, child.finish()

    def _patience(self) -> float:
        """A process ends right after it closes its output, as a rule."""
        now = time.monotonic()
        return _SOON if any(now - child.closed < _LOOK for child in self._children) else _LOOK


class _Child:
    """One process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.printed = _Printed()
        self.timed_out = self.too_large = False
        sys.stdout.flush()
        sys.stderr.flush()
        self.pipe, write = os.pipe()
        os.set_blocking(self.pipe, False)
        self.start = time.monotonic()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(job, write, parent)
        os.close(write)
        self.closed = 0.0  # when it closed its output

    def read(self) -> bool:
        """Take what was printed; whether more may come."""
        try:
            data = os.read(self.pipe, _PIECE)
        except BlockingIOError:
            return True
        self.printed.add(data)
        if not data:
            self.closed = time.monotonic()
        return bool(data)

    def is_over(self) -> bool:
        """Whether the process has ended, or must not go on."""
        if _has_ended(self.pid):
            return True
        self.timed_out = time.monotonic() - self.start > self.job.seconds
        self.too_large = not self.timed_out and _size(self.job.watched) > self.job.most_bytes
        return self.timed_out or self.too_large

    def finish(self) -> End:
        """Kill what is left of the group; how it ended."""
        seconds = time.monotonic() - self.start
        # The process is not reaped yet, so that no other group can have its number.
        for kill in (os.killpg, os.kill):  # it may not have made its group yet
            with suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        for _ in range(64):  # what lies in the pipe; not what a stranger goes on writing
            if not self._drain():
                break
        os.close(self.pipe)
        code, printed = os.waitstatus_to_exitcode(status), self.printed.text()
        return End(code, seconds, printed, self.timed_out, self.too_large)

    def _drain(self) -> bytes:
        try:
            data = os.read(self.pipe, _PIECE)
        except OSError:
            return b""
        self.printed.add(data)
        return data


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _size(path: Path | None) -> int:
    try:
        return path.lstat().st_size if path is not None else 0
    except OSError:
        return 0


def _be_child(job: Job, write: int, parent: int) -> None:
    """Run the job's body; never returns."""
    status = 1
    try:
        _prepare(write, parent)
        status = job.body()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        text = traceback.format_exc().encode(errors="replace")
        with suppress(OSError):
            os.write(2, text)
    finally:
        os._exit(status)


def _prepare(write: int, parent: int) -> None:
    os.setsid()
    for name in _RESET:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _die_with(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, write), (2, write)):
        os.dup2(source, target)
    _limit(resource.RLIMIT_FSIZE, MOST_FILE)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (most, hard))


def _die_with(parent: int) -> None:
    """Have the system kill this process when the runner is killed."""
    if _libc is not None:
        _libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _open_libc() -> Any:
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        library.prctl  # noqa: B018 - whether it is there
    except (OSError, AttributeError):
        return None
    return library


_libc: Final = _open_libc()
