"""Rows of whole models. Those of `_pending` are only named yet: they get a `measure` each.

What they need beyond this package (torch, gigabytes of disk) may be missing: a row then says so.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from emulator.bench import programs
from emulator.bench.host import Host
from emulator.bench.rows import Bar, Entry, Measured

TIMED = {"70b": 2.0, "405b": 5.0}  #: model of the Llama 3.1 family -> seconds it may take
STEPS = 3


def entries() -> list[Entry]:
    """Decode, prefill and memory of a 1B and an 8B shape; timing alone of 70B and 405B."""
    least, most = partial(Bar, ">="), partial(Bar, "<=")
    return [
        Entry("decode_1b_vs_torch", "tokens/s", _pending, "transformers in bf16", least(1.5)),
        Entry("prefill_1b", "s", _pending, "its matrix kernels", most(1.6)),
        Entry("memory_1b", "GiB", _pending, "packed weights + 1 GiB", most(1.0)),
        Entry("memory_8b", "GiB", _pending, "24 GiB", most(1.0)),
        *(
            Entry(f"timing_{name}", "s", partial(_timing_only, name), "a fixed time", most(1.0))
            for name in TIMED
        ),
        Entry("timing_405b_memory", "GiB", _pending, "2 GiB", most(1.0)),
    ]


def _timing_only(name: str, host: Host) -> Measured:
    """One decode step from the config alone, in the loop and the timing model."""
    runs = [programs.timing_only_step(name) for _ in range(STEPS + 1)][1:]
    cycles = runs[-1][0]
    note = f"a decode step, {programs.FOLDED} layers stand for all: about {cycles:,} cycles"
    return Measured(median(seconds for _, seconds in runs), TIMED[name], note)


def _pending(_: Host) -> Measured:
    return Measured(None, note="not measured yet")
