"""Random instruction words: every reader of words agrees on what is legal and what it means."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from equality.draft import CHIP
from equality.noise import FORMS

from emulator.fast.blocks import decoded_rows
from emulator.fast.layout import ROW_OP
from fuzz.kinds import Kind, kind
from isa.assembler import assemble
from isa.codec import Decoded, IllegalInstruction, decode, decode_program
from isa.disassembler import disassemble_word
from isa.encoder import encode_slots
from isa.faults import DMA0
from isa.forms import Form
from isa.program import Program, require

WORDS = 64  # in one item
_ALL = (1 << 128) - 1


def code(seed: int) -> np.ndarray:
    """Words from pure noise to legal ones with a bit turned over."""
    rng = np.random.default_rng([seed, 11])
    raw = rng.integers(0, 1 << 64, (WORDS, 2), np.uint64, endpoint=False)
    words = []
    for low, high in raw.tolist():
        form = FORMS[int(rng.integers(len(FORMS)))]
        words.append(_shaped(rng, form, low | high << 64))
    halves = [(word & (1 << 64) - 1, word >> 64) for word in words]
    return np.array(halves, np.uint64)


def _shaped(rng: np.random.Generator, form: Form, word: int) -> int:
    """Noise, with less and less of it wrong."""
    how = rng.random()
    if how < 0.1:
        return word
    word = word & ~0xFF | form.entry.opcode
    if how < 0.2:
        return word
    flags = sorted(form.flag_values)
    word = word & form.used & ~0xFF00 | flags[int(rng.integers(len(flags)))] << 8
    if how < 0.7:
        word = _word(form, word)
    return word ^ 1 << int(rng.integers(128)) if how > 0.9 else word


def _word(form: Form, word: int) -> int:
    """All slots brought into their ranges."""
    slots = {}
    for index, (slot, (least, most)) in enumerate(form.ranges.items()):
        slots[slot] = least + (word >> 7 * index & _ALL) % (most - least + 1)
    low, high = encode_slots(form.entry, word >> 8 & 0xFF, slots)
    return low | high << 64


def check(seed: int) -> Iterable[str]:
    """All readers of the words of a seed."""
    words = code(seed)
    rows = decode_program(words)
    program = Program(words, np.zeros((0, 16), np.int64), {"main": 0}, (), (), require(CHIP))
    fast = decoded_rows(program, CHIP)[:, ROW_OP] != 0
    lines, found = [], []
    for index, (low, high) in enumerate(words.tolist()):
        lines.append(disassemble_word(low, high))
        try:
            decoded = decode(low, high)
        except IllegalInstruction:
            assert rows["illegal"][index] == 1 and not fast[index], f"word {index}: illegal"
            found.append("illegal")
            continue
        assert rows["illegal"][index] == 0, f"word {index}: legal"
        assert fast[index] == (decoded.exec_unit < DMA0 + CHIP.tile.dma.channels), f"word {index}"
        _check_fields(decoded, rows[index], (low, high))
        found.append("legal")
    again = assemble("\n".join([".chip t1-mini", ".entry main", *lines]))
    assert np.array_equal(again.code, words), "assembled again"
    return found


def _check_fields(decoded: Decoded, row: np.void, word: tuple[int, int]) -> None:
    """Both decoders see the same fields, and encoding gives the word again."""
    fields = dict(decoded.fields)
    flags = fields.pop("flags")
    assert (int(row["op"]), int(row["flags"])) == (fields.pop("op"), flags)
    for slot, value in fields.items():
        name = "imm" if slot.startswith("imm") else slot
        assert int(row[name]) == value, slot
    assert int(row["exec_unit"]) == decoded.exec_unit
    assert encode_slots(decoded.entry, flags, fields) == word


kind(
    Kind(
        "words",
        "128-bit words: both decoders, both executors, assembler and disassembler agree",
        check,
        4_000,
        100,
        10,
        weight=WORDS,
    )
)
