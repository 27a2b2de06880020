"""Attention of many rows or many sequences: staged pages, and rows whose pages go two at a time."""

from __future__ import annotations

import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, Step, chunks, mini, play, together
from graph_model import Numeric
from test_accounting_decoder import Recorder

from compiler.api import compile_checkpoint
from emulator import retire
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from isa.chip import Chip
from isa.descriptor import Space
from isa.program import Program

NUMERIC = Numeric("mxfp4", "mxfp8")
ROOMY = {"tile.tsram.bytes": 1 << 20}


def wide() -> Chip:
    """Two tiles whose arrays have columns for two pages."""
    array = {"tile.mxu.columns": 256, "tile.mxu.rows": 64, "tile.acc.bytes": 1 << 19}
    return mini(2, 1, **array, **{"tile.tsram.bytes": 4 << 20})


def program_of(model: Model, chip: Chip, without: tuple[str, ...] = (), **capacity: int) -> Program:
    options = model.options(NUMERIC, top_k=3, **capacity)
    return compile_checkpoint(
        model.path, chip, type(options)(**{**vars(options), "without": without})
    )


def made(root: pytest.TempPathFactory, name: str) -> Model:
    """A small model with more positions."""
    return Model.make(root.mktemp("model"), SMALL[name] | {"max_position_embeddings": 2048})


def texts_of(model: Model, steps: list[Step]) -> dict[str, list[int]]:
    """A text for each name, as long as the steps want."""
    lengths = {name: sum(step.get(name, 0) for step in steps) for step in steps for name in step}
    return {
        name: model.text(length, number) for number, (name, length) in enumerate(lengths.items())
    }


# -- rows of sequences -------------------------------------------------------------------------

#: Positions of sequences before they take single rows together: from one page to five, full or
#: not, so that items begin in odd and in even slots.
LENGTHS = {"a": 127, "b": 255, "c": 300, "d": 513, "e": 3}


@pytest.mark.parametrize(
    ("name", "without"),
    [("llama-64", ("page-split",)), ("qwen3", ("page-split", "early-pages"))],
)
def test_rows_of_many_sequences(
    name: str, without: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, chip = made(tmp_path_factory, name), wide()
    program = program_of(model, chip, without, rows=128, sequences=5, context=768)
    assert program.metadata["plan"]["page_slots"] == 8
    steps: list[Step] = []
    for name, length in LENGTHS.items():
        steps += chunks(name, length, 128)
    steps += together(*(chunks(name, 3, 1) for name in LENGTHS))
    steps += [{"a": 2, "b": 1, "c": 40, "d": 1, "e": 1}, {"d": 1, "a": 1, "e": 1}]
    machine = checked(program, chip)
    texts = texts_of(model, steps)
    played = play(machine, texts, steps)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(NUMERIC, tokens))


# -- staged pages ------------------------------------------------------------------------------

STEPS: list[Step] = [
    {"long": 300},
    {"long": 200, "short": 20},
    {"short": 160, "long": 4},
    {"long": 140, "short": 2},
]


def several() -> Chip:
    """Four row groups, and CSRAM for some pages."""
    return mini(4, 2, **ROOMY, **{"cluster.csram.bytes": 2 << 20})


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("llama-64", ()),
        ("mistral", ()),
        ("qwen3", ("early-pages",)),
        ("llama-64", ("fused-heads",)),
    ],
)
def test_staged_pages(
    name: str, without: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, chip = made(tmp_path_factory, name), several()
    program = program_of(model, chip, without, rows=512, sequences=2, context=768)
    assert program.metadata["plan"]["staged_pages"] > 0
    machine = checked(program, chip)
    texts = texts_of(model, STEPS)
    played = play(machine, texts, STEPS)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(NUMERIC, tokens))


def test_staged_pages_are_read_once_from_hbm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a step of many rows at the end of a long text."""
    model = made(tmp_path_factory, "llama-64")
    read = {}
    for without in ((), ("staged-pages",)):
        program = program_of(model, several(), without, rows=512, sequences=2, context=1536)
        read[without] = _cache_bytes(program, several())
    pages = 4 * 128  # rows that are old and in full pages
    config = model.config
    once = 2 * 2 * pages * config["num_key_value_heads"] * 64 * config["num_hidden_layers"]
    assert read[()] == once
    assert read[("staged-pages",)] >= 4 * once


def _cache_bytes(program: Program, chip: Chip) -> int:
    """Bytes that the second step of 512 rows reads of the cache in HBM."""
    recorder = Recorder()
    decoder = Decoder(FastMachine(program, chip, timing_only=True), recorder)
    sequence = decoder.open()
    for _ in range(2):
        decoder.step([Request(sequence, [1] * 512, logits=0)])
    records = recorder.entries[-1]
    regions = [r for r in program.regions if r.name in ("k_cache", "v_cache")]
    source = records[:, retire.SRC_ADDRESS]
    spaces = records[:, retire.SPACES] & 0xFF
    found = 0
    for region in regions:
        inside = (source >= region.base) & (source < region.base + region.size)
        found += int(records[inside & (spaces == Space.HBM), retire.BYTES].sum())
    return found
