"""A kit's directory: `manifest.json` and the files of its cases.

folder = open_folder(path)             # raises InputError
for entry in folder.select(["mxu"], ["*/gemm/*"], full=False): ...
known = folder.known(entry)            # what a verdict needs; the files' hashes are compared
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from emulator.conformance.case import PROFILES, View
from emulator.conformance.entry import Entry
from emulator.conformance.result import Result, ResultError, from_text
from emulator.errors import InputError

SCHEMA: Final = 1
MANIFEST: Final = "manifest.json"
_MOST_BYTES: Final = 1 << 28  # of a manifest


@dataclass(frozen=True)
class KnownCase:
    """A case of a kit's directory, as the judge needs it."""

    name: str
    expected: Result
    views: tuple[View, ...]
    text: str  # the result file that must come out


@dataclass(frozen=True)
class Folder:
    """A kit's directory. ``identity`` changes with anything in it."""

    path: Path
    identity: str
    facts: dict[str, Any]  # the manifest without its cases
    entries: tuple[Entry, ...]

    def select(
        self, profiles: Sequence[str] = (), globs: Sequence[str] = (), full: bool = False
    ) -> list[Entry]:
        """The cases of some profiles whose names match one of the patterns, if there are any."""
        found = [
            entry
            for entry in self.entries
            if (full or not entry.full)
            and wanted_profile(entry.profile, profiles)
            and wanted_name(entry.name, globs)
        ]
        if not found:
            raise nothing_selected(profiles, globs)
        return found

    def program(self, entry: Entry) -> Path:
        """The program's file."""
        return self.path / entry.files["program"].file

    def known(self, entry: Entry) -> KnownCase:
        """What must come out of a case. Raises InputError for a file that is not the kit's."""
        self.read(entry, "program")
        data = self.read(entry, "expected")
        try:
            text = data.decode()
            expected = from_text(text)
        except (ResultError, UnicodeDecodeError) as error:
            place = self.path / entry.files["expected"].file
            raise InputError(f"{place}: {error}") from None
        return KnownCase(entry.name, expected, entry.views, text)

    def read(self, entry: Entry, kind: str) -> bytes:
        """A file of a case; its hash is compared."""
        fact = entry.files[kind]
        data = read_file(self.path / fact.file)
        if hashlib.sha256(data).hexdigest() != fact.sha256:
            raise InputError(
                f"{self.path / fact.file}: is not what the manifest says; export the kit again"
            )
        return data

    def damaged(self) -> list[str]:
        """The files that are missing or not what the manifest says."""
        return [
            fact.file
            for entry in self.entries
            for fact in entry.files.values()
            if not holds(self.path / fact.file, fact.bytes, fact.sha256)
        ]


def wanted_profile(profile: str, profiles: Sequence[str]) -> bool:
    """Whether a profile is among those asked for; none means all."""
    return not profiles or "full" in profiles or profile in profiles


def wanted_name(name: str, globs: Sequence[str]) -> bool:
    """Whether a name matches one of the patterns; none means all."""
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def nothing_selected(profiles: Iterable[str], globs: Iterable[str]) -> InputError:
    """The error for a choice that leaves no case."""
    chosen = " ".join([*(f"--profile {p}" for p in profiles), *(f"--case {g!r}" for g in globs)])
    return InputError(f"no case {'matches ' + chosen if chosen else 'in the kit'}; "
                      "see `emu conformance list`")  # fmt: skip


def check_profiles(profiles: Iterable[str]) -> None:
    """Raises InputError for a profile that does not exist."""
    for profile in profiles:
        if profile not in (*PROFILES, "full"):
            raise InputError(f"profile {profile!r} is none of {', '.join((*PROFILES, 'full'))}")


def holds(path: Path, size: int, digest: str) -> bool:
    """Whether a file has this content."""
    try:
        return path.stat().st_size == size and file_hash(path) == digest
    except OSError:
        return False


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_file(path: Path) -> bytes:
    """A file's bytes. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be read: {problem}") from None


def open_folder(path: Path) -> Folder:
    """A kit that `emu conformance export` made. Raises InputError."""
    manifest = path / MANIFEST
    if not path.is_dir():
        raise InputError(f"{path}: is no directory; `emu conformance export {path}` makes a kit")
    if not manifest.exists():
        raise InputError(f"{path}: has no {MANIFEST}; `emu conformance export` makes a kit")
    if manifest.stat().st_size > _MOST_BYTES:
        raise InputError(f"{manifest}: too large for a manifest")
    raw = read_file(manifest)
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{manifest}: {error}; export the kit again") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{manifest}: is not of schema {SCHEMA}; export the kit again")
    cases = data.pop("cases", None)
    if not isinstance(cases, list) or not cases:
        raise InputError(f"{manifest}: has no cases; export the kit again")
    entries = tuple(Entry.read(c, f"{manifest}: case {n}") for n, c in enumerate(cases))
    if len({entry.name for entry in entries}) != len(entries):
        raise InputError(f"{manifest}: two cases have one name; export the kit again")
    return Folder(path, hashlib.sha256(raw).hexdigest(), data, entries)
