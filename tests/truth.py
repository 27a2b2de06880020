"""What the tests against transformers share: the case of a family, and the emulator's answer.

The golden file is written by `python tests/make_truth.py` (needs the extra `hf`); the same cases
run live in test_hf.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiny_models
from numpy.typing import NDArray

from compiler.api import compile_checkpoint
from compiler.options import Options
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from isa.chip import load_chip

GOLDEN = Path(__file__).parent / "golden" / "transformers.npz"
PROMPT = 150  # tokens: past the sliding window of 48, past a page of 128, several chunks of 32
NEW = 32
SEED = 7
KEPT = slice(0, PROMPT, 15)  # rows whose logits the golden file keeps

F32 = NDArray[np.float32]
FAMILIES = tuple(tiny_models.CONFIGS)


@dataclass(frozen=True)
class Truth:
    """transformers' answer: fp32 logits [PROMPT + NEW - 1, vocab] of the prompt and its own greedy
    continuation (teacher-forced), and how far its bf16 is from them, at most."""

    tokens: NDArray[np.int64]
    logits: F32
    bf16_difference: float


def write_case(family: str, directory: Path) -> None:
    """The checkpoint of a family's case."""
    tiny_models.write_model(directory, tiny_models.CONFIGS[family], SEED)


def prompt(family: str) -> list[int]:
    """Its prompt."""
    vocab = tiny_models.CONFIGS[family]["vocab_size"]
    rng = np.random.default_rng([SEED, FAMILIES.index(family)])
    return [int(token) for token in rng.integers(3, vocab, PROMPT)]


def emulated(directory: Path, tokens: NDArray[np.int64]) -> F32:
    """Logits [len(tokens), vocab] of every position: the prompt in chunks, then token by token."""
    options = Options("bf16", "bf16", sequences=1, rows=32, logit_rows=32, context=256, top_k=4)
    chip = load_chip("t1-mini")
    decoder = Decoder(FastMachine(compile_checkpoint(directory, chip, options), chip))
    sequence = decoder.open()
    starts = [*range(0, PROMPT, 32), *range(PROMPT, len(tokens))]
    found = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        part = [int(token) for token in tokens[start : min(end, max(PROMPT, start + 1))]]
        result = decoder.step([Request(sequence, part, len(part))], with_logits=True)
        assert result.logits is not None
        found.append(result.logits.copy())
    return np.concatenate(found)


def check_greedy(ours: F32, truth: F32, difference: float) -> int:
    """Greedy tokens agree where the top-2 margin exceeds the difference; returns how many did."""
    top = np.sort(truth, axis=1)
    clear = top[:, -1] - top[:, -2] > difference
    assert (ours.argmax(axis=1) == truth.argmax(axis=1))[clear].all()
    return int(clear.sum())
