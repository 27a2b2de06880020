"""`emu conformance vectors` and `check`, and the help of all its commands."""

import subprocess
import sys

import pytest
from cli_runs import emu

from emulator.conformance import streams

EMU = f"{sys.executable} -m emulator.cli conformance"
OP = "vadd_fp32"


@pytest.mark.parametrize("command", ["", "run", "export", "list", "vectors", "check"])
def test_help_teaches_by_examples(command: str) -> None:
    result = emu("conformance", *command.split(), "--help")
    example = f"emu conformance {command}".rstrip()
    assert result.status == 0
    assert f"  {example} " in result.out or f"| {example} " in result.out


def test_operations_are_listed() -> None:
    assert emu("conformance", "vectors").out.split() == streams.operations()


def test_vectors_come_again_and_are_right() -> None:
    first = emu("conformance", "vectors", OP, "--count", 50, "--seed", 3)
    assert first.out == emu("conformance", "vectors", OP, "--count", 50, "--seed", 3).out
    assert first.out.count("\n") == 50


def test_a_unit_is_checked_through_pipes() -> None:
    done = shell(f"{EMU} vectors {OP} --count 40 | {EMU} check {OP}")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{OP}: 40 of 40 are right\n", "")
    flip = r"sed '3s/.$/x/;3y/0123456789abcdefx/1032547698badcfe7/'"
    done = shell(f"{EMU} vectors {OP} --count 40 | {flip} | {EMU} check {OP}")
    assert done.returncode == 1 and done.stdout.endswith(f"{OP}: 39 of 40 are right\n")


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
