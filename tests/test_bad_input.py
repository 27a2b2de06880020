"""Bad input: one line that names place and remedy, the right status, and nothing left behind.

Every case runs a whole command beside output files that exist already; none may change.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from isa.chip import CHIPS
from isa.program import Program, load, open_container, save
from isa.program.layout import HEADER, HEADER_SIZE, Kind
from isa.spec import ISA_VERSION
from tests.cli_runs import (
    MINI,
    MODEL,
    PROMPT,
    VOCAB,
    Result,
    assembled,
    compiled,
    done,
    emu,
    files,
    tokenizer_json,
    write_checkpoint,
)

KEPT = "kept.bin"  # an output that exists already


@dataclass(frozen=True)
class Folders:
    """Programs that are made once: a decoder, one without tokenizer, one without weights."""

    good: Path
    mute: Path
    bare: Path
    plain: Path


PLAIN = """
.region io 0 0x1000 io
.region control 0x1000 0x1000 control
.symbol x io fp32[2, 3] in
.symbol b io+0x100 bf16[4] in
.symbol n io+0x200 e2m1[4] in
.symbol s io+0x300 e8m0[4] in
.symbol i io+0x400 i32[4] in
.symbol y io+0x500 fp32[4] out
.entry one
    halt
.entry two
    halt
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folder = tmp_path_factory.mktemp("made")
    model = write_checkpoint(folder / "model")
    mute = write_checkpoint(folder / "mute", tokenizer=False)
    return Folders(
        compiled(model, folder / "good.bin", "--rows", 8, "--top-k", 6),
        compiled(mute, folder / "mute.bin", "--rows", 8),
        compiled(model, folder / "bare.bin", "--rows", 8, "--no-weights"),
        assembled(folder / "plain.bin", PLAIN),
    )


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (KEPT, "kept.json", "kept.npy"):
        Path(name).write_text("as it was")


def refused(expected: str, *arguments: object, status: int = 2, lines: int = 1) -> Result:
    """The command ends with so many lines, one of which has the text, and changes no file."""
    before = files(Path())
    result = emu(*arguments)
    assert (result.status, result.out) == (status, ""), result
    found = result.err.splitlines()
    assert len(found) == lines, result.err
    assert all(line.startswith("emu: error: ") for line in found)
    assert expected in result.err
    assert files(Path()) == before
    return result


def compile_refused(expected: str, *arguments: object) -> Result:
    """`emu compile` for t1-mini refuses, unless another chip is given."""
    chip = () if "--chip" in arguments else MINI
    return refused(expected, "compile", *arguments, *chip, "-o", KEPT)


def run_refused(expected: str, program: Path, *arguments: object) -> Result:
    """`emu run` refuses."""
    return refused(expected, "run", program, *arguments, "--json", "kept.json")


# ---- damaged programs

TOKENS = ("--tokens", "1,2")


def _resealed(data: bytes, **fields: int) -> bytes:
    """A program with other fields in its header, its checksum right."""
    names = ("container", "major", "minor")
    values = list(HEADER.unpack(data[:HEADER_SIZE]))
    for name, value in fields.items():
        values[{"container": 2, "major": 4, "minor": 5}[name]] = value
    assert set(fields) <= set(names)
    header = HEADER.pack(*values)[:-4]
    return header + struct.pack("<I", zlib.crc32(header)) + data[HEADER_SIZE:]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "zero length": (lambda data: b"", "p.bin: the file is empty"),
    "some text": (lambda data: b"hello\n" * 99, "p.bin: not a Tessera program"),
    "7 bytes": (lambda data: data[:7], "p.bin: not a Tessera program"),
    "half a header": (lambda data: data[:40], "p.bin: header: truncated after 40 bytes"),
    "half a table": (lambda data: data[:100], "p.bin: "),
    "half the code": (lambda data: data[:20000], "p.bin: file: truncated: 20000 bytes"),
    "half the data": (lambda data: data[: len(data) // 2], "p.bin: file: truncated: "),
    "a byte short": (lambda data: data[:-1], "p.bin: file: truncated: "),
    "a byte long": (lambda data: data + b"\0", "p.bin: file: something follows its end"),
    "container version": (partial(_resealed, container=9), "p.bin: header: file version 9"),
    "ISA version": (
        partial(_resealed, major=ISA_VERSION[0] + 1),
        f"p.bin: header: ISA version {ISA_VERSION[0] + 1}.",
    ),
    "reversed": (lambda data: data[::-1], "p.bin: not a Tessera program"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_programs(made: Folders, name: str) -> None:
    damage, expected = DAMAGES[name]
    Path("p.bin").write_bytes(damage(made.good.read_bytes()))
    run_refused(expected, Path("p.bin"), *TOKENS)


def test_every_flipped_bit_outside_data_is_found(made: Folders) -> None:
    data = made.good.read_bytes()
    sections = open_container(made.good).sections
    first_data = min(section.offset for section in sections if section.kind is Kind.DATA)
    places = {0, 5, 9, 63, *np.random.default_rng(3).integers(0, first_data, 40).tolist()}
    places |= {section.offset for section in sections if section.kind is not Kind.DATA}
    places |= {section.end for section in sections if section.end < len(data)}  # what fills up
    places |= {section.end - 1 for section in sections if section.kind is not Kind.DATA}
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        Path("p.bin").write_bytes(damaged)
        run_refused("p.bin: ", Path("p.bin"), *TOKENS)


def test_flipped_bits_of_data_are_found_by_verify(made: Folders) -> None:
    container = open_container(made.good)
    regions = load(made.good).regions
    for index, section in container.data().items():
        damaged = bytearray(made.good.read_bytes())
        damaged[section.offset + section.size // 2] ^= 8
        Path("p.bin").write_bytes(damaged)
        expected = f"p.bin: region '{regions[index].name}': checksum mismatch"
        refused(expected, "info", "p.bin", "--verify", "--json", "kept.json")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("none.bin", "none.bin: cannot be read: no such file or directory"),
        (".", ".: cannot be read: is a directory"),
        ("/dev/null", "/dev/null: not a regular file"),
    ],
)
def test_programs_that_are_not_there(path: str, expected: str) -> None:
    run_refused(expected, Path(path), *TOKENS)


@pytest.mark.parametrize("changes", ["tile.tsram.bytes", "clusters", "hbm.bytes"])
def test_programs_for_another_chip(made: Folders, changes: str) -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    key, old, new = {
        "tile.tsram.bytes": ("bytes", 262144, 131072),
        "clusters": ("clusters", 2, 1),
        "hbm.bytes": ("bytes", 1073741824, 536870912),
    }[changes]
    Path("other.yaml").write_text(text.replace(f"{key}: {old}", f"{key}: {new}"))
    expected = f"good.bin: required chip: made for t1-mini with {changes} = {old}, not for"
    run_refused(expected, made.good, *TOKENS, "--chip", "other.yaml")


def test_programs_for_a_chip_nobody_knows(made: Folders) -> None:
    program = load(made.good)
    save(replace(program, chip=replace(program.chip, name="t9")), "p.bin")
    run_refused("p.bin: was made for the chip t9, which is not known", Path("p.bin"), *TOKENS)
    run_refused("good.bin: required chip: made for t1-mini", made.good, *TOKENS, "--chip", "t1")


def _changed(program: Program, part: str, **values: Any) -> dict[str, Any]:
    return program.metadata | {part: program.metadata[part] | values}


HOSTILE: dict[str, tuple[Callable[[Program], dict[str, Any]], str]] = {
    "no model": (lambda p: {"kind": "decoder"}, "capacity.rows is missing or wrong"),
    "capacity is a list": (lambda p: p.metadata | {"capacity": [1]}, "capacity.rows is missing"),
    "more rows": (lambda p: _changed(p, "capacity", rows=9), "capacity: symbol rows is missing"),
    "negative": (lambda p: _changed(p, "capacity", pages=-1), "capacity.pages is missing or wrong"),
    "absurd": (lambda p: _changed(p, "capacity", pages=1 << 30), "capacity.pages is missing"),
    "long context": (lambda p: _changed(p, "capacity", context=99999), "capacity.context is"),
    "vocabulary": (lambda p: _changed(p, "model", vocab=5000), "capacity: symbol logits is"),
    "no vocabulary": (lambda p: _changed(p, "model", vocab="67"), "model.vocab is missing"),
    "end of text": (lambda p: _changed(p, "model", eos=2), "model.eos is missing or wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_intact_programs_with_wrong_metadata(made: Folders, name: str) -> None:
    change, expected = HOSTILE[name]
    program = load(made.good)
    save(replace(program, metadata=change(program)), "p.bin")
    run_refused(f"p.bin: metadata: {expected}", Path("p.bin"), *TOKENS)


def test_a_decoder_without_its_symbols(made: Folders) -> None:
    program = load(made.good)
    save(replace(program, symbols=program.symbols[1:]), "p.bin")
    run_refused("p.bin: no symbol 'rows'; it has", Path("p.bin"), *TOKENS)


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


def test_a_program_with_a_corrupted_tokenizer(made: Folders) -> None:
    save(replace(load(made.good), tokenizer=b"{"), "p.bin")
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
        ("--rows 2000", "t1-mini: no tiling fits a tile (ACC: 2000 rows"),
        ("--rows 100 --sequences 20000", "t1-mini: no tiling fits a tile (TSRAM: "),
        ("--dump tokens", "--dump: 'tokens' is none of graph, fused, plan, asm"),
        ("--chip t2", "t2: unknown chip; known are t1, t1-mini, or give a YAML file's path"),
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
def test_chips(made: Folders, name: str) -> None:
    old, new, expected = CHIP_CHANGES[name]
    text = (CHIPS / "t1-mini.yaml").read_text()
    assert old in text
    Path("chip.yaml").write_text(text.replace(old, new, 1))
    Path("config.json").write_text(json.dumps(MODEL))
    options = ("--chip", "chip.yaml")
    compile_refused(f"chip.yaml: {expected.removeprefix('chip.yaml: ')}"
                    if "twice" not in expected else expected,
                    "config.json", "--no-weights", *options)  # fmt: skip
    run_refused(expected, made.good, *TOKENS, *options)


def test_a_chip_too_small_for_the_schedule() -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    Path("chip.yaml").write_text(text.replace("channels: 8 ", "channels: 4 ", 1))
    Path("config.json").write_text(json.dumps(MODEL))
    expected = "tile.dma.channels: the schedule needs 8 channels"
    compile_refused(expected, "config.json", "--no-weights", "--chip", "chip.yaml")


# ---- outputs that cannot be written

UNWRITABLE = {
    "no/such/out": "no such file or directory",
    "folder": "it is a directory",
    "kept.npy/out": "not a directory",
    "x" * 300: "file name too long",
}


@pytest.mark.parametrize("output", UNWRITABLE, ids=lambda name: name[:12])
@pytest.mark.parametrize("option", ["compile", "--json", "--trace", "--output"])
def test_unwritable_outputs(
    made: Folders, monkeypatch: pytest.MonkeyPatch, option: str, output: str
) -> None:
    """Refused before the work, not after it."""
    Path("folder").mkdir()
    Path("config.json").write_text(json.dumps(MODEL))
    for work in ("compiler.api.compile_stages", "emulator.fast.machine.FastMachine.__init__"):
        monkeypatch.setattr(work, None)
    expected = f"{output}: cannot be written: {UNWRITABLE[output]}"
    if option == "compile":
        refused(expected, "compile", "config.json", "--no-weights", *MINI, "-o", output)
    else:
        value = f"logits={output}" if option == "--output" else output
        refused(expected, "run", made.good, *TOKENS, option, value)


def test_full_devices(made: Folders) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    before = files(Path())
    result = emu("run", made.good, *TOKENS, "--no-timing", "--json", "/dev/full",
                 "--max-new-tokens", 1)  # fmt: skip
    assert result.status == 2
    assert result.err == "emu: error: /dev/full: cannot be written: no space left on device\n"
    assert files(Path()) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--json p.bin", "--json: p.bin: is an input as well; choose another file"),
        ("--trace ./p.bin", "--trace: p.bin: is an input as well"),
        ("--output logits=p.bin", "--output: p.bin: is an input as well"),
        ("--json a --trace a", "--trace: a: is another output as well"),
        ("--output logits=link --json kept.json", "--json: kept.json: is another output as well"),
    ],
)
def test_outputs_in_each_others_place(made: Folders, options: str, expected: str) -> None:
    Path("p.bin").write_bytes(made.good.read_bytes())
    Path("link").symlink_to("kept.json")
    refused(expected, "run", "p.bin", *TOKENS, *options.split())


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_program_in_place_of_its_model(name: str) -> None:
    model = write_checkpoint(Path("model"))
    expected = f"model/{name}: is one of the model's own files"
    refused(expected, "compile", model, *MINI, "-o", model / name)


# ---- what a decoder is asked

LONG = ",".join("1" for _ in range(257))
DECODER: list[tuple[list[str], str]] = [
    ([], "good.bin: a decoder needs --prompt TEXT or --tokens 1,2"),
    (["--prompt", ""], "--prompt: '' has no tokens; give some text"),
    (["--prompt", "a\udcff"], "the text is not valid Unicode"),
    (["--prompt", "w5 " * 300], "331 positions are beyond the program's context of 256"),
    (["--tokens", LONG, "--max-new-tokens", "1"], "257 positions are beyond the program's context"),
    (["--tokens", "1,2", "--max-new-tokens", "256"], "257 positions are beyond"),
    (["--prompt", "w5", *TOKENS], "--prompt and --tokens exclude each other"),
    (["--tokens", str(VOCAB)], f"token {VOCAB} is outside the vocabulary of {VOCAB}"),
    (["--tokens", "1,999999999999"], "token 999999999999 is outside the vocabulary"),
    (["--tokens", ""], "--tokens: expected numbers like 1,2,3, got ''"),
    (["--tokens", "1,,2"], "--tokens: expected numbers like 1,2,3, got ''"),
    (["--tokens", "1,-2"], "--tokens: expected numbers like 1,2,3, got '-2'"),
    (["--tokens", "one"], "--tokens: expected numbers like 1,2,3, got 'one'"),
    (["--tokens", "1.5"], "--tokens: expected numbers like 1,2,3, got '1.5'"),
    (["--tokens", "1,\n2,x\ny"], "--tokens: expected numbers like 1,2,3, got 'x\\ny'"),
    (["--tokens", "9" * 5000], "--tokens: expected numbers like 1,2,3, got '999"),
    (["--tokens", "١"], "--tokens: expected numbers like 1,2,3, got"),
    ([*TOKENS, "--max-new-tokens", "0"], "--max-new-tokens: expected at least 1, got 0"),
    ([*TOKENS, "--max-new-tokens", "-5"], "--max-new-tokens: expected at least 1, got -5"),
    ([*TOKENS, "--max-new-tokens", "many"], "'many' is not a valid integer; see `emu run --help`"),
    ([*TOKENS, "--temperature", "-1"], "temperature -1.0 is outside 0.001..1000 (0 is greedy)"),
    ([*TOKENS, "--temperature", "nan"], "temperature nan is outside"),
    ([*TOKENS, "--temperature", "inf"], "temperature inf is outside"),
    ([*TOKENS, "--temperature", "1e-9"], "temperature 1e-09 is outside"),
    ([*TOKENS, "--temperature", "hot"], "'hot' is not a valid float"),
    ([*TOKENS, "--top-k", "0"], "--top-k: expected at least 1, got 0"),
    ([*TOKENS, "--top-k", "7"], "--top-k: 7 is beyond the 6 candidates the program ranks"),
    ([*TOKENS, "--seed", "-1"], "--seed: expected 0..9223372036854775807, got -1"),
    ([*TOKENS, "--chunk", "0"], "--chunk: expected at least 1, got 0"),
    ([*TOKENS, "--threads", "0"], "--threads: expected 1..1024, got 0"),
    ([*TOKENS, "--threads", "9999"], "--threads: expected 1..1024, got 9999"),
    ([*TOKENS, "--executor", "slow"], "'slow' is not one of 'fast', 'reference'"),
    ([*TOKENS, "--timing-only", "--no-timing"], "--timing-only and --no-timing exclude"),
    ([*TOKENS, "--timing-only", "--executor", "reference"], "--timing-only: the reference"),
    ([*TOKENS, "--timing-only", "--output", "logits=kept.npy"], "--output: a timing-only run has"),
    ([*TOKENS, "--no-timing", "--trace", "t.json"], "--trace needs timing"),
    ([*TOKENS, "--input", "rows=kept.npy"], "--input and --entry are for programs that are no"),
    ([*TOKENS, "--entry", "step"], "--input and --entry are for programs that are no decoders"),
    ([*TOKENS, "--output", "next=kept.npy"], "--output: a decoder saves logits, not 'next'"),
    ([*TOKENS, "--output", "logits"], "--output: expected NAME=FILE.npy, got 'logits'"),
    ([*TOKENS, "--output", "logits="], "--output: expected NAME=FILE.npy, got 'logits='"),
    ([*TOKENS, "--output", "logits=a", "--output", "logits=b"], "--output: 'logits' is given twice"),
    ([*TOKENS, "--chip", "t9"], "t9: unknown chip; known are t1, t1-mini"),
    ([*TOKENS, "--chip", "none.yaml"], "none.yaml: cannot be read: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"), DECODER, ids=[" ".join(o)[:40] for o, _ in DECODER]
)
def test_what_a_decoder_is_asked(
    made: Folders, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str
) -> None:
    """All of it is found out before there is a machine."""
    monkeypatch.setattr("emulator.fast.machine.FastMachine.__init__", None)
    run_refused(expected, made.good, *options)


def test_text_without_a_tokenizer(made: Folders) -> None:
    run_refused("mute.bin: has no tokenizer; give --tokens", made.mute, "--prompt", PROMPT)


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_values_without_weights(made: Folders, executor: str) -> None:
    expected = "bare.bin: holds no weights; run it with --timing-only, or compile it without"
    run_refused(expected, made.bare, *TOKENS, "--executor", executor)


# ---- what other programs are given

GOOD = np.zeros((2, 3), np.float32)


def _npy(array: np.ndarray[Any, Any], **options: Any) -> Callable[[], None]:
    return lambda: np.save("in.npy", array, **options)


def _bytes(content: bytes) -> Callable[[], None]:
    return lambda: Path("in.npy").write_bytes(content) and None


def _cut() -> None:
    np.save("in.npy", GOOD)
    Path("in.npy").write_bytes(Path("in.npy").read_bytes()[:-4])


def _huge() -> None:
    np.save("in.npy", GOOD)
    data = Path("in.npy").read_bytes()
    Path("in.npy").write_bytes(data.replace(b"(2, 3), }         ", b"(2, 3000000000), }"))


ARRAYS: dict[str, tuple[str, Callable[[], None], str]] = {
    "missing": ("x", lambda: None, "in.npy: cannot be read: no such file or directory"),
    "folder": ("x", lambda: Path("in.npy").mkdir(), "in.npy: cannot be read: is a directory"),
    "empty": ("x", _bytes(b""), "in.npy: not an .npy file of numbers: "),
    "text": ("x", _bytes(b"1 2 3\n"), "in.npy: not an .npy file of numbers: "),
    "cut": ("x", _cut, "in.npy: not an .npy file of numbers: "),
    "huge": ("x", _huge, "in.npy: "),
    "pickled": (
        "x",
        _npy(np.array([[{}] * 3] * 2, object), allow_pickle=True),
        "in.npy: not an .npy file of numbers: ",
    ),
    "shape": ("x", _npy(GOOD.T), "in.npy: shape [3, 2] is not that of x, [2, 3]"),
    "rank": ("x", _npy(GOOD.reshape(-1)), "in.npy: shape [6] is not that of x, [2, 3]"),
    "fp64": ("x", _npy(GOOD.astype(float)), "float64 is not what x, FP32, takes: float32"),
    "integers": ("x", _npy(GOOD.astype("i4")), "int32 is not what x, FP32, takes: float32"),
    "text array": ("x", _npy(np.full((2, 3), "abc")), "is not what x, FP32, takes: float32"),
    "record": ("x", _npy(np.zeros((2, 3), "i2,i2")), "is not what x, FP32, takes: float32"),
    "fp16 for bf16": (
        "b",
        _npy(np.zeros(4, np.float16)),
        "float16 is not what b, BF16, takes: float32 or codes (uint16)",
    ),
    "int64 for i32": ("i", _npy(np.zeros(4, int)), "int64 is not what i, I32, takes: int32"),
    "fp32 for i32": ("i", _npy(np.zeros(4, "f4")), "float32 is not what i, I32, takes: int32"),
    "fp32 for scales": ("s", _npy(np.zeros(4, "f4")), "float32 is not what s, E8M0, takes"),
    "nibbles": ("n", _npy(np.full(4, 16, "u1")), "code 16 is none of n's: E2M1 has 16"),
    "output": ("y", _npy(np.zeros(4, "f4")), "--input: y is an output"),
    "unknown": ("z", _npy(GOOD), "plain.bin: no symbol 'z'; it has x, b, n, s, i, y"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(made: Folders, name: str) -> None:
    symbol, write, expected = ARRAYS[name]
    write()
    result = run_refused(expected, made.plain, "--entry", "one", "--input", f"{symbol}=in.npy")
    assert ".npy" in result.err or symbol in "yz"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "plain.bin: name an entry by --entry; it has one, two"),
        ("--entry three", "plain.bin: no entry 'three'; it has one, two"),
        ("--entry one --output q=kept.npy", "plain.bin: no symbol 'q'; it has x, b, n"),
        ("--entry one --tokens 1", "plain.bin: is no decoder; use --input and --output"),
        ("--entry one --prompt x", "plain.bin: is no decoder; use --input and --output"),
        ("--entry one --input x", "--input: expected NAME=FILE.npy, got 'x'"),
        ("--entry one --input =x", "--input: expected NAME=FILE.npy, got '=x'"),
        ("--entry one --input x=a --input x=b", "--input: 'x' is given twice"),
    ],
)
def test_what_other_programs_are_asked(made: Folders, options: str, expected: str) -> None:
    run_refused(expected, made.plain, *options.split())


# ---- programs that fault

BEYOND = """
.region io 0 0x1000 io
.desc src hbm:0x2000 fp32[4]
.desc dst tsram:0 fp32[4]
.entry go
.op fetch
    rdsr r9, TILE_ID
    bne r9, {tile}, end
    dld d0, src
    dld d1, dst
    dma dma0, d1, d0
end: halt
"""


def faults(expected: list[str], text: str, *options: object) -> None:
    """Assembled and run, a program faults on both executors, and changes no file."""
    path = assembled(Path("p.bin"), text)
    for executor in ("fast", "reference"):
        result = refused("", "run", path, "--executor", executor, "--json", "kept.json", *options,
                         status=1, lines=len(expected))  # fmt: skip
        for line, facts in zip(result.err.splitlines(), expected, strict=True):
            for fact in facts.split(" ... "):
                assert fact in line


def test_a_fault_names_tile_pc_instruction_and_operation() -> None:
    faults(["tile 2, dma0, pc 4: out_of_bounds: ... `dma dma0, d1, d0` of fetch"],
           BEYOND.format(tile=2))  # fmt: skip


def test_a_line_for_each_fault() -> None:
    text = BEYOND.replace("bne r9, {tile}, end", "nop")
    faults([f"tile {tile}, dma0, pc 4: out_of_bounds: ... of fetch" for tile in range(4)], text)


def test_a_deadlock() -> None:
    text = ".entry go\n    wait vpu, s3, 2\n    halt\n"
    faults([f"tile {tile}, vpu, pc 0: deadlock: ... `wait vpu, s3, 2`" for tile in range(4)], text)


def test_control_that_runs_out_of_the_code() -> None:
    text = ".entry go\n    rdsr r9, TILE_ID\n    beq r9, 0, end\n    halt\nend: nop\n"
    faults(["tile 0, ctl, pc 4: bad_pc: "], text)


def test_a_division_by_zero() -> None:
    text = ".entry go\n    rdsr r9, TILE_ID\n    bne r9, 3, end\n    div r1, r9, 0\nend: halt\n"
    faults(["tile 3, ctl, pc 2: divide_by_zero: ... `div r1, r9, 0`"], text, "--no-timing")


def test_an_illegal_instruction() -> None:
    assembled(Path("good.bin"), ".entry go\n    rdsr r9, TILE_ID\n    nop\n    halt\n")
    program = load("good.bin")
    program.code[1] = (0xFF, 7)
    save(program, "p.bin")
    for executor in ("fast", "reference"):
        result = refused("tile 0, ctl, pc 1: illegal_instruction: ", "run", "p.bin", "--executor",
                         executor, status=1, lines=4)  # fmt: skip
        assert result.err.count("illegal_instruction") == 4


def test_a_decoder_that_faults(made: Folders) -> None:
    """Its operation is named, and no text was printed before."""
    program = load(made.good)
    regions = tuple(r for r in program.regions if r.name != "embed")
    save(replace(program, regions=regions), "p.bin")
    result = emu("run", "p.bin", *TOKENS, "--json", "kept.json")
    assert (result.status, result.out) == (1, "")
    assert "out_of_bounds" in result.err
    assert " of embed" in result.err
    assert Path("kept.json").read_text() == "as it was"


def test_what_is_good_is_not_refused(made: Folders) -> None:
    """The programs of these tests run, so that each case fails for its own reason only."""
    done("run", made.good, *TOKENS, "--max-new-tokens", 1, "--json", "kept.json", "--quiet")
    done("run", made.bare, *TOKENS, "--max-new-tokens", 1, "--timing-only")
    np.save("in.npy", GOOD)
    done("run", made.plain, "--entry", "one", "--input", "x=in.npy", "--output", "y=kept.npy")
    assert Path("kept.json").read_text() != "as it was"
