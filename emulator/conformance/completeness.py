"""What an instruction of the specification still lacks, in all parts of the project.

missing(INSTRUCTIONS)    # [] if each has all of: semantics, fast executor, timing, vectors,
                         # documentation; else a line for each part that one lacks
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Final

import isa
from emulator.conformance.case import PROFILES
from emulator.conformance.coverage import of_instruction, profile_of
from emulator.conformance.kit import makers
from isa.chip import load_chip
from isa.doc_instructions import GROUPS, TIMING_CLASSES
from isa.spec import INSTRUCTIONS
from isa.spec.model import Instruction, Unit

_PAGES: Final = Path(isa.__file__).parent.parent / "docs" / "isa"
#: Classes that the model of the control processor prices.
_CONTROL_CLASSES: Final = ("scalar", "branch", "scalar_load", "wait", "signal")
_SHOWN: Final = 4


def missing(
    instructions: Iterable[Instruction] = INSTRUCTIONS, points: Collection[str] | None = None
) -> list[str]:
    """A line for each part that an instruction lacks. `points`: what cases cover, if known."""
    there = kit_points() if points is None else points
    parts: dict[str, Callable[[Instruction], str]] = {
        "semantics": _semantics,
        "fast executor": _fast,
        "timing": _timing,
        "vectors": lambda entry: _vectors(entry, there),
        "documentation": _documentation,
    }
    return [
        f"{entry.mnemonic}: {part}: {problem}"
        for entry in instructions
        for part, look in parts.items()
        if (problem := look(entry))
    ]


@cache
def kit_points() -> frozenset[str]:
    """What the kit's cases cover of the instructions; the full suite is not asked.

    A profile's cases are built until nothing is left for them to cover, from the last one on:
    the cases of many formats, which are small, stand behind the long ones.
    """
    chip = load_chip("t1-mini")
    everything = {point for entry in INSTRUCTIONS for point in of_instruction(entry)}
    there: set[str] = set()
    for profile in PROFILES:
        wanted = {point for point in everything if profile_of(point) == profile}
        for maker in reversed(makers([profile])):
            if wanted <= there:
                break
            there |= maker.case(chip).covers
    return frozenset(there)


def _semantics(entry: Instruction) -> str:
    """The reference executor carries it out."""
    from emulator.reference import scheduler
    from emulator.reference.registry import CONTROL, SYNC, TENSOR

    assert scheduler.SEMANTICS  # importing them has registered them
    known = entry.mnemonic in {*CONTROL, *SYNC, *TENSOR}
    return "" if known else "none is registered in emulator/reference"


def _fast(entry: Instruction) -> str:
    """The fast executor carries it out: a kernel with its rules, or the control processor."""
    from emulator.fast import control, execute
    from emulator.fast.rules import rule_table
    from emulator.kernels import kernels

    if entry.unit is not Unit.CTL:
        if entry.opcode not in kernels():
            return "emulator/kernels has no kernel"
        return "" if rule_table()[entry.opcode].any() else "emulator/fast/rules.py has no rule"
    name = entry.mnemonic.upper()
    known = (getattr(control, name, None), getattr(execute, f"OP_{name}", None))
    return "" if entry.opcode in known else "emulator/fast/control.py does not know it"


def _timing(entry: Instruction) -> str:
    """The timing model has a price."""
    from emulator.timing.state import opcode_table

    if entry.timing not in TIMING_CLASSES:
        return f"no class {entry.timing!r}"
    if entry.unit is Unit.CTL:
        return "" if entry.timing in _CONTROL_CLASSES else "not a class of the control processor"
    try:
        priced = opcode_table()[entry.opcode].any()
    except KeyError:  # the table is made of the specification and stops at what has no price
        priced = False
    return "" if priced else "emulator/timing has no price"


def _vectors(entry: Instruction, there: Collection[str]) -> str:
    """Cases cover all its points."""
    holes = [point for point in of_instruction(entry) if point not in there]
    more = f" and {len(holes) - _SHOWN} more" if len(holes) > _SHOWN else ""
    return f"no case covers {', '.join(holes[:_SHOWN])}{more}" if holes else ""


def _documentation(entry: Instruction) -> str:
    """Its page has an entry with what it does and what it means."""
    if not entry.summary or not entry.meaning:
        return "no summary or no meaning"
    group = next((group for group in GROUPS if group.first <= entry.opcode <= group.last), None)
    if group is None:
        return "its opcode belongs to no page"
    text = (_PAGES / group.file).read_text("utf-8")
    wanted = (f"\n## {entry.mnemonic}\n", entry.summary, entry.meaning)
    return "" if all(part in text for part in wanted) else f"docs/isa/{group.file} lacks it"
