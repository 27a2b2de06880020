"""docs/studies: every page has what its data says, and its data keeps the laws it should."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from emulator.explore.reader import load_study
from emulator.explore.rows import Judge
from emulator.explore.run import all_points

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "studies"
NAMES = ("fp4-fp8", "split-array", "sram-bandwidth")


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """docs/studies/figures/common.py; its modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER / "figures"))
    import common

    yield common
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def test_every_study_is_there(common: ModuleType) -> None:
    assert set(common.pages()) == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*NAMES, "llama-8b"}
    for folder, end in (("data", "csv"), ("img", "svg")):
        assert {path.name for path in (FOLDER / folder).iterdir()} == {f"{n}.{end}" for n in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_numbers_of_its_data(name: str, common: ModuleType) -> None:
    page = common.pages()[name]
    text = page.text.read_text()
    filled = common.page_with(text, page.module().tables(common.read(page.data)))
    assert filled == text, f"python docs/studies/figures {name}"
    assert f"img/{name}.svg" in text and f"docs/studies/{name}.yaml" in text
    assert text.count("## Finding") == text.count("## Limits") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_can_be_drawn_anew(name: str, common: ModuleType) -> None:
    page = common.pages()[name]
    drawn = common.svg(lambda: page.module().draw(common.read(page.data))).decode()
    stored = page.picture.read_text()
    for each in (drawn, stored):
        ElementTree.fromstring(each)
        assert "prefers-color-scheme: dark" in each and "<metadata>" not in each
    words = ["".join(e.itertext()) for e in ElementTree.fromstring(drawn).iter() if "text" in e.tag]
    assert [word for word in words if word not in stored] == []


@pytest.mark.parametrize("name", [*NAMES, "llama-8b"])
def test_a_study_has_the_points_of_its_data(name: str, common: ModuleType) -> None:
    study = load_study(FOLDER / f"{name}.yaml")
    judge = Judge(study)
    points = [point for point in all_points(study) if judge.jobs(point)]
    assert all(point.job is not None for point in points)
    if name == "llama-8b":
        assert len(points) == 200 and study.workloads == ("prefill", "decode")
        return
    rows = common.read(FOLDER / "data" / f"{name}.csv")
    assert len(rows) == len(points)
    assert list(rows[0]) == [*study.varied, *study.metrics]
    wanted = [{n: point.inputs[n] for n in study.varied} for point in points]
    found = [{n: _plain(row[n]) for n in study.varied} for row in rows]
    assert found == wanted


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


# ---- laws (issue: above 1 % they would be defects)


def series(name: str, axis: str) -> list[list[dict[str, str]]]:
    """The stored points that differ in one axis only, along it."""
    study = load_study(FOLDER / f"{name}.yaml")
    with (FOLDER / "data" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups: dict[Any, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[n] for n in study.varied if n != axis), []).append(row)
    return [sorted(group, key=lambda row: float(row[axis])) for group in groups.values()]


def drops(name: str, axis: str, metric: str) -> list[float]:
    """By how much a metric falls where it should not, in the worst step of each series."""
    found = []
    for group in series(name, axis):
        assert len(group) > 1
        found += [float(b[metric]) / float(a[metric]) - 1 for a, b in pairwise(group)]
    return [each for each in found if each < -0.01]


LAWS: dict[str, Callable[[], list[float]]] = {
    "bandwidth never slows decode": lambda: drops(
        "sram-bandwidth", "hbm.bytes_per_second", "tokens_per_s_user"
    ),
    "batch, formats": lambda: drops("fp4-fp8", "batch", "tokens_per_s_chip"),
    "batch, arrays": lambda: drops("split-array", "batch", "tokens_per_s_chip"),
}


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_the_shipped_studies(law: str) -> None:
    assert LAWS[law]() == []


def test_the_command_refuses_what_is_no_result(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "figures"), "fp4-fp8", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "study.json: is missing; run `emu explore` first" in result.stderr
