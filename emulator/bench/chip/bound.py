"""What a step costs at least, from the model's shape alone: bytes, and multiply-accumulates.

Decode has to read every weight once, with its scales, lm_head included, and the keys and values of
every sequence. Prefill has to multiply: every token with every weight matrix but lm_head, which one
row needs, and every query with the keys before it and its own, and then with their values.
Gains of norms, embeddings, rotary tables and activations are left out: the bound is a lower one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from compiler.config import ModelConfig
from compiler.matrices import Matrix, matrices
from compiler.options import Options
from compiler.precision import KV_FORMATS, precision
from emulator.bench.chip.cases import Part
from isa.chip import Chip
from isa.formats import FORMATS

HEAD = "lm_head"


@dataclass(frozen=True)
class Macs:
    """Useful multiply-accumulates of operands of one pair of widths (bits)."""

    a_bits: int
    w_bits: int
    count: int


class Work(NamedTuple):
    """Useful multiply-accumulates of a step, or of several."""

    layers: Macs  #: every token with every weight matrix of every layer
    head: Macs  #: lm_head, of the rows that want logits
    attention: Macs  #: queries with keys, probabilities with values


def weight_bytes(config: ModelConfig, options: Options) -> int:
    """Every weight matrix of every layer and lm_head, in the options' formats, with scales."""
    return sum(matrix.layers * _bytes(matrix) for matrix in _matrices(config, options))


def layer_bytes(config: ModelConfig, options: Options, parts: Sequence[Part]) -> float:
    """What one layer of a step reads of HBM at least: its weights, its part of keys and values."""
    weights = sum(_bytes(matrix) for matrix in _matrices(config, options) if matrix.name != HEAD)
    return weights + kv_bytes(config, options, _keys(parts)) / config.layers


def _matrices(config: ModelConfig, options: Options) -> tuple[Matrix, ...]:
    weights = precision(options.weights, "--weights")
    return matrices(config, weights, precision(options.lm_head or options.weights, "--lm-head"))


def _bytes(matrix: Matrix) -> int:
    """Of one layer: rows of k elements, and their scales. Nothing is padded."""
    rows = sum(rows for _, rows in matrix.sources)
    return rows * (matrix.precision.data_bytes(matrix.k) + matrix.precision.scale_bytes(matrix.k))


def _keys(parts: Sequence[Part]) -> int:
    """Positions whose keys and values are read."""
    return sum(part.before + part.tokens for part in parts)


def kv_bytes(config: ModelConfig, options: Options, keys: int) -> int:
    """Keys and values of so many positions, in every layer and KV head."""
    element = FORMATS[KV_FORMATS[options.kv]].bits // 8
    return keys * config.layers * 2 * config.kv_heads * config.head_dim * element


def step_bytes(config: ModelConfig, options: Options, parts: Sequence[Part]) -> int:
    """What one step reads of HBM at least: every weight once, every sequence's keys and values."""
    return weight_bytes(config, options) + kv_bytes(config, options, _keys(parts))


def useful_macs(config: ModelConfig, options: Options, parts: Sequence[Part]) -> Work:
    """Multiply-accumulates that the parts need; each wants logits of one row.

    A query is multiplied with the keys before it and its own, and so many values are added up.
    """
    wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
    layer = config.hidden * (2 * wide + 2 * narrow + 3 * config.ffn)
    tokens = sum(part.tokens for part in parts)
    pairs = sum(part.tokens * (2 * part.before + part.tokens + 1) // 2 for part in parts)
    a_bits = precision(options.activations, "--activations").bits
    w_bits = precision(options.weights, "--weights").bits
    head_bits = precision(options.lm_head or options.weights, "--lm-head").bits
    return Work(
        Macs(a_bits, w_bits, layer * config.layers * tokens),
        Macs(a_bits, head_bits, config.hidden * config.vocab * len(parts)),
        Macs(16, 16, 2 * wide * config.layers * pairs),
    )


def array_cycles(work: Iterable[Macs], chip: Chip) -> float:
    """Cycles if every array did nothing else, at the rate of each pair of formats."""
    mxu = chip.tile.mxu
    places = mxu.rows * mxu.columns * chip.num_tiles
    return sum(part.count / (places * mxu.rate(part.a_bits, part.w_bits)) for part in work)
