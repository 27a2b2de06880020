"""Every instruction of the specification is really carried out by the fast executor."""

import numpy as np
import pytest
from equality.draft import CHIP, REGIONS

from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from emulator.fast.dispatch import kernel_table
from emulator.fast.rules import (
    OPERAND_FLAGS,
    OPTIONAL,
    RULE_HEADER,
    RULE_OPERAND,
    RULES,
    WRITTEN,
    rule_table,
)
from isa.codec import encode, pack_words
from isa.encoder import encode_slots
from isa.faults import Fault
from isa.forms import DESCRIPTOR_KINDS, forms_by_key
from isa.program import Program, require
from isa.spec import BY_MNEMONIC, INSTRUCTIONS
from isa.spec.model import Instruction, Kind, Unit

TENSOR = [entry for entry in INSTRUCTIONS if entry.unit is not Unit.CTL]
OPERANDS = {
    entry.mnemonic: [operand for operand in entry.operands if operand.kind in DESCRIPTOR_KINDS]
    for entry in INSTRUCTIONS
}


@pytest.mark.parametrize("entry", TENSOR, ids=lambda entry: entry.mnemonic)
def test_has_a_kernel(entry: Instruction) -> None:
    assert kernel_table([entry.opcode])[entry.opcode] != 0


@pytest.mark.parametrize("entry", TENSOR, ids=lambda entry: entry.mnemonic)
def test_has_a_rule_for_each_operand(entry: Instruction) -> None:
    """Operands lie in d0, d1, ... in order; the optional ones are those of the spec."""
    operands = OPERANDS[entry.mnemonic]
    assert [operand.slot for operand in operands] == [f"d{i}" for i in range(len(operands))]
    row = rule_table()[entry.opcode]
    assert row[0] == len(operands)
    for index, operand in enumerate(operands):
        flags = row[RULE_HEADER + RULE_OPERAND * index + OPERAND_FLAGS]
        may_be_absent = operand.optional or operand.kind is Kind.D_OR_NUM
        assert bool(flags & OPTIONAL) == may_be_absent, operand.name
        read_only = operand.name not in ("dst", "acc", "values", "indices", "scale", "total")
        if read_only or (entry.mnemonic, operand.name) == ("readout", "acc"):
            assert not flags & WRITTEN, operand.name
        else:
            assert flags & WRITTEN, operand.name


def test_no_rule_is_for_nothing() -> None:
    assert set(RULES) == {entry.mnemonic for entry in TENSOR} | {"ld"}


@pytest.mark.parametrize("key", forms_by_key(), ids=hex)
def test_is_not_illegal(key: int) -> None:
    """The first word of every form, run on zeroed registers, is taken for what it is."""
    form = forms_by_key()[key]
    slots = {slot: least for slot, (least, _) in form.ranges.items()}
    slots["target"] = 1
    slots = {slot: value for slot, value in slots.items() if slot in form.ranges}
    flags = min(form.flag_values)
    words = [encode_slots(form.entry, flags, slots), encode("halt")]
    table = np.zeros((1, 16), np.int64)
    program = Program(pack_words(words), table, {"main": 0}, REGIONS, (), require(CHIP))
    faults = set()
    try:
        FastMachine(program, CHIP).ring("main")
    except ProgramFault as fault:
        faults = {report.fault for report in fault.reports}
    assert faults <= set(_possible(form.entry))


def _possible(entry: Instruction) -> list[Fault]:
    """Faults an instruction says it raises; waiting for nothing is a deadlock."""
    own = [Fault[name.upper()] for name in entry.faults]
    return [*own, Fault.BAD_DESCRIPTOR, *([Fault.DEADLOCK] if entry.mnemonic == "wait" else [])]


def test_the_faults_of_the_spec_are_known() -> None:
    assert all(Fault[name.upper()] for entry in BY_MNEMONIC.values() for name in entry.faults)
