"""The oracle itself: what a decoder must and must not see, and that its weights are lively."""

from __future__ import annotations

import float_model
import numpy as np
import pytest
import tiny_models

TOKENS = np.random.default_rng(5).integers(0, 997, 120).tolist()
NAMES = list(tiny_models.CONFIGS)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_lively_and_precise(name: str) -> None:
    config = tiny_models.CONFIGS[name]
    weights = tiny_models.random_weights(config, seed=1)
    exact = float_model.logits(config, weights, TOKENS)
    single = float_model.logits(config, weights, TOKENS, np.float32)
    assert 1 < exact.std() < 2
    assert single.dtype == np.float32
    assert np.abs(single - exact).max() < 1e-4
    assert len(set(exact.argmax(-1))) > 30


@pytest.mark.parametrize("name", NAMES)
def test_a_later_token_changes_nothing_before_it(name: str) -> None:
    config = tiny_models.CONFIGS[name]
    weights = tiny_models.random_weights(config, seed=1)
    before = float_model.logits(config, weights, TOKENS)
    after = float_model.logits(config, weights, [*TOKENS[:-1], (TOKENS[-1] + 1) % 997])
    # Not bit for bit: the matrix products may round differently.
    np.testing.assert_allclose(after[:-1], before[:-1], atol=1e-9)
    assert np.abs(after[-1] - before[-1]).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_window_limits_what_one_layer_sees(name: str) -> None:
    config = tiny_models.CONFIGS[name] | {"num_hidden_layers": 1}
    config |= {"layer_types": config["layer_types"][:1]} if "layer_types" in config else {}
    weights = tiny_models.random_weights(config, seed=1)
    first = float_model.logits(config, weights, TOKENS)
    other = float_model.logits(config, weights, [(TOKENS[0] + 1) % 997, *TOKENS[1:]])
    reach = np.flatnonzero(np.abs(first - other).max(-1) > 1e-9).max()
    limited = float_model.windows(config)[0] > 0
    assert reach == (tiny_models.WINDOW - 1 if limited else len(TOKENS) - 1)
