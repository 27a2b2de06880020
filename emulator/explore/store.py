"""What was timed, for good: one SQLite file, a row for every key, written as results come.

Each row is committed by itself, so whatever ends the process loses no finished row, and none is
half there. Rows of other studies or versions of the code stay; they are found by their keys again.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emulator.explore.evaluate import ERROR, Outcome
from isa.errors import FileError

FILE: Final = "results.sqlite"
SCHEMA: Final = 1
ELSEWHERE: Final = "choose another directory with -o"
_AT_A_TIME: Final = 500  # keys in one question

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, -- hash of the job: chip, model, options, phases, code
    status TEXT NOT NULL, -- done or invalid
    reason TEXT NOT NULL,
    result BLOB,          -- JSON, compressed by zlib; NULL if invalid
    code TEXT NOT NULL,   -- version of the code
    seconds REAL NOT NULL, host TEXT NOT NULL,
    written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Stored:
    """One row: status, reason, and the result's JSON still compressed."""

    status: str
    reason: str
    packed: bytes | None

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, if it was timed."""
        if self.packed is None:
            return None
        found: dict[str, Any] = json.loads(zlib.decompress(self.packed))
        return found


class Store:
    """The results in a directory. Raises FileError for what the system refuses."""

    def __init__(self, folder: Path, read_only: bool = False, elsewhere: str = ELSEWHERE) -> None:
        """`elsewhere`: how a user chooses another folder, for errors."""
        self.path, self._elsewhere = folder / FILE, elsewhere
        with self._named():
            mode = "?mode=ro" if read_only else ""
            where = f"{self.path.resolve().as_uri()}{mode}"
            self._database = sqlite3.connect(where, uri=True, isolation_level=None, timeout=30)
            if read_only:
                return
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._check_schema()
            self._database.execute(_CREATE)

    def _check_schema(self) -> None:
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA):
            raise FileError(
                f"{self.path}: schema {found}, this version reads {SCHEMA}; {self._elsewhere}"
            )
        self._database.execute(f"PRAGMA user_version={SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, outcome: Outcome, code: str) -> None:
        """Keep an outcome for good. Errors are not kept: the next run tries again."""
        if outcome["status"] == ERROR:
            return
        result = outcome["result"]
        packed = None if result is None else zlib.compress(_canonical(result))
        row = (outcome["key"], outcome["status"], outcome["reason"], packed, code)
        with self._named():
            self._database.execute(
                "INSERT OR IGNORE INTO results (key, status, reason, result, code, seconds, host) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, outcome["seconds"], outcome["host"]),
            )

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that there are results for."""
        return {key for (key,) in self._asked("key", keys)}

    def get(self, keys: Iterable[str]) -> dict[str, Stored]:
        """The rows of these keys."""
        rows = self._asked("key, status, reason, result", keys)
        return {key: Stored(status, reason, packed) for key, status, reason, packed in rows}

    def _asked(self, columns: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(dict.fromkeys(keys))
        for first in range(0, len(wanted), _AT_A_TIME):
            part = wanted[first : first + _AT_A_TIME]
            marks = ",".join("?" * len(part))
            with self._named():
                yield from self._database.execute(
                    f"SELECT {columns} FROM results WHERE key IN ({marks})", part
                ).fetchall()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the library as one line that says what to do."""
        try:
            yield
        except sqlite3.Error as error:
            raise FileError(f"{self.path}: {_remedy(error, self._elsewhere)}") from None


def _canonical(result: dict[str, Any]) -> bytes:
    return json.dumps(result, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


_REMEDIES: Final[tuple[tuple[str, str], ...]] = (
    ("full", "the disk is full; make room and run again: finished points are kept"),
    ("readonly", "cannot be written: permission denied; {elsewhere}"),
    ("unable to open", "cannot be opened; {elsewhere}"),
    ("not a database", "is no results file of emu explore; move it away"),
    ("malformed", "is damaged; move it away and run again"),
    ("locked", "is in use by another program; wait until it ends"),
)


def _remedy(error: sqlite3.Error, elsewhere: str) -> str:
    text = str(error)
    found = next((remedy for sign, remedy in _REMEDIES if sign in text), text)
    return found.replace("{elsewhere}", elsewhere)
