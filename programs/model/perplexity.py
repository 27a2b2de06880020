"""Held-out perplexity of the shipped model, format by format, from the emulator's own bits.

    python programs/model/perplexity.py [--windows N] [--json FILE]

Prints transformers in fp32 first (where the extra `hf` is installed; without it the differences
are against bf16 on the emulator), then each combination of formats compiled and executed. The
differences are paired: token by token on the same text.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from held_out import (
    CONTEXT,
    held_out_bytes,
    held_out_windows,
    lzma_bits_per_byte,
    mean_and_error,
    score,
)
from tokenizers import Tokenizer

from compiler.api import compile_checkpoint
from compiler.options import Options
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from isa.chip import load_chip
from isa.program import load, save

MODEL = Path(__file__).resolve().parent / "tessera-tiny"
FORMATS = (  # weights, activations
    ("bf16", "bf16"),
    ("mxfp8", "mxfp8"),
    ("nvfp4", "mxfp8"),
    ("mxfp4", "mxfp8"),
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
)
CHIP = "t1-mini"  # the bits are the same on every chip; this one has the least to emulate


def emulated(weights: str, activations: str, rows: list[list[int]]) -> list[float]:
    """Loss in nats of every token but each window's first, computed by the compiled program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bin"
        options = Options(
            weights, activations, sequences=1, rows=64, logit_rows=64, context=CONTEXT, top_k=1
        )
        chip = load_chip(CHIP)
        save(compile_checkpoint(MODEL, chip, options), path)
        decoder = Decoder(FastMachine(load(path), chip, threads=2))
        return [loss for row in rows for loss in window_losses(decoder, row)]


def window_losses(decoder: Decoder, row: list[int]) -> Iterator[float]:
    """Losses of one window, prefilled in chunks with every row's logits."""
    sequence, chunk = decoder.open(), decoder.capacity["wanted"]
    for start in range(0, len(row) - 1, chunk):
        tokens, targets = row[start:-1][:chunk], row[start + 1 :][:chunk]
        result = decoder.step([Request(sequence, tokens, len(tokens))], with_logits=True)
        assert result.logits is not None
        logits = result.logits.astype(np.float64)
        peak = logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits - peak).sum(axis=1)) + peak[:, 0]
        yield from (total - logits[np.arange(len(targets)), targets]).tolist()
    decoder.close(sequence)


def in_transformers(rows: list[list[int]]) -> list[float] | None:
    """The same losses by transformers in fp32, where it is installed."""
    try:
        import torch
        from evaluate_hf import losses_as
    except ImportError:
        return None
    return losses_as(torch.float32, MODEL, rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, help="only the first N windows")
    parser.add_argument("--json", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    text = held_out_bytes()
    rows = held_out_windows(Tokenizer.from_file(str(MODEL / "tokenizer.json")))[: options.windows]
    tokens = sum(len(row) - 1 for row in rows)
    print(
        f"held out: pydoc topics of CPython {platform.python_version()}, {len(text)} bytes, "
        f"{tokens} tokens in {len(rows)} windows of {CONTEXT}"
    )
    print(f"xz -9 on the same text: {lzma_bits_per_byte(text):.4f} bits/byte")
    print(
        f"{'where':<13}{'weights':<8}{'inputs':<8}{'perplexity':>16}"
        f"{'loss over the first':>24}{'bits/byte':>11}"
    )
    table = []
    base = None
    for where, weights, activations, losses in combinations(rows):
        base = base or losses
        found = score(losses, len(text))
        difference, error = mean_and_error([b - a for a, b in zip(base, losses, strict=True)])
        print(
            f"{where:<13}{weights:<8}{activations:<8}"
            f"{found.perplexity:>9.3f} ±{found.perplexity_error:>5.3f}"
            f"{difference:>+14.5f} ± {error:.5f}{found.bits_per_byte:>11.4f}",
            flush=True,
        )
        table.append(
            {
                "where": where,
                "weights": weights,
                "activations": activations,
                "perplexity": found.perplexity,
                "perplexity_error": found.perplexity_error,
                "loss_difference": difference,
                "loss_difference_error": error,
                "bits_per_byte": found.bits_per_byte,
            }
        )
    if options.windows:
        print("(bits per byte are of all text: run all windows for them)")
    if options.json:
        options.json.write_text(json.dumps({"schema": 1, "rows": table}, indent=1) + "\n")


def combinations(rows: list[list[int]]) -> Iterator[tuple[str, str, str, list[float]]]:
    """(where, weights, activations, losses) of every row of the table, as they are ready."""
    reference = in_transformers(rows)
    if reference is not None:
        yield "transformers", "fp32", "fp32", reference
    for weights, activations in FORMATS:
        start = time.perf_counter()
        losses = emulated(weights, activations, rows)
        print(f"  {weights}/{activations}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        yield "emulator", weights, activations, losses


if __name__ == "__main__":
    main()
