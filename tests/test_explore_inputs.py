"""Inputs that are no key of a chip: the technology that prices points, techniques left out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from cli_runs import done, emu
from explore_runs import here, write_study  # noqa: F401

from emulator.explore.economics.technology import TECHNOLOGIES
from emulator.explore.reader import load_study

pytestmark = pytest.mark.usefixtures("here")
METRICS = ["tpot", "usd_per_chip", "joules_per_output_token"]


def rows(folder: Path) -> list[dict[str, str]]:
    """What was exported."""
    with (folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def mine(folder: Path, hbm: str) -> None:
    """A technology of one's own: the package's with another price of HBM."""
    text = (TECHNOLOGIES / "public-2026.yaml").read_text()
    before = "hbm: {value: "
    at = text.index(before, text.index("cost:")) + len(before)
    (folder / "mine.yaml").write_text(text[:at] + hbm + text[text.index(",", at) :])


def study(folder: Path, **changes: Any) -> Path:
    """A study of two technologies."""
    mine(folder, "100")
    changes = {"axes": {"technology": ["public-2026", "mine.yaml"]}} | changes
    return write_study(folder, metrics=METRICS, workloads=["decode"], objectives=None, **changes)


def test_a_technology_prices_points_and_times_nothing(tmp_path: Path) -> None:
    path = study(tmp_path)
    assert "1 points timed" in done("explore", path, "-o", tmp_path / "r").out
    public, own = sorted(rows(tmp_path / "r"), key=lambda row: row["technology"], reverse=True)
    assert (public["technology"], own["technology"]) == ("public-2026", "mine.yaml")
    assert public["key"] == own["key"] and public["tpot"] == own["tpot"]
    assert float(own["usd_per_chip"]) > float(public["usd_per_chip"])
    assert own["joules_per_output_token"] == public["joules_per_output_token"]


def test_a_changed_technology_is_another_price(tmp_path: Path) -> None:
    path = study(tmp_path, axes=None, fixed={"technology": "mine.yaml", "context": 100})
    done("explore", path, "-o", tmp_path / "r")
    (before,) = rows(tmp_path / "r")
    mine(tmp_path, "200")
    from emulator.explore.cost_metrics import technology

    technology.cache_clear()  # as in another process
    assert "0 points timed" in done("explore", path, "-o", tmp_path / "r").out
    (after,) = rows(tmp_path / "r")
    assert float(after["usd_per_chip"]) > float(before["usd_per_chip"])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nowhere.yaml", "technology: `nowhere.yaml` is neither a file nor one of public-2026"),
        ("study.yaml", "technology: "),
        (3, "technology: expected a text, got 3"),
    ],
)
def test_bad_technologies_are_refused(tmp_path: Path, value: object, problem: str) -> None:
    result = emu("explore", study(tmp_path, axes={"technology": [value]}), "-o", tmp_path / "r")
    assert result.status == 2 and problem in result.err and result.err.count("\n") == 1
    assert "study.yaml: line" in result.err and not (tmp_path / "r").exists()


def test_techniques_left_out_cost_time(tmp_path: Path) -> None:
    without = [[], ["prefetch"], ["prefetch", "multicast"]]
    path = write_study(tmp_path, axes={"without": without}, objectives=None)
    out = done("explore", path, "-o", tmp_path / "r").out
    assert "3 points timed" in out and "none" in out
    tpot = {row["without"]: float(row["tpot"]) for row in rows(tmp_path / "r")}
    assert tpot['["prefetch"]'] > tpot["[]"] and len(tpot) == 3


def test_techniques_have_one_order(tmp_path: Path) -> None:
    path = write_study(tmp_path, axes=None, fixed={"without": ["multicast", "prefetch"]})
    assert load_study(path).fixed["without"] == ("prefetch", "multicast")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("prefetch", "without: expected a list of techniques, got 'prefetch'; known are prefetch"),
        (["turbo"], "without: 'turbo' is no technique; known are prefetch, multicast"),
        ([[]], "without: [] is no technique"),
    ],
)
def test_bad_techniques_are_refused(tmp_path: Path, value: object, problem: str) -> None:
    path = write_study(tmp_path, fixed={"without": value, "prompt": 40, "context": 100})
    result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 2 and problem in result.err and result.err.count("\n") == 1
