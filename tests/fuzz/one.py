"""One item again: in a process of its own, with the text of its error, and its input in a file."""

from __future__ import annotations

import os
import sys

from fuzz.journal import FOLDER, Batch
from fuzz.kinds import Kind
from fuzz.pool import Job, Pool


def show(kind: Kind, seed: int) -> int:
    """Check one item and say what came of it; 1 for a finding."""
    if kind.bounds and os.environ.get("NUMBA_BOUNDSCHECK") != "1":
        environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "fuzz", *sys.argv[1:]], environment)
    if kind.data is not None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{kind.name}-{seed}.input"
        path.write_bytes(kind.data(seed))
        print(f"its input: {path}")
    batch = checked(kind, seed)
    for finding in batch.findings:
        print(f"{kind.name} {seed}: {finding.what}")
    if not batch.findings:
        print(f"{kind.name} {seed}: nothing found; {', '.join(sorted(batch.met))}")
    return int(bool(batch.findings))


def checked(kind: Kind, first: int, count: int = 1) -> Batch:
    """A batch of one kind, checked in another process."""
    kind.prepare()
    done: list[Batch] = []
    batch = Batch(kind.name, first, count)
    Pool(1, done.append, lambda: None).run([Job(kind, batch, [(first, count)])])
    return done[0]
