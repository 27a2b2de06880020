"""`emu run --trace FILE.pftrace`, `--konata`, `--explain`: files, choices and refusals."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from perfetto_reading import read
from test_tracing_konata import parsed

from emulator.tracing import recorder
from emulator.tracing.selection import Range, parse_range
from isa.errors import TesseraError
from tests.cli_runs import PLAIN, assembled, done, emu, files, made, refused

RUN = ("--tokens", "1,2,3", "--max-new-tokens", 3, "--quiet")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def program() -> Path:
    return made().bare


def traced(*options: object) -> None:
    done("run", program(), "--timing-only", *RUN, *options)


def test_a_trace_holds_every_step_one_after_the_other() -> None:
    traced("--trace", "t.pftrace", "--json", "r.json")
    trace = read(Path("t.pftrace").read_bytes())
    cycles = json.loads(Path("r.json").read_text())["cycles"]
    steps = [each for each in trace.slices if trace.place(each)[1] == "entries"]
    assert [each.name for each in steps] == ["step 0", "step 1", "step 2"]
    lengths = [each.notes["cycles"] for each in steps]
    assert lengths == [cycles["prefill"], *cycles["decode"]]
    assert all(a.end == b.begin for a, b in pairwise(steps))
    assert steps[-1].end == max(each.end for each in trace.slices)
    assert trace.arrows()
    operations = {each.name for each in trace.slices if each.category == "work"}
    assert {"lm_head", "attention"} <= operations
    assert list(files(Path())) == ["r.json", "t.pftrace"]


def test_steps_and_tiles_can_be_chosen() -> None:
    traced("--trace", "all.pftrace")
    traced("--trace", "t.pftrace", "--trace-steps", "1:1", "--trace-tiles", "1:2")
    trace, whole = (read(Path(name).read_bytes()) for name in ("t.pftrace", "all.pftrace"))
    steps = [each.name for each in trace.slices if trace.place(each)[1] == "entries"]
    assert steps == ["step 1"]
    places = {trace.place(each)[0] for each in trace.slices if each.category}
    assert places == {"tile 1", "tile 2"}
    begin = next(each.begin for each in whole.slices if each.name == "step 1")
    assert min(each.begin for each in trace.slices) == begin  # where it is in the whole
    assert Path("t.pftrace").stat().st_size < Path("all.pftrace").stat().st_size / 4


def test_a_pipeline_log_of_a_window() -> None:
    traced("--konata", "k.log", "--window", "100:50")
    ops = parsed(Path("k.log").read_text())
    assert sorted(op.serial for op in ops) == list(range(100, 150))
    traced("--konata", "k.log", "--window", "0:30", "--trace-tiles", "0")
    ops = parsed(Path("k.log").read_text())
    assert len(ops) == 30 and all(op.thread < 16 for op in ops)


def test_explanations_are_printed_and_in_the_json() -> None:
    run = done("run", program(), "--timing-only", *RUN[:-1], "--explain", "--json", "r.json")
    result = json.loads(Path("r.json").read_text())
    for group, found in result["explained"].items():
        assert found["steps"] == result["bounds"][group]["steps"]
        assert found["cycles"] == result["bounds"][group]["cycles"]
        names = {op["name"] for op in result["operations"][group]} - {"(control at end)"}
        assert {op["name"] for op in found["operations"]} == names
        for op in found["operations"]:
            parts = sum(cause["cycles"] for cause in op["causes"])
            assert op["simulated"] == op["bound_cycles"] + parts
        assert f"{group.capitalize()}, explained" in run.out
    plain = done("run", program(), "--timing-only", *RUN[:-1], "--json", "p.json")
    assert json.loads(Path("p.json").read_text())["explained"] is None
    assert run.out.startswith(plain.out.rstrip("\n"))


def test_steps_that_there_are_not_are_told() -> None:
    options = ("--trace", "t.pftrace", "--trace-steps", "3:")
    run = emu("run", program(), "--timing-only", *RUN, *options)
    assert run.status == 0 and "the run had 3 steps" in run.err
    assert read(Path("t.pftrace").read_bytes()).slices == []


def test_other_programs_are_traced_too() -> None:
    assembled(Path("p.bin"), PLAIN)
    for executor in ("fast", "reference"):
        options = ("--entry", "one", "--executor", executor, "--quiet")
        done("run", "p.bin", *options, "--trace", f"{executor}.pftrace")
    data = Path("fast.pftrace").read_bytes()
    assert data == Path("reference.pftrace").read_bytes()
    assert [each.name for each in read(data).slices if not each.category] == ["one 0"]


def test_a_large_trace_says_how_to_make_it_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LARGE", 1000)
    run = emu("run", program(), "--timing-only", *RUN, "--trace", "t.pftrace")
    assert run.status == 0
    assert "--trace-steps" in run.err and len(run.err.splitlines()) == 1


def test_nothing_is_left_of_a_trace_when_the_program_faults() -> None:
    text = ".entry one\n        wait ctl, s1, 1\n        halt\n"
    assembled(Path("p.bin"), text)
    Path("t.pftrace").write_text("as it was")
    run = emu("run", "p.bin", "--trace", "t.pftrace", "--konata", "k.log")
    assert run.status == 1
    assert Path("t.pftrace").read_text() == "as it was"
    assert sorted(files(Path())) == ["p.bin", "p.tasm", "t.pftrace"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--konata k --no-timing", "--konata needs timing"),
        ("--explain --no-timing", "--explain needs timing"),
        ("--window 1:2", "--window is for --konata"),
        ("--trace t.json --trace-steps 1", "--trace-steps and --trace-tiles are for"),
        ("--explain --konata k --trace-tiles 1", "--explain looks at all steps and tiles"),
        ("--konata k --window 1:x", "--window: expected FIRST:COUNT, got '1:x'"),
        ("--konata k --window 5:0", "--window: 5:0: there is nothing in it"),
        ("--trace t.pftrace --trace-tiles 99", "--trace-tiles: t1-mini has 4 tiles"),
        ("--trace t.pftrace --konata t.pftrace", "--konata: t.pftrace: is another output"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: str, expected: str) -> None:
    refused(expected, "run", made().good, "--tokens", "1", *options.split())


def test_ranges() -> None:
    assert parse_range("--x", "3") == Range(3, 1)
    assert parse_range("--x", "3:2") == Range(3, 2)
    assert 10**9 in parse_range("--x", "3:") and 2 not in parse_range("--x", "3:")
    assert parse_range("--x", ":2") == Range(0, 2)
    assert Range(1, 9).within(4) == (1, 4) and Range(7, 1).within(4) == (4, 4)
    for text in ("", ":", "a", "1:2:3", "-1", "1,2", "9" * 16):
        with pytest.raises(TesseraError, match="--x"):
            parse_range("--x", text)
