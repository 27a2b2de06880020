"""Random programs on both executors, the fast one in guarded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from equality.compare import assert_equal, copy, fill, outcome
from equality.draft import CHIP
from equality.edges import edge_program
from equality.faults import BAD, faulting_program
from equality.noise import FORMS, noise, one_word
from equality.programs import random_program, short_program

from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from emulator.reference.faults import UndefinedBehaviour
from emulator.reference.machine import ReferenceMachine
from fuzz import coverage
from fuzz.guard import Guard
from fuzz.kinds import Kind, kind
from isa.faults import NUM_UNITS, FaultReport
from isa.program import Program

LONG = 10  # one program in so many is long


def equal(program: Program, seed: int, rings: int = 1) -> Iterable[str]:
    """Hold the executors against each other; what the program met."""
    with _guarded(program, seed) as machine:
        other = ReferenceMachine(program, CHIP, schedule_seed=seed)
        copy(machine.memory, other.memory)
        try:
            expected = other, outcome(other, rings)
        except UndefinedBehaviour:
            outcome(machine)
            return ["undefined"]
        actual = machine, outcome(machine, rings)
        assert_equal(expected, actual)
    faults, records = actual[1]
    names = {f"{fault[3].lower()}" for fault in faults} or {"completed"}
    return [*names, *coverage.met(program, records)]


@contextmanager
def _guarded(program: Program, seed: int, timing_only: bool = False) -> Iterator[FastMachine]:
    """A machine whose memories begin, or end, at pages nobody may touch."""
    guard = Guard(end=seed % 2 == 0)
    try:
        with guard.memories():
            machine = FastMachine(program, CHIP, timing_only=timing_only)
        guard.blocks(machine)
        fill(machine.memory, seed)
        yield machine
    finally:
        guard.release()


def survive(program: Program, seed: int, timing_only: bool = False) -> list[FaultReport]:
    """Run a program that may race on the fast executor alone: it ends, with sound reports."""
    reports: list[FaultReport] = []
    with _guarded(program, seed, timing_only) as machine:
        try:
            machine.ring("main", [1, 2, 3], lambda chunk: None)
        except ProgramFault as fault:
            reports = fault.reports
    assert reports == sorted(reports)
    assert all(0 <= r.tile < CHIP.num_tiles and 0 <= r.unit < NUM_UNITS for r in reports)
    return reports


def _program(seed: int) -> Iterable[str]:
    if seed % LONG == 0:
        return equal(random_program(seed), seed, rings=1 + seed // LONG % 2)
    return equal(short_program(seed), seed)


def _fault(seed: int) -> Iterable[str]:
    return equal(faulting_program(seed, list(BAD)[seed % len(BAD)]), seed)


def _edge(seed: int) -> Iterable[str]:
    return equal(edge_program(seed), seed)


def _word(seed: int) -> Iterable[str]:
    return equal(one_word(seed, FORMS[seed % len(FORMS)]), seed)


def _noise(seed: int) -> Iterable[str]:
    program = noise(seed)
    reports = survive(program, seed) + survive(program, seed, timing_only=True)
    return {report.fault.name.lower() for report in reports} or {"completed"}


@cache
def prepare() -> None:
    """Compile, or load, all compiled code before there are other processes."""
    for seed in range(0, 40 * LONG, LONG):
        FastMachine(random_program(seed), CHIP)
    for check in (_program, _fault, _edge, _word, _noise):
        for seed in range(4):
            check(seed)


_CHECKS: dict[str, tuple[Callable[[int], Iterable[str]], int, float, str]] = {
    "program": (_program, 100_000, 9, "legal, race-free programs: every byte of state is equal"),
    "fault": (_fault, 12_000, 16, "programs that fault, deadlock or end badly"),
    "edge": (_edge, 15_000, 6, "operands flush with a memory's beginning or end"),
    "word": (_word, 25_000, 5, "one legal random word with random descriptors"),
    "noise": (_noise, 10_000, 9, "sixty random words, on the fast executor alone"),
}

for _name, (_check, _count, _cost, _what) in _CHECKS.items():
    _options = {"programs": True, "seconds": 8.0, "memory": False, "prepare": prepare}
    kind(Kind(_name, _what, _check, _count, 250, _cost, **_options))
    kind(
        Kind(
            f"{_name}-bounds",
            f"{_what}, compiled code with bounds checks",
            _check,
            _count // 10,
            250,
            _cost,
            bounds=True,
            **_options,
        )
    )
