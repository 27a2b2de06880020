"""Logits in parts: where a tile has no room for those of all its columns, bits stay the same."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from check_runs import checked
from closed_form import Plan as Factors
from closed_form import Segment, Step, traffic
from decoder_runs import SMALL, Model, chunks, mini, play
from graph_model import Numeric
from test_accounting_decoder import Recorder, both_ways, count, place
from test_sampling import Drawing

from compiler.api import Compiled, compile_checkpoint, compile_stages, dump
from compiler.arena import DoesNotFit
from compiler.config import ModelConfig
from compiler.hbm import Capacity
from compiler.head_sizes import HeadSizes, head_in_parts
from compiler.matrices import Matrix
from compiler.precision import precision
from emulator.bench.chip.shapes import shape
from emulator.bench.chip.step import capacities
from emulator.decoder import Decoder
from emulator.fast import FastMachine
from emulator.reference.machine import ReferenceMachine
from emulator.sampling import Greedy, Seeded
from isa.chip import Chip, load_chip
from isa.descriptor import PANEL_COLUMNS
from isa.program import Program

MX, FP8 = Numeric("mxfp4", "mxfp8"), Numeric("fp8", "fp8")


@dataclass(frozen=True)
class Case:
    """A model and a chip whose tiles have memory for a part of the wanted rows' logits alone."""

    vocab: int
    kib: int  #: of a tile's memory
    tiles: int  #: of each of two clusters
    top_k: int
    rows: int  #: of a step, and as many logits
    parts: int
    last: int  #: panels of the longest part
    numeric: Numeric = MX
    without: tuple[str, ...] = ()

    @property
    def chip(self) -> Chip:
        """The chip."""
        return mini(2, self.tiles, **{"tile.tsram.bytes": self.kib << 10})

    def model(self, root: pytest.TempPathFactory) -> Model:
        """A random model."""
        return Model.make(root.mktemp("model"), SMALL["llama"] | {"vocab_size": self.vocab})

    def program(self, model: Model, chip: Chip | None = None) -> Program:
        """The model's program, whose logits come in as many parts as the case says."""
        chip = chip or self.chip
        capacity = {"rows": self.rows, "logit_rows": self.rows, "sequences": 3, "context": 128}
        options = model.options(self.numeric, top_k=self.top_k, **capacity)
        options = replace(options, without=self.without)
        head = compile_stages(ModelConfig.load(model.path), chip, options).plan.tile.head
        assert (head.parts, head.columns) == (self.parts, self.last * PANEL_COLUMNS)
        return compile_checkpoint(model.path, chip, options)


CASES = {
    "three, the last has more": Case(3179, 80, 1, 40, 12, 3, 36),
    "seven, the last has less": Case(3179, 80, 1, 20, 24, 7, 16),
    "eight": Case(2091, 64, 1, 20, 12, 8, 10),
    "two": Case(2091, 80, 2, 20, 24, 2, 17),
    "four tiles, rows in turns": Case(3000, 96, 2, 20, 24, 6, 8),
    "parts of two blocks": Case(20011, 64, 2, 20, 3, 10, 32),
    "column factors": Case(2091, 64, 1, 20, 12, 8, 10, FP8),
    "without prefetch": Case(2091, 64, 1, 20, 12, 8, 10, MX, ("prefetch",)),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_are_the_same_bits(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    case = CASES[name]
    model = case.model(tmp_path_factory)
    machine = checked(case.program(model), case.chip)
    steps = chunks("text", 26, case.rows, 1)
    text = model.text(26)
    played = play(machine, {"text": text}, steps, logits=case.rows)
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(case.numeric, text))


@pytest.mark.parametrize("name", CASES)
def test_candidates_are_those_of_all_parts(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = CASES[name]
    model = case.model(tmp_path_factory)
    drawing = Drawing(FastMachine(case.program(model), case.chip))
    for index, temperature in enumerate((0.7, 3.0, 1000.0)):
        drawing.write(model.text(3, index), 6, Seeded(temperature, case.top_k, index))
    drawing.write(model.text(3), 4, Greedy())
    sequence = drawing.decoder.open()
    drawing.step((sequence, model.text(case.rows), case.rows, Seeded(2.0, case.top_k, 9)))
    assert len(set(drawing.drawn)) > 12


def test_the_reference_draws_alike(tmp_path_factory: pytest.TempPathFactory) -> None:
    case = CASES["three, the last has more"]
    model = case.model(tmp_path_factory)
    program = case.program(model)
    Drawing(ReferenceMachine(program, case.chip)).write(model.text(3), 2, Seeded(1.2, 40, 1))


@pytest.mark.parametrize("name", ["three, the last has more", "four tiles, rows in turns"])
def test_ties_and_infinities(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Equal logits are in many parts, and are infinite or NaN in the end."""
    case = CASES[name]
    model = case.model(tmp_path_factory)
    weights = model.weights["lm_head.weight"]
    tied = weights[np.arange(case.vocab) * 5 % 13]
    huge = np.copysign(np.float32(3e38), tied)
    for head in (tied, np.zeros_like(tied), huge):
        model.replace({"lm_head.weight": head})
        drawing = Drawing(FastMachine(case.program(model), case.chip))
        for seed in range(3):
            drawing.write(model.text(3, seed), 2, Greedy())
            drawing.write(model.text(3, seed), 3, Seeded(2.0, case.top_k, seed))
    logits = np.concatenate(drawing.logits)
    kinds = np.isnan(logits), logits == np.inf, logits == -np.inf
    assert all(kind.any() for kind in kinds)


@pytest.mark.parametrize("csram", [0, 1 << 21])
def test_bytes_equal_the_closed_form(csram: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With candidates of all parts in HBM, or in CSRAM."""
    case = CASES["four tiles, rows in turns"]
    model, chip = case.model(tmp_path_factory), case.chip.with_(**{"cluster.csram.bytes": csram})
    program = case.program(model, chip)
    recorder = Recorder()
    place(Decoder(FastMachine(program, chip, timing_only=True), recorder), ((Segment(5, 24), 17),))
    found = both_ways(count(program, chip, recorder.entries[-1]))
    state, factors = Step((Segment(5, 24),), 17), Factors.of(program)
    assert ("cand_values" in factors.in_hbm) == (csram == 0)
    assert found == traffic(model.config, program.metadata["numeric"], state, factors)


# -- sizes ---------------------------------------------------------------------------------------


def columns(vocab: int, tiles: int) -> list[int]:
    """Vocabulary columns of each tile, which has its share of panels."""
    panels = -(-vocab // PANEL_COLUMNS)
    edges = [min(n * panels // tiles * PANEL_COLUMNS, vocab) for n in range(tiles + 1)]
    return [end - begin for begin, end in itertools.pairwise(edges)]


def parts_of(count: int, head: HeadSizes) -> list[int]:
    """Columns of each part of a tile."""
    each = head.part_panels * PANEL_COLUMNS
    return [each] * (head.parts - 1) + [count - each * (head.parts - 1)]


@pytest.mark.parametrize("tiles", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("top_k", [1, 16, 17, 40, 300])
def test_every_part_has_enough_columns(tiles: int, top_k: int) -> None:
    rng, found = np.random.default_rng([tiles, top_k]), 0
    for vocab in rng.integers(top_k, 1 << 17, 300):
        matrix = Matrix("lm_head", (("lm_head", int(vocab)),), 64, 1, precision("mxfp4", ""))
        block, nbytes = int(rng.choice([4, 8, 16, 32])), int(rng.integers(1 << 12, 1 << 20))
        capacity = Capacity(64, 64, int(rng.integers(1, 65)), 1, 128, top_k)
        try:
            head = head_in_parts(matrix, tiles, capacity, block, nbytes)
        except DoesNotFit:
            continue
        found += 1
        assert head.parts == head.rankings > 1
        assert head.part_panels % head.panels == 0
        for own in columns(int(vocab), tiles):
            parts = parts_of(own, head)
            assert min(parts) >= top_k
            assert max(parts) <= head.columns
    assert found > 20


# -- when ----------------------------------------------------------------------------------------


def stages_of(sequences: int) -> Compiled:
    """8B on a chip of four tiles of t1's."""
    config, chip = shape("8b"), load_chip("t1-mini-balanced")
    options = replace(capacities(config, sequences, 1024), context=1024)
    return compile_stages(config, chip, options)


def test_only_where_it_is_worth_it() -> None:
    """One row's logits fit as a whole; 8 rows' would leave small chunks, and 32 do not fit."""
    one = stages_of(1)
    assert one.plan.tile.head.parts == 1 and one.plan.tile.w_slot == 1 << 17
    assert "logits of a tile" not in dump(one, "schedule")
    for rows in (8, 32):
        several = stages_of(rows)
        assert several.plan.tile.head.parts > 2 and several.plan.tile.w_slot == 1 << 17
        assert several.plan.capacity.wanted == rows
        assert f"{several.plan.tile.head.parts} parts of" in dump(several, "schedule")
