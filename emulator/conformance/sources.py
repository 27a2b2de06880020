"""What a kit's content depends on, and where our own runs keep the kits they made."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import emulator
import isa
from isa.chip import Chip

#: What runs a kit or reports on it: an edit there changes no case.
_NO_CONTENT: Final = ("running", "reports", "judge.py", "device.py", "coverage.py", "streams.py",
                      "stream_ops.py", "mutants.py", "mutants", "export.py", "documents.py",
                      "folder.py", "assets", "sources.py")  # fmt: skip
_NO_EXECUTOR: Final = ("commands", "conformance", "timing")
_KEPT: Final = 3  # kits in the cache
_JOURNALS: Final = 30
_DIGITS: Final = 24


def content_key(chip: Chip) -> str:
    """Digits that change with any source that a kit's content could depend on."""
    digest = hashlib.sha256(repr(sorted(chip.architecture.items())).encode())
    for name, path in _sources():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def executor_key() -> str:
    """Digits that change with any source of the executors."""
    root, digest = Path(emulator.__file__).parent, hashlib.sha256()
    others = {root / name for name in _NO_EXECUTOR}
    for path in sorted([*root.rglob("*.py"), *Path(isa.__file__).parent.rglob("*.py")]):
        if others.isdisjoint(path.parents):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]


def _sources() -> Iterator[tuple[str, Path]]:
    """Name and path of each file, in order."""
    for label, root in (("isa", Path(isa.__file__).parent), ("kit", Path(__file__).parent)):
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            hidden = "__pycache__" in inside.parts or path.name.startswith(".")
            if path.is_file() and not hidden and inside.parts[0] not in _NO_CONTENT:
                yield f"{label}/{inside.as_posix()}", path


def cache_root() -> Path:
    """programs/build/conformance of the checkout; without one, a directory of the user's."""
    checkout = Path(isa.__file__).parents[1]
    if (checkout / "programs").is_dir() and os.access(checkout / "programs", os.W_OK):
        return checkout / "programs" / "build" / "conformance"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tessera" / "conformance"


def prune(root: Path, keep: str) -> None:
    """Remove all but the kits and journals used last."""
    journals = sorted((root / "state").glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    for path in journals[:-_JOURNALS]:
        path.unlink(missing_ok=True)
    kits = [path for path in root.glob("?" * _DIGITS) if path.is_dir() and path.name != keep]
    kits.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kits[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
