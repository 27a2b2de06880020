"""A hash of the sources that a point's timing depends on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: Folders and files. What `evaluate` imports from elsewhere cannot change a number: it shows,
#: draws or explains; a test holds this list against those imports.
SOURCES: Final = (
    "isa",
    "compiler",
    "emulator/timing",
    "emulator/fast",
    "emulator/kernels",
    "emulator/accounting.py",
    "emulator/accounting_columns.py",
    "emulator/accounting_kernel.py",
    "emulator/accounting_transfers.py",
    "emulator/decoder.py",
    "emulator/decoder_facts.py",
    "emulator/fold.py",
    "emulator/memory.py",
    "emulator/meter.py",
    "emulator/metered.py",
    "emulator/retire.py",
    "emulator/sampling.py",
    "emulator/tally.py",
    "emulator/explore/economics/capacity.py",
    "emulator/explore/economics/part.py",
    "emulator/explore/economics/values.py",
    "emulator/explore/evaluate.py",
    "emulator/explore/phases.py",
    "emulator/explore/placement.py",
    "emulator/explore/quality",
    "emulator/explore/simulate.py",
)


def files() -> Iterator[Path]:
    """Every source file, in a fixed order."""
    for name in SOURCES:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


@cache
def code_version() -> str:
    """16 hexadecimal digits that change with any of the sources."""
    digest = blake2b(digest_size=8)
    for path in files():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
