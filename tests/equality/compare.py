"""Run a program on both executors, from the same memory, and compare all that can be seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from emulator.fast import layout as at
from emulator.memory import Memory
from emulator.reference.machine import ReferenceMachine
from equality.draft import CHIP, LISTS
from isa.program import Program

#: NaNs with payloads and signs, infinities, zeros, the smallest and largest numbers.
SPECIAL = np.array(
    [
        *(0x7FC00000, 0xFFC12345, 0x7F800001, 0x7F800000, 0xFF800000, 0, 0x80000000),
        *(1, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0xBF800000),
    ],
    np.uint32,
)

Outcome = tuple[list[tuple[int, int, int, str]], np.ndarray]


def fill(memory: Memory, seed: int) -> None:
    """Random bytes everywhere; small indices and bounds in the lists."""
    rng = np.random.default_rng([seed, 1])
    for bytes_ in (*(r.data for r in memory.regions), memory.tsram, memory.csram, memory.acc):
        if bytes_ is None:  # only timing is wanted
            continue
        bytes_[:] = rng.integers(0, 256, bytes_.shape, np.uint8)
        _make_floats(rng, bytes_)
    for tile in memory.tsram:
        lists = tile[LISTS.start : LISTS.stop].view(np.int32)
        lists[:64] = rng.integers(0, 8, 64)
        lists[64:] = rng.integers(-5, 60, len(lists) - 64)


def copy(source: Memory, target: Memory) -> None:
    """The same bytes in another memory."""
    target.tsram[:], target.csram[:], target.acc[:] = source.tsram, source.csram, source.acc
    for one, other in zip(source.regions, target.regions, strict=True):
        if one.data is not None and other.data is not None:
            other.data[:] = one.data


def _make_floats(rng: np.random.Generator, bytes_: np.ndarray) -> None:
    """Make half of the words ordinary fp32 numbers, and a few special: random bits are neither."""
    words = bytes_.reshape(-1).view(np.uint32)
    ordinary = rng.standard_normal(words.size).astype(np.float32) * 8
    kind = rng.random(words.size)
    words[kind < 0.5] = ordinary.view(np.uint32)[kind < 0.5]
    special = kind > 0.95
    words[special] = rng.choice(SPECIAL, int(special.sum()))


def outcome(machine: Any, rings: int = 1) -> Outcome:
    """Faults and retire records (by tile) of ringing `main`, with other arguments each time."""
    faults, records = [], []
    for turn in range(rings):
        try:
            machine.ring("main", [turn, -turn, 3], records.append)
        except ProgramFault as fault:
            faults += [(r.tile, r.unit, r.pc, r.fault.name) for r in fault.reports]
    rows = np.concatenate(records) if records else np.zeros((0, 16), np.int64)
    return faults, rows[np.argsort(rows[:, 0], kind="stable")]


def reference(program: Program, seed: int, rings: int = 1) -> tuple[ReferenceMachine, Outcome]:
    """The reference executor's result, under a random schedule."""
    machine = ReferenceMachine(program, CHIP, schedule_seed=seed)
    fill(machine.memory, seed)
    return machine, outcome(machine, rings)


def fast(
    program: Program, seed: int, rings: int = 1, **options: Any
) -> tuple[FastMachine, Outcome]:
    """The fast executor's result."""
    machine = FastMachine(program, CHIP, **options)
    fill(machine.memory, seed)
    return machine, outcome(machine, rings)


def differences(a: Memory, b: Memory) -> list[str]:
    """Where two memories differ, in words; empty if nowhere."""
    pairs = {"tsram": (a.tsram, b.tsram), "csram": (a.csram, b.csram), "acc": (a.acc, b.acc)}
    for one, other in zip(a.regions, b.regions, strict=True):
        pairs[one.name] = (one.data, other.data)
    found = []
    for name, (one, other) in pairs.items():
        where = np.argwhere(one != other)
        if len(where):
            first = tuple(int(i) for i in where[0])
            found.append(f"{name}: {len(where)} bytes, first at {first}")
    return found


def semaphores(machine: Any) -> list[list[int]]:
    """Each tile's counts."""
    if isinstance(machine, FastMachine):
        counts = machine._blocks.tiles[:, at.T_SEMAPHORES : at.T_WAITERS]
        return [[int(count) for count in tile] for tile in counts]
    return [list(tile.semaphores) for tile in machine.tiles]


def assert_equal(
    expected: tuple[Any, Outcome], actual: tuple[Any, Outcome], records: bool = True
) -> None:
    """Both saw the same: faults, memories, semaphores, sticky bits, retire records."""
    (machine_a, (faults_a, rows_a)), (machine_b, (faults_b, rows_b)) = expected, actual
    assert faults_b == faults_a, f"faults {faults_b}, not {faults_a}"
    found = differences(machine_a.memory, machine_b.memory)
    assert found == [], found
    assert semaphores(machine_b) == semaphores(machine_a)
    assert machine_b.sticky == machine_a.sticky
    if records:
        assert rows_b.shape == rows_a.shape
        for row in np.flatnonzero((rows_a != rows_b).any(axis=1)):
            assert rows_b[row].tolist() == rows_a[row].tolist()
