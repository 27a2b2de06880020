"""`emu validate`: statistics, tables, JSON, the sets' bars, the fits, what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cli_runs import done, emu

from emulator.commands.validate import command
from emulator.jit_key import ROOT
from emulator.validate import fit, registry, sensitivity
from emulator.validate.case import Case, MissingData, Set
from emulator.validate.errors import errors
from emulator.validate.facts import DATA, read
from emulator.validate.report import Found, as_json, found
from emulator.validate.run import Task, processors, runner
from emulator.validate.table import overview, text
from isa.chip import CHIPS, Chip, load_chip
from isa.yamlfile import read_yaml

#: The largest mean error each set may have; fractions.
BARS = {
    "tpu-v3-gemm": 0.08,
    "tpu-v3-vector": 0.20,
    "tpu-v3-network": 0.15,  # ours: its rows rest on an assumption
    "ironwood-copy": 0.08,
    "ironwood-gemm": 0.12,
    "hbm3-channel": 0.08,
    "noc-packets": 0.08,  # ours: the curve has no bar of its own
}


@pytest.fixture(scope="module")
def results() -> dict[str, Found]:
    """All sets, predicted."""
    sets = [registry.load(name) for name in BARS]
    with runner(1) as run:
        return {
            each.name: found(
                each,
                dict(
                    zip(
                        each.expressible,
                        run([Task(each.name, i) for i in each.expressible]),
                        strict=True,
                    )
                ),
            )
            for each in sets
        }


# ---- how good it is


@pytest.mark.parametrize("name", BARS)
def test_bars(results: dict[str, Found], name: str) -> None:
    bar = BARS[name]
    mape = results[name].errors.mape
    assert mape is not None and mape <= bar


@pytest.mark.parametrize("name", BARS)
def test_the_page_says_what_comes_out(results: dict[str, Found], name: str) -> None:
    """docs/accuracy.md: rows counted, MAPE, median, bias."""
    page = (ROOT / "docs" / "accuracy.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` | ")]
    rows, *numbers = [cell.strip() for cell in line.split("|")[3:7]]
    found = results[name].errors
    assert rows.split()[0] == str(found.rows)
    for cell, value in zip(numbers, (found.mape, found.median_ape, found.bias), strict=True):
        assert value is not None
        assert float(cell.rstrip(" %")) == pytest.approx(100 * value, abs=0.06)


def test_no_row_is_left_out(results: dict[str, Found]) -> None:
    """Rows that were measured are predicted; of TPU v3, all but convolutions."""
    for result in results.values():
        missing = [case.name for case in result.set.cases if case.predict is None]
        assert all(name.startswith(("conv", "resnet")) for name in missing)
    rows = {row["Workload"] for row in read("tpu_v3.csv")}
    cases = {case.name for name in BARS if "tpu" in name for case in results[name].set.cases}
    assert cases == rows


def test_rows_used_for_fitting_do_not_count(results: dict[str, Found]) -> None:
    for name, result in results.items():
        fitting = [i for i, case in enumerate(result.set.cases) if case.fitting]
        assert result.errors.rows == len(result.set.expressible) - len(fitting)
        if name.startswith("ironwood"):
            assert fitting == list(range(0, len(result.set.cases), 2))
    first = [case.name for case in results["tpu-v3-vector"].set.cases if case.fitting]
    assert first == ["layernorm_512x768", "softmax_512x512", "attention_12x512x64"]
    assert [case.fitting for case in results["tpu-v3-gemm"].set.cases] == [
        True,
        False,
        False,
        False,
    ]


def test_others_stand_beside(results: dict[str, Found]) -> None:
    """Published errors of SCALE-Sim v3 and Timeloop on the four products."""
    result = results["tpu-v3-gemm"]
    for name, published in {
        "SCALE-Sim v3": (-67, -35, -13, -7),
        "Timeloop": (-83, -57, -30, -17),
    }.items():
        values = result.others[name]
        found = [100 * (values[i] / case.measured - 1) for i, case in enumerate(result.set.cases)]
        assert np.allclose(found, published, atol=0.6)


# ---- the fits


@pytest.mark.parametrize("chip", fit.CONSTANTS)
def test_the_files_say_which_constants_are_fitted(chip: str) -> None:
    constants = fit.CONSTANTS[chip]
    assert len(constants) <= fit.MOST
    lines = (CHIPS / f"{chip}.yaml").read_text().splitlines()
    marked = [line for line in lines if not line.startswith("#") and "# fitted" in line]
    assert len(marked) == len(constants)
    data = read_yaml(CHIPS / f"{chip}.yaml")
    for constant in constants:
        value, key = data, ""
        for key in constant.path.split("."):
            assert isinstance(value, dict)
            value = value[key]
        (line,) = [line for line in marked if line.split(":")[0].strip() == key]
        assert isinstance(value, int | float) and constant.low <= value <= constant.high
        assert constant.rounded(value) == pytest.approx(value), line


def test_the_fit_finds_what_the_file_says() -> None:
    """On the rows used, nothing near is better than the file's values."""
    chip = "tpu-v3-core"
    said: list[str] = []
    with runner(1) as run:
        found = fit.fit(chip, run, None, said.append)
    assert set(found.constants) == {constant.path for constant in fit.CONSTANTS[chip]}
    mine = found.rows
    theirs = {
        case.name: case.predict(load_chip(chip)) / case.measured - 1
        for name in ("tpu-v3-gemm", "tpu-v3-vector")
        for case in registry.load(name).cases
        if case.fitting and case.predict is not None
    }
    assert theirs.keys() == mine.keys()
    assert _rms(list(theirs.values())) <= _rms(list(mine.values())) + 0.01
    assert said[0].startswith("round 1: rms error ")
    shown = [line.split() for line in found.lines()]
    assert [line[0] for line in shown[1 : 1 + len(found.constants)]] == list(found.constants)
    there = load_chip(chip).tile.dma.start
    assert shown[1][1:] == [str(found.constants["tile.dma.start"]), str(there)]


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


def test_fit_of_a_chip_that_has_none() -> None:
    result = emu("validate", "--fit", "t1", "--jobs", 1)
    assert result.status == 2
    assert (
        "--fit: t1 has no fitted constants; tpu-v3-core, ironwood-core, gemmini-128 have"
        in result.err
    )


# ---- statistics


def test_errors() -> None:
    found = errors([(110, 100), (90, 100), (330, 300)])
    assert found.rows == 3
    assert found.mape == pytest.approx(0.1) == found.median_ape
    assert found.bias == pytest.approx(0.1 / 3)
    assert found.spearman == pytest.approx(math.sqrt(3) / 2)  # two of the measured are equal
    assert errors([]).mape is None
    assert errors([(1, 2)]).spearman is None
    assert errors([(1, 1), (2, 3), (9, 4)]).spearman == pytest.approx(1)
    assert errors([(3, 1), (2, 2), (1, 3)]).spearman == pytest.approx(-1)


# ---- a set of one's own


def _toy(predict: bool = True) -> Set:
    def clock(chip: Chip) -> float:
        return chip.clock_hz / 1e9

    cases = (
        Case("first", 2.0, clock, {"other": 3.0}, fitting=True),
        Case("second", 2.0, clock, {"other": 1.0}),
        Case("third", 5.0, None, note="not expressible: no clock"),
    )
    return Set(
        "toy", "Clocks", "t1", "GHz", "nobody", cases, ("a note",), lambda: {"plain": [1, 2, None]}
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Set:
    def load(data: Path | None) -> Set:
        if data is None:
            raise MissingData("toy.csv is not here; give --data")
        return _toy()

    monkeypatch.setattr("emulator.validate.sets.toy", load, raising=False)
    monkeypatch.setattr(registry, "SETS", {"toy": "emulator.validate.sets:toy"})
    registry.load.cache_clear()
    return _toy()


def test_a_table() -> None:
    result = found(_toy(), {0: 2.4, 1: 2.4})
    lines = text(result).splitlines()
    assert lines[0] == "toy: Clocks"
    assert lines[1:3] == ["  chip t1, nobody", "  a note"]
    assert lines[3].split() == ["predicted", "measured", "(GHz)", "error", "other", "plain"]
    first, second, third = (line.split() for line in lines[4:7])
    assert first == ["first", "2.4", "2", "+20.0", "%", "+50.0", "%", "-50.0", "%", "fitting"]
    assert second == ["second", "2.4", "2", "+20.0", "%", "-50.0", "%", "+0.0", "%"]
    assert third == ["third", "-", "5", "-", "not", "expressible:", "no", "clock"]
    assert lines[9].split() == ["this", "model", "1", "20.0", "%", "20.0", "%", "+20.0", "%"]
    assert lines[10].split() == ["other", "1", "50.0", "%", "50.0", "%", "-50.0", "%"]
    assert lines[11].split() == ["plain", "1", "0.0", "%", "0.0", "%", "+0.0", "%"]
    assert " ".join(overview([result]).split()[6:]) == "toy 1 20.0 % 20.0 % +20.0 %"


def test_a_long_table_shows_the_worst() -> None:
    cases = tuple(Case(f"row {i}", 1.0, lambda chip: 1.0) for i in range(100))
    result = found(Set("long", "x", "t1", "s", "y", cases), {i: 1 + i / 100 for i in range(100)})
    lines = text(result).splitlines()
    assert lines[3].split()[:2] == ["row", "99"]
    assert "  ... the 10 worst of 100 rows" in lines


def test_json() -> None:
    data = as_json([found(_toy(), {0: 2.4, 1: 2.4})], {"gone": "why"})
    assert data["schema"] == 1
    (row,) = data["sets"]
    assert {key: row[key] for key in ("name", "rows", "spearman")} == {
        "name": "toy",
        "rows": 1,
        "spearman": None,
    }
    assert row["mape"] == row["median_ape"] == row["bias"] == pytest.approx(0.2)
    assert [case["predicted"] for case in row["cases"]] == [2.4, 2.4, None]
    assert row["cases"][0]["others"] == {"other": 3.0, "plain": 1}
    assert data["skipped"] == [{"name": "gone", "reason": "why"}]
    json.dumps(data)


def test_missing_data_is_skipped_by_name(toy: Set, tmp_path: Path) -> None:
    assert done("validate", "--jobs", 1).out == "toy: skipped: toy.csv is not here; give --data\n"
    shown = done("validate", "--data", tmp_path, "--jobs", 1).out
    assert shown == text(found(toy, {0: 2.4, 1: 2.4})) + "\n\n"
    listed = done("validate", "--data", tmp_path, "--list").out
    assert listed.split() == ["toy", "t1", "3", "rows", "Clocks"]


def test_sensitivity(toy: Set, tmp_path: Path) -> None:
    lines = done("validate", "--data", tmp_path, "--sensitivity", "--jobs", 1).out.splitlines()
    assert lines[0].startswith("toy: MAPE 20.0 %; ")
    assert lines[1].split() == ["clock_hz", "2400000000.0", "4.0", "%", "44.0", "%"]
    assert lines[2].endswith(" others move it by less than 0.05 points")


def test_sensitivity_of_a_large_set_takes_some_of_its_rows() -> None:
    cases = tuple(
        Case(str(i), 1.0, lambda chip: 1.0, fitting=i % 2 == 0, heavy=i == 1) for i in range(200)
    )
    found = sensitivity.rows(Set("large", "x", "t1", "s", "y", cases))
    assert len(found) <= sensitivity.MOST_ROWS and found[:3] == [3, 9, 15]
    assert sensitivity.rows(Set("none", "x", "t1", "s", "y", ())) == []


def test_what_sensitivity_moves() -> None:
    pairs = {
        less.path: (less.value, more.value) for less, more in sensitivity.moves(load_chip("t1"))
    }
    assert pairs["tile.dma.start"] == (768, 1152)
    assert pairs["tile.mxu.double_buffered"] == (False, False)
    assert pairs["noc.hop"] == (7, 11)
    assert pairs["control.scalar"] == (0, 2)
    assert "hbm.bytes_per_second" in pairs and "hbm.bytes" not in pairs and "name" not in pairs


# ---- the command


def test_list() -> None:
    listed = [line.split()[0] for line in done("validate", "--list").out.splitlines()]
    assert [name for name in listed if name in BARS] == list(BARS)


def test_one_set_as_json(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    shown = done("validate", "--set", "tpu-v3-gemm", "--json", file, "--jobs", 1).out
    assert shown.startswith("tpu-v3-gemm: ")
    (row,) = json.loads(file.read_text())["sets"]
    assert row["name"] == "tpu-v3-gemm" and row["rows"] == 3
    only = done("validate", "--set", "tpu-v3-gemm", "--json", "-", "--jobs", 2).json
    assert only["sets"] == [row]  # on other processes as well


def test_a_set_there_is_not() -> None:
    result = emu("validate", "--set", "tpu-v3-gem")
    assert result.status == 2
    assert result.err == "emu: error: --set: no set 'tpu-v3-gem'; did you mean tpu-v3-gemm?\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--list", "--json", "-"), "--list and --json exclude each other"),
        (("--fit", "t1", "--sensitivity"), "--fit and --sensitivity exclude each other"),
        (("--data", "nowhere"), "Invalid value for '--data': Directory 'nowhere' does not exist"),
    ],
)
def test_options_that_do_not_go(options: tuple[str, ...], expected: str) -> None:
    result = emu("validate", *options)
    assert result.status == 2 and result.err.startswith(f"emu: error: {expected}")


def test_processors() -> None:
    assert processors(3) == 3
    assert processors(None) >= 1
    assert command.name == "validate"


def test_every_table_has_its_citation() -> None:
    for path in DATA.glob("*.csv"):
        assert path.read_text().startswith("# ")
        assert read(path.name)
