"""Writing a program file: streamed, checksummed on the way, and all or nothing."""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from isa.errors import ProgramError
from isa.files import atomic_write
from isa.program import layout
from isa.program.checks import check, fail
from isa.program.layout import Kind, Section
from isa.program.model import Chunk, Program, Region, as_bytes
from isa.program.pack import pack
from isa.spec import ISA_VERSION

_PIECE = 8 << 20  # bytes handled at once: still in the cache when they are written

Progress = Callable[[int], None]


def save(program: Program, path: str | Path, progress: Progress | None = None) -> None:
    """Write ``program`` to ``path`` atomically.

    Data are taken piece by piece from a region's array or source; ``progress`` is called with
    the number of bytes of each piece. Raises ProgramError or FileError, and then leaves nothing.
    """
    check(program)
    parts = _packed(program)
    sections = _plan(program, parts)
    with atomic_write(path) as file:
        for section in sections:
            if section.kind is Kind.DATA:
                break
            _pad_to(file, section.offset)
            file.write(parts[section.kind])
        data = [section for section in sections if section.kind is Kind.DATA]
        crcs = [_write_data(file, program, section, progress or _ignore) for section in data]
        table = b"".join(
            [section.packed() for section in sections if section.kind is not Kind.DATA]
            + [_with_crc(section, crc).packed() for section, crc in zip(data, crcs, strict=True)]
        )
        file.seek(0)
        file.write(_header(program, sections, table).packed() + table)


def _ignore(_: int) -> None:
    """No progress to show."""


def _packed(program: Program) -> dict[Kind, bytes]:
    try:
        return dict(pack(program))
    except (TypeError, ValueError, RecursionError) as error:  # only JSON can still refuse
        raise fail(program, "metadata", f"cannot be written as JSON: {error}") from None
    except struct.error as error:
        raise ProgramError(f"{program.path}: a number is out of range: {error}") from None


def _plan(program: Program, parts: dict[Kind, bytes]) -> list[Section]:
    """Every section and its place; the checksums of data come later."""
    with_data = [(i, region) for i, region in enumerate(program.regions) if region.has_data]
    end = layout.HEADER_SIZE + layout.ENTRY.size * (len(parts) + len(with_data))
    sections = []
    for kind, part in parts.items():
        offset = layout.place(kind, end)
        sections.append(Section(kind, 0, offset, len(part), zlib.crc32(part)))
        end = sections[-1].end
    for index, region in with_data:
        sections.append(Section(Kind.DATA, index, layout.place(Kind.DATA, end), region.size))
        end = sections[-1].end
    return sections


def _header(program: Program, sections: list[Section], table: bytes) -> layout.Header:
    flags = layout.FLAG_OMITTED if program.timing_only else 0
    size = sections[-1].end
    return layout.Header(ISA_VERSION, flags, size, len(sections), zlib.crc32(table))


def _with_crc(section: Section, crc: int) -> Section:
    return Section(section.kind, section.index, section.offset, section.size, crc)


def _pad_to(file: BinaryIO, offset: int) -> None:
    """Zeros up to ``offset``."""
    file.write(bytes(offset - file.tell()))


def _write_data(file: BinaryIO, program: Program, section: Section, progress: Progress) -> int:
    """Stream one region's bytes; the result is their checksum."""
    region = program.regions[section.index]
    _pad_to(file, section.offset)
    crc = written = 0
    for piece in _pieces(region):
        written += len(piece)
        if written > region.size:
            break
        file.write(piece)
        crc = zlib.crc32(piece, crc)
        progress(len(piece))
    if written != region.size:
        more = "more than " if written > region.size else f"{written} of "
        problem = f"its source gave {more}{region.size} bytes"
        raise fail(program, f"region {region.name!r}", problem)
    return crc


def _pieces(region: Region) -> Iterator[memoryview]:
    """A region's bytes in pieces of bounded size."""
    chunks: list[Chunk] = [] if region.data is None else [region.data]
    for chunk in region.source() if region.source is not None else chunks:
        whole = as_bytes(chunk).data
        for start in range(0, len(whole), _PIECE):
            yield whole[start : start + _PIECE]
