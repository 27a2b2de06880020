"""Pages of the cache that stay in CSRAM: as many as fit, the same bits, and fewer bytes of HBM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, Step, chunks, mini, play, together
from graph_model import Numeric

from compiler.api import compile_checkpoint, compile_stages
from compiler.config import ModelConfig
from compiler.copies import Resident, Room
from compiler.options import Options
from emulator.decoder import Decoder
from emulator.fast.machine import FastMachine
from isa.chip import Chip
from isa.program import Program

ROOMY = {"tile.tsram.bytes": 1 << 20, "hbm.bytes_per_second": 1e9}
LENGTH, SHORT = 290, 150
#: Chunks beyond a page, several sequences in a step, single rows whose pages are spread or not.
STEPS: list[Step] = [
    *chunks("long", 200, 90),
    {"long": 60, "short": 30},
    {"short": 85},
    {"short": SHORT - 125},
    *together(chunks("long", 30, 1, 4, 1), chunks("short", 10, 1)),
]
MODELS = {"llama": Numeric("mxfp4", "mxfp8"), "qwen3": Numeric("fp8", "fp8", "fp8")}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The models by name."""
    root = tmp_path_factory.mktemp("models")
    return {name: Model.make(root / name, SMALL[name]) for name in MODELS}


def options_of(model: Model, numeric: Numeric, **changes: object) -> Options:
    options = model.options(numeric, rows=90, sequences=2, context=384, top_k=3)
    return replace(options, **changes)  # type: ignore[arg-type]


def placed(path: Path, chip: Chip, options: Options) -> Resident | None:
    """Which pages are kept."""
    return compile_stages(ModelConfig.load(path), chip, options).plan.buffers.resident


def chip_for(model: Model, numeric: Numeric, clusters: int, pages: int, less: int = 0) -> Chip:
    """A chip whose CSRAM holds all else and exactly so many pages, but for `less` bytes."""
    roomy = mini(clusters, 4, **ROOMY)
    found = placed(model.path, roomy, options_of(model, numeric))
    assert found is not None and found.pages == 6  # all: two sequences of three
    size = found.base + pages * (found.nbytes // found.pages) - less
    return roomy.with_(**{"cluster.csram.bytes": size})


def program_of(model: Model, numeric: Numeric, chip: Chip, *without: str) -> Program:
    return compile_checkpoint(model.path, chip, options_of(model, numeric, without=without))


@pytest.mark.parametrize("pages", [6, 5, 2, 0])
@pytest.mark.parametrize("clusters", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_no_bit_depends_on_how_many_pages_are_kept(
    name: str, clusters: int, pages: int, models: dict[str, Model]
) -> None:
    """Heads in one cluster, in each, in some; and nothing races."""
    model, numeric = models[name], MODELS[name]
    chip = chip_for(model, numeric, clusters, pages)
    program = program_of(model, numeric, chip)
    assert program.metadata["plan"]["resident_pages"] == pages
    machine = checked(program, chip)
    texts = {"long": model.text(LENGTH, 1), "short": model.text(SHORT, 2)}
    played = play(machine, texts, STEPS)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(numeric, tokens))


def test_a_byte_too_few_is_a_page_less(models: dict[str, Model]) -> None:
    model, numeric = models["llama"], MODELS["llama"]
    config = ModelConfig.load(model.path)
    page = 2 * config.layers * config.kv_heads * 128 * config.head_dim * 2
    for pages in (6, 1):
        whole = chip_for(model, numeric, 2, pages)
        short = chip_for(model, numeric, 2, pages, less=1)
        found = [program_of(model, numeric, chip).metadata["plan"] for chip in (whole, short)]
        assert [plan["resident_pages"] for plan in found] == [pages, pages - 1]
        assert found[0]["csram_bytes"] == whole.cluster.csram.bytes
        assert found[0]["resident_bytes"] == pages * page


@pytest.mark.parametrize("technique", ["resident-kv", "early-pages"])
def test_it_can_be_left_out(technique: str, models: dict[str, Model]) -> None:
    """Rows come from the copies that reading pages early needs, so without that there is none."""
    model, numeric = models["llama"], MODELS["llama"]
    plan = program_of(model, numeric, chip_for(model, numeric, 2, 6), technique).metadata["plan"]
    assert plan["resident_pages"] == plan["resident_bytes"] == 0


@pytest.mark.parametrize("without", [(), ("page-split",)])
@pytest.mark.parametrize("name", MODELS)
def test_beside_staged_pages(name: str, without: tuple[str, ...], models: dict[str, Model]) -> None:
    """Staged pages take half of the room; rows are written in steps of several row groups.

    And single rows take pages by spans, or one by one.
    """
    model, numeric = models[name], MODELS[name]
    array = {"tile.mxu.columns": 256, "tile.mxu.rows": 64, "tile.acc.bytes": 1 << 19}
    wide = mini(4, 1, **array, **{"tile.tsram.bytes": 4 << 20, "hbm.bytes_per_second": 1e9})
    options = options_of(model, numeric, rows=512, sequences=2, context=512)
    config = ModelConfig.load(model.path)
    staged, resident, both = (
        compile_stages(config, wide, replace(options, without=others)).plan.buffers
        for others in (("resident-kv",), ("staged-pages",), ())
    )
    assert staged.staged is not None and staged.staged.pages == 4 and staged.resident is None
    assert resident.resident is not None and resident.staged is None
    assert both.staged is not None and both.resident is not None
    page = staged.staged.nbytes // staged.staged.pages
    chip = wide.with_(**{"cluster.csram.bytes": staged.staged.base + 3 * page})
    alone = compile_stages(config, chip, replace(options, without=("resident-kv",)))
    assert alone.plan.buffers.staged is not None and alone.plan.buffers.staged.pages == 3
    program = compile_checkpoint(model.path, chip, replace(options, without=without))
    assert program.metadata["plan"]["page_slots"] == 8
    assert program.metadata["plan"]["staged_pages"] == 1
    assert program.metadata["plan"]["resident_pages"] > 0
    steps: list[Step] = [
        {"long": 300},
        {"long": 200, "short": SHORT - 3},
        *3 * [{"long": 1, "short": 1}],
    ]
    machine = checked(program, chip)
    texts = {"long": model.text(503, 1), "short": model.text(SHORT, 2)}
    played = play(machine, texts, steps)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(numeric, tokens))


def test_room_that_holds_no_resident_page_is_for_staged_ones(models: dict[str, Model]) -> None:
    """In one cluster a page of all layers takes more than one of a layer."""
    chip = mini(1, 4, **ROOMY)
    plan = compile_stages(
        ModelConfig.load(models["llama"].path), chip, options_of(models["llama"], MODELS["llama"])
    ).plan
    page = 2 * plan.config.kv_heads * 128 * plan.config.head_dim * 2
    used = chip.cluster.csram.bytes - plan.config.layers * page
    assert plan.config.layers > 1
    for taken, expected in ((used - 2 * page, (2, 1)), (used + 1, (1, 0)), (used, (2, 0))):
        room = Room(plan.config, plan.capacity, "bf16", chip, taken)
        staged, resident = room.place(True, True)
        found = tuple(0 if pages is None else pages.pages for pages in (staged, resident))
        assert found == expected


def test_too_few_clusters_are_not_worth_it(models: dict[str, Model]) -> None:
    """One cluster's CSRAM is slower than this HBM."""
    model, numeric = models["llama"], MODELS["llama"]
    chip = chip_for(model, numeric, 1, 6)
    rate = chip.cluster.csram.bytes_per_cycle * chip.clock_hz
    options = options_of(model, numeric)
    for faster, expected in ((1.0, True), (1.001, False)):
        other = chip.with_(**{"hbm.bytes_per_second": rate * faster})
        assert (placed(model.path, other, options) is not None) == expected


def test_the_first_pages_are_given_out_first(models: dict[str, Model]) -> None:
    """Whatever the order in which sequences ended."""
    model, numeric = models["llama"], MODELS["llama"]
    chip = chip_for(model, numeric, 2, 2)
    decoder = Decoder(FastMachine(program_of(model, numeric, chip), chip))
    first, second = decoder.open(), decoder.open()
    decoder._reserve(first, 200)
    decoder._reserve(second, 100)
    decoder.close(first)
    decoder.close(second)
    third = decoder.open()
    decoder._reserve(third, 384)
    assert third.pages == [0, 1, 2]
    assert [decoder.facts.resident_keys(third.pages, n) for n in (100, 200, 384)] == [100, 200, 256]
