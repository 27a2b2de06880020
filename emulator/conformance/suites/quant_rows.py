"""vquantr: one power-of-two scale for a whole row; and where operands of both lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import quantise
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import Ints, generator, integers, maker
from emulator.conformance.suites.quant_blocks import mixed_blocks, special_places, threshold_rows
from emulator.conformance.suites.quant_common import (
    INF,
    MINUS_ZERO,
    MX32,
    NAN,
    NV16,
    F,
    mode,
    modifier,
    to_mx,
    to_rows,
)
from isa.descriptor import Descriptor, Space
from isa.formats import Format

_ROW_FORMATS = (F.E4M3FN, F.E5M2)


def makers() -> Iterator[Maker]:
    """All cases of vquantr, and the layouts of vquant."""
    for fmt in _ROW_FORMATS:
        yield from _of_format(fmt, fmt.name.lower())
    yield maker(
        "quant/vquantr/zeros",
        "rows of +0 and -0: scale 0, elements keep their signs",
        ("mx-zero", "rows"),
        _zeros,
    )
    yield maker(
        "quant/vquantr/strides",
        "sources, elements and scales with gaps, transposed, and sources with stride 0",
        ("quant-strides", "rows"),
        _row_strides,
    )
    yield maker(
        "quant/vquant/mx-strides",
        "sources, elements and scales with gaps, transposed, and sources with stride 0",
        ("quant-strides", "mx-blocks"),
        _mx_strides,
    )
    yield maker(
        "quant/vquant/e2m1-neighbours",
        "rows of an odd number of 4-bit elements with gaps: the half bytes beside them stay",
        ("quant-strides", "mx-blocks", "nv-blocks"),
        _neighbours,
    )


def _of_format(fmt: Format, name: str) -> Iterator[Maker]:
    for floor in (False, True):
        rule = "mx-floor" if floor else "mx-round-up"
        yield maker(
            f"quant/vquantr/thresholds-{name}-{mode(floor)}",
            "every exponent of amax with fractions at and around those where the code changes",
            ("rows", "mx-amax", "mx-code", "mx-clamp", rule),
            partial(_thresholds, fmt, floor),
        )
        yield maker(
            f"quant/vquantr/lengths-{name}-{mode(floor)}",
            "rows of 0 to 300 elements: amax may be anywhere, and a row is one block",
            ("rows", "rows-empty", rule, "mx-element"),
            partial(_lengths, fmt, floor),
        )
    yield maker(
        f"quant/vquantr/special-every-place-{name}",
        "a NaN or an infinity at every place of rows of 70: scale 0xff, +0 in the whole row",
        ("rows", "mx-special"),
        partial(_special, fmt),
    )
    for src in (F.BF16, F.FP16):
        yield maker(
            f"quant/vquantr/from-{src.name.lower()}-{name}",
            "random rows from 16-bit sources, subnormal ones and infinities among them",
            ("rows", "sources", "mx-element"),
            partial(_from, fmt, src),
        )


def _thresholds(fmt: Format, floor: bool, draft: Draft) -> None:
    to_rows(draft, fmt, F.FP32, threshold_rows(), floor)


def _lengths(fmt: Format, floor: bool, draft: Draft) -> None:
    rng = generator(draft)
    for k in (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 300):
        to_rows(draft, fmt, F.FP32, mixed_blocks(rng, 5, k, 7), floor, f"_{k}")
    # A row without elements has amax 0.
    scale = draft.result("scale_0", F.E8M0, (3, 1))
    x, y = (draft.result(name, f, (3, 4)) for name, f in (("x_0", F.FP32), ("y_0", fmt)))
    draft.do(
        f"vquantr{modifier(floor)}",
        dst=replace(y, shape=(3, 0)),
        scale=scale,
        src=replace(x, shape=(3, 0)),
    )
    draft.expect(scale, np.zeros((3, 1), np.int64))


def _special(fmt: Format, draft: Draft) -> None:
    rng = generator(draft)
    for name, code in (("nan", NAN), ("inf", INF), ("minus_inf", INF | MINUS_ZERO)):
        to_rows(draft, fmt, F.FP32, special_places(rng, 70, code), name == "inf", f"_{name}")


def _from(fmt: Format, src: Format, draft: Draft) -> None:
    rng = generator(draft)
    codes = integers(rng, 0, 1 << FACTS[src].bits, (60, 50))
    codes[:50] &= ~np.int64(1 << FACTS[src].bits - 2)  # small numbers, no infinities or NaNs
    codes[50:, 1:] &= 0x8FFF
    for floor in (False, True):
        to_rows(draft, fmt, src, codes, floor, f"_{mode(floor)}")


def _zeros(draft: Draft) -> None:
    codes = integers(generator(draft), 0, 2, (5, 40)) << 31
    codes[0], codes[1] = 0, MINUS_ZERO
    for fmt in _ROW_FORMATS:
        for src in (F.FP32, F.BF16, F.FP16):
            tag = f"_{fmt.name}_{src.name}"
            to_rows(draft, fmt, src, codes >> 32 - FACTS[src].bits, src is F.BF16, tag)


# ---- layouts


def _spread(
    draft: Draft, name: str, fmt: Format, shape: tuple[int, int], strides: tuple[int, int]
) -> Descriptor:
    """A result with these strides, in memory of its own."""
    last = (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + 1
    base = draft.room(-(-last * FACTS[fmt].bits // 8) if fmt is not F.E8M0 else last)
    d = Descriptor(Space.TSRAM, fmt, shape, strides, base)
    draft.view(name, d, result=True)
    return d


_WAYS = {"gaps": (47, 1), "odd": (131, 3), "transposed": (1, 5)}


def _sources(draft: Draft, name: str, k: int) -> tuple[Descriptor, Ints]:
    """A source laid out in one of the ways, or one row for all (stride 0)."""
    rng = generator(draft, name)
    codes = integers(rng, 0, 2, (5, k)) << 31 | integers(rng, 110 << 23, 140 << 23, (5, k))
    if name == "one_row":
        codes[:] = codes[:1]
    strides = (0, 1) if name == "one_row" else _WAYS[name]
    last = 4 * strides[0] + (k - 1) * strides[1] + 1
    d = Descriptor(Space.TSRAM, F.FP32, (5, k), strides, draft.room(4 * last))
    draft.put(d, codes)
    draft.view(f"x_{name}", d, result=False)
    return d, codes


def _row_strides(draft: Draft) -> None:
    for name in (*_WAYS, "one_row"):
        x, codes = _sources(draft, name, 43)
        to_rows(draft, F.E4M3FN, F.FP32, codes, tag=f"_{name}", x=x)
    codes = _sources(draft, "gaps", 43)[1]
    x = draft.tensor("x", F.FP32, codes)
    want = quantise.vquantr(F.E5M2, F.FP32, codes)
    for name, strides in _WAYS.items():
        y = _spread(draft, f"y_{name}", F.E5M2, (5, 43), strides)
        scale = _spread(draft, f"scale_{name}", F.E8M0, (5, 1), (strides[1] + 2, 1))
        draft.do("vquantr", dst=y, scale=scale, src=x)
        draft.expect(y, want.codes)
        draft.expect(scale, want.scales)


def _mx_strides(draft: Draft) -> None:
    for name in (*_WAYS, "one_row"):
        x, codes = _sources(draft, name, 43)
        to_mx(draft, F.E2M1, F.FP32, codes, tag=f"_{name}", x=x)
    codes = _sources(draft, "odd", 43)[1]
    x = draft.tensor("x", F.FP32, codes)
    want = quantise.vquant_mx(F.E4M3FN, F.FP32, codes)
    steps = {"gaps": (5, 1), "odd": (7, 3), "transposed": (1, 5)}
    for name, strides in _WAYS.items():
        y = _spread(draft, f"y_{name}", F.E4M3FN, (5, 43), strides)
        scale = draft.room(64)
        y = replace(y, scale_kind=MX32, scale=scale, scale_strides=steps[name])
        draft.view(f"y_{name}_scales", y, result=True)
        draft.do("vquant", dst=y, src=x)
        draft.expect(y, want.codes, want.scales)


def _neighbours(draft: Draft) -> None:
    rng = generator(draft)
    for k in (1, 7, 33):
        codes = integers(rng, 0, 2, (4, k)) << 31 | integers(rng, 120 << 23, 132 << 23, (4, k))
        x = draft.tensor(f"x_{k}", F.FP32, codes)
        for kind, covers in ((MX32, 32), (NV16, 16)):
            y = _spread(draft, f"y_{k}_{kind.name}", F.E2M1, (4, k), (k + 5, 1))
            blocks = -(-k // covers)
            scale = draft.room(4 * blocks)
            y = replace(y, scale_kind=kind, scale=scale, scale_strides=(blocks, 1))
            draft.do("vquant", dst=y, src=x)
            mx = kind is MX32
            want = (
                quantise.vquant_mx(F.E2M1, F.FP32, codes)
                if mx
                else quantise.vquant_nv(F.FP32, codes)
            )
            draft.expect(y, want.codes, want.scales)
