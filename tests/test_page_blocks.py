"""Spread pages are attended to in whole blocks of keys: the next position finds the same work."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from check_runs import checked
from closed_form import KEYS, Plan, Segment, Step, spreads
from closed_form import Shape as ModelShape
from decoder_runs import SMALL, Model, chunks, mini, play
from graph_model import Numeric
from test_accounting_decoder import Recorder, place

from compiler.api import compile_checkpoint
from emulator import retire
from emulator.decoder import Decoder
from emulator.fast.machine import FastMachine
from isa.chip import Chip
from isa.program import Program
from isa.spec import BY_MNEMONIC

Ints = npt.NDArray[np.int64]

NUMERIC = Numeric("mxfp4", "mxfp8")
CAPACITY = {"rows": 90, "sequences": 2, "context": 384, "top_k": 3}
ROOMY = {"tile.tsram.bytes": 1 << 20}
HALVES = ROOMY | {"tile.dma.outstanding": 4}  #: one channel is slow to bring a page
IN_HBM = ("resident-kv",)
#: Chips, and techniques left out. 4 tiles attend to two of three pages first, 8 to all of them.
CASES: dict[str, tuple[Chip, tuple[str, ...]]] = {
    "8 tiles": (mini(2, 4, **ROOMY), ()),
    "8 tiles, no resident pages": (mini(2, 4, **ROOMY), IN_HBM),
    "8 tiles, no early pages": (mini(2, 4, **ROOMY), ("early-pages",)),
    "4 tiles": (mini(2, 2, **ROOMY), ()),
    "4 tiles, pages in halves": (mini(2, 2, **HALVES), ()),
    "4 tiles, pages in halves, none resident": (mini(2, 2, **HALVES), IN_HBM),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with two KV heads."""
    return Model.make(tmp_path_factory.mktemp("model"), SMALL["llama-64"])


def program_of(model: Model, case: str) -> Program:
    """The model's program for a case."""
    chip, without = CASES[case]
    options = replace(model.options(NUMERIC, **CAPACITY), without=without)
    program = compile_checkpoint(model.path, chip, options)
    assert (program.metadata["plan"]["resident_pages"] > 0) == (without == ())
    return program


def streams(program: Program, model: Model, chip: Chip, positions: range) -> list[Ints]:
    """The records of a step of one row at each position, tile by tile."""
    recorder = Recorder()
    decoder = Decoder(FastMachine(program, chip, timing_only=True), recorder)
    found = []
    for position in positions:
        step = Step((Segment(position, 1),), 1)
        assert spreads(ModelShape(model.config), step, Plan.of(program), 0)
        place(decoder, ((Segment(position, 1), 1),))
        records = recorder.entries[-1]
        found.append(records[np.argsort(records[:, retire.TILE], kind="stable")])
    return found


def differences(one: Ints, other: Ints) -> set[tuple[str, int]]:
    """Mnemonics of records that differ, and in which word."""
    names = {spec.opcode: name for name, spec in BY_MNEMONIC.items()}
    rows, words = np.nonzero(one != other)
    opcodes = one[rows, retire.OPCODE].tolist()
    return {(names[opcode], word) for opcode, word in zip(opcodes, words.tolist(), strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_steps_within_a_block_do_the_same_work(case: str, model: Model) -> None:
    """But for where new rows go, and the products inside bounds."""
    first = 2 * 128
    positions = range(first, first + 3 * KEYS)
    found = streams(program_of(model, case), model, CASES[case][0], positions)
    may_differ = {("dma", retire.DST_ADDRESS), ("dmas", retire.DST_ADDRESS)}
    may_differ |= {(name, retire.MACS) for name in BY_MNEMONIC if name.startswith("gemm")}
    for position, (one, other) in enumerate(pairwise(found), first + 1):
        same = len(one) == len(other) and differences(one, other) <= may_differ
        assert same == (position % KEYS != 0), position


@pytest.mark.parametrize("case", CASES)
def test_rows_of_the_step_are_not_overwritten(case: str, model: Model) -> None:
    """One row or several at a time, over the edges of blocks and pages: the bits, and no race."""
    text = model.text(340, 1)
    steps = [*chunks("text", 124, 62), *chunks("text", 38, 1)]
    steps += [*chunks("text", 90, 90), *chunks("text", 22, 1), *chunks("text", 66, 2, 3, 4, 1)]
    machine = checked(program_of(model, case), CASES[case][0])
    for name in ("k_cache", "v_cache"):  # NaN behind the sequence's end
        machine.write(name, np.full_like(machine.read(name), 0xFFFF))
    played = play(machine, {"text": text}, steps)
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(NUMERIC, text))
