"""Coverage points: what there is to cover, from the specification, and what no case covers.

    points()                 # point -> what it stands for
    covered(cases)           # points that cases cover
    holes(cases, ["dma"])    # points of some profiles that no case covers

A point is `instruction:vadd`, `modifier:gemm.acc.split2`, `operand:gemm.bounds:no`,
`format:vadd.dst:BF16`, `fault:gemm:misaligned` (`fault:*:bad_pc` of every instruction) or
`rule:NAME`, a rule of the pages that a suite names in its RULES.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Final

from emulator.conformance.case import PROFILES, Case
from emulator.conformance.coverage_formats import FORMATS
from emulator.conformance.points import modifier_points
from isa.faults import MEANING, Fault
from isa.forms import forms_by_key
from isa.spec import INSTRUCTIONS
from isa.spec.model import Instruction, Kind, Unit

#: Faults that the specification lists though the pages leave no way to them.
IMPOSSIBLE: Final = frozenset(
    {"fault:viota:shape_mismatch"}  # one operand, of any rank, without scales
)
_QUANTISE: Final = ("vquant", "vquantr")


def points(instructions: Iterable[Instruction] = INSTRUCTIONS) -> dict[str, str]:
    """Every point that there is, with what it stands for."""
    found: dict[str, str] = {}
    for entry in instructions:
        found |= dict(_of_instruction(entry))
    for fault in _general_faults():
        found[f"fault:*:{fault}"] = MEANING[Fault[fault.upper()]]
    for profile in PROFILES:
        found |= {f"rule:{name}": text for name, text in rules(profile).items()}
    return {point: text for point, text in found.items() if point not in IMPOSSIBLE}


def rules(profile: str) -> dict[str, str]:
    """The rules of the pages that a suite is about."""
    module = importlib.import_module(f"emulator.conformance.suites.{profile}")
    return dict(module.RULES)


def of_instruction(entry: Instruction) -> list[str]:
    """The points of one instruction."""
    return [point for point, _ in _of_instruction(entry) if point not in IMPOSSIBLE]


def _of_instruction(entry: Instruction) -> Iterator[tuple[str, str]]:
    name = entry.mnemonic
    yield f"instruction:{name}", entry.summary
    for point in sorted(_modifiers(entry)):
        yield point, "modifiers, each and together"
    for operand in entry.operands:
        if operand.optional and operand.kind is Kind.D:
            for word, text in (("yes", "present"), ("no", "absent")):
                yield f"operand:{name}.{operand.name}:{word}", f"{operand.name} is {text}"
    for operand_name, formats in FORMATS.get(name, {}).items():
        for fmt in formats:
            yield f"format:{name}.{operand_name}:{fmt}", f"{operand_name} in {fmt}"
    for fault in entry.faults:
        yield f"fault:{name}:{fault}", MEANING[Fault[fault.upper()]]


def _modifiers(entry: Instruction) -> set[str]:
    """Every modifier and every legal combination."""
    flags = {
        value
        for form in forms_by_key().values()
        if form.entry is entry
        for value in form.flag_values
        if entry.flags
    }
    return {point for value in flags for point in modifier_points(entry, value)}


def _general_faults() -> list[str]:
    """Faults that belong to no instruction."""
    particular = {fault for entry in INSTRUCTIONS for fault in entry.faults}
    return [f.name.lower() for f in Fault if f.value and f.name.lower() not in particular]


# ---- what is covered


def covered(cases: Iterable[Case]) -> set[str]:
    """The points that cases cover."""
    return {point for case in cases for point in case.covers}


def profile_of(point: str) -> str:
    """The profile whose cases must cover a point."""
    kind, _, rest = point.partition(":")
    if kind == "fault":
        return "faults"
    if kind == "rule":
        return next(profile for profile in PROFILES if rest in rules(profile))
    mnemonic = rest.partition(":")[0].partition(".")[0]
    entry = next(entry for entry in INSTRUCTIONS if entry.mnemonic == mnemonic)
    if mnemonic in ("wait", "signal"):
        return "sync"
    if mnemonic in _QUANTISE:
        return "quant"
    return {Unit.CTL: "control", Unit.MXU: "mxu", Unit.VPU: "vpu", Unit.DMA: "dma"}[entry.unit]


def holes(cases: Iterable[Case], profiles: Iterable[str] = PROFILES) -> list[str]:
    """Points of some profiles that no case covers."""
    there, wanted = covered(cases), set(profiles)
    return [point for point in points() if point not in there and profile_of(point) in wanted]


def unknown(cases: Iterable[Case]) -> list[str]:
    """What cases claim to cover though there is no such point."""
    return sorted(covered(cases) - set(points()))
