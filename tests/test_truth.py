"""Against transformers' logits as committed (tests/make_truth.py writes them)."""

from pathlib import Path

import numpy as np
import pytest
import truth


@pytest.mark.parametrize("family", truth.FAMILIES)
def test_logits_and_greedy_tokens_of_transformers(family: str, tmp_path: Path) -> None:
    golden = np.load(truth.GOLDEN)
    tokens, expected = golden[f"{family}.tokens"], golden[f"{family}.logits"]
    truth.write_case(family, tmp_path)
    ours = truth.emulated(tmp_path, tokens)
    difference = float(np.abs(ours[truth.KEPT] - expected).max())
    assert difference <= 2 * float(golden[f"{family}.bf16_difference"])
    clear = golden[f"{family}.margins"] > difference
    drawn = ours[truth.PROMPT - 1 :].argmax(axis=1)
    assert (drawn[:-1] == tokens[truth.PROMPT :])[clear[:-1]].all()
    assert clear.sum() > truth.NEW // 2
