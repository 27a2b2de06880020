"""Random decoders, checked: shapes, options and steps of many kinds, and nothing is out of order.

`TESSERA_CHECKS=N` tries N of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from compiler.api import compile_checkpoint
from compiler.errors import CompileError
from compiler.options import TECHNIQUES, Options
from compiler.precision import PRECISIONS
from emulator.check.machine import CheckedMachine
from emulator.decoder import Decoder, Request, Sequence
from emulator.fast.machine import FastMachine
from isa.chip import Chip, load_chip
from tests import tiny_models

MANY = int(os.environ.get("TESSERA_CHECKS", "0"))
SEEDS = range(MANY or 16)
STEPS = 5
MOST_ROWS = 256  #: in a step: two row groups of 128
#: Numbers of rows about which plans change: a group's, those of a few rows, a page's.
EDGES = (1, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Trial:
    """A decoder to try."""

    chip: Chip
    config: dict[str, Any]
    options: Options


def trial(rng: Random) -> Trial:
    heads = rng.choice([1, 2, 4, 6, 7, 8, 16])
    shape = {
        "num_hidden_layers": rng.choice([1, 2]),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([n for n in range(1, heads + 1) if heads % n == 0]),
        "head_dim": rng.choice([8, 16, 32, 40, 64, 128]),
        "hidden_size": 8 * rng.randint(4, 40),
        "intermediate_size": 8 * rng.randint(4, 60),
        "vocab_size": rng.randint(100, 1500),
        "tie_word_embeddings": rng.random() < 0.5,
    }
    if rng.random() < 0.2:
        shape |= {"hidden_size": 512, "intermediate_size": 1024}
    names = [name for name in tiny_models.CONFIGS if name != "llama"]
    config = tiny_models.CONFIGS[rng.choice(names)] | shape
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][: shape["num_hidden_layers"]]
    left_out = rng.sample(sorted(TECHNIQUES), rng.choice([0, 0, 0, 1, 2]))
    options = Options(
        rng.choice(sorted(PRECISIONS)),
        rng.choice(["mxfp8", "mxfp8", "bf16"]),
        kv=rng.choice(["bf16", "fp8"]),
        rows=min(MOST_ROWS, max(8, _about(rng))),
        sequences=rng.choice([1, 2, 5, 8]),
        context=rng.choice([256, 400, 512]),
        top_k=rng.choice([1, 5, 40]),
        without=tuple(left_out),
    )
    chip = rng.choice(["t1-mini", "t1-mini", "t1-mini-balanced", "t1-wide"])
    return Trial(load_chip(chip), config, options)


def _about(rng: Random) -> int:
    """A number of rows, often near one where something changes."""
    if rng.random() < 0.4:
        return rng.randint(1, MOST_ROWS)
    return max(1, rng.choice(EDGES) + rng.randint(-2, 2))


def steps(rng: Random, decoder: Decoder) -> None:
    """Prompts and single tokens side by side, sequences that begin and end."""
    capacity = decoder.capacity
    open_: list[Sequence] = []
    for _ in range(STEPS):
        full = [sequence for sequence in open_ if sequence.length == capacity["context"]]
        done = full or rng.sample(open_, int(len(open_) > 1 and rng.random() < 0.2))
        for sequence in done:
            open_.remove(sequence)
            decoder.close(sequence)
        if not open_ or (len(open_) < capacity["sequences"] and rng.random() < 0.6):
            open_.append(decoder.open())
        left, requests = capacity["rows"], []
        for sequence in rng.sample(open_, len(open_)):
            room = min(left, capacity["context"] - sequence.length)
            if room > 0:
                count = 1 if rng.random() < 0.3 else min(room, _about(rng))
                tokens = [rng.randrange(100) for _ in range(count)]
                requests.append(Request(sequence, tokens, int(rng.random() < 0.7)))
                left -= count
        decoder.step(requests)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_decoders_have_no_findings(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    tried = trial(rng)
    tiny_models.write_model(tmp_path, tried.config, seed)
    try:
        program = compile_checkpoint(tmp_path, tried.chip, tried.options)
    except CompileError as error:
        pytest.skip(f"no such decoder: {error}")
    machine = CheckedMachine(FastMachine(program, tried.chip, log_accesses=True))
    steps(rng, Decoder(machine))
    assert machine.findings() == [], f"{tried}\n{machine.text()}"


def test_most_of_them_are_decoders(tmp_path: Path) -> None:
    """And plans of many kinds."""
    refused = 0
    for seed in SEEDS:
        tried = trial(Random(seed))
        folder = tmp_path / str(seed)
        folder.mkdir()
        tiny_models.write_model(folder, tried.config, seed)
        try:
            compile_checkpoint(folder, tried.chip, tried.options)
        except CompileError:
            refused += 1
    assert refused <= len(SEEDS) // 4
