"""The cases of the fast suite, built once, as bytes that a changed executor reads.

Building them takes the oracle a minute or two; they are kept on disk as long as no source changes.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import emulator
import isa
from emulator.conformance.case import Case
from emulator.conformance.kit import makers
from emulator.conformance.result import to_text
from isa.chip import Chip, load_chip
from isa.program import save

CHIP: Final = "t1-mini"
_PACKAGES: Final = (Path(isa.__file__).parent, Path(emulator.__file__).parent / "conformance")
_OWN: Final = Path(__file__).parent

Advance = Callable[[float], None]


@dataclass(frozen=True)
class Prepared:
    """A case with its program file."""

    case: Case
    program: bytes

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    @property
    def digest(self) -> str:
        """Tells whether the case is still the same."""
        digest = hashlib.blake2b(self.program, digest_size=10)
        digest.update(to_text(self.case.expected).encode())
        return digest.hexdigest()


def prepare(case: Case) -> Prepared:
    """A case with its program file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.bin"
        save(case.program, path)
        return Prepared(case, path.read_bytes())


def fast_suite(work: Path, advance: Advance = lambda _: None) -> list[Prepared]:
    """Every case that is not of the full suite alone, by name's profile in the kit's order."""
    kept = work / f"cases-{_digest()}.pickle"
    if kept.is_file():
        found: list[Prepared] = pickle.loads(kept.read_bytes())
        return found
    chip = load_chip(CHIP)
    cases = []
    wanted = makers()
    for maker in wanted:
        cases.append(prepare(maker.case(chip)))
        advance(1 / len(wanted))
    _keep(kept, cases)
    return cases


def _keep(path: Path, cases: Iterable[Prepared]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob("cases-*.pickle"):
        old.unlink()
    half = path.with_suffix(f".{os.getpid()}")
    half.write_bytes(pickle.dumps(list(cases)))
    half.replace(path)


def _digest() -> str:
    """A digest of everything that cases are built from."""
    digest = hashlib.blake2b(digest_size=8)
    for package in _PACKAGES:
        for path in sorted(package.rglob("*")):
            wanted = path.suffix in (".py", ".yaml", ".json", ".txt", ".tasm")
            if wanted and _OWN not in path.parents:
                digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()


def ordered(cases: list[Prepared], first: tuple[str, ...]) -> list[int]:
    """Indices of all cases: those with the wanted beginnings first, small programs before large."""

    def key(index: int) -> tuple[int, int, int]:
        case = cases[index]
        matches = (i for i, start in enumerate(first) if fnmatchcase(case.name, f"{start}*"))
        place = next(matches, len(first))
        return place, len(case.program) >> 12, index

    return sorted(range(len(cases)), key=key)


__all__ = ["CHIP", "Case", "Chip", "Prepared", "fast_suite", "ordered", "prepare"]
