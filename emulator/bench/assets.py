"""Checkpoints and programs of the rows of whole models: made once, kept in the cache directory.

They lie under $XDG_CACHE_HOME/tessera/bench, else ~/.cache/tessera/bench. A program is made anew
when the compiler or the ISA has changed; the one before is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulator.bench.checkpoint import SHAPES, size_of, write_checkpoint
from emulator.bench.rows import BenchError
from emulator.bench.start import EMU
from emulator.jit_key import ROOT

SEED = 0
FORMATS = ("--weights", "mxfp4", "--activations", "mxfp8", "--chip", "t1")
GIGA = 1e9
_SPARE = 1 << 30  # bytes of disk to be left alone
_SOURCES = ("compiler", "isa")  # what a program's bytes depend on


class NoRoomError(BenchError):
    """Too little disk for what a row needs."""


@dataclass(frozen=True)
class Assets:
    """A model's files."""

    name: str
    program: Path
    checkpoint: Path | None  #: None: not kept


def folder() -> Path:
    """Where they are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tessera" / "bench"


def assets(name: str, place: Path | None = None, keep_checkpoint: bool = True) -> Assets:
    """A model's program, and its checkpoint if that is wanted; made if they are not there.

    Raises NoRoomError before anything is written, and BenchError if the compiler fails.
    """
    place = place or folder()
    program = place / f"{name}-{_digest(name)}.bin"
    checkpoint = place / name
    have = _complete(checkpoint, name)
    if not program.exists() or (keep_checkpoint and not have):
        _check_room(name, place, 0 if have else size_of(SHAPES[name]), not program.exists())
        if not have:
            _write(checkpoint, name)
        if not program.exists():
            _compile(name, checkpoint, program)
    if not keep_checkpoint:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return Assets(name, program, checkpoint if keep_checkpoint else None)


def _digest(name: str) -> str:
    """Of what the program is made from: the shape, the formats, the compiler's sources."""
    files = sorted(path for part in _SOURCES for path in (ROOT / part).rglob("*.py"))
    found = hashlib.blake2b(repr((SHAPES[name], SEED, FORMATS)).encode(), digest_size=8)
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()


def _complete(checkpoint: Path, name: str) -> bool:
    """Whether a checkpoint of this shape is there; its index is written last."""
    try:
        config = json.loads((checkpoint / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return config == SHAPES[name] and (checkpoint / "model.safetensors.index.json").exists()


def _check_room(name: str, place: Path, checkpoint: int, compiles: bool) -> None:
    """Refuse what does not fit. Four bits and a scale are less than a third of BF16."""
    place.mkdir(parents=True, exist_ok=True)
    needed = checkpoint + _SPARE
    if compiles:
        config = SHAPES[name]
        embedding = 2 * config["vocab_size"] * config["hidden_size"]  # stays in BF16
        needed += embedding + size_of(config) // 3
    free = shutil.disk_usage(place).free
    if free < needed:
        raise NoRoomError(
            f"{name}: its checkpoint and program need {needed / GIGA:.1f} GB in {place}, where "
            f"{free / GIGA:.1f} GB are free; make room, or set XDG_CACHE_HOME to another place"
        )


def _write(checkpoint: Path, name: str) -> None:
    shutil.rmtree(checkpoint, ignore_errors=True)  # half of one, or of another shape
    checkpoint.mkdir(parents=True)
    write_checkpoint(checkpoint, SHAPES[name], SEED)


def _compile(name: str, checkpoint: Path, program: Path) -> None:
    for old in program.parent.glob(f"{name}-*.bin"):
        old.unlink()
    done = subprocess.run(
        [*EMU, "compile", str(checkpoint), "-o", str(program), "--quiet", *FORMATS],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        raise BenchError(f"{name}: `emu compile` ended with status {done.returncode}: {last}")
