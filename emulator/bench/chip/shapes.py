"""The models that are measured: sizes from their published config.json, no weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from compiler.config import ModelConfig
from emulator.bench.rows import BenchError

#: What Llama 3.1 and 3.2 share (the config.json of the models named below).
_LLAMA: Final[dict[str, Any]] = {
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


def _rope(factor: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


#: Llama-3.1-8B, and Llama-3.2-1B, whose lm_head is its embedding.
_CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "8b": _LLAMA
    | {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "head_dim": 128,
        "tie_word_embeddings": False,
        "rope_scaling": _rope(8.0),
    },
    "1b": _LLAMA
    | {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "head_dim": 64,
        "tie_word_embeddings": True,
        "rope_scaling": _rope(32.0),
    },
}

SHAPES: Final = tuple(_CONFIGS)


def shape(name: str) -> ModelConfig:
    """The config of one of SHAPES."""
    return ModelConfig.from_dict(_CONFIGS[name], f"Llama {name}")


def named_shape(path: Path) -> tuple[str, ModelConfig]:
    """A name for rows, and the config, of a model directory or a config.json.

    Raises BenchError if it is the name of one of SHAPES; whatever ModelConfig.load raises.
    """
    config = ModelConfig.load(path)
    name = path.resolve().parent.name if path.is_file() else path.resolve().name
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
    if name in SHAPES:
        raise BenchError(f"--model {path}: rows of {name} are there already; rename its directory")
    return name, config
