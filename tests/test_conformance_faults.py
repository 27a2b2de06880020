"""The fault cases: complete, and right on both executors."""

from __future__ import annotations

from functools import cache

from conformance_cases import CHIP, build, check_all, check_profile, every

from emulator.conformance.case import Case
from emulator.conformance.suites.faults_breaks import ORDER, breaks
from emulator.conformance.suites.faults_tensor import BASES, _shots
from isa.faults import Fault
from isa.spec import BY_OPCODE, INSTRUCTIONS
from isa.spec.model import Kind


@cache
def cases() -> list[Case]:
    return build("faults")


def test_the_suite_is_complete() -> None:
    check_profile("faults", cases())


def test_all_cases_on_the_fast_executor() -> None:
    check_all(cases(), "fast")


def test_a_sample_on_the_reference_executor() -> None:
    check_all(cases()[::3], "reference")


def test_a_sample_of_the_full_suite() -> None:
    chosen = [maker.case(CHIP) for maker in every(37, "faults", 5)]
    check_all(chosen, "fast")
    check_all(chosen[::3], "reference")


def test_every_fault_occurs() -> None:
    seen = {fault.name for case in cases() for fault in case.expected.faults}
    assert seen == {fault.name.lower() for fault in Fault if fault}


def test_every_instruction_with_tensors_has_a_base() -> None:
    written = {base.name for base in BASES}
    named = {entry.mnemonic for entry in INSTRUCTIONS if "bad_descriptor" in entry.faults}
    assert written == named


def test_every_operand_is_broken_by_every_check() -> None:
    """Each operand has breaks of each kind that the pages leave for it."""
    for entry in INSTRUCTIONS:
        shots = _shots(entry.mnemonic, CHIP) if "bad_descriptor" in entry.faults else []
        for operand in entry.operands if shots else ():
            if operand.kind in (Kind.D, Kind.D_OR_NUM):
                mine = {s.wrong.fault for s in shots if list(s.wrong.words) == [operand.name]}
                assert {"bad_descriptor", "out_of_bounds"} <= mine, (entry.mnemonic, operand.name)


def test_two_faults_at_once_in_every_order() -> None:
    """Pairs of checks that one instruction can fail are broken together."""
    together = {
        (mine, other)
        for shot in _shots("dma", CHIP)
        if "; " in shot.wrong.what
        for mine in [shot.wrong.fault]
        for other in ORDER
    }
    assert {mine for mine, _ in together} == set(ORDER[:-1])


def test_all_unknown_opcodes_are_in_the_full_suite() -> None:
    words = [m for m in every(1, "faults") if "illegal/opcode-all" in m.name]
    built = [m.case(CHIP) for m in words]
    wanted = 256 - len(BY_OPCODE)
    assert sum(len(case.expected.faults) for case in built) == wanted


def test_breaks_name_what_is_wrong() -> None:
    for base in BASES:
        for wrong in breaks(base, CHIP):
            assert wrong.words and wrong.fault in ORDER and ": " in wrong.what
