"""Probes of order: sums whose result tells in which order, and with which roundings, they ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.matrix import COVERS, Operand, block_of
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
    MX32,
    NONE,
    NV16,
    VARIANTS,
    F,
    ones,
    product,
    random_operand,
    variant_name,
)
from isa.formats import Format, ScaleKind

Kinds = tuple[Format, ScaleKind]

#: Formats with a range beyond FP32's 24 bits: a large and a small power of two.
_RANGES = {F.BF16: (22, -2), F.FP16: (15, -10), F.E5M2: (15, -10)}
_TWO_24 = 0x4B800000  #: 2^24 in FP32: adding 1 leaves it, adding 2 does not


def makers() -> Iterator[Maker]:
    """All probes."""
    for fmt in _RANGES:
        yield maker(
            f"mxu/gemm/cancel-every-pair-{fmt.name}".lower(),
            "+X at i and -X at j of a block, small values elsewhere: every i and j",
            ("k-ascending", "fused-step", "block-32"),
            partial(_cancel, fmt),
        )
    yield maker(
        "mxu/gemm/cancel-every-place-e4m3fn",
        "448 * 448 at i, its negative a distance further, small products elsewhere",
        ("k-ascending", "fused-step", "block-32"),
        _cancel_e4m3,
    )
    for a, w in (
        ((F.E2M1, MX32), (F.E2M1, NONE)),
        ((F.E2M1, NV16), (F.E2M1, NV16)),
        ((F.E4M3FN, MX32), (F.E5M2, MX32)),
        ((F.BF16, NONE), (F.FP16, NONE)),
    ):
        yield maker(
            f"mxu/gemm/cancel-blocks-{variant_name(*a)}-{variant_name(*w)}",
            "+X in block i, -X in block j, small sums in the others: every i and j",
            ("acc-ascending", "scale-once"),
            partial(_cancel_blocks, a, w),
        )
    for a in VARIANTS:
        for k in (17, 33, 100) if a[1] is NONE else (100,):
            yield maker(
                f"mxu/gemm/order-k{k}-{variant_name(*a)}",
                "random elements of all magnitudes: another order gives other bits",
                ("k-ascending", "fused-step", "acc-ascending", "short-block"),
                partial(_random, a, k),
            )
    for a, w in _BOUNDARY_PAIRS:
        yield maker(
            f"mxu/gemm/block-boundaries-{variant_name(*a)}-{variant_name(*w)}",
            "over 2^24, two ones in one block make 2 and count, in two blocks they vanish",
            ("block-16" if NV16 in (a[1], w[1]) else "block-32", "s-from-zero", "acc-old",
             "bounds-blocks"),
            partial(_boundaries, a, w),
        )  # fmt: skip
    yield maker(
        "mxu/gemm/short-trees",
        "sums of 2 to 6 products: in pairs, in reverse, in a tree or exactly they come out other",
        ("k-ascending", "fused-step"),
        _short_trees,
    )
    yield maker(
        "mxu/gemm/scale-per-block",
        "scales that would overflow or lose bits on each product, but not on the block's sum",
        ("scale-once", "no-flush"),
        _scale_per_block,
    )
    yield maker(
        "mxu/gemm/scales-opposite",
        "a large scale against a small one, and both large or small: no product comes before t",
        ("scale-once", "no-flush"),
        _scales_opposite,
    )
    yield maker(
        "mxu/gemm/shared-scale",
        "MX32 with NV16: each scale of 32 serves two blocks of 16, the last of them short or alone",
        ("shared-scale", "block-16"),
        _shared_scale,
    )


# ---- cancellation


def _cancel(fmt: Format, draft: Draft) -> None:
    rng, (high, low) = generator(draft), _RANGES[fmt]
    pairs = [(i, j) for i in range(32) for j in range(32) if i != j]
    shape = (len(pairs), 32)
    step = power(fmt, low + 1) - power(fmt, low)
    codes = power(fmt, low) + integers(rng, 0, 3 * step, shape)
    for row, (i, j) in enumerate(pairs):
        codes[row, i], codes[row, j] = power(fmt, high), negative(fmt, power(fmt, high))
    product(draft, Operand(fmt, codes), ones(F.BF16 if fmt is F.BF16 else F.E4M3FN, 2, 32))


def _cancel_e4m3(draft: Draft) -> None:
    rng, fmt = generator(draft), F.E4M3FN
    for distance in (1, 2, 4, 8, 15, 16, 31):
        a, w = (1 + integers(rng, 0, 0x18, (32, 32)) for _ in range(2))
        for i in range(32):
            j = (i + distance) % 32
            a[i, i] = a[i, j] = w[i, i] = 0x7E
            w[i, j] = 0xFE
        product(draft, Operand(fmt, a), Operand(fmt, w), tag=f"_{distance}")


def _cancel_blocks(a: Kinds, w: Kinds, draft: Draft) -> None:
    """One element other than zero in each block of a; scales carry the magnitude, if any do."""
    rng, blocks = generator(draft), 6
    empty = Operand(a[0], np.zeros((1, 1)), a[1]), Operand(w[0], np.zeros((1, 1)), w[1])
    length = block_of(*empty)
    pairs = [(i, j) for i in range(blocks) for j in range(blocks) if i != j]
    codes = np.zeros((len(pairs), blocks * length), np.int64)
    scales = np.zeros((len(pairs), blocks), np.int64)
    small, large = _magnitudes(a)
    for row, (i, j) in enumerate(pairs):
        for b in range(blocks):
            code, scales[row, b] = large if b in (i, j) else small
            sign = negative(a[0], 0) if b == j else 0
            codes[row, b * length + (5 * row + b) % length] = code | sign
    left = Operand(a[0], codes, a[1], None if a[1] is NONE else scales)
    right = random_operand(rng, *w, 3, blocks * length)
    flat = near_one(rng, w[0], (3, 1), 1)
    product(draft, left, replace(right, codes=np.broadcast_to(flat, right.codes.shape)))


def _magnitudes(a: Kinds) -> tuple[tuple[int, int], tuple[int, int]]:
    """(code, scale) of a small element and of a large one."""
    fmt, kind = a
    if kind is MX32:
        return (one(fmt) | 1, 100), (one(fmt), 130)
    if kind is NV16:  # 1.5 * 2^-9 and 6 * 448
        return (3, 0x01), (7, 0x7E)
    return (one(fmt) | 1, 0), (power(fmt, 30), 0)


# ---- random order


def _random(a: Kinds, k: int, draft: Draft) -> None:
    """Against another format of a large range, so that sums of all kinds are rounded."""
    rng = generator(draft)
    span = {F.BF16: 12, F.FP16: 9}.get(a[0])
    left = random_operand(rng, *a, 12, k, span)
    partner = F.FP16 if a[0] is F.BF16 else F.BF16
    product(draft, left, random_operand(rng, partner, NONE, 12, k, 9), tag="_wide")
    product(draft, left, random_operand(rng, F.E5M2, MX32, 12, k, None), tag="_e5m2")
    product(draft, left, random_operand(rng, *a, 12, k, span), tag="_own")


# ---- where blocks begin

_BOUNDARY_PAIRS: tuple[tuple[Kinds, Kinds], ...] = (
    ((F.BF16, NONE), (F.BF16, NONE)),
    ((F.E4M3FN, NONE), (F.E5M2, NONE)),
    ((F.E4M3FN, MX32), (F.E2M1, MX32)),
    ((F.E2M1, NV16), (F.FP16, NONE)),
    ((F.E4M3FN, MX32), (F.E2M1, NV16)),
    ((F.E2M1, NV16), (F.E2M1, NV16)),
)


def _boundaries(a: Kinds, w: Kinds, draft: Draft) -> None:
    """Row k has ones at k and k + 1 (then at k and k + 7), after an accumulator of 2^24."""
    k = 67
    right = _unit_operand(w, np.full((1, k), one(w[0])))
    for distance in (1, 7):
        codes = np.zeros((k - distance, k), np.int64)
        for row in range(len(codes)):
            codes[row, row] = codes[row, row + distance] = one(a[0])
        left, old = _unit_operand(a, codes), np.full((len(codes), 1), _TWO_24)
        product(draft, left, right, tag=f"_{distance}", old=old)
        bounds = [(row, row + distance + 1) for row in range(len(codes))]
        product(draft, left, right, tag=f"_{distance}_bounds", old=old, bounds=bounds)


def _unit_operand(kinds: Kinds, codes: Ints) -> Operand:
    """An operand whose scales are 1."""
    fmt, kind = kinds
    if kind is NONE:
        return Operand(fmt, codes)
    blocks = -(-codes.shape[1] // COVERS[kind])
    scales = np.full((len(codes), blocks), 127 if kind is MX32 else one(F.E4M3FN))
    return Operand(fmt, codes, kind, scales)


# ---- small sums by hand


def _short_trees(draft: Draft) -> None:
    """Codes of FP16: with 4096 * 4096 = 2^24, ones count or not by when they are added."""
    big, minus, unit = power(F.FP16, 12), negative(F.FP16, power(F.FP16, 12)), one(F.FP16)
    rows = (
        (big, unit, unit), (unit, unit, big), (unit, big, unit), (unit, big, minus),
        (big, minus, unit), (big, unit, minus), (big, unit, minus, unit),
        (big, unit, unit, minus), (unit, unit, big, minus), (unit, big, unit, minus),
        (unit, big, unit, minus, unit), (big, unit, unit, unit, unit, minus),
        (unit, unit, unit, unit, big, minus), (big, unit, unit, minus, unit, unit),
    )  # fmt: skip
    factor = {big: big, minus: big, unit: unit}
    for index, row in enumerate(rows):
        left = Operand(F.FP16, np.array([row]))
        right = Operand(F.FP16, np.array([[factor[code] for code in row]]))
        product(draft, left, right, tag=f"_{index}")


def _scale_per_block(draft: Draft) -> None:
    """E5M2 sums that cancel to 1 under large scales, and many small terms under small ones."""
    rng, k = generator(draft), 32
    codes = np.zeros((16, k), np.int64)
    for row in range(16):
        codes[row, row], codes[row, row + 9] = 0x78, 0xF8
        codes[row, (row + 20) % k] = 0x3C
    right = Operand(F.E5M2, np.full((2, k), 0x3C), MX32, np.array([[250], [254]]))
    product(draft, Operand(F.E5M2, codes, MX32, np.full((16, 1), 127)), right, tag="_large")
    small = near_one(rng, F.E5M2, (16, k))
    scales = integers(rng, 30, 60, (16, 1))
    right = Operand(F.E4M3FN, near_one(rng, F.E4M3FN, (4, k)), MX32, np.full((4, 1), 60))
    product(draft, Operand(F.E5M2, small, MX32, scales), right, tag="_small")


def _scales_opposite(draft: Draft) -> None:
    """Sums from 2^-32 on and of 24 bits, between scales of 2^-127 and 2^127."""
    rng, codes = generator(draft), np.array([0, 1, 2, 9, 20, 40, 127, 215, 235, 250, 253, 254])
    left, right = (random_operand(rng, F.E5M2, MX32, 12, 5, None) for _ in range(2))
    tiny = replace(left, codes=integers(rng, 1, 8, (12, 5)), scales=codes[:, None])
    for tag, a in (("_any", replace(left, scales=codes[:, None])), ("_tiny", tiny)):
        product(draft, a, replace(right, scales=codes[::-1, None]), tag=tag)
    # scale_a * scale_w alone beyond FP32's range: 2^130 times 2^-32, 2^-160 times 2^31.
    high, low = integers(rng, 192, 203, (12, 1)), integers(rng, 40, 56, (12, 1))
    large = replace(left, codes=integers(rng, 0x68, 0x7C, (12, 5)), scales=low)
    product(draft, replace(tiny, scales=high), replace(tiny, scales=high[::-1]), tag="_above")
    product(draft, large, replace(large, scales=low[::-1]), tag="_below")


def _shared_scale(draft: Draft) -> None:
    rng = generator(draft)
    for k in (15, 16, 17, 32, 33, 48, 49, 64, 80, 90):
        left = random_operand(rng, F.E4M3FN, MX32, 3, k)
        right = random_operand(rng, F.E2M1, NV16, 4, k)
        product(draft, left, right, tag=f"_{k}_mx_nv")
        product(draft, right, left, tag=f"_{k}_nv_mx")
