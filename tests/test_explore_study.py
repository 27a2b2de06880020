"""Bad studies: one line that names the file, the line and the remedy, before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cli_runs import emu
from explore_runs import here, write_study  # noqa: F401

from emulator.explore import evaluate, store
from emulator.explore.reader import load_study

GOOD = """\
name: small
chip: t1-mini
model: config.json
workloads: [prefill, decode]
fixed: {prompt: 40, context: 100}
axes:
  hbm.bytes_per_second: [50 GB/s, 100 GB/s]
  batch: [1, 3]
"""


def refused(folder: Path, text: str | bytes, *options: object) -> str:
    """The line that a study is refused with."""
    write_study(folder)
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = emu("explore", path, "-o", folder / "results", *options)
    assert result.status == 2 and result.out == "" and result.err.count("\n") == 1, result
    assert not (folder / "results").exists(), "work was begun"
    return result.err.removeprefix("emu: error: ").rstrip("\n").replace(f"{folder}/", "")


def test_the_good_one_is_good(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "study.yaml").write_text(GOOD)
    assert load_study(tmp_path / "study.yaml").size == 4


CASES: list[tuple[str, str, str]] = [
    ("  batch: [1, 3]", "  batch: []", "line 8: batch: the list is empty; give at least one"),
    ("  batch: [1, 3]", "  batch: 3", "line 8: batch: expected a list, got 3"),
    ("  batch: [1, 3]", "  bach: [1]", "line 8: unknown key `bach`; did you mean `batch`?"),
    ("  batch: [1, 3]", "  batch: [1, 1]", "line 8: batch: the value 1 is there twice"),
    ("  batch: [1, 3]", "  batch:\n  - 1\n  - 0", "line 10: batch: expected an integer from 1"),
    ("  batch: [1, 3]", "  batch: [1, x]", "line 8: batch: expected an integer from 1 to 65536"),
    ("  batch: [1, 3]", "  prompt: [1]", "line 8: `prompt` is both fixed and an axis"),
    ("  batch: [1, 3]", "  hbm.bytes_per_second: [1e9]", "line 8: key `hbm.bytes_per_second` is"),
    ("hbm.bytes_per_second", "hbm.bytes_per_secnd", "line 7: unknown key `hbm.bytes_per_secnd`"),
    ("[50 GB/s", "[50 GB", "line 7: hbm.bytes_per_second: `50 GB` is in B, expected B/s"),
    ("[50 GB/s", "[50 parsec", "line 7: hbm.bytes_per_second: unknown unit `parsec`"),
    ("[50 GB/s", "[7", "line 7: hbm.bytes_per_second: expected a number >= 1000000, got 7"),
    ("name: small", "nam: small", "line 1: unknown key `nam`; did you mean `name`?"),
    ("name: small\n", "", "line 1: missing key `name`"),
    ("[prefill, decode]", "[]", "line 4: workloads: the list is empty"),
    ("[prefill, decode]", "[decoding]", "line 4: unknown workload `decoding`; did you mean"),
    ("chip: t1-mini", "chip: t7", "line 2: chip: `t7` is neither a file nor one of"),
    ("chip: t1-mini", "chip: []", "line 2: chip: the list is empty"),
    ("model: config.json", "model: none.json", "line 3: model: `none.json` is neither a"),
    ("model: config.json", "model: study.yaml", "line 3: model: "),
    ("name: small", "name: [", "line 3: "),
    ("name: small", "name: &a x", ""),
    ("fixed: {prompt: 40", "fixed: {prompt: 40, prompt: 41", "line 5: key `prompt` is given twice"),
    ("fixed: {prompt: 40", "fixed: {split: 3", "line 5: split: expected 1, 2 or 4, got 3"),
    ("fixed: {prompt: 40", "fixed: {weights: fp5", "line 5: weights: 'fp5' is not supported"),
    ("fixed: {prompt: 40", "fixed: {chip: t1", "line 5: `chip` belongs to the top of the study"),
    ("fixed: {prompt: 40", "fixed: {tile.mxu.splits: [3]", "line 5: tile.mxu.splits: expected an"),
]  # fmt: skip

ADDED = [
    ("constraints: [tpot <= 20]", "line 9: unit missing: `tpot` is in s, `20` has none; write it"),
    ("constraints: [tpot]", "line 9: constraints: `tpot` is no condition; compare it"),
    ("constraints:\n- batch < 9\n- tpto < 1 ms", "line 11: unknown name `tpto`; did you mean"),
    ("constraints: [import os]", "line 9: constraints: `import os` is no expression"),
    ("constraints: [request_s < 1 s]", "line 9: metric `request_s` needs the workload request"),
    ("constraints: []", "line 9: constraints: the list is empty"),
    ("define:\n  a: b + 1\n  b: a + 1", "line 10: define: circular: a -> b -> a; break"),
    ("define: {a: a * 2}", "line 9: define: circular: a -> a; break the circle"),
    ("define: {a: c * 2, c: b, b: a}", "line 9: define: circular: a -> c -> b -> a; break"),
    ("define: {tpot: batch}", "line 9: define: `tpot` is taken; choose another"),
    ("define: {a: 1 ms + 1 B}", "line 9: units differ"),
    ("metrics: [tpt]", "line 9: unknown metric `tpt`; did you mean `tpot`?"),
    ("metrics: [request_s]", "line 9: metric `request_s` needs the workload request; add it"),
    ("objectives: [sram_bytes]", "line 9: objectives: is less or more of `sram_bytes` better?"),
    ("objectives: {tpot: lower}", "line 9: objectives: tpot: expected less or more, got lower"),
    ("sampling: all", "line 9: unknown sampling `all`; known are grid, list, random, search"),
    ("sampling: random", "line 9: sampling: random needs `n`"),
    ("sampling: {kind: random, n: 0, seed: 1}", "line 9: n: expected an integer from 1"),
    ("sampling: {kind: random, n: 3, seeds: 1}", "line 9: unknown key `seeds`; did you mean"),
    ("sampling: {kind: random, n: 1000000000, seed: 1}", "line 9: 1,000,000,000 points; at most"),
    ("sampling: {kind: list, points: [{batch: 1}]}", "line 9: sampling: a list has no axes"),
    ("sampling: {kind: search, n: 3, seed: 1}", "line 9: sampling: a search needs `objectives`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), CASES, ids=[new for _, new, _ in CASES])
def test_bad_studies(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    if not problem:
        text += "extra: *a\n"
    line = refused(tmp_path, text)
    assert line.startswith(f"study.yaml: {problem}"), line


@pytest.mark.parametrize(("added", "problem"), ADDED, ids=[added for added, _ in ADDED])
def test_bad_additions(tmp_path: Path, added: str, problem: str) -> None:
    line = refused(tmp_path, f"{GOOD}{added}\n")
    assert line.startswith(f"study.yaml: {problem}"), line


def test_a_thousand_million_points(tmp_path: Path) -> None:
    axes = "".join(f"  {key}: {list(range(1, 1001))}\n" for key in ("context", "output", "rows"))
    line = refused(tmp_path, GOOD.replace(", context: 100", "") + axes)
    assert line.startswith("study.yaml: line 6: 4,000,000,000 points; at most 100,000: shorten")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "study.yaml: the file is empty"),
        (b"\xff\xfe", "study.yaml: not UTF-8 text"),
        (b"- 1\n- 2\n", "study.yaml: line 1: study: expected a mapping"),
        (b"[" * 5000, "study.yaml: "),
        (b"a: " + b"x" * (1 << 21), "study.yaml: larger than"),
        (b"? [1, 2]\n: 3\n", "study.yaml: line 1: expected a name as a key"),
        (b"name: 2020-01-01\nmodel: !!python/object:os.system x\n", "study.yaml: "),
    ],
)
def test_files_that_are_no_studies(tmp_path: Path, content: bytes, problem: str) -> None:
    assert refused(tmp_path, content).startswith(problem)


def test_the_command_line_is_checked(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    for arguments, problem in [
        ((path,), "-o DIR is needed"),
        ((), "give one of STUDY"),
        ((path, "--list"), "give one of STUDY"),
        ((tmp_path / "none.yaml", "--dry-run"), "cannot be read"),
        ((path, "-o", tmp_path / "r", "--executor", "cloud"), "'cloud' is not known; there are"),
        ((path, "-o", tmp_path / "r", "--slurm", "x=1"), "--slurm is for --executor slurm"),
        ((path, "-o", tmp_path / "r", "--slurm", "x"), "expected NAME=VALUE"),
        (("--compare", tmp_path / "a", tmp_path / "b"), "give directories that emu explore"),
    ]:
        result = emu("explore", *arguments)
        assert result.status == 2 and result.err.count("\n") == 1 and problem in result.err, result


# ---- where results cannot go


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "file").write_text("")
    result = emu("explore", path, "-o", tmp_path / "file")
    assert result.status == 2 and "is a file; choose another directory" in result.err
    result = emu("explore", path, "-o", tmp_path / "file" / "below")
    assert result.status == 2 and "choose another directory with -o" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "locked").mkdir(mode=0o500)
    result = emu("explore", path, "-o", tmp_path / "locked")
    assert result.status == 2 and "cannot be written: permission denied" in result.err


def test_permission_denied_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(tmp_path)

    def denied(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    result = emu("explore", path, "-o", tmp_path / "locked")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "cannot be written: permission denied; choose another directory" in result.err


def test_a_disk_that_is_full_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "the disk is full" in result.err and "make room" in result.err
    assert not (tmp_path / "r" / store.FILE).exists()


def test_a_disk_that_fills_up_loses_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: None,  # noqa: F811
) -> None:
    path, folder = write_study(tmp_path), tmp_path / "r"
    original = store.Store.put

    def put(self: store.Store, outcome: evaluate.Outcome, code: str) -> None:
        count = self._database.execute("SELECT count(*) FROM results").fetchone()[0]
        if count == 2:  # from here on, the library itself finds no more room
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            self._database.execute(f"PRAGMA max_page_count={pages}")
            outcome = outcome | {"reason": "x" * 100_000}
        original(self, outcome, code)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "put", put)
        result = emu("explore", path, "-o", folder)
    assert result.status == 2 and result.err.count("\n") == 1
    assert "the disk is full; make room and run again: finished points are kept" in result.err
    result = emu("explore", path, "-o", folder)
    assert result.status == 0 and "2 points timed, 2 from" in result.out


def test_a_directory_in_use(tmp_path: Path) -> None:
    from emulator.explore.run import results_folder

    path = write_study(tmp_path)
    with results_folder(tmp_path / "r", 1):
        result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 2 and "another emu explore writes here" in result.err


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_store_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = write_study(tmp_path)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / store.FILE).write_bytes(content)
    result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 2 and result.err.count("\n") == 1 and "move it away" in result.err


def test_numbers_may_be_written_as_people_do(tmp_path: Path) -> None:
    axes: dict[str, Any] = {
        "hbm.bytes_per_second": {"from": "50 GB/s", "to": "200 GB/s", "steps": 3, "scale": "log"},
        "tile.tsram.bytes": ["256 KiB", 2.62144e5 * 2],
        "batch": {"from": 1, "to": 7, "steps": 3},
        "tile.mxu.splits": [[1], [1, 2]],
    }
    found = load_study(write_study(tmp_path, axes=axes)).axes
    assert found["hbm.bytes_per_second"] == (5e10, 1e11, 2e11)
    assert found["tile.tsram.bytes"] == (262144, 524288)
    assert found["batch"] == (1, 4, 7) and found["tile.mxu.splits"] == ([1], [1, 2])
