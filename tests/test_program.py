"""The program container: what goes in comes out; damage and nonsense are refused in one line."""

import json
import random
import resource
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from isa import spec
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
    layout,
    load,
    open_container,
    parse,
    save,
    verify,
)
from isa.program.layout import Kind
from tests.program_samples import MINI, pattern, programs, same, sample


def refused(data: bytes | bytearray) -> str:
    """The single line with which bytes are refused as a program."""
    with pytest.raises(ProgramError) as caught:
        parse(data, "p.bin")
    message = str(caught.value)
    assert message.startswith("p.bin: ")
    assert "\n" not in message
    return message


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


def patched(file: Path, offset: int, value: bytes) -> bytes:
    """The file with header bytes changed and the header's checksum made right again."""
    data = bytearray(file.read_bytes())
    data[offset : offset + len(value)] = value
    data[60:64] = struct.pack("<I", zlib.crc32(data[:60]))
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "expected"),
    [
        (0, b"\x7fELF\0\0\0\0", "not a Tessera program"),
        (8, b"\1\2\3\4", "byte order 0x04030201; must be little-endian"),
        (12, b"\2", "file version 2; this is version 1"),
        (16, b"\2", "ISA version 2.0; this is 1.0"),
        (20, b"\1", "the flag for omitted data"),
        (20, b"\2", "reserved bits are set"),
        (24, b"\xff" * 8, "truncated: "),
        (32, b"\xff" * 4, "4294967295 sections do not fit"),
        (32, b"\0" * 4, "0 sections do not fit"),
        (50, b"\1", "reserved bits are set"),
    ],
)
def test_headers_that_are_intact_and_wrong(
    file: Path, offset: int, value: bytes, expected: str
) -> None:
    assert expected in refused(patched(file, offset, value))


def rewritten(file: Path, kind: Kind, change: dict[str, int]) -> bytes:
    """The file with fields of the first section of ``kind`` changed, and checksums right."""
    container = open_container(file)
    sections = list(container.sections)
    number = next(i for i, s in enumerate(sections) if s.kind is kind)
    table = [section.packed() for section in sections]
    table[number] = replace(sections[number], **change).packed()
    whole = b"".join(table)
    header = replace(container.header, table_crc=zlib.crc32(whole)).packed()
    return header + whole + file.read_bytes()[len(header) + len(whole) :]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "change",
    [
        {"size": 2**63},
        {"size": 0xFFFFFFFF},
        {"offset": 0},
        {"offset": 2**64 - 8},
        {"kind": 13},
        {"kind": 9},
        {"kind": 16},
        {"index": 77},
    ],
    ids=str,
)
def test_hostile_section_tables(file: Path, kind: Kind, change: dict[str, int]) -> None:
    if change != {"kind": kind}:
        refused(rewritten(file, kind, change))


def with_section(file: Path, kind: Kind, content: bytes) -> bytes:
    """The file with one section's content replaced, everything else made right."""
    container = open_container(file)
    out = bytearray(layout.HEADER_SIZE + layout.ENTRY.size * len(container.sections))
    placed = []
    for section in container.sections:
        new = content if section.kind is kind else container.bytes_of(section).tobytes()
        out += bytes(layout.place(section.kind, len(out)) - len(out))
        placed.append(
            layout.Section(section.kind, section.index, len(out), len(new), zlib.crc32(new))
        )
        out += new
    table = b"".join(section.packed() for section in placed)
    header = replace(container.header, file_size=len(out), table_crc=zlib.crc32(table)).packed()
    return header + table + bytes(out[len(header) + len(table) :])


def test_with_section_alone_changes_nothing(file: Path) -> None:
    raw = {
        s.kind: open_container(file).bytes_of(s).tobytes() for s in open_container(file).sections
    }
    assert with_section(file, Kind.CODE, raw[Kind.CODE]) == file.read_bytes()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (Kind.STRINGS, b"\xff", "strings: not UTF-8"),
        (Kind.STRINGS, b"", "lies outside the strings"),
        (Kind.CHIP, b"", "chip: 0 bytes are too few"),
        (Kind.CHIP, b"\0" * 32, "chip: name or digest is wrong"),
        (Kind.CHIP, b"\0" * 24 + b"\xff" * 4 + b"\0" * 4, "do not hold 4294967295 items"),
        (Kind.HASHES, b"\0" * 39, "not records of 40"),
        (Kind.HASHES, layout.HASH.pack(0xFF, 0, bytes(32)), "opcode 0xff of ISA 1.0 is unknown"),
        (Kind.HASHES, layout.HASH.pack(1, 0, bytes(32)), "`nop` of ISA 1.0 is not that of this"),
        (Kind.CODE, b"", "code: 0 instructions"),
        (Kind.CODE, b"\0" * 24, "not records of 16"),
        (Kind.DESCRIPTORS, b"\0" * 8, "not records of 128"),
        (Kind.ENTRIES, layout.NAMED_PC.pack(0, 3, 5), "starts at instruction 5 of 5"),
        (Kind.ENTRIES, layout.NAMED_PC.pack(0, 3, 2**64 - 1), "starts at instruction"),
        (Kind.ENTRIES, layout.NAMED_PC.pack(0, 3, 1) * 2, "a name is given twice"),
        (Kind.ENTRIES, layout.NAMED_PC.pack(2**32 - 1, 3, 1), "lies outside the strings"),
        (Kind.ENTRIES, layout.NAMED_PC.pack(0, 0, 1), "a name must have"),
        (Kind.REGIONS, b"", "a section belongs to no region"),
        (Kind.REGIONS, layout.REGION.pack(0, 3, 0, 100, 99, 0, 0, 0) * 3, "record 0 is malformed"),
        (Kind.REGIONS, layout.REGION.pack(0, 3, 0, 100, 0, 8, 0, 0) * 3, "record 0 is malformed"),
        (Kind.REGIONS, layout.REGION.pack(0, 3, 0, 99, 0, 0, 0, 0) * 3, "given twice"),
        (Kind.REGIONS, layout.REGION.pack(0, 3, 2**63, 2**63, 0, 0, 0, 0), "belongs to no region"),
        (Kind.SYMBOLS, layout.SYMBOL.pack(0, 3, 0, 9, 0, 1, 0, 0, *[0] * 8), "0 is malformed"),
        (Kind.SYMBOLS, layout.SYMBOL.pack(0, 3, 0, 0, 7, 1, 0, 0, *[0] * 8), "0 is malformed"),
        (Kind.SYMBOLS, layout.SYMBOL.pack(0, 3, 0, 0, 0, 9, 0, 0, *[0] * 8), "0 is malformed"),
        (Kind.SYMBOLS, layout.SYMBOL.pack(0, 3, 0, 0, 0, 1, 0, 0, *[2**60] * 8), "0 is malformed"),
        (
            Kind.SYMBOLS,
            layout.SYMBOL.pack(0, 3, 0, 0, 0, 8, 0, 0, *[2**60] * 8),
            "out of range",
        ),
        (Kind.DEBUG_OPS, layout.STRING.pack(5, 2**31), "lies outside the strings"),
        (Kind.DEBUG_INDEX, struct.pack("<5i", 0, 0, 0, 0, 2), "an operation's index is out of"),
        (Kind.DEBUG_INDEX, struct.pack("<2i", 0, 0), "expected one int32 for every"),
        (Kind.METADATA, b"{", "metadata: not JSON"),
        (Kind.METADATA, b"[" * 100000, "metadata: not JSON"),
        (Kind.METADATA, b"[]", "metadata: not a JSON object"),
        (Kind.METADATA, b'{"x": NaN}', "metadata: nan is no number"),
        (Kind.METADATA, b'{"x": 1e999}', "metadata: inf is no number"),
        (Kind.METADATA, b'{"x": ' + b"[" * 99 + b"]" * 99 + b"}", "metadata: nested deeper"),
        (Kind.DATA, b"\0" * 99, "data are uint8 (99,), not 4000 bytes"),
    ],
)
def test_sections_that_are_intact_and_wrong(
    file: Path, kind: Kind, content: bytes, expected: str
) -> None:
    assert expected in refused(with_section(file, kind, content))


def test_newer_minor_is_accepted_if_its_instructions_are_known(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = patched(file, 18, b"\7")
    assert parse(newer).isa == (1, 7)
    known = {op: entry for op, entry in spec.BY_OPCODE.items() if entry.mnemonic != "gemm"}
    monkeypatch.setattr("isa.program.unpack.BY_OPCODE", known)
    assert "opcode 0x30 of ISA 1.7 is unknown to ISA 1.0" in refused(newer)


def test_redefined_instruction_is_refused_and_new_prose_is_not(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = spec.BY_MNEMONIC["gemm"]
    for changed, refuses in (
        (replace(gemm, summary="x", notes="y", timing="z"), False),
        (replace(gemm, meaning="acc = 0"), True),
    ):
        monkeypatch.setattr("isa.program.unpack.BY_OPCODE", {**spec.BY_OPCODE, 0x30: changed})
        if refuses:
            assert "`gemm` of ISA 1.0 is not that of this ISA" in refused(file.read_bytes())
        else:
            parse(file.read_bytes())


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
    """A reader of its own, written from docs/program.md alone, finds the metadata."""
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
