"""Operands that reveal: patterns at every boundary that a rule of the vector unit speaks of.

Everything is FP32 patterns as int64 arrays unless a format is named; random choices are seeded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.oracle.parts import Ints, Parts, ints, pack, unpack
from emulator.conformance.oracle.soft import integer_root
from isa.formats import Format

FP32 = Format.FP32
SIGN = 0x80000000

#: Zeros, subnormals, normals at their ends, ones with neighbours, infinities, NaNs of all kinds.
SPECIALS = ints(
    [
        0, SIGN, 1, SIGN | 1, 2, 0x00400000, 0x007FFFFF, SIGN | 0x007FFFFF, 0x00800000,
        SIGN | 0x00800000, 0x00800001, 0x1FB504F3, 0x33800000, 0x34000000, 0x3EAAAAAB, 0x3F000000,
        0x3F7FFFFF, 0x3F800000, SIGN | 0x3F800000, 0x3F800001, 0x40000000, SIGN | 0x40400000,
        0x4B000001, 0x4B800000, 0x5F7FFFFF, 0x7F000000, 0x7F7FFFFF, SIGN | 0x7F7FFFFF,
        0x7F800000, SIGN | 0x7F800000, 0x7FC00000, SIGN | 0x7FC00000, 0x7F800001, 0x7FFFFFFF,
        SIGN | 0x7FA5A5A5, 0x7FC12345,
    ]
)  # fmt: skip


def rng(name: str) -> Any:
    """A generator of random numbers that depends on a name alone."""
    return np.random.default_rng(list(name.encode()))


def codes(fmt: Format) -> Ints:
    """Every code of a format of up to 16 bits."""
    bits = FACTS[fmt].bits if fmt in FACTS else 8
    return np.arange(1 << bits, dtype=np.int64)


def both_signs(patterns: Any) -> Ints:
    """Patterns, then the same with the sign bit set."""
    patterns = ints(patterns)
    return np.concatenate((patterns, patterns | SIGN))


def special_pairs() -> tuple[Ints, Ints]:
    """Every special pattern with every other."""
    a, b = np.meshgrid(SPECIALS, SPECIALS, indexing="ij")
    return a.reshape(-1), b.reshape(-1)


def stratified(name: str, each: int = 8) -> Ints:
    """Every exponent field: the first, the last and some random fractions, both signs."""
    fields = np.arange(256, dtype=np.int64)[:, None] << 23
    fractions = rng(name).integers(0, 1 << 23, (256, each))
    fractions[:, :4] = (0, 1, 0x7FFFFF, 0x400000)
    return both_signs((fields | fractions).reshape(-1))


def random_pairs(name: str, count: int = 3000, near: int = 30) -> tuple[Ints, Ints]:
    """Random patterns of any exponent, half of them with exponents not far apart."""
    r = rng(name)
    a, b = r.integers(0, 1 << 32, count), r.integers(0, 1 << 32, count)
    field = (a >> 23 & 255) + r.integers(-near, near + 1, count)
    close = b & 0x807FFFFF | np.clip(field, 0, 254) << 23
    return a, np.where(np.arange(count) % 2 == 0, b, close)


def boundaries(fmt: Format) -> Ints:
    """For each two neighbouring codes of one sign: FP32's last of the lower, first of the upper.

    The middle between two neighbours is an FP32 number (FP32 has more bits at both ends), and
    goes to the even code; [steps, 2], positive patterns. The last step is the one to overflow.
    """
    code = np.arange(FACTS[fmt].largest + 1, dtype=np.int64)
    x = unpack(fmt, code)
    middle = pack(FP32, replace(x, mantissa=2 * x.mantissa + 1, exponent=x.exponent - 1))
    first = middle + (code % 2 == 0)
    return np.stack((first - 1, first), axis=1)


def defining(fmt: Format) -> Ints:
    """Both sides of every step of FP32 -> a narrow format, both signs, and what is no step."""
    steps = boundaries(fmt).reshape(-1)
    return np.concatenate((both_signs(steps), both_signs(steps + 1), oddities()))


def oddities() -> Ints:
    """NaNs of all kinds, infinities, zeros, subnormals."""
    payloads = 0x7F800000 + ints([1, 2, 0x1000, 0x2000, 0x3FFFFF, 0x400000, 0x7FE000, 0x7FFFFF])
    subnormal = 1 << np.arange(23, dtype=np.int64)
    rest = ints([0, 0x7F800000, 0x7F7FFFFF, 0x00800000])
    return both_signs(np.concatenate((payloads, subnormal, subnormal - 1, rest)))


def to_integer() -> Ints:
    """FP32 -> I32: ties and their neighbours at every exponent, and the ends of the range."""
    r, out = rng("to_integer"), [oddities(), both_signs([0x4EFFFFFF, 0x4F000000, 0x4F000001])]
    for bits in range(34):
        out.append(both_signs((126 + bits) << 23 | r.integers(0, 1 << 23, 32)))
        if bits < 23:
            halves = (r.integers(1 << bits >> 1, 1 << bits, 32) + 0.5).astype(np.float32)
            tie = halves.view(np.uint32).astype(np.int64)
            out.append(both_signs(np.concatenate((tie - 1, tie, tie + 1))))
    return np.unique(np.concatenate(out))


def numbers(mantissa: Any, exponent: Any) -> Ints:
    """Patterns of mantissa * 2^exponent."""
    m, e = np.broadcast_arrays(ints(mantissa), ints(exponent))
    nowhere = np.zeros(m.shape, np.bool_)
    return pack(FP32, Parts(nowhere, m.copy(), e.copy(), nowhere, nowhere))


def _signs(name: str, patterns: Ints) -> Ints:
    """Some of them negative."""
    return np.asarray(patterns | rng(name).integers(0, 2, len(patterns)) << 31)


def sum_ties() -> tuple[Ints, Ints]:
    """The smaller operand is half a unit of the larger, or next to that; also at the largest."""
    r = rng("sum_ties")
    e = np.concatenate((r.integers(64, 190, 512), np.full(6, 254)))
    a = e << 23 | r.integers(0, 1 << 23, len(e))
    a[-6:] |= 0x7FFFFF
    b = (e - 24 << 23) + np.arange(len(e)) % 3 - 1
    b = _signs("sum_ties", b)
    b[-6:] &= 0x7FFFFFFF
    return a, b


def product_ties() -> tuple[Ints, Ints]:
    """12 by 13 odd bits make 25: halfway. So is odd * 2^-150. And one next to overflow."""
    r = rng("product_ties")
    x, y = r.integers(1 << 11, 1 << 12, 512) | 1, r.integers(5800, 1 << 13, 512) | 1
    e = r.integers(-60, 60, 512)
    bits = r.integers(1, 12, 512)
    u, v = r.integers(0, 1 << bits) | 1, r.integers(0, 1 << 23 - bits) | 1
    a = np.concatenate((numbers(x, e), numbers(u, -75 + e % 20), numbers([18631, 18631], 50)))
    b = np.concatenate((numbers(y, e - 7), numbers(v, -75 - e % 20), numbers([1801, 1801], 53)))
    b[::5] += 1
    b[2::5] -= 1
    return a, _signs("product", b)


def small_quotients() -> tuple[Ints, Ints]:
    """Quotients among the subnormals, many of them halfway: the divisor is a power of two."""
    r = rng("small_quotients")
    a, power = r.integers(0, 1 << r.integers(1, 25, 900)) | 1, r.integers(1, 100, 900)
    b = numbers(np.ones(900, np.int64), power)
    b[::4] += r.integers(0, 3, len(b[::4]))
    return numbers(a, power - 150), _signs("quotients", b)


def hard_quotients() -> tuple[Ints, Ints]:
    """Quotients as near to halfway as they come.

    With (2M + 1) * b = r modulo 2^25, r small, a = ((2M + 1) * b - r) / 2^25 gives a / b next to
    the middle (2M + 1) / 2^25.
    """
    r = rng("hard_quotients")
    b = r.integers(1 << 23, 1 << 24, 1500) | 1
    rest = 2 * r.integers(-4, 4, 1500) + 1
    inverse = np.ones_like(b)
    for _ in range(5):  # Newton: the number of right bits doubles
        inverse = inverse * (2 - b * inverse) & 0x1FFFFFF
    middle = rest * inverse & 0x1FFFFFF
    a = middle * b - rest >> 25
    full = middle >= 1 << 24
    scale = r.integers(-60, 60, 1500)
    return numbers(a, scale)[full], numbers(b, scale - 10)[full]


def cancelling() -> tuple[Ints, Ints]:
    """Sums that cancel, wholly or to their last bits, also down among the subnormals."""
    r = rng("cancelling")
    a = r.integers(1, 250, 900) << 23 | r.integers(0, 1 << 23, 900)
    a[:300] &= 0x1FFFFFF
    b = np.maximum(a + r.integers(-3, 4, 900) * (1 << r.integers(0, 22, 900)), 0)
    return a, b | SIGN


def small_products() -> tuple[Ints, Ints]:
    """Products among the subnormals and around the smallest of them."""
    r = rng("small_products")
    e, total = r.integers(1, 120, 1500), r.integers(99, 130, 1500)
    a = e << 23 | r.integers(0, 1 << 23, 1500)
    b = np.clip(total - e, 0, 254) << 23 | r.integers(0, 1 << 23, 1500)
    return a, np.where(r.integers(0, 2, 1500) == 1, b, b | SIGN)


def overflowing() -> tuple[Ints, Ints]:
    """Pairs whose products or quotients are around the largest number."""
    r = rng("overflowing")
    e = r.integers(128, 254, 800)
    a = e << 23 | r.integers(0, 1 << 23, 800)
    product = np.clip(254 + 127 - e + r.integers(-1, 1, 800), 0, 254)
    quotient = np.clip(e - 127 + r.integers(-1, 2, 800), 0, 254)
    b = np.where(np.arange(800) % 2 == 0, product, quotient) << 23 | r.integers(0, 1 << 23, 800)
    return a, np.where(r.integers(0, 2, 800) == 1, b, b | SIGN)


def _nearest(distance: Ints, count: int) -> Ints:
    """Where the smallest distances are."""
    return np.argsort(distance, kind="stable")[:count]


def hard_roots() -> Ints:
    """Exact squares with neighbours, and roots next to the middle of two numbers: by search."""
    r = rng("hard_roots")
    exact = numbers(r.integers(1 << 11, 1 << 12, 400) ** 2, 2 * r.integers(-60, 50, 400))
    m = r.integers(1 << 23, 1 << 24, 1 << 18)
    odd = r.integers(0, 2, len(m))
    square = m << 25 + odd
    root = integer_root(square)  # 25 bits
    middle = root | 1  # the one middle among root and root + 1
    best = _nearest(np.abs(square - middle * middle), 800)
    hard = numbers(m[best], 2 * r.integers(-60, 50, 800) + 25 + odd[best])
    return np.concatenate((exact, exact + 1, exact - 1, hard))


def hard_reciprocals() -> Ints:
    """Divisors whose reciprocals lie next to a middle, powers of two, the ends of the range."""
    r = rng("hard_reciprocals")
    m = r.integers(1 << 23, 1 << 24, 1 << 18)
    middle = (1 << 48) // m | 1  # of 25 bits
    best = m[_nearest(np.abs((1 << 48) - middle * m), 1000)]
    hard = best & 0x7FFFFF | r.integers(1, 254, 1000) << 23
    power = np.arange(0, 255, dtype=np.int64) << 23
    ends = 0x00200000 + np.arange(-40, 40)  # 2^-128: whether the result overflows
    huge = 0x7E800000 + np.arange(-40, 400) * 0xA7C5  # results among the subnormals
    return both_signs(np.concatenate((hard, power, power + 1, ends, huge)))
