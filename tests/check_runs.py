"""Runs programs under the checker, and makes wrong ones of right ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from emulator.check.findings import Finding
from emulator.check.machine import CheckedMachine
from emulator.errors import ProgramFault
from emulator.fast.machine import FastMachine
from isa.assembler import assemble
from isa.chip import Chip, load_chip
from isa.disassembler import disassemble_word
from isa.program import Program
from tests.asm_cases import CASES, FOLDER

CHIP = load_chip("t1-mini")
NOTHING = "nop"  # what takes the place of a line that is dropped: pcs stay as they are


def checked(program: Program, chip: Chip = CHIP) -> CheckedMachine:
    """A machine with its checker."""
    return CheckedMachine(FastMachine(program, chip, log_accesses=True))


def ring(machine: CheckedMachine, *arguments: int, entry: str = "", rings: int = 1) -> str:
    """Ring an entry, the first one if it is not named; the fault, if there was one."""
    try:
        for _ in range(rings):
            machine.ring(entry or next(iter(machine.program.entries)), arguments)
    except ProgramFault as fault:
        return str(fault)
    return ""


def findings(program: Program, *arguments: int, rings: int = 1) -> list[Finding]:
    """What there is to say of a program that is rung."""
    machine = checked(program)
    ring(machine, *arguments, rings=rings)
    return machine.findings()


@cache
def source(name: str) -> str:
    """The text of a program of programs/asm."""
    return (FOLDER / f"{name}.tasm").read_text()


def edited(text: str, edit: str) -> str:
    """A text with a bug: `- line` drops one, `old => new` changes one, `one <> other` swaps two.

    A line is named by its beginning, and must be there once.
    """
    lines = text.split("\n")
    if edit.startswith("- "):
        lines[_place(lines, edit[2:])] = NOTHING
    elif " => " in edit:
        old, new = edit.split(" => ")
        lines[_place(lines, old)] = new
    else:
        one, other = (_place(lines, line) for line in edit.split(" <> "))
        lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def _place(lines: Sequence[str], beginning: str) -> int:
    wanted = beginning.split()
    places = [
        i for i, line in enumerate(lines) if line.split(";")[0].split()[: len(wanted)] == wanted
    ]
    assert len(places) == 1, f"{beginning!r} is there {len(places)} times"
    return places[0]


def pc_of(text: str, beginning: str) -> int:
    """The pc of the line that begins so."""
    lines = text.split("\n")
    code = [line.split(";")[0].strip() for line in lines[: _place(lines, beginning)]]
    return sum(1 for line in code if line and not line.startswith(".") and not line.endswith(":"))


def run_case(name: str, text: str) -> CheckedMachine:
    """The program of programs/asm with another text, given its case's inputs, rung twice."""
    case = CASES[name]
    machine = checked(assemble(text))
    for symbol, array in case.inputs().items():
        machine.write(symbol, array)
    ring(machine, *case.arguments, rings=2)
    return machine


def summary(finding: Finding, program: Program) -> tuple[str, ...]:
    """A finding's kind and its instructions, each as unit and mnemonic with what it does."""
    texts = [
        disassemble_word(*map(int, program.code[site.pc])).split()[0] for site in finding.sites
    ]
    return (finding.kind, *(f"{t} {s.does}" for t, s in zip(texts, finding.sites, strict=True)))
