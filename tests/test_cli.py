"""The command line: what it prints, and how it refuses: one line, status 2, nothing left behind."""

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator import cli
from emulator.errors import FaultReport, ProgramFault
from isa.faults import Fault
from isa.program import Program, ProgramError, Region, RegionClass, layout, load, parse, save
from isa.program.layout import Kind
from tests.program_samples import pattern, same, sample

SOURCE = """
.chip t1-mini
.entry step
    li r1, 5
again:
    sub r1, r1, 1
    bne r1, 0, again
    halt
"""

Emu = Callable[..., tuple[int, str, str]]


@pytest.fixture
def emu(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emu:
    """Run a command in an empty directory; gives status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.run(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def refused(result: tuple[int, str, str], expected: str, lines: int = 1) -> None:
    """One line (an assembler error has its source and a caret besides), status 2, no output."""
    status, out, err = result
    assert (status, out) == (cli.EXIT_INPUT, "")
    assert err.startswith("emu: error: ")
    assert expected in err
    assert len(err.splitlines()) == lines
    assert "Traceback" not in err


def test_asm_and_disasm_are_inverse(emu: Emu, tmp_path: Path) -> None:
    Path("a.tasm").write_text(SOURCE)
    assert emu("asm", "a.tasm", "-o", "a.bin") == (0, "", "")
    assert emu("disasm", "a.bin", "-o", "b.tasm") == (0, "", "")
    assert emu("asm", "b.tasm", "-o", "b.bin") == (0, "", "")
    assert Path("a.bin").read_bytes() == Path("b.bin").read_bytes()
    status, out, _ = emu("disasm", "a.bin", "--addresses")
    assert status == 0
    assert "bne r1, 0, " in out


def test_asm_for_another_chip(emu: Emu) -> None:
    Path("a.tasm").write_text(SOURCE)
    assert emu("asm", "a.tasm", "-o", "a.bin", "--chip", "t1")[0] == 0
    assert load("a.bin").chip.name == "t1"


def test_info_says_what_is_there(emu: Emu) -> None:
    save(sample(), "p.bin")
    status, out, _ = emu("info", "p.bin")
    assert status == 0
    for fact in ("ISA 1.1", "t1-mini", "5 instructions", "step @2", "weights", "not verified",
                 "cache", "BF16 [2, 3, 4, 5, 6]", "mxfp4", "debug_index"):  # fmt: skip
        assert fact in out
    assert "all checksums are right" in emu("info", "p.bin", "--verify")[1]


def test_info_as_json(emu: Emu) -> None:
    save(sample(), "p.bin")
    status, _, _ = emu("info", "p.bin", "--json", "i.json")
    facts = json.loads(Path("i.json").read_text())
    assert status == 0
    assert (facts["schema"], facts["instructions"], facts["bytes"]) == (
        1,
        5,
        os.stat("p.bin").st_size,
    )
    assert facts["classes"] == {"weights": 4000, "kv": 8192, "tables": 5000}
    assert facts["regions"][1] == {
        "name": "kv", "class": "kv", "base": 0, "size": 8192, "writable": True, "contents": "zero"
    }  # fmt: skip
    assert json.loads(emu("info", "p.bin", "--json", "-")[1]) == facts


def test_info_of_omitted_data_and_strange_metadata(emu: Emu) -> None:
    region = Region("w", 0, 4096, RegionClass.WEIGHTS, omitted=True)
    metadata = {"a\x1b[1m": "\x1b[31m" * 50, "deep": {"er": {}}, "text": "\N{SNOWMAN}"}
    save(sample(regions=(region,), symbols=(), metadata=metadata, tokenizer=None), "p.bin")
    status, out, _ = emu("info", "p.bin")
    assert status == 0
    assert "omitted: for --timing-only" in out
    assert "\x1b" not in out


def flip(path: str, offset: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(Path(path).read_bytes())
    data[offset] ^= 16
    Path(path).write_bytes(data)


@pytest.mark.parametrize("command", ["info", "disasm"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.bin", "missing.bin: cannot be read: no such file or directory"),
        (".", ".: cannot be read: is a directory"),
        ("empty.bin", "empty.bin: the file is empty"),
        ("text.bin", "text.bin: not a Tessera program; make one"),
        ("short.bin", "short.bin: header: truncated"),
        ("cut.bin", "cut.bin: file: truncated: 5000 bytes"),
        ("long.bin", "long.bin: file: something follows its end"),
        ("header.bin", "header.bin: header: checksum mismatch"),
        ("table.bin", "table.bin: section table: checksum mismatch"),
        ("code.bin", "code.bin: section "),
    ],
)
def test_damaged_programs(emu: Emu, command: str, name: str, expected: str) -> None:
    save(sample(), "good.bin")
    good = Path("good.bin").read_bytes()
    contents = {
        "empty.bin": b"", "text.bin": b"hello\n" * 99, "short.bin": good[:50],
        "cut.bin": good[:5000], "long.bin": good + b"\0",
    }  # fmt: skip
    for file, content in contents.items():
        Path(file).write_bytes(content)
    for file, offset in (("header.bin", 30), ("table.bin", 70), ("code.bin", 1000)):
        Path(file).write_bytes(good)
        flip(file, offset)
    refused(emu(command, name), expected)


def test_damaged_data_are_found_by_verify_only(emu: Emu) -> None:
    save(sample(), "p.bin")
    flip("p.bin", 5000)
    assert emu("info", "p.bin")[0] == 0
    refused(emu("info", "p.bin", "--verify"), "p.bin: region 'weights': checksum mismatch")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".chip t1-mini\n.entry e\n    frobnicate r1\n", "bad.tasm:3:5: "),
        (".chip t1-mini\n.entry e\n    add r1, r2, r99\n", "bad.tasm:3:"),
        (".chip t1-mini\n.entry e\n    jmp nowhere\n", "bad.tasm:3:9: "),
        (".chip t9\n.entry e\n    halt\n", "bad.tasm:1:"),
        (".entry e\n    halt\n", "the chip is missing"),
    ],
)
def test_bad_assembly_has_line_and_caret(emu: Emu, text: str, expected: str) -> None:
    Path("bad.tasm").write_text(text)
    result = emu("asm", "bad.tasm", "-o", "a.bin")
    refused(result, expected, lines=3)
    assert result[2].splitlines()[2].lstrip().startswith("^")
    assert os.listdir() == ["bad.tasm"]


def test_assembly_that_is_no_text_or_not_there(emu: Emu) -> None:
    Path("bad.tasm").write_bytes(b"\xff\xfe\0")
    refused(emu("asm", "bad.tasm", "-o", "a.bin"), "bad.tasm: not UTF-8")
    refused(emu("asm", "none.tasm", "-o", "a.bin"), "none.tasm: cannot be read: no such file")
    refused(emu("asm", ".", "-o", "a.bin"), ".: cannot be read: is a directory")
    assert os.listdir() == ["bad.tasm"]


@pytest.mark.parametrize("chip", ["t2", "no.yaml", "bad.yaml"])
def test_bad_chips(emu: Emu, chip: str) -> None:
    Path("a.tasm").write_text(SOURCE)
    Path("bad.yaml").write_text("name: x\ncluters: 8\n")
    expected = {
        "t2": "t2: unknown chip; known are ",
        "no.yaml": "no.yaml: cannot be read: No such file",
        "bad.yaml": "bad.yaml: cluters: unknown key; did you mean `clusters`?",
    }[chip]
    refused(emu("asm", "a.tasm", "-o", "a.bin", "--chip", chip), expected)
    assert sorted(os.listdir()) == ["a.tasm", "bad.yaml"]


@pytest.mark.parametrize("output", ["no/dir/out", ".", "file/out", "x" * 300])
@pytest.mark.parametrize("command", ["asm", "disasm", "info"])
def test_unwritable_outputs(emu: Emu, command: str, output: str) -> None:
    Path("file").write_text("")
    Path("a.tasm").write_text(SOURCE)
    save(sample(), "p.bin")
    before = sorted(os.listdir())
    source = "a.tasm" if command == "asm" else "p.bin"
    option = "--json" if command == "info" else "-o"
    refused(emu(command, source, option, output), f"{output}: cannot be written: ")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see `emu --help`"),
        (["info"], "Missing argument 'PROGRAM'; see `emu info --help`"),
        (["info", "a", "b"], "Got unexpected extra argument (b); see `emu info --help`"),
        (["info", "a", "--json"], "Option '--json' requires an argument"),
        (["asm", "a.tasm"], "Missing option '-o'"),
        (["disasm", "--al-data", "x"], "No such option"),
        (["--frobnicate"], "No such option"),
    ],
)
def test_bad_usage(emu: Emu, arguments: list[str], expected: str) -> None:
    refused(emu(*arguments), expected)


def test_help_and_version(emu: Emu) -> None:
    for arguments in (["--help"], ["-h"], ["asm", "--help"], ["info", "-h"]):
        status, out, err = emu(*arguments)
        assert (status, err) == (0, "")
        assert out.startswith("Usage: emu")
    assert "ISA 1." in emu("--version")[1]
    status, out, err = emu()
    assert (status, out) == (2, "")
    assert err.startswith("Usage: emu")


def command(*arguments: str) -> list[str]:
    """The command line of `emu` in a process of its own."""
    return [sys.executable, "-m", "emulator.cli", *arguments]


def seconds(arguments: list[str]) -> float:
    """The processor time of a command: what it takes on a machine with nothing else to do."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(times)


def test_help_is_instant_and_imports_nothing_heavy() -> None:
    assert seconds(command("--help")) < 0.25
    script = (
        "import sys, emulator.cli as cli; cli.run(['--help'])\n"
        "print({'numpy', 'numba', 'yaml'} & set(sys.modules))"
    )
    out = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert out.splitlines()[-1] == "set()"


def test_info_of_a_large_program_is_fast(tmp_path: Path) -> None:
    """A 1 GB region, made sparse so that it takes no room."""
    path = tmp_path / "p.bin"
    region = Region("w", 0, 1 << 12, RegionClass.WEIGHTS, data=pattern(1 << 12))
    save(sample(regions=(region,), symbols=()), path)
    grown = large(path.read_bytes(), 1 << 30)
    with path.open("wb") as file:
        file.write(grown)
        file.truncate(len(grown) - (1 << 12) + (1 << 30))
    assert load(path).region("w").size == 1 << 30
    assert seconds(command("info", str(path))) < 0.5


def large(data: bytes, size: int) -> bytes:
    """The file's bytes with its last region's size changed; its data end where the file does."""
    out = bytearray(data)
    count, sections = struct.unpack_from("<I", data, 32)[0], []
    for number in range(count):
        kind, _, index, offset, length, crc, _ = layout.ENTRY.unpack_from(data, 64 + 32 * number)
        if kind == Kind.REGIONS:
            struct.pack_into("<Q", out, offset + 16, size)
            crc = zlib.crc32(out[offset : offset + length])
        if kind == Kind.DATA:
            length = size
        sections.append(layout.Section(Kind(kind), index, offset, length, crc))
    table = b"".join(section.packed() for section in sections)
    header = layout.Header(parse(data).isa, 0, len(data) - 4096 + size, count, zlib.crc32(table))
    out[: 64 + len(table)] = header.packed() + table
    return bytes(out)


def test_reader_of_our_output_may_leave() -> None:
    process = subprocess.Popen(
        command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == cli.EXIT_BROKEN_PIPE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_devices() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command("--help"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == cli.EXIT_INPUT
    assert result.stderr == "emu: error: input or output: no space left on device\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "emu: error: interrupted"),
        (ProgramError("p.bin: x"), 2, "emu: error: p.bin: x"),
        (PermissionError(13, "Permission denied", "f"), 2, "emu: error: f: permission denied"),
        (MemoryError(), 2, "emu: error: not enough memory for this program on this machine"),
    ],
    ids=["interrupt", "program", "os", "memory"],
)
def test_errors_of_commands(
    emu: Emu, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
) -> None:
    def fail(_: object) -> Program:
        raise error

    monkeypatch.setattr("isa.program.load", fail)
    assert emu("info", "p.bin") == (status, "", line + "\n")


def test_faults_are_explained_line_by_line(emu: Emu, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [
        FaultReport(3, 1, 3, Fault.OUT_OF_BOUNDS, "operand a ends at 0x1000"),
        FaultReport(0, 0, 99, Fault.BAD_PC),
    ]

    def fail(_: object) -> Program:
        raise ProgramFault(reports).of(sample())

    monkeypatch.setattr("isa.program.load", fail)
    status, _, err = emu("info", "p.bin")
    assert status == 1
    assert err.splitlines() == [
        "emu: error: tile 0, ctl, pc 99: bad_pc: control ran outside the code",
        "emu: error: tile 3, mxu, pc 3: out_of_bounds: operand a ends at 0x1000; "
        "`gemm.acc d0, d1, d2` of head",
    ]


def test_many_faults_are_cut_short(emu: Emu, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Program:
        raise ProgramFault([FaultReport(tile, 0, 0, Fault.DEADLOCK) for tile in range(64)])

    monkeypatch.setattr("isa.program.load", fail)
    status, _, err = emu("info", "p.bin")
    assert (status, len(err.splitlines())) == (1, 21)
    assert err.splitlines()[-1] == "emu: error: and 44 more lines"


def test_disassembly_of_everything_assembles_to_the_same(emu: Emu) -> None:
    save(sample(), "p.bin")
    assert emu("disasm", "p.bin", "--all-data", "-o", "p.tasm")[0] == 0
    assert emu("asm", "p.tasm", "-o", "q.bin") == (0, "", "")
    assert same(load("p.bin"), load("q.bin"))
