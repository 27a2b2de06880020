"""Words that are no instruction: unknown opcodes, reserved bits, bad modifiers and fields.

They fault in the control processor, so that a program shows one for each tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from emulator.conformance.case import Case, Maker, of_part
from emulator.conformance.script import CTL, DMA0, Script, Word, pattern, u8
from isa.chip import Chip
from isa.descriptor import Space
from isa.forms import Form, flag_mask, forms_by_key
from isa.spec import BY_OPCODE
from isa.spec.model import NO_DESCRIPTOR, SLOTS, WORD_BITS, Kind

_LANES: Final = 4
_HALF: Final = (1 << 64) - 1
POINT: Final = "fault:*:illegal_instruction"


@dataclass(frozen=True)
class Bad:
    """A word, and why it is none."""

    why: str
    low: int
    high: int


def makers() -> list[Maker]:
    """The cases: a choice, and everything in the full suite."""
    out = []
    for kind, words in _KINDS.items():
        for full in (False, True):
            chosen = words(full)
            for i in range(0, len(chosen), _LANES):
                name = f"faults/illegal/{kind}-{'all' if full else 'some'}-{i // _LANES}"
                make = partial(_case, kind, full, i)
                out.append(Maker(name, make, full, len(chosen[i : i + _LANES])))
    out += [
        Maker("faults/illegal/not-reached", _not_reached),
        Maker("faults/illegal/zero-word", _zero_word, tiles=len(_ZEROS)),
    ]
    return out


def _case(kind: str, full: bool, start: int, chip: Chip, name: str) -> Case:
    words = of_part(_KINDS[kind](full)[start : start + _LANES], 1, chip, name)
    s = Script(chip, name, "; ".join(word.why for word in words))
    for tile, bad in enumerate(words):
        with s.on(tile):
            one_bad(s, tile, (bad.low, bad.high))
    s.emit("halt")
    return s.case([POINT], full)


def one_bad(s: Script, tile: int, word: Word) -> None:
    """A word that faults: what was queued before comes out, what is behind it does not happen."""
    content = pattern(16, 30 + tile)
    s.move(0, u8(Space.HBM, s.result(content), 16), u8(Space.HBM, s.data(content), 16))
    for register in range(8):  # so that a word that was taken for an instruction can be seen
        s.emit("dmov", dst=register, src=30)
    s.fault(tile, CTL, s.word(*word), "illegal_instruction")
    s.move(1, u8(Space.HBM, s.slot(16), 16), u8(Space.HBM, s.data(content), 16))


def _split(word: int) -> tuple[int, int]:
    return word & _HALF, word >> 64


def _bad(why: str, word: int) -> Bad:
    return Bad(why, *_split(word))


# ---- the kinds


@cache
def _opcodes(full: bool) -> list[Bad]:
    """Opcodes that the specification does not have."""
    unknown = [opcode for opcode in range(256) if opcode not in BY_OPCODE]
    near = [o for o in unknown if {o - 1, o + 1, o ^ 128} & set(BY_OPCODE)]
    chosen = unknown if full else [0, 255, *near[1::3]][:16]
    return [_bad(f"opcode {opcode:#04x}", opcode) for opcode in chosen]


def _legal(form: Form) -> int:
    """A word of a form: the least of everything, descriptor 0 and absent options."""
    word = form.entry.opcode | min(form.flag_values) << SLOTS["flags"].lsb
    for slot, (least, most) in form.ranges.items():
        value = most if most == NO_DESCRIPTOR else max(least, 0)
        word |= value << SLOTS[slot].lsb
    return word


def _forms() -> list[Form]:
    return list(forms_by_key().values())


def _title(form: Form) -> str:
    return f"{form.entry.mnemonic}{' with a number' if form.is_number else ''}"


@cache
def _reserved(full: bool) -> list[Bad]:
    """Each reserved bit of each form, one at a time; or one or two bits of each."""
    found = []
    for number, form in enumerate(_forms()):
        if number % 2 and not full:
            continue
        bits = [bit for bit in range(WORD_BITS) if not form.used >> bit & 1]
        if not full and bits:
            bits = [bits[(11 * number + 3) % len(bits)]]
        for bit in bits:
            found.append(_bad(f"{_title(form)}: bit {bit}", _legal(form) | 1 << bit))
    return found


@cache
def _modifiers(full: bool) -> list[Bad]:
    """Values of flags that are no modifier."""
    found = []
    for form in _forms():
        used = sum(flag_mask(flag) for flag in form.entry.flags)
        for flags in range(256):
            if flags & ~used or flags in form.flag_values or not _is_form(form, flags):
                continue
            word = _legal(form) & ~(0xFF << SLOTS["flags"].lsb) | flags << SLOTS["flags"].lsb
            found.append(_bad(f"{_title(form)}: flags {flags:#x}", word))
    return found


def _is_form(form: Form, flags: int) -> bool:
    """Whether a flags byte says that it is this form: of a tensor or of a number."""
    for flag in form.entry.flags:
        if not flag.choices:
            return bool(flags & flag_mask(flag)) is form.is_number
    return True


@cache
def _descriptors(full: bool) -> list[Bad]:
    """Descriptor numbers beyond d31; beyond 32 where an operand may be absent."""
    found = []
    for form in _forms():
        for operand in form.entry.operands:
            slot = operand.slot
            if operand.kind not in (Kind.D, Kind.D_OR_NUM):
                continue
            least, most = form.ranges[slot]
            legal = range(least, most + 1)
            for value in (0, 1, 31, 32, 33, 48, 63):
                if value not in legal:
                    word = _legal(form) & ~(63 << SLOTS[slot].lsb) | value << SLOTS[slot].lsb
                    found.append(_bad(f"{_title(form)}: {operand.name} is d{value}", word))
    return found if full else found[::19]


@cache
def _numbers(full: bool) -> list[Bad]:
    """Units, channels, fields and special registers that do not exist."""
    found = []
    for form in _forms():
        for operand in form.entry.operands:
            if operand.kind not in (Kind.UNIT, Kind.CHANNEL, Kind.FIELD, Kind.SPECIAL):
                continue
            slot = SLOTS[operand.slot]
            least, most = form.ranges[operand.slot]
            top = (1 << slot.width) - 1
            values = [v for v in range(top + 1) if not least <= v <= most]
            if not full:
                values = [v for v in (0, 2, most + 1, top, top // 2 + 1) if v in values][:3]
            for value in values:
                word = _legal(form) & ~(top << slot.lsb) | value << slot.lsb
                found.append(_bad(f"{_title(form)}: {operand.name} {value}", word))
    return found


_KINDS: Final = {
    "opcode": _opcodes,
    "reserved": _reserved,
    "modifier": _modifiers,
    "descriptor": _descriptors,
    "number": _numbers,
}


# ---- when they fault


def _not_reached(chip: Chip, name: str) -> Case:
    """A word that is no instruction faults only when control comes to it."""
    s = Script(chip, name, "bad words that are jumped over, or stand behind a halt")
    s.only(0)
    s.emit("jmp", target="over")
    for bad in (*_opcodes(False), *_modifiers(False)):
        s.word(bad.low, bad.high)
    s.label("over")
    content = pattern(16, 3)
    s.move(0, u8(Space.HBM, s.result(content), 16), u8(Space.HBM, s.data(content), 16))
    s.fence(DMA0)
    s.emit("halt")
    s.word(_HALF, _HALF)
    return s.case()


def _zero_word(chip: Chip, name: str) -> Case:
    """All bits 0, all bits 1, on one tile each; within a loop and a call."""
    s = Script(chip, name, "the words 0 and ~0, and one that a third turn of a loop comes to")
    for tile, way in enumerate(of_part(_ZEROS, 1, chip, name)):
        with s.on(tile):
            way(s, tile)
    s.emit("halt")
    return s.case([POINT])


def _in_a_loop(s: Script, tile: int) -> None:
    s.emit("loop", count=5, target="end")
    s.emit("add", rd=1, ra=1, b=1)
    s.emit("bne", ra=1, b=3, target="end")
    one_bad(s, tile, (0xFF, 0))
    s.label("end")


_ZEROS: Final[tuple[Callable[[Script, int], None], ...]] = (
    partial(one_bad, word=(0, 0)),
    partial(one_bad, word=(_HALF, _HALF)),
    _in_a_loop,
)
