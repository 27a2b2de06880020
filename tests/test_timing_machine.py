"""End to end: the cycles of real programs, whichever executor made the stream."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from asm_cases import CASES, CHIP, program

from emulator import retire
from emulator.fast.machine import FastMachine
from emulator.reference.machine import ReferenceMachine
from emulator.timing import EntryTiming, ProgramInfo, Timing
from isa.spec import BY_MNEMONIC

NAMES = sorted(CASES)


def records_of(machine: Any, name: str) -> np.ndarray:
    """The retire stream of a program's case."""
    case = CASES[name]
    chunks: list[np.ndarray] = []
    for symbol, array in case.inputs().items():
        machine.write(symbol, array)
    entry = next(iter(program(name).entries))
    machine.ring(entry, case.arguments, lambda chunk: chunks.append(chunk.copy()))
    return np.concatenate(chunks)


@cache
def fast(name: str, threads: int = 1) -> np.ndarray:
    return records_of(FastMachine(program(name), CHIP, threads=threads), name)


def timed(name: str, records: np.ndarray, chunk: int = 4096) -> EntryTiming:
    timing = Timing(CHIP, ProgramInfo.of(program(name)))
    timing.begin("entry")
    for first in range(0, len(records), chunk):
        timing.feed(records[first : first + chunk])
    return timing.end()


@pytest.mark.parametrize("name", NAMES)
def test_cycles_do_not_depend_on_the_executor(name: str) -> None:
    expected = timed(name, fast(name))
    streams = [fast(name, 2)]
    if name != "flash_attention":  # which takes the reference 20 seconds
        streams.append(records_of(ReferenceMachine(program(name), CHIP), name))
    for records in streams:
        for chunk in (1, 4096):
            found = timed(name, records, chunk)
            assert found.cycles == expected.cycles
            assert (found.units == expected.units).all()
            assert found.critical_path == expected.critical_path
            assert (found.bounds == expected.bounds).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_laws_hold_for_real_programs(name: str) -> None:
    found = timed(name, fast(name))
    assert (found.spans[:, None] >= found.bounds).all()
    assert (found.units.sum(axis=2) == found.cycles).all()
    assert found.exclusive.sum() + found.rest == found.cycles
    assert sum(found.critical_path.values()) == found.cycles >= found.critical_cycles
    macs = fast(name)[fast(name)[:, retire.OPCODE] == BY_MNEMONIC["gemm"].opcode, retire.MACS]
    assert found.traffic.total("macs") == macs.sum()
