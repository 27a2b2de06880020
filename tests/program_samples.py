"""Programs for the tests of the container: small, and with every kind of section."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from isa.chip import load_chip
from isa.codec import encode
from isa.formats import Format
from isa.program import (
    Debug,
    Program,
    ProgramError,
    Region,
    RegionClass,
    RequiredChip,
    Role,
    Symbol,
    parse,
    require,
)

MINI = load_chip("t1-mini")
WORDS = [
    encode("halt"),
    encode("nop"),
    encode("add", rd=1, ra=2, imm64=-5),
    encode("gemm.acc", acc=0, a=1, w=2),
    (0xFF, 0),  # no instruction: faults when it runs, and is kept as it is
]


def pattern(size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes that differ from their neighbours."""
    return ((np.arange(size) * 31 + seed) % 251).astype(np.uint8)


def sample(**changes: Any) -> Program:
    """A tiny program with something of everything."""
    program = Program(
        code=np.array(WORDS, np.uint64),
        descriptors=np.arange(32, dtype=np.int64).reshape(2, 16) - 7,
        entries={"reset": 0, "step": 2},
        regions=(
            Region("weights", 8192, 4000, RegionClass.WEIGHTS, data=pattern(4000)),
            Region("kv", 0, 8192, RegionClass.KV, writable=True),
            Region("tables", 16384, 5000, RegionClass.TABLES, data=pattern(5000, 3)),
        ),
        symbols=(
            Symbol("cache", 0, (2, 3, 4, 5, 6), Format.BF16, Role.STATE),
            Symbol("scalar", 8192, (), Format.FP32, Role.OUT),
            Symbol("nibbles", 8200, (3, 5), Format.E2M1, Role.IN),
        ),
        chip=require(MINI),
        debug=Debug(("layer 0 · attention", "head"), np.array([-1, 0, 0, 1, -1], np.int32)),
        metadata={"weights": "mxfp4", "nested": [1, 2.5, None, {"ü": True}]},
        tokenizer=b'{"version": "1.0"}',
    )
    return replace(program, **changes)


def same(a: Program, b: Program) -> bool:
    """Whether two programs are equal in everything but their paths."""
    return (
        np.array_equal(a.code, b.code)
        and np.array_equal(a.descriptors, b.descriptors)
        and (a.entries, a.symbols, a.chip, a.metadata) == (b.entries, b.symbols, b.chip, b.metadata)
        and (a.tokenizer, a.isa, a.debug.ops) == (b.tokenizer, b.isa, b.debug.ops)
        and np.array_equal(a.debug.index, b.debug.index)
        and len(a.regions) == len(b.regions)
        and all(same_region(x, y) for x, y in zip(a.regions, b.regions, strict=True))
    )


def same_region(a: Region, b: Region) -> bool:
    """Whether two regions are equal, wherever their bytes come from."""
    x, y = a.contents(), b.contents()
    equal = y is None if x is None else y is not None and np.array_equal(x, y)
    fields = [(r.name, r.base, r.size, r.kind, r.writable, r.omitted) for r in (a, b)]
    return equal and fields[0] == fields[1]


def refused(data: bytes | bytearray) -> str:
    """The single line with which bytes are refused as a program."""
    with pytest.raises(ProgramError) as caught:
        parse(data, "p.bin")
    message = str(caught.value)
    assert message.startswith("p.bin: ")
    assert "\n" not in message
    return message


_NAMES = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=9
)
_U64 = st.integers(0, 2**64 - 1)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False).filter(lambda x: abs(x) != float("inf")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _regions(draw: st.DrawFn) -> tuple[Region, ...]:
    regions, base = [], 0
    for name in draw(st.lists(_NAMES, max_size=4, unique=True)):
        base += draw(st.integers(0, 5000))
        size = draw(st.integers(1, 9000))
        bytes_of = draw(st.sampled_from(("none", "data", "source", "omitted")))
        data = pattern(size, draw(st.integers(0, 250)))
        cut = draw(st.integers(0, size))
        regions.append(
            Region(
                name,
                base,
                size,
                draw(st.sampled_from(RegionClass)),
                draw(st.booleans()),
                data if bytes_of == "data" else None,
                (lambda d=data, c=cut: [bytes(d[:c]), d[c:]]) if bytes_of == "source" else None,
                bytes_of == "omitted",
            )
        )
        base += size
    return tuple(draw(st.permutations(regions)))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Any well-formed program, small."""
    count = draw(st.integers(1, 6))
    words = st.sampled_from(WORDS) | st.tuples(_U64, _U64)
    code = np.array([draw(words) for _ in range(count)], np.uint64)
    regions = draw(_regions())
    symbols = [
        Symbol(f"s{i}", r.base, (draw(st.integers(0, r.size // 4)),), Format.FP32, Role.OUT)
        for i, r in enumerate(regions)
    ]
    ops = tuple(draw(st.lists(_NAMES, max_size=3)))
    index = [draw(st.integers(-1, len(ops) - 1)) for _ in range(draw(st.sampled_from((0, count))))]
    return Program(
        code,
        np.array(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=0)), np.int64).reshape(
            0, 16
        )
        if draw(st.booleans())
        else np.full((draw(st.integers(0, 3)), 16), -(2**63), np.int64),
        draw(st.dictionaries(_NAMES, st.integers(0, count - 1), max_size=3)),
        regions,
        tuple(symbols),
        RequiredChip(draw(_NAMES), dict(MINI.architecture)),
        Debug(ops, np.array(index, np.int32)),
        draw(st.dictionaries(st.text(), _JSON, max_size=3)),
        draw(st.none() | st.binary(max_size=50)),
    )
