"""Computes the hashes that the enumerations of the full suite expect.

    python -m emulator.conformance.suites.vpu_hashes [--processes 2] [NAME ...]

Takes up where it was stopped: a table grows block by block. All tables take about five minutes of
one core. `--prove BITS` instead holds the compiled oracle against the one on arrays, on
2^BITS patterns of every exponent, for each operation.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from emulator.conformance.oracle import compiled
from emulator.conformance.oracle.convert import narrow
from emulator.conformance.oracle.vector import elementwise
from emulator.conformance.suites import vpu_enumerate
from emulator.conformance.suites.enumeration import Plan
from isa.formats import Format

_SAVED_EACH = 32  # blocks


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulator.conformance.suites.vpu_hashes")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--prove", type=int, metavar="BITS", default=0)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as vsqrt/fp32; all if none")
    options = parser.parse_args(arguments)
    names = options.names or list(vpu_enumerate.OPERATIONS)
    unknown = [name for name in names if name not in vpu_enumerate.OPERATIONS]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(vpu_enumerate.OPERATIONS)}")
    for name in names:
        plan, begun = vpu_enumerate.OPERATIONS[name], time.monotonic()
        if options.prove:
            wrong = differences(plan, 1 << options.prove)
            print(f"{name}: {wrong} of 2^{options.prove} patterns differ", flush=True)
            if wrong:
                return 1
            continue
        complete(plan, vpu_enumerate.table_path(plan), options.processes)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def complete(plan: Plan, path: Path, processes: int) -> None:
    """Compute what a table lacks."""
    path.parent.mkdir(exist_ok=True)
    size = path.stat().st_size if path.exists() else 0
    rest = range(size // 4, plan.blocks)
    if not rest:
        return
    with get_context("spawn").Pool(processes, _quietly) as pool, path.open("ab") as file:
        file.truncate(size // 4 * 4)
        for value in pool.imap(partial(compiled.block_hash, plan), rest, chunksize=_SAVED_EACH):
            file.write(value.to_bytes(4, "little"))
            file.flush()


def _quietly() -> None:
    """Leave the machine to others."""
    os.nice(10)


def differences(plan: Plan, count: int) -> int:
    """How many of so many patterns, as many of each exponent, the two oracles disagree on."""
    wrong, generator, piece = 0, np.random.default_rng(count), max(count >> 9, 1)
    for field in range(512):
        patterns = field << 23 | generator.integers(0, 1 << 23, piece)
        patterns[:4] = (field << 23) + np.array([0, 1, 0x400000, 0x7FFFFF])[: len(patterns[:4])]
        if plan.mnemonic.startswith("vcvt"):
            expected = narrow(plan.target, patterns, plan.mnemonic == "vcvt")
        else:
            expected = elementwise(plan.mnemonic, Format.FP32, (Format.FP32, patterns))
        got = compiled.results(plan.mnemonic, plan.target, patterns)
        wrong += int((got != expected).sum())
    return wrong


if __name__ == "__main__":
    sys.exit(main())
