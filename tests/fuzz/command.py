"""The command: `python -m fuzz` runs everything, `--one KIND SEED` one item."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fuzz import coverage, one
from fuzz.catalogue import KINDS
from fuzz.journal import FOLDER, Batch, Journal, open_journal
from fuzz.pool import Job, Pool
from fuzz.progress import Progress, table

APART = 1_000_000_000  #: seeds between two values of --seed


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 1 if there are findings."""
    options = _parser().parse_args(arguments)
    if options.one:
        sys.exit(one.show(KINDS[options.one[0]], int(options.one[1])))
    try:
        sys.exit(run(options))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fuzz", description="Random programs and mutated inputs.")
    parser.add_argument("--programs", type=int, metavar="N", help="random programs, in all")
    parser.add_argument("--inputs", type=int, metavar="N", help="mutated inputs, in all")
    parser.add_argument("--seed", type=int, default=0, help="another value: other items")
    parser.add_argument("--only", action="append", choices=sorted(KINDS), metavar="KIND",
                        help=f"this kind only (again for more): {', '.join(KINDS)}")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SEED"), help="check one item again")
    parser.add_argument("--fresh", action="store_true", help="forget what is done already")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the journal lies")
    parser.add_argument("--bounds", type=Path, help=argparse.SUPPRESS)  # with this journal
    return parser


def run(options: argparse.Namespace) -> int:
    """All kinds; those that want bounds checks in a process of their own."""
    journal = _journal(options)
    wanted = _wanted(options)
    bounds = options.bounds is not None
    here = {name: n for name, n in wanted.items() if KINDS[name].bounds is bounds}
    _run_kinds(here, journal, options)
    if bounds:
        return 0
    if any(KINDS[name].bounds for name in wanted):
        _run_bounds(options, journal.path)
        journal.reload()
    print(table(journal))
    print(coverage.report(journal))
    return int(any(batch.findings for batch in journal.batches.values()))


def _journal(options: argparse.Namespace) -> Journal:
    if options.bounds is not None:
        return Journal(options.bounds)
    journal = open_journal(options.seed, options.folder)
    if not options.fresh:
        return journal
    journal.path.unlink()
    return open_journal(options.seed, options.folder)


def _wanted(options: argparse.Namespace) -> dict[str, int]:
    """Items of each kind, in the proportions of a full run."""
    chosen = [kind for kind in KINDS.values() if options.only is None or kind.name in options.only]
    wanted = {kind.name: kind.count for kind in chosen}
    for programs, number in ((True, options.programs), (False, options.inputs)):
        kinds = [kind for kind in chosen if kind.programs is programs]
        total = sum(kind.count * kind.weight for kind in kinds)
        if number is not None and total:
            wanted |= {k.name: -(-k.count * number // total) for k in kinds}
    return {name: count for name, count in wanted.items() if count > 0}


def _run_kinds(wanted: dict[str, int], journal: Journal, options: argparse.Namespace) -> None:
    """What of these kinds is not done yet."""
    batches = list(_batches(wanted, options.seed * APART))
    left = [b for b in batches if not journal.has(b.kind, b.first, b.count)]
    if not left:
        return
    for name in dict.fromkeys(batch.kind for batch in left):
        KINDS[name].prepare()
    progress = Progress(wanted, journal, options.jobs)
    pool = Pool(options.jobs, journal.add, progress.tick)
    pool.run(Job(KINDS[b.kind], b, [(b.first, b.count)]) for b in left)
    progress.end()


def _batches(wanted: dict[str, int], seed: int) -> Iterator[Batch]:
    """All batches, kinds evenly mixed, so that each is met early."""
    found: list[tuple[float, Batch]] = []
    for name, count in wanted.items():
        size = KINDS[name].batch
        for first in range(0, count, size):
            batch = Batch(name, seed + first, min(size, count - first))
            found.append(((first + size / 2) / count, batch))
    for _, batch in sorted(found, key=lambda pair: pair[0]):
        yield batch


def _run_bounds(options: argparse.Namespace, journal: Path) -> None:
    """The kinds whose compiled code checks bounds: Numba decides that when it is imported."""
    again = ["--bounds", str(journal), "--seed", str(options.seed), "--jobs", str(options.jobs)]
    for name in ("programs", "inputs"):
        value = getattr(options, name)
        again += [f"--{name}", str(value)] if value is not None else []
    for name in options.only or ():
        again += ["--only", name]
    command = [sys.executable, "-m", "fuzz", *again]
    subprocess.run(command, env={**os.environ, "NUMBA_BOUNDSCHECK": "1"}, check=True)
