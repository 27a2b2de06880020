"""A program's parts to the bytes of their sections (all but the data)."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.codec import used_hashes
from isa.program import layout
from isa.program.layout import Kind
from isa.program.model import Program, RequiredChip


@dataclass
class Strings:
    """The strings section as it grows; equal strings are stored once."""

    data: bytearray = field(default_factory=bytearray)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, text: str) -> tuple[int, int]:
        """Offset and length of ``text``."""
        if text not in self.places:
            raw = text.encode()
            self.places[text] = (len(self.data), len(raw))
            self.data += raw
        return self.places[text]


def pack(program: Program) -> list[tuple[Kind, bytes]]:
    """All sections of a program but its data, in the file's order."""
    strings = Strings()
    sections = [
        (Kind.CHIP, _pack_chip(program.chip, strings)),
        (Kind.HASHES, _pack_hashes(program.code)),
        (Kind.CODE, np.ascontiguousarray(program.code, "<u8").tobytes()),
        (Kind.DESCRIPTORS, np.ascontiguousarray(program.descriptors, "<i8").tobytes()),
        (Kind.ENTRIES, _pack_entries(program.entries, strings)),
        (Kind.REGIONS, _pack_regions(program, strings)),
        (Kind.SYMBOLS, _pack_symbols(program, strings)),
        (
            Kind.DEBUG_OPS,
            b"".join(layout.STRING.pack(*strings.add(op)) for op in program.debug.ops),
        ),
        (Kind.DEBUG_INDEX, np.ascontiguousarray(program.debug.index, "<i4").tobytes()),
        (Kind.METADATA, _pack_json(program.metadata)),
    ]
    if program.tokenizer is not None:
        sections.append((Kind.TOKENIZER, program.tokenizer))
    return [(Kind.STRINGS, bytes(strings.data)), *sections]


def _pack_json(metadata: dict[str, Any]) -> bytes:
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _pack_chip(chip: RequiredChip, strings: Strings) -> bytes:
    digest = bytes.fromhex(chip.digest)
    items = chip.architecture.items()
    head = layout.CHIP.pack(*strings.add(chip.name), digest, len(items), 0)
    return head + b"".join(
        layout.CHIP_ITEM.pack(*strings.add(key), value) for key, value in sorted(items)
    )


def _pack_hashes(code: NDArray[np.uint64]) -> bytes:
    hashes = sorted(used_hashes(code).items())
    return b"".join(layout.HASH.pack(opcode, 0, digest) for opcode, digest in hashes)


def _pack_entries(entries: dict[str, int], strings: Strings) -> bytes:
    return b"".join(layout.NAMED_PC.pack(*strings.add(name), pc) for name, pc in entries.items())


def _pack_regions(program: Program, strings: Strings) -> bytes:
    out = bytearray()
    for region in program.regions:
        flags = layout.REGION_WRITABLE * region.writable | layout.REGION_OMITTED * region.omitted
        name = strings.add(region.name)
        out += layout.REGION.pack(*name, region.base, region.size, region.kind, flags, 0, 0)
    return bytes(out)


def _pack_symbols(program: Program, strings: Strings) -> bytes:
    out = bytearray()
    for symbol in program.symbols:
        shape = (*symbol.shape, *(0,) * (8 - len(symbol.shape)))
        codes = (symbol.format, symbol.role, len(symbol.shape), 0, 0)
        out += layout.SYMBOL.pack(*strings.add(symbol.name), symbol.address, *codes, *shape)
    return bytes(out)
