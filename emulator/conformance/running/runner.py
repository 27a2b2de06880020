"""A kit on a device: every case a process of its own, verdicts in a journal.

    outcome = run_kit(folder, entries, device, Settings(jobs=2, state=path))

A run that was killed goes on where it was when it is started again; one that came to its end
begins anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from emulator.conformance.entry import Entry
from emulator.conformance.folder import Folder, KnownCase
from emulator.conformance.judge import Verdict
from emulator.conformance.running.children import Job, Pool
from emulator.conformance.running.devices import Device
from emulator.conformance.running.journal import Journal, open_journal
from emulator.conformance.running.verdict import most_result_bytes, verdict
from emulator.errors import InputError
from emulator.progress import progress

_POLITE: Final = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Settings:
    """How to run."""

    state: Path  # the journal; what cases need for a moment lies beside it
    jobs: int = 1
    time_limit: float | None = None  # instead of each case's own
    fresh: bool = False  # whatever was done before
    resume: bool = False  # even a run that came to its end
    log: bool = False  # a line a minute on standard error if that is no terminal


@dataclass
class Run:
    """What is known at the end, or when the run is interrupted."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)  # in the kit's order at the end
    resumed: int = 0  # of them from an earlier run
    note: str = ""  # why there are none, where one might have expected some
    seconds: float = 0.0
    interrupted: bool = False


@dataclass(frozen=True)
class _Task:
    case: KnownCase
    output: Path
    seconds: float


def run_kit(folder: Folder, entries: list[Entry], device: Device, settings: Settings) -> Run:
    """Run cases; what is known when they are done, or when the user interrupts."""
    start = time.monotonic()
    header = _header(folder, device, settings)
    with open_journal(settings.state, header, settings.fresh, settings.resume) as journal:
        run = Run({e.name: journal.done[e.name] for e in entries if e.name in journal.done})
        run.resumed, run.note = len(run.verdicts), journal.note
        waiting = [entry for entry in entries if entry.name not in run.verdicts]
        try:
            with _interruptible():
                _run_waiting(folder, waiting, device, settings, journal, run)
            journal.end()
        except KeyboardInterrupt:
            run.interrupted = True
    run.seconds = time.monotonic() - start
    order = [entry.name for entry in entries]
    run.verdicts = {name: run.verdicts[name] for name in order if name in run.verdicts}
    return run


def _header(folder: Folder, device: Device, settings: Settings) -> dict[str, Any]:
    """What the verdicts are about."""
    return {
        "kit": folder.identity,
        "device": device.name,
        "directory": os.getcwd(),
        "time limit": settings.time_limit,
        "files": device.identity(),
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """Whoever ends the runner politely gets what Ctrl-C gets: no children stay, and a summary."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    polite = [number for number in _POLITE if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in polite}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run_waiting(
    folder: Folder, waiting: list[Entry], device: Device, settings: Settings, journal: Journal,
    run: Run,
) -> None:  # fmt: skip
    """Run what is left to run."""
    if waiting:
        device.prepare(len(waiting))
    with (
        progress(f"running {len(waiting)} cases", len(waiting), settings.log) as advance,
        closing(_verdicts(folder, waiting, device, settings, lambda: advance(0))) as verdicts,
    ):
        for found in verdicts:
            journal.add(found)
            run.verdicts[found.case] = found
            advance(1)


def _verdicts(
    folder: Folder, waiting: list[Entry], device: Device, settings: Settings,
    idle: Callable[[], None],
) -> Generator[Verdict, None, None]:  # fmt: skip
    """How each case ends, as it ends; `idle` is called again and again while none does."""
    scratch = _scratch(settings.state)
    pool = Pool(settings.jobs, idle).run(_jobs(folder, waiting, device, settings, scratch))
    try:
        for job, end in pool:
            task: _Task = job.extra
            found = verdict(task.case, end, task.output, task.seconds)
            _remove(task.output.parent)
            yield found
    finally:
        pool.close()
        _remove(scratch)


def _jobs(
    folder: Folder, waiting: list[Entry], device: Device, settings: Settings, scratch: Path
) -> Iterator[Job]:
    """A job for each case, made when its turn comes."""
    for number, entry in enumerate(waiting):
        case, program = folder.known(entry), folder.program(entry).resolve()
        place = scratch / str(number)
        place.mkdir()
        output = place / "result.txt"
        seconds = settings.time_limit or entry.seconds
        yield Job(
            entry.name,
            _body(device, program, output),
            seconds,
            output,
            most_result_bytes(case),
            _Task(case, output, seconds),
        )


def _body(device: Device, program: Path, output: Path) -> Callable[[], int]:
    return lambda: device.body(program, output)


def _scratch(state: Path) -> Path:
    """A directory for results, beside the journal whose lock we have."""
    place = state.with_name(state.name + ".tmp").resolve()
    _remove(place)
    try:
        place.mkdir()
    except OSError as error:
        raise InputError(f"{place}: cannot be made: {(error.strerror or '').lower()}") from None
    return place


def _remove(place: Path) -> None:
    """Remove a directory, even if a device took away the right to."""
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        for path in [place, *place.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(place, ignore_errors=True)
