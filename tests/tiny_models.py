"""Writes tiny random checkpoints of every family, with sizes that nothing divides.

Weights are scaled so that attention is uneven and logits are lively (standard deviation 1 to 2).
Uses NumPy only, so that scripts which compare with other software can share it.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Weights = dict[str, F32]

WINDOW = 48  # sliding window of the families that have one
_COMMON: dict[str, Any] = {
    "vocab_size": 997,
    "num_hidden_layers": 2,
    "num_attention_heads": 7,
    "head_dim": 40,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.02,
    "use_cache": True,
}

#: name -> config.json. Both dialects; grouped, multi-query and multi-head attention; tied and not.
CONFIGS: dict[str, dict[str, Any]] = {
    # transformers insists on hidden % heads == 0 for this family, hence 84
    "llama": _COMMON
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 84,
        "intermediate_size": 104,
        "num_key_value_heads": 1,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        "torch_dtype": "bfloat16",
    },
    "mistral": _COMMON
    | {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "hidden_size": 72,
        "intermediate_size": 136,
        "num_key_value_heads": 7,
        "tie_word_embeddings": False,
        "sliding_window": WINDOW,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "dtype": "bfloat16",
    },
    "qwen2": _COMMON
    | {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": 88,
        "intermediate_size": 104,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "max_window_layers": 1,
        "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16",
    },
    "qwen3": _COMMON
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 88,
        "intermediate_size": 136,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "dtype": "bfloat16",
    },
    "llama-biased": _COMMON
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 84,
        "intermediate_size": 136,
        "num_key_value_heads": 7,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        "dtype": "bfloat16",
    },
}


def write_model(
    directory: Path,
    config: dict[str, Any],
    seed: int = 0,
    dtype: str = "BF16",
    shards: int = 1,
) -> Weights:
    """Write config.json and safetensors of a random model; returns its weights as stored.

    `dtype` is BF16, F16 or F32; several shards come with their index.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = random_weights(config, seed)
    stored = {name: _stored(values, dtype) for name, values in weights.items()}
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    if shards == 1:
        write_safetensors(directory / "model.safetensors", stored, dtype)
    else:
        write_shards(directory, stored, dtype, shards)
    return {name: loaded(codes, dtype) for name, codes in stored.items()}


# ---- weights


def random_weights(config: dict[str, Any], seed: int) -> Weights:
    """Weights of a config; every tensor has its own stream, so that one change moves no other."""
    return {
        name: _random(name, shape, np.random.default_rng([seed, index]))
        for index, (name, shape) in enumerate(tensor_shapes(config).items())
    }


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a config's tensors, written down independently of the compiler."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    d, heads = config["head_dim"], config["num_attention_heads"]
    q, kv = heads * d, config["num_key_value_heads"] * d
    family = config["model_type"]
    biased = config.get("attention_bias", False)
    biases = {"q_proj": biased or family == "qwen2", "o_proj": biased}
    biases["k_proj"] = biases["v_proj"] = biases["q_proj"]
    biases["gate_proj"] = biases["up_proj"] = biases["down_proj"] = config.get("mlp_bias", False)
    sizes = {"q_proj": (q, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden)}
    sizes |= {"o_proj": (hidden, q), "gate_proj": (ffn, hidden), "up_proj": (ffn, hidden)}
    sizes["down_proj"] = (hidden, ffn)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden)
    }
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}"
        shapes[f"{base}.input_layernorm.weight"] = (hidden,)
        shapes[f"{base}.post_attention_layernorm.weight"] = (hidden,)
        for name, size in sizes.items():
            module = f"{base}.{'mlp' if name[0] in 'gud' else 'self_attn'}.{name}"
            shapes[f"{module}.weight"] = size
            if biases[name]:
                shapes[f"{module}.bias"] = size[:1]
        if family == "qwen3":
            shapes[f"{base}.self_attn.q_norm.weight"] = (d,)
            shapes[f"{base}.self_attn.k_norm.weight"] = (d,)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def _random(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    values = rng.standard_normal(shape)
    if "norm" in name:
        values = 1 + 0.2 * values
    elif name.endswith(".bias"):
        values *= 0.2
    else:
        gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "lm_head", "embed")) else 1
        values *= gain / np.sqrt(shape[1])
    return values.astype(np.float32)


# ---- safetensors


def _stored(values: F32, dtype: str) -> npt.NDArray[Any]:
    """fp32 values in a checkpoint's type: float32, float16, or BF16's bits as uint16."""
    if dtype == "F32":
        return values
    if dtype == "F16":
        return values.astype(np.float16)
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)


def loaded(codes: npt.NDArray[Any], dtype: str) -> F32:
    """fp32 values of what `_stored` made."""
    if dtype == "BF16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    return codes.astype(np.float32)


def write_safetensors(path: Path, tensors: dict[str, npt.NDArray[Any]], dtype: str) -> None:
    """Write one safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [offset, offset + values.nbytes],
        }
        offset += values.nbytes
    path.write_bytes(safetensors_bytes(header, b"".join(v.tobytes() for v in tensors.values())))


def safetensors_bytes(header: dict[str, Any], data: bytes) -> bytes:
    """A safetensors file of any header, right or wrong."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write_shards(
    directory: Path, tensors: dict[str, npt.NDArray[Any]], dtype: str, shards: int
) -> None:
    """Write several safetensors files and their index; tensors are dealt out in turn."""
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[shard::shards]}
        write_safetensors(directory / file, part, dtype)
        weight_map |= dict.fromkeys(part, file)
    size = sum(values.nbytes for values in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
