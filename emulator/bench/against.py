"""Two commits, row by row: each measures in a process of its own, in turns."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from emulator.bench.child import measured_in_child
from emulator.bench.effort import Effort
from emulator.bench.rows import BenchError, Entry, Measured, Row
from emulator.bench.table import number, ratio
from emulator.jit_key import ROOT

ROUNDS = 3
_PACKAGE = "emulator/bench"


@dataclass(frozen=True)
class Comparison:
    """A row of this code and of the other commit's."""

    mine: Row
    theirs: Row

    @property
    def ratio(self) -> float | None:
        """This value over the other's."""
        mine, theirs = self.mine.measured.value, self.theirs.measured.value
        return mine / theirs if mine and theirs else None

    def line(self, names: int) -> str:
        """Both values, their ratio, and each one's share of its yardstick."""
        mine, theirs = self.mine.measured, self.theirs.measured
        text = f"{self.mine.entry.name:{names}} {number(mine.value)} {number(theirs.value)} "
        text += f"{self.mine.entry.unit:9}{ratio(self.ratio)}"
        return f"{text}  {ratio(mine.ratio)} {ratio(theirs.ratio)}  {theirs.note}".rstrip()


def heading(names: int, ref: str) -> str:
    """The first line."""
    columns = f"{'here':>9} {ref[:9]:>9} {'unit':9}{'ratio':>6}"
    return f"{'row':{names}} {columns}  of the yardstick, each"


@contextmanager
def checkout(ref: str, root: Path = ROOT) -> Iterator[Path]:
    """The files of a commit in a temporary place; the repository stays as it is."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if commit is None:
        raise BenchError(f"--against {ref}: {root} has no such commit")
    with tempfile.TemporaryDirectory() as temporary:
        folder, archive = Path(temporary) / "commit", Path(temporary) / "commit.tar"
        if _git(root, "archive", "-o", str(archive), commit.strip()) is None:
            raise BenchError(f"--against {ref}: git cannot write its files")
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        if not (folder / _PACKAGE).is_dir():  # older than the bench: ours measures it
            shutil.copytree(root / _PACKAGE, folder / _PACKAGE)
        yield folder


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None if it fails, or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def compared(
    table: Sequence[Entry], other: Path, effort: Effort, rounds: int = ROUNDS
) -> Iterator[Comparison]:
    """Every row of both, in turns."""
    for entry in table:
        pairs = [
            (_measured(entry.name, effort, ROOT), _measured(entry.name, effort, other))
            for _ in range(rounds)
        ]
        mine, theirs = (_middle(list(each)) for each in zip(*pairs, strict=True))
        yield Comparison(Row(entry, mine), Row(entry, theirs))


def _measured(name: str, effort: Effort, root: Path) -> Measured:
    """A commit may not know a row, or not be able to: then it has no value, and the reason."""
    try:
        return measured_in_child(name, effort, root=root)
    except BenchError as error:
        return Measured(None, note=str(error))


def _middle(results: list[Measured]) -> Measured:
    """Medians of what was measured."""
    values = [each.value for each in results if each.value is not None]
    yardsticks = [each.yardstick for each in results if each.yardstick is not None]
    note = results[-1].note if not values else ""
    return Measured(
        median(values) if values else None, median(yardsticks) if yardsticks else None, note
    )


def report(base: dict[str, Any], ref: str, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The bench's JSON with the other commit's rows beside."""
    theirs = [each.theirs.json() for each in comparisons]
    return {**base, "against": {"ref": ref, "rows": theirs}}
