"""The shipped model in plain NumPy: nothing of the compiler or the emulator is in it.

Computed in float64, and the logits rounded to fp32. That is the model in fp32 but for the rounding
on the way, which a processor's matrix library does in an order of its own: in fp32 a near tie
could fall one way here and the other way there. Llama's formulas are those of transformers'
`LlamaForCausalLM`; the checkpoint has tied embeddings, no biases, and RoPE without scaling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.explore.quality.predicted import Predicted
from emulator.explore.quality.text import Window, checkpoint

Array = NDArray[np.float64]


def reference(chosen: Iterable[Window]) -> Predicted:
    """What the shipped model says of windows."""
    model, found = Model(checkpoint()), Predicted()
    for window in chosen:
        found.add(model.logits(window[:-1]), window[1:])
    return found


class Model:
    """A checkpoint in memory: config.json, and model.safetensors in bfloat16."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        assert config["model_type"] == "llama" and config["tie_word_embeddings"]
        self.layers: int = config["num_hidden_layers"]
        self.width: int = config["head_dim"]
        self.epsilon: float = config["rms_norm_eps"]
        self.theta: float = config["rope_parameters"]["rope_theta"]
        self.weights = _tensors(folder / "model.safetensors")

    def logits(self, tokens: Window) -> NDArray[np.float32]:
        """Logits [tokens, vocabulary] of a text."""
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[tokens]
        for layer in range(self.layers):
            x = x + self._attention(f"model.layers.{layer}", x)
            x = x + self._mlp(f"model.layers.{layer}", x)
        found: NDArray[np.float32] = (self._norm("model.norm", x) @ embedding.T).astype(np.float32)
        return found

    def _norm(self, name: str, x: Array) -> Array:
        scale = np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon)
        return np.asarray(x / scale * self.weights[f"{name}.weight"])

    def _linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T)

    def _mlp(self, layer: str, x: Array) -> Array:
        x = self._norm(f"{layer}.post_attention_layernorm", x)
        gate = self._linear(f"{layer}.mlp.gate_proj", x)
        up = self._linear(f"{layer}.mlp.up_proj", x)
        return self._linear(f"{layer}.mlp.down_proj", gate / (1 + np.exp(-gate)) * up)

    def _attention(self, layer: str, x: Array) -> Array:
        h = self._norm(f"{layer}.input_layernorm", x)
        q, k, v = (self._heads(f"{layer}.self_attn.{name}_proj", h) for name in "qkv")
        q, k = self._turned(q), self._turned(k)
        shared = len(q) // len(k)  # query heads that share a key
        later = np.where(np.tri(len(x), dtype=bool), 0, -np.inf)
        mixed = [
            _softmax(q[head] @ k[head // shared].T / np.sqrt(self.width) + later)
            @ v[head // shared]
            for head in range(len(q))
        ]
        return self._linear(f"{layer}.self_attn.o_proj", np.concatenate(mixed, axis=-1))

    def _heads(self, name: str, x: Array) -> Array:
        """[heads, positions, width]."""
        return self._linear(name, x).reshape(len(x), -1, self.width).swapaxes(0, 1)

    def _turned(self, x: Array) -> Array:
        """RoPE: element i turns with element i + width / 2."""
        half = self.width // 2
        angle = np.arange(x.shape[1])[:, None] * self.theta ** -(np.arange(half) / half)
        cos, sin = np.cos(angle), np.sin(angle)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def _softmax(scores: Array) -> Array:
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(share / share.sum(axis=-1, keepdims=True))


def _tensors(path: Path) -> dict[str, Any]:
    """A safetensors file's bfloat16 tensors as float64: each is the upper half of an fp32."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "BF16"
        first, end = entry["data_offsets"]
        bits = np.frombuffer(data[start + first : start + end], "<u2").astype(np.uint32) << 16
        found[name] = bits.view(np.float32).astype(np.float64).reshape(entry["shape"])
    return found
