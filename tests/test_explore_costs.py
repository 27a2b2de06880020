"""Metrics of energy, area and cost in studies are those of the economics library."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from emulator.explore import cost_metrics
from emulator.explore.economics.counts import Counts
from emulator.explore.economics.evaluate import METRICS, Done, evaluate_phases
from emulator.explore.economics.part import Part
from emulator.explore.economics.technology import load_technology
from emulator.explore.metrics import known
from isa.chip import load_chip


def result(chip: str, **changes: object) -> dict[str, Any]:
    """A decode phase of one second: a gigabyte of weights, ten tokens."""
    traffic = {
        "tsram": {"bytes": 5}, "acc": {"bytes": 6}, "csram": {"bytes": 7},
        "noc": {"bytes": 8, "byte_hops": 9},
        "hbm": {"classes": {"weights": {"read_padded": 10**9, "write_padded": 0}}},
    }  # fmt: skip
    work = {"macs": {"fp8 x fp4": 10**12}, "vector_elements": 3, "instructions": 4}
    decode = {"seconds": 1.0, "tokens": 10, "traffic": traffic, "work": work}
    data = asdict(load_chip(chip).with_(**changes))
    return {"chip": data, "base": chip, "inputs": {"chip": chip}, "phases": {"decode": decode},
            "technology": "public-2026"}  # fmt: skip


def test_every_metric_of_a_phase_is_the_librarys() -> None:
    counts = Counts(1.0, {"fp8 x fp4": 10**12}, 3, 4, 5, 6, 7, 9, {"weights": 10**9})
    wanted = evaluate_phases(Part.load("maia-200"), load_technology(), decode=Done(counts, 10))
    for name in METRICS:
        if name in known():
            assert known()[name].value(result("maia-200")) == wanted.metrics[name], name
    assert cost_metrics.figure(result("maia-200"), "joules_per_output_token")
    assert cost_metrics.figure(result("maia-200"), "joules_per_input_token") is None


def test_a_variation_keeps_what_its_file_says() -> None:
    area = known()["area_mm2"].value
    larger = area(result("maia-200", **{"cluster.csram.bytes": 32 * 2**20}))
    assert area(result("maia-200")) == pytest.approx(820)
    assert larger is not None and larger > 820


def test_a_chip_of_a_file_keeps_what_the_file_says(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "isa" / "chips" / "maia-200.yaml").read_text()
    assert text.count("\nname: maia-200\n") == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("\nname: maia-200\n", "\nname: mine\n"))
    mine = result("maia-200") | {"base": str(path), "inputs": {"chip": "mine.yaml"}}
    for name in ("area_mm2", "usd_per_chip", "joules_per_output_token"):
        assert known()[name].value(mine) == known()[name].value(result("maia-200")), name
    unknown = result("t1")
    assert known()["area_mm2"].value(unknown) != known()["area_mm2"].value(mine)


def test_a_chip_beyond_the_reticle_has_no_price() -> None:
    assert known()["usd_per_chip"].value(result("t1", **{"cluster.csram.bytes": 1 << 28})) is None
