"""Slurm, by submitit: chunks of points become the tasks of job arrays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from emulator.explore.errors import StudyError, extra

T = TypeVar("T")

_POLL_SECONDS = {"slurm": 10.0, "local": 0.1}  # between two looks at the jobs
_DEFAULTS = {"timeout_min": 240, "slurm_array_parallelism": 256}


class Submitter(Executor):
    """submitit's jobs as `concurrent.futures` has them; it asks for their state now and then."""

    def __init__(self, inner: Any, poll: float) -> None:
        self._inner, self._poll = inner, poll
        self._jobs: list[tuple[Any, Future[Any]]] = []
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._ended = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is submitted within becomes one job array, and is sent at its end."""
        with self._inner.batch():
            yield
        self._watch()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future of a job's result."""
        future: Future[T] = Future()
        with self._lock:
            self._jobs.append((self._inner.submit(fn, *args, **kwargs), future))
        return future

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._look, daemon=True)
            self._watcher.start()

    def _look(self) -> None:
        while not self._ended:
            with self._lock:
                done = [pair for pair in self._jobs if pair[0].done()]
                self._jobs = [pair for pair in self._jobs if pair not in done]
            for job, future in done:
                _settle(job, future)
            time.sleep(self._poll)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what nobody waits for any more."""
        self._ended = True
        with self._lock:
            for job, _ in self._jobs:
                job.cancel()


def _settle(job: Any, future: Future[Any]) -> None:
    """Give a future what its job gave."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job.result())
    except Exception as error:  # a job can fail in as many ways as a cluster
        lines = str(error).splitlines() or [type(error).__name__]
        future.set_exception(
            StudyError(f"--executor slurm: job {job.job_id} failed: {lines[-1]}; its log is "
                       f"{job.paths.stderr}; run again: finished points are kept")
        )  # fmt: skip


@contextmanager
def slurm(cluster: str, folder: Path, settings: dict[str, Any]) -> Iterator[Submitter]:
    """A submitter to `slurm`, or to submitit's own processes, `local`. Raises MissingExtra."""
    submitit = extra("submitit", "--executor slurm", "slurm")
    try:
        inner = submitit.AutoExecutor(folder=folder, cluster=cluster)
        inner.update_parameters(**(_DEFAULTS | settings))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise StudyError(f"--executor slurm: {problem}") from None
    submitter = Submitter(inner, _POLL_SECONDS[cluster])
    try:
        yield submitter
    finally:
        submitter.shutdown()


def setting(text: str) -> tuple[str, Any]:
    """`timeout_min=60` of `--slurm` as a parameter of submitit. Raises StudyError."""
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier() or not value:
        raise StudyError(f"--slurm: expected NAME=VALUE, got '{text}'")
    return name, int(value) if value.isdigit() else value
