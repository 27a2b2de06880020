"""One run in a process of its own, so that its peak of memory is its own.

    python -m emulator.bench.growth.child PROGRAM '{"prompt": 16, "tokens": 9, ...}'

Prints one line of JSON: seconds of prefill and of all decode steps, and the peak of memory.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from emulator.bench.rows import BenchError
from emulator.jit_key import ROOT
from isa.chip import Chip, load_chip
from isa.program import Program, load


def measured(program: Path, work: dict[str, Any]) -> dict[str, float]:
    """What a run took: `prefill`, `decode`, `wall` (with the process's start), `memory_bytes`."""
    command = [sys.executable, "-m", "emulator.bench.growth.child", str(program), json.dumps(work)]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        raise BenchError(f"growth: a run ended with status {done.returncode}: {last}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"wall": wall}


def chip_of(clusters: int) -> Chip:
    """t1 with more or fewer clusters: a row of the mesh is one."""
    return load_chip("t1").with_(clusters=clusters, **{"mesh.rows": clusters})


def run(program: Program, work: dict[str, Any]) -> dict[str, float]:
    """What `emu run` does, and the seconds it takes.

    One thread does it and never waits, so the processor's time is the wall's on a quiet machine; on
    a busy one it leaves out what other processes took.
    """
    from emulator.decoder import Decoder
    from emulator.fast.machine import FastMachine
    from emulator.fold import fold_of
    from emulator.generate import generate
    from emulator.meter import Meter

    chip = chip_of(work["clusters"]).with_hbm(program.chip.architecture["hbm.bytes"])
    fold = fold_of(program, work["fold_layers"]) if work["fold_layers"] else None
    if fold is not None:
        program = fold.program(program)
    meter = Meter(program, chip, fold=fold)
    decoder = Decoder(FastMachine(program, chip, timing_only=work["timing_only"]), meter)
    clock = [time.process_time()]

    def prefilled() -> None:
        meter.prefill_done()
        clock.append(time.process_time())

    generate(decoder, [3] * work["prompt"], work["tokens"], on_prefilled=prefilled)
    start, middle, end = *clock, time.process_time()
    return {"prefill": middle - start, "decode": end - middle}


def peak_bytes() -> int:
    """The most memory this process has had, pages of mapped files included.

    Linux counts what the parent had when it forked in getrusage, but not in VmHWM.
    """
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        text = ""
    found = re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments: list[str]) -> int:
    """Run and print."""
    found = run(load(Path(arguments[0])), json.loads(arguments[1]))
    print(json.dumps(found | {"memory_bytes": peak_bytes()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
