"""How the next token is drawn: the host's part of sampling.

The chip does the arithmetic (contract, section 3): p = exp2((l - max) * RNE(L/T)) over the top k,
running sums in rank order, the first above RNE(u * total). The host hands in RNE(L/T), one uniform
number u per sequence and step, and k. Greedy is k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from emulator.errors import InputError

L_BITS = 0x3FB8AA3B  # the contract's L: log2(e) in fp32
_L = Fraction(0xB8AA3B, 1 << 23)


class Sampling(Protocol):
    """Gives a wanted row's parameters, as the words (L/T, u, k) of its table entry."""

    def words(self, top_k: int) -> tuple[int, int, int]:
        """Parameters of the next draw; `top_k` is how many candidates the program ranks."""


@dataclass(frozen=True)
class Greedy:
    """The largest logit; ties go to the lowest token."""

    def words(self, top_k: int) -> tuple[int, int, int]:
        """One candidate: nothing to draw."""
        return (L_BITS, 0, 1)


class Seeded:
    """Temperature and top-k, from a generator of its own: other sequences change nothing."""

    def __init__(self, temperature: float, top_k: int, seed: int, stream: int = 0) -> None:
        if not 1e-3 <= temperature <= 1e3:
            raise InputError(f"temperature {temperature} is outside 0.001..1000 (0 is greedy)")
        if top_k < 1:
            raise InputError(f"top-k {top_k}: at least one candidate is needed")
        self.inverse = bits_of_ratio(_L / Fraction(temperature))
        self.top_k = top_k
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream))))

    def words(self, top_k: int) -> tuple[int, int, int]:
        """The next uniform number in [0, 1), as fp32 with 24 random bits."""
        if self.top_k > top_k:
            raise InputError(
                f"top-k {self.top_k} is beyond the {top_k} candidates the program ranks; "
                "compile with more --top-k"
            )
        u = np.float32(self._random.integers(1 << 24) / (1 << 24))
        return (self.inverse, int(u.view(np.int32)), self.top_k)


def sampling(temperature: float, top_k: int, seed: int, stream: int = 0) -> Sampling:
    """Greedy at temperature 0, else seeded."""
    return Greedy() if temperature == 0 else Seeded(temperature, top_k, seed, stream)


def bits_of_ratio(x: Fraction) -> int:
    """The fp32 pattern nearest to a positive rational in the normal range, ties to even."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    if Fraction(2) ** exponent > x:
        exponent -= 1
    mantissa = round(x / Fraction(2) ** (exponent - 23))  # Python rounds ties to even
    if mantissa == 1 << 24:
        mantissa, exponent = 1 << 23, exponent + 1
    return (exponent + 127) << 23 | mantissa - (1 << 23)
