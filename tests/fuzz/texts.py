"""Mutated texts that people write: assembly, and the YAML of chips."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict

from fuzz import samples
from fuzz.containers import all_parts
from fuzz.kinds import Kind, kind
from fuzz.mutate import mutate_bytes, mutate_text, rng_of
from fuzz.rule import as_file, tried
from isa.assembler import assemble, assemble_file
from isa.chip import chip_from_data, load_chip
from isa.disassembler import disassemble
from isa.spec import INSTRUCTIONS

_ASM_TOKEN = re.compile(r'\s+|"[^"]*"|[\w.$]+|.')
_YAML_TOKEN = re.compile(r"\s+|[\w.]+|.")
_ASM_WORDS = (
    ".chip", ".const", ".alias", ".region", ".data", ".symbol", ".desc", ".meta", ".op", ".ops",
    ".entry", ".tokenizer", ".word", "tsram", "hbm", "csram", "acc", "fp32", "bf16", "e2m1", "e8m0",
    "i32", "u8", "stride", "panel", "scale=mx32@0", "nv16", "words", "owner", "fan", "omitted",
    "ro", "in", "out", "state", "weights", "io", "kv", "r0", "r31", "r32", "d31", "d32", "s63",
    "s64", "vpu", "mxu", "dma7", "dma8", "ctl", "#1.5", "k0=3", "bounds=d3", "site=4", "t1",
    "t1-mini", "hbm.bytes=4096", "<<", ">>", "~", "TILE_ID", "start", "end:", "N",
    "1<<127", "-(-1)",
    *(entry.mnemonic for entry in INSTRUCTIONS),
)  # fmt: skip
_YAML_WORDS = (
    "clusters", "tile", "tsram", "bytes", "name", "hbm", "mxu", "splits", "rates", "rows", "true",
    "1e3", "[1, 2, 4]", "[]", "{}", "&x [1]", "*x", "<<: *x", "!!binary aGk=", "!!set {a}", "? [1]",
    "!!timestamp 2001-01-01", "- 1", "1:30:30", "0x1F", "1_000", "2.5e9", ".inf", ".nan", "no", "=",
)  # fmt: skip
_LONGEST = 45  # lines of assembly that are kept


def assembly(seed: int) -> bytes:
    """A text with a few things wrong."""
    rng = rng_of("asm", seed)
    lines = rng.choice(samples.assembly()).split("\n")
    if len(lines) > _LONGEST:  # the head and a piece of the rest
        start = rng.randrange(_LONGEST // 2, len(lines) - _LONGEST // 2)
        lines = lines[: _LONGEST // 2] + lines[start : start + _LONGEST // 2]
    return mutate_text(rng, "\n".join(lines), _ASM_WORDS, _ASM_TOKEN)


def check_assembly(seed: int) -> Iterable[str]:
    """`emu asm`; what it accepts comes back from its disassembly."""
    with as_file(assembly(seed)) as path:
        program = tried(lambda: assemble_file(path), str(path))
    if program is None:
        return ["refused"]
    if any(region.source is not None for region in program.regions):
        return ["accepted"]  # more data than anybody would write out
    text = disassemble(program, all_data=True)
    again = assemble(text)
    assert all_parts(again) == all_parts(program), "assembled again"
    assert disassemble(again, all_data=True) == text, "disassembled again"
    return ["accepted"]


def yaml(seed: int) -> bytes:
    """A chip with a few things wrong."""
    rng = rng_of("yaml", seed)
    text = rng.choice(samples.chips())
    if rng.random() < 0.5:  # a part of it is enough to be wrong in many ways
        lines = text.split("\n")
        start = rng.randrange(len(lines))
        text = "\n".join(lines[start : start + rng.randrange(1, 30)])
    how = rng.random()
    return (
        mutate_bytes(rng, text.encode())
        if how < 0.2
        else mutate_text(rng, text, _YAML_WORDS, _YAML_TOKEN)
    )


def check_yaml(seed: int) -> Iterable[str]:
    """`--chip FILE`; an accepted chip is the same after a round trip through plain data."""
    with as_file(yaml(seed)) as path:
        chip = tried(lambda: load_chip(path), path.name)
    if chip is None:
        return ["refused"]
    assert chip_from_data(asdict(chip), "again") == chip
    assert len(chip.digest()) == 32
    return ["accepted"]


kind(
    Kind("asm", "assembly text", check_assembly, 180_000, 1000, 2.5, data=assembly),
)
kind(
    Kind("yaml", "the YAML of a chip", check_yaml, 40_000, 500, 7, data=yaml),
)
