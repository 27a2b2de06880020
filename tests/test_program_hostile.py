"""Program files made to deceive: every checksum is right, and something else is wrong."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from isa import spec
from isa.program import layout, open_container, parse, save
from isa.program.layout import Kind
from tests.program_samples import refused, sample


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny program's file; tests must not change it."""
    path = tmp_path_factory.mktemp("program") / "p.bin"
    save(sample(), path)
    return path


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
        (16, b"\2", "ISA version 2.1; this is 1.1"),
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
        (Kind.HASHES, layout.HASH.pack(0xFF, 0, bytes(32)), "opcode 0xff of ISA 1.1 is unknown"),
        (Kind.HASHES, layout.HASH.pack(1, 0, bytes(32)), "`nop` of ISA 1.1 is not that of this"),
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
    assert "opcode 0x30 of ISA 1.7 is unknown to ISA 1.1" in refused(newer)


def test_older_minor_is_accepted(file: Path) -> None:
    """Programs that were made before the latest instruction was added."""
    assert spec.ISA_VERSION > (1, 0)
    assert parse(patched(file, 18, b"\0")).isa == (1, 0)


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
            assert "`gemm` of ISA 1.1 is not that of this ISA" in refused(file.read_bytes())
        else:
            parse(file.read_bytes())
