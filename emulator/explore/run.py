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
from emulator.explore.point import Point
from emulator.explore.rows import Judge, Row
from emulator.explore.sampling import sampled
from emulator.explore.store import Store
from emulator.explore.study import SEARCH, Study
from isa.errors import FileError

LOCK: Final = ".lock"
_ROW_BYTES: Final = 12_000  # of a stored result, generously

Advance = Callable[[float], None]


@dataclass
class Counts:
    """What a run did: points timed now, found in the store, and the errors by key."""

    timed: int = 0
    found: int = 0
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
        wanted = {
            point.key: point.job
            for point in points
            if point.job is not None and not self.judge.forbidden(point)
        }
        there = self.store.known(wanted)
        missing = [(key, job) for key, job in wanted.items() if key not in there]
        self.counts.found += len(there)
        self.advance(len(points) - len(missing))
        for outcomes in self.place.run(evaluate, missing):
            for outcome in outcomes:
                self.store.put(outcome, self.study.points.version)
                self.counts.timed += 1
                if outcome["status"] == ERROR:
                    self.counts.errors[outcome["key"]] = outcome["reason"]
            self.advance(len(outcomes))

    def rows(self, points: Sequence[Point]) -> list[Row]:
        """The rows of points, sorted by key."""
        return rows(self.study, self.store, points, self.counts.errors)


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
        part = ordered[first : first + 100]
        stored = store.get(point.key for point in part)
        found += [
            judge.row(point, stored.get(point.key), errors.get(point.key, "")) for point in part
        ]
    return found


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
