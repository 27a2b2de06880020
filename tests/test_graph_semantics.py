"""Whole programs compute what section 3 of the arithmetic contract says, to the bit.

The reference executor, with code from the compiler, against `graph_model`. Set TESSERA_EXHAUSTIVE=1
for every family in every combination of formats (on the fast executor; a quarter of an hour).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import float_model
import graph_model
import numpy as np
import pytest
import tiny_models
from decoder_runs import SMALL, Model, chunks, inside, mini, play, same
from graph_model import Forward, GraphModel, Numeric

from compiler.buffers import Rows
from emulator.fast import FastMachine
from emulator.reference.convert import round_to
from emulator.reference.machine import ReferenceMachine
from isa.formats import Format

EXHAUSTIVE = os.environ.get("TESSERA_EXHAUSTIVE") == "1"
FORMATS = ("mxfp4", "nvfp4", "mxfp8", "fp8", "bf16")
FAMILIES = tuple(SMALL)
PAIRS = tuple(itertools.product(FORMATS, FORMATS))
#: Every pair of weight and activation formats, the rest in turn.
COVER = [
    (
        FAMILIES[index % len(FAMILIES)],
        Numeric(
            weights,
            activations,
            ("bf16", "fp8")[index // 2 % 2],
            (None, *FORMATS)[index // 3 % 6],
            ("round_up", "floor")[index % 2],
        ),
    )
    for index, (weights, activations) in enumerate(PAIRS)
]
#: family, what differs from SMALL, length of the text, numeric options. Attention's output is FP32.
LONG: dict[str, tuple[str, dict[str, Any], int, Numeric]] = {
    "no window": ("llama", {}, 180, Numeric("mxfp4", "mxfp8")),
    "two groups": ("llama-64", {}, 180, Numeric("nvfp4", "fp8", "fp8")),
    "rows past their first block": ("mistral", {"sliding_window": 9}, 140, Numeric("mxfp8", "fp8")),
    "window in a later layer": ("qwen2", {}, 190, Numeric("bf16", "mxfp4", "fp8")),
    "window longer than a block": (
        "qwen3",
        {"sliding_window": 130, "num_key_value_heads": 1, "num_attention_heads": 2},
        262,
        Numeric("fp8", "fp8"),
    ),
    "window of one": ("mistral", {"sliding_window": 1}, 130, Numeric("bf16", "mxfp8")),
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    """Checkpoints by config and type, each made once."""
    made: dict[str, Model] = {}

    def get(config: dict[str, Any], dtype: str = "BF16") -> Model:
        key = f"{config}{dtype}"
        if key not in made:
            made[key] = Model.make(tmp_path_factory.mktemp("model"), config, dtype=dtype)
        return made[key]

    return get


# ---- the oracle itself


@pytest.mark.parametrize("name", FAMILIES)
def test_the_oracle_is_the_model(name: str) -> None:
    weights = {
        key: round_to(Format.BF16, values)
        for key, values in tiny_models.random_weights(SMALL[name], 3).items()
    }
    tokens = np.random.default_rng(3).integers(0, 67, 60).tolist()
    exact = float_model.logits(SMALL[name], weights, tokens)
    ours = GraphModel(SMALL[name], weights, Numeric("bf16", "bf16")).forward(tokens).logits
    assert exact.std() > 1
    assert np.abs(ours - exact).max() < 0.15
    assert np.sqrt(np.square(ours - exact).mean()) < 0.02


@pytest.mark.parametrize("name", FAMILIES)
def test_the_oracles_rope_is_the_models(name: str) -> None:
    exact = float_model.frequencies(SMALL[name])
    np.testing.assert_allclose(graph_model.frequencies(SMALL[name]), exact, rtol=1e-6)


def test_the_score_scale_is_rounded_once() -> None:
    """RNE(x) = s means that x lies between the middles to s's neighbours."""
    log2e = int(graph_model.LOG2E.view(np.uint32)) & 0x7FFFFF | 0x800000
    for dim in range(1, 1025):
        scale = graph_model.score_scale(dim)
        middles = [(float(scale) + float(np.nextafter(scale, to))) / 2 for to in (-np.inf, np.inf)]
        # middle * sqrt(dim) against L, both squared and as integers
        squares = [int(m * 2**48) ** 2 * dim for m in middles]
        assert squares[0] <= (log2e << 25) ** 2 <= squares[1]


# ---- programs


@pytest.mark.parametrize(("name", "numeric"), COVER)
def test_every_pair_of_formats(name: str, numeric: Numeric, model_of: Callable[..., Model]) -> None:
    model, chip = model_of(SMALL[name]), mini(2, 1)
    program = model.compile(chip, numeric, rows=12, sequences=3, context=128, top_k=4)
    text = model.text(15, seed=len(name))
    steps = chunks("text", len(text), 12, 3)
    played = play(ReferenceMachine(program, chip), {"text": text}, steps, logits=3)
    played.check("text", model.expected(numeric, text))


@pytest.mark.parametrize("case", LONG)
def test_past_a_block_and_past_the_window(case: str, model_of: Callable[..., Model]) -> None:
    name, changes, length, numeric = LONG[case]
    model, chip = model_of(SMALL[name] | changes), mini(2, 1)
    capacity = {"rows": 140, "sequences": 4, "context": 384, "top_k": 1}
    machine = ReferenceMachine(model.compile(chip, numeric, **capacity), chip)
    text, expected = model.text(length), model.expected(numeric, model.text(length))
    steps = chunks("text", length, 60, 140)
    play(machine, {"text": text}, steps, logits=4).check("text", expected)
    start = length - steps[-1]["text"]
    check_inside(machine, model.buffers(chip, numeric, **capacity), expected, start)


def check_inside(
    machine: ReferenceMachine, buffers: dict[str, Rows], expected: Forward, start: int
) -> None:
    """The FP32 buffers of the last layer, whose last bits a quantised result would hide.

    The last step had the rows from `start` on.
    """
    checked = set()
    for name, values in expected.last.items():
        if buffers[name].precision.name == "fp32":
            want = values[start:]
            got = inside(machine, buffers[name], len(want))[:, : want.shape[1]]
            same(name, got, np.ascontiguousarray(want).view(np.uint32))
            checked.add(name)
    assert {"x", "qkv", "o"} <= checked


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_checkpoints_in_other_types(dtype: str, model_of: Callable[..., Model]) -> None:
    numeric = Numeric("bf16", "mxfp8")
    model, chip = model_of(SMALL["llama-biased"], dtype), mini(1, 1)
    assert (model.weights["model.norm.weight"].view(np.uint32) & 0x1FFF).any() == (dtype == "F32")
    program = model.compile(chip, numeric, rows=8, sequences=1, context=128, top_k=1)
    text = model.text(7)
    played = play(ReferenceMachine(program, chip), {"text": text}, chunks("text", 7, 7))
    played.check("text", model.expected(numeric, text))


@pytest.mark.parametrize("numeric", [Numeric("bf16", "bf16"), Numeric("mxfp8", "mxfp8", "fp8")])
def test_values_that_overflow(numeric: Numeric, tmp_path: Path) -> None:
    """Infinities and NaNs come out where the contract puts them, and stay in their rows."""
    model = Model.make(tmp_path, SMALL["llama"])
    name = "model.layers.1.post_attention_layernorm.weight"
    model.replace({name: model.weights[name] * np.float32(2.0**127)})
    chip, text = mini(2, 2), model.text(9)
    expected = model.expected(numeric, text)
    assert np.isnan(expected.logits).any() or np.isinf(expected.logits).any()
    program = model.compile(chip, numeric, rows=16, sequences=4, context=128, top_k=4)
    for machine in (ReferenceMachine(program, chip), FastMachine(program, chip)):
        played = play(machine, {"text": text}, chunks("text", 9, 5), logits=4)
        played.check("text", expected)


# ---- everything, on demand

EVERYTHING = itertools.product(FAMILIES, PAIRS, ("bf16", "fp8"), ("round_up", "floor"))


@pytest.mark.parametrize(("name", "pair", "kv", "mode"), EVERYTHING if EXHAUSTIVE else [])
def test_every_combination(
    name: str, pair: tuple[str, str], kv: str, mode: str, model_of: Callable[..., Model]
) -> None:
    numeric = Numeric(*pair, kv, None, mode)
    model, chip = model_of(SMALL[name]), mini(2, 2)
    program = model.compile(chip, numeric, rows=50, sequences=4, context=256, top_k=4)
    text = model.text(140)
    steps = chunks("text", len(text), 13, 1, 50)
    played = play(FastMachine(program, chip), {"text": text}, steps, logits=4)
    played.check("text", model.expected(numeric, text))
