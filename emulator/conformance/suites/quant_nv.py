"""NV16 scales: vquant with a tensor scale, and the sticky status bit."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Final

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.numbers import FACTS, decode
from emulator.conformance.suites.material import Ints, generator, integers, maker
from emulator.conformance.suites.quant_blocks import mixed_blocks, pattern, special_places
from emulator.conformance.suites.quant_common import (
    INF,
    MINUS_ZERO,
    NAN,
    SOURCES,
    F,
    to_nv,
)
from isa.formats import Format

_ONE: Final = 0x3F800000
#: Middles between values of E2M1, its values, and beyond the largest.
_POINTS: Final = tuple(Fraction(n, 4) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24))

#: Tensor scales under which no NaN arises from blocks with an element other than zero.
_PLAIN_TS: Final = {
    "absent": None,
    "pattern-0": 0,
    "1": _ONE,
    "2": 0x40000000,
    "3": 0x40400000,
    "tenth": 0x3DCCCCCD,
    "minus-1": 0xBF800000,
    "minus-7": 0xC0E00000,
    "smallest-normal": 0x00800000,
    "largest-subnormal": 0x007FFFFF,
    "largest": 0x7F7FFFFF,
    "infinity": INF,
    "minus-infinity": INF | MINUS_ZERO,
}
#: Tensor scales under which NaNs arise: r is infinite or a NaN, and there are zeros.
_STICKY_TS: Final = {
    "smallest": 1,
    "subnormal": 0x00100000,
    "minus-subnormal": 0x80100000,
    "minus-0": MINUS_ZERO,
    "nan": NAN,
    "nan-payload": 0xFF812345,
}


def makers() -> Iterator[Maker]:
    """All cases of vquant to NV16."""
    common = ("nv-inverse", "nv-scale", "nv-element")
    for name, ts in _PLAIN_TS.items():
        more = ("nv-ts-default",) if ts is None or ts == 0 else ()
        yield maker(
            f"quant/vquant/nv-ts-{name}",
            "random blocks under this tensor scale; the sticky bit stays clear",
            (*common, *more, "sticky-clear"),
            partial(_under, ts),
        )
    for name, ts in _STICKY_TS.items():
        yield maker(
            f"quant/vquant/nv-ts-{name}",
            "blocks with and without zeros under this tensor scale: NaNs become +6, sticky",
            (*common, "nv-nan-element", "sticky-set"),
            partial(_under_with_zeros, ts),
        )
    yield from _scales()
    yield from _elements()
    yield from _stickies()


def _under(ts: int | None, draft: Draft) -> None:
    """Blocks whose magnitude goes with ts, and blocks of any magnitude."""
    rng = generator(draft)
    field = (ts or _ONE) >> 23 & 0xFF
    low, high = max(field - 8, 1), max(min(field + 10, 255), 9)
    near = integers(rng, low << 23, high << 23, (20, 71)) | integers(rng, 0, 2, (20, 71)) << 31
    to_nv(draft, F.FP32, near, ts, "_near")
    # Without zeros, and so without 0 * infinity.
    to_nv(draft, F.FP32, mixed_blocks(rng, 20, 71, 16, low=20), ts, "_any")
    to_nv(draft, F.BF16, mixed_blocks(rng, 10, 35, 16, low=20) >> 16, ts, "_bf16")
    half = integers(rng, 0, 2, (10, 35)) << 15 | integers(rng, 0, 0x7C00, (10, 35))
    to_nv(draft, F.FP16, half, ts, "_fp16")


def _under_with_zeros(ts: int, draft: Draft) -> None:
    rng = generator(draft)
    values = mixed_blocks(rng, 12, 48, 16, low=20)
    values[4:, ::5], values[4:, 3::7] = 0, MINUS_ZERO
    values[8:, 16:32] &= MINUS_ZERO
    to_nv(draft, F.FP32, values, ts)


# ---- the scale


def _scales() -> Iterator[Maker]:
    yield maker(
        "quant/vquant/nv-scale-thresholds",
        "amax at six times every scale, at the middles between them, and beside both",
        ("nv-scale", "nv-division", "nv-scale-saturates", "nv-zero-scale", "sticky-clear"),
        _scale_thresholds,
    )
    yield maker(
        "quant/vquant/nv-amax-every-exponent",
        "amax of every exponent, with ts = 1 and ts = 3 * 2^-40",
        ("nv-scale", "nv-scale-saturates", "nv-zero-scale", "nv-element", "sticky-clear"),
        _every_exponent,
    )
    yield maker(
        "quant/vquant/nv-zero-scale",
        "blocks whose scale rounds to zero: every element is a zero of its own sign, not sticky",
        ("nv-zero-scale", "sticky-clear"),
        _zero_scale,
    )
    yield maker(
        "quant/vquant/nv-negative-scale",
        "a negative tensor scale makes scale codes with a sign, which is ignored when dividing",
        ("nv-scale-sign", "nv-zero-scale", "nv-element", "sticky-clear"),
        _negative_scale,
    )


def _scale_thresholds(draft: Draft) -> None:
    largest, found = FACTS[F.E4M3FN].largest, set[int]()
    for code in range(largest + 1):
        low = decode(F.E4M3FN, code).magnitude
        high = decode(F.E4M3FN, code + 1).magnitude if code < largest else Fraction(480)
        for value in (6 * low, 3 * (low + high)):
            middle = pattern(value)
            found |= {middle, middle + 1, max(middle - 1, 0), max(middle - 2, 0), middle + 2}
    amax = np.array(sorted(found), np.int64)
    to_nv(draft, F.FP32, _with_amax(amax, 6))


def _with_amax(amax: Ints, k: int) -> Ints:
    """A short row for each amax: it, its half and others below, of both signs."""
    rows = np.repeat(amax[:, None], k, axis=1)
    below = np.array([1 << 23, 0, 3 << 22, 2 << 23, 0x2AAAAA, 0x7FFFFF, 0x155555, 5 << 22])[:k]
    rows = np.maximum(rows - below, 0)
    return np.asarray(rows ^ (np.arange(k) % 3 == 1).astype(np.int64) << 31)


def _every_exponent(draft: Draft) -> None:
    fractions = (0, 1, 0x3FFFFF, 0x400000, 0x555555, 0x7FFFFF)
    amax = np.array([e << 23 | f for e in range(255) for f in fractions], np.int64)
    rows = _with_amax(amax, 8)
    x = draft.tensor("x", F.FP32, rows)
    to_nv(draft, F.FP32, rows, None, "_1", x)
    to_nv(draft, F.FP32, rows, 0x2C400000, "_3", x)


def _zero_scale(draft: Draft) -> None:
    rng = generator(draft)
    shape = (8, 40)
    sign = integers(rng, 0, 2, shape) << 31
    to_nv(draft, F.FP32, sign, tag="_zeros")
    to_nv(draft, F.FP32, sign | integers(rng, 0, 1 << 23, shape), tag="_subnormals")
    small = sign | integers(rng, 0x3BBFFF00, 0x3BC00000, shape)  # below 6 * 2^-10
    to_nv(draft, F.FP32, small, tag="_small")
    to_nv(draft, F.FP32, sign | integers(rng, 0x3F800000, 0x40000000, shape), 0x47000000, "_ts")
    to_nv(draft, F.BF16, sign >> 16, tag="_bf16")
    to_nv(draft, F.FP16, sign >> 16, tag="_fp16")


def _negative_scale(draft: Draft) -> None:
    rng, shape = generator(draft), (8, 40)
    values = integers(rng, 0, 2, shape) << 31 | integers(rng, 0x3F000000, 0x42000000, shape)
    values[3, 5], values[4, 6] = 0, MINUS_ZERO
    for tag, ts in (("_minus_1", 0xBF800000), ("_minus_5", 0xC0A00000), ("_zero", 0xFF000000)):
        to_nv(draft, F.FP32, values, ts, tag)


# ---- elements


def _elements() -> Iterator[Maker]:
    for sign, name in ((0, "plus"), (1, "minus")):
        yield maker(
            f"quant/vquant/nv-division-{name}",
            "x / scale at every tie of E2M1 under every scale: a multiplication by the rounded "
            "1 / scale falls to either side",
            ("nv-division", "nv-element", "nv-ties", "sticky-clear"),
            partial(_divisions, sign),
        )
    yield maker(
        "quant/vquant/nv-inverse-of-ts",
        "x * RNE(1 / ts) is not x / ts: elements and amax at ties under many tensor scales",
        ("nv-inverse", "nv-element", "nv-ties", "sticky-clear"),
        _inverses,
    )
    yield maker(
        "quant/vquant/nv-overflow",
        "x * r beyond FP32's range: the scale saturates, infinities become 6, not sticky",
        ("nv-scale-saturates", "nv-element", "nv-overflow", "sticky-clear"),
        _overflow,
    )
    for src in SOURCES:
        yield maker(
            f"quant/vquant/nv-every-k-{src.name}".lower(),
            "K from 1 to 37: short last blocks, and odd numbers of 4-bit elements",
            ("nv-blocks", "sources", "nv-element"),
            partial(_every_k, src),
        )
    yield maker(
        "quant/vquant/nv-ts-register",
        "ts is the low 32 bits of register plus immediate; a sum whose pattern is 0 is 1",
        ("nv-ts-default", "nv-inverse"),
        _register,
    )


def _divisions(sign: int, draft: Draft) -> None:
    """A block for each scale: 6 * scale fixes it, the others are scale times the points."""
    rows = []
    for code in range(1, FACTS[F.E4M3FN].largest + 1):
        scale = decode(F.E4M3FN, code).magnitude
        rows.append([pattern(scale * 6), *(pattern(scale * point) for point in _POINTS)])
    table = np.array(rows, np.int64)
    beside = [np.where(table > 0, table + step, table) for step in (-1, 1)]
    for index, values in enumerate((table, *beside)):
        values[:, 0] = table[:, 0]
        to_nv(draft, F.FP32, values | sign << 31, tag=f"_{index}")


def _inverses(draft: Draft) -> None:
    rng = generator(draft)
    for index in range(20):
        ts = int(integers(rng, 0x3F000000, 0x41000000, (1,))[0]) | (index % 4 == 3) << 31
        factor = decode(F.FP32, ts).magnitude
        rows = []
        for code in (0x30, 0x35, 0x38, 0x3B, 0x3F, 0x4D):
            unit = decode(F.E4M3FN, code).magnitude * factor
            rows.append([pattern(unit * 6), *(pattern(unit * point) for point in _POINTS)])
        to_nv(draft, F.FP32, np.array(rows, np.int64), ts, f"_{index}")


def _overflow(draft: Draft) -> None:
    rng, shape = generator(draft), (8, 48)
    values = integers(rng, 0x70000000, 0x7F800000, shape) | integers(rng, 0, 2, shape) << 31
    values[:, ::3] &= 0xBFFFFFFF
    for tag, ts in (("_tiny", 0x00800000), ("_small", 0x20000000), ("_minus", 0x90000000)):
        to_nv(draft, F.FP32, values, ts, tag)


def _every_k(fmt: Format, draft: Draft) -> None:
    rng = generator(draft)
    for k in range(1, 38):
        if fmt is F.FP16:
            values = integers(rng, 0, 2, (3, k)) << 15 | integers(rng, 0, 0x7C00, (3, k))
        else:
            values = integers(rng, 0, 2, (3, k)) << 31 | integers(rng, 110 << 23, 135 << 23, (3, k))
            values >>= 32 - FACTS[fmt].bits
        to_nv(draft, fmt, values, 0x3F99999A, f"_{k}")


def _register(draft: Draft) -> None:
    rng, shape = generator(draft), (2, 32)
    values = integers(rng, 0, 2, shape) << 31 | integers(rng, 0x3E000000, 0x41000000, shape)
    registers = (
        (0x40400000, 0), (0x12345678_40400000, 0), (0x40000000, 0x00400000),
        (0x1_00000000, 0), (0xC0000000, 0x40000000), (0x40400001, 0xFFFFFFFF),
    )  # fmt: skip
    for index, (register, more) in enumerate(registers):
        to_nv(draft, F.FP32, values, more, f"_{index}", register=register)


# ---- the sticky bit


def _stickies() -> Iterator[Maker]:
    for name, code in (("nan", NAN), ("payload", 0xFF800001), ("inf", INF)):
        yield maker(
            f"quant/vquant/nv-{name}-every-place",
            "at every place of a block: scale 0x7f and +0 in its block, nothing elsewhere; sticky",
            ("nv-special", "sticky-set", "nv-blocks"),
            partial(_special, code),
        )
    for src in (F.BF16, F.FP16):
        yield maker(
            f"quant/vquant/nv-special-{src.name}".lower(),
            "one infinity of the source's format sets the sticky bit",
            ("nv-special", "sticky-set", "sources"),
            partial(_special_source, src),
        )
    yield maker(
        "quant/vquant/nv-sticky-stays",
        "the bit is set by the first instruction, and later ones without NaNs leave it",
        ("sticky-set", "nv-special"),
        _stays,
    )
    yield maker(
        "quant/vquant/nv-zeros-under-infinite-r",
        "0 * infinity: a block of zeros has a NaN scale, and its elements become +6; sticky",
        ("nv-nan-element", "sticky-set", "nv-inverse"),
        _zeros_times_infinity,
    )
    yield maker(
        "quant/vquant/nv-no-zeros-under-infinite-r",
        "an infinite r without a zero in sight makes +-6 and is not sticky",
        ("nv-element", "sticky-clear", "nv-inverse", "nv-scale-saturates"),
        _infinite_inverse,
    )


def _special(code: int, draft: Draft) -> None:
    to_nv(draft, F.FP32, special_places(generator(draft), 37, code))


def _special_source(src: Format, draft: Draft) -> None:
    values = np.full((2, 40), (0x3F80 if src is F.BF16 else 0x3C00))
    inf = FACTS[src].inf
    assert inf is not None
    values[1, 20] = inf | 0x8000
    to_nv(draft, src, values)


def _stays(draft: Draft) -> None:
    values = np.full((1, 32), _ONE)
    bad = values.copy()
    bad[0, 31] = NAN
    to_nv(draft, F.FP32, bad, tag="_first")
    to_nv(draft, F.FP32, values, tag="_second")
    to_nv(draft, F.FP32, values & 0, tag="_third")


def _zeros_times_infinity(draft: Draft) -> None:
    to_nv(draft, F.FP32, np.array([[0] * 16 + [_ONE] * 16 + [MINUS_ZERO] * 3]), 1)


def _infinite_inverse(draft: Draft) -> None:
    rng, shape = generator(draft), (6, 40)
    values = integers(rng, 0, 2, shape) << 31 | integers(rng, 1, INF, shape)
    for tag, ts in (("_plus", 1), ("_minus", 0x80000001), ("_edge", 0x00200000)):
        to_nv(draft, F.FP32, values, ts, tag)
