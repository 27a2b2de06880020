"""The bench: rows, table, JSON, choices and errors, at the smallest sizes; no bar is asserted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from emulator.bench import (
    against,
    child,
    gemm,
    machine,
    models,
    plain,
    rates,
    reading,
    sgemm,
    suite,
    table,
    vector,
    warmup,
)
from emulator.bench.effort import TINY
from emulator.bench.host import Host
from emulator.bench.measure import Probe, in_turns
from emulator.bench.rows import Bar, BenchError, Entry, Measured, Row
from emulator.bench.stored import Matrix
from emulator.jit_key import ROOT
from isa.formats import Format, ScaleKind
from tests.cli_runs import emu

FAST = [entry.name for entry in suite.entries() if entry.name.startswith(("gemm", "gemv"))]
FAST = [name for name in FAST if not name.endswith("_avx2")]


@pytest.fixture(scope="module")
def host() -> Host:
    return Host(TINY)


def row(value: float | None, yardstick: float | None = None, bar: Bar | None = None) -> Row:
    return Row(
        Entry("some_row", "GB/s", lambda _: Measured(None), "x", bar), Measured(value, yardstick)
    )


# ---- rows, table, JSON


@pytest.mark.parametrize(
    ("bar", "value", "verdict"),
    [
        (Bar(">=", 0.5), 5.0, "met"),
        (Bar(">=", 0.6), 5.0, "missed"),
        (Bar("<=", 0.5), 5.0, "met"),
        (Bar("<=", 0.4), 5.0, "missed"),
        (Bar("<=", 0.4), None, ""),
        (None, 5.0, ""),
    ],
)
def test_a_bar_is_met_or_missed(bar: Bar | None, value: float | None, verdict: str) -> None:
    assert row(value, 10.0, bar).verdict() == verdict


def test_the_schema() -> None:
    rows = [row(1.23456789, 2.0), row(3.0), row(None, 2.0)]
    report = suite.report({"cpu": "x"}, rows)
    assert report == {
        "schema": 1,
        "machine": {"cpu": "x"},
        "rows": [
            {
                "name": "some_row",
                "value": 1.23457,
                "unit": "GB/s",
                "yardstick": 2.0,
                "ratio": 0.617284,
                "of": "x",
            },
            {"name": "some_row", "value": 3.0, "unit": "GB/s", "yardstick": None, "ratio": None}
            | {"of": "x"},
            {"name": "some_row", "value": None, "unit": "GB/s", "yardstick": 2.0, "ratio": None}
            | {"of": "x"},
        ],
    }
    json.dumps(report, allow_nan=False)


def test_what_a_row_may_have_beyond() -> None:
    measured = Measured(3.0, 6.0, "words", 8e9, 2e9, 2)
    found = Row(Entry("a", "GB/s", lambda _: measured, "x", Bar(">=", 0.4)), measured).json()
    assert {key: found[key] for key in list(found)[5:]} == {
        "of": "x",
        "bar": ">= 0.4",
        "verdict": "met",
        "operations": 8e9,
        "bytes": 2e9,
        "threads": 2,
        "note": "words",
    }


def test_the_table() -> None:
    rows = [row(5, 10, Bar(">=", 0.4)), row(3, 10, Bar(">=", 0.4)), row(None, None, Bar("<=", 1))]
    names = table.width([r.entry for r in rows])
    lines = [table.heading(names), *(table.line(r, names) for r in rows)]
    assert [line.split() for line in lines[1:]] == [
        ["some_row", "5", "GB/s", "10", "x", "0.50", ">=", "0.4", "met"],
        ["some_row", "3", "GB/s", "10", "x", "0.30", ">=", "0.4", "missed"],
        ["some_row", "-", "GB/s", "-", "x", "-", "<=", "1"],
    ]
    assert lines[0].index("ratio") + 5 == lines[1].index("0.50") + 4
    assert table.summary(rows) == "1 of 3 bars met; missed: some_row; not measured: some_row"


def test_names_are_distinct_and_those_documented_are_there() -> None:
    names = [entry.name for entry in suite.entries()]
    assert len(names) == len(set(names))
    assert {
        *("gemm_fp8", "gemm_mxfp8", "gemm_bf16", "gemm_mxfp4", "gemm_nvfp4", "gemm_w4a8"),
        *("gemv_mxfp4", "gemv_fp8"),
        *("instructions_per_s", "timing_events_per_s"),
    } <= set(names)


def test_choosing_rows() -> None:
    entries = suite.entries()
    assert suite.chosen([], entries) == [entry for entry in entries if not entry.large]
    assert [e.name for e in suite.chosen(["gemm_fp8", "read_*"], entries)] == [
        *("read_1", "read_2", "gemm_fp8")
    ]
    with pytest.raises(BenchError, match=r"no row is named 'gem_fp8'; did you mean .*gemm_fp8"):
        suite.chosen(["gemm_bf16", "gem_fp8"], entries)
    with pytest.raises(BenchError, match="no row is named 'zzz'; there are fma_peak, "):
        suite.chosen(["zzz"], entries)


# ---- measuring


def test_medians_are_of_alternate_calls() -> None:
    order: list[str] = []

    def probe(name: str, seconds: Iterator[float], work: float) -> Probe:
        def call() -> float:
            order.append(name)
            return next(seconds)

        return Probe(work, call)

    mine = probe("a", iter([9.0, 1.0, 4.0, 2.0]), 8.0)
    yardstick = probe("b", iter([9.0, 5.0, 1.0, 2.0]), 6.0)
    assert in_turns(mine, yardstick, 3) == (4.0, 3.0)
    assert "".join(order) == "abababab"


def test_the_host_is_measured(host: Host) -> None:
    assert host.fma.rate(1) > 0
    assert host.dots is None or host.dots.rate(1) > 0
    for threads in (1, 2):
        name, probe = host.reading(threads)
        assert name in reading.readers() and probe.rate(1) > 0


def test_every_way_of_reading_reads() -> None:
    data = np.arange(1 << 16, dtype=np.int64).view(np.uint8)
    words = data.view(np.uint32)
    for name, read in reading.readers().items():
        got = read(data)
        if name == "streams":
            assert got == np.bitwise_xor.reduce(words)
        else:
            assert got in (data.max(), data.view(np.float32).max(), data.view(np.int64).max())


def test_sgemm_takes_the_fastest_core_type(monkeypatch: pytest.MonkeyPatch) -> None:
    rates_by_core = {"": 5.0, "Haswell": 7.0, "Zen": None}
    monkeypatch.setattr(sgemm.platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(sgemm._CORES, "x86_64", tuple(rates_by_core))
    monkeypatch.setattr(sgemm, "_rate", lambda core, *_: rates_by_core[core])
    assert sgemm.best((1, 1, 1), 1) == ("Haswell", 7.0)
    monkeypatch.setattr(sgemm, "_rate", lambda *_: None)
    assert sgemm.best((1, 1, 1), 1) is None


def test_sgemm_runs_in_a_process() -> None:
    rate = sgemm._rate("", (4, 4, 4), 1)
    assert rate is not None and rate > 0


def test_machine_facts() -> None:
    facts = machine.facts()
    assert facts["cores"] >= 1 and facts["cpu"] and facts["numba"]
    json.dumps(facts)
    assert facts["cpu"] in machine.headline(facts)


def test_caches_are_read_from_the_system(tmp_path: Path) -> None:
    for index, facts in enumerate([("1", "Data", "48K"), ("3", "Unified", "32768K")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in zip(("level", "type", "size"), facts, strict=True):
            (folder / name).write_text(value + "\n")
    (tmp_path / "index9").mkdir()
    assert machine.caches(tmp_path) == {"L1d": 48 << 10, "L3": 32768 << 10}
    assert machine.caches(tmp_path / "nothing") == {}


# ---- the arithmetic that kernels are held against


@pytest.mark.parametrize("pair", gemm.PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("panel", [False, True])
def test_the_plain_rule_is_the_references(pair: gemm.Pair, panel: bool) -> None:
    a = Matrix.random(pair.a[0], 3, 96, pair.a[1], seed=1)
    w = Matrix.random(pair.w[0], 32, 96, pair.w[1], panel=panel, seed=2)
    expected = plain.reference(a, w)
    assert np.count_nonzero(expected) > 90
    plain.check("here", plain.product(a, w), expected)


def test_wrong_bits_are_an_error() -> None:
    good = np.ones((2, 3), np.float32)
    wrong = good.copy()
    wrong[1, 2] = -0.0
    with pytest.raises(plain.WrongBitsError, match="here: 1 of 6 results differ") as raised:
        plain.check("here", wrong, good)
    assert raised.value.exit_status == 1


def test_parts_of_a_matrix() -> None:
    w = Matrix.random(Format.E2M1, 64, 128, ScaleKind.MX32, panel=True)
    part = w.part(16, 48)
    assert np.array_equal(part.values(), w.values()[16:48])
    whole, some = w.scale_values(), part.scale_values()
    assert whole is not None and some is not None and np.array_equal(some, whole[16:48])


@pytest.mark.parametrize("name", FAST)
def test_matrix_rows_are_checked_and_measured(name: str, host: Host) -> None:
    measured = suite.chosen([name], suite.entries())[0].measure(host)
    assert measured.value and measured.yardstick and measured.ratio
    assert measured.operations and measured.bytes
    assert measured.threads == (2 if name.startswith("gemv") else 1)


def test_a_wrong_kernel_stops_its_row(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "product", lambda a, w: plain.reference(a, w) + np.float32(1))
    with pytest.raises(plain.WrongBitsError, match="gemm_fp8: "):
        gemm.measure_gemm(gemm.PAIRS[0], host)


@pytest.mark.parametrize("operation", vector.OPERATIONS, ids=lambda operation: operation.name)
def test_vector_rows_are_measured(operation: vector.Operation, host: Host) -> None:
    measured = vector.measure(operation, host)
    assert measured.value and measured.yardstick


def test_vector_operands_are_what_the_name_says(host: Host) -> None:
    operation = next(o for o in vector.OPERATIONS if o.name == "vcvt_fp32_to_fp8")
    source = operation.sources[0]
    assert source is not None and source.fmt is Format.FP32
    assert operation.out[0].fmt is Format.E4M3FN


@pytest.mark.parametrize(
    "name",
    ["instructions_per_s", "timing_events_per_s", "timing_events_decode_per_s", "start_help"],
)
def test_rates_and_start_are_measured(name: str, host: Host) -> None:
    measured = suite.chosen([name], suite.entries())[0].measure(host)
    assert measured.value and measured.ratio


def test_a_rate_is_a_median_of_millions(host: Host) -> None:
    results = iter([(9, 1.0), (6_000_000, 2.0)])
    assert rates._rate(lambda: next(results), host) == 3.0


def test_steps_that_are_timed_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([9.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(models.programs, "timing_only_step", lambda name: (1234, next(seconds)))
    measured = models._timing_only("70b", host)
    assert (measured.value, measured.yardstick) == (2.0, 2.0) and "1,234 cycles" in measured.note


# ---- other processes


def test_a_row_in_a_child() -> None:
    measured = child.measured_in_child("gemm_w4a8", TINY)
    assert measured.value and measured.yardstick


def test_a_child_that_fails() -> None:
    with pytest.raises(BenchError, match="nothing: its process ended with status 2: no row is"):
        child.measured_in_child("nothing", TINY)


def test_rows_of_two_commits() -> None:
    entries = suite.chosen(["fma_peak"], suite.entries())
    [comparison] = against.compared(entries, ROOT, TINY, rounds=1)
    assert comparison.ratio
    line = comparison.line(10).split()
    assert line[0] == "fma_peak" and line[3] == "GMAC/s"
    report = against.report({"schema": 1, "machine": {}, "rows": []}, "HEAD", [comparison])
    assert report["against"]["ref"] == "HEAD"
    assert report["against"]["rows"][0]["name"] == "fma_peak"


def test_a_row_that_the_other_commit_lacks(tmp_path: Path) -> None:
    (tmp_path / "emulator").mkdir()
    (tmp_path / "emulator" / "__init__.py").write_text("raise ValueError('too old')")
    entries = suite.chosen(["fma_peak"], suite.entries())
    [comparison] = against.compared(entries, tmp_path, TINY, rounds=1)
    assert comparison.mine.measured.value and comparison.theirs.measured.value is None
    assert comparison.ratio is None and "ValueError: too old" in comparison.line(10)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def test_a_checkout_leaves_the_repository_alone(tmp_path: Path) -> None:
    bench = tmp_path / "emulator" / "bench"
    bench.mkdir(parents=True)
    (tmp_path / "file").write_text("old")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "old")
    (tmp_path / "file").write_text("new")
    (bench / "row.py").write_text("")
    with against.checkout("HEAD", tmp_path) as folder:
        assert (folder / "file").read_text() == "old"
        assert (folder / "emulator/bench/row.py").exists()  # ours: the commit is older than it
    assert not folder.exists()
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / ".git/worktrees").exists()
    with pytest.raises(BenchError, match=r"--against nowhere: .* has no such commit"):
        against.checkout("nowhere", tmp_path).__enter__()


# ---- commands


def test_every_kernel_is_warmed_up() -> None:
    from emulator.kernels import kernels

    steps = warmup.steps()
    assert len(steps) == len({id(kernel) for kernel in kernels().values()}) + 4
    for name, step in steps:
        if name in ("executor", "timing model", "checker"):
            step()


def test_bench_on_the_command_line(tmp_path: Path) -> None:
    done = emu("bench", "--only", "fma_peak", "--json", str(tmp_path / "b.json"))
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["schema"] == 1 and set(report) == {"schema", "machine", "rows"}
    [found] = report["rows"]
    assert set(found) == {"name", "value", "unit", "yardstick", "ratio", "note"}
    assert found["name"] == "fma_peak" and "fma_peak" in done.out
    only_json = emu("bench", "--only", "fma_peak", "--json", "-")
    assert only_json.json["schema"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "gemm_fp9"], "emu: error: no row is named 'gemm_fp9'; did you mean"),
        (["--only", "fma_peak", "--against", "no-such"], "emu: error: --against no-such: "),
        (["--json", "/nowhere/at/all.json"], "emu: error: /nowhere/at/all.json: cannot be written"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    done = emu("bench", *arguments)
    assert done.status == 2
    assert done.err.startswith(message) and len(done.err.splitlines()) == 1


def test_list_names_rows_and_bars() -> None:
    done = emu("bench", "--list", "--only", "gemm_fp8*")
    assert [line.split()[:4] for line in done.out.splitlines()] == [
        ["gemm_fp8", "GMAC/s", ">=", "0.72"],
        ["gemm_fp8_avx2", "GMAC/s", ">=", "0.6"],
    ]


def test_the_team_is_two() -> None:
    assert isinstance(Host(TINY).team, ThreadPoolExecutor) and gemm.THREADS == 2
