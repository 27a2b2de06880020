"""The fast executor against the reference: random race-free programs, and random faults.

Seeds are fixed. TESSERA_EQUALITY=N runs N programs of each kind instead of the few by default
(N = 1000 takes some minutes). A failure names its seed: `random_program(seed)` makes it again.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from equality.compare import assert_equal, differences, fast, fill, outcome, reference
from equality.draft import CHIP, TENSOR
from equality.faults import BAD, faulting_program
from equality.operations import MAKERS
from equality.programs import random_program

from emulator.fast import FastMachine
from emulator.reference.faults import UndefinedBehaviour
from isa.codec import decode_program
from isa.faults import Fault
from isa.spec import INSTRUCTIONS
from isa.spec.model import Unit

PROGRAMS = int(os.environ.get("TESSERA_EQUALITY", "0"))


@pytest.mark.parametrize("seed", range(PROGRAMS or 60))
def test_random_programs(seed: int) -> None:
    program = random_program(seed)
    assert_equal(reference(program, seed, rings=2), fast(program, seed, rings=2))


@pytest.mark.parametrize("mnemonic", TENSOR)
def test_programs_of_one_instruction(mnemonic: str) -> None:
    for seed in range(max(PROGRAMS // 20, 3)):
        program = random_program(10_000 + seed, (mnemonic,))
        assert_equal(reference(program, seed), fast(program, seed))


@pytest.mark.parametrize("kind", BAD)
def test_faults(kind: str) -> None:
    undefined = 0
    for seed in range(max(PROGRAMS // 10, 4)):
        program = faulting_program(seed, kind)
        try:
            expected = reference(program, seed)
        except UndefinedBehaviour:  # a changed descriptor may make operands overlap
            undefined += 1
            continue
        assert_equal(expected, fast(program, seed))
    assert undefined <= max(PROGRAMS // 20, 2)


def test_the_programs_have_it_all() -> None:
    """Every instruction, and every fault, is really met."""
    opcodes: set[int] = set()
    for seed in range(60):
        opcodes |= set(decode_program(random_program(seed).code)["op"].tolist())
    assert {entry.mnemonic for entry in INSTRUCTIONS if entry.opcode not in opcodes} == set()
    assert set(MAKERS) == {e.mnemonic for e in INSTRUCTIONS if e.unit.value in (1, 2, 3)}
    assert Unit.DMA.value == 3
    faults = {
        report[3]
        for kind in BAD
        for seed in range(12)
        for report in fast(faulting_program(seed, kind), seed)[1][0]
    }
    assert {fault.name for fault in Fault} - faults <= {"NONE"}


@pytest.mark.parametrize("seed", [3, 36, 41])
def test_threads_and_chunks_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.fast.blocks.ALONE", -1)
    program = random_program(seed)
    one, (faults, records) = fast(program, seed, rings=2)
    for threads in (1, 2, 3):
        for chunk_rows in (1, 7, 4096):
            other, outcome_ = fast(program, seed, 2, threads=threads, chunk_rows=chunk_rows)
            assert_equal((one, (faults, records)), (other, outcome_))


def test_chunks_are_full_and_keep_the_order_of_each_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For every size and thread count; the order of tiles among each other means nothing."""
    monkeypatch.setattr("emulator.fast.blocks.ALONE", -1)
    program = random_program(36)
    streams = []
    for threads, chunk_rows in ((1, 1), (1, 4096), (2, 7)):
        machine = FastMachine(program, CHIP, threads=threads, chunk_rows=chunk_rows)
        fill(machine.memory, 36)
        chunks: list[np.ndarray] = []
        machine.ring("main", [], chunks.append)
        assert all(len(chunk) == chunk_rows for chunk in chunks[:-1])
        rows = np.concatenate(chunks)
        streams.append(rows[np.argsort(rows[:, 0], kind="stable")])
    assert all(np.array_equal(streams[0], stream) for stream in streams)


@pytest.mark.parametrize("seed", range(8))
def test_small_rings_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings of records that fill up, also behind a unit that waits, are drained and grow."""
    program = random_program(seed)
    expected = fast(program, seed)
    monkeypatch.setattr("emulator.fast.blocks.RING_ROWS", 2)
    monkeypatch.setattr("emulator.fast.blocks.BUDGET", 3)
    assert_equal(expected, fast(program, seed))


@pytest.mark.parametrize("seed", range(10))
def test_timing_only_records_the_same(seed: int) -> None:
    """Without tensors' values (and so without loads of them) the retire stream is the same."""
    program = random_program(seed, loads=False)
    _, (faults, records) = fast(program, seed)
    machine = FastMachine(program, CHIP, timing_only=True)
    assert all(region.data is None for region in machine.memory.regions)
    fill(machine.memory, seed)
    timed_faults, timed = outcome(machine)
    assert timed_faults == faults == []
    assert np.array_equal(timed, records)


def test_a_difference_is_seen() -> None:
    """The comparison itself: one bit anywhere."""
    machine, result = fast(random_program(1), 1)
    other, _ = fast(random_program(1), 1)
    other.memory.acc[2, 77] ^= 1
    assert differences(machine.memory, other.memory) == ["acc: 1 bytes, first at (2, 77)"]
    with pytest.raises(AssertionError):
        assert_equal((machine, result), (other, result))
