"""How the road scales: a 1B model compiled and run, and an 8B model timed from its config alone.

    python programs/bench/scale_1b.py                  # everything; minutes, and 4 GB of disk
    python programs/bench/scale_1b.py --only 8b        # the config alone
    python programs/bench/scale_1b.py --dir DIR        # keep checkpoint and program there

A checkpoint of Llama-3.2-1B's shape is written with random weights (BF16, in shards, tensor by
tensor), compiled for t1, and run: 128 tokens of prefill, then 8 decode steps. Then Llama-3.1-8B's
config.json is compiled without weights, and timed. Each command runs as a process of its own, whose
wall time, processor time and peak memory are printed; those that have a limit are compared with it,
and the exit status is 1 if one is broken. Peak memory includes pages of mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Config = dict[str, Any]
Tensors = dict[str, tuple[int, ...]]

SHARD_BYTES = 1 << 29
BLOCK = 1 << 22  # elements made at a time
PROMPT, STEPS = 128, 8

_LLAMA: Config = {
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
_ROPE = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
SHAPE_1B = _LLAMA | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "head_dim": 64,
    "tie_word_embeddings": True,
    "rope_scaling": _ROPE | {"factor": 32.0},
}
SHAPE_8B = _LLAMA | {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "head_dim": 128,
    "tie_word_embeddings": False,
    "rope_scaling": _ROPE | {"factor": 8.0},
}


# ---- a random checkpoint


def tensors(config: Config) -> Tensors:
    """Names and shapes of a Llama's tensors."""
    hidden, ffn, vocab = (config[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    wide = config["num_attention_heads"] * config["head_dim"]
    narrow = config["num_key_value_heads"] * config["head_dim"]
    layer: Tensors = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (wide, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, wide),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }
    found: Tensors = {"model.embed_tokens.weight": (vocab, hidden)}
    for number in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{number}.{name}.weight": size for name, size in layer.items()}
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (vocab, hidden)
    return found


def write_checkpoint(directory: Path, config: Config, seed: int = 0) -> None:
    """Write config.json, shards of random BF16 tensors, and their index."""
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    shards = _shards(tensors(config))
    rng = np.random.default_rng(seed)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        weight_map |= dict.fromkeys(shard, name)
        with (directory / name).open("wb") as file:
            _write_shard(file, shard, rng)
    total = sum(2 * prod(shape) for shape in tensors(config).values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(all_tensors: Tensors) -> list[Tensors]:
    """The tensors in order, in files of at most SHARD_BYTES (or of one tensor)."""
    shards: list[Tensors] = [{}]
    size = 0
    for name, shape in all_tensors.items():
        nbytes = 2 * prod(shape)
        if shards[-1] and size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += nbytes
    return shards


def _write_shard(file: BinaryIO, shard: Tensors, rng: np.random.Generator) -> None:
    header, offset = {}, 0
    for name, shape in shard.items():
        end = offset + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for shape in shard.values():
        _write_tensor(file, shape, rng)


def _write_tensor(file: BinaryIO, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Normal values that keep activations near one; gains near one. BF16 by truncation."""
    offset, spread = (1.0, 0.1) if len(shape) == 1 else (0.0, shape[-1] ** -0.5)
    left = prod(shape)
    while left:
        count = min(left, BLOCK)
        values = rng.standard_normal(count, np.float32) * np.float32(spread) + np.float32(offset)
        file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
        left -= count


# ---- processes


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall: float  #: seconds
    processor: float  #: seconds
    peak: int  #: bytes

    def check(self, what: str, seconds: float = 0, gigabytes: float = 0) -> bool:
        """Print it, and whether it is within the limits that are given."""
        line = f"{what}: {self.wall:.1f} s wall, {self.processor:.1f} s processor, "
        line += f"{self.peak / 1e9:.2f} GB peak"
        good = True
        for value, limit, unit in ((self.wall, seconds, "s"), (self.peak / 1e9, gigabytes, "GB")):
            if limit:
                good = good and value <= limit
                line += f"; limit {limit} {unit}: {'kept' if value <= limit else 'BROKEN'}"
        print(line, flush=True)
        return good


def emu(*arguments: object) -> Cost:
    """Run the command line in a process of its own; its output goes to ours."""
    command = [sys.executable, "-c", "from emulator.cli import main; main()"]
    sys.stdout.flush()
    start = time.perf_counter()
    process = subprocess.Popen([*command, *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"emu {arguments[0]}: status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def run(program: Path, json_file: Path, *options: str) -> tuple[Cost, dict[str, Any]]:
    """Prefill and decode; the cost and the result."""
    prompt = np.random.default_rng(1).integers(0, SHAPE_1B["vocab_size"], PROMPT)
    tokens = ",".join(map(str, prompt))
    length = ("--max-new-tokens", STEPS + 1, "--ignore-eos")
    cost = emu("run", program, "--tokens", tokens, *length, "--json", json_file, *options)
    return cost, json.loads(json_file.read_text())


def show(result: dict[str, Any]) -> None:
    """The two figures that matter most, whatever they are."""
    decode, prefill = result["bounds"]["decode"], result["bounds"]["prefill"]
    cycles = decode["cycles"] / decode["steps"]
    ratio = decode["cycles"] / max(decode["hbm"], 1)
    print(f"decode: {cycles:,.0f} cycles a step, {ratio:.2f} x its HBM bound")
    used = prefill["array_utilisation"]
    print(f"prefill of {PROMPT}: {prefill['cycles']:,} cycles, {used:.1%} of the array's peak")
    print(f"host: {result['seconds']['host']:.1f} s for all of it", flush=True)


# ---- what is measured


def bench_1b(folder: Path, arguments: argparse.Namespace) -> bool:
    """Write, compile, run."""
    model, program = folder / "1b", folder / "1b.bin"
    if not (model / "model.safetensors.index.json").exists():
        model.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        write_checkpoint(model, SHAPE_1B)
        print(f"1B checkpoint written in {time.perf_counter() - start:.1f} s", flush=True)
    compiled = emu("compile", model, "-o", program, *_formats(arguments))
    good = compiled.check("1B compiled", 120, 6)
    cost, result = run(program, folder / "1b.json", "--threads", str(arguments.threads))
    cost.check("1B run")
    show(result)
    return good


def bench_8b(folder: Path, arguments: argparse.Namespace) -> bool:
    """Compile a config without weights, and time it."""
    config, program = folder / "8b.json", folder / "8b.bin"
    config.write_text(json.dumps(SHAPE_8B))
    compiled = emu("compile", config, "--no-weights", "-o", program, *_formats(arguments))
    good = compiled.check("8B compiled without weights", 2)
    cost, result = run(program, folder / "8b-result.json", "--timing-only")
    cost.check("8B timed")
    show(result)
    return good


def _formats(arguments: argparse.Namespace) -> tuple[str, ...]:
    formats = ("--weights", arguments.weights, "--activations", arguments.activations)
    return (*formats, "--chip", arguments.chip)


def main() -> int:
    """Measure what the command line asks for; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("1b", "8b"), help="one of the two")
    parser.add_argument("--dir", type=Path, help="where the files go, and stay")
    parser.add_argument("--chip", default="t1")
    parser.add_argument("--weights", default="mxfp4")
    parser.add_argument("--activations", default="mxfp8")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    benches = {"1b": bench_1b, "8b": bench_8b}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [arguments.only] if arguments.only else list(benches)
        good = [benches[name](folder, arguments) for name in wanted]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
