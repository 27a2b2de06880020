"""What is searched for: a model's shape on a chip, with options; and programs of it, timed.

Times are those of `emu explore`: its jobs, its store, its executors. Where it has timed the same
step of the same program with the same code, it is found; where a search has, so is that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from compiler.api import plan_config
from compiler.config import ModelConfig
from compiler.options import Options
from compiler.settled import settled
from compiler.tiling import Tiling
from emulator.explore import executors
from emulator.explore.code_version import code_version
from emulator.explore.evaluate import ERROR, Outcome, evaluate
from emulator.explore.point import Job, key_of, plain_chip, plain_model
from emulator.explore.run import Task
from emulator.explore.store import Store
from emulator.search.steps import Step
from isa.chip import Chip
from isa.errors import FileError

FOLDED: Final = 4  #: layers that are simulated, as by `emu bench chip`: the others are like them

_ELSEWHERE: Final = "set XDG_CACHE_HOME to another place"

Asked = tuple[Tiling, Sequence[Step]]
Time = int | str  #: cycles, or why there are none


@dataclass(frozen=True)
class Subject:
    """A model's shape, its chip and its options; the options' own tiling is what a search keeps."""

    config: ModelConfig
    chip: Chip
    options: Options
    ignore_capacity: bool = False

    def with_tiling(self, tiling: Tiling) -> Options:
        """The options with a tiling beside what they have given."""
        return replace(self.options, tiling=replace(self.options.tiling, **tiling.given()))

    def settled(self, tiling: Tiling) -> Tiling:
        """Every knob of the program with a tiling. Raises CompileError if there is none."""
        options = self.with_tiling(tiling)
        return settled(plan_config(self.config, self.chip, options, self.ignore_capacity))

    def job(self, tiling: Tiling, step: Step) -> Job:
        """What `emulator.explore.evaluate` does for a step of the program with a tiling."""
        options = self.with_tiling(tiling)
        plain: dict[str, Any] = {each.name: getattr(options, each.name) for each in fields(Options)}
        return {
            "chip": plain_chip(self.chip),
            "model": plain_model(self.config),
            "options": plain | {"tiling": options.tiling.text()},
            "ignore_capacity": self.ignore_capacity,
            "fold_layers": FOLDED,
            "phases": [step.job()],
            "code": code_version(),
        }


class Timer:
    """Times steps of a subject's programs, unless they are known."""

    def __init__(self, subject: Subject, store: Store, place: executors.Place) -> None:
        self.subject, self._store, self._place = subject, store, place
        self._errors: dict[str, str] = {}  # of this run: they are not kept, but tried again
        self.timed: set[str] = set()  #: keys that this run timed
        self.known: set[str] = set()  #: and that were known before

    def times(self, asked: Sequence[Asked]) -> list[list[Time]]:
        """For each tiling the times of its steps, in order; what is timed is kept at once."""
        tasks = [[self._task(tiling, step) for step in steps] for tiling, steps in asked]
        wanted = {key for part in tasks for key, _ in part}
        known = self._store.known(wanted) | self._errors.keys()
        missing = [[task for task in part if task[0] not in known] for part in tasks]
        self.known |= (wanted & known) - self.timed
        for outcomes in self._place.run(evaluate, [part for part in missing if part]):
            for outcome in outcomes:
                self._keep(outcome)
        stored = self._store.get(wanted)
        return [[self._time(key, stored) for key, _ in part] for part in tasks]

    def _task(self, tiling: Tiling, step: Step) -> Task:
        job = self.subject.job(tiling, step)
        return key_of(job), job

    def _keep(self, outcome: Outcome) -> None:
        self.timed.add(outcome["key"])
        self._store.put(outcome, code_version())
        if outcome["status"] == ERROR:
            self._errors[outcome["key"]] = outcome["reason"]

    def _time(self, key: str, stored: dict[str, Any]) -> Time:
        if key in self._errors:
            return self._errors[key]
        found = stored[key]
        if found.result is None:
            return str(found.reason)
        (phase,) = found.result["phases"].values()
        return int(phase["cycles"])


def folder() -> Path:
    """Where times are kept: in the user's cache, beside compiled kernels."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tessera" / "search"


@contextmanager
def timer(subject: Subject, jobs: int) -> Iterator[Timer]:
    """A timer with the user's store and so many processes. Raises FileError."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileError(f"{place}: cannot be written: {problem}; {_ELSEWHERE}") from None
    store = Store(place, elsewhere=_ELSEWHERE)
    try:
        if jobs == 1:
            yield Timer(subject, store, executors.Place(executors.Here(), window=1))
        else:
            with executors.executor("local", jobs, None, place, {}) as where:
                yield Timer(subject, store, where)
    finally:
        store.close()
