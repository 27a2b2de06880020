"""From a real run's JSON to joules and dollars: counts, and what follows from them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cli_runs import MODEL, done, made

from emulator.explore.economics.counts import counts_of
from emulator.explore.economics.evaluate import METRICS, evaluate
from emulator.explore.economics.part import Part
from emulator.explore.economics.technology import load_technology
from emulator.explore.economics.values import EconomicsError

TECHNOLOGY = load_technology()
PART = Part.load("t1-mini")


@cache
def result() -> dict[str, Any]:
    """A prompt of three tokens and three more."""
    run = ("run", made().good, "--tokens", "5,40,7", "--max-new-tokens", 4, "--json", "-")
    found: dict[str, Any] = done(*run).json
    return found


def test_work_is_the_runs() -> None:
    work, found = result()["work"], result()
    assert set(work) == {"prefill", "decode"}
    for group, row in work.items():
        assert row["cycles"] == found["bounds"][group]["cycles"]
        assert sum(row["macs"].values()) == found["bounds"][group]["macs"] > 0
        assert row["vector_elements"] > 0 and row["instructions"] > 0
        assert set(row["macs"]) == {"bf16 x bf16", "fp8 x fp4"}  # attention; mxfp8 by mxfp4
    for path in (("hbm", "read"), ("hbm", "write_padded"), ("tsram", "bytes"),
                 ("acc", "bytes"), ("noc", "byte_hops")):  # fmt: skip
        space, key = path
        parts = [row["traffic"][space][key] for row in work.values()]
        assert sum(parts) == found["traffic"][space][key] > 0


def test_figures_of_a_run() -> None:
    found = evaluate(result(), PART, TECHNOLOGY, input_tokens=3, output_tokens=3)
    assert set(found.metrics) == set(METRICS)
    assert all(value is not None and value > 0 for value in found.metrics.values())
    for ledger in found.ledgers.values():
        assert ledger.total == pytest.approx(sum(entry.value for entry in ledger.entries))
    counts = counts_of(result(), "decode", PART.chip)
    assert found.metrics["output_tokens_per_second"] == 3 / counts.seconds
    seconds = sum(result()["cycles"]["decode"]) / PART.chip.clock_hz + 3 * 5e-6
    assert counts.seconds == pytest.approx(seconds)
    json.dumps(found.json)


def test_a_phase_is_left_out_or_missed() -> None:
    found = evaluate(result(), PART, TECHNOLOGY, output_tokens=3)
    assert found.metrics["joules_per_input_token"] is None
    assert found.metrics["joules_per_output_token"] is not None
    bare = {"work": {"decode": result()["work"]["decode"]}}
    with pytest.raises(EconomicsError, match=r"work\.prefill: the result has none; time a run"):
        evaluate(bare, PART, TECHNOLOGY, input_tokens=3)
    with pytest.raises(EconomicsError, match=r"work\.decode: the result has none"):
        evaluate({"work": None}, PART, TECHNOLOGY, output_tokens=3)


def test_dearer_memory_costs_more_energy_and_no_more_time() -> None:
    dear = TECHNOLOGY.with_(**{"energy.hbm": 62.4})
    base, more = (evaluate(result(), PART, t, output_tokens=3) for t in (TECHNOLOGY, dear))
    a, b = base.ledgers["decode energy"], more.ledgers["decode energy"]
    assert b.entry("HBM weights").value == pytest.approx(2 * a.entry("HBM weights").value)
    assert base.metrics["output_tokens_per_second"] == more.metrics["output_tokens_per_second"]


def test_folded_layers_do_the_same_work(tmp_path: Path) -> None:
    """Work of layers that are copies is counted, format pair by format pair."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(MODEL | {"num_hidden_layers": 7}))
    program = tmp_path / "p.bin"
    done(
        "compile",
        config,
        "-o",
        program,
        "--chip",
        "t1-mini",
        "--no-weights",
        "--rows",
        8,
        "--quiet",
    )
    run = (
        "run",
        program,
        "--timing-only",
        "--tokens",
        "5,40,7",
        "--max-new-tokens",
        3,
        "--json",
        "-",
    )
    whole, folded = (done(*run, "--fold-layers", fold).json["work"] for fold in ("all", 4))
    for group in ("prefill", "decode"):
        for key in ("macs", "vector_elements"):
            assert folded[group][key] == whole[group][key]
        # The last turn of the loop over layers has a branch fewer.
        assert folded[group]["instructions"] == pytest.approx(whole[group]["instructions"], 1e-3)
        for name, row in whole[group]["traffic"]["hbm"]["classes"].items():
            assert folded[group]["traffic"]["hbm"]["classes"][name]["read"] == row["read"]
