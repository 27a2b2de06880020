"""An aarch64 object file (ELF) as bytes that run at an address: what a linker does, and no more."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_SECTION, _SYMBOL, _RELOCATION = "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
_SYMTAB, _RELA, _NOBITS, _ALLOCATED = 2, 4, 8, 2
_ABS64, _PREL32, _PAGE, _ADD = 257, 261, 275, 277
_GOT_PAGE, _GOT_LOW = 311, 312
_CALLS = (282, 283)  # B, BL
_LOW_SHIFTS = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # ADD, and loads by their size


@dataclass(frozen=True)
class Section:
    """A header, and where the section comes to lie."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int
    place: int = 0


@dataclass(frozen=True)
class Linked:
    """Bytes, and where the object's functions are in memory."""

    content: bytes
    symbols: dict[str, int]


def link(content: bytes, base: int, external: Callable[[str], int]) -> Linked:
    """Lay an object out at `base`; `external` has the addresses of what it lacks."""
    sections = _placed(_sections(content), base)
    names, addresses = _symbols(content, sections, external)
    end = max(section.place + section.size for section in sections)
    table = (end + 15) // 16 * 16  # of addresses, for what goes by way of one
    image = bytearray(table - base + 8 * len(addresses))
    struct.pack_into(f"<{len(addresses)}Q", image, table - base, *addresses)
    for section in sections:
        if section.place and section.kind != _NOBITS:
            start = section.place - base
            part = content[section.offset : section.offset + section.size]
            image[start : start + section.size] = part
    for section in sections:
        if section.kind == _RELA and sections[section.info].place:
            for offset, info, addend in _records(content, section, _RELOCATION):
                symbol, kind = info >> 32, info & 0xFFFFFFFF
                place = sections[section.info].place + offset
                value = addresses[symbol] + addend
                if kind in (_GOT_PAGE, _GOT_LOW):
                    value = table + 8 * symbol
                _relocate(image, place - base, kind, value, place)
    return Linked(bytes(image), dict(zip(names, addresses, strict=True)))


def _sections(content: bytes) -> list[Section]:
    if content[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF object of 64 bits")
    (start,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    return [Section(*struct.unpack_from(_SECTION, content, start + i * size)) for i in range(count)]


def _placed(sections: list[Section], base: int) -> list[Section]:
    """What is loaded, one after the other."""
    placed, at = [], base
    for section in sections:
        if section.flags & _ALLOCATED:
            align = max(section.align, 16)
            at = (at + align - 1) // align * align
            section = Section(*list(vars(section).values())[:-1], at)
            at += section.size
        placed.append(section)
    return placed


def _records(content: bytes, section: Section, form: str) -> list[tuple[int, ...]]:
    part = content[section.offset : section.offset + section.size]
    return list(struct.iter_unpack(form, part))


def _symbols(
    content: bytes, sections: list[Section], external: Callable[[str], int]
) -> tuple[list[str], list[int]]:
    """Names and addresses of all symbols, by number."""
    table = next(section for section in sections if section.kind == _SYMTAB)
    texts = sections[table.link].offset
    names, addresses = [], []
    for name_at, _info, _other, index, value, _size in _records(content, table, _SYMBOL):
        end = content.index(b"\0", texts + name_at)
        name = content[texts + name_at : end].decode()
        inside = 0 < index < len(sections)
        address = sections[index].place + value if inside else external(name) if name else 0
        names.append(name)
        addresses.append(address)
    return names, addresses


def _relocate(image: bytearray, at: int, kind: int, value: int, place: int) -> None:
    """Put an address into an instruction or a word."""
    (word,) = struct.unpack_from("<I", image, at)
    if kind == _ABS64:
        struct.pack_into("<Q", image, at, value)
        return
    if kind == _PREL32:
        word = (value - place) & 0xFFFFFFFF
    elif kind in (_PAGE, _GOT_PAGE):
        pages = (value >> 12) - (place >> 12)
        word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif kind in _CALLS:
        if not -(1 << 27) <= value - place < 1 << 27:
            raise ValueError("a call that is too far away")
        word |= (value - place >> 2) & 0x3FFFFFF
    elif kind == _GOT_LOW:
        word |= (value & 0xFFF) >> 3 << 10
    elif kind in _LOW_SHIFTS:
        word |= (value & 0xFFF) >> _LOW_SHIFTS[kind] << 10
    else:
        raise ValueError(f"a relocation of kind {kind}")
    struct.pack_into("<I", image, at, word)
