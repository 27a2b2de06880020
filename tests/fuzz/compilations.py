"""Models of odd sizes and odd options: compiled without weights, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from random import Random
from typing import Any

from compiler.api import compile_config
from compiler.config import ModelConfig
from compiler.options import Options
from fuzz.kinds import Kind, kind
from fuzz.models import CONFIGS
from fuzz.mutate import rng_of
from fuzz.rule import tried
from isa.chip import Chip, load_chip
from isa.program.checks import check as check_program

_SIZES = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    64,
    96,
    100,
    127,
    128,
    500,
    1000,
    4096,
    65536,
)
_KEYS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
         "head_dim", "vocab_size", "max_position_embeddings", "sliding_window",
         "num_hidden_layers")  # fmt: skip
_FORMATS = ("mxfp4", "nvfp4", "mxfp8", "fp8", "bf16", "fp4", "")
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "weights": _FORMATS, "activations": _FORMATS, "kv": ("bf16", "fp8", "x"),
    "lm_head": (None, *_FORMATS), "scale_mode": ("round_up", "floor", "up"),
    "context": (None, 0, 1, 16, 100, 1 << 30), "rows": (None, 0, 1, 3, 128, 1 << 20),
    "sequences": (1, 2, 8, 0, 1 << 20), "logit_rows": (None, 1, 2, 1000), "top_k": (1, 40, 0, 5000),
    "split": (None, 1, 2, 3, 4),
}  # fmt: skip
_MOST_LAYERS = 3


@cache
def chip() -> Chip:
    """The chip that all is compiled for."""
    return load_chip("t1-mini")


def check(seed: int) -> Iterable[str]:
    """`emu compile --no-weights`."""
    name = "config.json"
    made = tried(lambda: _config(rng_of("compile", seed), name), name)
    if made is None:
        return ["refused by the reader"]
    config, options = made
    program = tried(lambda: compile_config(config, chip(), Options(**options)), "")
    if program is None:
        return ["refused by the compiler"]
    check_program(program)
    return ["accepted"]


def _config(rng: Random, name: str) -> tuple[ModelConfig, dict[str, Any]]:
    data = dict(rng.choice(CONFIGS))
    for key in rng.sample(_KEYS, rng.choice((0, 1, 1, 2, 3))):
        data[key] = rng.choice(_SIZES)
    data["num_hidden_layers"] = min(data["num_hidden_layers"], _MOST_LAYERS)
    data.pop("layer_types", None)
    options = {key: rng.choice(values) for key, values in _OPTIONS.items() if rng.random() < 0.15}
    return ModelConfig.from_dict(data, name), options


def prepare() -> None:
    """Import and read what all compilations need."""
    for seed in range(8):
        check(seed)


kind(
    Kind("compile", "models of odd sizes and options", check, 5_000, 100, 20, seconds=10.0,
         prepare=prepare)
)  # fmt: skip
