"""Instruction words: encode, decode one, decode a whole program. All derived from `isa.spec`.

    lo, hi = encode("gemm.acc.split2", acc=0, a=1, w=2, bounds=3, k0=(4, 128))
    lo, hi = encode("gemm.acc", d0=0, d1=1, d2=2, d3=3, rb=4, imm32=128, split=1)

name the same word: operands go by name or by slot, modifiers by suffix, by name or as `flags`.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from isa.encoder import EncodeError, encode
from isa.forms import (
    IMMEDIATE_BITS,
    NUMBER_FORM,
    Form,
    flag_mask,
    form_key,
    forms_by_key,
    operand_slots,
    scalar_flag,
)
from isa.spec import BY_OPCODE, INSTRUCTIONS
from isa.spec.model import SLOTS, WORD_BITS, Instruction

__all__ = [
    "DECODED_DTYPE",
    "Decoded",
    "EncodeError",
    "IllegalInstruction",
    "decode",
    "decode_program",
    "encode",
    "instruction_hash",
    "pack_words",
    "used_hashes",
]

#: Descriptor, register and other plain fields, as `decode_program` gives them.
_PLAIN = ("d0", "d1", "d2", "d3", "d4", "rd", "ra", "rb", "sel")
_PLAIN_HIGH = ("target", "unit", "sem", "scope", "site")
_DECODED_NAMES = ("op", "flags", *_PLAIN, "imm", *_PLAIN_HIGH, "exec_unit", "illegal")
DECODED_DTYPE = np.dtype([(name, np.int64) for name in _DECODED_NAMES])

_HALF = (1 << 64) - 1
_KEYS = 2 * NUMBER_FORM


class IllegalInstruction(ValueError):
    """A word that is no instruction of this ISA."""


@dataclass(frozen=True)
class Decoded:
    """One instruction: its entry, and the value of every slot it uses (with `op`, `flags`)."""

    entry: Instruction
    is_number: bool
    fields: dict[str, int]

    @property
    def exec_unit(self) -> int:
        """Number of the unit that executes it."""
        return self.fields.get("unit", self.entry.unit.value)

    def operand(self, name: str) -> tuple[int, ...]:
        """Values of an operand's slots, in the order of :func:`isa.forms.operand_slots`."""
        operand = next(op for op in self.entry.operands if op.name == name)
        return tuple(self.fields[slot] for slot in operand_slots(operand, self.is_number))

    def suffixes(self) -> tuple[str, ...]:
        """The modifiers as written after the mnemonic, those of value "" left out."""
        flags = self.fields["flags"]
        values = [(flag, (flags & flag_mask(flag)) >> flag.lsb) for flag in self.entry.flags]
        words = [
            next(word for word, number in flag.choices.items() if number == value)
            for flag, value in values
            if flag.choices
        ]
        return tuple(word for word in words if word)


def _extract(word: int, name: str) -> int:
    slot = SLOTS[name]
    raw = word >> slot.lsb & ((1 << slot.width) - 1)
    return raw - (1 << slot.width) if slot.signed and raw >> (slot.width - 1) else raw


def _form_of(word: int) -> Form:
    opcode = _extract(word, "op")
    if opcode not in BY_OPCODE:
        raise IllegalInstruction(f"unknown opcode {opcode:#04x}")
    entry = BY_OPCODE[opcode]
    form = forms_by_key()[form_key(entry, _extract(word, "flags"))]
    reserved = word & ~form.used
    if reserved:
        bits = [str(bit) for bit in range(WORD_BITS) if reserved >> bit & 1]
        raise IllegalInstruction(f"{entry.mnemonic}: reserved bits {', '.join(bits)} are set")
    return form


def decode(lo: int, hi: int) -> Decoded:
    """The instruction of one 128-bit word; raises IllegalInstruction if it is none."""
    word = (int(hi) & _HALF) << 64 | int(lo) & _HALF
    form = _form_of(word)
    name = form.entry.mnemonic
    flags = _extract(word, "flags")
    if flags not in form.flag_values:
        raise IllegalInstruction(f"{name}: flags {flags:#04x} are no legal modifiers")
    fields = {"op": form.entry.opcode, "flags": flags}
    for slot, (least, most) in form.ranges.items():
        fields[slot] = _extract(word, slot)
        if not least <= fields[slot] <= most:
            raise IllegalInstruction(f"{name}: {slot} is {fields[slot]}, not {least}..{most}")
    return Decoded(form.entry, form.is_number, fields)


@dataclass(frozen=True)
class _Tables:
    """What `decode_program` looks up by form key; unknown opcodes have all-zero rows."""

    number_flag: NDArray[np.int64]  # [256] the scalar flag's mask
    reserved: NDArray[np.uint64]  # [keys, 2]
    flags_legal: NDArray[np.bool_]  # [keys, 256]
    least: dict[str, NDArray[np.int64]]  # [keys] by slot
    most: dict[str, NDArray[np.int64]]
    mask: dict[str, NDArray[np.uint64]]  # [keys] by slot: all ones where the form uses it
    imm_shift: NDArray[np.int64]  # [keys] 64 - width of the immediate
    has_imm: NDArray[np.bool_]
    unit: NDArray[np.int64]  # [keys] executing unit; -1: the `unit` slot says


def _empty_tables() -> _Tables:
    plain = (*_PLAIN, *_PLAIN_HIGH)
    return _Tables(
        np.zeros(NUMBER_FORM, np.int64),
        np.full((_KEYS, 2), _HALF, np.uint64),
        np.zeros((_KEYS, 256), np.bool_),
        {slot: np.zeros(_KEYS, np.int64) for slot in plain},
        {slot: np.zeros(_KEYS, np.int64) for slot in plain},
        {slot: np.zeros(_KEYS, np.uint64) for slot in plain},
        np.zeros(_KEYS, np.int64),
        np.zeros(_KEYS, np.bool_),
        np.zeros(_KEYS, np.int64),
    )


def _fill_form(tables: _Tables, key: int, form: Form) -> None:
    reserved = ~form.used & ((1 << WORD_BITS) - 1)
    tables.reserved[key] = (reserved & _HALF, reserved >> 64)
    tables.flags_legal[key, sorted(form.flag_values)] = True
    for slot, (least, most) in form.ranges.items():
        if slot in IMMEDIATE_BITS:
            tables.has_imm[key] = True
            tables.imm_shift[key] = 64 - IMMEDIATE_BITS[slot]
            continue
        tables.least[slot][key], tables.most[slot][key] = least, most
        tables.mask[slot][key] = (1 << SLOTS[slot].width) - 1
    tables.unit[key] = -1 if "unit" in form.ranges else form.entry.unit.value


@cache
def _tables() -> _Tables:
    tables = _empty_tables()
    for entry in INSTRUCTIONS:
        flag = scalar_flag(entry)
        tables.number_flag[entry.opcode] = flag_mask(flag) if flag else 0
    for key, form in forms_by_key().items():
        _fill_form(tables, key, form)
    return tables


def decode_program(code: NDArray[np.uint64]) -> NDArray[np.void]:
    """Every instruction of `code` [n, 2] as a structured array [n] of `DECODED_DTYPE`.

    `imm` is whichever immediate applies, sign-extended; slots an instruction does not use are 0.
    Illegal words have illegal = 1 and zeros elsewhere: they fault when they are executed.
    """
    tables = _tables()
    low = np.ascontiguousarray(code[:, 0], np.uint64)
    high = np.ascontiguousarray(code[:, 1], np.uint64)
    out = np.zeros(len(low), DECODED_DTYPE)
    op = (low & np.uint64(0xFF)).astype(np.int64)
    flags = (low >> np.uint64(8) & np.uint64(0xFF)).astype(np.int64)
    key = op + NUMBER_FORM * ((flags & tables.number_flag[op]) != 0)
    reserved = tables.reserved[key]
    legal = (low & reserved[:, 0] | high & reserved[:, 1]) == 0
    legal &= tables.flags_legal[key, flags]
    out["op"], out["flags"] = op, flags
    for slot in (*_PLAIN, *_PLAIN_HIGH):
        lsb = SLOTS[slot].lsb
        raw = (low if lsb < 64 else high) >> np.uint64(lsb % 64) & tables.mask[slot][key]
        value = raw.astype(np.int64)
        legal &= (value >= tables.least[slot][key]) & (value <= tables.most[slot][key])
        out[slot] = value
    shift = tables.imm_shift[key]
    out["imm"] = np.where(tables.has_imm[key], high.view(np.int64) << shift >> shift, 0)
    out["exec_unit"] = np.where(tables.unit[key] < 0, out["unit"], tables.unit[key])
    out[~legal] = 0
    out["illegal"] = ~legal
    return out


def pack_words(words: list[tuple[int, int]]) -> NDArray[np.uint64]:
    """Encoded words as a program's code, uint64 [n, 2]."""
    return np.array(words, np.uint64).reshape(-1, 2)


def _operand_shape(entry: Instruction) -> list[object]:
    return [
        [operand.name, operand.kind.value, operand.slot, operand.optional]
        + [[SLOTS[slot].lsb, SLOTS[slot].width] for slot in operand_slots(operand, True)]
        for operand in entry.operands
    ]


def instruction_hash(entry: Instruction) -> bytes:
    """SHA-256 of an instruction's encoding and meaning.

    Prose (summary, roles, notes), the mnemonic and the timing class are left out: editing those
    changes no program. Names stay, since the meaning refers to them.
    """
    content = {
        "opcode": entry.opcode,
        "unit": entry.unit.name,
        "operands": _operand_shape(entry),
        "flags": [[f.name, f.lsb, f.width, sorted(f.choices.items())] for f in entry.flags],
        "meaning": entry.meaning,
        "faults": sorted(entry.faults),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def used_hashes(code: NDArray[np.uint64]) -> dict[int, bytes]:
    """Opcode -> hash of every instruction that occurs in `code` (illegal words do not count)."""
    decoded = decode_program(code)
    opcodes = np.unique(decoded["op"][decoded["illegal"] == 0])
    return {int(opcode): instruction_hash(BY_OPCODE[int(opcode)]) for opcode in opcodes}
