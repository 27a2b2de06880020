"""Checkpoints, configs, options and chips that `emu compile` refuses, each in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from isa.chip import CHIPS
from isa.program import load, save
from tests.cli_runs import (
    MODEL,
    PROMPT,
    compile_refused,
    keep_outputs,
    made,
    refused,
    run_refused,
    tokenizer_json,
    write_checkpoint,
)

TOKENS = ("--tokens", "1,2")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_outputs(tmp_path, monkeypatch)


# ---- checkpoints

Change = Callable[[dict[str, np.ndarray]], object]
Q = "model.layers.1.self_attn.q_proj.weight"


def _set(name: str, code: int) -> Change:
    """Give one element of a tensor another BF16 pattern."""

    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors[name].reshape(-1)[-1] = code

    return change


TENSORS: dict[str, tuple[Change, str]] = {
    "missing": (lambda t: t.pop(Q), f"tensor {Q} is missing"),
    "two missing": (
        lambda t: [t.pop("model.norm.weight"), t.pop(Q)],
        "tensor model.norm.weight is missing (and 1 more)",
    ),
    "extra": (lambda t: t.update(extra=np.zeros(3, np.uint16)), "tensor extra is unknown"),
    "transposed": (
        lambda t: t.update({Q: np.ascontiguousarray(t[Q].T)}),
        f"tensor {Q}: shape [44, 120] is not the config's [120, 44]",
    ),
    "flattened": (
        lambda t: t.update({"lm_head.weight": t["lm_head.weight"].reshape(-1)}),
        "tensor lm_head.weight: shape [2948] is not the config's [67, 44]",
    ),
    "NaN in a matrix": (_set(Q, 0x7FC0), f"tensor {Q}: row 119 has NaN or Inf"),
    "infinity in a matrix": (_set(Q, 0xFF80), f"tensor {Q}: row 119 has NaN or Inf"),
    "NaN in the embedding": (
        _set("model.embed_tokens.weight", 0xFFFF),
        "tensor model.embed_tokens.weight: row 66 has NaN or Inf",
    ),
    "NaN in the output matrix": (
        _set("lm_head.weight", 0x7F81),
        "tensor lm_head.weight: row 66 has NaN or Inf",
    ),
    "NaN in a norm": (
        _set("model.layers.0.input_layernorm.weight", 0x7FC0),
        "tensor model.layers.0.input_layernorm.weight: row 43 has NaN or Inf",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    change, expected = TENSORS[name]
    model = write_checkpoint(Path("model"))
    weights = tiny_models.random_weights(MODEL, 0)
    tensors = {key: (x.view(np.uint32) >> 16).astype(np.uint16) for key, x in weights.items()}
    change(tensors)
    tiny_models.write_safetensors(model / "model.safetensors", tensors, "BF16")
    compile_refused(f"model.safetensors: {expected}", model)


def test_nan_in_a_bias() -> None:
    config = MODEL | {"attention_bias": True}
    name = "model.layers.0.self_attn.k_proj.bias"
    weights = tiny_models.random_weights(config, 0)
    weights[name][3] = np.nan
    model = write_checkpoint(Path("model"), attention_bias=True)
    tiny_models.write_safetensors(model / "model.safetensors", weights, "F32")
    compile_refused(f"tensor {name}: row 3 has NaN or Inf", model)


def _patched(offset: int, content: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + content + data[offset + len(content) :]


def _other_dtype(data: bytes) -> bytes:
    return data.replace(b'"dtype": "BF16"', b'"dtype": "I16" ')


SAFETENSORS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "0 bytes are too few for a safetensors file"),
    "truncated": (lambda data: data[:-100], "file is truncated"),
    "header cut off": (lambda data: data[:64], "does not fit the file's 64 bytes"),
    "followed": (lambda data: data + b"xx", "2 bytes follow the tensors"),
    "huge header": (_patched(0, b"\xff" * 8), "header length 18446744073709551615 does not fit"),
    "header no JSON": (_patched(8, b"[[["), "header: not valid JSON"),
    "integers": (_other_dtype, "dtype I16 is not supported (F32, F16, BF16)"),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_damaged_safetensors(name: str) -> None:
    damage, expected = SAFETENSORS[name]
    file = write_checkpoint(Path("model")) / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    compile_refused(expected, "model")


def test_checkpoints_without_tensors() -> None:
    model = write_checkpoint(Path("model"), shards=2)
    second = model / "model-00002-of-00002.safetensors"
    second.rename("elsewhere")
    compile_refused("model-00002-of-00002.safetensors: No such file", model)
    Path("elsewhere").rename(second)
    index = model / "model.safetensors.index.json"
    whole = index.read_text()
    index.write_text(whole.replace("model-00001-of", "../model-00001-of"))
    compile_refused("index.json: weight_map: bad file name", model)
    index.write_text("{}")
    compile_refused("index.json: weight_map: missing or not an object", model)
    index.unlink()
    compile_refused("model: holds neither model.safetensors nor", model)


def test_a_corrupted_tokenizer() -> None:
    model = write_checkpoint(Path("model"))
    for content in (b"{", b"", b"\xff\xfe", b"[]", tokenizer_json().encode()[:-10]):
        (model / "tokenizer.json").write_bytes(content)
        compile_refused("model/tokenizer.json: not a usable tokenizer: ", model)


def test_a_program_with_a_corrupted_tokenizer() -> None:
    save(replace(load(made().good), tokenizer=b"{"), "p.bin")
    expected = "p.bin: tokenizer: not a usable tokenizer: "
    run_refused(expected, Path("p.bin"), "--prompt", PROMPT)


# ---- configs

ROPE = {"rope_type": "yarn", "factor": 4.0}
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"architectures": ["GPT2LMHeadModel"]}, "architectures: 'GPT2LMHeadModel'"),
    "two": ({"architectures": ["A", "B"]}, "architectures: ['A', 'B'] is not supported"),
    "type": ({"model_type": "mamba"}, "model_type: 'mamba' does not belong to LlamaForCausalLM"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported (silu)"),
    "rope": ({"rope_scaling": ROPE}, "rope_scaling.rope_type: 'yarn' is not supported"),
    "rope key": (
        {"rope_scaling": MODEL["rope_scaling"] | {"mscale": 1.5}},
        "rope_scaling.mscale: not supported with rope type llama3",
    ),
    "two dialects": (
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        "rope_scaling: contradicts rope_parameters",
    ),
    "quantised": (
        {"quantization_config": {"quant_method": "gptq"}},
        "quantization_config: {'quant_method': 'gptq'} is not supported",
    ),
    "unknown key": ({"num_experts": 8}, "num_experts: unknown key; it could change the result"),
    "window": ({"sliding_window": 64}, "sliding_window: 64 is not supported"),
    "partial rope": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 is not"),
    "no hidden size": ({"hidden_size": None}, "hidden_size: None is not a whole number"),
    "negative": ({"hidden_size": -44}, "hidden_size: -44 is not in 1..1048576"),
    "absurd": ({"hidden_size": 10**15}, "hidden_size: 1000000000000000 is not in 1..1048576"),
    "zero": ({"num_hidden_layers": 0}, "num_hidden_layers: 0 is not in 1..4096"),
    "fraction": ({"intermediate_size": 136.5}, "intermediate_size: 136.5 is not a whole number"),
    "text": ({"vocab_size": "67"}, "vocab_size: '67' is not a whole number"),
    "heads": ({"num_key_value_heads": 2}, "num_key_value_heads: 2 does not divide the 3 query"),
    "odd head": ({"head_dim": 41}, "head_dim: 41 is odd"),
    "epsilon": ({"rms_norm_eps": 0}, "rms_norm_eps: 0 is out of range"),
    "end": ({"eos_token_id": 67}, "eos_token_id: 67 is not in the vocabulary of 67"),
    "layers": ({"layer_types": ["full_attention"]}, "layer_types: expected a list of 2 names"),
    "dtype": ({"torch_dtype": "int8"}, "torch_dtype: 'int8' is not supported"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_fields(name: str) -> None:
    changes, expected = CONFIGS[name]
    Path("config.json").write_text(json.dumps(MODEL | changes))
    compile_refused(f"config.json: {expected}", "config.json", "--no-weights")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "config.json: not valid JSON"),
        (b"{", "config.json: not valid JSON"),
        (b"\xff\xfe{}", "config.json: not valid JSON"),
        (b"[1]", "config.json: expected a JSON object"),
        (b"{}", "config.json: architectures: None is not supported"),
        (b'{"a": 1, "a": 2}', "config.json: key 'a' appears twice"),
        (b"[" * 100000, "config.json: not valid JSON"),
    ],
    ids=["empty", "cut", "UTF-16", "list", "object", "twice", "deep"],
)
def test_configs_that_are_none(content: bytes, expected: str) -> None:
    Path("config.json").write_bytes(content)
    compile_refused(expected, "config.json", "--no-weights")


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("none", [], "none: No such file or directory"),
        ("none", ["--no-weights"], "none: No such file or directory"),
        ("folder", [], "folder/config.json: No such file or directory"),
        ("config.json", [], "config.json: is a file; give the checkpoint's directory, or"),
    ],
)
def test_models_that_are_not_there(model: str, options: list[str], expected: str) -> None:
    Path("config.json").write_text(json.dumps(MODEL))
    Path("folder").mkdir()
    compile_refused(expected, model, *options)


# ---- options of compile


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--weights int4", "--weights: 'int4' is not supported; choose one of mxfp4, nvfp4"),
        ("--activations fp16", "--activations: 'fp16' is not supported"),
        ("--lm-head x", "--lm-head: 'x' is not supported"),
        ("--kv mxfp8", "--kv: 'mxfp8' is not supported; choose one of bf16, fp8"),
        ("--scale-mode up", "--scale-mode: 'up' is neither round_up nor floor"),
        ("--split 3", "--split: expected 1, 2 or 4, got 3"),
        ("--rows 0", "--rows: expected an integer in 1..1048576, got 0"),
        ("--sequences -1", "--sequences: expected an integer in 1..1048576, got -1"),
        ("--top-k 0", "--top-k: expected an integer in 1..1048576, got 0"),
        ("--logit-rows 99999999", "--logit-rows: expected an integer in 1..1048576"),
        ("--context 1.5", "'1.5' is not a valid integer; see `emu compile --help`"),
        ("--context 257", "--context: 257 is beyond the model's max_position_embeddings 256"),
        ("--rows 2000", "no tiling fits a tile (2000 rows are more than 128 for each of 2"),
        ("--rows 200 --without groups", "(200 rows are more than 128 for each of 1 row groups)"),
        ("--rows 100 --sequences 20000", "t1-mini: no tiling fits a tile (TSRAM: "),
        ("--dump tokens", "--dump: 'tokens' is none of graph, fused, plan, schedule, asm"),
        ("--chip t2", "t2: unknown chip; known are "),
    ],
)
def test_compile_options(options: str, expected: str) -> None:
    Path("config.json").write_text(json.dumps(MODEL))
    compile_refused(expected, "config.json", "--no-weights", *options.split())


def test_compile_needs_an_output() -> None:
    Path("config.json").write_text(json.dumps(MODEL))
    refused("-o PROGRAM is needed (or --dump STAGE)", "compile", "config.json", "--no-weights")


def test_a_cache_beyond_the_memory() -> None:
    config = tiny_models.CONFIGS["mistral"] | {"max_position_embeddings": 1 << 20}
    Path("config.json").write_text(json.dumps(config))
    options = ("--no-weights", "--context", 1 << 20, "--sequences", 1, "--rows", 1)
    expected = "the model does not fit t1-mini: HBM: "
    result = compile_refused(expected, "config.json", *options)
    assert "choose a smaller --context or --sequences" in result.err


# ---- chips

CHIP_CHANGES = {
    "unknown key": ("clusters: 2", "cluster_count: 2", "cluster_count: unknown key"),
    "unknown key below": ("banks: 16", "bank: 16", "tile.tsram.bank: unknown key; did you mean"),
    "missing key": ("clusters: 2", "", "clusters: missing key"),
    "negative": ("bytes: 262144", "bytes: -1", "tile.tsram.bytes: expected an integer >= 1024"),
    "absurd": ("bytes: 262144", "bytes: 1e30", "tile.tsram.bytes: expected an integer <= 10737"),
    "zero": ("clusters: 2", "clusters: 0", "clusters: expected an integer >= 1, got 0"),
    "too many": ("clusters: 2", "clusters: 4000", "mesh: 8000 tiles do not fit on 4 routers"),
    "fraction": ("clusters: 2", "clusters: 1.5", "clusters: expected an integer from 1 to"),
    "text": ("clock_hz: 2.4e9", "clock_hz: fast", "clock_hz: expected a number"),
    "not a number": ("clock_hz: 2.4e9", "clock_hz: .nan", "clock_hz: expected a number"),
    "twice": ("clusters: 2", "clusters: 2\nclusters: 3", "key `clusters` is given twice"),
    "no YAML": ("name:", "name: [", "chip.yaml: line "),
    "uneven split": ("rows: 32  ", "rows: 33  ", "tile.mxu.splits: 33 x 32 cannot be split 2"),
}


@pytest.mark.parametrize("name", CHIP_CHANGES)
def test_chips(name: str) -> None:
    old, new, expected = CHIP_CHANGES[name]
    text = (CHIPS / "t1-mini.yaml").read_text()
    assert old in text
    Path("chip.yaml").write_text(text.replace(old, new, 1))
    Path("config.json").write_text(json.dumps(MODEL))
    options = ("--chip", "chip.yaml")
    compile_refused(f"chip.yaml: {expected.removeprefix('chip.yaml: ')}"
                    if "twice" not in expected else expected,
                    "config.json", "--no-weights", *options)  # fmt: skip
    run_refused(expected, made().good, *TOKENS, *options)


def test_a_chip_too_small_for_the_schedule() -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    Path("chip.yaml").write_text(text.replace("channels: 8 ", "channels: 4 ", 1))
    Path("config.json").write_text(json.dumps(MODEL))
    expected = "tile.dma.channels: the schedule needs 8 channels"
    compile_refused(expected, "config.json", "--no-weights", "--chip", "chip.yaml")
