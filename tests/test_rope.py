"""RoPE: transformers' frequencies, and sines that are correctly rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import float_model
import mpmath
import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import rope
from compiler.config import ModelConfig

#: inv_freq of transformers 5.23 for Llama-3.2-1B's shape, as torch computed it on x86.
# fmt: off
LLAMA_3_2 = [
    0x3F800000, 0x3F29E1C6, 0x3EE177BC, 0x3E959EE3, 0x3E4693B0, 0x3E03C6A0, 0x3DAEE4AD,
    0x3D681E67, 0x3D1A08C8, 0x3CCC6F49, 0x3C87A9C3, 0x3C340D6D, 0x3BEEF74F, 0x3B9E9402,
    0x3B527720, 0x3AA9279B, 0x39E13620, 0x38CB98F7, 0x37A3418D, 0x3758AC81, 0x370FC8F8,
    0x36BED4F4, 0x367D45C3, 0x3628126B, 0x35DF10C4, 0x359406CB, 0x35447610, 0x35025F34,
    0x34AD07A7, 0x3465A54D, 0x341864A7, 0x33CA41B0,
]
# fmt: on


def llama(head_dim: int = 64, **parameters: Any) -> ModelConfig:
    """A Llama of long context with the given RoPE parameters."""
    return ModelConfig.from_dict(
        tiny_models.CONFIGS["mistral"]
        | {"head_dim": head_dim, "max_position_embeddings": 131072}
        | {"rope_parameters": {"rope_theta": 500000.0} | parameters}
    )


LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}


def test_llama3_frequencies_are_transformers_bits() -> None:
    config = llama(**LLAMA3, original_max_position_embeddings=8192)
    bits = rope.inverse_frequencies(config).view(np.uint32)
    assert bits.tolist() == LLAMA_3_2


@pytest.mark.parametrize("name", tiny_models.CONFIGS)
def test_frequencies_agree_with_the_float_model(name: str) -> None:
    raw = tiny_models.CONFIGS[name]
    ours = rope.inverse_frequencies(ModelConfig.from_dict(raw))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, float_model.frequencies(raw), rtol=1.5e-6)


@pytest.mark.parametrize("head_dim", [2, 40, 96, 256])
@pytest.mark.parametrize("theta", [10000.0, 500000.0, 1e6])
def test_default_frequencies_are_correctly_rounded_step_by_step(
    head_dim: int, theta: float
) -> None:
    ours = rope.inverse_frequencies(llama(head_dim, rope_theta=theta))
    for i, value in enumerate(ours):
        exponent = np.float32(2 * i) / np.float32(head_dim)
        with mpmath.workprec(200):
            power = nearest(mpmath.mpf(theta) ** mpmath.mpf(float(exponent)))
        assert value == np.float32(1) / power


def test_linear_scaling_divides() -> None:
    plain = rope.inverse_frequencies(llama())
    scaled = rope.inverse_frequencies(llama(rope_type="linear", factor=3.0))
    np.testing.assert_array_equal(scaled, plain / np.float32(3))


# ---- sines


def nearest(x: Any) -> np.float32:
    """An mpmath number rounded once to fp32."""
    with mpmath.workprec(24):
        return np.float32(float(+x))


def angles(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Angles of all sizes RoPE meets, and multiples of a quarter turn."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0, 1, count) * 10.0 ** rng.integers(-6, 7, count)
    quarters = np.arange(200) * (np.pi / 2)
    return np.concatenate((spread, quarters, [0.0, 1e-30])).astype(np.float32)


def test_sines_are_correctly_rounded() -> None:
    x = angles(4000)
    sines, cosines = rope.sin_fp32(x), rope.cos_fp32(x)
    with mpmath.workprec(200):
        exact_sines = [nearest(mpmath.sin(float(v))) for v in x]
        exact_cosines = [nearest(mpmath.cos(float(v))) for v in x]
    np.testing.assert_array_equal(sines, exact_sines)
    np.testing.assert_array_equal(cosines, exact_cosines)


def test_near_ties_do_not_depend_on_the_hosts_sine(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2^-12 lies where cos is just above the middle of two fp32 numbers.
    x = np.float32(2.0) ** np.arange(-13, -10, dtype=np.float32)
    right = rope.cos_fp32(x)
    assert right[1] == 1.0
    cos = np.cos
    for nudge in (-1000, 1000):
        monkeypatch.setattr(np, "cos", lambda v, n=nudge: (cos(v).view(np.int64) + n).view("f8"))
        np.testing.assert_array_equal(rope.cos_fp32(x), right)


@given(st.fractions(-(10**7), 10**7))
@settings(max_examples=200, deadline=None)
def test_exact_sines(x: Fraction) -> None:
    with mpmath.workprec(260):
        angle = mpmath.mpf(x.numerator) / x.denominator
        for ours, theirs in ((rope.exact_sin(x), mpmath.sin), (rope.exact_cos(x), mpmath.cos)):
            error = mpmath.mpf(ours.numerator) / ours.denominator - theirs(angle)
            assert abs(error) < mpmath.mpf(2) ** -180


@given(st.floats(1e-30, 1e30), st.integers(-(2**10), 2**10))
def test_rounding_to_fp32(x: float, tail: int) -> None:
    value = Fraction(x) + Fraction(tail) * Fraction(x) / 2**80
    with mpmath.workprec(400):
        expected = nearest(mpmath.mpf(value.numerator) / value.denominator)
    assert rope.round_to_fp32(value) == expected


def test_ties_round_to_even() -> None:
    half = Fraction(1, 1 << 24)
    assert rope.round_to_fp32(1 + half) == 1
    assert rope.round_to_fp32(1 + 3 * half) == np.float32(1 + 2.0**-22)
    assert rope.round_to_fp32(-1 - half) == -1
    assert rope.round_to_fp32(Fraction(0)) == 0


# ---- tables


def test_tables_use_fp32_angles() -> None:
    config = llama(**LLAMA3, original_max_position_embeddings=8192)
    positions = np.array([0, 1, 7, 131071])
    cos, sin = rope.rope_tables(config, positions)
    assert cos.shape == sin.shape == (4, 32)
    assert cos.dtype == sin.dtype == np.float32
    assert (cos[0] == 1).all()
    assert (sin[0] == 0).all()
    angle = np.float32(131071) * rope.inverse_frequencies(config)
    np.testing.assert_array_equal(cos[3], np.cos(angle.astype(np.float64)).astype(np.float32))
    np.testing.assert_array_equal(sin[3], np.sin(angle.astype(np.float64)).astype(np.float32))


@pytest.mark.parametrize("name", tiny_models.CONFIGS)
def test_tables_agree_with_the_float_model(name: str) -> None:
    raw = tiny_models.CONFIGS[name]
    cos, sin = rope.rope_tables(ModelConfig.from_dict(raw), np.arange(512))
    for ours, theirs in zip((cos, sin), float_model.rope(raw, 512, np.float64), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
