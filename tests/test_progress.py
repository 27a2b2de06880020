"""Progress where there is no terminal: a line a minute, by a clock of the test's."""

import itertools
from functools import partial
from pathlib import Path

import pytest
from conformance_kits import make_device, make_kit

from emulator.conformance.folder import open_folder
from emulator.conformance.running import runner
from emulator.conformance.running.devices import find_device
from emulator.progress import progress


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("running 300 cases", 300, log=True, clock=clock) as advance:
        for _ in range(40):  # 10 s, 5 cases each
            clock.now += 10
            advance(5)
            for _ in range(100):
                advance(0)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 6
    assert lines[0] == "running 300 cases: 30 of 300, 9:00 left"
    assert lines[-1] == "running 300 cases: 180 of 300, 4:00 left"


def test_what_was_there_already_is_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("exploring", 135, log=True, clock=clock) as advance:
        advance(90)
        for _ in range(3):
            clock.now += 30
            advance(5)
    assert capsys.readouterr().err == "exploring: 100 of 135, 3:30 left\n"


def test_time_passes_while_nothing_ends(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("running 2 cases", 2, log=True, clock=clock) as advance:
        for _ in range(13):
            clock.now += 10
            advance(0)
    assert capsys.readouterr().err == "running 2 cases: 0 of 2\n" * 2


def test_short_work_and_other_work_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for log, seconds in ((True, 59), (False, 500)):
        clock = Clock()
        with progress("verifying", 10, log=log, clock=clock) as advance:
            clock.now += seconds
            advance(10)
    assert capsys.readouterr().err == ""


def test_a_run_of_the_kit_writes_such_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute passes at each look at the clock; with --quiet nobody wants to know."""
    kit = make_kit(tmp_path / "kit", ["vpu/right"])
    device, _ = make_device(tmp_path)
    clock = itertools.count(0, 61)
    monkeypatch.setattr(runner, "progress", partial(progress, clock=lambda: next(clock)))
    folder = open_folder(kit)
    for log in (True, False):
        settings = runner.Settings(tmp_path / "state", log=log)
        runner.run_kit(folder, list(folder.entries), find_device(device), settings)
        assert bool(capsys.readouterr().err.count("running 1 cases: 1 of 1")) is log
