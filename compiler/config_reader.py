"""Reads config.json: which keys are understood, which are harmless, and what they mean.

Meanings and defaults are those of transformers 5.x, whose saved files spell RoPE `rope_parameters`;
the older `rope_theta`/`rope_scaling` dialect means the same. A key that is neither understood here
nor listed as harmless is refused by name: it could change the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from compiler.config import ARCHITECTURES, ModelConfig, RopeConfig
from compiler.errors import CompileError
from compiler.json_input import plain, shown


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ---- known keys

_SIZE_LIMITS: Final = {
    "hidden_size": 1 << 20,
    "num_hidden_layers": 1 << 12,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 14,
    "intermediate_size": 1 << 24,
    "vocab_size": 1 << 24,
    # Beyond 2^24 a position is no longer exact in fp32, and RoPE multiplies in fp32.
    "max_position_embeddings": 1 << 24,
    "sliding_window": 1 << 40,
    "max_window_layers": 1 << 40,
}

#: transformers' defaults for absent keys, where the families differ
_DEFAULT_KV_HEADS: Final = {"llama": None, "mistral": 8, "qwen2": 32, "qwen3": 32}
_DEFAULT_POSITIONS: Final = {"llama": 2048, "mistral": 131072, "qwen2": 32768, "qwen3": 32768}

_COMMON_KEYS: Final = _words(
    "architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers "
    "num_attention_heads num_key_value_heads head_dim max_position_embeddings "
    "rms_norm_eps tie_word_embeddings rope_parameters rope_scaling rope_theta bos_token_id "
    "eos_token_id dtype torch_dtype"
)
_FAMILY_KEYS: Final = {
    "llama": _words("layer_types attention_bias mlp_bias"),
    "mistral": _words("layer_types sliding_window"),
    "qwen2": _words("layer_types sliding_window use_sliding_window max_window_layers"),
    "qwen3": _words(
        "layer_types sliding_window use_sliding_window max_window_layers attention_bias"
    ),
}

#: Keys that are harmless at these values only: what transformers does without them.
_ONLY: Final[dict[str, tuple[Any, ...]]] = {
    "hidden_act": ("silu", "swish"),
    "partial_rotary_factor": (1.0, None),
    "quantization_config": (None,),
    "per_layer_config": (None,),
    "is_encoder_decoder": (False, None),
    "add_cross_attention": (False, None),
    "tie_encoder_decoder": (False, None),
    "chunk_size_feed_forward": (0, None),
    "pruned_heads": ({}, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "sliding_window": (None,),
    "use_sliding_window": (False, None),
    "use_mrope": (False, None),
    "rope_interleaved": (False, None),
}

#: Keys that cannot change the logits of inference: training, naming, caching, generation defaults.
_IGNORED: Final = _words(
    """
    _name_or_path name_or_path _commit_hash transformers_version initializer_range use_cache
    attention_dropout pretraining_tp pad_token_id sep_token_id decoder_start_token_id unk_token_id
    output_attentions output_hidden_states output_scores return_dict return_dict_in_generate
    torchscript use_bfloat16 is_decoder cross_attention_hidden_size finetuning_task problem_type
    id2label label2id num_labels tokenizer_class prefix task_specific_params tf_legacy_loss
    attn_implementation _attn_implementation _attn_implementation_autoset max_length min_length
    max_new_tokens do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature
    top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id
    forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens
    begin_suppress_tokens cache_implementation tie_last_hidden_states max_sequence_length
    is_llama_config transformers.js_config unsloth_version unsloth_fixed
    """
)

_ROPE_KEYS: Final = {
    "default": _words(""),
    "linear": _words("factor"),
    "llama3": _words("factor low_freq_factor high_freq_factor original_max_position_embeddings"),
}
_ROPE_COMMON: Final = _words("rope_type type rope_theta")
#: transformers ignores these with every kind supported here: only a value of no effect will do.
_ROPE_ONLY: Final = {"partial_rotary_factor": (None, 1.0), "attention_factor": (None, 1.0)}


class ConfigReader:
    """Reads one config.json; every complaint names the file and the key."""

    def __init__(self, data: dict[str, Any], source: str) -> None:
        self.data = data
        self.source = source
        self.family = self._family()

    def config(self) -> ModelConfig:
        """The whole config, every field checked."""
        self._refuse_unknown()
        heads = self._size("num_attention_heads")
        kv_heads = self._kv_heads(heads)
        layers = self._size("num_hidden_layers")
        vocab = self._size("vocab_size")
        attention_bias = self._flag("attention_bias")
        return ModelConfig(
            family=self.family,
            hidden=self._size("hidden_size"),
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=self._head_dim(heads),
            ffn=self._size("intermediate_size"),
            vocab=vocab,
            max_positions=self._positions(),
            rms_eps=self._number(self.data, "rms_norm_eps", 1e-6, lambda x: 0 < x < 1, "0 to 1"),
            tied=self._flag("tie_word_embeddings"),
            qkv_bias=attention_bias or self.family == "qwen2",
            o_bias=attention_bias,
            mlp_bias=self._flag("mlp_bias"),
            qk_norm=self.family == "qwen3",
            rope=self._rope(),
            windows=self._windows(layers),
            bos=next(iter(self._tokens("bos_token_id", vocab)), None),
            eos=self._tokens("eos_token_id", vocab),
            dtype=self._dtype(),
        )

    # ---- which model

    def _family(self) -> str:
        """The family named by `architectures`, or by `model_type` where that is absent."""
        supported = ", ".join(ARCHITECTURES)
        names = self.data.get("architectures")
        model_type = self.data.get("model_type")
        if names is None and model_type is not None:
            if model_type not in ARCHITECTURES.values():
                self._refuse("model_type", f"{shown(model_type)} is not supported ({supported})")
            return str(model_type)
        name = names[0] if isinstance(names, list) and len(names) == 1 else names
        if not isinstance(name, str) or name not in ARCHITECTURES:
            self._refuse("architectures", f"{shown(name)} is not supported ({supported})")
        family = ARCHITECTURES[name]
        if model_type not in (None, family):
            self._refuse("model_type", f"{shown(model_type)} does not belong to {name}")
        return family

    def _refuse_unknown(self) -> None:
        known = _COMMON_KEYS | _FAMILY_KEYS[self.family]
        for key, value in self.data.items():
            if key in known or key in _IGNORED:
                continue
            if key not in _ONLY:
                self._refuse(plain(key), "unknown key; it could change the result")
            if value not in _ONLY[key]:
                self._refuse(key, f"{shown(value)} is not supported ({_json(_ONLY[key][0])})")

    # ---- sizes

    def _kv_heads(self, heads: int) -> int:
        value = self._optional_size("num_key_value_heads", _DEFAULT_KV_HEADS[self.family])
        value = heads if value is None else value
        if heads % value:
            self._refuse("num_key_value_heads", f"{value} does not divide the {heads} query heads")
        return value

    def _head_dim(self, heads: int) -> int:
        # Qwen3 alone has a number as its default, and therefore takes no null.
        value = self._optional_size("head_dim", 128 if self.family == "qwen3" else None)
        if value is None and self.family == "qwen3":
            self._refuse("head_dim", "null is not supported (a number)")
        if value is None:
            hidden = self._size("hidden_size")
            if hidden % heads:
                self._refuse(
                    "head_dim", f"absent, and {heads} heads do not divide hidden_size {hidden}"
                )
            value = hidden // heads
        if value % 2:
            self._refuse("head_dim", f"{value} is odd; RoPE needs pairs")
        return value

    def _positions(self) -> int:
        value = self._optional_size("max_position_embeddings", _DEFAULT_POSITIONS[self.family])
        if value is None:
            self._refuse("max_position_embeddings", "null is not supported (a number)")
        return value

    def _size(self, key: str) -> int:
        if key not in self.data:
            self._refuse(key, "missing")
        return self._checked_size(key, self.data[key])

    def _optional_size(self, key: str, default: int | None) -> int | None:
        value = self.data.get(key, default)
        return None if value is None else self._checked_size(key, value)

    def _checked_size(self, key: str, value: object, least: int = 1, label: str = "") -> int:
        """`value` if it is a size that `key` may have; `label` is its name where that differs."""
        if not isinstance(value, int) or isinstance(value, bool):
            self._refuse(label or key, f"{shown(value)} is not a whole number")
        if not least <= value <= _SIZE_LIMITS[key]:
            self._refuse(label or key, f"{shown(value)} is not in {least}..{_SIZE_LIMITS[key]}")
        return value

    # ---- scalars

    def _flag(self, key: str) -> bool:
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            if value is None:
                return False
            self._refuse(key, f"{shown(value)} is not true or false")
        return value

    def _number(
        self,
        data: dict[str, Any],
        key: str,
        default: float | None,
        valid: Callable[[float], bool],
        wanted: str,
    ) -> float:
        value = data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(key, "missing" if value is None else f"{shown(value)} is not a number")
        number = float(value) if abs(value) < 1e38 else math.inf
        if not math.isfinite(number) or not valid(number):
            self._refuse(key, f"{shown(value)} is out of range ({wanted})")
        return number

    def _tokens(self, key: str, vocab: int) -> tuple[int, ...]:
        default = {"bos_token_id": 1, "eos_token_id": 2}[key]
        value = self.data.get(key, None if self.family.startswith("qwen") else default)
        values = [] if value is None else value if isinstance(value, list) else [value]
        for token in values:
            if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocab:
                self._refuse(key, f"{shown(token)} is not in the vocabulary of {vocab}")
        if key == "bos_token_id" and len(values) > 1:
            self._refuse(key, f"{shown(value)} is not one token")
        return tuple(values)

    def _dtype(self) -> str | None:
        for key in ("dtype", "torch_dtype"):  # where both are given, transformers keeps dtype
            value = self.data.get(key)
            if value is None:
                continue
            name = value.removeprefix("torch.") if isinstance(value, str) else value
            if name not in ("float32", "float16", "bfloat16", "auto"):
                self._refuse(key, f"{shown(value)} is not supported (float32, float16, bfloat16)")
            return None if name == "auto" else str(name)
        return None

    # ---- attention windows

    def _windows(self, layers: int) -> tuple[int, ...]:
        """Keys each layer's queries see; 0 for all."""
        if self.family == "llama":
            return self._layer_types(layers, {"full_attention": 0}) or (0,) * layers
        window = self._optional_size("sliding_window", 4096) or 0
        if self.family == "mistral":
            # transformers gives every layer the one window, whatever other keys say.
            if window and self.data.get("use_sliding_window") is not None:
                self._refuse("use_sliding_window", f"contradicts sliding_window {window}; drop it")
            kinds = {"sliding_attention": window} if window else {"full_attention": 0}
            return self._layer_types(layers, kinds) or (window,) * layers
        window = window if self._flag("use_sliding_window") else 0
        first = self._checked_size("max_window_layers", self.data.get("max_window_layers", 28), 0)
        kinds = {"full_attention": 0} | ({"sliding_attention": window} if window else {})
        windows = tuple(window if layer >= first else 0 for layer in range(layers))
        return self._layer_types(layers, kinds) or windows

    def _layer_types(self, layers: int, kinds: dict[str, int]) -> tuple[int, ...] | None:
        """Windows by `layer_types`, each of which must be in `kinds`; None where it is absent."""
        names = self.data.get("layer_types")
        if names is None:
            return None
        if not isinstance(names, list) or len(names) != layers:
            self._refuse("layer_types", f"expected a list of {layers} names")
        for name in names:
            if not isinstance(name, str) or name not in kinds:
                self._refuse("layer_types", f"{shown(name)} is not supported here ({_list(kinds)})")
        return tuple(kinds[name] for name in names)

    # ---- RoPE

    def _rope(self) -> RopeConfig:
        key, scaling = self._rope_dict()
        kind = self._rope_kind(key, scaling)
        theta = self._theta(key, scaling)
        if kind == "default":
            return RopeConfig(theta)
        factor = self._factor(key, scaling, "factor")
        if kind == "linear":
            return RopeConfig(theta, "linear", factor)
        low = self._factor(key, scaling, "low_freq_factor")
        high = self._factor(key, scaling, "high_freq_factor")
        if high <= low:
            self._refuse(f"{key}.high_freq_factor", f"{high} is not above low_freq_factor {low}")
        return RopeConfig(theta, "llama3", factor, low, high, self._original(key, scaling))

    def _rope_kind(self, key: str, scaling: dict[str, Any]) -> str:
        """The RoPE type, once no other key of the dictionary could change the result."""
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if not isinstance(kind, str) or kind not in _ROPE_KEYS:
            self._refuse(
                f"{key}.rope_type", f"{shown(kind)} is not supported ({_list(_ROPE_KEYS)})"
            )
        if scaling.get("type", kind) != kind:
            self._refuse(f"{key}.type", f"{shown(scaling['type'])} contradicts rope_type {kind}")
        for name, value in scaling.items():
            harmless = name in _ROPE_ONLY and value in _ROPE_ONLY[name]
            if name not in _ROPE_COMMON | _ROPE_KEYS[kind] and not harmless:
                self._refuse(f"{key}.{plain(name)}", f"not supported with rope type {kind}")
        return kind

    def _rope_dict(self) -> tuple[str, dict[str, Any]]:
        """The dictionary of RoPE parameters in either dialect, and its key."""
        given = [key for key in ("rope_parameters", "rope_scaling") if self.data.get(key)]
        if len(given) > 1 and self.data[given[0]] != self.data[given[1]]:
            self._refuse("rope_scaling", "contradicts rope_parameters; keep one of them")
        key = given[0] if given else "rope_parameters"
        value = self.data.get(key) or {}
        if not isinstance(value, dict):
            self._refuse(key, f"{shown(value)} is not an object")
        return key, value

    def _theta(self, key: str, scaling: dict[str, Any]) -> float:
        values = [d["rope_theta"] for d in (scaling, self.data) if d.get("rope_theta") is not None]
        if len(values) > 1 and values[0] != values[1]:
            self._refuse("rope_theta", f"{shown(values[1])} contradicts {key}")
        found = {"rope_theta": values[0] if values else 1e4}
        return self._number(found, "rope_theta", None, lambda x: 1 <= x <= 1e15, "1 to 1e15")

    def _factor(self, key: str, scaling: dict[str, Any], name: str) -> float:
        """A positive parameter of RoPE scaling; `name` is its key in the dictionary `key`."""
        path = f"{key}.{name}"
        found = {path: scaling.get(name)}
        return self._number(found, path, None, lambda x: 1e-6 < x < 1e9, "above 0, below 1e9")

    def _original(self, key: str, scaling: dict[str, Any]) -> int:
        name = "original_max_position_embeddings"
        value = scaling.get(name, self._positions())
        return self._checked_size("max_position_embeddings", value, label=f"{key}.{name}")

    def _refuse(self, key: str, reason: str) -> NoReturn:
        raise CompileError(f"{self.source}: {key}: {reason}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
