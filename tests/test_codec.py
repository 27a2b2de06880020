"""Encoder and decoders: every instruction there and back, every illegal word refused."""

import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isa.codec import (
    DECODED_DTYPE,
    EncodeError,
    IllegalInstruction,
    decode,
    decode_program,
    encode,
    instruction_hash,
    pack_words,
    used_hashes,
)
from isa.encoder import Value
from isa.forms import Form, forms_by_key, slot_mask
from isa.spec import BY_MNEMONIC, INSTRUCTIONS
from isa.spec.model import SLOTS, WORD_BITS

FORMS = list(forms_by_key().values())
HALF = (1 << 64) - 1


def form_id(form: Form) -> str:
    return form.entry.mnemonic + ("#" if form.is_number else "")


@st.composite
def words(draw: st.DrawFn, forms: list[Form] = FORMS) -> tuple[Form, dict[str, int]]:
    """A form, and a legal value of its flags and of every slot."""
    form = draw(st.sampled_from(forms))
    fields = {slot: draw(st.integers(*limits)) for slot, limits in form.ranges.items()}
    return form, {"flags": draw(st.sampled_from(sorted(form.flag_values))), **fields}


def assemble(form: Form, fields: dict[str, int]) -> tuple[int, int]:
    """The word, put together without the encoder."""
    word = form.entry.opcode
    for slot, value in fields.items():
        word |= (value & ((1 << SLOTS[slot].width) - 1)) << SLOTS[slot].lsb
    return word & HALF, word >> 64


def as_decoded(form: Form, fields: dict[str, int]) -> dict[str, int]:
    """The row of `decode_program` that these fields must give."""
    row = dict.fromkeys(DECODED_DTYPE.names or (), 0) | {"op": form.entry.opcode}
    for slot, value in fields.items():
        row["imm" if slot.startswith("imm") else slot] = value
    row["exec_unit"] = fields.get("unit", form.entry.unit.value)
    return row


@given(words())
@settings(max_examples=400, deadline=None)
def test_encode_and_decode_are_inverse(sample: tuple[Form, dict[str, int]]) -> None:
    form, fields = sample
    word = encode(form.entry.mnemonic, **fields)
    assert word == assemble(form, fields)
    decoded = decode(*word)
    assert decoded.entry is form.entry
    assert decoded.fields == {"op": form.entry.opcode, **fields}
    row = decode_program(pack_words([word]))[0]
    assert {name: int(row[name]) for name in row.dtype.names} == as_decoded(form, fields)


@pytest.mark.parametrize("form", FORMS, ids=form_id)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_every_form_round_trips(form: Form, data: st.DataObject) -> None:
    _, fields = data.draw(words([form]))
    decoded = decode(*encode(form.entry.mnemonic, **fields))
    assert decoded.fields == {"op": form.entry.opcode, **fields}
    assert decoded.is_number == form.is_number


def test_encodings_are_disjoint() -> None:
    """No word belongs to two forms: opcodes differ, and so do the forms of one opcode."""
    for one, other in combinations(FORMS, 2):
        if one.entry is other.entry:
            assert not one.flag_values & other.flag_values
        else:
            assert one.entry.opcode != other.entry.opcode


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_slots_of_a_form_do_not_overlap(form: Form) -> None:
    flags = 0
    for flag in form.entry.flags:
        mask = ((1 << flag.width) - 1) << flag.lsb
        assert not flags & mask and mask <= 0xFF
        flags |= mask
    seen = slot_mask("op") | slot_mask("flags")
    for slot in form.ranges:
        assert not seen & slot_mask(slot), slot
        seen |= slot_mask(slot)


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_every_reserved_bit_is_illegal(form: Form) -> None:
    legal = assemble(
        form, {"flags": min(form.flag_values)} | {s: r[0] for s, r in form.ranges.items()}
    )
    base = legal[0] | legal[1] << 64
    reserved = [bit for bit in range(WORD_BITS) if not form.used >> bit & 1]
    code = [((base | 1 << bit) & HALF, (base | 1 << bit) >> 64) for bit in reserved]
    for word in code:
        with pytest.raises(IllegalInstruction, match="reserved"):
            decode(*word)
    decode(*legal)
    assert decode_program(pack_words(code))["illegal"].all()


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_out_of_range_slots_are_illegal(form: Form) -> None:
    """Bad descriptor, unit, field and special numbers, and modifiers without a meaning."""
    legal = {"flags": min(form.flag_values)} | {s: r[0] for s, r in form.ranges.items()}
    bad = []
    for slot, (least, most) in form.ranges.items():
        lo, hi = SLOTS[slot].lo, SLOTS[slot].hi
        bad += [
            legal | {slot: value}
            for value in (lo, least - 1, most + 1, hi)
            if lo <= value <= hi and not least <= value <= most
        ]
    mask = 0
    for flag in form.entry.flags:
        mask |= ((1 << flag.width) - 1) << flag.lsb
    others = {f for other in FORMS if other.entry is form.entry for f in other.flag_values}
    bad += [legal | {"flags": f} for f in range(256) if not f & ~mask and f not in others]
    code = [assemble(form, fields) for fields in bad]
    for word in code:
        with pytest.raises(IllegalInstruction):
            decode(*word)
    assert decode_program(pack_words(code))["illegal"].all()


def test_unknown_opcodes_are_illegal() -> None:
    known = {entry.opcode for entry in INSTRUCTIONS}
    code = [(opcode, 0) for opcode in range(256) if opcode not in known]
    assert (0, 0) in code
    for word in code:
        with pytest.raises(IllegalInstruction, match="unknown opcode"):
            decode(*word)
    decoded = decode_program(pack_words(code))
    assert decoded["illegal"].all() and not decoded["op"].any()


@given(st.lists(st.tuples(st.integers(0, HALF), st.integers(0, HALF)), max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_vector_decode_equals_scalar_decode(
    noise: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Random words, and legal words with one bit flipped."""
    for _ in range(8):
        form, fields = data.draw(words())
        word = assemble(form, fields)
        flip = 1 << data.draw(st.integers(0, 127))
        noise.append((word[0] ^ flip & HALF, word[1] ^ flip >> 64))
    for word, row in zip(noise, decode_program(pack_words(noise)), strict=True):
        try:
            decoded = decode(*word)
        except IllegalInstruction:
            expected = dict.fromkeys(DECODED_DTYPE.names or (), 0) | {"illegal": 1}
        else:
            expected = as_decoded(forms_by_key()[decoded.entry.opcode], decoded.fields)
            assert expected["exec_unit"] == decoded.exec_unit
        assert {name: int(row[name]) for name in row.dtype.names} == expected


def test_decoding_100k_instructions_is_quick() -> None:
    code = np.tile(
        pack_words([encode("gemm", acc=0, a=1, w=2), encode("li", rd=1, imm=-1)]), (50_000, 1)
    )
    decode_program(code[:2])
    best = min(seconds(code) for _ in range(5))
    assert best < 0.1, f"{best:.3f} s"


def seconds(code: NDArray[np.uint64]) -> float:
    start = time.perf_counter()
    decode_program(code)
    return time.perf_counter() - start


def test_operands_by_name_and_by_slot_are_the_same() -> None:
    by_name = encode("gemm.acc.split2", acc=0, a=1, w=2, bounds=3, k0=(4, 128))
    assert by_name == encode(
        "gemm", d0=0, d1=1, d2=2, d3=3, rb=4, imm32=128, flags=1, split="split2"
    )
    assert by_name == encode("gemm", d0=0, d1=1, d2=2, d3=3, rb=4, imm32=128, flags=3)
    assert encode("vcmp.lt", dst=0, a=1, b=(0, 0)) == encode(
        "vcmp", d0=0, d1=1, b=0.0, relation="lt"
    )
    assert encode("vadd", d0=0, d1=1, imm32=0xBF800000) == encode("vadd", dst=0, a=1, b=-1.0)
    assert encode("dset", dst=3, field="dim0", b=(5, 0)) == encode("dset", d0=3, sel=5, rb=5)
    assert encode("dma", channel="dma2", dst=1, src=0) == encode("dma", unit=5, d0=1, d1=0)
    assert encode("signal", unit="vpu", sem=3, count=1, scope="all") == encode(
        "signal", unit=2, sem=3, imm32=1, scope=3
    )
    assert encode("li", rd=1, imm=HALF) == encode("li", rd=1, imm=-1)


def test_absent_optional_descriptors_are_32() -> None:
    decoded = decode(*encode("gemm", acc=0, a=1, w=2))
    assert decoded.fields["d3"] == 32
    assert decode(*encode("vmul", dst=0, a=1, b=0.5)).fields["d2"] == 32


@pytest.mark.parametrize(
    ("mnemonic", "fields", "message"),
    [
        ("fadd", {}, "unknown instruction 'fadd'"),
        ("gemm.split3", {"acc": 0, "a": 1, "w": 2}, r"no modifier '.split3'; it takes .acc"),
        ("gemm.split2.split4", {"acc": 0, "a": 1, "w": 2}, "contradicts"),
        ("add", {"rd": 1, "ra": 2}, "b missing"),
        ("add", {"rd": 32, "ra": 2, "b": 0}, r"rd is 32, not 0\.\.31"),
        ("add", {"rd": 1, "ra": 2, "b": 0, "site": 3}, "takes no site"),
        ("add", {"rd": 1, "ra": 2, "b": 0, "zzz": 3}, "no modifier '.zzz'"),
        ("beq", {"ra": 2, "b": 1 << 31, "target": 0}, r"b \(imm32\) is 2147483648"),
        ("dset", {"dst": 0, "field": "dim4", "b": 0}, "'dim4' is none of base"),
        ("dma", {"channel": "vpu", "dst": 0, "src": 1}, "'vpu' is none of dma0"),
        ("dma", {"channel": 2, "dst": 0, "src": 1}, r"channel \(unit\) is 2, not 3\.\.10"),
        ("gemm", {"acc": 32, "a": 1, "w": 2}, r"acc \(d0\) is 32, not 0\.\.31"),
        ("gemm", {"d0": 0, "acc": 0, "a": 1, "w": 2}, "d0 is given twice"),
        ("vcmp", {"d0": 0, "d1": 1, "d2": 2, "relation": 6}, "relation cannot be 6"),
        ("vadd", {"d0": 0, "d1": 1, "d2": 2, "imm32": 1}, "takes no imm32"),
        ("vadd", {"d0": 0, "d1": 1}, "b missing"),
        ("vadd", {"d0": 0, "d1": 1, "b": 1e39}, "beyond FP32"),
        ("nop", {"flags": 1}, "no legal modifiers"),
        ("mark", {"context": 1.5}, "must be an integer"),
    ],
)
def test_encode_errors(mnemonic: str, fields: dict[str, Value], message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        encode(mnemonic, **fields)


def test_suffixes_and_operands_of_a_decoded_word() -> None:
    decoded = decode(*encode("gemm.acc.split4", acc=0, a=1, w=2, k0=(4, -128)))
    assert decoded.suffixes() == ("acc", "split4")
    assert decoded.operand("k0") == (-128, 4)
    assert decode(*encode("vcmp.eq", dst=0, a=1, b=2)).suffixes() == ("eq",)


def test_hashes_ignore_prose_and_see_meaning() -> None:
    entry = BY_MNEMONIC["gemm"]
    prose = replace(entry, summary="x", notes="y", timing="z")
    operands = tuple(replace(op, role="") for op in entry.operands)
    assert instruction_hash(replace(prose, operands=operands)) == instruction_hash(entry)
    assert instruction_hash(replace(entry, meaning="other")) != instruction_hash(entry)
    assert instruction_hash(replace(entry, opcode=0x33)) != instruction_hash(entry)
    assert instruction_hash(replace(entry, flags=entry.flags[:1])) != instruction_hash(entry)
    assert len({instruction_hash(entry) for entry in INSTRUCTIONS}) == len(INSTRUCTIONS)


def test_used_hashes_lists_what_occurs() -> None:
    code = pack_words([encode("halt"), (0xFF, 0), encode("li", rd=1, imm=2), encode("halt")])
    assert used_hashes(code) == {
        BY_MNEMONIC[name].opcode: instruction_hash(BY_MNEMONIC[name]) for name in ("halt", "li")
    }
