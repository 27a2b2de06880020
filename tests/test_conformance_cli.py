"""`emu conformance vectors` and `check`, and the help of all its commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import emu

from emulator.conformance import streams
from emulator.conformance.folder import wanted_name
from emulator.conformance.kit import makers

EMU = f"{sys.executable} -m emulator.cli conformance"
OP = "vadd_i32"
COMMANDS = ["", "run", "export", "list", "vectors", "check"]
README = Path(__file__).parents[1] / "README.md"
GUIDE = README.parent / "docs" / "conformance.md"

#: Adds integers; other units do something wrong.
UNIT = """
import sys
for line in sys.stdin:
    a, b = (int(word, 16) for word in line.split())
    print(line.rstrip("\\n"), f"{a + b & 0xFFFFFFFF:08x}")
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_examples(command: str) -> None:
    result = emu("conformance", *command.split(), "--help")
    example = f"emu conformance {command}".rstrip()
    assert result.status == 0
    assert f"  {example} " in result.out or f"| {example} " in result.out


def examples() -> list[str]:
    """What help and guides say to type; a line that ends in a backslash goes on."""
    texts = [emu("conformance", *command.split(), "--help").out for command in COMMANDS]
    texts += [README.read_text(), GUIDE.read_text()]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    return [line for line in lines if "emu conformance" in line or "--case" in line]


def test_examples_match_something() -> None:
    """Patterns of cases match cases, profiles and operations exist."""
    names, count = [maker.name for maker in makers(full=True)], 0
    for line in examples():
        profile = re.search("--profile ([a-z]+)", line)
        for glob in re.findall("--case '?([^' `;]*/[^' `;]*|[^' `;]*[*][^' `;]*)", line):
            count += 1
            found = [name for name in names if wanted_name(name, [glob])]
            wanted = profile and profile[1]
            assert [name for name in found if not wanted or name.startswith(f"{wanted}/")], line
        for op in re.findall("conformance (?:vectors|check) ([a-z]+_[a-z0-9_]+)", line):
            count += 1
            assert op in streams.operations(), line
    assert count > 8


def test_readme_says_how_many_cases_there_are() -> None:
    """It says `over N00`, so that it need not change with each new case."""
    found = re.search(r"over (\d+)\s+programs", README.read_text())
    assert found and 0 < len(makers()) - int(found[1]) < 200


def test_operations_are_listed() -> None:
    out = emu("conformance", "vectors").out
    assert out.splitlines() == streams.catalogue()
    shown = emu("conformance", "vectors", "--help").out
    shown = [" ".join(line.split()) for line in shown.splitlines() if "->" in line]
    listed = [" ".join(line.split()) for line in streams.catalogue()]
    assert len(shown) > 2 and all(line in listed for line in shown if ":" in line)


def test_vectors_come_again_and_have_results_if_asked() -> None:
    first = emu("conformance", "vectors", OP, "--count", 50, "--seed", 3)
    assert first.out == emu("conformance", "vectors", OP, "--count", 50, "--seed", 3).out
    assert first.out.splitlines() == list(streams.operands(OP, 50, 3))
    results = emu("conformance", "vectors", OP, "--count", 50, "--seed", 3, "--results")
    assert results.out.splitlines() == list(streams.vectors(OP, 50, 3))


@pytest.fixture
def unit(tmp_path: Path) -> str:
    (tmp_path / "unit.py").write_text(UNIT)
    return f"{sys.executable} {tmp_path / 'unit.py'}"


def test_a_unit_is_checked_through_pipes(unit: str) -> None:
    given, check = f"{EMU} vectors {OP} --count 40", f"{EMU} check {OP} --count 40"
    done = shell(f"{given} | {unit} | {check}")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{OP}: 40 of 40 are right\n", "")
    flip = r"sed '3s/.$/x/;3y/0123456789abcdefx/1032547698badcfe7/'"
    done = shell(f"{given} | {unit} | {flip} | {check}")
    assert done.returncode == 1 and done.stdout.endswith(f"{OP}: 39 of 40 are right\n")


def test_a_unit_cannot_pass_by_copying_or_by_leaving(unit: str) -> None:
    given, check = f"{EMU} vectors {OP} --count 40", f"{EMU} check {OP} --count 40"
    done = shell(f"{given} | cat | {check}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 1: 2 fields, not 3: the result is missing" in done.stderr
    done = shell(f"{given} | {unit} | head -n 10 | {check}")
    assert (done.returncode, done.stdout) == (1, f"{OP}: 10 of 40 are right; 30 did not come\n")
    done = shell(f"{given} | {unit} | {EMU} check {OP}")
    assert done.returncode == 1
    assert shell(f"{given} | head -n 7 | {unit} | {EMU} check {OP} --any --count 7").returncode == 0
    assert shell(f"{given} --seed 1 | {unit} | {check}").returncode == 1


def test_no_vectors_are_not_right() -> None:
    assert shell(f"{EMU} check {OP} </dev/null").returncode == 1


def test_whoever_reads_may_leave() -> None:
    done = shell(f"{EMU} vectors {OP} --count 100000 | head -n 1")
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize("command", ["vectors", "check"])
def test_unknown_operations(command: str) -> None:
    result = emu("conformance", command, "vfrob")
    assert result.status == 2 and result.err.count("\n") == 1 and "'vfrob'" in result.err


def shell(text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(text, shell=True, capture_output=True, text=True, check=False, timeout=60)
