"""Random programs for property tests of assembler, disassembler and container."""

import numpy as np
from hypothesis import strategies as st

from isa.chip import load_chip
from isa.codec import pack_words
from isa.descriptor import Descriptor, Space
from isa.encoder import encode_slots
from isa.formats import Format, Layout, ScaleKind
from isa.forms import Form, forms_by_key
from isa.program import (
    Debug,
    Program,
    Region,
    RegionClass,
    RequiredChip,
    Role,
    Symbol,
    require,
)

FORMS = list(forms_by_key().values())
MAX_CODE = 12
#: Values at which texts of numbers change shape.
EDGES = st.sampled_from([0, 1, -1, 9, 10, 65535, 65536, -65536, 0x3F800000, 0x7F800000, -0x400000])
NAMES = st.one_of(
    st.sampled_from(
        ["d3", "r1", "s2", "inf", "nan", "t", "t0", "words", "step", "a-b", "a.b", "7"]
    ),
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=8),
).filter(str.isprintable)


def slot_values(least: int, most: int) -> st.SearchStrategy[int]:
    """Values of one slot, edges preferred."""
    return st.one_of(st.integers(least, most), EDGES.filter(lambda x: least <= x <= most))


@st.composite
def instructions(draw: st.DrawFn, forms: list[Form] = FORMS) -> tuple[int, int]:
    """A legal instruction word; targets lie within a short program, mostly."""
    form = draw(st.sampled_from(forms))
    slots = {}
    for slot, (least, most) in form.ranges.items():
        if slot == "target" and draw(st.booleans()):
            most = MAX_CODE
        slots[slot] = draw(slot_values(least, most))
    return encode_slots(form.entry, draw(st.sampled_from(sorted(form.flag_values))), slots)


WORD = st.integers(0, (1 << 64) - 1)
CODE = st.lists(st.one_of(instructions(), st.tuples(WORD, WORD)), min_size=1, max_size=MAX_CODE)


@st.composite
def descriptors(draw: st.DrawFn) -> np.ndarray:
    """16 words: mostly a descriptor, sometimes noise."""
    if draw(st.integers(0, 4)) == 0:
        words = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=16, max_size=16)
        return np.array(draw(words), np.int64)
    shape = tuple(draw(st.lists(st.integers(0, 1 << 40), max_size=4)))
    strides = tuple(draw(st.integers(0, 1 << 40)) for _ in shape)
    number = st.integers(-2, 1 << 48)
    return Descriptor(
        draw(st.sampled_from(Space)),
        draw(st.sampled_from(Format)),
        shape,
        strides,
        draw(number),
        draw(st.sampled_from(Layout)),
        draw(st.sampled_from(ScaleKind)),
        draw(number),
        (draw(st.integers(0, (1 << 40) - 1)), draw(st.integers(0, (1 << 23) - 1))),
        draw(number),
        draw(number),
        draw(number),
    ).words()


@st.composite
def regions(draw: st.DrawFn) -> tuple[Region, ...]:
    """Regions one behind the other, some with data."""
    out = []
    base = 0
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        base += draw(st.integers(0, 4096))
        data = draw(st.one_of(st.none(), st.binary(min_size=1, max_size=80)))
        size = len(data) if data else draw(st.integers(1, 4096))
        array = np.frombuffer(data, np.uint8) if data else None
        omitted = array is None and draw(st.booleans())
        kind = draw(st.sampled_from(RegionClass))
        writable = draw(st.booleans())
        out.append(Region(name, base, size, kind, writable, array, omitted=omitted))
        base += size
    return tuple(out)


@st.composite
def symbols(draw: st.DrawFn, inside: tuple[Region, ...]) -> tuple[Symbol, ...]:
    """Empty or small tensors inside the regions."""
    if not inside:
        return ()
    out = []
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        region = draw(st.sampled_from(inside))
        address = region.base + draw(st.integers(0, region.size - 1))
        shape = draw(st.sampled_from([(1,), (0, 5), (), (1, 1, 1, 1, 1)]))
        role = draw(st.sampled_from(Role))
        out.append(Symbol(name, address, shape, Format.U8, role))
    return tuple(out)


@st.composite
def debug_maps(draw: st.DrawFn, size: int) -> Debug:
    """Any table of operations, and no index or one for each instruction."""
    ops = tuple(draw(st.lists(NAMES, max_size=3)))
    if draw(st.booleans()):
        return Debug(ops)
    index = draw(st.lists(st.integers(-1, len(ops) - 1), min_size=size, max_size=size))
    return Debug(ops, np.array(index, np.int32))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A well-formed program of every part."""
    code = draw(CODE)
    table = draw(st.lists(descriptors(), max_size=4))
    entries = draw(st.dictionaries(NAMES, st.integers(0, len(code) - 1), max_size=3))
    inside = draw(regions())
    chip = require(load_chip("t1-mini"))
    if draw(st.booleans()):
        chip = RequiredChip(draw(NAMES), chip.architecture | {"tile.acc.bytes": 4096})
    json_values = st.one_of(st.none(), st.integers(), st.text(max_size=4), st.lists(st.booleans()))
    return Program(
        pack_words(code),
        np.array(table, np.int64).reshape(-1, 16),
        entries,
        inside,
        draw(symbols(inside)),
        chip,
        draw(debug_maps(len(code))),
        draw(st.dictionaries(NAMES, json_values, max_size=2)),
        draw(st.one_of(st.none(), st.binary(max_size=20))),
    )
