"""Encode one instruction from named operands, slots and modifiers (see `isa.codec`)."""

import struct
from functools import cache

from isa.forms import (
    DESCRIPTOR_KINDS,
    NAMES,
    NUMBER_SLOT,
    SUM_KINDS,
    Form,
    flag_mask,
    form_key,
    forms_by_key,
    operand_slots,
    scalar_flag,
)
from isa.spec import BY_MNEMONIC
from isa.spec.model import NO_DESCRIPTOR, SLOTS, Flag, Instruction, Kind, Operand

#: What a field may be given as: a number; a float for a number pattern; a word (`"dma0"`,
#: `"dim0"`, `"lt"`); or (register, immediate) for `rb + immediate`.
Value = int | float | str | tuple[int, int]

_HALF = (1 << 64) - 1


class EncodeError(ValueError):
    """Operands that no word of the instruction can hold; `slot` is the one at fault, if known."""

    def __init__(self, message: str, slot: str = "") -> None:
        super().__init__(message)
        self.slot = slot


@cache
def split_mnemonic(text: str) -> tuple[Instruction, int]:
    """Entry and flags byte of `mnemonic.suffix...`; raises EncodeError."""
    mnemonic, *suffixes = text.split(".")
    if mnemonic not in BY_MNEMONIC:
        raise EncodeError(f"unknown instruction '{mnemonic}'")
    entry = BY_MNEMONIC[mnemonic]
    flags, seen = 0, 0
    for suffix in suffixes:
        flag = suffix_flag(entry, suffix)
        if seen & flag_mask(flag):
            raise EncodeError(f"'.{suffix}' contradicts an earlier modifier of {mnemonic}")
        seen |= flag_mask(flag)
        flags |= flag.choices[suffix] << flag.lsb
    return entry, flags


def suffix_flag(entry: Instruction, suffix: str) -> Flag:
    """The flag that a suffix belongs to; raises EncodeError."""
    for flag in entry.flags:
        if suffix and suffix in flag.choices:
            return flag
    known = [f".{word}" for flag in entry.flags for word in flag.choices if word]
    legal = f"; it takes {', '.join(known)}" if known else ""
    raise EncodeError(f"{entry.mnemonic} has no modifier '.{suffix}'{legal}")


def float_pattern(value: float) -> int:
    """The FP32 pattern of a number, rounded to nearest even from its double."""
    try:
        return int.from_bytes(struct.pack("<f", value), "little")
    except OverflowError:
        raise EncodeError(f"{value!r} is beyond FP32") from None


class _Builder:
    """Collects slots and flags of one instruction, each once."""

    def __init__(self, entry: Instruction, flags: int) -> None:
        self.entry = entry
        self.flags = flags
        self.slots: dict[str, int] = {}

    def put(self, slot: str, value: int) -> None:
        if slot in self.slots:
            raise EncodeError(f"{self.entry.mnemonic}: {slot} is given twice")
        self.slots[slot] = value

    def operand(self, operand: Operand, value: Value) -> None:
        """Put an operand given by its name."""
        if operand.kind in NAMES and isinstance(value, str):
            self.put(operand.slot, self.named(operand.name, NAMES[operand.kind], value))
        elif operand.kind in SUM_KINDS:
            self._sum(operand.slot, operand.kind, value)
        elif operand.kind is Kind.D_OR_NUM and isinstance(value, float | tuple):
            self._sum(NUMBER_SLOT, operand.kind, value)
        else:
            self.put(operand.slot, self.integer(operand.name, value))

    def _sum(self, slot: str, kind: Kind, value: Value) -> None:
        register, immediate = value if isinstance(value, tuple) else (None, value)
        if isinstance(immediate, float) and kind in (Kind.NUM, Kind.D_OR_NUM):
            immediate = float_pattern(immediate)
        self.put(slot, self.integer(slot, immediate))
        if register is not None:
            self.put("rb", register)

    def flag(self, flag: Flag, value: Value) -> None:
        """Set a modifier given by its name."""
        if isinstance(value, str):
            value = self.named(flag.name, flag.choices, value)
        number = self.integer(flag.name, value)
        if number not in (flag.choices.values() if flag.choices else (0, 1)):
            raise EncodeError(f"{self.entry.mnemonic}: {flag.name} cannot be {number}")
        self.flags = self.flags & ~flag_mask(flag) | number << flag.lsb

    def suffix(self, word: str, value: Value) -> None:
        """Set a modifier given as `suffix=1`."""
        flag = suffix_flag(self.entry, word)
        if self.integer(word, value):
            self.flag(flag, word)

    def named(self, name: str, table: dict[str, int], word: str) -> int:
        """The number of a word; raises EncodeError."""
        if word not in table:
            known = ", ".join(known for known in table if known)
            raise EncodeError(f"{self.entry.mnemonic}: {name} '{word}' is none of {known}")
        return table[word]

    def integer(self, name: str, value: Value) -> int:
        """The value as an int; raises EncodeError."""
        if isinstance(value, float | str | tuple):
            raise EncodeError(f"{self.entry.mnemonic}: {name} must be an integer, not {value!r}")
        return int(value)


def _assign(builder: _Builder, name: str, value: Value) -> None:
    """Give one keyword to the operand, slot, flag or suffix of that name, in this order."""
    entry = builder.entry
    operand = next((op for op in entry.operands if op.name == name), None)
    flag = next((f for f in entry.flags if f.name == name), None)
    if operand is not None:
        builder.operand(operand, value)
    elif name == "flags":
        builder.flags |= builder.integer(name, value)
    elif name in SLOTS:
        builder.put(name, _slot_number(builder, name, value))
    elif flag is not None:
        builder.flag(flag, value)
    else:
        builder.suffix(name, value)


def _slot_number(builder: _Builder, slot: str, value: Value) -> int:
    kinds = [op.kind for op in builder.entry.operands if op.slot == slot]
    if isinstance(value, str) and kinds and kinds[0] in NAMES:
        return builder.named(slot, NAMES[kinds[0]], value)
    if isinstance(value, float):
        return float_pattern(value)
    return builder.integer(slot, value)


def _mark_number(builder: _Builder) -> None:
    """Set the flag `scalar` where the operand that may be a number was given as one."""
    flag = scalar_flag(builder.entry)
    if flag is None:
        return
    operand = next(op for op in builder.entry.operands if op.kind is Kind.D_OR_NUM)
    has_number = NUMBER_SLOT in builder.slots or "rb" in builder.slots
    if has_number and builder.slots.get(operand.slot, NO_DESCRIPTOR) == NO_DESCRIPTOR:
        builder.flags |= flag_mask(flag)


def _fill_absent(builder: _Builder, form: Form) -> None:
    """Give absent operands their values; a required one must have at least one of its slots."""
    missing = []
    for operand in form.entry.operands:
        slots = operand_slots(operand, form.is_number)
        if not operand.optional and not any(slot in builder.slots for slot in slots):
            missing.append(operand.name)
        for slot in slots:
            absent = NO_DESCRIPTOR if operand.kind in DESCRIPTOR_KINDS else 0
            builder.slots.setdefault(slot, absent if slot == operand.slot else 0)
    if missing:
        raise EncodeError(f"{form.entry.mnemonic}: {', '.join(missing)} missing")


def _wraps(form: Form, slot: str) -> bool:
    """Whether a slot also takes the unsigned reading of its bits: number patterns, 64 bits."""
    if slot == "imm64":
        return True
    kinds = {operand.kind for operand in form.entry.operands}
    return slot == NUMBER_SLOT and bool(kinds & {Kind.NUM, Kind.D_OR_NUM})


def _shown(form: Form, slot: str) -> str:
    """How an error names a slot: by its operand, if that has another name."""
    name = next((op.name for op in form.entry.operands if op.slot == slot), slot)
    return slot if name == slot else f"{name} ({slot})"


def _insert(form: Form, slot: str, value: int) -> int:
    """The slot's bits in place; raises EncodeError if the value does not fit."""
    if slot not in form.ranges:
        raise EncodeError(f"{form.entry.mnemonic} takes no {slot} here", slot)
    least, most = form.ranges[slot]
    mask = (1 << SLOTS[slot].width) - 1
    if not least <= value <= (mask if _wraps(form, slot) else most):
        message = f"{form.entry.mnemonic}: {_shown(form, slot)} is {value}, not {least}..{most}"
        raise EncodeError(message, slot)
    return (value & mask) << SLOTS[slot].lsb


def encode(mnemonic: str, **fields: Value) -> tuple[int, int]:
    """The word of an instruction as (low, high) halves; raises EncodeError.

    Operands go by their names or by slot, modifiers by suffix of the mnemonic, by name or suffix
    as keyword, or as `flags`. Where a name is both an operand and a modifier, it is the operand.
    """
    entry, flags = split_mnemonic(mnemonic)
    builder = _Builder(entry, flags)
    for name, value in fields.items():
        _assign(builder, name, value)
    return _word(builder)


def encode_slots(entry: Instruction, flags: int, slots: dict[str, int]) -> tuple[int, int]:
    """The word of an instruction whose slots are known; absent optional ones are filled in."""
    builder = _Builder(entry, flags)
    builder.slots = dict(slots)
    return _word(builder)


def _word(builder: _Builder) -> tuple[int, int]:
    _mark_number(builder)
    entry = builder.entry
    form = forms_by_key()[form_key(entry, builder.flags)]
    if builder.flags not in form.flag_values:
        raise EncodeError(f"{entry.mnemonic}: flags {builder.flags:#04x} are no legal modifiers")
    _fill_absent(builder, form)
    word = entry.opcode | builder.flags << SLOTS["flags"].lsb
    for slot, value in builder.slots.items():
        word |= _insert(form, slot, value)
    return word & _HALF, word >> 64
