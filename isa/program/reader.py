"""Reading a program file: mapped into memory, every size checked before it is believed."""

import mmap
import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isa.codec import used_hashes
from isa.errors import ProgramError
from isa.program import layout
from isa.program.checks import check
from isa.program.layout import Kind, Section
from isa.program.model import Program
from isa.program.unpack import Unpacker
from isa.spec import ISA_VERSION

_PIECE = 8 << 20
_KINDS = frozenset(int(kind) for kind in Kind)


@dataclass(frozen=True, eq=False)
class Container:
    """A file whose header, section table and sections but the data are intact."""

    path: str
    header: layout.Header
    sections: tuple[Section, ...]
    raw: NDArray[np.uint8]

    def bytes_of(self, section: Section) -> NDArray[np.uint8]:
        """A view of a section's bytes."""
        return self.raw[section.offset : section.end]

    def unpacker(self) -> Unpacker:
        """The reader of the sections but the data."""
        parts: dict[Kind, bytes] = {}
        for section in self.sections:
            if section.kind is not Kind.DATA:
                parts[section.kind] = self.bytes_of(section).tobytes()
        return Unpacker(self.path, parts)

    def data(self) -> dict[int, Section]:
        """The data section of each region that has one, by the region's index."""
        return {s.index: s for s in self.sections if s.kind is Kind.DATA}


def load(path: str | Path) -> Program:
    """The program in a file, its data mapped copy-on-write. Does not read the data."""
    return _program(open_container(path))


def parse(data: bytes | bytearray | NDArray[np.uint8], path: str = "program") -> Program:
    """The program in bytes that hold a program file; its data are views of them."""
    return _program(_container(np.frombuffer(data, np.uint8), path))


def verify(path: str | Path, progress: Callable[[int], None] | None = None) -> Program:
    """As :func:`load`, and every checksum of data is compared as well."""
    container = open_container(path)
    program = _program(container)
    if container.header.isa == ISA_VERSION and container.unpacker().used() != used_hashes(
        program.code
    ):
        raise ProgramError(f"{path}: instructions: the list does not match the code")
    damaged = [
        repr(program.regions[section.index].name)
        for section in container.data().values()
        if _crc(container.bytes_of(section), progress) != section.crc
    ]
    if damaged:
        names = ", ".join(damaged)
        raise ProgramError(f"{path}: region {names}: checksum mismatch; write the file again")
    return program


def _crc(data: NDArray[np.uint8], progress: Callable[[int], None] | None) -> int:
    crc = 0
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        crc = zlib.crc32(piece.data, crc)
        if progress:
            progress(len(piece))
    return crc


def open_container(path: str | Path) -> Container:
    """Map a file and check everything but its data."""
    return _container(_map(str(path)), str(path))


def _map(path: str) -> NDArray[np.uint8]:
    """The file's bytes, copied only where they are written to."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ProgramError(f"{path}: not a regular file; give a program's file")
            if status.st_size == 0:
                raise ProgramError(f"{path}: the file is empty; write the program again")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise ProgramError(f"{path}: cannot be read: {problem}") from None
    return np.frombuffer(mapped, np.uint8)


def _program(container: Container) -> Program:
    parts = container.unpacker()
    parts.check_hashes(container.header.isa)
    data = {index: container.bytes_of(section) for index, section in container.data().items()}
    program = Program(
        parts.code(),
        parts.descriptors(),
        parts.entries(),
        parts.regions(data),
        parts.symbols(),
        parts.chip(),
        parts.debug(),
        parts.metadata(),
        parts.sections.get(Kind.TOKENIZER),
        container.header.isa,
        container.path,
    )
    check(program)
    if program.timing_only != bool(container.header.flags & layout.FLAG_OMITTED):
        raise parts.fail("header", "the flag for omitted data does not match the regions")
    return program


def _container(raw: NDArray[np.uint8], path: str) -> Container:
    header = _header(raw, path)
    table_end = layout.HEADER_SIZE + header.sections * layout.ENTRY.size
    if not 0 < header.sections <= layout.MAX_SECTIONS or table_end > len(raw):
        raise _damaged(path, "header", f"{header.sections} sections do not fit")
    table = raw[layout.HEADER_SIZE : table_end]
    if zlib.crc32(table.data) != header.table_crc:
        raise _damaged(path, "section table", "checksum mismatch")
    sections = _sections(table.tobytes(), path)
    _check_places(raw, sections, table_end, path)
    _check_kinds(sections, path)
    for section in sections:
        part = raw[section.offset : section.end]
        if section.kind is not Kind.DATA and zlib.crc32(part.data) != section.crc:
            raise _damaged(path, f"section {section.kind.name.lower()}", "checksum mismatch")
    return Container(path, header, sections, raw)


def _damaged(path: str, place: str, problem: str) -> ProgramError:
    return ProgramError(f"{path}: {place}: {problem}; the file is damaged, write it again")


def _header(raw: NDArray[np.uint8], path: str) -> layout.Header:
    """The header, from the outside in: is it ours, is it intact, is it readable, is it whole."""
    first = raw[: layout.HEADER_SIZE].tobytes()
    if first[:8] != layout.MAGIC:
        raise ProgramError(f"{path}: not a Tessera program; make one with `emu compile` or `asm`")
    if len(first) < layout.HEADER_SIZE:
        raise _damaged(path, "header", f"truncated after {len(first)} bytes")
    fields = layout.HEADER.unpack(first)
    _, order, container, header_size, major, minor, flags, size, count, table_crc, zero, crc = (
        fields
    )
    if zlib.crc32(first[:-4]) != crc:
        raise _damaged(path, "header", "checksum mismatch")
    if order != layout.BYTE_ORDER:
        raise ProgramError(f"{path}: header: byte order {order:#010x}; must be little-endian")
    if (container, header_size) != (layout.CONTAINER_VERSION, layout.HEADER_SIZE):
        problem = f"file version {container}; this is version {layout.CONTAINER_VERSION}"
        raise ProgramError(f"{path}: header: {problem}; compile the program again")
    if major != ISA_VERSION[0]:
        problem = f"ISA version {major}.{minor}; this is {ISA_VERSION[0]}.{ISA_VERSION[1]}"
        raise ProgramError(f"{path}: header: {problem}; compile the program again")
    if flags & ~layout.FLAG_OMITTED or any(zero):
        raise _damaged(path, "header", "reserved bits are set")
    if size != len(raw):
        what = "truncated" if len(raw) < size else "something follows its end"
        problem = f"{what}: {len(raw)} bytes, its header says {size}"
        raise ProgramError(f"{path}: file: {problem}; copy or write it again")
    return layout.Header((major, minor), flags, size, count, table_crc)


def _sections(table: bytes, path: str) -> tuple[Section, ...]:
    sections = []
    for number, fields in enumerate(layout.ENTRY.iter_unpack(table)):
        kind, zero, index, offset, size, crc, zero2 = fields
        if kind not in _KINDS or zero or zero2 or (index and kind != Kind.DATA):
            raise _damaged(path, "section table", f"entry {number} is malformed")
        sections.append(Section(Kind(kind), index, offset, size, crc))
    return tuple(sections)


def _check_places(
    raw: NDArray[np.uint8], sections: tuple[Section, ...], end: int, path: str
) -> None:
    """Sections follow one another, each at the next aligned place, with zeros in between.

    So they cannot overlap, and no byte of the file is outside every check.
    """
    for section in sections:
        name = f"section {section.kind.name.lower()}"
        expected = layout.place(section.kind, end)
        if section.offset != expected:
            raise _damaged(path, name, f"at offset {section.offset}, expected {expected}")
        if section.size > len(raw) - section.offset:
            raise _damaged(path, name, f"{section.size} bytes reach beyond the end of the file")
        if raw[end : section.offset].any():
            raise _damaged(path, name, "the padding before it is not zero")
        end = section.end
    if end != len(raw):
        raise _damaged(path, "section table", "there are bytes after the last section")


def _check_kinds(sections: tuple[Section, ...], path: str) -> None:
    """Each kind in its order, as often as it may occur; data by ascending region."""
    order = [(section.kind, section.index) for section in sections]
    missing = [k for k in Kind if k not in layout.OPTIONAL and (k, 0) not in order]
    if order != sorted(set(order)) or missing:
        names = ", ".join(kind.name.lower() for kind in missing) or "order or repetition"
        raise _damaged(path, "section table", f"wrong sections: {names}")
