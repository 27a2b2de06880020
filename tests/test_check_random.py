"""The checker on random programs: race-free ones, ones without some of their waits, and bytes.

Seeds are fixed. TESSERA_EQUALITY=N runs N programs of each kind.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from equality.compare import differences, fill, outcome
from equality.draft import CHIP, TENSOR
from equality.programs import random_program

from emulator.check import layout as at
from emulator.check.machine import CheckedMachine
from emulator.errors import ProgramFault
from emulator.memory import Memory
from emulator.reference.machine import ReferenceMachine
from isa.codec import decode_program, encode, pack_words
from isa.program import Program
from isa.spec import BY_MNEMONIC
from tests.check_runs import checked

PROGRAMS = int(os.environ.get("TESSERA_EQUALITY", "0"))
WAIT = BY_MNEMONIC["wait"].opcode
NOP = pack_words([encode("nop")])[0]


def prepared(program: Program, seed: int) -> CheckedMachine:
    """A machine whose memory is filled, all of it before the program."""
    machine = checked(program, CHIP)
    fill(machine.machine.memory, seed)
    for cells in machine.checker.shadows.cells.values():
        cells.fill(at.BEFORE)
    return machine


def ring(machine: CheckedMachine, rings: int = 1) -> str:
    try:
        for turn in range(rings):
            machine.ring("main", [turn, -turn, 3])
    except ProgramFault as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("seed", range(PROGRAMS or 40))
def test_no_false_alarm(seed: int) -> None:
    machine = prepared(random_program(seed), seed)
    assert ring(machine, rings=2) == ""
    assert machine.findings() == [], machine.text()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.fast.blocks.ALONE", -1)
    from emulator.fast.machine import FastMachine

    program = without_waits(random_program(6), 6)
    texts = []
    for threads, chunk_rows in ((1, 4096), (2, 7), (3, 1)):
        machine = CheckedMachine(
            FastMachine(program, CHIP, threads, chunk_rows=chunk_rows, log_accesses=True)
        )
        fill(machine.machine.memory, 6)
        ring(machine)
        texts.append(machine.text().split("executor")[0])
    assert texts[0] == texts[1] == texts[2]


# ---- dropped waits


def without_waits(program: Program, seed: int) -> Program:
    """The program without half of its waits."""
    waits = np.flatnonzero(decode_program(program.code)["op"] == WAIT)
    dropped = np.random.default_rng(seed).choice(waits, (len(waits) + 1) // 2, replace=False)
    code = program.code.copy()
    code[dropped] = NOP
    return replace(program, code=code)


def result(program: Program, seed: int, schedule: int) -> tuple[list[object], Memory]:
    machine = ReferenceMachine(program, CHIP, schedule_seed=schedule)
    fill(machine.memory, seed)
    return outcome(machine)[0], machine.memory


def test_without_a_race_every_schedule_gives_the_same() -> None:
    races = silent = 0
    for seed in range(100, 100 + (PROGRAMS or 40)):
        program = without_waits(random_program(seed), seed)
        machine = prepared(program, seed)
        ring(machine)
        if any(finding.kind == "race" for finding in machine.findings()):
            races += 1
            continue
        silent += 1
        faults, memory = result(program, seed, 0)
        for schedule in (1, 2, 3):
            other_faults, other = result(program, seed, schedule)
            assert (faults, differences(memory, other)) == (other_faults, []), seed
    assert races and silent


# ---- bytes


def arrays(machine: CheckedMachine) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bytes of all memories but the accumulators, whose reads are not kept, with their cells."""
    memory, cells = machine.machine.memory, machine.checker.shadows.cells
    pairs = [
        (memory.tsram.reshape(-1), cells[at.TSRAM]),
        (memory.csram.reshape(-1), cells[at.CSRAM]),
    ]
    for number, region in enumerate(memory.regions):
        if region.writable:
            assert region.data is not None
            pairs.append((region.data, cells[at.REGIONS + number]))
    return pairs


def same_without_the_untouched(program: Program, seed: int) -> None:
    """Bytes that a program does not touch, as the checker says, have no part in its results."""
    machine = prepared(program, seed)
    assert ring(machine) == ""
    other = prepared(program, seed)
    free = [cells == at.BEFORE for _, cells in arrays(machine)]
    for (data, _), untouched in zip(arrays(other), free, strict=True):
        data[untouched] ^= 0xFF
    assert ring(other) == ""
    for (one, _), (two, _), untouched in zip(arrays(machine), arrays(other), free, strict=True):
        wrong = np.flatnonzero(one ^ np.where(untouched, 0xFF, 0).astype(np.uint8) != two)
        assert len(wrong) == 0, f"{len(wrong)} bytes, first at {wrong[0]:#x}"


@pytest.mark.parametrize("seed", range(PROGRAMS or 15))
def test_untouched_bytes_of_random_programs(seed: int) -> None:
    same_without_the_untouched(random_program(seed), seed)


@pytest.mark.parametrize("mnemonic", TENSOR)
def test_untouched_bytes_of_one_instruction(mnemonic: str) -> None:
    for seed in range(max(PROGRAMS // 20, 2)):
        same_without_the_untouched(random_program(20_000 + seed, (mnemonic,)), seed)
