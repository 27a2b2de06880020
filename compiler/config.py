"""A decoder's architecture, as its config.json gives it, and the tensors it implies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from compiler.json_input import read_json

RopeKind = Literal["default", "linear", "llama3"]

#: architecture name -> family (transformers' model_type)
ARCHITECTURES: Final = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding: base wavelength and the scaling of its frequencies."""

    theta: float
    kind: RopeKind = "default"
    factor: float = 1.0  #: linear and llama3: frequencies are divided by this
    low_freq_factor: float = 1.0  #: llama3: wavelengths above original / low are scaled
    high_freq_factor: float = 4.0  #: llama3: wavelengths below original / high are kept
    original_max_positions: int = 0  #: llama3: context length of pre-training
    attention_factor: float = 1.0  #: multiplies cos and sin; 1 for every kind supported so far


@dataclass(frozen=True)
class ModelConfig:
    """What the compiler needs to know of a decoder. Sizes count elements."""

    family: str  #: one of ARCHITECTURES' values
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int  #: even; heads * head_dim need not be hidden
    ffn: int
    vocab: int
    max_positions: int
    rms_eps: float
    tied: bool  #: lm_head is the embedding
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool  #: RMSNorm of each query and key head, before RoPE
    rope: RopeConfig
    windows: tuple[int, ...]  #: per layer: keys a query sees, its own included; 0: all before it
    bos: int | None
    eos: tuple[int, ...]
    dtype: str | None  #: the checkpoint's nominal type; the tensors' own types decide

    @classmethod
    def load(cls, path: Path) -> ModelConfig:
        """The config of a config.json, or of the model directory that holds one."""
        path = path / "config.json" if path.is_dir() else path
        return cls.from_dict(read_json(path), str(path))

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "config.json") -> ModelConfig:
        """The config of a parsed config.json; `source` names it in errors."""
        from compiler.config_reader import ConfigReader  # it builds this class

        return ConfigReader(data, source).config()


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the model's checkpoint; projections are [out, in].

    A tied model has no lm_head.weight.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab, config.hidden),
        "model.norm.weight": (config.hidden,),
    }
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab, config.hidden)
    per_layer = _layer_tensors(config)
    for layer in range(config.layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in per_layer.items()}
    return shapes


def _layer_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    q = config.heads * config.head_dim
    kv = config.kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (config.hidden,),
        "post_attention_layernorm.weight": (config.hidden,),
    }
    if config.qk_norm:
        shapes["self_attn.q_norm.weight"] = shapes["self_attn.k_norm.weight"] = (config.head_dim,)
    linear = {
        "self_attn.q_proj": (q, config.hidden, config.qkv_bias),
        "self_attn.k_proj": (kv, config.hidden, config.qkv_bias),
        "self_attn.v_proj": (kv, config.hidden, config.qkv_bias),
        "self_attn.o_proj": (config.hidden, q, config.o_bias),
        "mlp.gate_proj": (config.ffn, config.hidden, config.mlp_bias),
        "mlp.up_proj": (config.ffn, config.hidden, config.mlp_bias),
        "mlp.down_proj": (config.hidden, config.ffn, config.mlp_bias),
    }
    for name, (rows, columns, bias) in linear.items():
        shapes[f"{name}.weight"] = (rows, columns)
        if bias:
            shapes[f"{name}.bias"] = (rows,)
    return shapes
