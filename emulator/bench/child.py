"""One row, measured in a process of its own: with other features, or by another commit's code.

    python -m emulator.bench.child [--tiny] [--portable] NAME

Prints one line of JSON with the row's value, yardstick and note.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from emulator.bench.effort import TINY, Effort
from emulator.bench.rows import BenchError, Measured
from emulator.jit_key import ROOT
from isa.errors import TesseraError


def measured_in_child(
    name: str,
    effort: Effort,
    *,
    portable: bool = False,
    environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Measured:
    """A row as the code under `root` measures it in a process of its own."""
    options = ["--tiny"] * (effort == TINY) + ["--portable"] * portable
    done = subprocess.run(
        [sys.executable, "-m", "emulator.bench.child", *options, name],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        error = BenchError(f"{name}: its process ended with status {done.returncode}: {last}")
        error.exit_status = 1
        raise error
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: list[str]) -> int:
    """Measure and print."""
    from emulator.bench import gemm, suite
    from emulator.bench.host import Host

    name = arguments[-1]
    table = gemm.gemm_entries(portable=True) if "--portable" in arguments else suite.entries()
    host = Host(TINY if "--tiny" in arguments else None)
    try:
        measured = suite.chosen([name], table)[0].measure(host)
    except TesseraError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps(asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
