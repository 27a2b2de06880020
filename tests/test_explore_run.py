"""`emu explore` from end to end: rows, what is stored, what a kill leaves, comparisons."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Result, done, emu
from explore_runs import CONFIG, STUDY, here, write_study  # noqa: F401

from emulator.explore import run as running
from emulator.explore import simulate, store
from emulator.explore.export import CSV, META
from emulator.explore.metrics import LESS, MORE
from emulator.explore.reader import load_study
from emulator.explore.rows import Row
from emulator.explore.sampling import sampled
from emulator.explore.study import Objective
from emulator.explore.summary import front

pytestmark = pytest.mark.usefixtures("here")


def rows(folder: Path) -> list[dict[str, str]]:
    """What was exported."""
    with (folder / CSV).open(newline="") as file:
        return list(csv.DictReader(file))


def stored(folder: Path) -> dict[str, str]:
    """Key -> when and where it was timed."""
    with sqlite3.connect(folder / store.FILE) as database:
        return dict(database.execute("SELECT key, host || written || seconds FROM results"))


def explore(path: Path, folder: Path, *options: object) -> Result:
    """Run a study that succeeds."""
    return done("explore", path, "-o", folder, *options)


def test_a_study_from_end_to_end(tmp_path: Path) -> None:
    path, folder = write_study(tmp_path), tmp_path / "r"
    assert "small: 4 points: 4 to be timed, 0 stored" in done("explore", path, "--dry-run").out
    result = explore(path, folder)
    assert "4 points timed, 0 from" in result.out and "4 points: 4 good" in result.out
    assert "Pareto front of less tpot, more tokens_per_s_chip" in result.out
    found = rows(folder)
    assert [row["key"] for row in found] == sorted(row["key"] for row in found)
    assert {(row["hbm.bytes_per_second"], row["batch"]) for row in found} == {
        (rate, batch) for rate in ("50000000000.0", "100000000000.0") for batch in ("1", "3")
    }
    for row in found:
        assert row["status"] == "ok" and float(row["tpot"]) > 0
        batch, tpot = int(row["batch"]), float(row["tpot"])
        assert float(row["tokens_per_s_chip"]) == pytest.approx(batch / tpot)
        assert float(row["prefill_tokens_per_s"]) == pytest.approx(batch * 40 / float(row["ttft"]))
    meta = json.loads((folder / META).read_text())
    assert meta["schema"] == 1 and meta["points"] == 4 and meta["varied"][-1] == "batch"


def test_what_is_stored_is_not_timed_again(tmp_path: Path) -> None:
    path, folder = write_study(tmp_path), tmp_path / "r"
    explore(path, folder)
    first, before = (folder / CSV).read_bytes(), stored(folder)
    result = explore(path, folder)
    assert "0 points timed, 4 from" in result.out
    assert (folder / CSV).read_bytes() == first and stored(folder) == before
    # Other metrics, constraints and names cost nothing; another batch is one of two to be timed.
    changed = write_study(
        tmp_path, name="other", metrics=["hbm_needed_bytes"], constraints=["tpot < 1 s"]
    )
    assert "0 points timed, 4 from" in explore(changed, folder).out
    wider = write_study(tmp_path, axes={"hbm.bytes_per_second": ["100 GB/s"], "batch": [3, 4]})
    assert "1 points timed, 1 from" in explore(wider, folder).out
    assert "1 points timed" not in done("explore", wider, "-o", folder, "--dry-run").out
    assert "0 to be timed, 2 stored" in done("explore", wider, "-o", folder, "--dry-run").out


def test_points_that_cannot_be_are_rows_with_their_reason(tmp_path: Path) -> None:
    axes = {"batch": [1, 2, 24], "mesh.columns": [2, 1], "hbm.bytes": ["512 KiB", "1 GiB"]}
    path = write_study(
        tmp_path,
        axes=axes,
        constraints=["batch * context <= 1000", "tpot <= 10 us"],
        define={"cost": "tpot * 2"},
    )
    folder = tmp_path / "r"
    result = explore(path, folder)
    found = {(row["batch"], row["mesh.columns"], row["hbm.bytes"]): row for row in rows(folder)}
    assert len(found) == 12
    statuses = {key: (row["status"], row["reason"]) for key, row in found.items()}
    small, large = str(512 << 10), str(1 << 30)
    assert statuses["1", "2", small][0] == "invalid"
    assert "does not fit t1-mini" in statuses["1", "2", small][1]
    assert statuses["1", "1", large] == (
        "invalid", "t1-mini with changes: mesh: 4 tiles do not fit on 2 routers "
        "(at most 4096 tiles)",
    )  # fmt: skip
    assert statuses["2", "2", large] == ("violates", "tpot <= 10 us")
    assert float(found["2", "2", large]["tpot"]) > 1e-5
    assert float(found["2", "2", large]["cost"]) == 2 * float(found["2", "2", large]["tpot"])
    assert statuses["24", "2", large] == ("violates", "batch * context <= 1000")
    assert found["24", "2", large]["tpot"] == ""
    assert "8 invalid" in result.out and "x invalid: t1-mini with changes" in result.out


def test_a_batch_beyond_the_rows_of_a_step_is_a_reason(tmp_path: Path) -> None:
    path = write_study(tmp_path, axes={"batch": [24]}, workloads=["decode"])
    explore(path, tmp_path / "r")
    (row,) = rows(tmp_path / "r")
    assert row["status"] == "invalid" and "24 tokens do not fit a step of 16 rows" in row["reason"]


def test_a_defect_of_ours_is_a_row_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = write_study(tmp_path, axes={"batch": [1, 2]}), tmp_path / "r"

    def broken(simulator: Any, wanted: dict[str, Any]) -> None:
        raise ZeroDivisionError(f"batch {wanted['batch']}")

    with monkeypatch.context() as patch:
        patch.setattr("emulator.explore.phases.phase", broken)
        result = emu("explore", path, "-o", folder)
    assert result.status == 1 and result.err.count("\n") == 1
    assert "2 of 2 points failed" in result.err and "ZeroDivisionError: batch" in result.err
    assert {row["status"] for row in rows(folder)} == {"error"}
    assert "2 points timed, 0 from" in explore(path, folder).out


def test_requests(tmp_path: Path) -> None:
    path = write_study(
        tmp_path,
        workloads="request",
        fixed={"prompt": 40, "rows": 16, "batch": 2},
        axes={"output": [1, 9], "prefill_samples": [1, "all"]},
        metrics=["ttft", "tpot", "request_s", "request_tokens_per_s_chip"],
        objectives=None,
    )
    explore(path, tmp_path / "r")
    found = {(row["output"], row["prefill_samples"]): row for row in rows(tmp_path / "r")}
    for (output, samples), row in found.items():
        first, whole = float(row["ttft"]), float(row["request_s"])
        later = float(row["tpot"]) * (int(output) - 1) if row["tpot"] else 0.0
        assert whole == pytest.approx(first + later)
        assert float(row["request_tokens_per_s_chip"]) == pytest.approx(2 * int(output) / whole)
        assert ("prefill steps" in row["note"]) == (samples == "1")
        assert ("generate steps" in row["note"]) == (output == "9")


def test_lists_and_random_choices(tmp_path: Path) -> None:
    points = [{"batch": 1}, {"batch": 2, "hbm.bytes_per_second": "70 GB/s"}, {"batch": 1}]
    path = write_study(tmp_path, axes=None, sampling={"kind": "list", "points": points})
    explore(path, tmp_path / "r")
    own = load_study(path).points.point({"chip": "t1-mini", "model": "config.json"}).chip
    assert own is not None
    assert sorted((row["batch"], row["hbm.bytes_per_second"]) for row in rows(tmp_path / "r")) == [
        ("1", str(own["hbm"]["bytes_per_second"])), ("2", "70000000000.0"),
    ]  # fmt: skip
    axes = {"batch": list(range(1, 11)), "context": list(range(1, 101))}
    for n, expected in ((7, 7), (400, 400), (5000, 1000)):
        path = write_study(
            tmp_path, axes=axes, fixed={}, sampling={"kind": "random", "n": n, "seed": 3}
        )
        chosen = [(values["batch"], values["context"]) for values in sampled(load_study(path))]
        assert len(set(chosen)) == len(chosen) == expected
        again = [(values["batch"], values["context"]) for values in sampled(load_study(path))]
        assert again == chosen


def test_chips_and_models_are_axes(tmp_path: Path) -> None:
    chip = Path("isa/chips/t1-mini.yaml").read_text().replace("name: t1-mini", "name: mine")
    write_study(tmp_path)
    (tmp_path / "mine.yaml").write_text(chip.replace("clock_hz: 2.4e9", "clock_hz: 1.2e9"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 3}))
    path = write_study(
        tmp_path, chip=["t1-mini", "mine.yaml"], model=["config.json", "deep"],
        axes=None, workloads=["decode"], objectives=["tpot"],
    )  # fmt: skip
    explore(path, tmp_path / "r")
    found = {(row["chip"], row["model"]): float(row["tpot"]) for row in rows(tmp_path / "r")}
    assert len(found) == 4
    assert found["mine.yaml", "deep"] > found["t1-mini", "deep"] > found["t1-mini", "config.json"]


# ---- comparisons


def test_what_changed_between_two_runs(tmp_path: Path) -> None:
    path = write_study(tmp_path, constraints=["tpot < 1 s"])
    explore(path, tmp_path / "a")
    same = done("explore", "--compare", tmp_path / "a", tmp_path / "a").out
    assert "4 points in both, 0 only in" in same and "tpot: the same in all 4 points" in same
    axes = {"hbm.bytes_per_second": ["50 GB/s", "200 GB/s"], "batch": [1, 3]}
    fixed = {"prompt": 40, "context": 100, "rows": 16, "weights": "bf16"}
    other = write_study(tmp_path, axes=axes, fixed=fixed, constraints=["batch < 2"])
    explore(other, tmp_path / "b")
    out = done("explore", "--compare", tmp_path / "a", tmp_path / "b").out
    assert "weights: mxfp4 -> bf16" in out
    assert "2 points in both, 2 only in" in out and "1 points ended otherwise" in out
    assert "tpot: 1 of 1 points changed, median +" in out and "batch < 2" in out


def test_a_comparison_with_what_is_no_result(tmp_path: Path) -> None:
    explore(write_study(tmp_path), tmp_path / "a")
    (tmp_path / "b").mkdir()
    for content in (b"{}", b"[]", b"\xff", b'{"schema": 2, "inputs": [], "metrics": []}'):
        (tmp_path / "b" / META).write_bytes(content)
        (tmp_path / "b" / CSV).write_bytes(b"key\n1\n")
        result = emu("explore", "--compare", tmp_path / "a", tmp_path / "b")
        assert result.status == 2 and result.err.count("\n") == 1, result


# ---- nothing is lost


def _until(moment: int) -> None:
    """Kill this process, and all hope, after so many calls and returns of Python functions."""
    left = moment

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _calls(path: Path, folder: Path) -> int:
    """How many calls and returns a whole run takes."""
    found = 0

    def count(*_: object) -> None:
        nonlocal found
        found += 1

    simulate._programs.clear()
    simulate._steps.clear()
    sys.setprofile(count)
    try:
        explore(path, folder)
    finally:
        sys.setprofile(None)
    return found


def _killed(path: Path, folder: Path, moment: int) -> bool:
    """Whether a run in a child process was killed before its end, at a moment."""
    child = os.fork()
    if child == 0:
        simulate._programs.clear()
        simulate._steps.clear()
        try:
            _until(moment)
            emu("explore", path, "-o", folder)
        finally:
            os._exit(0)  # whatever happens, no second pytest goes on
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _done_now(out: str) -> int:
    """How many points a run timed, and formats it measured."""
    return sum(map(int, re.findall(r"(\d+) (?:points timed|measured)", out)))


@pytest.mark.parametrize(
    ("metrics", "jobs"),
    [(None, 6), (["tpot", "perplexity"], 6 + 3)],  # the formats, bf16, the reference
    ids=["timing", "quality"],
)
def test_kill_9_at_ten_random_moments(tmp_path: Path, metrics: list[str] | None, jobs: int) -> None:
    axes = {"hbm.bytes_per_second": ["50 GB/s", "80 GB/s"], "batch": [1, 2, 3]}
    path = write_study(
        tmp_path, axes=axes, metrics=metrics, fixed=STUDY["fixed"] | {"quality_windows": 1}
    )
    calls = _calls(path, tmp_path / "whole")
    expected = (tmp_path / "whole" / CSV).read_bytes()
    generator, kills, runs, before = random.Random(7), 0, 0, dict[str, str]()
    folder = tmp_path / "r0"
    while kills < 10:
        killed = _killed(path, folder, generator.randrange(1, calls // 3))
        kills += killed
        after = {} if _is_new(folder) else stored(folder)
        assert before.items() <= after.items(), "a finished point was lost or timed again"
        before = after
        if (folder / CSV).exists():
            assert (folder / CSV).read_bytes() == expected, "half a file"
        if not killed:  # nothing is left to be done here
            assert len(after) == jobs
            runs += 1
            folder, before = tmp_path / f"r{runs}", {}
    result = explore(path, folder)
    assert _done_now(result.out) == jobs - len(before)
    assert before.items() <= stored(folder).items() and len(stored(folder)) == jobs
    assert (folder / CSV).read_bytes() == expected


def _is_new(folder: Path) -> bool:
    """Whether a kill left no store, or one without its table."""
    if not (folder / store.FILE).exists():
        return True
    with sqlite3.connect(folder / store.FILE) as database:
        return not database.execute("SELECT * FROM sqlite_master").fetchall()


def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    path, folder = write_study(tmp_path), tmp_path / "r"
    expected = tmp_path / "whole"
    explore(path, expected)
    command = [sys.executable, "-m", "emulator.cli", "explore", str(path), "-o", str(folder)]
    with subprocess.Popen([*command, "--jobs", "2"], start_new_session=True) as process:
        tick = threading.Event()
        while process.poll() is None and not _has_rows(folder):
            tick.wait(0.02)
        process.kill()
    for _ in range(3000):  # a minute: its workers notice, and end
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        tick.wait(0.02)
    else:
        pytest.fail("workers outlive the run")
    before = stored(folder)
    explore(path, folder)
    assert before and before.items() <= stored(folder).items()
    assert (folder / CSV).read_bytes() == (expected / CSV).read_bytes()


def _has_rows(folder: Path) -> bool:
    try:
        return bool(stored(folder))
    except sqlite3.Error:
        return False


# ---- the Pareto front


def test_the_pareto_front_is_what_nothing_beats() -> None:
    generator = random.Random(5)
    objectives = (Objective("a", LESS), Objective("b", MORE))
    for _ in range(50):
        found = [
            Row(f"{i:04}", "ok", "", {}, {n: float(generator.randrange(6)) for n in "ab"})
            for i in range(generator.randrange(1, 30))
        ]
        values = [(row.metrics["a"] or 0, -(row.metrics["b"] or 0)) for row in found]
        best = {
            v for v in values if not any(o != v and o[0] <= v[0] and o[1] <= v[1] for o in values)
        }
        chosen = front(objectives, found)
        assert {(row.metrics["a"], row.metrics["b"]) for row in chosen} == {
            (a, -b) for a, b in best
        }
        assert len(chosen) == len(best)


def test_equal_points_are_one(tmp_path: Path) -> None:
    axes = {"hbm.bytes_per_second": [5e10], "batch": [2]}
    study = load_study(write_study(tmp_path, axes=axes))
    assert len(running.all_points(study)) == 1
