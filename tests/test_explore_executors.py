"""The same results wherever points are timed, and from searches; each needs its extra."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import pytest
from cli_runs import done, emu
from explore_runs import STUDY, here, write_study  # noqa: F401

from emulator.explore.export import CSV, META, PARQUET

AXES = {"hbm.bytes_per_second": ["50 GB/s", "70 GB/s"], "batch": [1, 2, 24]}


def needs(module: str, extra: str) -> pytest.MarkDecorator:
    """Skips, by name, a test whose extra is not installed."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"needs the extra `{extra}` (make test-explore)")


def files(folder: Path) -> dict[str, bytes]:
    """What was exported."""
    return {
        name: (folder / name).read_bytes()
        for name in (CSV, META, PARQUET)
        if (folder / name).exists()
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with good points, invalid ones, one axis that shares programs, and quality."""
    fixed = STUDY["fixed"] | {"quality_windows": 1}
    metrics = ["ttft", "tpot", "perplexity", "loss_over_bf16_error", "greedy_agreement"]
    return write_study(tmp_path, axes=AXES, fixed=fixed, metrics=metrics)


@pytest.fixture
def expected(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Its results, of this process."""
    from explore_runs import _here

    with monkeypatch.context() as patch:
        patch.setattr("emulator.explore.executors._local", _here)
        done("explore", study, "-o", tmp_path / "here")
    found = files(tmp_path / "here")
    assert found[CSV].count(b",invalid,") == 2 and found[CSV].count(b",ok,") == 4
    return found


def test_processes_here(study: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    done("explore", study, "-o", tmp_path / "r", "--jobs", 2, "--chunk", 2)
    assert files(tmp_path / "r") == expected


@needs("distributed", "dask")
def test_dask(study: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        where = f"dask:{cluster.scheduler_address}"
        result = emu("explore", study, "-o", tmp_path / "r", "--executor", where)
    assert result.status == 0, result
    assert files(tmp_path / "r") == expected


@needs("submitit", "slurm")
def test_submitit(study: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    where = ("--executor", "slurm:local", "--chunk", 3, "--slurm", "timeout_min=5")
    result = emu("explore", study, "-o", tmp_path / "r", *where)
    assert result.status == 0, result
    assert "6 points timed" in result.out
    assert files(tmp_path / "r") == expected
    tasks = list((tmp_path / "r" / "slurm").glob("*_submitted.pkl"))
    assert len(tasks) == 3, "six points and three formats in tasks of three"


@needs("submitit", "slurm")
def test_a_parameter_that_submitit_does_not_know(study: Path, tmp_path: Path) -> None:
    where = ("--executor", "slurm:local", "--slurm", "colour=red")
    result = emu("explore", study, "-o", tmp_path / "r", *where)
    assert result.status == 2 and result.err.count("\n") == 1 and "colour" in result.err


@needs("distributed", "dask")
def test_a_scheduler_that_is_not_there(study: Path, tmp_path: Path) -> None:
    result = emu("explore", study, "-o", tmp_path / "r", "--executor", "dask:nonsense://x:1")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "dask:nonsense://x:1: cannot be reached" in result.err


@needs("pyarrow", "explore")
def test_parquet_has_the_rows_of_the_csv(expected: dict[str, bytes], tmp_path: Path) -> None:
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "here" / PARQUET)
    with (tmp_path / "here" / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    for mine, other in zip(table.to_pylist(), rows, strict=True):
        for name, text in other.items():
            value = mine[name]
            assert ("" if value is None else str(value)) == text, name
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["tpot"] == kinds["hbm.bytes_per_second"] == "double"
    assert kinds["batch"] == "int64" and kinds["key"] == "string"


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
@needs("optuna", "explore")
def test_a_search_finds_the_same_whoever_times_it(
    sampler: str,
    tmp_path: Path,
    here: None,  # noqa: F811
) -> None:
    axes = {"hbm.bytes_per_second": [5e10, 6e10, 7e10, 8e10], "batch": [1, 2, 3, 24]}
    sampling = {"kind": "search", "sampler": sampler, "n": 18, "seed": 4, "population": 6}
    path = write_study(
        tmp_path, axes=axes, sampling=sampling, workloads=["decode"], constraints=["batch != 3"]
    )
    assert "18 points, found by" in done("explore", path, "--dry-run").out
    done("explore", path, "-o", tmp_path / "a")
    with (tmp_path / "a" / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 3 < len(rows) <= 16 and len({row["key"] for row in rows}) == len(rows)
    assert {row["status"] for row in rows} <= {"ok", "invalid", "violates"}
    again = done("explore", path, "-o", tmp_path / "a")
    assert "0 points timed" in again.out
    done("explore", path, "-o", tmp_path / "b", "--chunk", 5)
    assert files(tmp_path / "b") == files(tmp_path / "a")


@needs("optuna", "explore")
def test_a_search_gets_near_the_best(tmp_path: Path, here: None) -> None:  # noqa: F811
    axes = {"hbm.bytes_per_second": [1e10 * i for i in range(1, 17)], "batch": [1, 2, 3, 4]}
    sampling = {"kind": "search", "n": 32, "seed": 1, "population": 8}
    path = write_study(
        tmp_path, axes=axes, sampling=sampling, workloads=["decode"], objectives=["tpot"]
    )
    done("explore", path, "-o", tmp_path / "a")
    with (tmp_path / "a" / CSV).open(newline="") as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["tpot"]))
    assert best["batch"] == "1" and float(best["hbm.bytes_per_second"]) >= 1.2e11


@pytest.mark.parametrize(
    ("module", "options", "extra"),
    [("distributed", ("--executor", "dask:x"), "dask"),
     ("submitit", ("--executor", "slurm"), "slurm"),
     ("optuna", (), "explore")],
)  # fmt: skip
def test_a_missing_extra_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    options: tuple[str, ...],
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    search = {"sampling": {"kind": "search", "n": 2, "seed": 1}} if not options else {}
    path = write_study(tmp_path, **search)
    result = emu("explore", path, "-o", tmp_path / "r", *options)
    assert result.status == 2 and result.err.count("\n") == 1
    assert f"needs the extra `{extra}`: pip install 'tessera[{extra}]'" in result.err


def test_without_pyarrow_there_is_csv(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: None,  # noqa: F811
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write_study(tmp_path)
    assert "points.parquet is left out" in done("explore", path, "-o", tmp_path / "r").out
    assert not (tmp_path / "r" / PARQUET).exists() and (tmp_path / "r" / CSV).exists()


def test_a_worker_of_another_version_is_refused(tmp_path: Path) -> None:
    from emulator.explore.errors import StudyError
    from emulator.explore.evaluate import evaluate

    with pytest.raises(StudyError, match="has another version of Tessera"):
        evaluate([("key", {"code": "0" * 16})])


@needs("optuna", "explore")
@needs("submitit", "slurm")
def test_a_search_whose_rounds_are_job_arrays(tmp_path: Path, here: None) -> None:  # noqa: F811
    sampling = {"kind": "search", "n": 8, "seed": 4, "population": 4}
    path = write_study(tmp_path, axes=AXES, sampling=sampling, workloads=["decode"])
    done("explore", path, "-o", tmp_path / "a")
    result = emu("explore", path, "-o", tmp_path / "b", "--executor", "slurm:local")
    assert result.status == 0, result
    assert files(tmp_path / "b") == files(tmp_path / "a")
