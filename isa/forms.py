"""The exact shape of every instruction word, derived from the specification.

An instruction has one form, or two if an operand may be a tensor or a number: the flag `scalar`
tells them apart, and each form leaves other bits reserved. Encoder and decoders read only forms.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

from isa.faults import DMA0, NUM_UNITS, unit_name
from isa.spec import INSTRUCTIONS
from isa.spec.control import DESCRIPTOR_FIELDS, SPECIAL_REGISTERS
from isa.spec.model import (
    NO_DESCRIPTOR,
    NUM_DESCRIPTORS,
    SLOTS,
    Flag,
    Instruction,
    Kind,
    Operand,
)
from isa.spec.sync import SCOPES

#: Kinds made of a base register `rb` and an immediate.
SUM_KINDS = frozenset({Kind.B64, Kind.B48, Kind.B32, Kind.NUM})
DESCRIPTOR_KINDS = frozenset({Kind.D, Kind.D_OR_NUM})
IMMEDIATE_BITS = {"imm64": 64, "imm48": 48, "imm32": 32}
NUMBER_SLOT = "imm32"  #: where a D_OR_NUM operand keeps its number
NUMBER_FORM = 256  #: added to the opcode: the key of the form whose operand is a number

#: Operands written as a word from a table, and its numbers.
NAMES: dict[Kind, dict[str, int]] = {
    Kind.UNIT: {unit_name(unit): unit for unit in range(NUM_UNITS)},
    Kind.CHANNEL: {unit_name(unit): unit for unit in range(DMA0, NUM_UNITS)},
    Kind.SCOPE: SCOPES,
    Kind.FIELD: DESCRIPTOR_FIELDS,
    Kind.SPECIAL: SPECIAL_REGISTERS,
}


@dataclass(frozen=True)
class Form:
    """One shape of an instruction word.

    ``ranges`` gives the legal values of every slot the form uses except `op` and `flags`;
    ``flag_values`` the legal flags bytes; ``used`` has a 1 for every bit that is not reserved.
    """

    entry: Instruction
    is_number: bool
    ranges: dict[str, tuple[int, int]]
    flag_values: frozenset[int]
    used: int

    @property
    def key(self) -> int:
        """The opcode, plus ``NUMBER_FORM`` where the operand is a number."""
        return self.entry.opcode + (NUMBER_FORM if self.is_number else 0)


def operand_slots(operand: Operand, is_number: bool = False) -> tuple[str, ...]:
    """The slots an operand lies in; `is_number`: what a D_OR_NUM operand is."""
    if operand.kind in SUM_KINDS:
        return (operand.slot, "rb")
    if operand.kind is Kind.D_OR_NUM and is_number:
        return (operand.slot, NUMBER_SLOT, "rb")
    return (operand.slot,)


def scalar_flag(entry: Instruction) -> Flag | None:
    """The flag that makes an operand a number. It has no suffix: writing `#` sets it."""
    return next((flag for flag in entry.flags if not flag.choices), None)


def flag_mask(flag: Flag) -> int:
    """The flag's bits within the flags byte."""
    return ((1 << flag.width) - 1) << flag.lsb


def slot_mask(name: str) -> int:
    """The slot's bits within the 128-bit word."""
    slot = SLOTS[name]
    return ((1 << slot.width) - 1) << slot.lsb


def _descriptor_range(operand: Operand, is_number: bool) -> tuple[int, int]:
    if operand.kind is Kind.D_OR_NUM and is_number:
        return NO_DESCRIPTOR, NO_DESCRIPTOR
    return 0, NO_DESCRIPTOR if operand.optional else NUM_DESCRIPTORS - 1


def _slot_range(operand: Operand, slot: str, is_number: bool) -> tuple[int, int]:
    if slot == operand.slot and operand.kind in DESCRIPTOR_KINDS:
        return _descriptor_range(operand, is_number)
    if slot == operand.slot and operand.kind in NAMES:
        numbers = NAMES[operand.kind].values()
        return min(numbers), max(numbers)
    return SLOTS[slot].lo, SLOTS[slot].hi


def _flag_values(entry: Instruction, is_number: bool) -> frozenset[int]:
    choices = [
        [value << flag.lsb for value in flag.choices.values()]
        if flag.choices
        else [int(is_number) << flag.lsb]
        for flag in entry.flags
    ]
    return frozenset(sum(values) for values in product(*choices))


def _form(entry: Instruction, is_number: bool) -> Form:
    ranges = {
        slot: _slot_range(operand, slot, is_number)
        for operand in entry.operands
        for slot in operand_slots(operand, is_number)
    }
    used = slot_mask("op")
    for slot in ranges:
        used |= slot_mask(slot)
    for flag in entry.flags:
        used |= flag_mask(flag) << SLOTS["flags"].lsb
    return Form(entry, is_number, ranges, _flag_values(entry, is_number), used)


@cache
def forms_by_key() -> dict[int, Form]:
    """Every form of every instruction, by its key."""
    forms = [
        _form(entry, is_number)
        for entry in INSTRUCTIONS
        for is_number in ((False, True) if scalar_flag(entry) else (False,))
    ]
    return {form.key: form for form in forms}


def form_key(entry: Instruction, flags: int) -> int:
    """Key of the form that an instruction with this flags byte has."""
    flag = scalar_flag(entry)
    return entry.opcode + (NUMBER_FORM if flag and flags & flag_mask(flag) else 0)
