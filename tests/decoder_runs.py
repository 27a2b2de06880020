"""Runs decoder programs over texts in every kind of schedule, and collects what came out.

A schedule is a list of steps; a step gives some texts their next tokens. What is collected goes by
text and position, not by steps, pages or batch-mates, so that any two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiny_models
from graph_model import Forward, GraphModel, Numeric

from compiler.api import compile_checkpoint, compile_stages
from compiler.buffers import Rows
from compiler.config import ModelConfig
from compiler.options import Options
from emulator.decoder import Decoder, Machine, Request, Sequence
from emulator.reference.machine import ReferenceMachine
from isa.chip import Chip, load_chip
from isa.descriptor import Space
from isa.formats import Format, decode, encode
from isa.program import Program

Array = npt.NDArray[Any]
Step = Mapping[str, int]  # text -> how many of its next tokens
Texts = Mapping[str, list[int]]


def _small(name: str, **changes: int) -> dict[str, Any]:
    shared = tiny_models.CONFIGS[name]["num_key_value_heads"]
    sizes = {
        "hidden_size": 44,
        "intermediate_size": 136,
        "vocab_size": 67,
        "num_attention_heads": {1: 3, 2: 4, 7: 3}[shared],
        "num_key_value_heads": {1: 1, 2: 2, 7: 3}[shared],
    }
    return tiny_models.CONFIGS[name] | sizes | changes


#: Smaller still than `tiny_models`: an instruction of the reference executor takes a while.
#: In `llama-64` a head group is whole scale blocks, so that attention's output is quantised there.
SMALL: dict[str, dict[str, Any]] = {name: _small(name) for name in tiny_models.CONFIGS} | {
    "llama-64": _small("llama", head_dim=64, num_attention_heads=4, num_key_value_heads=2)
}


def mini(clusters: int = 2, tiles: int = 2, **changes: Any) -> Chip:
    """t1-mini with other numbers: clusters, tiles of each, and anything else by its path."""
    mesh = {"mesh.columns": tiles, "mesh.rows": clusters, "cluster.csram.ports": 1}
    return load_chip("t1-mini").with_(clusters=clusters, tiles_per_cluster=tiles, **mesh, **changes)


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk: its config, and its weights as stored."""

    path: Path
    config: dict[str, Any]
    weights: dict[str, npt.NDArray[np.float32]]

    @classmethod
    def make(cls, path: Path, config: dict[str, Any], seed: int = 0, dtype: str = "BF16") -> Model:
        """Write a random checkpoint."""
        return cls(path, config, tiny_models.write_model(path, config, seed, dtype))

    def replace(self, changed: dict[str, npt.NDArray[np.float32]]) -> None:
        """Give some tensors other values, rounded to BF16 (one shard, of BF16)."""
        self.weights.update(changed)
        codes = {name: encode(Format.BF16, values) for name, values in self.weights.items()}
        self.weights.update({name: decode(Format.BF16, code) for name, code in codes.items()})
        tiny_models.write_safetensors(self.path / "model.safetensors", codes, "BF16")

    def compile(self, chip: Chip, numeric: Numeric, **others: int | None) -> Program:
        """The model's program, with some capacities and other options that change no bits."""
        return compile_checkpoint(self.path, chip, self.options(numeric, **others))

    def buffers(self, chip: Chip, numeric: Numeric, **others: int | None) -> dict[str, Rows]:
        """Where that program has its activations."""
        options = self.options(numeric, **others)
        return compile_stages(ModelConfig.load(self.path), chip, options).plan.buffers.rows

    def options(self, numeric: Numeric, **others: int | None) -> Options:
        """Numeric and other options as the compiler wants them."""
        return Options(
            numeric.weights,
            numeric.activations,
            numeric.kv,
            numeric.lm_head,
            numeric.scale_mode,
            **others,  # type: ignore[arg-type]
        )

    def text(self, length: int, seed: int = 0) -> list[int]:
        """A random text."""
        found = np.random.default_rng([seed, 7]).integers(0, self.config["vocab_size"], length)
        return [int(token) for token in found]

    def expected(self, numeric: Numeric, tokens: list[int]) -> Forward:
        """What the arithmetic contract says."""
        return GraphModel(self.config, self.weights, numeric).forward(tokens)


@dataclass
class Played:
    """Patterns of logits by (text, position), and of the cache by text: [layers, heads, T, d]."""

    logits: dict[tuple[str, int], Array] = field(default_factory=dict)
    keys: dict[str, Array] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)

    def check(self, name: str, expected: Forward) -> None:
        """Every bit of a text is as expected."""
        same(f"keys of {name}", self.keys[name], expected.keys)
        same(f"values of {name}", self.values[name], expected.values)
        positions = [position for text, position in self.logits if text == name]
        assert positions, f"no logits of {name}"
        for position in positions:
            want = expected.logits[position].view(np.uint32)
            same(f"logits of {name} at {position}", self.logits[name, position], want)


def same(what: str, got: Array, want: Array) -> None:
    """Patterns are equal; says where they are not."""
    assert got.shape == want.shape, f"{what}: {got.shape} instead of {want.shape}"
    wrong = np.argwhere(got != want)
    assert not len(wrong), f"{what}: {len(wrong)} of {got.size} differ, first at {wrong[0]}"


class Player:
    """A decoder that reads texts by schedules; `played` is what came out so far."""

    def __init__(self, machine: Machine, texts: Texts) -> None:
        self.decoder = Decoder(machine)
        self.texts = texts
        self.sequences: dict[str, Sequence] = {}
        self.played = Played()

    def run(self, steps: list[Step], logits: int = 1) -> None:
        """Feed texts; each step wants the last `logits` rows of every text in it."""
        for step in steps:
            self._feed(step, logits)

    def _feed(self, step: Step, logits: int) -> None:
        requests, wanted = [], []
        for name, count in step.items():
            sequence = self.sequences.get(name) or self.open(name)
            end = sequence.length + count
            some = min(logits, count)
            requests.append(Request(sequence, self.texts[name][sequence.length : end], some))
            wanted += [(name, position) for position in range(end - some, end)]
        result = self.decoder.step(requests, with_logits=True)
        assert result.logits is not None
        for place, row in zip(wanted, result.logits, strict=True):
            self.played.logits[place] = row.view(np.uint32)

    def open(self, name: str) -> Sequence:
        """Begin a text."""
        return self.sequences.setdefault(name, self.decoder.open())

    def close(self, name: str) -> None:
        """Forget a text: others get its pages."""
        self.decoder.close(self.sequences.pop(name))

    def finish(self) -> Played:
        """What came out, with the cache as it is now."""
        for name, sequence in self.sequences.items():
            self.played.keys[name] = cached(self.decoder, sequence, "k_cache")
            self.played.values[name] = cached(self.decoder, sequence, "v_cache")
        return self.played


def inside(machine: ReferenceMachine, rows: Rows, count: int) -> Array:
    """Patterns of the first rows of an FP32 buffer, once they are equal wherever it has a copy."""
    part = rows.data
    size = part.rows * part.row_bytes
    if part.space is Space.HBM:
        return _patterns(machine.memory.read(part.base, size), rows)[:count]
    copies = [memory[part.base : part.base + size] for memory in machine.memory.csram]
    groups = row_groups(len(copies), part.rows, count)
    each, ways = -(-count // groups), len(copies) // groups
    tables = []
    for first in range(0, len(copies), ways):
        own = [_patterns(copy, rows)[:each] for copy in copies[first : first + ways]]
        for other in own[1:]:
            same(f"copies of {rows.name}", other, own[0])
        tables.append(own[0])
    return np.concatenate(tables)[:count]


def _patterns(memory: Array, rows: Rows) -> Array:
    table = memory.reshape(rows.data.rows, -1)[:, : 4 * rows.columns]
    return np.ascontiguousarray(table).view(np.uint32)


def row_groups(clusters: int, group_rows: int, rows: int) -> int:
    """The fewest groups of clusters, all alike, each with room for its part of the rows."""
    return next(
        n for n in range(1, clusters + 1) if clusters % n == 0 and -(-rows // n) <= group_rows
    )


def play(machine: Machine, texts: Texts, steps: list[Step], logits: int = 1) -> Played:
    """Feed texts to a new decoder by a schedule."""
    player = Player(machine, texts)
    player.run(steps, logits)
    return player.finish()


def cached(decoder: Decoder, sequence: Sequence, symbol: str) -> Array:
    """A sequence's rows of the cache in order of position: codes [layers, KV heads, T, d]."""
    page = decoder.capacity["page"]
    positions = np.arange(sequence.length)
    rows = np.array(sequence.pages)[positions // page] * page + positions % page
    return decoder.machine.read(symbol)[:, :, rows]


# ---- schedules


def chunks(name: str, length: int, *sizes: int) -> list[Step]:
    """One text alone, in chunks of the given sizes, the last one repeated to its end."""
    return [{name: size} for size in _sizes(length, sizes)]


def together(*schedules: list[Step]) -> list[Step]:
    """Several schedules in the same steps, those that are over left out."""
    count = max(len(schedule) for schedule in schedules)
    merged: list[Step] = []
    for index in range(count):
        parts = [schedule[index] for schedule in schedules if index < len(schedule)]
        merged.append({name: size for part in parts for name, size in part.items()})
    return merged


def _sizes(length: int, sizes: tuple[int, ...]) -> Iterator[int]:
    index = 0
    while length > 0:
        size = min(sizes[min(index, len(sizes) - 1)], length)
        yield size
        length -= size
        index += 1
