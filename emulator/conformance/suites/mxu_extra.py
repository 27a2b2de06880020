"""Cases of the matrix unit that the measured strength of the kit asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.matrix import Operand
from emulator.conformance.suites.material import generator, maker
from emulator.conformance.suites.mxu_common import MINUS_ZERO, NONE, F, product, random_operand


def makers() -> Iterator[Maker]:
    """All of them."""
    yield maker(
        "mxu/gemm/bounds-nan-in-w",
        "NaN and infinities in columns of w that no row executes, in blocks that are executed",
        ("bounds", "bounds-nan"),
        _nan_in_w,
    )
    yield maker(
        "mxu/gemm/bounds-minus-zero-sum",
        "a block's sum that underflowed to -0 meets no +0 of products that are not executed",
        ("bounds", "signed-zeros", "fused-range"),
        _minus_zero_sum,
    )


def _nan_in_w(draft: Draft) -> None:
    rng, k = generator(draft), 40
    bounds = [(3, 9), (0, 10), (20, 30), (22, 40)]
    for tag, fmt, codes in (("_bf16", F.BF16, (0x7FC1, 0x7F80)), ("_fp8", F.E5M2, (0x7E, 0xFC))):
        left = random_operand(rng, fmt, NONE, 4, k)
        right = random_operand(rng, fmt, NONE, 3, k)
        unwritten = np.array(right.codes)
        unwritten[:, 10:20:2], unwritten[:, 11:20:2] = codes
        right = replace(right, codes=unwritten)
        product(draft, left, right, tag=tag, bounds=bounds)


def _minus_zero_sum(draft: Draft) -> None:
    """A product of -2^-266 rounds to -0; the accumulator shows the zero's sign."""
    k, tiny = 6, 1
    codes = np.array([[tiny] * k] * 4)
    left = Operand(F.BF16, codes)
    right = Operand(F.BF16, np.array([[0x8000 | tiny] + [tiny] * (k - 1)] * 2))
    old = np.full((4, 2), MINUS_ZERO)
    product(draft, left, right, bounds=[(0, 1), (0, 2), (1, 2), (0, 6)], old=old)
