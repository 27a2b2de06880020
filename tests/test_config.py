"""config.json: both dialects, transformers' defaults, and refusals by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from compiler.config import ModelConfig, RopeConfig, expected_tensors
from compiler.errors import CompileError

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
MIXED = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def raw(family: str, **changes: Any) -> dict[str, Any]:
    """A small config of a family with as few keys as it takes."""
    return {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 32,
        "intermediate_size": 100,
        "vocab_size": 997,
        **changes,
    }


def parsed(family: str, **changes: Any) -> ModelConfig:
    """The parsed config of `raw`."""
    return ModelConfig.from_dict(raw(family, **changes))


# ---- what transformers 5.23 makes of the same files


@pytest.mark.parametrize(
    ("family", "kv_heads", "head_dim", "positions", "windows"),
    [
        ("llama", 32, 2, 2048, (0, 0, 0, 0)),
        ("mistral", 8, 2, 131072, (4096,) * 4),
        ("qwen2", 32, 2, 32768, (0, 0, 0, 0)),
        ("qwen3", 32, 128, 32768, (0, 0, 0, 0)),
    ],
)
def test_absent_keys_have_the_familys_defaults(
    family: str, kv_heads: int, head_dim: int, positions: int, windows: tuple[int, ...]
) -> None:
    config = parsed(family)
    assert (config.kv_heads, config.head_dim) == (kv_heads, head_dim)
    assert (config.max_positions, config.windows) == (positions, windows)
    assert (config.rms_eps, config.tied, config.dtype) == (1e-6, False, None)
    assert config.rope == RopeConfig(10000.0)
    qwen = family.startswith("qwen")
    assert (config.bos, config.eos) == ((None, ()) if qwen else (1, (2,)))


@pytest.mark.parametrize(
    ("family", "biases", "qk_norm"),
    [
        ("llama", (True, True, True), False),
        ("mistral", (False, False, False), False),
        ("qwen2", (True, False, False), False),
        ("qwen3", (True, True, False), True),
    ],
)
def test_biases_and_norms(family: str, biases: tuple[bool, bool, bool], qk_norm: bool) -> None:
    keys = {"llama": ["attention_bias", "mlp_bias"], "qwen3": ["attention_bias"]}
    config = parsed(family, **dict.fromkeys(keys.get(family, []), True))
    assert (config.qkv_bias, config.o_bias, config.mlp_bias) == biases
    assert config.qk_norm == qk_norm


def test_null_sizes_are_derived() -> None:
    assert parsed("llama", num_key_value_heads=None).kv_heads == 32
    assert parsed("qwen2", head_dim=None).head_dim == 2


@pytest.mark.parametrize(
    ("family", "changes", "windows"),
    [
        ("mistral", {"sliding_window": None}, (0, 0, 0, 0)),
        ("mistral", {"sliding_window": 7}, (7, 7, 7, 7)),
        ("mistral", {"sliding_window": 7, "layer_types": ["sliding_attention"] * 4}, (7,) * 4),
        ("qwen2", {"sliding_window": 7}, (0, 0, 0, 0)),
        ("qwen2", {"sliding_window": 7, "use_sliding_window": True}, (0, 0, 0, 0)),
        (
            "qwen2",
            {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 2},
            (0, 0, 7, 7),
        ),
        (
            "qwen3",
            {"sliding_window": 7, "use_sliding_window": True, "layer_types": MIXED},
            (0, 7, 0, 7),
        ),
        ("llama", {"sliding_window": None, "layer_types": ["full_attention"] * 4}, (0,) * 4),
    ],
)
def test_windows(family: str, changes: dict[str, Any], windows: tuple[int, ...]) -> None:
    assert parsed(family, **changes).windows == windows


@pytest.mark.parametrize(
    ("changes", "rope"),
    [
        ({"rope_theta": 5e5}, RopeConfig(5e5)),
        ({"rope_theta": 7, "rope_scaling": None}, RopeConfig(7.0)),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}, RopeConfig(9.0)),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, RopeConfig(1e4, "linear", 2.0)),
        (
            {"rope_theta": 5e5, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}},
            RopeConfig(5e5, "llama3", 8.0, 1.0, 4.0, 64),
        ),
        (
            {"max_position_embeddings": 512, "rope_parameters": LLAMA3 | {"rope_theta": 5e5}},
            RopeConfig(5e5, "llama3", 8.0, 1.0, 4.0, 512),
        ),
    ],
)
def test_both_rope_dialects(changes: dict[str, Any], rope: RopeConfig) -> None:
    assert parsed("llama", **changes).rope == rope


def test_tokens_and_types() -> None:
    config = parsed("llama", bos_token_id=None, eos_token_id=[3, 4], torch_dtype="float16")
    assert (config.bos, config.eos, config.dtype) == (None, (3, 4), "float16")
    assert parsed("llama", torch_dtype="float16", dtype="bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize("name", tiny_models.CONFIGS)
def test_expected_tensors(name: str) -> None:
    config = tiny_models.CONFIGS[name]
    assert expected_tensors(ModelConfig.from_dict(config)) == tiny_models.tensor_shapes(config)


def test_loads_from_a_directory_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(raw("llama")))
    assert ModelConfig.load(tmp_path) == ModelConfig.load(path) == parsed("llama")


def test_importing_the_compilers_front_stays_light() -> None:
    code = "import sys, compiler.weights, compiler.rope; print('numba' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=Path.cwd()
    )
    assert run.stdout.strip() == "False"


# ---- refusals: (family, changes, what the message must contain)

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"architectures": ["GPT2LMHeadModel"]}, "architectures: 'GPT2LMHeadModel'"),
    ("llama", {"architectures": []}, "architectures: []"),
    ("llama", {"architectures": [["LlamaForCausalLM"]]}, "architectures"),
    ("llama", {"architectures": None, "model_type": "gemma"}, "model_type: 'gemma'"),
    ("llama", {"model_type": "mistral"}, "model_type: 'mistral' does not belong"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported (silu)"),
    ("llama", {"final_logit_softcapping": 30.0}, "final_logit_softcapping: unknown key"),
    ("llama", {"two\nlines": 1}, r"'two\nlines': unknown key"),
    ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5"),
    ("llama", {"sliding_window": 7}, "sliding_window: 7"),
    ("llama", {"layer_types": MIXED}, "layer_types: 'sliding_attention'"),
    ("mistral", {"attention_bias": True}, "attention_bias: True"),
    ("mistral", {"layer_types": MIXED}, "layer_types: 'full_attention'"),
    ("mistral", {"use_sliding_window": False}, "use_sliding_window: contradicts"),
    ("mistral", {"sliding_window": 0}, "sliding_window: 0 is not in 1.."),
    ("qwen2", {"mlp_bias": True}, "mlp_bias: True"),
    ("qwen2", {"layer_types": MIXED}, "layer_types: 'sliding_attention'"),
    ("qwen2", {"layer_types": MIXED[:3]}, "layer_types: expected a list of 4"),
    ("qwen3", {"head_dim": None}, "head_dim: null"),
    ("qwen3", {"layer_types": ["chunked_attention"] * 4}, "layer_types: 'chunked_attention'"),
    ("qwen3", {"use_sliding_window": "yes"}, "use_sliding_window: 'yes'"),
    ("llama", {"hidden_size": 0}, "hidden_size: 0 is not in 1.."),
    ("llama", {"hidden_size": -64}, "hidden_size: -64"),
    ("llama", {"hidden_size": float("nan")}, "hidden_size: nan"),
    ("llama", {"hidden_size": 2.0**11}, "hidden_size: 2048.0 is not a whole number"),
    ("llama", {"hidden_size": True}, "hidden_size: True"),
    ("llama", {"hidden_size": "64"}, "hidden_size: '64'"),
    ("llama", {"vocab_size": 10**30}, "vocab_size: 1000"),
    ("llama", {"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000 is not in"),
    ("llama", {"num_key_value_heads": 5}, "num_key_value_heads: 5 does not divide the 32"),
    ("llama", {"head_dim": 5}, "head_dim: 5 is odd"),
    ("llama", {"hidden_size": 72}, "head_dim: absent, and 32 heads do not divide"),
    ("llama", {"max_position_embeddings": None}, "max_position_embeddings: null"),
    ("llama", {"rms_norm_eps": 0.0}, "rms_norm_eps: 0.0"),
    ("llama", {"rms_norm_eps": float("inf")}, "rms_norm_eps: inf"),
    ("llama", {"rms_norm_eps": None}, "rms_norm_eps: missing"),
    ("llama", {"tie_word_embeddings": "true"}, "tie_word_embeddings: 'true'"),
    ("llama", {"bos_token_id": 997}, "bos_token_id: 997 is not in the vocabulary of 997"),
    ("llama", {"eos_token_id": [2, -1]}, "eos_token_id: -1"),
    ("llama", {"bos_token_id": [1, 2]}, "bos_token_id: [1, 2] is not one token"),
    ("llama", {"dtype": "float8_e4m3fn"}, "dtype: 'float8_e4m3fn'"),
    ("llama", {"rope_theta": -1.0}, "rope_theta: -1.0"),
    ("llama", {"rope_theta": float("nan")}, "rope_theta: nan"),
    ("llama", {"rope_theta": 9.0, "rope_parameters": {"rope_theta": 7.0}}, "rope_theta: 9.0"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type: 'yarn'"),
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "'dynamic' is not supported"),
    ("llama", {"rope_scaling": {"factor": 4.0}}, "rope_scaling.factor: not supported with"),
    ("llama", {"rope_scaling": "linear"}, "rope_scaling: 'linear' is not an object"),
    ("llama", {"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor: missing"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 0}}, "rope_scaling.factor: 0"),
    ("llama", {"rope_scaling": {"rope_type": "default", "type": "linear"}}, "rope_scaling.type"),
    ("llama", {"rope_parameters": {"full_attention": {}}}, "rope_parameters.full_attention"),
    ("llama", {"rope_parameters": {"attention_factor": 0.5}}, "attention_factor"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ("llama", {"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}}, "high_freq_factor: 4.0"),
    (
        "llama",
        {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64.5}},
        "rope_scaling.original_max_position_embeddings: 64.5 is not a whole number",
    ),
    (
        "llama",
        {"rope_scaling": LLAMA3, "rope_parameters": {"rope_type": "default"}},
        "rope_scaling: contradicts rope_parameters",
    ),
    ("llama", {"original_max_position_embeddings": 64}, "original_max_position_embeddings"),
]


@pytest.mark.parametrize(("family", "changes", "message"), REFUSED)
def test_refused_by_name(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError) as caught:
        ModelConfig.from_dict(raw(family, **changes), "dir/config.json")
    text = str(caught.value)
    assert text.startswith("dir/config.json: ")
    assert message in text
    assert "\n" not in text
    assert len(text) < 250


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_attention_heads"])
def test_missing_sizes_are_refused(key: str) -> None:
    config = raw("llama")
    del config[key]
    with pytest.raises(CompileError, match=f"{key}: missing"):
        ModelConfig.from_dict(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"hidden_size": 1, "hidden_size": 2}', "'hidden_size' appears twice"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CompileError, match=message) as caught:
        ModelConfig.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"config\.json: No such file"):
        ModelConfig.load(tmp_path)
