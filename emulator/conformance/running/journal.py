"""What has been done, a line for each case, so that a killed run can go on where it was.

    with open_journal(path, header) as journal:
        journal.done                   # verdicts of an earlier run that did not come to its end
        journal.add(verdict)           # on the disk when it returns
        journal.end()                  # all is done: the next run begins anew

Lines are JSON. The first one says what the verdicts are about (kit, device, time limit); if that
is not the same, the run begins anew. A line that a killed runner left half-written is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from emulator.conformance.judge import Status, Verdict
from emulator.errors import InputError

_KIND: Final = "tessera-conformance-journal"
SCHEMA: Final = 1


class Journal:
    """An open journal. Nobody else can open it meanwhile."""

    def __init__(self, file: BinaryIO, done: dict[str, Verdict]) -> None:
        self._file = file
        self.done = done
        self.note = ""  # why verdicts that were there do not count

    def add(self, verdict: Verdict) -> None:
        """Remember how a case ended."""
        self.done[verdict.case] = verdict
        self._write({**vars(verdict), "status": verdict.status.value})

    def end(self) -> None:
        """The run has come to its end."""
        self._write({"end": True})

    def _write(self, data: dict[str, Any]) -> None:
        self._file.write(json.dumps(data).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_journal(
    path: Path, header: dict[str, Any], fresh: bool = False, resume: bool = False
) -> Iterator[Journal]:
    """The journal at a path, locked. Raises InputError.

    `fresh` forgets what was done; `resume` keeps it even if that run came to its end.
    """
    header = {"kind": _KIND, "schema": SCHEMA, **header}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("r+b" if path.exists() else "x+b")
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be written: {problem}") from None
    with file:
        _lock(file, path)
        lines = _lines(file, path)
        done = {} if fresh or (_ended(lines) and not resume) else _verdicts(lines[1:])
        changed = _changed(lines[0], header) if done else ""
        journal = _started(file, header, {} if changed else done)
        journal.note = changed and f"{changed} changed since the earlier run: all cases ran"
        yield journal


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{path}: another run is using it; wait, or give --state") from None


def _lines(file: BinaryIO, path: Path) -> list[Any]:
    """Whatever was written completely."""
    found: list[Any] = []
    for number, line in enumerate(file):
        try:
            found.append(json.loads(line) if line.endswith(b"\n") else None)
        except ValueError:
            found.append(None)
        if number == 0 and not _is_ours(line, found[0]):
            raise InputError(f"{path}: is no journal of a run; give another --state")
    return found


def _is_ours(line: bytes, first: Any) -> bool:
    """A journal, perhaps one whose first line is torn."""
    if isinstance(first, dict):
        return first.get("kind") == _KIND
    start = f'{{"kind": "{_KIND}"'.encode()
    return first is None and not line.endswith(b"\n") and (line[: len(start)] == start[: len(line)])


def _ended(lines: list[Any]) -> bool:
    return any(isinstance(line, dict) and "end" in line for line in lines)


def _changed(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is not as it was, in words; empty if all is."""
    before, now = ({**header, **header.get("files", {})} for header in (old, new))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    named = [key for key in changed if key != "files"]
    return f"{' and '.join(named[:3])} {'has' if len(named) == 1 else 'have'}" if named else ""


def _verdicts(lines: list[Any]) -> dict[str, Verdict]:
    found = {}
    for line in lines:
        try:
            verdict = Verdict(**{**line, "status": Status(line["status"])})
        except (TypeError, ValueError, KeyError):
            continue
        found[verdict.case] = verdict
    return found


def _started(file: BinaryIO, header: dict[str, Any], done: dict[str, Verdict]) -> Journal:
    """Write what is known anew, so that it ends in a whole line."""
    journal = Journal(file, done)
    if not done:
        file.seek(0)
        file.truncate()
        journal._write(header)
        return journal
    file.seek(0, os.SEEK_END)
    if not _ends_in_line(file):
        file.write(b"\n")
    return journal


def _ends_in_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
