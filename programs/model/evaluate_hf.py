"""Measure the model with transformers, in fp32 and in bf16, on the held-out text of the running
Python.

Prints perplexity with its standard error, bits per byte, the paired difference between the two, and
what `xz -9` needs for the same text.

    python evaluate_hf.py [MODEL_DIR] [--context N]
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from held_out import (
    CONTEXT,
    held_out_bytes,
    held_out_windows,
    lzma_bits_per_byte,
    mean_and_error,
    score,
)
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

MODEL = Path(__file__).resolve().parent / "tessera-tiny"


def token_losses(model: LlamaForCausalLM, rows: list[list[int]]) -> Iterator[list[float]]:
    """For each window, the loss in nats of every token but the first."""
    model.train(False)
    for row in rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            logits = model(input_ids=ids[:, :-1]).logits[0].float()
        yield torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()


def losses_as(dtype: torch.dtype, folder: Path, rows: list[list[int]]) -> list[float]:
    """Every held-out loss of the checkpoint, computed in one type."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype)
    return [loss for losses in token_losses(model, rows) for loss in losses]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description="Held-out perplexity of a checkpoint, by transformers."
    )
    parser.add_argument("model", type=Path, nargs="?", default=MODEL)
    parser.add_argument(
        "--context", type=int, default=CONTEXT, help=f"tokens per window (default {CONTEXT})"
    )
    options = parser.parse_args()
    text = held_out_bytes()
    rows = held_out_windows(
        Tokenizer.from_file(str(options.model / "tokenizer.json")), options.context
    )
    version = platform.python_version()
    print(
        f"held out: {len(text)} bytes of pydoc topics, Python {version}, "
        f"windows of {options.context}"
    )
    full = losses_as(torch.float32, options.model, rows)
    half = losses_as(torch.bfloat16, options.model, rows)
    difference, error = mean_and_error([b - a for a, b in zip(full, half, strict=True)])
    print(f"transformers fp32: {score(full, len(text))}")
    print(f"transformers bf16: {score(half, len(text))}")
    print(f"bf16 - fp32:       loss {difference:+.5f} +- {error:.5f} (paired)")
    print(f"xz -9:             {lzma_bits_per_byte(text):.4f} bits/byte")


if __name__ == "__main__":
    main()
