"""MX scales: vquant to MX32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import Ints, generator, integers, maker
from emulator.conformance.suites.quant_blocks import (
    code_ladder,
    mixed_blocks,
    special_places,
    threshold_rows,
)
from emulator.conformance.suites.quant_common import (
    INF,
    MINUS_ZERO,
    MX32,
    MX_FORMATS,
    NAN,
    F,
    mode,
    to_mx,
)
from isa.formats import Format

_BOTH = (False, True)


def makers() -> Iterator[Maker]:
    """All cases of vquant to MX32."""
    for fmt in MX_FORMATS:
        yield from _of_format(fmt, fmt.name.lower())
    yield maker(
        "quant/vquant/mx-zeros",
        "blocks of +0 and -0: scale 0, elements keep their signs",
        ("mx-zero", "mx-element"),
        _zeros,
    )
    yield maker(
        "quant/vquant/mx-empty",
        "M = 0 and K = 0: nothing is written",
        ("mx-blocks",),
        _empty,
    )


def _of_format(fmt: Format, name: str) -> Iterator[Maker]:
    for floor in _BOTH:
        rule = "mx-floor" if floor else "mx-round-up"
        yield maker(
            f"quant/vquant/mx-thresholds-{name}-{mode(floor)}",
            "every exponent of amax with fractions at and around those where the code changes",
            ("mx-amax", "mx-code", "mx-clamp", rule, "mx-element"),
            partial(_thresholds, fmt, floor),
        )
        yield maker(
            f"quant/vquant/mx-random-{name}-{mode(floor)}",
            "random blocks of all magnitudes, with ties and elements that underflow",
            ("mx-blocks", "mx-short-block", "mx-element", rule, "mx-saturate"),
            partial(_random, fmt, floor),
        )
    for src in (F.BF16, F.FP16):
        yield maker(
            f"quant/vquant/mx-every-{src.name.lower()}-{name}",
            "every finite code of the source, positive or negative, in both scale modes",
            ("sources", "mx-amax", "mx-element", "mx-clamp"),
            partial(_every_code, fmt, src),
        )
    yield maker(
        f"quant/vquant/mx-ties-{name}",
        "every value of the format, the middles between them and their neighbours, under scales",
        ("mx-element", "mx-ties", "mx-saturate"),
        partial(_ties, fmt),
    )
    yield maker(
        f"quant/vquant/mx-special-every-place-{name}",
        "a NaN or an infinity at every place: scale 0xff and +0 in its block, nothing elsewhere",
        ("mx-special", "mx-blocks", "mx-short-block"),
        partial(_special, fmt),
    )
    yield maker(
        f"quant/vquant/mx-every-k-{name}",
        "K from 1 to 67: short last blocks, and odd numbers of 4-bit elements",
        ("mx-short-block", "mx-blocks"),
        partial(_every_k, fmt),
    )
    yield maker(
        f"quant/vquant/mx-subnormal-{name}",
        "subnormal amax and elements, and small normal ones: the code is clamped to 0",
        ("mx-clamp", "mx-element", "mx-no-flush"),
        partial(_subnormal, fmt),
    )


def _thresholds(fmt: Format, floor: bool, draft: Draft) -> None:
    to_mx(draft, fmt, F.FP32, threshold_rows(), floor)


def _random(fmt: Format, floor: bool, draft: Draft) -> None:
    to_mx(draft, fmt, F.FP32, mixed_blocks(generator(draft), 60, 139, 32), floor)


def _every_code(fmt: Format, src: Format, draft: Draft) -> None:
    """In the order of magnitude with some disorder, so that a block has several exponents."""
    rng, facts = generator(draft), FACTS[src]
    codes = np.arange(facts.largest + 1)
    disorder = integers(rng, 0, 5 << facts.mantissa, codes.shape)
    codes = codes[np.argsort(codes + disorder, kind="stable")]
    codes |= integers(rng, 0, 2, codes.shape) << facts.bits - 1
    table = np.append(codes, codes[: -len(codes) % 256]).reshape(-1, 256)
    x = draft.tensor("x", src, table)
    for floor in _BOTH:
        to_mx(draft, fmt, src, table, floor, f"_{mode(floor)}", x)


def _ties(fmt: Format, draft: Draft) -> None:
    """The first element of each block is the format's largest value and so fixes the scale."""
    ladder = code_ladder(fmt)
    rows = np.append(ladder, ladder[: -len(ladder) % 31]).reshape(-1, 31)
    top = (FACTS[fmt].largest >> FACTS[fmt].mantissa) - FACTS[fmt].bias
    fraction = (FACTS[fmt].largest & (1 << FACTS[fmt].mantissa) - 1) << 23 - FACTS[fmt].mantissa
    first = np.full((len(rows), 1), (top + 127) << 23 | fraction)
    values = np.concatenate((first, rows), axis=1)
    for shift in (0, 100, -94):
        normal = values & ~MINUS_ZERO >= 1 << 23
        moved = np.where(normal, values + (shift << 23), values)
        to_mx(draft, fmt, F.FP32, moved, tag=f"_{shift}")
        to_mx(draft, fmt, F.FP32, moved, True, tag=f"_{shift}_floor")


def _special(fmt: Format, draft: Draft) -> None:
    """Row i has a special value at i of 75, so in a whole block or in the last, short one."""
    rng = generator(draft)
    for name, code in (("nan", NAN), ("inf", INF), ("minus_inf", INF | MINUS_ZERO)):
        to_mx(draft, fmt, F.FP32, special_places(rng, 75, code), tag=f"_{name}")
    to_mx(draft, fmt, F.FP32, special_places(rng, 75, 0xFF800001), True, tag="_payload_floor")
    to_mx(draft, fmt, F.BF16, special_places(rng, 75, 0x7F810000) >> 16, tag="_bf16")


def _every_k(fmt: Format, draft: Draft) -> None:
    rng = generator(draft)
    for k in range(1, 68):
        to_mx(draft, fmt, F.FP32, mixed_blocks(rng, 3, k, 32), k % 2 == 0, f"_{k}")


def _subnormal(fmt: Format, draft: Draft) -> None:
    rng = generator(draft)
    sign = integers(rng, 0, 2, (48, 32)) << 31
    top = integers(rng, 0, 27, (48, 1))  # amax has this many bits, as a pattern
    codes: Ints = sign | integers(rng, 0, 1 << 30, (48, 32)) >> (30 - top)
    for floor in _BOTH:
        to_mx(draft, fmt, F.FP32, codes, floor, f"_{mode(floor)}")


def _zeros(draft: Draft) -> None:
    rng = generator(draft)
    codes = np.zeros((6, 70), np.int64)
    codes[1:] = MINUS_ZERO
    codes[2:] = integers(rng, 0, 2, (4, 70)) << 31
    codes[4, 33], codes[5, 69] = 0x3F800000, 1
    for fmt in MX_FORMATS:
        for src in (F.FP32, F.BF16, F.FP16):
            shift = 32 - FACTS[src].bits
            to_mx(draft, fmt, src, codes[:4] >> shift, tag=f"_{fmt.name}_{src.name}")
        to_mx(draft, fmt, F.FP32, codes, True, tag=f"_{fmt.name}_floor")


def _empty(draft: Draft) -> None:
    nothing = np.zeros((0, 40), np.int64)
    to_mx(draft, F.E4M3FN, F.FP32, nothing, tag="_no_rows")
    to_mx(draft, F.E2M1, F.BF16, nothing, True, tag="_no_rows_floor")
    y = draft.result("y_no_k", F.E5M2, (3, 40), MX32)
    x = draft.tensor("x_no_k", F.FP32, np.zeros((3, 40), np.int64))
    draft.do("vquant", dst=replace(y, shape=(3, 0)), src=replace(x, shape=(3, 0)))
