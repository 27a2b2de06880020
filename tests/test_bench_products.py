"""`emu bench chip`: single products of few rows, and what `ksplit` is worth in each."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cli_runs import done, emu

from compiler.operators import gemm
from emulator.bench.chip import hbm_copy, product_table, products
from emulator.bench.chip.products import FORMATS_USED, SPLITS, Product, SplitGain, timed
from emulator.bench.chip.step import Setting
from emulator.bench.rows import BenchError
from emulator.validate.predict import cycles
from isa.chip import load_chip

MINI = load_chip("t1-mini")
NAMES = [f"gemm_{matrix}_b{rows}" for matrix in ("8b_o", "8b_down", "1b_down") for rows in (1, 32)]
SMALL = Product("small", "o", 5, 96, 512)


@cache
def rate() -> float:
    return hbm_copy.bytes_per_cycle(MINI)


def test_the_shapes_are_those_of_the_models() -> None:
    found = {row.name: (row.m, row.n, row.k) for row in products.products()}
    assert list(found) == NAMES
    assert found["gemm_8b_o_b1"] == (1, 4096, 4096)
    assert found["gemm_8b_down_b32"] == (32, 4096, 14336)
    assert found["gemm_1b_down_b1"] == (1, 2048, 8192)


@pytest.mark.parametrize("ksplit", [1, 2, 4])
def test_a_row_has_its_programs_cycles_beside_its_bytes(ksplit: int) -> None:
    row = timed(Setting(MINI), SMALL, rate(), ksplit, "some")
    program = gemm(MINI, 5, 96, 512, FORMATS_USED, layout="blocks", ksplit=ksplit)
    assert row.cycles == cycles(program, MINI)
    nbytes = 5 * 512 + 96 * 512 + 5 * 96 * 2
    assert row.row.measured.yardstick == pytest.approx(nbytes / rate()) and row.bound == "hbm"
    grid = program.metadata["plan"]["tiles"]
    assert row.tiles == grid[0] * grid[1] * ksplit <= 4
    assert row.utilisation == pytest.approx(5 * 96 * 512 / (4 * 32 * 32) / row.cycles)
    assert sum(loss.cycles for loss in row.loss) == row.cycles - int(nbytes / rate())


def test_a_product_of_many_rows_is_bound_by_arrays() -> None:
    row = timed(Setting(MINI), replace(SMALL, m=400), rate(), 1, "some")
    assert row.bound == "array" and row.row.measured.ratio == pytest.approx(1 / row.utilisation)


def test_a_program_that_does_too_little_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def less(*arguments: int, **options: object) -> object:
        chip, m, n, k, formats = arguments
        return gemm(chip, m, n, k - 32, formats, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(products, "gemm", less)
    with pytest.raises(BenchError, match=r"gemm_small_o_b5: 230,400 MACs executed, not 245,760"):
        timed(Setting(MINI), SMALL, rate(), 1, "some")


def test_ranges_without_a_program_say_why() -> None:
    one, eight = (timed(Setting(MINI), SMALL, rate(), n, "some") for n in (1, 8))
    gain = SplitGain(one, eight)
    found = gain.json()
    assert found["gain"] is None and found["cycles"] == one.cycles
    assert found["note"] == "gemm: does not fit t1-mini: ksplit 8 on 4 tiles"
    text = "\n".join(product_table.split_lines([gain], 5))
    assert "8 ranges: gemm: does not fit t1-mini" in text


def test_rows_and_gains_through_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "chip.json"
    chips = ("--chip", "t1-mini", "--chip", "t1-mini-balanced")
    result = done("bench", "chip", *chips, "--only", "gemm_1b_*_b1", "--techniques", "--json", file)
    found = json.loads(file.read_text())
    rows = {row["name"]: row for row in found["rows"]}
    names = ["gemm_1b_down_b1@t1-mini", "gemm_1b_down_b1@t1-mini-balanced"]
    assert [name for name in rows if name.startswith("gemm")] == names
    for row in (rows[name] for name in names):
        assert row["ratio"] == row["over_bound"] > 1 and row["value"] == row["cycles"]
        assert (row["phase"], row["shape"], row["ksplit"]) == ("product", [1, 2048, 8192], 1)
        assert row["unit"] == "cycles" and row["bound"] == "hbm" and "bar" not in row
    gains = [(each["row"], each["technique"], each["ranges"]) for each in found["techniques"]]
    assert gains == [(name, "ksplit", ranges) for name in names for ranges in SPLITS]
    for each in found["techniques"]:
        assert each["cycles"] == rows[each["row"]]["cycles"]
        assert each["with"]["ksplit"] == each["ranges"] and each["with"]["chip"] in each["row"]
        if each["gain"] is not None:
            gain = each["cycles"] / each["with"]["cycles"]
            assert each["gain"] == pytest.approx(gain, rel=1e-5)
    assert all(name in result.out for name in names) and "4 ranges: 4 tiles" in result.out
    assert "Cycles without a technique" not in result.out  # of steps, and there are none


def test_steps_alone_have_no_products() -> None:
    found = done("bench", "chip", "--chip", "t1-mini", "--only", "hbm_*", "--json", "-").json
    assert [row["name"] for row in found["rows"]] == ["hbm_copy_64k"]
    refused = emu("bench", "chip", "--only", "gemm_8b_o_b1", "--mixed")
    assert refused.status == 2 and "no step is chosen" in refused.err
    refused = emu("bench", "chip", "--only", "gemm_8b_q_b1")
    assert refused.status == 2 and "there are gemm_8b_o_b1" in refused.err
