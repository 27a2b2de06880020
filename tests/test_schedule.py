"""The schedule: what it says is what runs, its checks can fail, and no technique changes a bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_models
from check_runs import checked
from closed_form import Segment
from decoder_runs import SMALL, Model, Step, chunks, mini, play
from graph_model import Numeric
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases
from test_accounting_decoder import UNSHRUNK, Recorder, chips, model_configs, option_sets, place

from compiler.api import compile_checkpoint, compile_config, compile_stages
from compiler.config import ModelConfig
from compiler.emit import Code, Sem
from compiler.errors import CompileError
from compiler.lower.context import Plan
from compiler.lower.lives import LIVES, Life
from compiler.lower.tokens import W_CHANNELS, Tokens
from compiler.options import TECHNIQUES, Options
from compiler.schedule import Cut, Regime, schedule, verify_schedule
from compiler.tile_memory import TilePlan
from emulator import retire
from emulator.decoder import Decoder
from emulator.fast.machine import FastMachine
from isa.chip import Chip, load_chip
from isa.faults import DMA0
from isa.spec import BY_MNEMONIC

Ints = npt.NDArray[np.int64]
ALL = tuple(TECHNIQUES)
NUMERIC = Numeric("mxfp4", "mxfp8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model whose panels no number of tiles divides."""
    return Model.make(tmp_path_factory.mktemp("model"), SMALL["llama"])


# ---- activations that tiles of a cluster bring for one another


@pytest.mark.parametrize(("clusters", "tiles"), [(2, 2), (1, 5)])
def test_activations_are_shared_by_tiles_with_unequal_parts(
    model: Model, clusters: int, tiles: int
) -> None:
    chip = mini(clusters, tiles)
    program = model.compile(chip, NUMERIC, rows=64, sequences=2, context=256, top_k=3)
    machine = checked(program, chip)
    text = model.text(130, 1)
    played = play(machine, {"text": text}, chunks("text", 130, 60))
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(NUMERIC, text))


# ---- registers


@pytest.mark.parametrize(
    ("without", "rows"),
    [
        ((), None),
        ((), 40),
        (("prefetch",), 40),
        (ALL, 4),
    ],
)
def test_registers_are_enough(without: tuple[str, ...], rows: int | None) -> None:
    """Where most are alive at once: biases, activations in HBM, several row groups."""
    sizes = {"num_attention_heads": 16, "num_key_value_heads": 4}
    config = ModelConfig.from_dict(tiny_models.CONFIGS["llama-biased"] | sizes)
    chip = mini(2, 3, **{"cluster.csram.bytes": 0, "tile.tsram.bytes": 1 << 19})
    compile_stages(config, chip, Options("mxfp8", "bf16", rows=rows, context=400, without=without))


# ---- what it says is what runs


def _configs() -> st.SearchStrategy[ModelConfig]:
    return model_configs().map(ModelConfig.from_dict)


@settings(max_examples=cases(15), phases=UNSHRUNK)
@given(_configs(), chips(), option_sets())
def test_cuts_are_those_of_a_run(config: ModelConfig, chip: Chip, options: Options) -> None:
    """Transfers and bytes of each matrix, by the lane with most, in each regime's longest step."""
    plan = (stages := compile_stages(config, chip, options)).plan
    recorder = Recorder()
    program = compile_config(config, chip, options)
    decoder = Decoder(FastMachine(program, chip, timing_only=True), recorder)
    for regime, cuts in zip(stages.schedule.regimes, stages.schedule.cuts, strict=True):
        place(decoder, tuple(_filled(plan, regime.rows)))
        moved = _transfers(recorder.entries[-1])
        for cut in cuts:
            _check_cut(plan, regime, cut, moved)


def _filled(plan: Plan, rows: int) -> Iterator[tuple[Segment, int]]:
    """Segments of a step of so many rows, that wants as many logits as it can."""
    capacity = plan.capacity
    wanted = capacity.wanted
    for _ in range(capacity.sequences):
        count = min(rows, capacity.context)
        if count:
            yield Segment(0, count), min(wanted, count)
        rows, wanted = rows - count, wanted - min(wanted, count)


def _transfers(records: Ints) -> Ints:
    """[tile, address, bytes] of all transfers on the channels of weights."""
    channels = DMA0 + np.arange(len(W_CHANNELS))
    dma = records[:, retire.OPCODE] == BY_MNEMONIC["dma"].opcode
    ours = records[dma & np.isin(records[:, retire.UNIT], channels)]
    return ours[:, [retire.TILE, retire.SRC_ADDRESS, retire.BYTES]]


def _check_cut(plan: Plan, regime: Regime, cut: Cut, moved: Ints) -> None:
    matrix = plan.hbm.matrices[cut.matrix]
    alone = cut.matrix == "lm_head"
    tiles = plan.chip.num_tiles
    groups, lanes = (1, tiles) if alone else (regime.groups, regime.lanes)
    address = moved[:, 1]
    own = moved[
        (address >= matrix.data) & (address < matrix.data + matrix.layers * matrix.data_bytes)
    ]
    by_lane = np.bincount(own[:, 0] % lanes, own[:, 2], lanes)
    copies = 1 if "multicast" not in plan.options.without else groups
    assert by_lane.max() == matrix.layers * cut.panels * matrix.panel_bytes * copies
    # A chunk of p panels is brought by as many groups as have some of them.
    blocks = [min(cut.block, cut.panels - first) for first in range(0, cut.panels, cut.block)]
    brought = sum(min(block, groups) if copies == 1 else groups for block in blocks)
    counts = np.bincount(own[:, 0] % lanes, minlength=lanes)
    assert counts.max() == matrix.layers * cut.chunks * brought
    if copies == groups == 1:
        assert own[:, 2].max() == cut.chunk_bytes


def test_compiling_twice_gives_the_same_bytes() -> None:
    config = ModelConfig.from_dict(tiny_models.CONFIGS["qwen3"])
    one, other = (compile_config(config, load_chip("t1"), Options()) for _ in range(2))
    assert one.code.tobytes() == other.code.tobytes()
    assert one.descriptors.tobytes() == other.descriptors.tobytes()
    assert (one.metadata, one.symbols) == (other.metadata, other.symbols)


# ---- its checks can fail


@pytest.fixture(scope="module")
def right() -> tuple[Plan, Code, Tokens]:
    """A plan, with code that fits it: with all places there are."""
    config = ModelConfig.from_dict(SMALL["qwen3"] | {"head_dim": 128})
    chip = mini(2, 4, **{"tile.tsram.bytes": 1 << 20})
    options = Options("fp8", "fp8", rows=90, sequences=2, context=384)
    stages = compile_stages(config, chip, options)
    return stages.plan, stages.code, Tokens(Code())


def _verify(right: tuple[Plan, Code, Tokens], **changes: Any) -> None:
    """Check a plan with other numbers in its tile."""
    plan, code, tokens = right
    found = schedule(plan)
    changed = replace(plan, tile=replace(plan.tile, **changes))
    verify_schedule(replace(found, plan=changed), code, tokens)


def test_a_right_plan_passes(right: tuple[Plan, Code, Tokens]) -> None:
    _verify(right)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tile: {"w_slot": 1000}, "qkv: a chunk is larger than a slot"),
        (lambda tile: {"stage": 100}, "a part has no row"),
        (lambda tile: {"at": tile.at | {"stage": tile.at["weights"]}}, "overlaps"),
        (lambda tile: {"at": tile.at | {"a_data": tile.at["lin_out"] + 64}}, "t overlaps a_data"),
        (lambda tile: {"at": tile.at | {"scores": tile.at["probs"]}}, "attention: "),
        (lambda tile: {"at": tile.at | {"v_block": tile.at["k_block"] + 64}}, "overlaps v_block"),
        (lambda tile: {"size": tile.at["a_data"]}, "beyond the tile's memory"),
    ],
    ids=["slot", "stage", "weights", "activations", "scores", "pages", "size"],
)  # fmt: skip
def test_a_wrong_plan_is_refused(
    change: Callable[[TilePlan], dict[str, Any]], problem: str, right: tuple[Plan, Code, Tokens]
) -> None:
    with pytest.raises(CompileError, match=problem):
        _verify(right, **change(right[0].tile))


def test_a_small_accumulator_is_refused(right: tuple[Plan, Code, Tokens]) -> None:
    plan, code, tokens = right
    found = schedule(plan)
    small = replace(plan, chip=plan.chip.with_(**{"tile.acc.bytes": 4096}))
    with pytest.raises(CompileError, match="qkv: beyond ACC"):
        verify_schedule(replace(found, plan=small), code, tokens)


SIDES = ("full, said", "full, waited for", "free, said", "free, waited for")


def _sides(life: Life, tokens: Tokens) -> Iterator[tuple[str, str, Sem, str]]:
    """Of each slot's semaphores: what is done, by an instruction, with a semaphore, by a unit."""
    for pair in life.pairs(tokens):
        yield SIDES[0], "signal", pair.full, pair.maker
        yield SIDES[1], "wait", pair.full, pair.user
        if pair.free is not None:
            yield SIDES[2], "signal", pair.free, pair.freer
            yield SIDES[3], "wait", pair.free, pair.maker


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.text().split("  ")[0] + life.full)
def test_no_place_goes_without_its_waits_and_signals(
    life: Life, side: str, right: tuple[Plan, Code, Tokens]
) -> None:
    """Those of one slot are left out, or queued on another unit."""
    plan, code, tokens = right
    found, tried = schedule(plan), 0
    assert life in found.lives
    for name, mnemonic, sem, unit in _sides(life, tokens):
        mine = [
            number
            for number, line in enumerate(code.lines)
            if line.mnemonic == mnemonic and line.fields["sem"] == sem
            and line.fields["unit"] == unit
        ]  # fmt: skip
        if name != side or not mine:
            continue
        tried += 1
        wrong = Code()
        wrong.lines = [line for number, line in enumerate(code.lines) if number not in mine]
        with pytest.raises(CompileError, match=": is "):
            verify_schedule(found, wrong, tokens)
        fields = code.lines[mine[0]].fields | {"unit": "dma3" if unit != "dma3" else "vpu"}
        wrong.lines = list(code.lines)
        wrong.lines[mine[0]] = replace(code.lines[mine[0]], fields=fields)
        with pytest.raises(CompileError, match=": is "):
            verify_schedule(found, wrong, tokens)
    assert tried or (life.free is None and side in SIDES[2:])


# ---- techniques and row groups


LONG, OTHER = 410, 104
MIXED: list[Step] = [
    {"other": 100},
    {"long": 40, "other": 1},  # one row group
    {"long": 160, "other": 1},  # two
    {"long": 200, "other": 1},  # two of two, four of four
    {"long": 9},
    {"long": 1, "other": 1},
]


@pytest.mark.parametrize("without", [(), *((name,) for name in TECHNIQUES), ALL], ids="+".join)
def test_no_technique_changes_a_bit(without: tuple[str, ...], model: Model) -> None:
    _check_mixed(model, mini(2, 2), without, 1 if "groups" in without else 2)


@pytest.mark.parametrize("clusters", [1, 2, 4])
def test_prefill_and_decode_in_one_step(model: Model, clusters: int) -> None:
    """Each text gets the bits that it has by itself."""
    _check_mixed(model, mini(clusters, 2), (), clusters)


def _check_mixed(model: Model, chip: Chip, without: tuple[str, ...], groups: int) -> None:
    rows, steps = 201, MIXED
    if groups == 1:
        rows, steps = 101, [*MIXED[:2], *chunks("long", 369, 100), MIXED[-1]]
        steps[2:4] = [{"long": 100, "other": 1}] * 2
    options = model.options(NUMERIC, rows=rows, sequences=2, context=512, top_k=3)
    options = replace(options, without=without)
    stages = compile_stages(ModelConfig.load(model.path), chip, options)
    assert len([n for n in stages.plan.groups if n <= groups]) == len(stages.plan.groups)
    machine = checked(compile_checkpoint(model.path, chip, options), chip)
    texts = {"long": model.text(LONG, 3), "other": model.text(OTHER, 4)}
    played = play(machine, texts, steps)
    assert machine.findings() == [], machine.text()
    for name, tokens in texts.items():
        played.check(name, model.expected(NUMERIC, tokens))
