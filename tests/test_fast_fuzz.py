"""Random words and random descriptors: whatever they ask for, nothing outside a memory is touched.

The memories lie between guards that must stay as they were; the machine must come to rest with
a result or with faults, the same with any number of threads if no race decided it. TESSERA_FUZZ=N
runs N programs.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from equality.compare import fill
from equality.draft import CHIP, REGIONS
from equality.noise import noise

from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from isa.faults import NUM_UNITS, Fault
from isa.program import Program, require

PROGRAMS = int(os.environ.get("TESSERA_FUZZ", "60"))
GUARD = 4096
PATTERN = 0xA5


def guarded(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Make memories lie between guards; returns what they lie in."""
    buffers: list[np.ndarray] = []

    def zeros(*shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        buffer = np.full(size + 2 * GUARD, PATTERN, np.uint8)
        buffer[GUARD : GUARD + size] = 0
        buffers.append(buffer)
        return buffer[GUARD : GUARD + size].reshape(shape)

    monkeypatch.setattr("emulator.memory.zeros", zeros)
    monkeypatch.setattr("emulator.fast.blocks.zeros", zeros)
    return buffers


def run(program: Program, seed: int, **options: object) -> list[tuple[int, int, int, Fault]]:
    machine = FastMachine(program, CHIP, **options)  # type: ignore[arg-type]
    fill(machine.memory, seed)
    try:
        machine.ring("main", [1, 2, 3], lambda chunk: None)
    except ProgramFault as fault:
        return [(r.tile, r.unit, r.pc, r.fault) for r in fault.reports]
    return []


def test_nothing_outside_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = guarded(monkeypatch)
    faults: Counter[Fault] = Counter()
    for seed in range(PROGRAMS):
        program = noise(seed)
        reports = run(program, seed)
        assert reports == sorted(reports)
        assert all(0 <= tile < CHIP.num_tiles for tile, *_ in reports)
        assert all(0 <= unit < NUM_UNITS for _, unit, *_ in reports)
        faults.update(report[3] for report in reports)
        run(program, seed, timing_only=True)
        for buffer in buffers:
            assert (buffer[:GUARD] == PATTERN).all(), f"seed {seed}"
            assert (buffer[-GUARD:] == PATTERN).all(), f"seed {seed}"
        buffers.clear()
    assert len(faults) >= 8, faults


def test_random_bits_as_words() -> None:
    rng = np.random.default_rng(5)
    for seed in range(PROGRAMS // 2):
        code = rng.integers(0, 1 << 64, (50, 2), np.uint64)
        code[:, 0] &= ~np.uint64(0xFF) if seed % 2 else np.uint64((1 << 64) - 1)
        code[:, 0] |= rng.integers(1, 0x73, 50, np.uint64) if seed % 2 else np.uint64(0)
        program = Program(
            code, np.zeros((0, 16), np.int64), {"main": 0}, REGIONS, (), require(CHIP)
        )
        reports = run(program, seed)
        assert {report[3] for report in reports} <= {Fault.ILLEGAL_INSTRUCTION, Fault.BAD_PC}
        assert len(reports) == CHIP.num_tiles
