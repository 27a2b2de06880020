"""Programs as they are have no findings; with a seeded bug, the checker finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from cli_runs import made

from compiler.emit import Code, Sem
from compiler.lower.tokens import Tokens
from emulator.check.machine import CheckedMachine
from emulator.decoder import Decoder, Request
from emulator.errors import ProgramFault
from isa.codec import encode, pack_words
from isa.disassembler import disassemble_word
from isa.program import Program, load
from tests.asm_cases import CASES
from tests.check_bugs import BUGS, Bug
from tests.check_runs import checked, edited, pc_of, run_case, source

NOP = pack_words([encode("nop")])[0]


@pytest.mark.parametrize("name", sorted(CASES))
def test_programs_have_no_findings(name: str) -> None:
    assert run_case(name, source(name)).findings() == []


def test_there_are_enough_bugs() -> None:
    assert len({(bug.program, bug.edit) for bug in BUGS}) + len(COMPILED) >= 30


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.program}: {bug.edit}")
def test_a_bug_is_found(bug: Bug) -> None:
    text = source(bug.program)
    machine = run_case(bug.program, edited(text, bug.edit))
    expected = (bug.kind, tuple(pc_of(text, line) for line in bug.lines))
    assert expected in [(f.kind, f.pcs) for f in machine.findings()], machine.text()


# ---- a compiled program


@dataclass(frozen=True)
class CompiledBug:
    """An instruction that is changed, and the race that this makes.

    Instructions are given as `operation: how the text begins`, semaphores by the names of their
    tokens.
    """

    where: str
    change: Callable[[int], int] | None  # of its count; None: the instruction is dropped
    first: str
    second: str


def less(count: int) -> int:
    return count - 1


def more(count: int) -> int:
    return count + 1


_COPIED, _NORMED = "embed: dma dma5", "qkv: dma dma4"
COMPILED = (
    CompiledBug("qkv: wait dma4, {barrier}, 2", None, _COPIED, _NORMED),
    CompiledBug("qkv: wait dma4, {barrier}, 2", less, _COPIED, _NORMED),
    CompiledBug("embed: wait dma5, {arrived}, 2", less, _COPIED, _NORMED),
    CompiledBug("qkv: wait mxu, {w_full[0]}", None, "weights: dma dma0", "qkv: gemm"),
    CompiledBug("weights: wait dma0, {w_free[0]}", None, "gate_up: gemm", "weights: dma dma0"),
    CompiledBug("qkv: wait vpu, {stage_full}", None, "qkv: readout", "qkv: vcopy"),
    CompiledBug("attention: wait mxu, {k_own}", None, "attention: dma dma6", "attention: gemm"),
    CompiledBug("tables: wait ctl, {tables}", None, "tables: dma dma4", "attention: ld"),
    CompiledBug("reset: signal ctl, {in_free}, 1", more, "heads: vmuladd2", "heads: dma dma4"),
)


@cache
def compiled() -> Program:
    return load(made().good)


def texts(program: Program) -> list[str]:
    return [disassemble_word(int(low), int(high)) for low, high in program.code]


@cache
def semaphores() -> dict[str, str | tuple[str, ...]]:
    """Semaphores as the disassembler writes them, by the names of their tokens."""
    tokens = vars(Tokens(Code()))
    return {
        name: f"s{sem.number}" if isinstance(sem, Sem) else tuple(f"s{one.number}" for one in sem)
        for name, sem in tokens.items()
    }


def fits(program: Program, pc: int, text: str, where: str) -> bool:
    operation, beginning = where.format(**semaphores()).split(": ")
    return program.op_name(pc) == operation and text.startswith(beginning)


def run_compiled(program: Program) -> CheckedMachine:
    """Two sequences: chunks of a prompt, a mixed step, a step of single tokens."""
    machine = checked(program)
    try:
        decoder = Decoder(machine)
        one, two = decoder.open(), decoder.open()
        for tokens in ([5, 6, 7, 8, 9, 10, 11, 12], [13, 14, 15, 16, 17, 18]):
            decoder.step([Request(one, tokens)])
        decoder.step([Request(one, [7]), Request(two, [7, 8, 9])])
        decoder.step([Request(one, [7]), Request(two, [9])])
    except ProgramFault:
        pass
    return machine


def test_a_compiled_program_has_no_findings() -> None:
    machine = run_compiled(compiled())
    assert machine.findings() == [], machine.text()
    assert machine.checker.work.entries == 5


@pytest.mark.parametrize("bug", COMPILED, ids=lambda bug: bug.where)
def test_a_bug_of_a_compiled_program_is_found(bug: CompiledBug) -> None:
    program = compiled()
    known = texts(program)
    code = program.code.copy()
    pc = next(pc for pc, text in enumerate(known) if fits(program, pc, text, bug.where))
    if bug.change is None:
        code[pc] = NOP
    else:
        high = int(code[pc][1])
        code[pc][1] = high & ~0xFFFFFFFF | bug.change(high & 0xFFFFFFFF)
    machine = run_compiled(replace(program, code=code))
    pairs = [f.pcs for f in machine.findings() if f.kind == "race"]
    wanted = (bug.first, bug.second)
    assert any(
        all(fits(program, pc, known[pc], where) for pc, where in zip(pcs, wanted, strict=True))
        for pcs in pairs
    ), machine.text()


def test_a_compiled_program_without_its_credits_in_the_metadata() -> None:
    program = compiled()
    metadata = {key: value for key, value in program.metadata.items() if key != "check"}
    machine = run_compiled(replace(program, metadata=metadata))
    assert {f.kind for f in machine.findings()} == {"unbalanced"}
    assert all("`reset`" in f.title for f in machine.findings())
