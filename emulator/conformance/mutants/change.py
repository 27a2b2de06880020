"""A mutant: the reference executor with some of its source text replaced.

    fault("blocks-reversed", "blocks are added in reverse", "mxu/gemm",
          edit("matrix", "enumerate(range(0, k, block))", "reversed(...)"))

Modules are named without `emulator.reference.`, those of `isa` in full. Text that is replaced
occurs exactly once in its module; a mutant that no longer applies is stale, which is an error.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from isa.errors import TesseraError

REFERENCE: Final = "emulator.reference"


class StaleMutant(TesseraError):
    """A mutant that does not apply to the sources as they are."""


@dataclass(frozen=True)
class Edit:
    """Text of a module and what stands in its place; without `old` it is added at the end."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """Edits with a name. ``first`` are the beginnings of names of the cases to try first."""

    name: str
    what: str
    first: tuple[str, ...]
    edits: tuple[Edit, ...]

    @property
    def digest(self) -> str:
        """Tells whether this mutant is still the same."""
        return hashlib.blake2b(repr(self.edits).encode(), digest_size=10).hexdigest()


def edit(module: str, old: str, new: str) -> Edit:
    """A replacement in a module of the reference executor, or of `isa`."""
    return Edit(full_name(module), old, new)


def add(module: str, text: str) -> Edit:
    """Definitions at the end of a module."""
    return edit(module, "", text)


def full_name(module: str) -> str:
    """The module's name in full."""
    return module if "." in module else f"{REFERENCE}.{module}"


def fault(name: str, what: str, first: str, *edits: Edit) -> Mutant:
    """A seeded fault; ``first`` may be several beginnings, separated by spaces."""
    return Mutant(name, what, tuple(first.split()), edits)


@cache
def path_of(module: str) -> Path:
    """The file of a module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return Path(spec.origin)


@cache
def source_of(module: str) -> str:
    """The text of a module."""
    return path_of(module).read_text(encoding="utf-8")


def patched(mutant: Mutant) -> dict[str, str]:
    """The text of every module that a mutant changes. Raises StaleMutant."""
    sources: dict[str, str] = {}
    for change in mutant.edits:
        sources[change.module] = apply(mutant.name, sources, change)
    return sources


def apply(name: str, sources: dict[str, str], change: Edit) -> str:
    """One module's text after one more edit."""
    before = sources.get(change.module, source_of(change.module))
    if not change.old:
        return f"{before}\n\n{change.new}\n"
    count = before.count(change.old)
    if count != 1:
        line = change.old.strip().splitlines()[0]
        raise StaleMutant(f"{name}: {change.module} has {count} times `{line}`, not once")
    return before.replace(change.old, change.new)


def digest_of(modules: Sequence[Path]) -> str:
    """One digest of several files."""
    digest = hashlib.blake2b(digest_size=10)
    for path in modules:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
