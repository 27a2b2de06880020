"""Predictions of many cases, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulator.validate.registry import load
from isa.chip import load_chip

Changes = Mapping[str, object]


@dataclass(frozen=True)
class Task:
    """One case of a set, on its chip with other values."""

    name: str
    index: int
    data: Path | None = None
    changes: Changes = field(default_factory=dict)

    def run(self) -> float:
        """The prediction. Raises ChipError if the chip cannot have these values."""
        found = load(self.name, self.data)
        predict = found.cases[self.index].predict
        assert predict is not None
        return predict(load_chip(found.chip).with_(**self.changes))


def _run(task: Task) -> float:
    return task.run()


def processors(jobs: int | None) -> int:
    """How many processes to use."""
    if jobs is not None:
        return jobs
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Runner:
    """Runs tasks, here or in other processes; each result goes to `done` as it comes."""

    def __init__(self, pool: Executor | None, done: Callable[[float], None], jobs: int = 1) -> None:
        self.pool, self.done, self.jobs = pool, done, jobs

    def __call__(self, tasks: Sequence[Task]) -> list[float]:
        """The tasks' predictions, in their order."""
        return list(dict(sorted(self.stream(tasks))).values())

    def stream(self, tasks: Sequence[Task]) -> Iterator[tuple[int, float]]:
        """(number of the task, prediction) as they come."""
        if self.pool is None:
            for number, task in enumerate(tasks):
                yield number, task.run()
                self.done(1)
            return
        order = sorted(range(len(tasks)), key=lambda i: not _heavy(tasks[i]))
        futures: dict[Future[float], int] = {self.pool.submit(_run, tasks[i]): i for i in order}
        for future in as_completed(futures):
            yield futures[future], future.result()
            self.done(1)


def _heavy(task: Task) -> bool:
    return load(task.name, task.data).cases[task.index].heavy


@contextmanager
def runner(jobs: int, done: Callable[[float], None] = lambda amount: None) -> Iterator[Runner]:
    """A runner with `jobs` processes; with one, everything happens here."""
    if jobs == 1:
        yield Runner(None, done)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        try:
            yield Runner(pool, done, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
