"""Rows and blocks of FP32 codes for the quantise unit."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import numpy as np

from emulator.conformance.oracle.numbers import FACTS, Number, decode, encode
from emulator.conformance.suites.material import Ints, integers
from isa.formats import Format

_FRACTIONS = (0, 1, 0x3FFFFF, 0x400000, 0x400001, 0x5FFFFF, 0x600000, 0x600001, 0x7FFFFF)


def threshold_rows() -> Ints:
    """Rows of 7: an amax of every exponent and notable fraction, and smaller elements."""
    amax = [e << 23 | f for e in range(255) for f in _FRACTIONS][1:]
    rows = np.repeat(np.array(amax, np.int64)[:, None], 7, axis=1)
    below = np.array([3 << 23, 0, 1 << 23, 2 << 23, 1 << 22, 0x123456, 0x700000])
    rows = np.maximum(rows - below, 0)
    return np.asarray(rows ^ np.array([0, 1, 1, 0, 1, 0, 1]) << 31)


def mixed_blocks(rng: Random, rows: int, k: int, length: int, low: int = 1) -> Ints:
    """Finite elements; each block has exponents up to one of its own, from `low` to 254.

    Some have few fraction bits, so that conversions meet ties, and some are far below amax.
    """
    blocks = -(-k // length)
    top = np.repeat(integers(rng, low, 255, (rows, blocks)), length, axis=1)[:, :k]
    depth = integers(rng, 0, 12, (rows, k)) * integers(rng, 0, 2, (rows, k))
    kept = (1 << 23) - (1 << integers(rng, 0, 3, (rows, k)) * 10)
    fraction = integers(rng, 0, 1 << 23, (rows, k)) & kept
    sign = integers(rng, 0, 2, (rows, k)) << 31
    return sign | np.maximum(top - depth, 0) << 23 | fraction


def special_places(rng: Random, k: int, code: int) -> Ints:
    """A row for each place, with this code there; other elements are around 1."""
    values = integers(rng, 0, 2, (k, k)) << 31 | integers(rng, 120 << 23, 130 << 23, (k, k))
    values[np.arange(k), np.arange(k)] = code
    return values


def code_ladder(fmt: Format) -> Ints:
    """FP32 codes of every value of a format, of the middles, and of their neighbours; both signs.

    Up to the largest value: a block cannot have more.
    """
    found: set[int] = set()
    for code in range(FACTS[fmt].largest):
        low, high = (decode(fmt, c).magnitude for c in (code, code + 1))
        for value in (low, (low + high) / 2, high):
            middle = pattern(value)
            found |= {middle, max(middle - 1, 0), middle + 1 if value < high else middle}
    positive = np.array(sorted(found), np.int64)
    return np.stack((positive, positive | 1 << 31), axis=1).reshape(-1)


def pattern(value: Fraction) -> int:
    """The FP32 code nearest to a value."""
    return encode(Format.FP32, Number.of(value))
