"""What is done of a run, on disk: a line for each finished batch, so that a run can go on.

A batch is in the journal once its line is whole and on the disk; a torn last line is cut off.
The file's name tells the sources and the seed, so edited code begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "programs" / "build" / "fuzz"
_SOURCES = ("isa", "compiler", "emulator", "tests/equality", "tests/fuzz", "programs/asm")


@dataclass
class Finding:
    """Something that must not be: how to see it again, and what it was."""

    kind: str
    seed: int
    what: str


@dataclass
class Batch:
    """Items [first, first + count) of a kind, and what came of them."""

    kind: str
    first: int
    count: int
    seconds: float = 0.0
    met: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class Journal:
    """The finished batches of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.batches: dict[tuple[str, int], Batch] = {}
        self.reload()

    def reload(self) -> None:
        """Read the whole journal again."""
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) != len(raw):
            os.ftruncate(self._handle, len(whole))
        for line in whole.splitlines():
            fields = json.loads(line)
            fields["findings"] = [Finding(**finding) for finding in fields["findings"]]
            batch = Batch(**fields)
            self.batches[batch.kind, batch.first] = batch

    def add(self, batch: Batch) -> None:
        """Note a finished batch; when this returns, it is on the disk."""
        self.batches[batch.kind, batch.first] = batch
        line = json.dumps(asdict(batch), separators=(",", ":")) + "\n"
        os.write(self._handle, line.encode())
        os.fsync(self._handle)

    def has(self, kind: str, first: int, count: int) -> bool:
        """Whether a batch, or a longer one that begins there, is done."""
        found = self.batches.get((kind, first))
        return found is not None and found.count >= count


def open_journal(seed: int, folder: Path = FOLDER) -> Journal:
    """The journal of a seed and the sources as they are."""
    return Journal(folder / f"journal-{_digest()}-{seed}.jsonl")


def _digest() -> str:
    """A digest of everything a result can depend on."""
    digest = hashlib.blake2b(digest_size=6)
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".tasm"):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()
