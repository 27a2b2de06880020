"""What makes steps of many rows fast: who adds where, how much at a time, what drains sooner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from check_runs import checked
from decoder_runs import SMALL, Model, chunks, mini, play
from graph_model import Numeric
from test_accounting_decoder import Recorder

from compiler.api import compile_config, compile_stages
from compiler.config import ModelConfig
from compiler.hbm import rope_columns
from compiler.options import Options
from emulator import retire
from emulator.bench.chip.shapes import shape
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from isa.chip import load_chip
from isa.faults import MXU
from isa.spec import BY_MNEMONIC

NUMERIC = Numeric("mxfp4", "mxfp8")
PORTS = {"cluster.csram.ports": 2, "hbm.interleave": 256}


def test_rows_of_x_in_pieces_have_the_same_bits(tmp_path: Path) -> None:
    """In steps of several row groups, of one, and of a row that every tile normalises."""
    model = Model.make(tmp_path, SMALL["llama"] | {"hidden_size": 64})
    chip = mini().with_(**PORTS)
    options = model.options(NUMERIC, rows=64, sequences=2, context=256, top_k=3)
    x = compile_stages(ModelConfig.load(model.path), chip, options).plan.buffers.rows["x"].data
    assert (x.pieces, x.row_bytes, x.base) == (2, 2 * 256, 0)
    program = model.compile(chip, NUMERIC, rows=64, sequences=2, context=256, top_k=3)
    machine = checked(program, chip)
    text = model.text(140, 1)
    steps = [{"text": 64}, {"text": 50}, {"text": 1}, *chunks("text", 25, 9)]
    played = play(machine, {"text": text}, steps)
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(NUMERIC, text))


@pytest.mark.parametrize(("chip", "pieces"), [("t1", 8), ("t1-wide", 1), ("maia-200", 8)])
def test_a_lane_of_most_groups_adds_at_its_own_port(chip: str, pieces: int) -> None:
    """Columns of a lane lie in granules of the port of its number, whatever the row."""
    config, one = shape("8b"), load_chip(chip)
    plan = compile_stages(config, one, Options()).plan
    x = plan.buffers.rows["x"].data
    assert x.pieces == pieces
    ports, granule = one.cluster.csram.ports, one.hbm.interleave
    wide = config.hidden // one.tiles_per_cluster
    view = x.whole(plan.buffers.rows["x"].precision.element, 4, config.hidden)
    for row in (0, 1, 100):
        for lane in range(one.tiles_per_cluster):
            first = row * x.row_bytes + 4 * lane * wide
            if x.pieces > 1:
                first = 4 * (row * view.strides[0] + lane * view.strides[1])
            assert {at // granule % ports for at in (first, first + 4 * wide - 1)} == {lane}


def test_rows_of_x_are_in_one_piece_where_there_is_no_room() -> None:
    chip = load_chip("t1")
    bare = Options(without=("staged-pages", "resident-kv"))  # these take what is left
    whole = compile_stages(shape("8b"), chip, bare).plan.buffers
    small = chip.with_(**{"cluster.csram.bytes": whole.csram - (1 << 20)})
    assert compile_stages(shape("8b"), small, Options()).plan.buffers.rows["x"].data.pieces == 1


@pytest.mark.parametrize(("rows", "group"), [(128, 128), (256, 256), (320, 256)])
def test_row_groups_grow_with_the_array(rows: int, group: int) -> None:
    config = ModelConfig.from_dict(tiny_models.CONFIGS["llama"])
    chip = load_chip("t1-wide").with_(**{"tile.mxu.rows": rows})
    assert compile_stages(config, chip, Options()).plan.capacity.group_rows == group


def test_what_is_read_out_grows_with_the_lanes() -> None:
    stages = {
        name: compile_stages(shape("8b"), load_chip(name), Options()).plan.tile
        for name in ("t1", "t1-wide")
    }
    assert (stages["t1"].stage, stages["t1-wide"].stage) == (8192, 32768)
    assert stages["t1-wide"].norm_rows == 4 * stages["t1"].norm_rows


@pytest.mark.parametrize("split", [None, 1])
def test_a_read_out_waits_for_sub_arrays(split: int | None) -> None:
    """In a step of many rows, the product before each, unless `--split` says how to divide them."""
    config = ModelConfig.from_dict(tiny_models.CONFIGS["llama"])
    chip = load_chip("t1-mini")
    options = replace(Options(), rows=64, split=split)
    recorder = Recorder()
    program = compile_config(config, chip, options)
    decoder = Decoder(FastMachine(program, chip, timing_only=True), recorder)
    decoder.step([Request(decoder.open(), [1] * 64, 0)])
    records = recorder.entries[-1]
    attention = program.debug.ops.index("attention")
    ours = (records[:, retire.UNIT] == MXU) & (records[:, retire.TILE] == 0)
    ours &= program.debug.index[records[:, retire.PC]] != attention
    codes = records[ours][:, [retire.OPCODE, retire.FLAGS]]
    gemm, readout = (BY_MNEMONIC[name].opcode for name in ("gemm", "readout"))
    codes = codes[np.isin(codes[:, 0], (gemm, readout))]
    at = np.flatnonzero(codes[:, 0] == readout)
    before = codes[at - 1]
    before = before[before[:, 0] == gemm]
    ways = 1 << (before[:, 1] >> 1 & 3)
    assert len(ways) and set(ways.tolist()) == {1 if split else 4}


@pytest.mark.parametrize(("norms", "rows"), [(False, 32), (True, 16)])
def test_heads_without_norms_are_finished_in_larger_parts(norms: bool, rows: int) -> None:
    """They need one place for what is made of them, and have that of two."""
    config = replace(shape("8b"), qk_norm=norms)
    tile = compile_stages(config, load_chip("t1"), Options()).plan.tile
    assert tile.sizes["part_rope"] == 2 * rows * 4 * rope_columns(config)
