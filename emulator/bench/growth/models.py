"""Models of any size, made on the fly: a Llama's config, and random weights for it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

_POOL = 1 << 20  #: random numbers drawn; more of them are these, rotated


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    positions: int = 1 << 17

    @property
    def parameters(self) -> int:
        """All weights."""
        return sum(prod(shape) for shape in self.tensors().values())

    def config(self) -> dict[str, Any]:
        """The config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": self.positions,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "rms_norm_eps": 1e-5,
            "rope_theta": 500000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
        }

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes."""
        hidden, ffn = self.hidden, self.ffn
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        layer = {
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
        ends = {"embed_tokens": (self.vocab, hidden), "norm": (hidden,)}
        found = {f"model.{name}.weight": shape for name, shape in ends.items()}
        found["lm_head.weight"] = (self.vocab, hidden)
        for number in range(self.layers):
            prefix = f"model.layers.{number}"
            found |= {f"{prefix}.{name}.weight": shape for name, shape in layer.items()}
        return found


def small(hidden: int, layers: int, positions: int = 4096) -> Shape:
    """A model in a Llama's proportions; `hidden` is a multiple of 128."""
    return Shape(hidden, layers, hidden // 64, hidden // 128, 64, 3 * hidden, 4096, positions)


#: Shapes of the Llama 3 family, with the RoPE of none of them: only sizes matter here.
LLAMA = {
    "1b": Shape(2048, 16, 32, 8, 64, 8192, 128256),
    "3b": Shape(3072, 28, 24, 8, 128, 8192, 128256),
    "8b": Shape(4096, 32, 32, 8, 128, 14336, 128256),
    "70b": Shape(8192, 80, 64, 8, 128, 28672, 128256),
    "405b": Shape(16384, 126, 128, 8, 128, 53248, 128256),
}


def write_config(folder: Path, shape: Shape) -> Path:
    """The config alone."""
    file = folder / "config.json"
    file.write_text(json.dumps(shape.config()))
    return file


def write_checkpoint(folder: Path, shape: Shape) -> None:
    """The config and one file of random BF16 weights."""
    write_config(folder, shape)
    tensors, header, end = shape.tensors(), {}, 0
    for name, sizes in tensors.items():
        start, end = end, end + 2 * prod(sizes)
        header[name] = {"dtype": "BF16", "shape": sizes, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pool = np.random.default_rng(0).standard_normal(_POOL, np.float32)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number, sizes in enumerate(tensors.values()):
            file.write(_codes(np.roll(pool, 7919 * number), sizes))


def _codes(pool: np.ndarray, sizes: tuple[int, ...]) -> bytes:
    """Gains near one; matrices that keep activations near one. BF16 by truncation."""
    offset, spread = (1.0, 0.1) if len(sizes) == 1 else (0.0, sizes[-1] ** -0.5)
    values = pool * np.float32(spread) + np.float32(offset)
    codes = (values.view(np.uint32) >> 16).astype("<u2")
    return np.resize(codes, prod(sizes)).tobytes()
