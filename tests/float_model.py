"""The model families in plain NumPy: an oracle that shares nothing with the compiler.

Every position is recomputed from the whole text. Config and weights are a parsed config.json and
fp32 arrays by checkpoint name, as `tiny_models` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = dict[str, npt.NDArray[np.float32]]


def logits(
    config: dict[str, Any], weights: Weights, tokens: list[int], dtype: Any = np.float64
) -> Array:
    """Logits [tokens, vocabulary] of a text, computed in `dtype` (float64 or float32)."""
    w = {name: values.astype(dtype) for name, values in weights.items()}
    cos, sin = rope(config, len(tokens), dtype)
    x = w["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}"
        part = {n.removeprefix(f"{base}."): v for n, v in w.items() if n.startswith(f"{base}.")}
        mask = visible(len(tokens), windows(config)[layer])
        h = rms_norm(x, part["input_layernorm.weight"], config)
        x = x + attention(config, part, h, cos, sin, mask)
        h = rms_norm(x, part["post_attention_layernorm.weight"], config)
        gate = linear(part, "mlp.gate_proj", h)
        x = x + linear(part, "mlp.down_proj", silu(gate) * linear(part, "mlp.up_proj", h))
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    result: Array = rms_norm(x, w["model.norm.weight"], config) @ head.T
    return result


def attention(
    config: dict[str, Any], part: dict[str, Array], x: Array, cos: Array, sin: Array, mask: Array
) -> Array:
    """Self-attention of x[T, hidden]; cos and sin [T, d / 2], mask [query, key]."""
    d = config["head_dim"]
    q, k, v = (
        linear(part, f"self_attn.{name}_proj", x).reshape(len(x), -1, d).swapaxes(0, 1)
        for name in "qkv"
    )
    if config["model_type"] == "qwen3":
        q = rms_norm(q, part["self_attn.q_norm.weight"], config)
        k = rms_norm(k, part["self_attn.k_norm.weight"], config)
    group = len(q) // len(k)
    k, v = np.repeat(rotate(k, cos, sin), group, axis=0), np.repeat(v, group, axis=0)
    scores = rotate(q, cos, sin) @ k.swapaxes(1, 2) / x.dtype.type(np.sqrt(d))
    p = softmax(np.where(mask, scores, -np.inf))
    return linear(part, "self_attn.o_proj", (p @ v).swapaxes(0, 1).reshape(len(x), -1))


def linear(part: dict[str, Array], name: str, x: Array) -> Array:
    """x @ weight.T, plus the bias if there is one."""
    y: Array = x @ part[f"{name}.weight"].T
    return y + part[f"{name}.bias"] if f"{name}.bias" in part else y


def rms_norm(x: Array, gain: Array, config: dict[str, Any]) -> Array:
    """x over its root mean square along the last axis, times gain."""
    eps = x.dtype.type(config["rms_norm_eps"])
    result: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain
    return result


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return np.asarray(x / (1 + np.exp(-x)))


def softmax(scores: Array) -> Array:
    """Along the last axis."""
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def visible(count: int, window: int) -> Array:
    """Which keys [query, key] a query may see: itself and those before it, `window` at most."""
    distance = np.arange(count)[:, None] - np.arange(count)[None, :]
    return np.asarray((distance >= 0) & ((distance < window) | (window == 0)))


def windows(config: dict[str, Any]) -> list[int]:
    """Sliding window of each layer; 0 is none."""
    layers, window = config["num_hidden_layers"], config.get("sliding_window") or 0
    if config["model_type"] == "mistral":
        return [window] * layers
    if not config.get("use_sliding_window"):
        return [0] * layers
    default = (
        [
            "sliding_attention" if layer >= config["max_window_layers"] else ""
            for layer in range(layers)
        ]
        if "layer_types" not in config
        else config["layer_types"]
    )
    return [window if kind == "sliding_attention" else 0 for kind in default]


# ---- RoPE


def rope(config: dict[str, Any], count: int, dtype: Any) -> tuple[Array, Array]:
    """Cosines and sines [count, d / 2]."""
    angles = np.arange(count)[:, None] * frequencies(config)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def frequencies(config: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Radians per position of each pair, in float64."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = scaling.get("rope_theta", config.get("rope_theta", 1e4))
    plain = theta ** -(np.arange(0, config["head_dim"], 2) / config["head_dim"])
    kind = scaling.get("rope_type", "default")
    if kind == "default":
        return np.asarray(plain)
    if kind == "linear":
        return np.asarray(plain / scaling["factor"])
    assert kind == "llama3"
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    # Turns within the original context: few are scaled, many are kept, linear in between.
    turns = scaling["original_max_position_embeddings"] * plain / (2 * np.pi)
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(plain * (keep + (1 - keep) / scaling["factor"]))


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """RoPE of x[heads, T, d]: element i turns with element i + d / 2."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)
