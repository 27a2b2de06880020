"""The reference document is current, complete and true to encoder and assembler."""

import json
import re
from pathlib import Path

import pytest

from isa.assembler import assemble
from isa.chip import load_chip
from isa.codec import decode, encode, instruction_hash
from isa.doc_instructions import GROUPS, TIMING_CLASSES, WRITTEN, group_of
from isa.doc_numerics import EXP2
from isa.document import BY_HAND, main, pages, stale
from isa.faults import Fault
from isa.spec import BY_MNEMONIC, INSTRUCTIONS
from isa.spec.model import Instruction, Kind

DOCS = Path(__file__).parent.parent / "docs"
MINI = load_chip("t1-mini")
PAGES = pages()


def test_the_document_is_current() -> None:
    assert stale(DOCS / "isa") == [], "run: python -m isa.document docs/isa"


@pytest.mark.parametrize("entry", INSTRUCTIONS, ids=lambda entry: entry.mnemonic)
def test_every_instruction_is_specified_in_full(entry: Instruction) -> None:
    assert entry.summary.endswith(".") and entry.summary[0].isupper()
    assert entry.meaning.strip()
    assert entry.timing in TIMING_CLASSES
    assert re.fullmatch(r"\d+\.\d+", entry.since)
    assert all(operand.role for operand in entry.operands)
    assert all(flag.role for flag in entry.flags)
    assert {fault.upper() for fault in entry.faults} <= set(Fault.__members__)
    names = [operand.name for operand in entry.operands]
    assert len(set(names)) == len(names)
    assert sum(entry in group.instructions for group in GROUPS) == 1
    assert f"\n## {entry.mnemonic}\n" in PAGES[group_of(entry).file]


def test_opcodes_and_mnemonics_are_unique() -> None:
    assert len({entry.opcode for entry in INSTRUCTIONS}) == len(INSTRUCTIONS) == len(BY_MNEMONIC)


def test_tables_have_no_idle_rows() -> None:
    assert set(TIMING_CLASSES) == {entry.timing for entry in INSTRUCTIONS}
    assert set(WRITTEN) == set(Kind)


@pytest.mark.parametrize("entry", INSTRUCTIONS, ids=lambda entry: entry.mnemonic)
def test_examples_assemble(entry: Instruction) -> None:
    section = PAGES[group_of(entry).file].split(f"\n## {entry.mnemonic}\n")[1]
    lines = section.split("```")[1].strip().split("\n")
    assert lines[0].startswith(entry.mnemonic)
    for line in lines[1:]:
        code = assemble(f"label: {line}", chip=MINI).code
        assert decode(*code[0]).entry is entry


def test_encodings_cover_every_bit_once() -> None:
    for group in GROUPS:
        for table in re.findall(r"\| Bits \| Field.*?\n\n", PAGES[group.file] + "\n", re.S):
            ranges = re.findall(r"^\| (\d+)(?::(\d+))? \|", table, re.M)
            bits = [bit for hi, lo in ranges for bit in range(int(lo or hi), int(hi) + 1)]
            assert bits == list(range(128))


def test_links_lead_somewhere() -> None:
    texts = PAGES | {name: (DOCS / "isa" / name).read_text() for name in BY_HAND}
    for name, text in texts.items():
        for target in re.findall(r"\]\(([^)]+)\)", text) if name.endswith(".md") else ():
            file, _, anchor = target.partition("#")
            if file.startswith("../"):
                assert (DOCS / file[3:]).is_file(), target
                continue
            heads = re.findall(r"^#+ (.*)$", texts[file or name], re.M)
            anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert not anchor or anchor in anchors, f"{name}: {target}"


def test_export_agrees_with_the_codec() -> None:
    data = json.loads(PAGES["isa.json"])
    assert data["schema"] == 1
    by_name = {entry["mnemonic"]: entry for entry in data["instructions"]}
    assert set(by_name) == set(BY_MNEMONIC)
    for name, entry in by_name.items():
        assert bytes.fromhex(entry["hash"]) == instruction_hash(BY_MNEMONIC[name])
    lo, hi = encode("gemm.acc", acc=31, a=31, w=31, bounds=31, k0=(31, -1))
    used = int(by_name["gemm"]["forms"][0]["used_bits"], 16)
    assert (lo | hi << 64) & ~used == 0


def test_coefficients_are_those_of_the_specification() -> None:
    words = " ".join(f"{bits:08x}" for bits in EXP2)
    assert words in " ".join(BY_MNEMONIC["vexp2"].meaning.split())


def test_check_tells_what_is_not_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "isa"
    assert main([str(folder), "--check"]) == 1
    assert main([str(folder)]) == 0
    for name in BY_HAND:
        (folder / name).write_text("by hand")
    assert main([str(folder), "--check"]) == 0
    capsys.readouterr()
    (folder / "sync.md").write_text("x")
    (folder / "faults.md").unlink()
    (folder / "other.md").write_text("")
    (folder / "machine.md").unlink()
    assert main([str(folder), "--check"]) == 1
    problems = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0].rsplit("/")[-1] for line in problems] == [
        "sync.md", "faults.md", "machine.md", "other.md",
    ]  # fmt: skip


def test_an_unwritable_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file" / "isa")]) == 2
    assert "cannot be made" in capsys.readouterr().err
