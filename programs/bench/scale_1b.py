"""How the road scales: a 1B model compiled and run, and an 8B model timed from its config alone.

    python programs/bench/scale_1b.py                  # everything; minutes, and 4 GB of disk
    python programs/bench/scale_1b.py --only 8b        # the config alone
    python programs/bench/scale_1b.py --dir DIR        # keep checkpoint and program there

A checkpoint of Llama-3.2-1B's shape is written with random weights (BF16, in shards, tensor by
tensor), compiled for t1, and run: 128 tokens of prefill, then 8 decode steps. Then Llama-3.1-8B's
config.json is compiled without weights, and timed. Each command runs as a process of its own, whose
wall time, processor time and peak memory are printed; those that have a limit are compared with it,
and the exit status is 1 if one is broken. Peak memory includes pages of mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emulator.bench.checkpoint import SHAPE_1B, SHAPE_8B, write_checkpoint

PROMPT, STEPS = 128, 8

# ---- processes


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall: float  #: seconds
    processor: float  #: seconds
    peak: int  #: bytes

    def check(self, what: str, seconds: float = 0, gigabytes: float = 0) -> bool:
        """Print it, and whether it is within the limits that are given."""
        line = f"{what}: {self.wall:.1f} s wall, {self.processor:.1f} s processor, "
        line += f"{self.peak / 1e9:.2f} GB peak"
        good = True
        for value, limit, unit in ((self.wall, seconds, "s"), (self.peak / 1e9, gigabytes, "GB")):
            if limit:
                good = good and value <= limit
                line += f"; limit {limit} {unit}: {'kept' if value <= limit else 'BROKEN'}"
        print(line, flush=True)
        return good


def emu(*arguments: object) -> Cost:
    """Run the command line in a process of its own; its output goes to ours."""
    command = [sys.executable, "-c", "from emulator.cli import main; main()"]
    sys.stdout.flush()
    start = time.perf_counter()
    process = subprocess.Popen([*command, *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"emu {arguments[0]}: status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def run(program: Path, json_file: Path, *options: str) -> tuple[Cost, dict[str, Any]]:
    """Prefill and decode; the cost and the result."""
    prompt = np.random.default_rng(1).integers(0, SHAPE_1B["vocab_size"], PROMPT)
    tokens = ",".join(map(str, prompt))
    length = ("--max-new-tokens", STEPS + 1, "--ignore-eos")
    cost = emu("run", program, "--tokens", tokens, *length, "--json", json_file, *options)
    return cost, json.loads(json_file.read_text())


def show(result: dict[str, Any]) -> None:
    """The two figures that matter most, whatever they are."""
    decode, prefill = result["bounds"]["decode"], result["bounds"]["prefill"]
    cycles = decode["cycles"] / decode["steps"]
    ratio = decode["cycles"] / max(decode["hbm"], 1)
    print(f"decode: {cycles:,.0f} cycles a step, {ratio:.2f} x its HBM bound")
    used = prefill["array_utilisation"]
    print(f"prefill of {PROMPT}: {prefill['cycles']:,} cycles, {used:.1%} of the array's peak")
    print(f"host: {result['seconds']['host']:.1f} s for all of it", flush=True)


# ---- what is measured


def bench_1b(folder: Path, arguments: argparse.Namespace) -> bool:
    """Write, compile, run."""
    model, program = folder / "1b", folder / "1b.bin"
    if not (model / "model.safetensors.index.json").exists():
        model.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        write_checkpoint(model, SHAPE_1B)
        print(f"1B checkpoint written in {time.perf_counter() - start:.1f} s", flush=True)
    compiled = emu("compile", model, "-o", program, *_formats(arguments))
    good = compiled.check("1B compiled", 120, 6)
    cost, result = run(program, folder / "1b.json", "--threads", str(arguments.threads))
    cost.check("1B run")
    show(result)
    return good


def bench_8b(folder: Path, arguments: argparse.Namespace) -> bool:
    """Compile a config without weights, and time it."""
    config, program = folder / "8b.json", folder / "8b.bin"
    config.write_text(json.dumps(SHAPE_8B))
    compiled = emu("compile", config, "--no-weights", "-o", program, *_formats(arguments))
    good = compiled.check("8B compiled without weights", 2)
    cost, result = run(program, folder / "8b-result.json", "--timing-only")
    cost.check("8B timed")
    show(result)
    return good


def _formats(arguments: argparse.Namespace) -> tuple[str, ...]:
    formats = ("--weights", arguments.weights, "--activations", arguments.activations)
    return (*formats, "--chip", arguments.chip)


def main() -> int:
    """Measure what the command line asks for; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("1b", "8b"), help="one of the two")
    parser.add_argument("--dir", type=Path, help="where the files go, and stay")
    parser.add_argument("--chip", default="t1")
    parser.add_argument("--weights", default="mxfp4")
    parser.add_argument("--activations", default="mxfp8")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    benches = {"1b": bench_1b, "8b": bench_8b}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [arguments.only] if arguments.only else list(benches)
        good = [benches[name](folder, arguments) for name in wanted]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
