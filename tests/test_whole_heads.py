"""Lanes that take whole heads of q, k and v, and finish them: the bits of each kind of model."""

from __future__ import annotations

import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, Step, chunks, mini, play
from graph_model import Numeric

from compiler.api import compile_checkpoint, compile_stages
from compiler.config import ModelConfig
from compiler.lower.cutting import takes_heads

ROWS, LENGTH = 160, 200
STEPS: list[Step] = [{"text": 150}, {"text": 33}, *chunks("text", LENGTH - 183, 17)]

HEADS = {"head_dim": 32, "num_attention_heads": 6, "num_key_value_heads": 2}
NO_BIAS = {"attention_bias": False}  # with norms of heads as well there would be a phase for them
#: Models whose heads differ: RoPE alone, another cache, biases, norms of heads.
CASES = {
    "llama": Numeric("mxfp4", "mxfp8"),
    "mistral": Numeric("nvfp4", "mxfp4", "fp8"),
    "qwen2": Numeric("bf16", "bf16", "fp8", "mxfp8"),
    "qwen3": Numeric("fp8", "fp8"),
}


WIDE = {"tile.tsram.bytes": 1 << 20, "tile.acc.bytes": 1 << 18}  # several heads are read out
NARROW = {"tile.tsram.bytes": 1 << 19}
CHIPS = {"2 of 2": mini(2, 2, **NARROW), "2 of 3": mini(2, 3, **WIDE), "4 of 1": mini(4, 1, **WIDE)}


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("name", CASES)
def test_heads_finished_behind_their_product(
    name: str, shape: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Blocks of one kind of head and of several; a lane with more heads than others."""
    model = Model.make(
        tmp_path_factory.mktemp(name), SMALL[name] | HEADS | (NO_BIAS if name == "qwen3" else {})
    )
    chip = CHIPS[shape]
    options = model.options(CASES[name], rows=ROWS, sequences=2, context=256, top_k=3)
    plan = compile_stages(ModelConfig.load(model.path), chip, options).plan
    assert takes_heads(plan) and len(plan.groups) > 1
    machine = checked(compile_checkpoint(model.path, chip, options), chip)
    text = model.text(LENGTH, 5)
    played = play(machine, {"text": text}, STEPS)
    assert machine.findings() == [], machine.text()
    played.check("text", model.expected(CASES[name], text))
