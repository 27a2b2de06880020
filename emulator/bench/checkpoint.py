"""Checkpoints of a Llama's shape with random weights: BF16, in shards, tensor by tensor.

No more than a few million elements are in memory at a time, whatever the model's size.
"""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Config = dict[str, Any]
Tensors = dict[str, tuple[int, ...]]

SHARD_BYTES = 1 << 29
BLOCK = 1 << 22  # elements made at a time

_LLAMA: Config = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "torch_dtype": "bfloat16",
}
_ROPE = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
SHAPE_1B = _LLAMA | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "head_dim": 64,
    "tie_word_embeddings": True,
    "rope_scaling": _ROPE | {"factor": 32.0},
}
SHAPE_8B = _LLAMA | {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "head_dim": 128,
    "tie_word_embeddings": False,
    "rope_scaling": _ROPE | {"factor": 8.0},
}
#: Small enough for a test.
SHAPE_TINY = SHAPE_1B | {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
    "bos_token_id": 500,
    "eos_token_id": [501],
}
SHAPES = {"1b": SHAPE_1B, "8b": SHAPE_8B, "tiny": SHAPE_TINY}


def tensors(config: Config) -> Tensors:
    """Names and shapes of a Llama's tensors."""
    hidden, ffn, vocab = (config[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    wide = config["num_attention_heads"] * config["head_dim"]
    narrow = config["num_key_value_heads"] * config["head_dim"]
    layer: Tensors = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (wide, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, wide),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }
    found: Tensors = {"model.embed_tokens.weight": (vocab, hidden)}
    for number in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{number}.{name}.weight": size for name, size in layer.items()}
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (vocab, hidden)
    return found


def size_of(config: Config) -> int:
    """Bytes of a checkpoint's tensors."""
    return sum(2 * prod(shape) for shape in tensors(config).values())


def write_checkpoint(directory: Path, config: Config, seed: int = 0) -> None:
    """Write config.json, shards of random BF16 tensors, and their index."""
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    shards = _shards(tensors(config))
    rng = np.random.default_rng(seed)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        weight_map |= dict.fromkeys(shard, name)
        with (directory / name).open("wb") as file:
            _write_shard(file, shard, rng)
    index = {"metadata": {"total_size": size_of(config)}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(all_tensors: Tensors) -> list[Tensors]:
    """The tensors in order, in files of at most SHARD_BYTES (or of one tensor)."""
    shards: list[Tensors] = [{}]
    size = 0
    for name, shape in all_tensors.items():
        nbytes = 2 * prod(shape)
        if shards[-1] and size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += nbytes
    return shards


def _write_shard(file: BinaryIO, shard: Tensors, rng: np.random.Generator) -> None:
    header, offset = {}, 0
    for name, shape in shard.items():
        end = offset + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for shape in shard.values():
        _write_tensor(file, shape, rng)


def _write_tensor(file: BinaryIO, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Normal values that keep activations near one; gains near one. BF16 by truncation."""
    offset, spread = (1.0, 0.1) if len(shape) == 1 else (0.0, shape[-1] ** -0.5)
    left = prod(shape)
    while left:
        count = min(left, BLOCK)
        values = rng.standard_normal(count, np.float32) * np.float32(spread) + np.float32(offset)
        file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
        left -= count
