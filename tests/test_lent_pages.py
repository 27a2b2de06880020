"""Weights in the memory of attention's pages: the bits, and that they do go through it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, Step, mini, play
from graph_model import Numeric
from test_accounting_decoder import Recorder

from compiler.api import Compiled, compile_checkpoint, compile_stages
from compiler.config import ModelConfig
from compiler.lower.tokens import W_CHANNELS
from emulator import retire
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from isa.chip import Chip
from isa.faults import DMA0
from isa.program import Program

SIZES = {"intermediate_size": 1088, "head_dim": 128}
#: Slots that are lent: bytes of a tile's memory, tiles, and a model whose chunks are small enough
#: and whose heads are as many as tiles, or a sequence's pages would be few.
CASES = {
    1: (1 << 19, 2, {"hidden_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}),
    2: (1 << 20, 1, {"hidden_size": 128, "num_attention_heads": 1, "num_key_value_heads": 1}),
}
NUMERIC = Numeric("bf16", "mxfp8")  # wide weights make many chunks
CAPACITY = {"rows": 24, "sequences": 2, "context": 256, "top_k": 3}
LENGTH = 60
STEPS: list[Step] = [{"text": 24}, {"text": 1}, {"text": 20}, {"text": 1}, {"text": 14}]


@dataclass(frozen=True)
class Lender:
    """A model of which a tile has more chunks than a ring and what is lent take, and its chip."""

    model: Model
    chip: Chip
    slots: int

    def stages(self, without: tuple[str, ...] = ()) -> Compiled:
        """Its plan."""
        options = replace(self.model.options(NUMERIC, **CAPACITY), without=without)
        return compile_stages(ModelConfig.load(self.model.path), self.chip, options)

    def program(self, without: tuple[str, ...] = ()) -> Program:
        """Its program."""
        return compile_checkpoint(self.model.path, self.chip, self.stages(without).plan.options)


@pytest.fixture(scope="module", params=CASES)
def lender(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lender:
    nbytes, tiles, sizes = CASES[request.param]
    model = Model.make(tmp_path_factory.mktemp("model"), SMALL["llama"] | SIZES | sizes)
    return Lender(model, mini(tiles, 1, **{"tile.tsram.bytes": nbytes}), request.param)


def _lent(lender: Lender, without: tuple[str, ...], rows: int) -> int:
    """Chunks of weights that go to the memory of pages in a step."""
    recorder = Recorder()
    machine = FastMachine(lender.program(without), lender.chip, timing_only=True)
    decoder = Decoder(machine, recorder)
    decoder.step([Request(decoder.open(), [1] * rows)])
    records = recorder.entries[-1]
    plan = lender.stages().plan
    source, target = records[:, retire.SRC_ADDRESS], records[:, retire.DST_ADDRESS]
    weights = np.zeros(len(records), bool)
    for one in plan.hbm.matrices.values():
        weights |= (source >= one.data) & (source < one.data + one.layers * one.data_bytes)
    ours = np.isin(records[:, retire.UNIT], DMA0 + np.arange(len(W_CHANNELS)))
    return int((ours & weights & (target >= plan.tile.at["k_block"])).sum())


@pytest.mark.parametrize("rows", [1, 24])
def test_weights_go_through_the_memory_of_pages(lender: Lender, rows: int) -> None:
    layers = lender.stages().plan.config.layers
    assert _lent(lender, (), rows) == lender.slots * lender.chip.num_tiles * layers
    assert _lent(lender, ("lent-pages",), rows) == 0


def test_their_bits_are_the_same(lender: Lender) -> None:
    """Nothing reads what it should not, and nothing is overwritten too early."""
    machine = checked(lender.program(), lender.chip)
    text = lender.model.text(LENGTH, 2)
    played = play(machine, {"text": text}, STEPS)
    assert machine.findings() == [], machine.text()
    played.check("text", lender.model.expected(NUMERIC, text))
