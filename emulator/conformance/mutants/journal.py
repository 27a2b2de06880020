"""What is known of mutants, on disk: a line for each finding, so that a run can go on.

A kill stays known as long as the mutant, the sources it changes and the case that kills it are the
same; that a mutant survives, as long as the whole suite is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import emulator
import isa

_MODULES: Final = ("reference", "memory.py")
_ELSEWHERE: Final = ("asm", "doc", "disassembler")  # of isa: no executor loads them


@dataclass(frozen=True)
class Finding:
    """What became of a mutant. ``case`` is the first that failed, empty if none did."""

    mutant: str  # name and digest
    case: str
    digest: str  # of that case; of the whole suite if it survived
    detail: str = ""
    seconds: float = 0.0
    loads: bool = True


class Journal:
    """Findings of one state of the sources."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._found: dict[str, Finding] = {}
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) != len(raw):  # a torn last line
            os.ftruncate(self._handle, len(whole))
        for line in whole.splitlines():
            finding = Finding(**json.loads(line))
            self._found[finding.mutant] = finding

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self._found[finding.mutant] = finding
        line = json.dumps(asdict(finding), separators=(",", ":")) + "\n"
        os.write(self._handle, line.encode())

    def known(self, mutant: str, cases: Mapping[str, str], suite: str) -> Finding | None:
        """What was found of a mutant, if it still holds; ``cases``: name -> digest."""
        found = self._found.get(mutant)
        if found is None:
            return None
        if not found.case:
            return found if found.digest == suite or not found.loads else None
        return found if cases.get(found.case) == found.digest else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def sources_digest() -> str:
    """A digest of the sources that are changed, and of what runs them."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(emulator.__file__).parent
    places = [Path(isa.__file__).parent, *(root / name for name in _MODULES)]
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in files:
            if path.suffix in (".py", ".yaml") and not path.name.startswith(_ELSEWHERE):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def suite_digest(digests: Mapping[str, str]) -> str:
    """One digest of all cases."""
    return hashlib.blake2b(repr(sorted(digests.items())).encode(), digest_size=10).hexdigest()
