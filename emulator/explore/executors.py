"""Where points are timed: processes here, Dask, or Slurm; anything with `concurrent.futures`' face.

with executor("local", jobs=2) as place:
    for outcomes in place.run(evaluate, chunks): ...
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, TypeVar

from emulator.explore.errors import StudyError, extra

T = TypeVar("T")

_MOST_TOGETHER = 4  # points of one task, unless told otherwise


@dataclass(frozen=True)
class Place:
    """An executor, and how it is best used.

    `chunk` points make one task (None: one or a few, so that every processor has many tasks);
    `window` tasks are submitted at a time (None: all of them); `batch` surrounds the first
    submissions, where that makes one job array of them.
    """

    executor: Executor
    chunk: int | None = None
    window: int | None = None
    batch: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)

    def run(self, work: Callable[[Sequence[Any]], T], items: Sequence[Any]) -> Iterator[T]:
        """The work's results for chunks of the items, as they come. Raises StudyError."""
        size = self.chunk or self._size(len(items))
        chunks = iter([items[first : first + size] for first in range(0, len(items), size)])
        with self.batch():
            pending = {self.executor.submit(work, part) for part in islice(chunks, self.window)}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    for part in islice(chunks, 1):
                        pending.add(self.executor.submit(work, part))
                    yield future.result()
        except BrokenProcessPool:
            raise StudyError(
                "a worker process died, perhaps for want of memory; run again with fewer --jobs: "
                "finished points are kept"
            ) from None
        finally:
            for future in pending:
                future.cancel()

    def _size(self, items: int) -> int:
        """Neighbours in one task share steps; yet what is lost by a kill is to be little."""
        return min(_MOST_TOGETHER, max(1, items // (8 * (self.window or 1))))


@contextmanager
def executor(
    spec: str, jobs: int | None, chunk: int | None, folder: Path, settings: dict[str, Any]
) -> Iterator[Place]:
    """The place that `--executor` names: local, dask:ADDRESS, slurm, or slurm:local for trials.

    `folder` is where Slurm's jobs keep their files. Raises StudyError and MissingExtra.
    """
    kind, _, rest = spec.partition(":")
    if kind != "slurm" and settings:
        raise StudyError("--slurm is for --executor slurm")
    if spec == "local":
        with _local(jobs or processors(), chunk) as place:
            yield place
    elif kind == "dask" and rest:
        with _dask(rest, chunk) as place:
            yield place
    elif spec in ("slurm", "slurm:local"):
        from emulator.explore.slurm import slurm

        with slurm(rest or "slurm", folder, settings) as submitter:
            yield Place(submitter, chunk or 16, None, submitter.batch)
    else:
        raise StudyError(
            f"--executor: '{spec}' is not known; there are local, dask:ADDRESS and slurm"
        )


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---- processes here


@contextmanager
def _local(jobs: int, chunk: int | None) -> Iterator[Place]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_end_with_parent)
    try:
        yield Place(pool, chunk, 2 * jobs)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(getattr(pool, "_processes", None) or {}):
            _stop(process)
        raise
    pool.shutdown()


def _stop(process: int) -> None:
    """End a worker whose result nobody waits for; a point may take minutes."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


def _end_with_parent() -> None:
    """In a worker: end when the parent does, however it ends; else workers of a killed one stay."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Here(Executor):
    """Does the work at once, in this process: for tests and for looking into a point."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future that is done already."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


# ---- Dask


@contextmanager
def _dask(address: str, chunk: int | None) -> Iterator[Place]:
    distributed = extra("distributed", "--executor dask", "dask")
    try:
        client = distributed.Client(address, timeout="15s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        problem = str(error).splitlines()[0] if str(error) else "no answer"
        raise StudyError(f"--executor dask:{address}: cannot be reached: {problem}") from None
    try:
        slots = sum(client.ncores().values())
        yield Place(client.get_executor(pure=False), chunk, max(4, 4 * slots))
    finally:
        client.close()
