"""What `emu run` prints where: pipes, readers that leave, interrupts, terminals."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from emulator import status
from emulator.status import Status
from tests.cli_runs import (
    PROMPT,
    TOKENS,
    assembled,
    files,
    generated,
    made,
)

NUMBERS = ("--tokens", ",".join(map(str, TOKENS)))
EMU = [sys.executable, "-c", "from emulator.cli import main; main()"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_output_can_be_piped() -> None:
    wanted = ["run", str(made().good), "--prompt", PROMPT, "--max-new-tokens", "4", "--quiet"]
    process = subprocess.run([*EMU, *wanted], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    expected = generated(made().good, "--prompt", PROMPT, "--max-new-tokens", 4)["text"]
    assert process.stdout == f"{PROMPT}{expected}\n"


def test_a_reader_may_leave() -> None:
    process = subprocess.Popen(
        [*EMU, "run", str(made().good), *NUMBERS, "--no-timing", "--json", "r.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (141, b"")
    assert files(Path()) == {}


LOUD = """
from emulator.cli import main
from emulator.fast.machine import FastMachine
ring = FastMachine.ring
def loud(*arguments):
    print("ready", flush=True)
    ring(*arguments)
FastMachine.ring = loud
main()
"""


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_an_interrupt_ends_even_an_endless_program(executor: str) -> None:
    path = assembled(Path("p.bin"), ".region io 0 64 io\n.symbol x io fp32[2] out\n"
                     ".entry e\nagain: jmp again\n")  # fmt: skip
    Path("r.json").write_text("old")
    before = files(Path())
    script = LOUD if executor == "fast" else LOUD.replace("fast", "reference").replace(
        "FastMachine", "ReferenceMachine")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", script, "run", str(path), "--executor", executor, "--no-timing",
         "--json", "r.json", "--output", "x=x.npy"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "emu: error: interrupted\n")
    assert files(Path()) == before


def test_status_is_for_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "_PATIENCE", 0.0)
    with Status("working"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Status("working") as line:
        time.sleep(0.2)
        line.say("still working")
        time.sleep(0.2 + status._PERIOD)
    shown = capsys.readouterr().err
    assert "working, 0 s" in shown
    assert "still working, " in shown
    assert shown.endswith("\r\033[K")


def test_text_and_status_share_a_terminal() -> None:
    """Once text is written to the terminal, nothing else is."""
    ours, theirs = pty.openpty()
    script = (
        "from emulator import cli, status\nstatus._PATIENCE = 0.0\nstatus._PERIOD = 0.01\n"
        "cli.main()"
    )
    wanted = ["run", str(made().good), "--prompt", PROMPT, "--max-new-tokens", "3", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *wanted], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(_chunks(ours)).decode()
    os.close(ours)
    assert process.returncode == 0
    text = generated(made().good, "--prompt", PROMPT, "--max-new-tokens", 3)["text"]
    before, _, after = shown.rpartition("\033[K")
    assert after == f"{PROMPT}{text}\r\n"
    assert "preparing the emulator, 0 s" in before


def _chunks(terminal: int) -> Any:
    """What a terminal shows, until nobody writes to it any more."""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return
        if not chunk:
            return
        yield chunk
