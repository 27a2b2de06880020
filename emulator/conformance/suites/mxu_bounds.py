"""Per-row bounds: which products are executed, and what the others must not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import Operand
from emulator.conformance.suites.material import Ints, generator, maker
from emulator.conformance.suites.mxu_common import (
    MINUS_ZERO,
    MX32,
    NAN_PAYLOAD,
    NONE,
    NV16,
    F,
    bounds_tensor,
    place,
    product,
    random_operand,
    spill,
)
from isa.formats import Format, ScaleKind

Pairs = list[tuple[int, int]]
_NANS = {F.BF16: 0x7FC1, F.E4M3FN: 0x7F, F.E5M2: 0xFF}
#: k0 of an instruction: in the immediate, and in a register where that is too small.
_FIRSTS = (0, 7, -3, 100, -100, (1 << 31) - 3, -(1 << 31), 1 << 31, 1 << 40, -(1 << 40))


def makers() -> Iterator[Maker]:
    """All cases of bounds."""
    rules = ("bounds", "bounds-nan", "bounds-empty-row", "bounds-empty-block", "acc-old")
    yield maker(
        "mxu/gemm/bounds-every-pair",
        "K = 6, every lo and hi from -2 to 8, over accumulators of -0 and of NaN; NaN outside",
        rules,
        _every_pair,
    )
    for first in _FIRSTS:
        yield maker(
            f"mxu/gemm/bounds-k0-{first}".replace("--", "-minus-"),
            "bounds are absolute: every lo and hi around k0, where 32 bits reach",
            ("bounds", "bounds-k0", "bounds-nan", "bounds-empty-row"),
            partial(_around, first),
        )
    for a, w in (
        ((F.E4M3FN, MX32), (F.E5M2, MX32)),
        ((F.BF16, NONE), (F.BF16, NONE)),
        ((F.E4M3FN, MX32), (F.E2M1, NV16)),
    ):
        yield maker(
            f"mxu/gemm/bounds-blocks-{a[0].name}-{w[0].name}".lower(),
            "bounds at and around the edges of blocks: blocks stay where they are",
            ("bounds", "bounds-blocks", "bounds-empty-block", "bounds-nan"),
            partial(_edges, a, w),
        )
    yield maker(
        "mxu/gemm/bounds-causal",
        "a causal mask and a sliding window over unwritten memory (NaN beyond each row's keys)",
        ("bounds", "bounds-k0", "bounds-nan", "bounds-empty-row"),
        _causal,
    )
    yield maker(
        "mxu/gemm/bounds-empty-block-scale",
        "NaN scales and elements of blocks of which a row executes nothing",
        ("bounds-empty-block", "bounds-nan"),
        _dead_scales,
    )
    yield maker(
        "mxu/gemm/bounds-no-plus-zero",
        "a block that is executed adds t, which turns -0 into +0; one that is not, does not",
        ("bounds-empty-block", "signed-zeros"),
        _plus_zero,
    )
    yield maker(
        "mxu/gemm/bounds-strides",
        "bounds in a wider table, transposed, and one pair for all rows (stride 0)",
        ("bounds", "strided-order"),
        _strided,
    )


def poisoned(x: Operand, bounds: Sequence[tuple[int, int]], k0: int = 0) -> Operand:
    """The operand with NaN wherever a row executes nothing."""
    codes = np.array(x.codes)
    for m, (lo, hi) in enumerate(matrix.clip(bounds, k0, len(codes), x.k)):
        codes[m, :lo] = codes[m, max(lo, hi) :] = _NANS[x.fmt]
        if hi <= lo:
            codes[m] = _NANS[x.fmt]
    return replace(x, codes=codes)


def _old(rows: int, columns: int) -> Ints:
    notable = [MINUS_ZERO, NAN_PAYLOAD, 0x3F800001, 0x7F800000, 0]
    return np.resize(np.array(notable, np.int64), (rows, columns))


def _every_pair(draft: Draft) -> None:
    rng, k = generator(draft), 6
    bounds = [(lo, hi) for lo in range(-2, k + 3) for hi in range(-2, k + 3)]
    left = poisoned(random_operand(rng, F.BF16, NONE, len(bounds), k), bounds)
    right = random_operand(rng, F.BF16, NONE, 5, k)
    product(draft, left, right, tag="_new", bounds=bounds)
    product(draft, left, right, tag="_acc", bounds=bounds, old=_old(len(bounds), 5))


def _around(first: int, draft: Draft) -> None:
    """Bounds are 32-bit; those that cannot lie near k0 are at the ends."""
    rng, k = generator(draft), 5
    ends = [first + i for i in range(-2, k + 3)] + [-(1 << 31), (1 << 31) - 1, 0]
    ends = sorted({end for end in ends if -(1 << 31) <= end < 1 << 31})
    bounds = [(lo, hi) for lo in ends for hi in ends]
    left = poisoned(random_operand(rng, F.E4M3FN, NONE, len(bounds), k), bounds, first)
    right = random_operand(rng, F.E5M2, NONE, 3, k)
    product(draft, left, right, bounds=bounds, k0=first, old=_old(len(bounds), 3))


def _edges(a: tuple[Format, ScaleKind], w: tuple[Format, ScaleKind], draft: Draft) -> None:
    rng, k = generator(draft), 75
    ends = (0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 74, 75)
    bounds = [(lo, hi) for lo in ends for hi in ends if lo < hi]
    left = poisoned(random_operand(rng, *a, len(bounds), k), bounds)
    product(draft, left, random_operand(rng, *w, 3, k), bounds=bounds, old=_old(len(bounds), 3))


def _causal(draft: Draft) -> None:
    rng, rows, first = generator(draft), 40, 64
    for tag, window in (("_causal", 1000), ("_window", 20)):
        bounds: Pairs = [(max(0, 50 + m - window), 50 + m) for m in range(rows)]
        left = poisoned(random_operand(rng, F.BF16, NONE, rows, 40), bounds, first)
        right = random_operand(rng, F.BF16, NONE, 8, 40)
        product(draft, left, right, tag=tag, bounds=bounds, k0=first, old=_old(rows, 8))


def _dead_scales(draft: Draft) -> None:
    """Each row executes one block of three, whose scales alone are numbers."""
    rng, k = generator(draft), 96
    bounds: Pairs = [(32 * b + 3, 32 * b + 30) for b in (0, 1, 2)]
    left = poisoned(random_operand(rng, F.E4M3FN, MX32, 3, k), bounds)
    left = replace(left, scales=np.where(np.eye(3, dtype=bool), left.scales, 0xFF))
    right = random_operand(rng, F.E5M2, MX32, 4, k)
    product(draft, left, right, tag="_a", bounds=bounds, old=_old(3, 4))
    # And the scales and elements of w, in blocks that no row executes.
    codes, scales = np.array(right.codes), np.array(right.scales)
    codes[:, 32:64], scales[:, 1] = 0x7F, 0xFF
    bounds = [(0, 32), (64, 96), (70, 80)]
    left = random_operand(rng, F.E4M3FN, MX32, 3, k)
    for row, (lo, hi) in enumerate(bounds):
        one = Operand(F.E4M3FN, left.codes[row : row + 1], MX32, left.scales[row : row + 1])
        right_row = replace(right, codes=codes, scales=scales)
        product(draft, one, right_row, tag=f"_w{row}", bounds=[(lo, hi)], old=_old(1, 4))


def _plus_zero(draft: Draft) -> None:
    """Products that are all zeros, over -0."""
    zeros = Operand(F.BF16, np.resize([0, 0x8000], (6, 40)))
    bounds: Pairs = [(0, 40), (0, 0), (39, 40), (32, 33), (40, 41), (5, 4)]
    right = Operand(F.BF16, np.full((2, 40), 0x3F80))
    old = np.full((6, 2), MINUS_ZERO)
    product(draft, zeros, right, bounds=bounds, old=old)


def _strided(draft: Draft) -> None:
    rng, rows, k = generator(draft), 6, 20
    left, right = (random_operand(rng, F.BF16, NONE, n, k) for n in (rows, 3))
    here, there = place(draft, "a", left), place(draft, "w", right)
    bounds: Pairs = [(m, 20 - 2 * m) for m in range(rows)]
    table = np.array([(lo, 77, hi) for lo, hi in bounds], np.int64)
    wide = draft.tensor("wide", F.I32, table & 0xFFFFFFFF)
    tall = draft.tensor("tall", F.I32, np.array(bounds).T)
    single = bounds_tensor(draft, "single", [(3, 9)])
    ways = {
        "_wide": (replace(wide, shape=(rows, 2), strides=(3, 2)), bounds),
        "_transposed": (replace(tall, shape=(rows, 2), strides=(1, rows)), bounds),
        "_broadcast": (replace(single, shape=(rows, 2), strides=(0, 1)), [(3, 9)] * rows),
        "_same": (replace(single, shape=(rows, 2), strides=(0, 0)), [(3, 3)] * rows),
    }
    for name, (d, pairs) in ways.items():
        draft.do("gemm", acc=draft.acc((rows, 3)), a=here, w=there, bounds=d)
        spill(draft, f"y{name}", matrix.gemm(left, right, pairs))
