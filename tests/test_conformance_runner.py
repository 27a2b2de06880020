"""The kit's runner: devices that do everything wrong, and runners that are killed."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from cli_runs import emu
from conformance_kits import make_device, make_kit, start, verdicts

from emulator.conformance.running.children import Job, Pool

BAD = [
    "right", "wrong", "hang", "late", "segv", "three", "strange", "chatty", "garbage", "short",
    "nothing", "endless", "sparse", "directory", "fifo", "locked", "orphan", "unsupported",
]  # fmt: skip
MANY = 24


@pytest.fixture(scope="module")
def bad_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("bad") / "kit", [f"vpu/vadd/{what}" for what in BAD])


@pytest.fixture(scope="module")
def slow_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"sync/wait/slow-{number}" for number in range(MANY)]
    return make_kit(tmp_path_factory.mktemp("slow") / "kit", names)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_devices_with_bad_habits(bad_kit: Path, tmp_path: Path) -> None:
    device, log = make_device(tmp_path)
    outputs = {name: tmp_path / f"report.{name}" for name in ("json", "junit", "html")}
    state = tmp_path / "state.jsonl"
    options = [f"--{name}={path}" for name, path in outputs.items()]
    begin = time.monotonic()
    result = emu("conformance", "run", "--dut", device, "--kit", bad_kit, "--jobs", 4,
                 "--time-limit", 1, "--state", state, *options)  # fmt: skip
    assert result.status == 1 and result.err == ""
    assert time.monotonic() - begin < 8

    found = verdicts(outputs["json"])
    expected = dict.fromkeys(BAD, "crashed") | dict.fromkeys(("hang", "late"), "timed out")
    expected |= dict.fromkeys(("wrong", "garbage", "short"), "fail")
    expected |= dict.fromkeys(("right", "chatty", "locked", "orphan"), "pass")
    expected["unsupported"] = "unsupported"
    assert {name: case["verdict"] for name, case in found.items()} == expected

    assert found["hang"]["detail"] == "not done after 1 s"
    assert found["segv"]["detail"] == "killed by SIGSEGV"
    assert found["three"]["detail"] == "exit status 3: nothing works"
    assert found["unsupported"]["detail"] == "no vector unit"
    assert found["nothing"]["detail"] == "exit status 0, but there is no result file"
    assert found["directory"]["detail"] == "the result is no regular file"
    assert found["fifo"]["detail"] == "the result is no regular file"
    assert str(found["garbage"]["detail"]).startswith("result file: line 1: not `tessera-result 1`")
    assert "line 4: " in str(found["short"]["detail"])
    assert "y[0, 0] is FP32 0x40400000 (3, " in str(found["wrong"]["detail"])
    assert len(str(found["chatty"]["output"])) < 20_000
    assert "... 29" in str(found["chatty"]["output"])

    # Nothing stays: no process, no file.
    assert is_gone(int(Path(f"{log}.orphan").read_text()))
    assert not state.with_name("state.jsonl.tmp").exists()
    assert sorted(log.read_text().split()) == sorted(f"vpu/vadd/{what}" for what in BAD)


def test_unsupported_can_be_allowed(bad_kit: Path, tmp_path: Path) -> None:
    device, _ = make_device(tmp_path)
    options = ("run", "--dut", device, "--kit", bad_kit, "--state", tmp_path / "s",
               "--case", "*/right", "--case", "*/unsupported")  # fmt: skip
    result = emu("conformance", *options)
    assert result.status == 1
    assert "unsupported: vpu/vadd/unsupported: no vector unit\n" in result.out
    assert emu("conformance", *options, "--allow-unsupported").status == 0


def test_a_pool_is_idle_while_a_job_runs() -> None:
    """So somebody can tell the time while nothing ends."""
    calls: list[None] = []
    jobs = [Job("sleep", lambda: time.sleep(0.2) or 0, 5)]
    assert [end.status for _, end in Pool(1, lambda: calls.append(None)).run(jobs)] == [0]
    assert len(calls) > 3


def test_a_killed_run_goes_on(slow_kit: Path, tmp_path: Path) -> None:
    device, log = make_device(tmp_path)
    state = tmp_path / "state.jsonl"
    command = ("run", "--dut", device, "--kit", slow_kit, "--jobs", 2, "--state", state)
    runner = start(*command)
    try:
        while not state.exists() or state.read_bytes().count(b"\n") < 7:
            assert runner.poll() is None
            time.sleep(0.005)
    finally:
        runner.kill()
        runner.communicate()
    done = [json.loads(line)["case"] for line in complete_lines(state)[1:]]
    assert 6 <= len(done) < MANY
    with state.open("ab") as file:
        file.write(b'{"case": "sync/wait/slow-1", "sta')  # as if it had been killed in a write

    report = tmp_path / "report.json"
    again = start(*command, "--json", report)
    out, err = again.communicate(timeout=30)
    assert (again.returncode, err) == (0, ""), out
    assert f"{len(done)} were done by an earlier run" in out
    data = json.loads(report.read_text())
    assert data["resumed"] == len(done) and data["totals"]["pass"] == MANY
    calls = log.read_text().split()
    assert all(calls.count(name) == 1 for name in done)
    assert len(set(calls)) == MANY and len(calls) <= MANY + 2  # those that were under way

    # It came to its end: the next one begins anew, unless it is told not to.
    log.write_text("")
    assert emu("conformance", *command, "--resume").status == 0
    assert log.read_text() == ""
    assert emu("conformance", *command, "--case", "*-3").status == 0
    assert log.read_text() == "sync/wait/slow-3\n"


def complete_lines(state: Path) -> list[bytes]:
    return [line for line in state.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_what_is_done(
    slow_kit: Path, tmp_path: Path, number: signal.Signals
) -> None:
    device, _ = make_device(tmp_path)
    state = tmp_path / "state.jsonl"
    runner = start("run", "--dut", device, "--kit", slow_kit, "--jobs", 2, "--state", state)
    while not state.exists() or state.read_bytes().count(b"\n") < 4:
        time.sleep(0.005)
    runner.send_signal(number)
    out, err = runner.communicate(timeout=10)
    assert (runner.returncode, err) == (130, "")
    assert "the same command goes on" in out
    assert not state.with_name("state.jsonl.tmp").exists()


def test_a_changed_device_runs_everything(slow_kit: Path, tmp_path: Path) -> None:
    device, log = make_device(tmp_path)
    command = ("run", "--dut", device, "--kit", slow_kit, "--state", tmp_path / "s", "--resume",
               "--case", "*-1")  # fmt: skip
    assert emu("conformance", *command).status == 0
    with (tmp_path / "device.sh").open("a") as file:
        file.write("exit 0\n")
    result = emu("conformance", *command)
    assert result.status == 0 and "device.sh has changed since the earlier run" in result.out
    assert emu("conformance", *command).out.count("has changed") == 0
    assert log.read_text().split() == ["sync/wait/slow-1"] * 2


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_built_in_devices(bad_kit: Path, tmp_path: Path, executor: str) -> None:
    report = tmp_path / "report.json"
    process = start("run", "--dut", executor, "--kit", bad_kit, "--state", tmp_path / "s",
                    "--case", "*/s*", "--jobs", 2, "--json", report)  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert all(case["verdict"] == "pass" for case in verdicts(report).values())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--dut", ""], "--dut: is empty"),
        (["--dut", "no-such-command-at-all"], "'no-such-command-at-all' is no command"),
        (["--dut", "cat {program}"], "--dut: has {program} but not {output}"),
        (["--dut", "cat 'x"], "--dut: no closing quotation"),
        (["--dut", "cat", "--profile", "gpu"], "profile 'gpu' is none of mxu, "),
        (["--dut", "cat", "--case", "none/*"], "no case matches --case 'none/*'"),
        (["--dut", "cat", "--kit", "nowhere"], "nowhere: is no directory"),
        (["--dut", "cat", "--kit", "{tmp}"], "has no manifest.json"),
        (["--dut", "cat", "--jobs", "0"], "0 is not in the range"),
        (["--dut", "cat", "--time-limit", "0"], "0.0 is not in the range"),
        (["--dut", "cat", "--html", "{tmp}"], "cannot be written: it is a directory"),
        (["--dut", "cat", "--state", "{tmp}/other"], "is no journal of a run"),
        (["--dut", "cat", "--state", "{tmp}/other/x"], "cannot be written"),
        ([], "Missing option '--dut'"),
    ],
)
def test_bad_usage(bad_kit: Path, tmp_path: Path, options: list[str], problem: str) -> None:
    (tmp_path / "other").write_text("precious\n")
    given = [option.replace("{tmp}", str(tmp_path)) for option in options]
    kit = [] if "--kit" in given else ["--kit", bad_kit]
    result = emu("conformance", "run", *kit, *given)
    assert (result.status, result.out) == (2, "")
    assert result.err.count("\n") == 1 and problem in result.err
    assert (tmp_path / "other").read_text() == "precious\n"


def test_a_journal_has_one_user(slow_kit: Path, tmp_path: Path) -> None:
    device, _ = make_device(tmp_path)
    state = tmp_path / "state.jsonl"
    command = ("run", "--dut", device, "--kit", slow_kit, "--state", state)
    runner = start(*command, "--jobs", 1)
    try:
        while not state.exists() or state.read_bytes().count(b"\n") < 2:
            time.sleep(0.005)
        result = emu("conformance", *command)
        assert result.status == 2 and "another run is using it" in result.err
    finally:
        os.kill(runner.pid, signal.SIGKILL)
        runner.communicate()
