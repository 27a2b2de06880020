"""Rows of the start: processes from nothing to their end, by the wall clock."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from emulator.bench.host import Host
from emulator.bench.rows import Bar, BenchError, Entry, Measured

PROGRAM = Path(__file__).with_name("start.tasm")
EMU = (sys.executable, "-c", "from emulator.cli import main; main()")
CEILING = Bar("<=", 1.0)
HELP_SECONDS, RUN_SECONDS = 0.2, 1.5


def entries() -> list[Entry]:
    """`emu --help`, and a run whose kernels are compiled."""
    return [
        Entry("start_help", "s", _help, "a fixed time", CEILING),
        Entry("start_run", "s", _run, "a fixed time", CEILING),
    ]


def _help(host: Host) -> Measured:
    seconds = _median(["--help"], host.effort.starts)
    return Measured(seconds, HELP_SECONDS, "emu --help")


def _run(host: Host) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "start.bin")
        _seconds(["asm", str(PROGRAM), "-o", program])
        seconds = _median(["run", program], host.effort.starts)
    return Measured(seconds, RUN_SECONDS, "emu run of a small program, compiled before")


def _median(arguments: Sequence[str], count: int) -> float:
    _seconds(arguments)  # what it compiles and reads is kept for the next
    return median(_seconds(arguments) for _ in range(count))


def _seconds(arguments: Sequence[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run([*EMU, *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        raise BenchError(f"`emu {arguments[0]}` ended with status {done.returncode}: {last}")
    return seconds
