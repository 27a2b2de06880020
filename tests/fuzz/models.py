"""Mutated files of models and of other tools: safetensors, config.json, tokenizers, .npy."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from random import Random
from typing import Any

import numpy as np

from compiler.config import ModelConfig, expected_tensors
from compiler.safetensors import SafetensorsFile
from emulator.run_plain import _read
from emulator.tokenizer import Tokenizer
from fuzz import samples
from fuzz.kinds import Kind, kind
from fuzz.mutate import mutate_bytes, mutate_json, rng_of
from fuzz.rule import as_file, tried
from isa.formats import FORMATS, Format
from isa.program import Role, Symbol

# ---- safetensors

_TENSORS: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "model.norm.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
    "b": {"dtype": "F16", "shape": [], "data_offsets": [32, 34]},
    "c": {"dtype": "I64", "shape": [0, 7], "data_offsets": [34, 34]},
    "d": {"dtype": "U8", "shape": [6], "data_offsets": [34, 40]},
}
_TENSOR_KEYS = ("dtype", "shape", "data_offsets", "a", "__metadata__", "model.norm.weight")


def safetensors(seed: int) -> bytes:
    """A header with something wrong in it, or bytes with anything wrong."""
    rng = rng_of("safetensors", seed)
    wrong = rng.random() < 0.7
    header = mutate_json(rng, _TENSORS, _TENSOR_KEYS) if wrong else json.dumps(_TENSORS).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(range(40))
    return whole if wrong else mutate_bytes(rng, whole)


def check_safetensors(seed: int) -> Iterable[str]:
    """Open a file, and read every tensor that it has."""
    with as_file(safetensors(seed)) as path:
        file = tried(lambda: SafetensorsFile(path), str(path))
        if file is None:
            return ["refused"]
        for name in file.entries:
            tensor = tried(lambda name=name: file.tensor(name), str(path))  # type: ignore[misc]
            if tensor is not None and tensor.shape:
                tried(tensor.f32, str(path))
    return ["accepted"]


# ---- config.json

_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 67,
    "hidden_size": 44, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 3, "head_dim": 20, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_bias": False,
    "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                        "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 64},
    "bos_token_id": 1, "eos_token_id": [2, 3], "torch_dtype": "bfloat16", "hidden_act": "silu",
}  # fmt: skip
_QWEN: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "vocab_size": 67, "hidden_size": 44, "head_dim": 16,
    "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 3, "rope_theta": 1e6, "rope_scaling": None, "use_sliding_window": True,
    "sliding_window": 64, "max_window_layers": 2, "eos_token_id": 2, "tie_word_embeddings": True,
    "layer_types": ["full_attention", "full_attention", "sliding_attention", "sliding_attention"],
}  # fmt: skip
_MISTRAL: dict[str, Any] = {
    "model_type": "mistral", "vocab_size": 67, "hidden_size": 48, "intermediate_size": 96,
    "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
    "sliding_window": 4096, "rope_theta": 1e4,
    "rope_scaling": {"type": "linear", "factor": 2.0}, "_name_or_path": "x",
}  # fmt: skip
CONFIGS = (_LLAMA, _QWEN, _MISTRAL)
_CONFIG_KEYS = tuple({**_LLAMA, **_QWEN, **_MISTRAL, "quantization_config": 0, "dtype": 0, "x": 0})
_MOST_LAYERS = 64


def config(seed: int) -> bytes:
    """A config with something wrong in it."""
    rng = rng_of("config", seed)
    return mutate_json(rng, rng.choice(CONFIGS), _CONFIG_KEYS)


def check_config(seed: int) -> Iterable[str]:
    """Read a config, and the tensors it implies."""
    with as_file(config(seed)) as path:
        found = tried(lambda: ModelConfig.load(path), str(path))
    if found is None:
        return ["refused"]
    if found.layers <= _MOST_LAYERS:
        assert all(all(n > 0 for n in shape) for shape in expected_tensors(found).values())
    return ["accepted"]


# ---- tokenizer.json

_TOKENIZER_KEYS = ("type", "model", "vocab", "merges", "added_tokens", "decoder", "id", "content")
_TYPES = (
    "BPE", "WordPiece", "WordLevel", "Unigram", "Metaspace", "Split", "Replace", "Precompiled",
    "Strip", "Prepend", "ByteFallback", "Fuse", "BertPreTokenizer", "Digits",
)  # fmt: skip
_TEXTS = ("", "abc", "ab c\u0120", "\U0001f600", "a" * 300)


def tokenizer(seed: int) -> bytes:
    """A tokenizer with something wrong in it."""
    rng = rng_of("tokenizer", seed)
    value = json.loads(json.dumps(samples.TOKENIZER))
    if rng.random() < 0.2:
        value[rng.choice(("model", "decoder", "pre_tokenizer"))]["type"] = rng.choice(_TYPES)
    return mutate_json(rng, value, _TOKENIZER_KEYS)


def check_tokenizer(seed: int) -> Iterable[str]:
    """Make a tokenizer, and turn text into tokens and back."""
    name = "tokenizer.json"
    found = tried(lambda: Tokenizer(tokenizer(seed), (2,), name), name)
    if found is None:
        return ["refused"]
    for text in _TEXTS:
        tokens = tried(lambda text=text: found.encode(text), name)  # type: ignore[misc]
        tried(lambda tokens=tokens: _streamed(found, tokens or []), name)  # type: ignore[misc]
    return ["accepted"]


def _streamed(found: Tokenizer, tokens: list[int]) -> None:
    stream = found.stream()
    text = "".join(stream.push(token) for token in tokens) + stream.finish()
    assert isinstance(text, str)


def prepare_tokenizer() -> None:
    """Load the library before there are other processes."""
    Tokenizer(json.dumps(samples.TOKENIZER).encode())


# ---- .npy

_DTYPES = ("f4", "f2", "u1", "u2", "i4", "u4", "f8", "i8", ">f4", "S4", "b1", "V2", "c8")


def npy(seed: int) -> bytes:
    """A file that NumPy wrote, damaged; or one of any type and shape."""
    rng = rng_of("npy", seed)
    shape = rng.choice(((4,), (4,), (4,), (2, 2), (), (0,), (4, 1)))
    array = np.zeros(shape, rng.choice(_DTYPES))
    array.reshape(-1).view(np.uint8)[:] = rng.randrange(256)
    file = io.BytesIO()
    if rng.random() < 0.2:
        array = np.asfortranarray(array)
    np.lib.format.write_array(file, array, version=rng.choice(((1, 0), (2, 0), (3, 0))))
    data = file.getvalue()
    how = rng.random()
    if how < 0.2:
        return data
    return _wrong_header(rng, data) if how < 0.6 else mutate_bytes(rng, data)


_HEADER_WORDS = (b"(4,)", b"(-4,)", b"(" + b"9" * 400 + b",)", b"(4L,)", b"'<f4'", b"'O'", b"'|V8'",
                 b"[('a', '<f4')]", b"True", b"None", b"{}", b"(((((", b"__import__('os')", b"1e3",
                 b"'descr'", b"(2**70,)", b"(1<<40, 1<<40)", b"(0, 99999999999999999999)",
                 b"(9223372036854775807,)", b"(3000000000, 3000000000)", b"'<M8[ns]'", b"'<U3'",
                 b"'\\xff'", b"-", b"~" * 50)  # fmt: skip


def _wrong_header(rng: Random, data: bytes) -> bytes:
    """Words of the header's text replaced; its length may be wrong then."""
    start = data.index(b"{")
    words = data[start:].split(b" ")
    words[rng.randrange(min(len(words), 8))] = rng.choice(_HEADER_WORDS) + rng.choice((b"", b","))
    return data[:start] + b" ".join(words)


def check_npy(seed: int) -> Iterable[str]:
    """`--input NAME=FILE.npy` for a symbol of any format."""
    fmt = list(Format)[seed % len(Format)]
    symbol = Symbol("x", 0, (4,), fmt, Role.IN)
    with as_file(npy(seed)) as path:
        codes = tried(lambda: _read(symbol, path), str(path))
    if codes is None:
        return ["refused"]
    assert codes.shape == (4,) and codes.dtype.itemsize == FORMATS[fmt].dtype.itemsize
    return ["accepted"]


kind(
    Kind("safetensors", "safetensors files", check_safetensors, 110_000, 2000, 0.3,
         data=safetensors)
)  # fmt: skip
kind(Kind("config", "config.json", check_config, 110_000, 2000, 0.2, data=config))
kind(
    Kind("tokenizer", "tokenizer.json", check_tokenizer, 70_000, 1000, 0.5,
         prepare=prepare_tokenizer, data=tokenizer)
)  # fmt: skip
kind(Kind("npy", ".npy files", check_npy, 90_000, 2000, 0.4, data=npy))
