"""The bytes of sections back to a program's parts. Nothing read is trusted."""

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from isa.codec import instruction_hash
from isa.descriptor import WORDS
from isa.errors import ProgramError
from isa.formats import Format
from isa.program import layout
from isa.program.layout import Kind
from isa.program.model import Debug, Region, RegionClass, RequiredChip, Role, Symbol
from isa.spec import BY_OPCODE, ISA_VERSION

E = TypeVar("E", bound=IntEnum)


def _member(enum: type[E], code: int) -> E | None:
    """The member of that code, if there is one."""
    try:
        return enum(code)
    except ValueError:
        return None


class Unpacker:
    """The sections of one file, as the parts of a program."""

    def __init__(self, path: str, sections: dict[Kind, bytes]) -> None:
        """``sections`` holds every section but the data; their checksums are right."""
        self.path = path
        self.sections = sections
        try:
            self.strings = sections[Kind.STRINGS].decode()
        except UnicodeDecodeError:
            raise self.fail("strings", "not UTF-8") from None
        # Offsets count bytes; most files are ASCII, where bytes and characters agree.
        self.ascii = len(self.strings) == len(sections[Kind.STRINGS])

    def fail(self, place: str, problem: str) -> ProgramError:
        """The error for a section that is intact and wrong all the same."""
        return ProgramError(f"{self.path}: {place}: {problem}; write the program again")

    def _text(self, offset: int, length: int, place: str) -> str:
        raw = self.sections[Kind.STRINGS]
        if offset + length > len(raw):
            raise self.fail(place, "a name lies outside the strings")
        if self.ascii:
            return self.strings[offset : offset + length]
        try:
            return raw[offset : offset + length].decode()
        except UnicodeDecodeError:
            raise self.fail(place, "a name is not UTF-8") from None

    def _records(self, kind: Kind, record: struct.Struct) -> Iterator[tuple[Any, ...]]:
        return record.iter_unpack(self._whole(kind, record.size))

    def _whole(self, kind: Kind, size: int) -> bytes:
        """A section whose size must be a multiple of ``size``."""
        raw = self.sections[kind]
        if len(raw) % size:
            raise self.fail(kind.name.lower(), f"{len(raw)} bytes are not records of {size}")
        return raw

    def chip(self) -> RequiredChip:
        """The required chip."""
        place, raw = "chip", self.sections[Kind.CHIP]
        if len(raw) < layout.CHIP.size:
            raise self.fail(place, f"{len(raw)} bytes are too few")
        offset, length, digest, count, zero = layout.CHIP.unpack_from(raw)
        if len(raw) != layout.CHIP.size + count * layout.CHIP_ITEM.size or zero:
            raise self.fail(place, f"{len(raw)} bytes do not hold {count} items")
        items = layout.CHIP_ITEM.iter_unpack(raw[layout.CHIP.size :])
        architecture = {self._text(at, size, place): value for at, size, value in items}
        chip = RequiredChip(self._text(offset, length, place), architecture)
        if not chip.name.isprintable() or bytes.fromhex(chip.digest) != digest:
            raise self.fail(place, "name or digest is wrong")
        return chip

    def check_hashes(self, isa: tuple[int, int]) -> None:
        """Refuse instructions that are unknown here, or meant something else where it was made."""
        ours, theirs = f"{ISA_VERSION[0]}.{ISA_VERSION[1]}", f"{isa[0]}.{isa[1]}"
        for opcode, zero, digest in self._records(Kind.HASHES, layout.HASH):
            entry = BY_OPCODE.get(opcode)
            if zero or entry is None:
                problem = f"opcode {opcode:#x} of ISA {theirs} is unknown to ISA {ours}"
            elif digest != instruction_hash(entry):
                problem = f"`{entry.mnemonic}` of ISA {theirs} is not that of this ISA {ours}"
            else:
                continue
            raise ProgramError(f"{self.path}: instructions: {problem}; compile the program again")

    def used(self) -> dict[int, bytes]:
        """Opcode -> hash, as the file lists them."""
        return {opcode: digest for opcode, _, digest in self._records(Kind.HASHES, layout.HASH)}

    def code(self) -> NDArray[np.uint64]:
        """The instructions."""
        return np.frombuffer(self._whole(Kind.CODE, 16), "<u8").astype(np.uint64).reshape(-1, 2)

    def descriptors(self) -> NDArray[np.int64]:
        """The descriptor table."""
        raw = self._whole(Kind.DESCRIPTORS, 8 * WORDS)
        return np.frombuffer(raw, "<i8").astype(np.int64).reshape(-1, WORDS)

    def entries(self) -> dict[str, int]:
        """Name -> instruction index."""
        records = list(self._records(Kind.ENTRIES, layout.NAMED_PC))
        entries = {self._text(offset, length, "entries"): pc for offset, length, pc in records}
        if len(entries) != len(records):
            raise self.fail("entries", "a name is given twice")
        return entries

    def regions(self, data: dict[int, NDArray[np.uint8]]) -> tuple[Region, ...]:
        """The regions, with the data that the file has for them."""
        regions = []
        for index, fields in enumerate(self._records(Kind.REGIONS, layout.REGION)):
            offset, length, base, size, code, flags, *zeros = fields
            kind = _member(RegionClass, code)
            if kind is None or any(zeros) or flags > 3:
                raise self.fail("regions", f"record {index} is malformed")
            name = self._text(offset, length, "regions")
            writable = bool(flags & layout.REGION_WRITABLE)
            omitted = bool(flags & layout.REGION_OMITTED)
            given = data.get(index)
            region = Region(name, base, size, kind, writable, given, None, omitted)
            regions.append(region)
        if any(index >= len(regions) for index in data):
            raise self.fail("data", "a section belongs to no region")
        return tuple(regions)

    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols."""
        symbols = []
        for index, fields in enumerate(self._records(Kind.SYMBOLS, layout.SYMBOL)):
            offset, length, address, *codes, rank, zero, zero2 = fields[:8]
            format_, role = _member(Format, codes[0]), _member(Role, codes[1])
            shape = fields[8:]
            wrong = zero or zero2 or rank > len(shape) or any(shape[rank:])
            if wrong or format_ is None or role is None:
                raise self.fail("symbols", f"record {index} is malformed")
            name = self._text(offset, length, "symbols")
            symbols.append(Symbol(name, address, shape[:rank], format_, role))
        return tuple(symbols)

    def debug(self) -> Debug:
        """The debug map."""
        records = self._records(Kind.DEBUG_OPS, layout.STRING)
        ops = tuple(self._text(offset, length, "debug map") for offset, length in records)
        index = np.frombuffer(self._whole(Kind.DEBUG_INDEX, 4), "<i4").astype(np.int32)
        return Debug(ops, index)

    def metadata(self) -> dict[str, Any]:
        """The metadata."""
        try:
            metadata = json.loads(self.sections[Kind.METADATA].decode())
        except (ValueError, RecursionError):
            raise self.fail("metadata", "not JSON") from None
        if not isinstance(metadata, dict):
            raise self.fail("metadata", "not a JSON object")
        return metadata
