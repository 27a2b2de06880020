"""The schedule: what it says is what runs, its checks can fail, and no technique changes a bit."""

from __future__ import annotations

import pytest
import tiny_models
from check_runs import checked
from decoder_runs import SMALL, Model, chunks, mini, play
from graph_model import Numeric

from compiler.api import compile_stages
from compiler.config import ModelConfig
from compiler.options import TECHNIQUES, Options

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


OUT_OF_REGISTERS = pytest.mark.xfail(
    strict=True,
    reason="out of scalar registers: _send_fp32 in _write_finish, with activations in HBM, biases "
    "and several row groups",
)


@pytest.mark.parametrize(
    ("without", "rows"),
    [
        pytest.param((), None, marks=OUT_OF_REGISTERS),
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
