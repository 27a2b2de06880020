"""Programs that measure the loops around the kernels. Each function returns (count, seconds).

    count, seconds = instructions()             # executed and retired, a second: count / seconds
    count, seconds = timing_events()            # of a program of small instructions
    count, seconds = decoder_events()           # of a decode step, where most are pieces of DMA
    cycles, seconds = timing_only_step("405b")  # one decode step from the config alone

An *event* is what the timing engine takes from its queue (`EntryTiming.events`): a control
processor has reached an instruction, a unit takes an entry of its queue, a DMA channel rings a
doorbell or issues a piece, a signal arrives. Gaps between instructions, reservations of links and
memories, and the accounting's sums are not counted, though they take their share of the time.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import retire
from isa.chip import load_chip
from isa.program import Program

Chunks = list[NDArray[np.int64]]
Measured = tuple[int, float]

FOLDED = 4  #: layers that `timing_only_step` simulates, as `emu run` does for models this large

_SMALL = """
.chip t1
.const N = 16
.region outputs 0x0000 0x1000 io
.symbol y outputs fp32[N] out
.desc a tsram:0      fp32[N]
.desc b tsram:N*4    fp32[N]
.desc c tsram:N*8    fp32[N]
.entry small
.op small
        dld    d0, a
        dld    d1, b
        dld    d2, c
        signal ctl, s1, 1
        loop   {turns}, end
        wait   vpu, s1, 1
        vadd   d0, d0, #1.0
        vmul   d1, d0, d0
        vmax   d2, d1, d0
        signal vpu, s0, 1
        add    r9, r9, 1
        dset   d0, dim0, N
        wait   dma0, s0, 1
        dma    dma0, d1, d2
        signal dma0, s1, 1
end:    wait   vpu, s1, 1
        halt
"""

_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "head_dim": 128,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": False,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "torch_dtype": "bfloat16",
}
#: hidden size, MLP size, layers, heads of the Llama 3.1 models
_SIZES = {
    "8b": (4096, 14336, 32, 32),
    "70b": (8192, 28672, 80, 64),
    "405b": (16384, 53248, 126, 128),
}


# ---- small instructions on 64 tiles


@cache
def small_program(turns: int) -> Program:
    """On each tile: `turns` times two scalars, three vector instructions, a copy, semaphores."""
    from isa.assembler import assemble

    return assemble(_SMALL.format(turns=turns))


def instructions(turns: int = 2000, threads: int = 1) -> Measured:
    """Instructions executed with their values and retired, scalar ones included; wall seconds."""
    from emulator.fast.machine import FastMachine

    machine = FastMachine(small_program(turns), load_chip("t1"), threads)
    chunks: Chunks = []
    machine.ring("small", (), chunks.append)  # compiles, and tells how many there are
    count = sum(int((chunk[:, retire.GAP] & 0xFFFFFFFF).sum()) + len(chunk) for chunk in chunks)
    start = time.perf_counter()
    machine.ring("small", (), lambda chunk: None)
    return count, time.perf_counter() - start


def timing_events(turns: int = 2000) -> Measured:
    """Events of the small program in the timing model, fed from memory; this thread's seconds."""
    from emulator.fast.machine import FastMachine

    program, chunks = small_program(turns), Chunks()
    FastMachine(program, load_chip("t1")).ring("small", (), chunks.append)
    return _replayed(program, [("small", chunks)])


# ---- decoders


@cache
def decoder_program(name: str, layers: int | None = None) -> Program:
    """A Llama 3.1 (8b, 70b, 405b) for t1 without weights, whether it fits or not."""
    from compiler.api import compile_config
    from compiler.config import ModelConfig
    from compiler.options import Options

    hidden, ffn, depth, heads = _SIZES[name]
    sizes = {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers or depth,
        "num_attention_heads": heads,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(_LLAMA | sizes))
        config = ModelConfig.load(file)
    return compile_config(config, load_chip("t1"), Options(), ignore_capacity=True)


def decoder_events(name: str = "70b", layers: int = 4) -> Measured:
    """Events of one decode step of a few layers, fed from memory; this thread's seconds."""
    from emulator.decoder import Decoder, Request

    program, kept = decoder_program(name, layers), _Kept()
    decoder = Decoder(_machine(program), kept)
    decoder.step([Request(decoder.open(), [1])])
    return _replayed(program, kept.entries)


def timing_only_step(name: str, fold_layers: int | None = FOLDED) -> Measured:
    """Cycles of one decode step of a whole model, and wall seconds of `emu run`'s work for it.

    `fold_layers` as in `emu run --fold-layers`; None simulates every layer. Compiling the program,
    importing Numba and loading compiled code are not in the time.
    """
    from emulator.decoder import Decoder, Request
    from emulator.fold import fold_of
    from emulator.meter import Meter

    program = decoder_program(name)
    fold = None if fold_layers is None else fold_of(program, fold_layers)
    shorter = program if fold is None else fold.program(program)
    machine = _machine(shorter)
    meter = Meter(shorter, machine.chip, fold=fold)
    decoder = Decoder(machine, meter)
    start = time.perf_counter()
    decoder.step([Request(decoder.open(), [1])])
    cycles = meter.result(0)["cycles"]["total"]
    return cycles, time.perf_counter() - start


def _machine(program: Program) -> Any:
    """A timing-only machine with as much HBM as the program takes."""
    from emulator.fast.machine import FastMachine

    chip = load_chip("t1").with_hbm(program.chip.architecture["hbm.bytes"])
    return FastMachine(program, chip, timing_only=True)


class _Kept:
    """An observer that keeps the records of every entry."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Chunks]] = []

    def begin(self, entry: str) -> None:
        """A new entry."""
        self.entries.append((entry, []))

    def feed(self, chunk: NDArray[np.int64]) -> None:
        """Some of its records."""
        self.entries[-1][1].append(chunk)

    def end(self) -> None:
        """Its end."""


def _replayed(program: Program, entries: list[tuple[str, Chunks]]) -> Measured:
    """Events of the last entry and the seconds they took, the second time it is played."""
    from emulator.accounting import ProgramInfo
    from emulator.timing.model import Timing

    timing = Timing(load_chip("t1"), ProgramInfo.of(program))
    events, seconds = 0, 0.0
    for name, chunks in [*entries, entries[-1]]:
        start = time.thread_time()
        timing.begin(name)
        for chunk in chunks:
            timing.feed(chunk)
        events = timing.end().events
        seconds = time.thread_time() - start
    return events, max(seconds, 1e-9)
