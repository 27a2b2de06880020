"""Runs a study: what the store has not is timed wherever the executor is, and kept as it comes."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emulator.explore.errors import StudyError
from emulator.explore.evaluate import ERROR, evaluate
from emulator.explore.executors import Place
from emulator.explore.point import Job, Point
from emulator.explore.quality.job import KIND
from emulator.explore.rows import Judge, Row
from emulator.explore.sampling import sampled
from emulator.explore.store import Store
from emulator.explore.study import SEARCH, Study
from isa.errors import FileError

LOCK: Final = ".lock"
_ROW_BYTES: Final = 12_000  # of a stored result, generously

_MOST_TOGETHER: Final = 8  # points of a task: a kill loses those under way

Advance = Callable[[float], None]
Task = tuple[str, Job]


@dataclass
class Counts:
    """What a run did: points timed now, found in the store, jobs of formats, errors by key."""

    timed: int = 0
    found: int = 0
    measured: int = 0
    errors: dict[str, str] = field(default_factory=dict)


@contextmanager
def results_folder(folder: Path, points: int) -> Iterator[Store]:
    """The store of a results directory, which is made, checked for room, and held for this run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except FileExistsError:
        raise FileError(f"{folder}: is a file; choose another directory with -o") from None
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileError(
            f"{folder}: cannot be written: {problem}; choose another directory with -o"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileError(
                f"{folder}: another emu explore writes here; wait until it ends, or choose "
                "another directory"
            ) from None
        _check_room(folder, points)
        store = Store(folder)
        try:
            yield store
        finally:
            store.close()


def _check_room(folder: Path, points: int) -> None:
    free, needed = shutil.disk_usage(folder).free, (points + 100) * _ROW_BYTES
    if free < needed:
        raise FileError(
            f"{folder}: the disk is full: {free / 1e6:,.1f} MB are free, {points:,} points may "
            f"take {needed / 1e6:,.1f} MB; make room, or choose another directory with -o"
        )


class Runner:
    """Times points of a study that the store lacks."""

    def __init__(self, study: Study, store: Store, place: Place, advance: Advance) -> None:
        self.study, self.store, self.place, self.advance = study, store, place, advance
        self.judge = Judge(study)
        self.counts = Counts()

    def points(self) -> list[Point]:
        """Every point of the study, each once; all have results in the store, or an error."""
        if self.study.sampling.kind == SEARCH:
            from emulator.explore.search import search

            return search(self)
        points = all_points(self.study)
        self.time(points)
        return points

    def time(self, points: Sequence[Point]) -> None:
        """Time those of the points that need it. Raises StudyError and FileError."""
        wanted = jobs(self.judge, points)
        there = self.store.known(wanted)
        missing = [(key, job) for key, job in wanted.items() if key not in there]
        timings = {key for key, job in missing if not of_formats(job)}
        self.counts.found += sum(not of_formats(wanted[key]) for key in there)
        self.advance(len(points) - len(timings))
        for outcomes in self.place.run(evaluate, chunks(missing, self.place.chunk)):
            for outcome in outcomes:
                self.store.put(outcome, self.study.points.version)
                if outcome["status"] == ERROR:
                    self.counts.errors[outcome["key"]] = outcome["reason"]
            timed = sum(outcome["key"] in timings for outcome in outcomes)
            self.counts.timed += timed
            self.counts.measured += len(outcomes) - timed
            self.advance(timed)

    def rows(self, points: Sequence[Point]) -> list[Row]:
        """The rows of points, sorted by key."""
        return rows(self.study, self.store, points, self.counts.errors)


def jobs(judge: Judge, points: Sequence[Point]) -> dict[str, Job]:
    """All jobs of the points by key; those of formats first, for they take longest."""
    found: dict[str, Job] = {}
    for point in points:
        found |= judge.jobs(point)
    return dict(sorted(found.items(), key=lambda item: not of_formats(item[1])))


def of_formats(job: Job) -> bool:
    """Whether a job measures the quality of formats; else it times a point."""
    return job.get("kind") == KIND


def chunks(items: Sequence[Task], size: int | None) -> list[list[Task]]:
    """Jobs as tasks of `size` each; without one, neighbours that share steps are together."""
    if size is not None:
        return [list(items[first : first + size]) for first in range(0, len(items), size)]
    found: list[list[Task]] = []
    for item in items:
        if found and len(found[-1]) < _MOST_TOGETHER and _alike(found[-1][0][1], item[1]):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _alike(one: Job, other: Job) -> bool:
    """Whether two jobs differ in their phases only: they have one program, and perhaps steps."""
    return {**one, "phases": 0} == {**other, "phases": 0}


def all_points(study: Study) -> list[Point]:
    """The points of a grid, a list or a random choice; equal ones once."""
    found: dict[Any, Point] = {}
    for values in sampled(study):
        point = study.points.point(values)
        found.setdefault(identity(point), point)
    return list(found.values())


def identity(point: Point) -> tuple[str, str]:
    """What makes two points the same: not the key alone, for some inputs enter metrics only."""
    return point.key, repr(sorted(point.inputs.items(), key=lambda item: item[0]))


def rows(study: Study, store: Store, points: Sequence[Point], errors: dict[str, str]) -> list[Row]:
    """The rows of points, sorted by key. Results are read a few at a time: they may be large."""
    judge, found = Judge(study), []
    ordered = sorted(points, key=identity)
    for first in range(0, len(ordered), 100):
        found += judged(judge, store, ordered[first : first + 100], errors)
    return found


def judged(
    judge: Judge, store: Store, points: Sequence[Point], errors: dict[str, str]
) -> list[Row]:
    """The rows of a few points, in their order."""
    stored = store.get(jobs(judge, points))
    return [judge.row(point, stored, errors) for point in points]


def check_complete(found: Sequence[Row]) -> None:
    """Raise StudyError for rows that failed for no reason we know."""
    broken = [row for row in found if row.status == ERROR]
    if broken:
        first = broken[0]
        raise StudyErrorRows(
            f"{len(broken)} of {len(found)} points failed: {first.key[:16]}: {first.reason}; "
            "please report it; the next run tries them again"
        )


class StudyErrorRows(StudyError):
    """Points that failed by a defect of ours; everything else is done."""

    exit_status = 1
