"""Writes tests/golden/transformers.npz: python tests/make_truth.py (needs the extra `hf`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import hf_model
import numpy as np
import truth


def main() -> None:
    """Ask transformers for every family's answer and keep a part of it."""
    arrays: dict[str, np.ndarray] = {}
    for family in truth.FAMILIES:
        with tempfile.TemporaryDirectory() as directory:
            truth.write_case(family, Path(directory))
            found = hf_model.answer(family, Path(directory))
        top = np.sort(found.logits[truth.PROMPT - 1 :], axis=1)
        arrays[f"{family}.tokens"] = found.tokens
        arrays[f"{family}.logits"] = found.logits[truth.KEPT]
        arrays[f"{family}.margins"] = top[:, -1] - top[:, -2]
        arrays[f"{family}.bf16_difference"] = np.array(found.bf16_difference)
    np.savez_compressed(truth.GOLDEN, **arrays)


if __name__ == "__main__":
    main()
