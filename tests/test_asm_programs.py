"""The programs of programs/asm: right, equal on both executors, and the same bits for ever."""

import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from emulator.fast.machine import FastMachine
from emulator.reference.machine import ReferenceMachine
from isa.assembler import assemble
from isa.disassembler import disassemble
from tests.asm_cases import CASES, CHIP, FOLDER, Arrays, Case, again, digest, program, run, values

NAMES = sorted(CASES)


@cache
def fast(name: str) -> Arrays:
    """Outputs of the fast executor."""
    return run(FastMachine(program(name), CHIP), CASES[name])


@cache
def reference(name: str) -> Arrays:
    """Outputs of the reference executor."""
    return run(ReferenceMachine(program(name), CHIP), CASES[name])


def close(case: Case, outputs: Arrays) -> None:
    """Compare outputs with NumPy's, element by element."""
    expected = case.expected(case.inputs())
    assert set(expected) == set(outputs)
    for name, got in values(case, outputs).items():
        finite = np.isfinite(expected[name])
        limit = case.tolerance * np.abs(expected[name][finite]).max()
        np.testing.assert_allclose(got, expected[name], rtol=0, atol=limit, err_msg=name)


def test_every_program_has_a_case() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.tasm")) == NAMES
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_numpy_agrees(name: str) -> None:
    close(CASES[name], reference(name))


@pytest.mark.parametrize("name", NAMES)
def test_executors_agree_bit_for_bit(name: str) -> None:
    expected, got = reference(name), fast(name)
    for output in expected:
        np.testing.assert_array_equal(got[output], expected[output], err_msg=output)


def test_golden_hashes(golden: Callable[[str, str], None]) -> None:
    hashes = {name: digest(fast(name)) for name in NAMES}
    golden("asm.json", json.dumps(hashes, indent=2) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_can_be_rung_again(name: str) -> None:
    """Semaphores are left as they were found."""
    machine = FastMachine(program(name), CHIP, threads=2)
    first = digest(run(machine, CASES[name]))
    assert digest(again(machine, CASES[name])) == first == digest(fast(name))


@pytest.mark.parametrize("name", ["softmax", "all_reduce", "topk", "gemm"])
def test_the_order_of_units_does_not_matter(name: str) -> None:
    machine = ReferenceMachine(program(name), CHIP, schedule_seed=7)
    assert digest(run(machine, CASES[name])) == digest(reference(name))


@pytest.mark.parametrize("name", NAMES)
def test_programs_survive_disassembly(name: str) -> None:
    original = program(name)
    text = disassemble(original)
    assert assemble(text).code.tobytes() == original.code.tobytes()
    assert disassemble(assemble(text)) == text
