"""The bytes of a program file: header, section table and fixed-size records.

docs/isa/program.md is the specification; these are its numbers. Everything is little-endian.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"\x89TSR\r\n\x1a\n"  # as PNG's: text-mode and 7-bit transfers cannot keep it
BYTE_ORDER = 0x01020304
CONTAINER_VERSION = 1
FLAG_OMITTED = 1  # header flag: bytes of some region are omitted

HEADER = struct.Struct("<8sIHHHHIQII20sI")
HEADER_SIZE = 64
ENTRY = struct.Struct("<HHIQQII")  # of the section table
STRING = struct.Struct("<II")  # offset and length within the strings section
CHIP = struct.Struct("<II16sII")
CHIP_ITEM = struct.Struct("<IIQ")
HASH = struct.Struct("<II32s")
NAMED_PC = struct.Struct("<IIQ")
REGION = struct.Struct("<IIQQBBHI")
SYMBOL = struct.Struct("<IIQBBBBI8Q")

REGION_WRITABLE = 1
REGION_OMITTED = 2

ALIGNMENT = 8
DATA_ALIGNMENT = 4096  # a page, so that data are mapped, never copied
MAX_SECTIONS = 1 << 20


class Kind(IntEnum):
    """Kinds of sections, in their order in the file; the codes are frozen."""

    STRINGS = 1
    CHIP = 2
    HASHES = 3
    CODE = 4
    DESCRIPTORS = 5
    ENTRIES = 6
    REGIONS = 7
    SYMBOLS = 8
    DEBUG_OPS = 9
    DEBUG_INDEX = 10
    METADATA = 11
    TOKENIZER = 12
    DATA = 16


#: Sections a file may lack or have several times; each of the others occurs exactly once.
OPTIONAL = frozenset((Kind.TOKENIZER, Kind.DATA))


@dataclass(frozen=True)
class Section:
    """One entry of the section table. ``index`` is the region's, for DATA; otherwise 0."""

    kind: Kind
    index: int
    offset: int
    size: int
    crc: int = 0

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.offset + self.size

    def packed(self) -> bytes:
        """The 32 bytes of this entry."""
        return ENTRY.pack(self.kind, 0, self.index, self.offset, self.size, self.crc, 0)


@dataclass(frozen=True)
class Header:
    """The fields of the first 64 bytes that vary."""

    isa: tuple[int, int]
    flags: int
    file_size: int
    sections: int
    table_crc: int
    container: int = CONTAINER_VERSION

    def packed(self) -> bytes:
        """The 64 bytes, with their checksum in the last four."""
        fields = (self.flags, self.file_size, self.sections, self.table_crc, bytes(20))
        version = (self.container, HEADER_SIZE)
        raw = HEADER.pack(MAGIC, BYTE_ORDER, *version, *self.isa, *fields, 0)[:-4]
        return raw + struct.pack("<I", zlib.crc32(raw))


def place(kind: Kind, end: int) -> int:
    """Where a section starts whose predecessor ends at ``end``."""
    alignment = DATA_ALIGNMENT if kind is Kind.DATA else ALIGNMENT
    return -(-end // alignment) * alignment
