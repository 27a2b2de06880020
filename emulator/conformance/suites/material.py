"""What the suites mxu and quant are written with: codes to compute on, and cases from functions.

Codes come from `random.Random`, whose bits are the same in every version of Python, seeded with
the case's name: so a kit can be built again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import numpy as np
from numpy.typing import NDArray

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.numbers import FACTS
from isa.chip import Chip
from isa.formats import Format

Ints = NDArray[np.int64]


def maker(name: str, note: str, rules: Iterable[str], body: Callable[[Draft], None]) -> Maker:
    """A case whose operands, instructions and expected results a function writes."""
    covers = [f"rule:{rule}" for rule in rules]

    def make(chip: Chip, name: str) -> Case:
        draft = Draft(chip, name, note)
        body(draft)
        return draft.case(covers)

    return Maker(name, make)


def generator(draft: Draft, more: str = "") -> Random:
    """The random numbers of a case."""
    return Random(f"{draft.name} {more}")


def integers(rng: Random, low: int, high: int, shape: tuple[int, ...]) -> Ints:
    """Uniform integers of [low, high)."""
    count = int(np.prod(shape, dtype=np.int64))
    words = np.frombuffer(rng.randbytes(8 * count), np.uint64) >> np.uint64(16)
    return (low + words % np.uint64(high - low)).astype(np.int64).reshape(shape)


def any_codes(rng: Random, fmt: Format, shape: tuple[int, ...]) -> Ints:
    """Uniform codes, infinities and NaNs among them."""
    return integers(rng, 0, 1 << FACTS[fmt].bits, shape)


def finite_codes(rng: Random, fmt: Format, shape: tuple[int, ...]) -> Ints:
    """Uniform finite codes: every exponent is as likely as another."""
    codes = any_codes(rng, fmt, shape)
    sign = 1 << FACTS[fmt].bits - 1
    special = (codes & sign - 1) > FACTS[fmt].largest
    return np.where(special, codes ^ sign >> 1, codes)


def near_one(rng: Random, fmt: Format, shape: tuple[int, ...], span: int = 6) -> Ints:
    """Codes of both signs with exponents within `span` of 0, where the format has them."""
    facts = FACTS[fmt]
    low, high = max(facts.bias - span, 0), facts.bias + span + 1
    high = min(high, (facts.largest >> facts.mantissa) + 1)
    sign = integers(rng, 0, 2, shape) << facts.bits - 1
    codes = integers(rng, low << facts.mantissa, high << facts.mantissa, shape)
    return sign | np.minimum(codes, facts.largest)


def one(fmt: Format) -> int:
    """The code of 1."""
    return FACTS[fmt].bias << FACTS[fmt].mantissa


def power(fmt: Format, exponent: int) -> int:
    """The code of 2^exponent, also where it is subnormal."""
    facts = FACTS[fmt]
    field = exponent + facts.bias
    if field > 0:
        return field << facts.mantissa
    assert field > -facts.mantissa, exponent
    return 1 << facts.mantissa - 1 + field


def negative(fmt: Format, code: int) -> int:
    """The code with its sign set."""
    return code | 1 << FACTS[fmt].bits - 1
