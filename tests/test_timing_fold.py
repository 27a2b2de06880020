"""Folded layers: bytes are exact, cycles add up, and the report says what was done."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from cli_runs import done, emu

from compiler.api import compile_config
from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.options import Options
from emulator.accounting_columns import HBM_COLUMNS, MAC_COLUMNS, ROW_COLUMNS
from emulator.decoder import Decoder, Request
from emulator.errors import InputError
from emulator.fast.machine import FastMachine
from emulator.fold import Fold, fold_for, fold_of
from emulator.meter import Meter
from emulator.tally import Tally
from emulator.timing import EntryTiming, ProgramInfo, Timing
from emulator.timing.unfold import layer_cycles, unfold
from isa.chip import load_chip
from isa.program import Program, load

MINI = load_chip("t1-mini")
LAYERS = 9


def config(**changes: Any) -> dict[str, Any]:
    """A small Llama."""
    return tiny_models.CONFIGS["llama"] | {"num_hidden_layers": LAYERS} | changes


def compiled(model: dict[str, Any], folder: Path, **options: Any) -> Program:
    """Its program without weights."""
    file = folder / "config.json"
    file.write_text(json.dumps(model))
    return compile_config(ModelConfig.load(file), MINI, Options(rows=8, **options))


class Entries:
    """Keeps the timing of every entry."""

    def __init__(self, program: Program) -> None:
        self.timing, self.found = Timing(MINI, ProgramInfo.of(program)), list[EntryTiming]()
        self.begin, self.feed = self.timing.begin, self.timing.feed

    def end(self) -> None:
        """One more."""
        self.found.append(self.timing.end())


def steps(program: Program, *lengths: int, timing_only: bool = True) -> list[EntryTiming]:
    """The timing of steps with so many tokens of one sequence."""
    entries = Entries(program)
    decoder = Decoder(FastMachine(program, MINI, timing_only=timing_only), entries)
    sequence = decoder.open()
    for length in lengths:
        decoder.step([Request(sequence, [1] * length)])
    return entries.found[1:]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A model of nine layers."""
    return compiled(config(), tmp_path_factory.mktemp("fold"))


def fold(program: Program, simulated: int) -> Fold:
    """How to fold it."""
    found = fold_of(program, simulated)
    assert found is not None
    return found


@pytest.mark.parametrize("simulated", [4, 5, 8])
def test_folded_steps_move_exactly_the_bytes_of_whole_ones(
    program: Program, simulated: int
) -> None:
    how = fold(program, simulated)
    whole, short = steps(program, 5, 1), steps(how.program(program), 5, 1)
    for full, part in zip(whole, short, strict=True):
        found = unfold(part, how)
        asked_for = [HBM_COLUMNS.index("read"), HBM_COLUMNS.index("write")]
        assert (found.traffic.hbm[:, asked_for] == full.traffic.hbm[:, asked_for]).all()
        for name in ("instructions", "macs", "elements", "tsram", "acc", "csram", "noc"):
            assert found.traffic.row(name).sum() == full.traffic.row(name).sum(), name
        assert sorted(map(tuple, found.keys)) == sorted(map(tuple, full.keys))
        assert found.cycles == pytest.approx(full.cycles, rel=0.02)


def test_what_is_unfolded_obeys_the_laws_of_a_timing(program: Program) -> None:
    how = fold(program, 5)
    (part,) = steps(how.program(program), 3)
    found = unfold(part, how)
    assert found.cycles > part.cycles
    assert found.exclusive.sum() + found.rest == found.cycles
    assert sum(found.critical_path.values()) == found.cycles
    assert (found.units.sum(axis=2) == found.cycles).all() and found.units.min() >= 0
    assert (found.exclusive_causes.sum(axis=1) == found.exclusive).all()
    assert (found.last <= found.cycles).all() and (found.first <= found.last).all()
    for row in range(len(found.keys)):
        limit, gap, causes = found.reasons(row)
        assert limit and sum(causes.values()) == gap


def test_a_tally_has_the_reasons_of_every_row_although_copies_are_alike(program: Program) -> None:
    how = fold(program, 5)
    (part,) = steps(how.program(program), 3)
    found, info = unfold(part, how), ProgramInfo.of(program)
    tally = Tally(load_chip(program.chip.name), info)
    tally.add(found)
    expected: dict[str, Counter[str]] = {}
    for row in np.flatnonzero((found.first >= 0) | (found.exclusive != 0)):
        _, gap, causes = found.reasons(int(row))
        sums = expected.setdefault(info.op_name(int(found.keys[row, 0])), Counter())
        sums.update({**causes, "gap": gap, "span": int(found.spans[row]), "times": 1})
    assert list(tally.by_op) == list(expected)
    for name, operation in tally.by_op.items():
        whole = {**operation.causes, "gap": operation.gap, "span": operation.span}
        assert {**whole, "times": operation.times} == dict(expected[name]), name


def test_a_copy_takes_what_its_source_takes(program: Program) -> None:
    how = fold(program, 5)
    (part,) = steps(how.program(program), 3)
    found = unfold(part, how)
    layers = [found.last[found.keys[:, 1] == layer + 1].max() for layer in range(LAYERS)]
    cycles, sources = np.diff(layers), layer_cycles(part, how)
    for layer in range(1, LAYERS - 1):
        assert cycles[layer - 1] == sources[how.source(layer) - 1]
    assert [how.source(layer) for layer in range(LAYERS)] == [0, 1, 2, 3, 1, 2, 3, 1, 4]


def test_nothing_is_folded_where_nothing_is_spared(program: Program) -> None:
    assert fold_of(program, LAYERS) is None
    assert fold_of(program, LAYERS + 1) is None


def test_programs_that_cannot_be_folded_are_refused(program: Program, tmp_path: Path) -> None:
    def refused(**changes: Any) -> str:
        with pytest.raises(InputError) as error:
            fold_of(replace(program, metadata=program.metadata | changes), 4)
        return str(error.value)

    assert "no layers" in refused(kind="other")
    for loop in (None, -1, 10**9, 0, True):
        plan = program.metadata["plan"] | {"layer_count": loop}
        assert "layer_count" in refused(plan=plan)
    model = program.metadata["model"] | {"windows": [0] * 8 + [5]}
    assert "windows" in refused(model=model)


def test_timing_only_steps_take_the_cycles_of_real_ones(tmp_path: Path) -> None:
    """Every step, every row, every byte: values do not matter."""
    from compiler.api import compile_checkpoint

    tiny_models.write_model(tmp_path, config(num_hidden_layers=2))
    real = compile_checkpoint(tmp_path, MINI, Options(rows=8))
    for a, b in zip(steps(real, 7, 1, 1, timing_only=False), steps(real, 7, 1, 1), strict=True):
        assert (a.cycles, a.critical_cycles, a.critical_path) == (
            b.cycles, b.critical_cycles, b.critical_path
        )  # fmt: skip
        for name in ("units", "keys", "first", "last", "causes", "exclusive_causes"):
            assert (getattr(a, name) == getattr(b, name)).all(), name
        assert (a.traffic.hbm == b.traffic.hbm).all()
        for name in set(ROW_COLUMNS) - {
            "macs",
            "array work",
            *MAC_COLUMNS,
        }:  # attention's bounds are values
            assert (a.traffic.row(name) == b.traffic.row(name)).all(), name


def test_memory_does_not_grow_with_the_tokens(program: Program) -> None:
    """But for one number for each step."""
    tracemalloc.start()
    try:
        meter = Meter(program, MINI)
        decoder = Decoder(FastMachine(program, MINI, timing_only=True), meter)
        sequence = decoder.open()

        def after(count: int) -> int:
            for _ in range(count):
                decoder.step([Request(sequence, [1])])
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        few = after(20)
        assert after(300) - few < 300 * 256
    finally:
        tracemalloc.stop()


# ---- the command line


def _compiled(tmp_path: Path, *options: object, chip: object = "t1-mini", **changes: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config(**changes)))
    path = tmp_path / "shape.bin"
    done("compile", tmp_path / "config.json", "--no-weights", "--chip", chip, "-o", path, *options)
    return path


def test_the_report_says_what_was_folded(tmp_path: Path) -> None:
    path, file = _compiled(tmp_path), tmp_path / "result.json"
    run = ("run", path, "--timing-only", "--tokens", "1,2", "--max-new-tokens", "2")
    text = done(*run, "--fold-layers", "4", "--json", file).out
    folded = json.loads(file.read_text())["folded"]
    assert (folded["layers"], folded["simulated"]) == (LAYERS, 4)
    assert f"ESTIMATE: 4 of {LAYERS} layers" in text
    assert f"{folded['layer_cycles'][0]:,} to {folded['layer_cycles'][1]:,} cycles" in text
    whole = done(*run, "--json", file).out
    assert json.loads(file.read_text())["folded"] is None and "ESTIMATE" not in whole


def test_models_of_many_layers_are_folded_unless_all_are_wanted(tmp_path: Path) -> None:
    path, file = _compiled(tmp_path, num_hidden_layers=41), tmp_path / "result.json"
    run = ("run", path, "--timing-only", "--tokens", "1", "--max-new-tokens", "1", "--json", file)
    text = done(*run).out
    assert json.loads(file.read_text())["folded"]["simulated"] == 4
    assert "ESTIMATE: 4 of 41 layers" in text and "--fold-layers all" in text
    assert "ESTIMATE" not in done(*run, "--fold-layers", "all").out
    assert json.loads(file.read_text())["folded"] is None


def test_layers_that_differ_are_not_folded_by_themselves(tmp_path: Path) -> None:
    program = load(_compiled(tmp_path, num_hidden_layers=41))
    model = {**program.metadata["model"], "windows": [64, 0] * 20 + [64]}
    other = replace(program, metadata={**program.metadata, "model": model})
    assert fold_for(program, "auto", timing_only=True) is not None
    assert fold_for(other, "auto", timing_only=True) is None
    assert fold_for(program, "auto", timing_only=False) is None, "values: every layer is timed"


@pytest.mark.parametrize(
    "options",
    [
        ("--fold-layers", "4", "--no-timing"),
        ("--fold-layers", "4", "--check"),
        ("--fold-layers", "3", "--timing-only"),
        ("--fold-layers", "many", "--timing-only"),
        ("--ignore-capacity",),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = emu("run", tmp_path / "any.bin", *options)
    assert result.status == 2 and options[0] in result.err


def _small_chip(tmp_path: Path) -> Path:
    """t1-mini with less HBM than the small model needs."""
    text = (Path(__file__).parent.parent / "isa" / "chips" / "t1-mini.yaml").read_text()
    line = text.index("bytes:", text.index("\nhbm:"))
    end = text.index("\n", line)
    path = tmp_path / "small.yaml"
    path.write_text(text[:line] + "bytes: 1048576" + text[end:])
    return path


def test_a_model_beyond_the_chip_is_timed_only_if_asked_for(tmp_path: Path) -> None:
    chip = _small_chip(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config()))
    compile_it = ("compile", tmp_path / "config.json", "--chip", chip, "-o", tmp_path / "x.bin")
    refused = emu(*compile_it, "--no-weights")
    assert refused.status == 2 and "--ignore-capacity" in refused.err
    assert emu(*compile_it, "--ignore-capacity").status == 2  # has no meaning with weights
    path = _compiled(tmp_path, "--ignore-capacity", chip=chip)
    run = ("run", path, "--chip", chip, "--tokens", "1", "--max-new-tokens", "1", "--timing-only")
    refused = emu(*run)
    assert refused.status == 2 and "--ignore-capacity" in refused.err
    file = tmp_path / "result.json"
    assert "NOT A REAL CHIP" in done(*run, "--ignore-capacity", "--json", file).out
    beyond = json.loads(file.read_text())["beyond_capacity"]
    assert beyond["chip_hbm_bytes"] == 1 << 20 < beyond["hbm_bytes"]


def test_ignoring_capacity_changes_nothing_where_there_is_enough(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config()))
    model = ModelConfig.load(tmp_path / "config.json")
    plain, ignored = (compile_config(model, MINI, Options(), flag) for flag in (False, True))
    assert (plain.code == ignored.code).all() and plain.metadata == ignored.metadata
    assert plain.chip == ignored.chip
    with pytest.raises(CompileError, match="--ignore-capacity"):
        compile_config(model, MINI.with_hbm(1 << 20), Options())
