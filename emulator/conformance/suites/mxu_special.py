"""NaNs, infinities, zeros, subnormals, and what lies beyond FP32's range."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.matrix import Operand
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import (
    Ints,
    generator,
    integers,
    maker,
    near_one,
    negative,
    one,
    power,
)
from emulator.conformance.suites.mxu_common import (
    MINUS_ZERO,
    MX32,
    NAN_PAYLOAD,
    NV16,
    F,
    ones,
    product,
    random_operand,
)
from isa.formats import Format

_K = 35
#: Accumulators that a sum may start with.
_OLD = (
    0, MINUS_ZERO, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x3F800000, 0xBF800001, 0x7F7FFFFF,
    0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, NAN_PAYLOAD, 0x7F800001, 0x4B800000,
)  # fmt: skip


def makers() -> Iterator[Maker]:
    """All of them."""
    for fmt in (F.BF16, F.FP16, F.E5M2, F.E4M3FN):
        yield maker(
            f"mxu/gemm/special-every-place-{fmt.name}".lower(),
            "a NaN, an infinity, two infinities and infinity times zero at every k",
            ("nan-canonical", "infinities"),
            partial(_every_place, fmt),
        )
    yield maker(
        "mxu/gemm/special-accumulators",
        "`.acc` over zeros, subnormals, infinities and NaNs, with terms of all kinds",
        ("acc-old", "nan-canonical", "infinities", "signed-zeros", "no-flush", "overflow"),
        _accumulators,
    )
    yield maker(
        "mxu/gemm/special-zero-scale",
        "an NV16 scale of 0: s < 0 gives -0, an infinite s gives NaN; over -0",
        ("scale-inf-zero", "scale-nv16", "signed-zeros"),
        _zero_scales,
    )
    yield maker(
        "mxu/gemm/special-minus-zero",
        "-0 as s, as t and as accumulator, by underflow and by products of zeros",
        ("signed-zeros", "fused-range", "s-from-zero"),
        _minus_zeros,
    )
    yield maker(
        "mxu/gemm/scale-zero-sum",
        "s = 0 under the largest and the smallest scales is +0, never a NaN",
        ("scale-zero-sum", "scale-once"),
        _zero_sums,
    )
    yield from _range_makers()
    yield from _subnormal_makers()


def _every_place(fmt: Format, draft: Draft) -> None:
    """Row k of each group has its special value at k."""
    rng, facts = generator(draft), FACTS[fmt]
    values = near_one(rng, fmt, (_K, _K), 3)
    groups: dict[str, tuple[int, int | None]] = {
        "nan": (facts.nans[0], None),
        "minus_nan": (negative(fmt, facts.nans[-1]), None),
    }
    if facts.inf is not None:
        minus = negative(fmt, facts.inf)
        groups |= {"inf": (facts.inf, None), "minus": (minus, None), "both": (facts.inf, minus),
                   "twice": (minus, minus)}  # fmt: skip
    right = near_one(rng, fmt, (3, _K), 3)
    right[1] &= (1 << facts.bits - 1) - 1
    right[2, ::2] = 0
    diagonal = np.arange(_K)
    for name, (first, second) in groups.items():
        codes = values.copy()
        codes[diagonal, diagonal] = first
        if second is not None:
            codes[diagonal, (diagonal * 7 + 3) % _K] = second
            codes[diagonal, diagonal] = first
        product(draft, Operand(fmt, codes), Operand(fmt, right), tag=f"_{name}")
    product(draft, Operand(fmt, right), Operand(fmt, codes), tag="_in_w")


def _accumulators(draft: Draft) -> None:
    """Every old value plus every t: t comes from BF16 alone or under scales."""
    terms = (0, 0x8000, 1, 0x8001, 0x80, 0x8080, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80,
             0x7FC0, 0x7F81, 0x7300, 0xF300)  # fmt: skip
    old = np.repeat(np.array(_OLD)[:, None], len(terms), axis=1)
    left = Operand(F.BF16, np.full((len(_OLD), 1), 0x3F80))
    right = Operand(F.BF16, np.array(terms)[:, None])
    product(draft, left, right, tag="_bf16", old=old)
    # -448 and 2^-9 under every 15th scale of E8M0: t overflows, underflows, and is -0.
    for code in (0xFE, 0x01, 0x81, 0x00, 0x80):
        left = Operand(F.E4M3FN, np.full((len(_OLD), 1), 0x38), MX32, np.full((len(_OLD), 1), 127))
        scales = np.append(np.arange(0, 256, 17), 254)[:, None]
        right = Operand(F.E4M3FN, np.full(scales.shape, code), MX32, scales)
        wide = np.repeat(np.array(_OLD)[:, None], len(scales), axis=1)
        product(draft, left, right, tag=f"_{code:02x}", old=wide)


def _zero_scales(draft: Draft) -> None:
    values = np.array([0x3C, 0xBC, 0x7C, 0xFC, 0x7F, 0x00, 0x80, 0x7B])[:, None]
    left = Operand(F.E5M2, values)
    scales = np.array([0x00, 0x80, 0x38, 0x7F])[:, None]
    right = Operand(F.E2M1, np.full((4, 1), 2), NV16, scales)
    for tag, old in (("_over_minus_zero", MINUS_ZERO), ("_over_one", 0x3F800000)):
        product(draft, left, right, tag=tag, old=np.full((8, 4), old))
    product(draft, left, right, tag="_new")


def _minus_zeros(draft: Draft) -> None:
    """2^-100 times -2^-100 is -0 once rounded; only -0 + -0 stays -0."""
    tiny, unit = power(F.BF16, -100), one(F.BF16)
    minus = negative(F.BF16, tiny)
    rows = (
        (minus,), (tiny,), (minus, minus), (minus, 0), (minus, 0x8000), (0x8000, 0x8000),
        (0x8000, minus), (tiny, minus), (minus, tiny), (negative(F.BF16, unit), unit),
        (minus, 0x8000, 0), (minus, 0x8000, 0x8000),
    )  # fmt: skip
    for index, row in enumerate(rows):
        left = Operand(F.BF16, np.array([row] * 3))
        right = Operand(F.BF16, np.array([[tiny] * len(row), [unit] * len(row)]))
        old = np.repeat(np.array([0, MINUS_ZERO, 1])[:, None], 2, axis=1)
        product(draft, left, right, tag=f"_{index}", old=old)


def _zero_sums(draft: Draft) -> None:
    """+0 from zeros, from x - x and from -0; beside them 1, so that scales are seen to act."""
    rows = np.array([[0, 0], [0x38, 0xB8], [0x80, 0x80], [0x38, 0], [0x80, 0], [0xB8, 0]])
    scales = np.array([0, 1, 127, 253, 254, 255])
    for name, code in (("largest", 254), ("smallest", 0), ("nan", 255), ("one", 127)):
        left = Operand(F.E4M3FN, rows, MX32, np.full((6, 1), code))
        right = Operand(F.E4M3FN, np.full((6, 2), 0x38), MX32, scales[:, None])
        product(draft, left, right, tag=f"_{name}")
        product(draft, left, right, tag=f"_{name}_acc", old=np.full((6, 6), MINUS_ZERO))


# ---- beyond FP32's range


def _range_makers() -> Iterator[Maker]:
    yield maker(
        "mxu/gemm/fused-products-beyond-range",
        "BF16 products above FP32's largest value, and below its smallest, that s takes in exactly",
        ("fused-range", "fused-step", "overflow"),
        _fused,
    )
    for w in (F.BF16, F.FP16, F.E5M2):
        yield maker(
            f"mxu/gemm/fused-subnormal-sums-bf16-{w.name}".lower(),
            "sums of many products near and below the smallest subnormal",
            ("fused-range", "fused-step", "no-flush", "signed-zeros"),
            partial(_tiny_sums, w),
        )
    yield maker(
        "mxu/gemm/overflow-of-s",
        "s at the largest value plus a half of its last place, and just below: judged once rounded",
        ("overflow", "fused-step", "infinities"),
        _overflow_of_s,
    )
    yield maker(
        "mxu/gemm/overflow-of-acc",
        "the same for acc + t, and t itself beyond the range",
        ("overflow", "acc-ascending", "infinities"),
        _overflow_of_acc,
    )


def _fused(draft: Draft) -> None:
    """Row: s first, then a product, then what it takes to tell; all as pairs of powers of two."""
    sums: tuple[tuple[tuple[int, int, int], ...], ...] = (
        ((-1, 64, 63), (1, 64, 64)),  # -2^127 + 2^128
        ((1, 64, 63), (-1, 64, 64)),
        ((-1, 127, 0), (1, 127, 1), (-1, 126, 0)),
        ((1, 127, 0), (1, 127, 0), (-1, 127, 1)),  # overflows at the second
        ((-1, 127, 0), (-1, 126, 0), (1, 65, 63), (1, 127, 0)),
        ((1, -100, -49), (1, -100, -50)),  # 2^-149 + 2^-150: a tie, to even
        ((1, -100, -48), (1, -100, -50)),
        ((1, -100, -49), (1, -100, -51)),
        ((1, -100, -49), (-1, -100, -50)),
        ((1, -100, -49), (-1, -100, -51)),
        ((1, -100, -50), (1, -100, -50)),  # each rounds to zero
        ((-1, -100, -50), (-1, -100, -50), (1, -130, -133)),
        ((1, -126, 0), (-1, -126, -24)),
        ((1, -126, 0), (-1, -126, -25)),
        ((1, 0, 0), (1, -133, -133), (-1, 0, 0)),
        ((1, 0, -149 + 133), (1, -133, -20)),
    )
    bf16 = F.BF16
    for index, row in enumerate(sums):
        left = [power(bf16, x) | (0x8000 if sign < 0 else 0) for sign, x, _ in row]
        right = [power(bf16, y) for _, _, y in row]
        product(draft, Operand(bf16, [left]), Operand(bf16, [right]), tag=f"_{index}")


def _tiny_sums(w: Format, draft: Draft) -> None:
    """Products around 2^-149: exponents of a and w that bring them there."""
    rng, shape = generator(draft), (10, 32)
    low, high = (127 - 80, 127 - 70) if w is F.BF16 else (0, 8)
    left, right = (integers(rng, 0, 2, shape) for _ in range(2))
    left = left << 15 | integers(rng, low << 7, high << 7, shape)
    bits, mantissa = FACTS[w].bits, FACTS[w].mantissa
    right = right << bits - 1 | integers(rng, low << mantissa, high << mantissa, shape)
    product(draft, Operand(F.BF16, left), Operand(w, right))


def _overflow_of_s(draft: Draft) -> None:
    """FP32's largest value is the sum of three BF16 products; then more is added."""
    largest = (0x7F7F, 0x7B7F, 0x777F)  # (2^8 - 1) * 2^(120, 112, 104)
    half, near = power(F.BF16, 103), power(F.BF16, 103) - 1
    more: tuple[tuple[int, ...], ...] = (
        (), (half,), (near,), (near, near), (power(F.BF16, 104),), (half, negative(F.BF16, half)),
        (near, negative(F.BF16, 0x7F7F)), (0x7F7F, negative(F.BF16, 0x7F7F)),
        (0x7F7F, 0x7F80), (0x7F7F, 0xFF80),
    )  # fmt: skip
    for index, tail in enumerate(more):
        row = [*largest, *tail]
        codes = np.array([row, [code ^ 0x8000 for code in row]])
        product(draft, Operand(F.BF16, codes), ones(F.BF16, 1, len(row)), tag=f"_{index}")


def _overflow_of_acc(draft: Draft) -> None:
    half, near = 0x73000000, 0x72FFFFFF  # 2^103, and the number below it
    old = np.array([[0x7F7FFFFF, 0xFF7FFFFF, half, near]] * 4)
    terms = np.array([power(F.BF16, 103), power(F.BF16, 103) - 1, 0x7F7F, power(F.BF16, 104)])
    left = Operand(F.BF16, terms[:, None])
    product(draft, left, ones(F.BF16, 4, 1), tag="_plus", old=old)
    left = Operand(F.BF16, terms[:, None] | 0x8000)
    product(draft, left, ones(F.BF16, 4, 1), tag="_minus", old=old)
    rows = np.array([[0x7B, 0x7B], [0x7B, 0xFB], [0xFB, 0xFB], [0x01, 0x3C]])
    blocks = np.zeros((4, 64), np.int64)
    blocks[:, 3], blocks[:, 40] = rows[:, 0], rows[:, 1]
    left = Operand(F.E5M2, blocks, MX32, np.full((4, 2), 127))
    scales = np.array([[238, 238], [239, 239], [239, 238], [254, 254]])
    right = Operand(F.E5M2, np.full((4, 64), 0x3C), MX32, scales)
    product(draft, left, right, tag="_blocks")


# ---- subnormals


def _subnormal_makers() -> Iterator[Maker]:
    yield maker(
        "mxu/gemm/subnormal-operands",
        "subnormal elements of BF16 and FP16 times numbers that make them normal",
        ("no-flush",),
        _subnormal_operands,
    )
    yield maker(
        "mxu/gemm/subnormal-terms",
        "t below FP32's normal range, rounded there, and sums of such terms",
        ("no-flush", "scale-once", "acc-ascending"),
        _subnormal_terms,
    )
    yield maker(
        "mxu/gemm/subnormal-accumulators",
        "subnormal accumulators, and normal ones that become subnormal",
        ("no-flush", "acc-old"),
        _subnormal_accumulators,
    )


def _subnormal_operands(draft: Draft) -> None:
    rng, shape = generator(draft), (12, 9)
    for fmt in (F.BF16, F.FP16):
        facts = FACTS[fmt]
        low = integers(rng, 1, 1 << facts.mantissa, shape)
        low |= integers(rng, 0, 2, shape) << facts.bits - 1
        high = power(fmt, 14) + integers(rng, 0, 1 << facts.mantissa, (5, 9))
        product(draft, Operand(fmt, low), Operand(fmt, high), tag=f"_{fmt.name}_a")
        product(draft, Operand(fmt, high), Operand(fmt, low), tag=f"_{fmt.name}_w")
        product(draft, Operand(fmt, low), Operand(fmt, low), tag=f"_{fmt.name}_both")


def _subnormal_terms(draft: Draft) -> None:
    rng = generator(draft)
    for tag, low, high in (("_near", 40, 60), ("_far", 15, 45), ("_least", 0, 8)):
        left, right = (random_operand(rng, F.E5M2, MX32, 8, 70) for _ in range(2))
        shifted = [
            Operand(x.fmt, x.codes, x.kind, integers(rng, low, high, (8, 3))) for x in (left, right)
        ]
        if tag == "_least":
            shifted[1] = Operand(F.E5M2, right.codes, MX32, integers(rng, 90, 127, (8, 3)))
        product(draft, shifted[0], shifted[1], tag=tag)


def _subnormal_accumulators(draft: Draft) -> None:
    rng, shape = generator(draft), (8, 6)
    terms = integers(rng, 0, 0x100, (8, 1)) | integers(rng, 0, 2, (8, 1)) << 15
    old: Ints = integers(rng, 0, 0x1000000, shape) | integers(rng, 0, 2, shape) << 31
    product(draft, Operand(F.BF16, terms), ones(F.BF16, 6, 1), old=old)
