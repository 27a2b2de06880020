"""All compiled code into the cache: what `emu warmup` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np

from emulator.bench.programs import small_program
from emulator.fast.machine import FastMachine
from emulator.jit import address_of
from emulator.kernels import kernels
from isa.chip import load_chip
from isa.spec import BY_OPCODE

Step = tuple[str, Callable[[], object]]


def steps() -> list[Step]:
    """Everything that is compiled, by name: kernels, the loop, the timing model, the checker."""
    named: dict[int, tuple[str, Any]] = {}
    for opcode, kernel in kernels().items():
        named.setdefault(id(kernel), (BY_OPCODE[opcode].mnemonic, kernel))
    found: list[Step] = [(name, partial(address_of, kernel)) for name, kernel in named.values()]
    return [
        *found,
        ("executor", _executor),
        ("timing model", _timing),
        ("trace", _trace),
        ("checker", _checker),
    ]


def _executor() -> None:
    _machine().ring("small", ())


def _timing() -> None:
    from emulator.meter import Meter

    meter = Meter(small_program(1), load_chip("t1"))
    meter.prefill_done()
    meter.begin("small")
    _machine().ring("small", (), meter.feed)
    meter.end()


def _trace() -> None:
    from emulator.accounting import ProgramInfo
    from emulator.timing.slices import METERS, S_FIELDS
    from emulator.tracing.perfetto import PerfettoTrace

    trace = PerfettoTrace(BytesIO(), load_chip("t1"), ProgramInfo(), (0, 1))
    trace.slices(np.zeros((1, S_FIELDS), np.int64), np.zeros((1, 2), np.int64))
    trace.meters(1, np.zeros((1, len(METERS)), np.int64))
    trace.end("small", 1)


def _checker() -> None:
    from emulator.check.machine import CheckedMachine

    CheckedMachine(_machine(log_accesses=True)).ring("small", ())


def _machine(log_accesses: bool = False) -> FastMachine:
    return FastMachine(small_program(1), load_chip("t1"), threads=2, log_accesses=log_accesses)
