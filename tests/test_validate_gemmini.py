"""The Gemmini RTL set: its file, its loops, what is simulated of them, programs, cycles, fit."""

from __future__ import annotations

import os
import sys
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from cli_runs import emu

from emulator import retire
from emulator.errors import InputError
from emulator.fast.machine import FastMachine
from emulator.validate.errors import errors
from emulator.validate.gemmini import baselines, fit
from emulator.validate.gemmini.lowering import (
    CONV_FIELDS,
    ENTRY,
    MATMUL_FIELDS,
    Layout,
    program_of,
)
from emulator.validate.gemmini.nest import Level, nest_of
from emulator.validate.gemmini.predict import cycles_of, predict, stream_of
from emulator.validate.gemmini.rows import COLUMNS, FILE, Row, read_rows
from emulator.validate.gemmini.sampling import sample
from emulator.validate.sets import gemmini
from isa.chip import load_chip
from isa.formats import Format, decode, encode

CHIP = load_chip("gemmini-128")
HEADER = ",".join(COLUMNS)
#: Three layers made up by hand: a convolution, one of stride 2, a matrix product.
CONV = "8,6,1,4,6,1,1,1,1,L3[WIO] K3 Q3 P2 C2 - L2[WI] N1 K2X - L1[O] Q2 C4X - L0[W] P2,4000"
STRIDED = "4,4,1,4,2,1,1,2,2,L3[WIO] P2 K2 - L2[WI] N1 K2X - L1[O] Q2 C4X - L0[W] P2,4000"
MATMUL = "10,20,1,3,1,1,1,1,1,L3[WIO] P3 K2 C5 - L2[WI] N1 K5X - L1[O] K2 C2X - L0[W] N1,900"
BIG = "4096,4096,1,4096,1,1,1,1,1,L3[WIO] N1 - L2[WI] K4096 - L1[O] C4096 - L0[W] P4096,9"
BROAD = BIG.replace("K4096", "K4096X")
DATA = os.environ.get("TESSERA_DATA")
needs_data = pytest.mark.skipif(
    not DATA or not (Path(DATA) / FILE).exists(), reason=f"needs {FILE} in $TESSERA_DATA"
)


def rows_of(tmp_path: Path, *lines: str, header: str = HEADER) -> list[Row]:
    path = tmp_path / FILE
    path.write_text("\n".join([header, *lines]) + "\n")
    return read_rows(path)


def one(tmp_path: Path, line: str) -> Row:
    return rows_of(tmp_path, line)[0]


# ---- the file


def test_rows_have_shape_mapping_and_cycles(tmp_path: Path) -> None:
    three = "8,6,1,4,6,3,3,1,1,L3[WIO] K6 Q6 P4 C8 R3 S3 - L2[WI] N1 - L1[O] N1 - L0[W] N1,9"
    row, *rest = rows_of(tmp_path, CONV, three)
    assert not rest  # which is not 1x1
    assert (row.size["C"], row.size["K"], row.stride, row.cycles) == (8, 6, 1, 4000)
    assert [row.tile(dim) for dim in "CKPQ"] == [4, 2, 2, 2]
    assert [f.dim for f in row.outer] == ["K", "Q", "P", "C"]
    assert row.spatial("C") == 4 and row.spatial("P") == 1


BAD = {
    "C,K": "no column 'N'",
    f"{HEADER}\n1,2": "2 columns, not 11",
    f"{HEADER}\n{CONV.replace('8,6', 'x,6', 1)}": "C 'x' is not a whole number",
    f"{HEADER}\n{CONV.replace('8,6', '0,6', 1)}": "C '0' is not a whole number",
    f"{HEADER}\n{CONV.replace('1,1,1,1,L3', '1,1,1,2,L3')}": "strides differ",
    f"{HEADER}\n{CONV.replace('4000', '-1')}": "rtl_cycles '-1' is not a positive number",
    f"{HEADER}\n{CONV.replace('4000', 'nan')}": "rtl_cycles 'nan' is not a positive number",
    f"{HEADER}\n{CONV.replace('K3', 'K4')}": "the mapping covers 8 of K, not 6",
    f"{HEADER}\n{CONV.replace('K3', 'Z3')}": "'Z3' is no factor of a mapping",
    f"{HEADER}\n{CONV.replace('L1[O]', 'L9')}": "the mapping's levels are not",
    f"{HEADER}\n{CONV.replace('8,6,1', '8,6,2').replace('N1', 'N2')}": "N is 2; only 1 is known",
    f"{HEADER}\n{CONV.replace('K3', 'K3 K1')}": "L3 loops over K twice",
    f"{HEADER}\n{BROAD}": "a spatial factor beyond the array's 128",
    HEADER: "no 1x1 layer in it",
}


@pytest.mark.parametrize("text", list(BAD))
def test_a_bad_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert BAD[text] in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: no such file"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a CSV file"):
        read_rows(tmp_path / "binary.csv")


# ---- loops and tiles


def test_a_convolution_is_tiled_as_mapped(tmp_path: Path) -> None:
    nest = nest_of(one(tmp_path, CONV))
    assert nest.levels == (Level("K", 3, 2, 2), Level("Q", 3, 2, 2), Level("P", 2, 2, 2), c_level())
    assert (nest.edge, nest.steps, nest.is_matmul) == (4, 36, False)


def c_level() -> Level:
    return Level("C", 2, 4, 4)


def test_a_matrix_product_is_tiled_in_blocks_of_the_array(tmp_path: Path) -> None:
    nest = nest_of(one(tmp_path, MATMUL))
    assert nest.edge == 8 and nest.is_matmul  # 5 of 8 columns used
    # Tiles of less than 16 elements are one block; what L3 does not name comes outside.
    names = {level.dim: (level.turns, level.tile, level.last) for level in nest.levels}
    assert names == {"Q": (1, 1, 1), "P": (1, 3, 3), "K": (3, 8, 4), "C": (2, 8, 2)}
    assert [level.dim for level in nest.levels] == ["Q", "P", "K", "C"]


# ---- sampling


@pytest.mark.parametrize("turns", [(7,), (3, 5, 4), (1, 1, 900), (50, 60), (2, 3, 2000, 4), (2, 2)])
@pytest.mark.parametrize("budget", [4, 20, 100, 10**6])
def test_segments_stand_for_every_step(turns: tuple[int, ...], budget: int) -> None:
    levels = [Level("Q", count, 1, 1) for count in turns]
    segments = sample(levels, budget)
    sizes = [prod(count for _, count in segment.ranges) for segment in segments]
    stood_for = sum(segment.weight * size for segment, size in zip(segments, sizes, strict=True))
    assert stood_for == pytest.approx(prod(turns), rel=1e-12)
    assert all(segment.weight >= 1 for segment in segments)
    firsts = [tuple(first for first, _ in segment.ranges) for segment in segments]
    assert firsts == sorted(firsts)  # in the order of execution
    if budget >= prod(turns):
        assert len(segments) == 1 and segments[0].weight == 1


# ---- programs


def tensors(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [Q, P, C] and weights [C, K] of zeros and ones."""
    generator = np.random.default_rng(5)
    size = row.size
    shape = (size["Q"] * row.stride, size["P"] * row.stride, size["C"])
    weights = generator.integers(0, 2, (size["C"], size["K"])).astype(np.float32)
    return generator.integers(0, 2, shape).astype(np.float32), weights


@pytest.mark.parametrize("line", [CONV, STRIDED, MATMUL])
def test_a_program_computes_its_layer(tmp_path: Path, line: str) -> None:
    row = one(tmp_path, line)
    nest = nest_of(row)
    program = program_of(nest, sample(nest.levels, 10**6), CHIP)
    machine, layout = FastMachine(program, CHIP), Layout(nest, CHIP)
    inputs, weights = tensors(row)
    for name, values in (("inputs", inputs), ("weights", weights)):
        machine.memory.write(layout.bases[name], encode(Format.E4M3FN, values).reshape(-1))
    machine.ring(ENTRY)
    codes = machine.memory.read(layout.bases["outputs"], layout.sizes["outputs"])
    expected = inputs[:: row.stride, :: row.stride] @ weights
    assert decode(Format.E4M3FN, codes).reshape(expected.shape).tolist() == expected.tolist()


@pytest.mark.parametrize(("line", "fields"), [(CONV, CONV_FIELDS), (MATMUL, MATMUL_FIELDS)])
def test_every_step_sets_the_fields_of_its_command(tmp_path: Path, line: str, fields: int) -> None:
    row = one(tmp_path, line)
    dear = CHIP.with_(**{"control.scalar": 1000, "control.issue": 0})
    steps = nest_of(row).steps
    per_step = cycles_of(row, dear) / steps / 1000
    assert fields <= per_step < 1.6 * fields  # a few steps only: loops and the start weigh in


# ---- cycles


def test_cycles_are_those_of_the_timing_model(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, CONV, STRIDED, MATMUL)
    cycles = predict(rows, CHIP)
    assert all(found > CHIP.host.doorbell_s * CHIP.clock_hz for found in cycles)
    assert cycles == predict(rows, CHIP)
    slower = CHIP.with_(**{"hbm.bytes_per_second": 1e8})
    pairs = zip(predict(rows, slower), cycles, strict=True)
    assert all(slow > found for slow, found in pairs)
    done: list[int] = []
    predict(rows, CHIP, done.append)
    assert done == [1, 2, 3]


def test_processes_change_nothing(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, CONV, STRIDED, MATMUL, MATMUL)
    assert predict(rows, CHIP, processes=2) == predict(rows, CHIP)


LONG = (
    "64,64,1,56,28,1,1,1,1,L3[WIO] Q28 P14 K4 C4 - L2[WI] N1 K16X - L1[O] C16X - L0[W] P4,1",
    "64,64,1,56,28,1,1,1,1,L3[WIO] C4 K4 P14 Q28 - L2[WI] N1 K16X - L1[O] C16X - L0[W] P4,1",
    "512,512,1,1,1,1,1,1,1,L3[WIO] K128 C128 - L2[WI] N1 K4X - L1[O] C4X - L0[W] N1,1",
)


def test_a_stream_knows_what_its_segments_stand_for(tmp_path: Path) -> None:
    stream = stream_of(one(tmp_path, LONG[0]), CHIP, steps=100)
    contexts = {int(context) for chunk in stream.chunks for context in chunk[:, retire.CONTEXT]}
    assert contexts == set(range(len(stream.weights))) and max(stream.weights) > 1


@pytest.mark.parametrize("line", LONG)
def test_a_sample_tells_the_cycles_of_the_whole(tmp_path: Path, line: str) -> None:
    row = one(tmp_path, line)
    assert cycles_of(row, CHIP, steps=500) == pytest.approx(cycles_of(row, CHIP, 10**9), rel=0.02)


# ---- baselines, scores, fit


def test_the_roofline_is_the_array_or_the_bus(tmp_path: Path) -> None:
    row = one(tmp_path, CONV)
    assert baselines.roofline(row, CHIP) == (24 * (8 + 6) + 48) / 16
    assert baselines.roofline(one(tmp_path, BIG), CHIP) == 4096**3 / 128**2


def test_without_its_extra_the_regressor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    rows = rows_of(tmp_path, CONV, MATMUL)
    with pytest.raises(InputError, match=r"needs scikit-learn: the extra `validate`"):
        baselines.regressor(rows, rows)


def test_descending_finds_whole_and_other_numbers() -> None:
    goal = fit.START | {"control.scalar": 9, "hbm.tfaw_ns": 6.0}

    def loss(values: dict[str, float]) -> float:
        return sum(abs(np.log((values[name] + 1) / (goal[name] + 1))) for name in goal)

    found = fit.rounded(fit.descend(loss, dict(fit.START)))
    assert found["control.scalar"] == 9 and isinstance(found["control.scalar"], int)
    assert found["hbm.tfaw_ns"] == pytest.approx(6.0, rel=0.03)


def test_fitting_finds_what_was_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = CHIP.with_(**{"control.scalar": 9})
    rows = [one(tmp_path, line) for line in (CONV, STRIDED, MATMUL)]
    cycles = predict(rows, made_up)
    rows = [
        one(tmp_path, line.rsplit(",", 1)[0] + f",{found}")
        for line, found in zip((CONV, STRIDED, MATMUL), cycles, strict=True)
    ]
    values = {name: _value(name) for name in fit.START}
    monkeypatch.setattr(fit, "START", values)
    found = fit.fit(rows, CHIP)
    assert found["control.scalar"] in (8, 9, 10)
    predicted = predict(rows, CHIP.with_(**found))
    ratios = [cycles / row.cycles for cycles, row in zip(predicted, rows, strict=True)]
    assert np.abs(np.array(ratios) - 1).mean() < 0.03


def _value(path: str) -> float:
    node: object = CHIP
    for name in path.split("."):
        node = getattr(node, name)
    assert isinstance(node, int | float)
    return node


def test_fitted_constants_are_marked() -> None:
    text = (Path(__file__).parents[1] / "isa" / "chips" / "gemmini-128.yaml").read_text()
    lines = [line for line in text.splitlines() if "# fitted" in line]
    assert [line.split(":")[0].strip() for line in lines] == [
        "min_interval",
        "scalar",
        "issue",
        "bytes_per_second",
        "tfaw_ns",
        "doorbell_s",
    ]
    assert {name.rsplit(".", 1)[1] for name in fit.START} == {
        line.split(":")[0].strip() for line in lines
    }


def test_without_the_file_the_set_is_skipped_and_the_fit_refused(tmp_path: Path) -> None:
    for options in (("--set", "gemmini-rtl"), ("--fit", "gemmini-128")):
        result = emu("validate", *options, "--data", tmp_path)
        assert "gemmini_rtl.csv is not in --data DIR" in result.out + result.err
        assert result.status == (2 if "--fit" in options else 0)


def test_the_set_knows_halves_and_baselines(tmp_path: Path) -> None:
    rows_of(tmp_path, CONV, STRIDED, MATMUL, CONV)
    found = gemmini.layers(tmp_path)
    assert [case.fitting for case in found.cases] == [False, True, False, True]
    assert found.baselines is not None
    assert len(found.baselines()["roofline"]) == 4
    predict_one = found.cases[2].predict
    assert predict_one is not None
    assert predict_one(CHIP) == predict([one(tmp_path, MATMUL)], CHIP)[0]


# ---- the data set itself


@needs_data
def test_the_set_has_684_layers_whose_tiles_fit() -> None:
    rows = read_rows(Path(str(DATA)) / FILE)
    assert len(rows) == 684
    for row in rows:
        Layout(nest_of(row), CHIP)


@needs_data
def test_the_even_rows_are_within_the_bars() -> None:
    rows = read_rows(Path(str(DATA)) / FILE)[0::2]
    found = errors(
        list(zip(predict(rows, CHIP, processes=2), (row.cycles for row in rows), strict=True))
    )
    assert found.median_ape is not None and found.spearman is not None
    assert found.median_ape <= 0.35 and found.spearman >= 0.92  # the bars
    assert found.median_ape <= 0.15 and found.spearman >= 0.97  # the goal


def test_dimensions_of_all_loops_are_those_of_a_layer(tmp_path: Path) -> None:
    for line, budget in product((CONV, STRIDED, MATMUL), (2, 7, 30)):
        nest = nest_of(one(tmp_path, line))
        program = program_of(nest, sample(nest.levels, budget), CHIP)
        FastMachine(program, CHIP, timing_only=True).ring(ENTRY)  # no access out of bounds
