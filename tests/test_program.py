"""The program container: what goes in comes out; damage and nonsense are refused in one line."""

import json
import random
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from isa.chip import load_chip
from isa.errors import FileError
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
    load,
    open_container,
    parse,
    save,
    verify,
)
from isa.program.layout import Kind
from tests.program_samples import MINI, pattern, programs, refused, same, sample


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny program's file; tests must not change it."""
    path = tmp_path_factory.mktemp("program") / "p.bin"
    save(sample(), path)
    return path


@settings(max_examples=60, deadline=None)
@given(programs())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, program: Program) -> None:
    path = tmp_path_factory.mktemp("round") / "p.bin"
    save(program, path)
    assert same(load(path), program)
    assert same(verify(path), program)
    save(load(path), path)  # onto the very file its data are mapped from
    assert same(parse(path.read_bytes()), program)


def test_data_are_mapped_pages_that_may_be_written(file: Path) -> None:
    before = file.read_bytes()
    data = load(file).region("weights").data
    assert data is not None
    data[:] = 0
    assert file.read_bytes() == before
    sections = open_container(file).sections
    assert all(s.offset % 4096 == 0 for s in sections if s.kind is Kind.DATA)


def test_lookups(file: Path) -> None:
    program = load(file)
    assert program.path == str(file)
    assert program.entry("step") == 2
    assert program.symbol("nibbles").size == 8
    assert program.region_at(8191) is program.region("kv")
    assert program.region_at(12192) is None
    assert [program.op_name(pc) for pc in (0, 1, 3, 99)] == [
        None,
        "layer 0 · attention",
        "head",
        None,
    ]
    for look in (program.entry, program.symbol, program.region):
        with pytest.raises(ProgramError, match=r"no .* 'x'; it has "):
            look("x")


def test_wrong_chip_says_what_differs(file: Path) -> None:
    program = load(file)
    program.check_chip(MINI.with_(**{"tile.mxu.rows": 16, "clock_hz": 1e9}))
    with pytest.raises(ProgramError, match=r"made for t1-mini with clusters = 2, not for t1 with"):
        program.check_chip(load_chip("t1"))


def test_every_flip_outside_the_data_is_detected(file: Path) -> None:
    data = bytearray(file.read_bytes())
    sections = open_container(file).sections
    inside = {at for s in sections if s.kind is Kind.DATA for at in range(s.offset, s.end)}
    outside = [at for at in range(len(data)) if at not in inside]
    for at in outside:
        for bit in range(8):
            data[at] ^= 1 << bit
            refused(data)
            data[at] ^= 1 << bit
    parse(data)


def test_flips_in_the_data_are_left_to_verify(file: Path, tmp_path: Path) -> None:
    sections = [s for s in open_container(file).sections if s.kind is Kind.DATA]
    path = tmp_path / "p.bin"
    for section, name in zip(sections, ("weights", "tables"), strict=True):
        for at in (section.offset, section.end - 1, section.offset + section.size // 2):
            data = bytearray(file.read_bytes())
            data[at] ^= 1 << at % 8
            path.write_bytes(data)
            load(path)
            with pytest.raises(ProgramError, match=f"region '{name}': checksum mismatch"):
                verify(path)


def test_truncation_anywhere(file: Path) -> None:
    data = file.read_bytes()
    ends = {at for s in open_container(file).sections for at in (s.offset, s.end)}
    near = {at + step for at in ends for step in (-1, 0, 1)}
    chance = random.Random(7).sample(range(len(data)), 60)
    for size in sorted(near | set(chance) | set(range(70))):
        if size < len(data):
            refused(data[:size])


def test_trailing_garbage_and_empty_files(file: Path, tmp_path: Path) -> None:
    assert "something follows its end" in refused(file.read_bytes() + b"\0")
    empty = tmp_path / "empty.bin"
    empty.write_bytes(b"")
    with pytest.raises(ProgramError, match=r"empty\.bin: the file is empty"):
        load(empty)


@pytest.mark.parametrize("path", ["/no/such/file", "/", "/dev/null"])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(ProgramError, match=r"cannot be read: |not a regular file"):
        load(path)


NESTED: list[object] = []
for _ in range(60):
    NESTED = [NESTED]

BAD_PROGRAMS = {
    "not within the chip's": {"regions": (Region("w", 2**30 - 5, 6, RegionClass.KV),)},
    "is not within": {"regions": (Region("w", -1, 6, RegionClass.KV),)},
    "region 'b': overlaps region 'a'": {
        "regions": (Region("b", 9, 9, RegionClass.KV), Region("a", 0, 10, RegionClass.KV))
    },
    "region 'w': [0x0, 0x0) is not": {"regions": (Region("w", 0, 0, RegionClass.KV),)},
    "exclude each other": {
        "regions": (Region("w", 0, 9, RegionClass.KV, data=pattern(9), omitted=True),)
    },
    "not 9 bytes": {"regions": (Region("w", 0, 9, RegionClass.KV, data=pattern(8)),)},
    "gave 8 of 9 bytes": {
        "regions": (Region("w", 0, 9, RegionClass.KV, source=lambda: [b"1234", b"5678"]),)
    },
    "gave more than 9 bytes": {
        "regions": (Region("w", 0, 9, RegionClass.KV, source=lambda: [bytes(5)] * 2),)
    },
    "symbol 's': [0x1fff, 0x2001)": {"symbols": (Symbol("s", 8191, (1,), Format.BF16, Role.IN),)},
    "symbol 's': rank 9": {"symbols": (Symbol("s", 0, (1,) * 9, Format.BF16, Role.IN),)},
    "entry 'e': starts": {"entries": {"e": -1}},
    "is not printable": {"entries": {"a\nb": 0}},
    "1 to 255 bytes": {"entries": {"x" * 256: 0}},
    "code: expected uint64": {"code": np.zeros((2, 2), np.int64)},
    "descriptors: expected int64": {"descriptors": np.zeros((2, 15), np.int64)},
    "cannot be written as JSON": {"metadata": {"x": object()}},
    "metadata: nan is no number": {"metadata": {"x": [float("nan")]}},
    "metadata: nested deeper than 50": {"metadata": {"x": NESTED}},
    "debug map: the name": {"debug": Debug(("a\nb",))},
}


@pytest.mark.parametrize("expected", BAD_PROGRAMS)
def test_bad_programs_are_not_written(tmp_path: Path, expected: str) -> None:
    changes = {"symbols": ()} if "regions" in BAD_PROGRAMS[expected] else {}
    with pytest.raises(ProgramError) as caught:
        save(sample(**changes, **BAD_PROGRAMS[expected]), tmp_path / "p.bin")
    assert expected in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_failing_source_leaves_the_old_file(tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(10)
        raise KeyboardInterrupt

    path = tmp_path / "p.bin"
    path.write_bytes(b"old")
    region = Region("w", 0, 20, RegionClass.WEIGHTS, source=source)
    with pytest.raises(KeyboardInterrupt):
        save(sample(regions=(region,), symbols=()), path)
    assert [p.name for p in tmp_path.iterdir()] == ["p.bin"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["no/such/directory/p.bin", ""])
def test_unwritable_places(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="cannot be written: "):
        save(sample(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_omitted_data_take_no_room(tmp_path: Path) -> None:
    region = Region("w", 0, 2**29, RegionClass.WEIGHTS, omitted=True)
    path = tmp_path / "p.bin"
    save(sample(regions=(region,), symbols=()), path)
    assert path.stat().st_size < 4096
    program = verify(path)
    assert program.timing_only
    assert program.region("w").omitted
    assert program.region("w").contents() is None


def test_large_programs_are_streamed_and_mapped(tmp_path: Path) -> None:
    """64 MiB from a source that never holds more than 1 MiB, at little cost in memory."""
    piece = pattern(1 << 20)
    region = Region(
        "w", 0, 64 << 20, RegionClass.WEIGHTS, source=lambda: (piece for _ in range(64))
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written: list[int] = []
    path = tmp_path / "p.bin"
    save(sample(regions=(region,), symbols=()), path, written.append)
    assert sum(written) == 64 << 20
    assert load(path).region("w").data is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


def test_file_is_deterministic_and_readable_by_its_specification(file: Path) -> None:
    """A reader of its own, written from docs/isa/program.md alone, finds the metadata."""
    raw = file.read_bytes()
    size, count = struct.unpack_from("<QI", raw, 24)
    assert (raw[:8], size) == (b"\x89TSR\r\n\x1a\n", len(raw))
    entries = [struct.unpack_from("<HHIQQII", raw, 64 + 32 * i) for i in range(count)]
    offset, length = next((e[3], e[4]) for e in entries if e[0] == 11)
    assert json.loads(raw[offset : offset + length]) == sample().metadata
    again = file.parent / "again.bin"
    save(sample(), again)
    assert again.read_bytes() == raw


def test_chip_digest_is_that_of_the_chip(file: Path) -> None:
    assert load(file).chip == RequiredChip("t1-mini", dict(MINI.architecture))
    assert load(file).chip.digest == MINI.digest()
