"""Programs that are damaged, hostile or wrong: refused in one line, or their faults explained."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa.chip import CHIPS
from isa.program import Program, load, open_container, save
from isa.program.layout import DATA_ALIGNMENT, HEADER, HEADER_SIZE, Kind
from isa.spec import ISA_VERSION
from tests.cli_runs import (
    assembled,
    emu,
    keep_outputs,
    made,
    refused,
    run_refused,
)

TOKENS = ("--tokens", "1,2")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_outputs(tmp_path, monkeypatch)


# ---- damaged programs


def _resealed(data: bytes, **fields: int) -> bytes:
    """A program with other fields in its header, its checksum right."""
    names = ("container", "major", "minor")
    values = list(HEADER.unpack(data[:HEADER_SIZE]))
    for name, value in fields.items():
        values[{"container": 2, "major": 4, "minor": 5}[name]] = value
    assert set(fields) <= set(names)
    header = HEADER.pack(*values)[:-4]
    return header + struct.pack("<I", zlib.crc32(header)) + data[HEADER_SIZE:]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "zero length": (lambda data: b"", "p.bin: the file is empty"),
    "some text": (lambda data: b"hello\n" * 99, "p.bin: not a Tessera program"),
    "7 bytes": (lambda data: data[:7], "p.bin: not a Tessera program"),
    "half a header": (lambda data: data[:40], "p.bin: header: truncated after 40 bytes"),
    "half a table": (lambda data: data[:100], "p.bin: "),
    "half the code": (lambda data: data[:20000], "p.bin: file: truncated: 20000 bytes"),
    "half the data": (lambda data: data[: len(data) // 2], "p.bin: file: truncated: "),
    "a byte short": (lambda data: data[:-1], "p.bin: file: truncated: "),
    "a byte long": (lambda data: data + b"\0", "p.bin: file: something follows its end"),
    "container version": (partial(_resealed, container=9), "p.bin: header: file version 9"),
    "ISA version": (
        partial(_resealed, major=ISA_VERSION[0] + 1),
        f"p.bin: header: ISA version {ISA_VERSION[0] + 1}.",
    ),
    "reversed": (lambda data: data[::-1], "p.bin: not a Tessera program"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_programs(name: str) -> None:
    damage, expected = DAMAGES[name]
    Path("p.bin").write_bytes(damage(made().good.read_bytes()))
    run_refused(expected, Path("p.bin"), *TOKENS)


def test_every_flipped_bit_outside_data_is_found() -> None:
    data = made().good.read_bytes()
    sections = open_container(made().good).sections
    first_data = min(section.offset for section in sections if section.kind is Kind.DATA)
    places = {0, 5, 9, 63, *np.random.default_rng(3).integers(0, first_data, 40).tolist()}
    places |= {section.offset for section in sections if section.kind is not Kind.DATA}
    places |= {section.end - 1 for section in sections if section.kind is not Kind.DATA}
    places |= {section.end for section in sections if section.end % DATA_ALIGNMENT}  # padding
    for place in sorted(places - {len(data)}):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        Path("p.bin").write_bytes(damaged)
        run_refused("p.bin: ", Path("p.bin"), *TOKENS)


def test_flipped_bits_of_data_are_found_by_verify() -> None:
    container = open_container(made().good)
    regions = load(made().good).regions
    for index, section in container.data().items():
        damaged = bytearray(made().good.read_bytes())
        damaged[section.offset + section.size // 2] ^= 8
        Path("p.bin").write_bytes(damaged)
        expected = f"p.bin: region '{regions[index].name}': checksum mismatch"
        refused(expected, "info", "p.bin", "--verify", "--json", "kept.json")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("none.bin", "none.bin: cannot be read: no such file or directory"),
        (".", ".: cannot be read: is a directory"),
        ("/dev/null", "/dev/null: not a regular file"),
    ],
)
def test_programs_that_are_not_there(path: str, expected: str) -> None:
    run_refused(expected, Path(path), *TOKENS)


@pytest.mark.parametrize("changes", ["tile.tsram.bytes", "clusters", "hbm.bytes"])
def test_programs_for_another_chip(changes: str) -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    key, old, new = {
        "tile.tsram.bytes": ("bytes", 262144, 131072),
        "clusters": ("clusters", 2, 1),
        "hbm.bytes": ("bytes", 1073741824, 536870912),
    }[changes]
    Path("other.yaml").write_text(text.replace(f"{key}: {old}", f"{key}: {new}"))
    expected = f"good.bin: required chip: made for t1-mini with {changes} = {old}, not for"
    run_refused(expected, made().good, *TOKENS, "--chip", "other.yaml")


def test_programs_for_a_chip_nobody_knows() -> None:
    program = load(made().good)
    save(replace(program, chip=replace(program.chip, name="t9")), "p.bin")
    run_refused("p.bin: was made for the chip t9, which is not known", Path("p.bin"), *TOKENS)
    run_refused("good.bin: required chip: made for t1-mini", made().good, *TOKENS, "--chip", "t1")


def _changed(program: Program, part: str, **values: Any) -> dict[str, Any]:
    return program.metadata | {part: program.metadata[part] | values}


HOSTILE: dict[str, tuple[Callable[[Program], dict[str, Any]], str]] = {
    "no model": (lambda p: {"kind": "decoder"}, "capacity.rows is missing or wrong"),
    "capacity is a list": (lambda p: p.metadata | {"capacity": [1]}, "capacity.rows is missing"),
    "more rows": (lambda p: _changed(p, "capacity", rows=9), "capacity: symbol rows is missing"),
    "negative": (lambda p: _changed(p, "capacity", pages=-1), "capacity.pages is missing or wrong"),
    "absurd": (lambda p: _changed(p, "capacity", pages=1 << 30), "capacity.pages is missing"),
    "long context": (lambda p: _changed(p, "capacity", context=99999), "capacity.context is"),
    "vocabulary": (lambda p: _changed(p, "model", vocab=5000), "capacity: symbol logits is"),
    "no vocabulary": (lambda p: _changed(p, "model", vocab="67"), "model.vocab is missing"),
    "end of text": (lambda p: _changed(p, "model", eos=2), "model.eos is missing or wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_intact_programs_with_wrong_metadata(name: str) -> None:
    change, expected = HOSTILE[name]
    program = load(made().good)
    save(replace(program, metadata=change(program)), "p.bin")
    run_refused(f"p.bin: metadata: {expected}", Path("p.bin"), *TOKENS)


def test_a_decoder_without_its_symbols() -> None:
    program = load(made().good)
    save(replace(program, symbols=program.symbols[1:]), "p.bin")
    run_refused("p.bin: no symbol 'rows'; it has", Path("p.bin"), *TOKENS)


# ---- programs that fault

BEYOND = """
.region io 0 0x1000 io
.desc src hbm:0x2000 fp32[4]
.desc dst tsram:0 fp32[4]
.entry go
.op fetch
    rdsr r9, TILE_ID
    bne r9, {tile}, end
    dld d0, src
    dld d1, dst
    dma dma0, d1, d0
end: halt
"""


def faults(expected: list[str], text: str, *options: object) -> None:
    """Assembled and run, a program faults on both executors, and changes no file."""
    path = assembled(Path("p.bin"), text)
    for executor in ("fast", "reference"):
        result = refused("", "run", path, "--executor", executor, "--json", "kept.json", *options,
                         status=1, lines=len(expected))  # fmt: skip
        for line, facts in zip(result.err.splitlines(), expected, strict=True):
            for fact in facts.split(" ... "):
                assert fact in line


def test_a_fault_names_tile_pc_instruction_and_operation() -> None:
    faults(["tile 2, dma0, pc 4: out_of_bounds: ... `dma dma0, d1, d0` of fetch"],
           BEYOND.format(tile=2))  # fmt: skip


def test_a_line_for_each_fault() -> None:
    text = BEYOND.replace("bne r9, {tile}, end", "nop")
    faults([f"tile {tile}, dma0, pc 4: out_of_bounds: ... of fetch" for tile in range(4)], text)


def test_a_deadlock() -> None:
    text = ".entry go\n    wait vpu, s3, 2\n    halt\n"
    faults([f"tile {tile}, vpu, pc 0: deadlock: ... `wait vpu, s3, 2`" for tile in range(4)], text)


def test_control_that_runs_out_of_the_code() -> None:
    text = ".entry go\n    rdsr r9, TILE_ID\n    beq r9, 0, end\n    halt\nend: nop\n"
    faults(["tile 0, ctl, pc 4: bad_pc: "], text)


def test_a_division_by_zero() -> None:
    text = ".entry go\n    rdsr r9, TILE_ID\n    bne r9, 3, end\n    remu r1, r9, 0\nend: halt\n"
    faults(["tile 3, ctl, pc 2: divide_by_zero: ... `remu r1, r9, 0`"], text, "--no-timing")


def test_an_illegal_instruction() -> None:
    assembled(Path("good.bin"), ".entry go\n    rdsr r9, TILE_ID\n    nop\n    halt\n")
    program = load("good.bin")
    program.code[1] = (0xFF, 7)
    save(program, "p.bin")
    for executor in ("fast", "reference"):
        result = refused("tile 0, ctl, pc 1: illegal_instruction: ", "run", "p.bin", "--executor",
                         executor, status=1, lines=4)  # fmt: skip
        assert result.err.count("illegal_instruction") == 4


def test_a_decoder_that_faults() -> None:
    """Its operation is named, and no text was printed before."""
    program = load(made().good)
    regions = tuple(r for r in program.regions if r.name != "embed")
    save(replace(program, regions=regions), "p.bin")
    result = emu("run", "p.bin", *TOKENS, "--json", "kept.json")
    assert (result.status, result.out) == (1, "")
    assert "out_of_bounds" in result.err
    assert " of embed" in result.err
    assert Path("kept.json").read_text() == "as it was"
