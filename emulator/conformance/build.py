"""Building cases into a directory, several at a time; what is there already stays.

    entries = build(path, makers, chip, jobs=2, vectors=True)

A case is there when its part, `parts/NAME.json`, is: it is written after the case's files and
has their hashes. So whoever was interrupted goes on where he was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import SYMBOL as IMAGE
from emulator.conformance.entry import Entry, FileFact, check_name, place_of
from emulator.conformance.folder import holds
from emulator.conformance.result import to_text
from emulator.conformance.running.children import End, Job, Pool
from emulator.errors import InputError
from emulator.progress import progress
from isa.chip import Chip
from isa.program import save

PARTS: Final = "parts"
_BATCH: Final = 12  # cases that one child builds
_SHOWN: Final = 12  # lines of what a failed child printed


def build(
    path: Path,
    parts: Path,
    makers: Sequence[Maker],
    chip: Chip,
    jobs: int,
    vectors: bool,
) -> list[Entry]:
    """The entries of all cases, whose files are then in the directory."""
    for maker in makers:
        check_name(maker.name)
    missing = [maker for maker in makers if read_part(path, parts, maker.name, vectors) is None]
    with progress(f"building {len(missing)} cases", len(missing)) as advance:
        for job, end in Pool(jobs).run(_jobs(path, parts, missing, chip, vectors)):
            if end.status != 0:
                raise _failure(job, end)
            advance(job.extra)
    entries = [read_part(path, parts, maker.name, vectors) for maker in makers]
    return [entry for entry in entries if entry is not None]


def _failure(job: Job, end: End) -> InputError:
    """What a child could not build, with the end of what it said."""
    lines = end.output.rstrip().splitlines()[-_SHOWN:]
    return InputError("\n".join([f"{job.name}: cannot be built", *(f"  {line}" for line in lines)]))


def _jobs(
    path: Path, parts: Path, makers: Sequence[Maker], chip: Chip, vectors: bool
) -> Iterator[Job]:
    """Large cases first, each by itself; then the others in batches."""
    batches = [[maker] for maker in makers if maker.full]
    small = [maker for maker in makers if not maker.full]
    batches += [small[at : at + _BATCH] for at in range(0, len(small), _BATCH)]
    for batch in batches:
        name = batch[0].name if len(batch) == 1 else f"{batch[0].name} to {batch[-1].name}"
        yield Job(name, _body(path, parts, batch, chip, vectors), math.inf, extra=len(batch))


def _body(
    path: Path, parts: Path, batch: Sequence[Maker], chip: Chip, vectors: bool
) -> Callable[[], int]:
    def body() -> int:
        for maker in batch:
            write_case(path, parts, maker.case(chip), vectors)
        return 0

    return body


def write_case(path: Path, parts: Path, case: Case, vectors: bool) -> None:
    """Write a case's files, and then its part."""
    files = {"program": _program(path, case)}
    files["expected"] = _write(path, "expected", case.name, to_text(case.expected).encode())
    after = case.expected.symbols.get(IMAGE, b"")
    if vectors and case.image and len(after) == len(case.image):
        files["vectors"] = _write(path, "vectors", case.name, case.image + after)
    write_part(parts, Entry.of(case, files))


def write_part(parts: Path, entry: Entry) -> None:
    """Say that a case is there."""
    _put(_part(parts, entry.name), json.dumps(entry.data()).encode())


def read_part(path: Path, parts: Path, name: str, vectors: bool) -> Entry | None:
    """The entry of a case that is there with all its files."""
    place = _part(parts, name)
    try:
        entry = Entry.read(json.loads(place.read_bytes()), str(place))
    except (OSError, ValueError, InputError):
        return None
    if entry.name != name or (not vectors and "vectors" in entry.files):
        return None
    whole = all(holds(path / f.file, f.bytes, f.sha256) for f in entry.files.values())
    return entry if whole else None


def _part(parts: Path, name: str) -> Path:
    return parts / f"{name}.json"


def _program(path: Path, case: Case) -> FileFact:
    place = path / place_of("program", case.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    save(case.program, place)
    return _fact("program", case.name, place.read_bytes())


def _write(path: Path, kind: str, name: str, data: bytes) -> FileFact:
    fact = _fact(kind, name, data)
    _put(path / fact.file, data)
    return fact


def _fact(kind: str, name: str, data: bytes) -> FileFact:
    return FileFact(place_of(kind, name), len(data), hashlib.sha256(data).hexdigest())


def _put(place: Path, data: bytes) -> None:
    """Write a file; not synchronised, since hashes tell when it is not whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
