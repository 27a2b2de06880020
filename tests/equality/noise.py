"""Random words and random descriptors: programs that need not be good for anything."""

from __future__ import annotations

from math import prod

import numpy as np

from equality.draft import CHIP, LISTS, REGIONS, SLOT, SLOTS
from equality.operations import MAKERS, Places
from equality.tensors import Place, Rng, TooBig
from isa.codec import decode_program, encode, pack_words
from isa.descriptor import W_DIM, W_STRIDE, Space
from isa.encoder import encode_slots
from isa.forms import Form, forms_by_key
from isa.program import Program, require
from isa.spec.model import NUM_DESCRIPTORS

FORMS = list(forms_by_key().values())
LINES = 60
MOST = 1 << 16  # elements of an operand
EDGES = (-1, 0, 1, 2, 3, 31, 1 << 14, (1 << 14) - 4, 1 << 16, 1 << 40, (1 << 40) + 1, 1 << 62)
_DESCRIPTORS = ("d0", "d1", "d2", "d3", "d4")
WORD = tuple[int, int]


def random_descriptors(rng: Rng, wanted: int = NUM_DESCRIPTORS) -> list[np.ndarray]:
    """Descriptors of random legal operations, some of them changed."""
    found: list[np.ndarray] = []
    while len(found) < wanted:
        for words in operands(rng, str(rng.choice(list(MAKERS)))):
            while rng.random() < 0.3:
                words[int(rng.integers(16))] = int(rng.choice(EDGES))
            found.append(bounded(words))
    return found[:wanted]


def operands(rng: Rng, mnemonic: str) -> list[np.ndarray]:
    """The descriptors of one random legal operation, in slot order of those present."""
    while True:
        slots = [int(slot) for slot in rng.permutation(SLOTS)]
        places = [Place(Space.TSRAM, slot * SLOT, (slot + 1) * SLOT) for slot in slots]
        try:
            places_ = Places(places.pop, Place(Space.ACC, 0, 8192), LISTS)
            operation = MAKERS[mnemonic](rng, places_)
        except TooBig:
            continue
        return [descriptor.words() for descriptor in operation.descriptors.values()]


def bounded(words: np.ndarray) -> np.ndarray:
    """No more elements than memory has: broadcasts may be huge, legal, and take for ever."""
    dims, strides = words[W_DIM : W_DIM + 4], words[W_STRIDE : W_STRIDE + 4]
    pairs = [(int(d), int(s)) for d, s in zip(dims, strides, strict=True) if d > 1]
    within = sum((d - 1) * s for d, s in pairs) < MOST
    if within and prod(d for d, _ in pairs) > MOST:
        dims[:] = np.minimum(dims, 8)
    return words


def random_word(rng: Rng, pc: int, form: Form | None = None) -> WORD:
    """A legal word that branches forward only; now and then with a bit turned over."""
    form = form or FORMS[int(rng.integers(len(FORMS)))]
    slots: dict[str, int] = {}
    for slot, (least, most) in form.ranges.items():
        choice = int(rng.choice(EDGES)) if rng.random() < 0.5 else int(rng.integers(-9, 40))
        slots[slot] = min(max(choice, least), most)
    if "target" in slots:
        slots["target"] = pc + int(rng.integers(1, 9))
    if form.entry.mnemonic == "loop":
        slots |= {"rb": 0, "imm32": int(rng.integers(-1, 3))}
    if form.entry.mnemonic in ("wait", "signal") and rng.random() < 0.8:
        slots |= {"rb": 0, "imm32": int(rng.integers(0, 2))}
    for slot in ("d0", "d1", "d2", "d3", "d4"):
        if slot in slots and form.ranges[slot][0] < form.ranges[slot][1]:
            slots[slot] = int(rng.integers(NUM_DESCRIPTORS))
    flags = sorted(form.flag_values)
    low, high = encode_slots(form.entry, flags[int(rng.integers(len(flags)))], slots)
    if rng.random() < 0.01:
        low ^= 1 << int(rng.integers(64))
    return low, high


def program_of(words: list[WORD], table: list[np.ndarray]) -> Program:
    """A program whose `main` is these words."""
    rows = np.array(table, np.int64).reshape(-1, 16)
    return Program(pack_words(words), rows, {"main": 0}, REGIONS, (), require(CHIP))


def noise(seed: int) -> Program:
    """All descriptors loaded, then random words. It may race; it always ends."""
    rng = np.random.default_rng([seed, 99])
    table = random_descriptors(rng)
    words = [encode("dld", dst=i, index=i) for i in range(NUM_DESCRIPTORS)]
    words += [random_word(rng, len(words) + i) for i in range(LINES)]
    words += [encode("halt")] * 9
    return program_of(words, table)


def one_word(seed: int, form: Form) -> Program:
    """A random word of a form, alone on one tile, with random descriptors and scalars."""
    rng = np.random.default_rng([seed, 98])
    table = _operands_of(rng, form)
    used = [op.slot for op in form.entry.operands if op.slot in _DESCRIPTORS][: len(table)]
    end = 7 + len(used)
    word = random_word(rng, end - 1, form)
    row = decode_program(pack_words([word]))[0]
    words = [encode("rdsr", rd=31, special="TILE_ID")]
    words.append(encode("bne", ra=31, b=int(rng.integers(CHIP.num_tiles)), target=end))
    words += [encode("li", rd=int(r), imm=int(rng.choice(EDGES))) for r in rng.integers(1, 32, 4)]
    for index, slot in enumerate(used):
        words.append(encode("dld", dst=int(row[slot]) % NUM_DESCRIPTORS, index=index))
    return program_of([*words, word] + [encode("halt")] * 9, table)


def _operands_of(rng: Rng, form: Form) -> list[np.ndarray]:
    """Descriptors for an instruction: half of the time those of a legal operation of its own."""
    if form.entry.mnemonic not in MAKERS:
        return random_descriptors(rng, 5)
    table = operands(rng, form.entry.mnemonic)
    while rng.random() < 0.5:
        words = table[int(rng.integers(len(table)))]
        words[int(rng.integers(16))] = int(rng.choice(EDGES))
    return [bounded(words) for words in table]
