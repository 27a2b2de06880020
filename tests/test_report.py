"""The report for people: everything is said, nothing is wider than 100 columns, shares sum up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_timing_streams import INFO, MINI, random_stream, timed

from emulator.report import NOT_MODELLED, OVERLAP, UNIT_COLUMNS, WIDTH, render
from emulator.report_table import bar, percentages, table, us
from emulator.tally import Tally
from emulator.timing import layout as at
from emulator.timing import result as timing_result


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The JSON result of a run of two prefill and three decode steps, made of random streams."""
    prefill, decode = Tally(MINI, INFO), Tally(MINI, INFO)
    cycles = []
    for seed in range(5):
        found = timed(MINI, random_stream(MINI, seed))
        cycles.append(found.cycles)
        (prefill if seed < 2 else decode).add(found)
    whole = prefill.merged(decode)
    groups = {"prefill": prefill, "decode": decode}
    return {
        "program": "program.bin",
        "chip": "t1-mini",
        "cycles": {"total": sum(cycles), "prefill": sum(cycles[:2]), "decode": cycles[2:]},
        "traffic": whole.traffic(),
        "bounds": {name: tally.bounds() for name, tally in groups.items()},
        "units": whole.units(),
        "operations": {name: tally.operations() for name, tally in groups.items()},
        "rates": {"first_token_seconds": 1.5e-5, "token_seconds": 2.5e-5},
    }


def test_the_report_fits_and_says_everything(result: dict[str, Any]) -> None:
    text = render(result)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    for name in ("embed", "attend", "multiply", "sample", "(no operation)", "weights", "kv"):
        assert name in text
    assert "40,000 tokens/s" in text and "first token after 15.0 us" in text
    assert f"{result['traffic']['hbm']['read']:,}" in text
    for group in ("Prefill", "Decode"):
        assert text.count(f"{group}, cycles of a step") == 1


def test_it_ends_with_what_is_not_modelled(result: dict[str, Any]) -> None:
    lines = render(result).splitlines()
    assert lines[-len(NOT_MODELLED) - 1] == "Not modelled"
    assert [line.strip() for line in lines[-len(NOT_MODELLED) :]] == list(NOT_MODELLED)


def test_own_cycles_and_unit_shares_sum_to_the_whole(result: dict[str, Any]) -> None:
    for group, operations in result["operations"].items():
        own = sum(op["exclusive"] for op in operations)
        assert own == result["bounds"][group]["cycles"]
    lines = render(result).splitlines()
    start = lines.index("Units, shares of all tiles' time in per cent") + 2
    for line in lines[start : start + 4]:
        shares = [0.0 if word == "-" else float(word) for word in line.split()[1:8]]
        assert sum(shares) == pytest.approx(100, abs=1e-6)


def test_every_cause_of_a_unit_has_a_column() -> None:
    columns = {cause for group in UNIT_COLUMNS.values() for cause in group}
    assert columns | {"signal"} == set(at.CAUSES)


def test_names_shared_with_the_timing_model_agree() -> None:
    assert timing_result.OVERLAP == OVERLAP


def test_a_program_without_decode_steps_or_traffic_has_a_report(result: dict[str, Any]) -> None:
    other = copy.deepcopy(result)
    other["cycles"]["decode"], other["rates"]["token_seconds"] = [], None
    for key in ("bounds", "operations"):
        del other[key]["decode"]
    other["traffic"]["hbm"]["classes"] = {}
    text = render(other)
    assert "tokens/s" not in text and "Decode" not in text


# ---- tables


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=8))
def test_percentages_always_sum_to_100(shares: list[float]) -> None:
    shown = percentages(shares)
    if sum(shares) == 0:
        assert set(shown) == {"-"}
        return
    values = [0.0 if word == "-" else float(word) for word in shown]
    assert sum(values) == pytest.approx(100, abs=1e-6)
    for share, value in zip(shares, values, strict=True):
        assert abs(value - share / sum(shares) * 100) <= 0.1 + 1e-9


def test_tables_are_aligned_and_cut_at_a_comma() -> None:
    rows = [("name", "n", "why"), ("a", "1,000", "first 60%, second 30%, third 10%")]
    lines = table(rows, "<><", 40)
    assert lines == ["  name      n  why", "  a     1,000  first 60%, second 30%"]
    assert table(rows, "<><")[1].endswith("third 10%")


def test_bars_grow_with_the_share() -> None:
    assert [bar(x, 4) for x in (0, 0.5, 1, 2)] == ["", "██", "████", "████"]
    assert len(bar(0.01, 8)) == 1


def test_times_have_units() -> None:
    assert us(1.5e-5) == "15.0 us"
    assert us(0.25) == "250.0 ms"
