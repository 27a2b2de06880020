"""Mutated program files: read, described, disassembled, written and prepared for running."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from emulator.info import describe, render
from emulator.run import _job, _machine
from emulator.run_options import Options
from fuzz import samples
from fuzz.kinds import Kind, kind
from fuzz.models import prepare_tokenizer
from fuzz.mutate import mutate_bytes, mutate_json, rng_of
from fuzz.programs import prepare as prepare_machines
from fuzz.rule import as_file, tried
from isa.assembler import assemble
from isa.chip import Chip, known_chips, load_chip
from isa.disassembler import disassemble
from isa.files import json_text
from isa.program import Program, Region, layout, load, parse, verify
from isa.program.layout import Kind as Section
from isa.program.pack import pack

_KEYS = ("kind", "capacity", "model", "vocab", "eos", "rows", "choice_sites", "low", "3", "-1")
_SMALL = 1 << 22  # bytes of regions that a machine may make room for
_RECORDS = {
    Section.CHIP: 8, Section.HASHES: 40, Section.CODE: 16, Section.DESCRIPTORS: 128,
    Section.ENTRIES: 16, Section.REGIONS: 32, Section.SYMBOLS: 88, Section.DEBUG_OPS: 8,
    Section.DEBUG_INDEX: 4,
}  # fmt: skip

Parts = list[tuple[Section, int, bytes]]


@cache
def _parts(index: int) -> tuple[tuple[Section, int, bytes], ...]:
    """The sections of a sample: kind, index and content."""
    program = samples.programs()[index]
    parts = [(kind, 0, content) for kind, content in pack(program)]
    data = [(i, region.contents()) for i, region in enumerate(program.regions)]
    return tuple(parts + [(Section.DATA, i, d.tobytes()) for i, d in data if d is not None])


def build(parts: Iterable[tuple[Section, int, bytes]], flags: int = 0) -> bytes:
    """A file of these sections, everything in its place and every checksum right."""
    parts = list(parts)
    out = bytearray(layout.HEADER_SIZE + layout.ENTRY.size * len(parts))
    placed = []
    for section, index, content in parts:
        out += bytes(layout.place(section, len(out)) - len(out))
        crc = zlib.crc32(content)
        placed.append(layout.Section(section, index, len(out), len(content), crc).packed())
        out += content
    table = b"".join(placed)
    header = layout.Header((1, 0), flags, len(out), len(parts), zlib.crc32(table)).packed()
    out[: len(header) + len(table)] = header + table
    return bytes(out)


def data(seed: int) -> bytes:
    """A file: half of them damaged anyhow, half with right checksums and a wrong section."""
    rng = rng_of("container", seed)
    parts = list(_parts(rng.randrange(len(samples.programs()))))
    how = rng.random()
    if how < 0.5:
        return build(_wrong_section(rng, parts), int(rng.random() < 0.03))
    whole = build(parts)
    damaged = mutate_bytes(rng, whole, build(_parts(0)))
    return damaged if how < 0.7 else resealed(rng, damaged)


def metadata(seed: int) -> bytes:
    """A file with wrong metadata, or a wrong tokenizer."""
    rng = rng_of("metadata", seed)
    parts = [
        (section, index, _wrong_json(rng, section) if section is chosen else content)
        for chosen in [Section.TOKENIZER if rng.random() < 0.2 else Section.METADATA]
        for section, index, content in _parts(0)
    ]
    return build(parts)


def _wrong_json(rng: Random, section: Section) -> bytes:
    if section is Section.METADATA:
        return mutate_json(rng, samples.DECODER, _KEYS)
    return mutate_json(rng, samples.TOKENIZER, ("type", "model"))


def _wrong_section(rng: Random, parts: Parts) -> Parts:
    """Sections with one of them changed, lost, moved or from elsewhere."""
    place = rng.randrange(len(parts))
    section, index, content = parts[place]
    how = rng.random()
    if how < 0.05:
        del parts[place]
    elif how < 0.1:
        parts.insert(rng.randrange(len(parts)), parts[place])
    elif how < 0.15:
        parts[place] = (section, index + rng.choice((1, 2, 1 << 31)), content)
    elif section in (Section.METADATA, Section.TOKENIZER):
        parts[place] = (section, index, _wrong_json(rng, section))
    else:
        parts[place] = (section, index, _wrong_content(rng, section, content))
    return parts


def _wrong_content(rng: Random, section: Section, content: bytes) -> bytes:
    """A section's content with a record lost or repeated, or with any mutation."""
    size = _RECORDS.get(section, 1)
    count = len(content) // size
    start = rng.randrange(count) * size if count else 0
    how = rng.random()
    if how < 0.1:
        return content[:start] + content[start + size :]
    if how < 0.2:
        return content + content[start : start + size] * rng.choice((1, 2, 40))
    changed = mutate_bytes(rng, content[start : start + size] if how < 0.7 else content)
    return content[:start] + changed + content[start + size :] if how < 0.7 else changed


def resealed(rng: Random, damaged: bytes) -> bytes:
    """A damaged file with its checksums made right, as far as its table still says where."""
    out = bytearray(damaged)
    if len(out) < layout.HEADER_SIZE:
        return damaged
    count = struct.unpack_from("<I", out, 32)[0]
    end = layout.HEADER_SIZE + layout.ENTRY.size * count
    if count < 100 and end <= len(out):
        for place in range(layout.HEADER_SIZE, end, layout.ENTRY.size):
            offset, size = struct.unpack_from("<QQ", out, place + 8)
            crc = zlib.crc32(bytes(out[offset : offset + size]) if offset < len(out) else b"")
            struct.pack_into("<I", out, place + 24, crc)
        struct.pack_into("<I", out, 36, zlib.crc32(out[layout.HEADER_SIZE : end]))
    if rng.random() < 0.8:
        struct.pack_into("<Q", out, 24, len(out))
    struct.pack_into("<I", out, 60, zlib.crc32(out[:60]))
    return bytes(out)


# ---- what is done with them


def check(seed: int) -> Iterable[str]:
    """A file with anything wrong."""
    return _check(data(seed), seed)


def check_metadata(seed: int) -> Iterable[str]:
    """A file with wrong JSON in it."""
    return _check(metadata(seed), seed)


def _check(content: bytes, seed: int) -> Iterable[str]:
    """Read a file as the commands do, and use it if it is accepted."""
    with as_file(content) as path:
        work = (load, verify)[seed % 2]
        program = tried(lambda: work(path), str(path))
        if program is None:
            return ["refused"]
        use(program, str(path), text=seed % 3 == 0)
    return ["accepted"]


def use(program: Program, name: str, text: bool) -> None:
    """`emu info`, the beginning of `emu run`, and if wanted `disasm` and `asm`."""
    facts = describe(program)
    render(facts)
    json_text(facts)
    assert pack(parse(build(all_parts(program), program.timing_only), name)) == pack(program)
    if text:
        _check_text(program)
    tried(lambda: _begin(program), name)


def all_parts(program: Program) -> Parts:
    """All sections of a program, data included."""
    regions: Iterable[tuple[int, Region]] = enumerate(program.regions)
    contents = [(index, region.contents()) for index, region in regions]
    parts = [(section, 0, content) for section, content in pack(program)]
    return parts + [(Section.DATA, i, d.tobytes()) for i, d in contents if d is not None]


def _check_text(program: Program) -> None:
    """The text assembles to the same program, and disassembles to the same text."""
    text = disassemble(program, all_data=True)
    again = assemble(text)
    assert all_parts(again) == all_parts(program), "assembled again"
    assert disassemble(again, all_data=True) == text, "disassembled again"


@cache
def _chip(name: str) -> Chip:
    """The chip of a program, read once: the commands read it every time."""
    return load_chip(name)


def _begin(program: Program) -> None:
    """What `emu run` does before it runs."""
    if program.chip.name not in known_chips():
        return
    decoder = program.metadata.get("kind") == "decoder"
    options = Options(
        Path(program.path),
        tokens="1,2" if decoder else None,
        max_new_tokens=2,
        timing_only=program.timing_only,
    )
    chip = _chip(program.chip.name)
    program.check_chip(chip)
    _job(options, program)
    if sum(region.size for region in program.regions) < _SMALL:
        _machine(options, program, program, chip)


def _prepare() -> None:
    prepare_machines()
    prepare_tokenizer()


_OPTIONS: dict[str, Any] = {"prepare": _prepare}
kind(
    Kind("container", "program files: any damage, and right checksums over wrong sections", check,
         170_000, 1000, 1.7, data=data, **_OPTIONS)
)  # fmt: skip
kind(
    Kind("metadata", "wrong metadata or tokenizer in a program that is right", check_metadata,
         40_000, 1000, 3, data=metadata, **_OPTIONS)
)  # fmt: skip
