"""Held-out perplexity of the shipped model, format by format, from the emulator's own bits.

    python programs/model/perplexity.py [--windows N] [--json FILE]

Prints the model in NumPy first, without Tessera, as fp32 has it (evaluate_hf.py has transformers'
figures), then each combination of formats compiled and executed. Differences of loss are paired:
token by token on the same text. `greedy` is the share of tokens that the first row would choose as
well.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from held_out import CONTEXT, held_out_bytes, lzma_bits_per_byte, mean_and_error, score

from compiler.options import Options
from emulator.explore.quality.emulated import emulated
from emulator.explore.quality.predicted import Predicted
from emulator.explore.quality.reference import reference
from emulator.explore.quality.text import ALL, Window, predictions_of, windows

FORMATS = (  # weights, activations
    ("bf16", "bf16"),
    ("mxfp8", "mxfp8"),
    ("nvfp4", "mxfp8"),
    ("mxfp4", "mxfp8"),
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
)
Row = dict[str, str | float]


def combinations(chosen: list[Window]) -> Iterator[tuple[str, str, str, Predicted]]:
    """(where, weights, activations, what was predicted) of every row, as they are ready."""
    yield "NumPy", "fp32", "fp32", reference(chosen)
    for weights, activations in FORMATS:
        start = time.perf_counter()
        found = emulated(Options(weights, activations).numeric(), chosen, threads=2)
        print(f"  {weights}/{activations}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        yield "emulator", weights, activations, found


def row_of(found: Predicted, first: Predicted, text_bytes: int) -> Row:
    """A row's figures."""
    figures = score(found.nats, text_bytes)
    pairs = zip(found.nats, first.nats, strict=True)
    difference, error = mean_and_error([own - base for own, base in pairs])
    agreed = sum(a == b for a, b in zip(found.choices, first.choices, strict=True))
    return {
        "perplexity": figures.perplexity,
        "perplexity_error": figures.perplexity_error,
        "loss_difference": difference,
        "loss_difference_error": error,
        "bits_per_byte": figures.bits_per_byte,
        "greedy_agreement": agreed / figures.tokens,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, help="only N windows, evenly spread over the text")
    parser.add_argument("--json", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    text, chosen = held_out_bytes(), windows(options.windows or ALL)
    print(
        f"held out: pydoc topics of CPython {platform.python_version()}, {len(text)} bytes, "
        f"{predictions_of(chosen)} tokens in {len(chosen)} windows of {CONTEXT}"
    )
    print(f"xz -9 on the same text: {lzma_bits_per_byte(text):.4f} bits/byte")
    print(
        f"{'where':<10}{'weights':<8}{'inputs':<8}{'perplexity':>16}"
        f"{'loss over the first':>24}{'bits/byte':>11}{'greedy':>8}"
    )
    table: list[Row] = []
    first = None
    for where, weights, activations, found in combinations(chosen):
        first = first or found
        row = row_of(found, first, len(text))
        print(
            f"{where:<10}{weights:<8}{activations:<8}"
            f"{row['perplexity']:>9.3f} ±{row['perplexity_error']:>5.3f}"
            f"{row['loss_difference']:>+14.5f} ± {row['loss_difference_error']:.5f}"
            f"{row['bits_per_byte']:>11.4f}{row['greedy_agreement']:>8.2%}",
            flush=True,
        )
        table.append({"where": where, "weights": weights, "activations": activations} | row)
    if options.windows:
        print("(bits per byte are of all text: run all windows for them)")
    if options.json:
        options.json.write_text(json.dumps({"schema": 2, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
