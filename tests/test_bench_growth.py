"""How cost grows: fits of known numbers, the resumed file, and runs of the smallest sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.bench.growth import axes, child, fits, measure, models, stored, table
from emulator.bench.growth.axes import DECODE, MEMORY, PREFILL, RUN, Axis, Work
from tests.cli_runs import emu

TINY = models.Shape(32, 1, 2, 1, 16, 48, 64, positions=64)
WORK = Work(TINY, prompt=2, tokens=3, clusters=1)
AXIS = Axis("tokens", "tokens", "a few", {RUN: "linear", MEMORY: "flat"}, {2: WORK, 3: WORK})


def point(x: float, seconds: float, memory: float = 1e8) -> dict[str, float]:
    return {
        "x": x,
        "steps": 4,
        "prefill": seconds / 2,
        "decode": seconds / 2,
        "wall": seconds + 1,
        "memory_bytes": memory,
    }


# ---- fits


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law(power: float) -> None:
    found = fits.fit([(x, 3 * x**power) for x in (1.0, 2.0, 4.0, 16.0)])
    assert found.exponent == pytest.approx(power, abs=1e-9)
    assert found.end == pytest.approx(power, abs=1e-9)


def test_a_straight_line_is_found() -> None:
    found = fits.fit([(x, 5 + 2 * x) for x in (1.0, 10.0, 100.0, 1e3)])
    assert (found.start, found.slope) == (pytest.approx(5), pytest.approx(2))
    assert found.worst == pytest.approx(0, abs=1e-9)
    assert found.exponent < found.end < 1


def test_what_grows_faster_than_it_should() -> None:
    square = fits.fit([(x, x**2) for x in (1.0, 2.0, 4.0)])
    assert square.within("quadratic") and not square.within("linear")
    late = fits.fit([(1.0, 1.0), (10.0, 1.0), (100.0, 1.0), (200.0, 3.0), (400.0, 9.0)])
    assert late.exponent < 0.5 < 1.5 < late.end and not late.within("linear")


def test_quantities_of_a_point() -> None:
    one = point(8, 4.0, 7e7)
    names = (PREFILL, DECODE, RUN, MEMORY)
    assert [fits.quantity(name, one) for name in names] == [2.0, 0.5, 4.0, 7e7]


def test_growth_of_an_axis() -> None:
    found = fits.growth(AXIS, [point(1, 1), point(10, 10, 2e8)])
    assert [(f["quantity"], f["expected"], f["within"]) for f in found] == [
        (RUN, "linear", True),
        (MEMORY, "flat", False),
    ]
    assert fits.growth(AXIS, [point(1, 1)]) == []
    lines = [table.fit_line("tokens", one) for one in found]
    assert "GROWS FASTER" not in lines[0] and lines[1].endswith("GROWS FASTER")
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("x", "text"), [(10, "10"), (1000, "1,000"), (1442432, "1.44M"), (405.9e9, "406B")]
)
def test_values_are_short(x: float, text: str) -> None:
    assert table.short(x) == text


# ---- axes and files


def test_axes_are_those_of_the_issue() -> None:
    found = {axis.name: axis for axis in axes.axes()}
    assert set(found) == {"model", "timing", "folded", "context", "tiles", "tokens"}
    assert {10, 100, 1000} <= set(found["tokens"].points)
    assert found["tokens"].quantities == {RUN: "linear", MEMORY: "flat"}
    assert max(found["timing"].points) > 4e11
    for axis in found.values():
        assert list(axis.points) == sorted(axis.points) and set(axis.quantities.values()) <= set(
            axes.LIMITS
        )


def test_a_checkpoint_is_one_that_the_compiler_takes(tmp_path: Path) -> None:
    from compiler.config import ModelConfig
    from compiler.safetensors import Checkpoint

    models.write_checkpoint(tmp_path, TINY)
    Checkpoint.open(tmp_path).check(ModelConfig.load(tmp_path))
    size = (tmp_path / "model.safetensors").stat().st_size
    assert 0 < size - 2 * TINY.parameters < 4000


def test_a_point_is_measured() -> None:
    found = measure.measured(3, WORK, repeats=1)
    assert set(found) == set(point(3, 1))
    assert found["x"] == 3 and found["steps"] == 2
    assert all(found[key] > 0 for key in ("prefill", "decode", "wall", "memory_bytes"))


def test_timing_alone_with_folded_layers() -> None:
    shape = models.Shape(32, 6, 2, 1, 16, 48, 64, positions=64)
    work = Work(shape, prompt=1, tokens=1, clusters=1, timing_only=True, fold_layers=4)
    assert measure.measured(1, work, repeats=1)["prefill"] > 0


def test_a_chip_of_more_clusters() -> None:
    chip = child.chip_of(16)
    assert (chip.clusters, chip.mesh.rows, chip.mesh.columns) == (16, 16, 8)


def test_a_run_that_fails(tmp_path: Path) -> None:
    with pytest.raises(measure.child.BenchError, match="a run ended with status"):
        child.measured(tmp_path / "nothing.bin", WORK.json())


FACTS: dict[str, Any] = {"cpu": "x", "cores": 2, "numba": "1"}


def written(path: Path, complete: bool, facts: dict[str, Any] = FACTS) -> str:
    known = {"tokens": [point(2, 1)], "tiles": [point(8, 1)]}
    report = measure.report(facts, [AXIS, axes.axes()[4]], known, complete)
    path.write_text(json.dumps(report))
    return str(path)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    known = stored.known(written(tmp_path / "g.json", False), FACTS, [AXIS])
    assert [(axis.name, x) for axis, x, _ in measure.missing([AXIS], known)] == [("tokens", 3)]
    assert stored.known(str(tmp_path / "none.json"), FACTS, [AXIS]) == {}


def test_a_complete_file_is_measured_anew(tmp_path: Path) -> None:
    known = stored.known(written(tmp_path / "g.json", True), FACTS, [AXIS])
    assert set(known) == {"tiles"}  # what was not asked for stays


def test_another_machines_points_are_left(tmp_path: Path) -> None:
    path = written(tmp_path / "g.json", False, FACTS | {"cpu": "y"})
    assert stored.known(path, FACTS, [AXIS]) == {}


# ---- the command


@pytest.fixture
def tiny_axes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One axis of two points, which are not measured; the list says which were asked for."""
    asked: list[int] = []

    def measured(x: int, work: Work, repeats: int) -> dict[str, float]:
        asked.append(x)
        if x == 3 and len(asked) == 2:
            raise KeyboardInterrupt
        return point(x, float(x))

    monkeypatch.setattr(axes, "axes", lambda: [AXIS])
    monkeypatch.setattr(stored, "axes", lambda: [AXIS])
    monkeypatch.setattr(measure, "measured", measured)
    return asked


def test_growth_on_the_command_line(tmp_path: Path, tiny_axes: list[int]) -> None:
    file = tmp_path / "growth.json"
    interrupted = emu("bench", "growth", "--json", file)
    assert interrupted.status == 130 and not json.loads(file.read_text())["complete"]
    done = emu("bench", "growth", "--json", file)
    assert done.status == 0 and tiny_axes == [2, 3, 3]
    report = json.loads(file.read_text())
    assert report["schema"] == 1 and report["complete"]
    assert [p["x"] for p in report["axes"][0]["points"]] == [2, 3]
    assert "tokens   run          linear         1.00    1.00" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "tokns"], "emu: error: no axis is named 'tokns'; there are model, timing, "),
        (["--json", "/nowhere/at/all.json"], "emu: error: /nowhere/at/all.json: cannot be written"),
        (["--json", "-"], "emu: error: --json: points are written as they come; give a file"),
        (["-o", "growth.gif"], "emu: error: growth.gif: expected a name that ends in .svg, "),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    done = emu("bench", "growth", *arguments)
    assert done.status == 2
    assert done.err.startswith(message) and len(done.err.splitlines()) == 1
