"""Checkpoints: read lazily and exactly; nothing in a hostile file is believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.safetensors import Checkpoint, SafetensorsFile

Header = dict[str, Any]


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shards", [1, 3])
def test_reads_what_was_written(tmp_path: Path, dtype: str, shards: int) -> None:
    raw = tiny_models.CONFIGS["qwen3"]
    weights = tiny_models.write_model(tmp_path, raw, seed=3, dtype=dtype, shards=shards)
    checkpoint = Checkpoint.open(tmp_path)
    checkpoint.check(ModelConfig.load(tmp_path))
    assert set(checkpoint.names) == set(weights)
    for name, values in weights.items():
        tensor = checkpoint.tensor(name)
        assert (tensor.dtype, tensor.shape) == (dtype, checkpoint.shape(name))
        assert tensor.data.dtype.itemsize == (4 if dtype == "F32" else 2)
        assert not tensor.data.flags.owndata
        np.testing.assert_array_equal(tensor.f32(), values)
        np.testing.assert_array_equal(tensor.f32(2, 5), values[2:5])


def test_released_pages_are_read_again(tmp_path: Path) -> None:
    weights = tiny_models.write_model(tmp_path, tiny_models.CONFIGS["llama"])
    checkpoint = Checkpoint.open(tmp_path)
    for _ in range(2):
        embedding = checkpoint.tensor("model.embed_tokens.weight").f32()
        np.testing.assert_array_equal(embedding, weights["model.embed_tokens.weight"])
        checkpoint.release()


# ---- one file


def one(header: Header, data: bytes = bytes(8)) -> bytes:
    """A file of any header."""
    return tiny_models.safetensors_bytes(header, data)


def entry(**changes: Any) -> Header:
    """A header with the tensor `a`, four BF16 elements."""
    return {"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8], **changes}}


def test_a_small_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(one({"__metadata__": {"a": "b"}} | entry()))
    np.testing.assert_array_equal(SafetensorsFile(path).tensor("a").f32(), np.zeros(4, np.float32))


DUPLICATE = b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{}}'
BAD_FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "too few"),
    ("seven bytes", bytes(7), "too few"),
    ("header length zero", bytes(16), "header length 0"),
    ("header beyond the end", (1000).to_bytes(8, "little") + b"{}", "header length 1000"),
    ("huge header", b"\xff" * 8 + b"{}", "header length"),
    ("not JSON", (2).to_bytes(8, "little") + b"{{", "not valid JSON"),
    ("not an object", (2).to_bytes(8, "little") + b"[]", "expected a JSON object"),
    (
        "duplicate name",
        len(DUPLICATE).to_bytes(8, "little") + DUPLICATE + bytes(8),
        "'a' appears twice",
    ),
    ("truncated", one(entry())[:-1], "truncated"),
    ("trailing data", one(entry()) + b"x", "1 bytes follow"),
    ("no tensors, data", one({}), "8 bytes follow"),
    ("entry not an object", one({"a": 1}), "tensor a: expected dtype"),
    ("entry with more keys", one(entry(extra=1)), "tensor a: expected dtype"),
    ("unknown dtype", one(entry(dtype="F4")), "unknown dtype 'F4'"),
    ("dtype a list", one(entry(dtype=["BF16"])), "unknown dtype"),
    ("negative shape", one(entry(shape=[-4])), "bad shape"),
    ("shape of floats", one(entry(shape=[4.0])), "bad shape"),
    ("shape of booleans", one(entry(shape=[True, 4])), "bad shape"),
    ("many dimensions", one(entry(shape=[1] * 9)), "bad shape"),
    ("shape too large", one(entry(shape=[1 << 40, 1 << 40])), "bytes apart"),
    ("offsets backwards", one(entry(data_offsets=[8, 0])), "bytes apart"),
    ("negative offset", one(entry(data_offsets=[-8, 0])), "bad data_offsets"),
    ("three offsets", one(entry(data_offsets=[0, 4, 8])), "bad data_offsets"),
    ("size and shape differ", one(entry(shape=[3])), "are not 6 bytes apart"),
    ("hole", one(entry(data_offsets=[8, 16]), bytes(16)), "hole"),
    ("beyond the end", one(entry(data_offsets=[0, 16], shape=[8])), "truncated"),
    (
        "overlap",
        one(entry() | {"b": {"dtype": "BF16", "shape": [4], "data_offsets": [4, 12]}}, bytes(12)),
        "tensor b: overlaps",
    ),
    ("name of two lines", one({"a\nb": 1}), r"tensor 'a\\nb'"),
]


@pytest.mark.parametrize(
    ("content", "message"), [c[1:] for c in BAD_FILES], ids=[c[0] for c in BAD_FILES]
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CompileError, match=message) as caught:
        Checkpoint.open(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def complaint(directory: Path) -> str:
    """The error of opening a checkpoint; none only if its one tensor fills all eight bytes."""
    try:
        checkpoint = Checkpoint.open(directory)
    except CompileError as error:
        return str(error)
    (name,) = checkpoint.names
    assert np.prod(checkpoint.shape(name)) in (1, 2, 4, 8)
    return ""


def test_every_flipped_header_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    good = one(entry())
    path = tmp_path / "model.safetensors"
    for bit in range(8 * (len(good) - 8)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert "\n" not in complaint(tmp_path)


# ---- a model's tensors

Change = Callable[[dict[str, Any]], None]


def rewrite(directory: Path, change: Change) -> None:
    """Write a tiny untied model whose stored BF16 tensors went through `change`."""
    weights = tiny_models.random_weights(tiny_models.CONFIGS["llama"], 0)
    stored = {name: (v.view(np.uint32) >> 16).astype(np.uint16) for name, v in weights.items()}
    change(stored)
    (directory / "config.json").write_text(json.dumps(tiny_models.CONFIGS["llama"]))
    tiny_models.write_safetensors(directory / "model.safetensors", stored, "BF16")


def drop_norm(stored: dict[str, Any]) -> None:
    del stored["model.norm.weight"]


def drop_head(stored: dict[str, Any]) -> None:
    del stored["lm_head.weight"]


def add_bias(stored: dict[str, Any]) -> None:
    stored["model.layers.0.self_attn.q_proj.bias"] = np.zeros(280, np.uint16)


def add_layer(stored: dict[str, Any]) -> None:
    stored["model.layers.2.mlp.up_proj.weight"] = np.zeros((104, 84), np.uint16)


def transpose(stored: dict[str, Any]) -> None:
    stored["model.layers.0.mlp.up_proj.weight"] = stored["model.layers.0.mlp.up_proj.weight"].T


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_norm, r"tensor model\.norm\.weight is missing"),
        (drop_head, r"tensor lm_head\.weight is missing"),
        (dict.clear, r"model\.embed_tokens\.weight is missing \(and 20 more\)"),
        (add_bias, r"q_proj\.bias is unknown"),
        (add_layer, r"model\.layers\.2\.mlp\.up_proj\.weight is unknown"),
        (transpose, r"up_proj\.weight: shape \[84, 104\] is not the config's \[104, 84\]"),
    ],
)
def test_missing_extra_and_misshaped_tensors(tmp_path: Path, change: Change, message: str) -> None:
    rewrite(tmp_path, change)
    checkpoint = Checkpoint.open(tmp_path)
    with pytest.raises(CompileError, match=message):
        checkpoint.check(ModelConfig.load(tmp_path))


def test_frequency_buffers_are_tolerated(tmp_path: Path) -> None:
    def change(stored: dict[str, Any]) -> None:
        stored["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(20, np.uint16)
        stored["model.rotary_emb.inv_freq"] = np.zeros(20, np.uint16)

    rewrite(tmp_path, change)
    Checkpoint.open(tmp_path).check(ModelConfig.load(tmp_path))


def test_other_dtypes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny_models.CONFIGS["llama"]))
    shapes = tiny_models.tensor_shapes(tiny_models.CONFIGS["llama"])
    tensors = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
    tiny_models.write_safetensors(tmp_path / "model.safetensors", tensors, "I64")
    with pytest.raises(CompileError, match=r"embed_tokens\.weight: dtype I64 is not supported"):
        Checkpoint.open(tmp_path).check(ModelConfig.load(tmp_path))


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0, 0xFF81])
def test_nan_and_inf_are_refused_by_name_and_row(tmp_path: Path, bits: int) -> None:
    def change(stored: dict[str, Any]) -> None:
        stored["model.layers.1.mlp.up_proj.weight"][33, 7] = bits

    rewrite(tmp_path, change)
    tensor = Checkpoint.open(tmp_path).tensor("model.layers.1.mlp.up_proj.weight")
    tensor.f32(0, 33)
    with pytest.raises(CompileError, match=r"1\.mlp\.up_proj\.weight: row 33 has NaN or Inf"):
        tensor.f32(30, 40)


@pytest.mark.parametrize("same", [True, False])
def test_tied_head_must_equal_the_embedding(tmp_path: Path, same: bool) -> None:
    def change(stored: dict[str, Any]) -> None:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"].copy()
        stored["lm_head.weight"][996, 83] ^= 0 if same else 1

    rewrite(tmp_path, change)
    config = ModelConfig.from_dict(tiny_models.CONFIGS["llama"] | {"tie_word_embeddings": True})
    checkpoint = Checkpoint.open(tmp_path)
    if same:
        checkpoint.check(config)
    else:
        with pytest.raises(CompileError, match=r"lm_head\.weight differs.*tie_word_embeddings"):
            checkpoint.check(config)


def test_unknown_tensors_asked_for_by_name(tmp_path: Path) -> None:
    tiny_models.write_model(tmp_path, tiny_models.CONFIGS["llama"])
    with pytest.raises(CompileError, match="tensor nothing is missing"):
        Checkpoint.open(tmp_path).tensor("nothing")


# ---- shards

SHARD = "model-00001-of-00002.safetensors"


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"holds neither model\.safetensors nor"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "", ".hidden", "a/b", 3, None])
def test_index_stays_in_its_directory(tmp_path: Path, name: object) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CompileError, match="weight_map: bad file name"):
        Checkpoint.open(tmp_path)


def remap(directory: Path, change: Change) -> None:
    """Write a tiny model in two shards and change its index."""
    tiny_models.write_model(directory, tiny_models.CONFIGS["llama"], shards=2)
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def forget(index: dict[str, Any]) -> None:
    del index["weight_map"]["model.norm.weight"]


def invent(index: dict[str, Any]) -> None:
    index["weight_map"]["extra"] = SHARD


def misplace(index: dict[str, Any]) -> None:
    index["weight_map"] |= dict.fromkeys(index["weight_map"], SHARD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (forget, r"tensor model\.norm\.weight is not in model\.safetensors\.index\.json"),
        (invent, f"{SHARD}: tensor extra is missing"),
        (misplace, "is missing"),
        (dict.clear, "weight_map: missing"),
    ],
)
def test_index_and_shards_must_agree(tmp_path: Path, change: Change, message: str) -> None:
    remap(tmp_path, change)
    with pytest.raises(CompileError, match=message):
        Checkpoint.open(tmp_path)


def test_missing_shard(tmp_path: Path) -> None:
    tiny_models.write_model(tmp_path, tiny_models.CONFIGS["llama"], shards=2)
    shutil.move(tmp_path / SHARD, tmp_path / "elsewhere")
    with pytest.raises(CompileError, match=f"{SHARD}: No such file"):
        Checkpoint.open(tmp_path)
