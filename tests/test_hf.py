"""Against transformers, live: `make test-hf`."""

from pathlib import Path

import numpy as np
import pytest
import truth

pytestmark = pytest.mark.hf


@pytest.mark.parametrize("family", truth.FAMILIES)
def test_logits_and_greedy_tokens_of_transformers(family: str, tmp_path: Path) -> None:
    hf_model = pytest.importorskip("hf_model", reason="needs the extra `hf`", exc_type=ImportError)
    truth.write_case(family, tmp_path)
    expected = hf_model.answer(family, tmp_path)
    ours = truth.emulated(tmp_path, expected.tokens)
    difference = float(np.abs(ours - expected.logits).max())
    print(f"{family}: ours {difference:.5f}, transformers' bf16 {expected.bf16_difference:.5f}")
    assert difference <= 2 * expected.bf16_difference
    tail = slice(truth.PROMPT - 1, None)
    assert truth.check_greedy(ours[tail], expected.logits[tail], difference) > 0


def test_golden_file_is_what_transformers_says(tmp_path: Path) -> None:
    hf_model = pytest.importorskip("hf_model", reason="needs the extra `hf`", exc_type=ImportError)
    golden = np.load(truth.GOLDEN)
    family = truth.FAMILIES[0]
    truth.write_case(family, tmp_path)
    expected = hf_model.answer(family, tmp_path)
    assert np.array_equal(golden[f"{family}.tokens"], expected.tokens)
    assert np.allclose(golden[f"{family}.logits"], expected.logits[truth.KEPT], atol=1e-4)
