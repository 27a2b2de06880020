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
from equality.draft import CHIP, REGIONS, SLOT, SLOTS
from equality.operations import MAKERS, Places
from equality.tensors import Place, Rng, TooBig

from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from isa.codec import encode, pack_words
from isa.descriptor import W_DIM, W_STRIDE, Space
from isa.encoder import encode_slots
from isa.faults import NUM_UNITS, Fault
from isa.forms import Form, forms_by_key
from isa.program import Program, require
from isa.spec.model import NUM_DESCRIPTORS

PROGRAMS = int(os.environ.get("TESSERA_FUZZ", "60"))
FORMS = list(forms_by_key().values())
GUARD = 4096
PATTERN = 0xA5
LINES = 60
EDGES = (-1, 0, 1, 2, 3, 31, 1 << 14, (1 << 14) - 4, 1 << 16, 1 << 40, (1 << 40) + 1, 1 << 62)


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


def random_descriptors(rng: Rng) -> list[np.ndarray]:
    """Descriptors of random legal operations, some of them changed."""
    found: list[np.ndarray] = []
    while len(found) < NUM_DESCRIPTORS:
        slots = [int(slot) for slot in rng.permutation(SLOTS)]
        places = [Place(Space.TSRAM, slot * SLOT, (slot + 1) * SLOT) for slot in slots]
        lists = Place(Space.TSRAM, SLOTS * SLOT, SLOTS * SLOT + 1024)
        maker = MAKERS[str(rng.choice(list(MAKERS)))]
        try:
            operation = maker(rng, Places(places.pop, Place(Space.ACC, 0, 8192), lists))
        except TooBig:
            continue
        for descriptor in operation.descriptors.values():
            words = descriptor.words()
            while rng.random() < 0.3:
                words[int(rng.integers(16))] = int(rng.choice(EDGES))
            found.append(_bounded(words))
    return found


def _bounded(words: np.ndarray) -> np.ndarray:
    """Broadcasts are not huge: they would be legal, and take for ever."""
    for axis in range(4):
        if words[W_STRIDE + axis] == 0 and words[W_DIM + axis] > 64:
            words[W_DIM + axis] = 5
    return words


def random_word(rng: Rng, pc: int) -> tuple[int, int]:
    """A legal word that branches forward only; now and then with a bit turned over."""
    form: Form = FORMS[int(rng.integers(len(FORMS)))]
    slots: dict[str, int] = {}
    for slot, (least, most) in form.ranges.items():
        choice = int(rng.choice(EDGES)) if rng.random() < 0.5 else int(rng.integers(-9, 40))
        slots[slot] = min(max(choice, least), most)
    if "target" in slots:
        slots["target"] = pc + int(rng.integers(1, 9))
    if form.entry.mnemonic == "loop":
        slots |= {"rb": 0, "imm32": int(rng.integers(-1, 3))}
    if form.entry.mnemonic in ("wait", "signal") and rng.random() < 0.8:
        slots |= {"rb": 0, "imm32": int(rng.integers(0, 2))}
    for slot in ("d0", "d1", "d2", "d3", "d4"):
        if slot in slots and form.ranges[slot][0] < form.ranges[slot][1]:
            slots[slot] = int(rng.integers(NUM_DESCRIPTORS))
    flags = sorted(form.flag_values)
    low, high = encode_slots(form.entry, flags[int(rng.integers(len(flags)))], slots)
    if rng.random() < 0.01:
        low ^= 1 << int(rng.integers(64))
    return low, high


def random_program(seed: int) -> Program:
    rng = np.random.default_rng([seed, 99])
    table = random_descriptors(rng)
    words = [encode("dld", dst=i, index=i) for i in range(NUM_DESCRIPTORS)]
    words += [random_word(rng, len(words) + i) for i in range(LINES)]
    words += [encode("halt")] * 9
    rows = np.array(table, np.int64)
    return Program(pack_words(words), rows, {"main": 0}, REGIONS, (), require(CHIP))


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
        program = random_program(seed)
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
