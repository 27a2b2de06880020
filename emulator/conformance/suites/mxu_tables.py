"""Exhaustive tables: products of every pair of codes, and every pair of scales."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.matrix import Operand
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import any_codes, generator, maker
from emulator.conformance.suites.mxu_common import (
    MX32,
    NARROW,
    NV16,
    F,
    place,
    product,
)
from isa.formats import Format, ScaleKind

HALVES = {"lower": range(128), "upper": range(128, 256)}


def makers() -> Iterator[Maker]:
    """All tables."""
    yield from _products()
    yield from _scale_pairs()
    yield from _nv_pairs()


# ---- products


def _products() -> Iterator[Maker]:
    for a in NARROW:
        for w in NARROW:
            whole = {"all": range(1 << FACTS[a].bits)}
            parts = whole if F.E2M1 in (a, w) else HALVES
            for part, codes in parts.items():
                yield maker(
                    f"mxu/gemm/products-{a.name}-{w.name}-{part}".lower(),
                    f"every {a.name} code (of that half) times every {w.name} code, K = 1",
                    ("narrow-products", "nan-canonical", "infinities", "s-from-zero"),
                    partial(_product_table, a, codes, w),
                )


def _product_table(a: Format, codes: range, w: Format, draft: Draft) -> None:
    right = Operand(w, np.arange(1 << FACTS[w].bits)[:, None])
    _table(draft, Operand(a, np.array(codes)[:, None]), right)


# ---- E8M0 scales

#: A name, then the codes of a row of a and of w in E5M2 or E4M3FN that make s; what is written.
_SUMS: dict[str, tuple[Format, tuple[int, ...], tuple[int, ...], Format]] = {
    "zero": (F.E4M3FN, (0x00,), (0x7E,), F.BF16),
    "infinity": (F.E5M2, (0x7C,), (0xBC,), F.BF16),
    "nan": (F.E4M3FN, (0x7F,), (0x38,), F.BF16),
    "1152": (F.E4M3FN, (0x5C,), (0x64,), F.FP32),
    "smallest": (F.E5M2, (0x01,), (0x01,), F.FP32),
    "largest": (F.E5M2, (0x7B,), (0xFB,), F.FP32),
    "24-bits": (F.E5M2, (0x78, 0xBC), (0x5C, 0x3C), F.FP32),
}


def _scale_pairs() -> Iterator[Maker]:
    for name, (_, _, _, out) in _SUMS.items():
        parts = {"": range(256)} if out is F.BF16 else {f"-{k}": v for k, v in HALVES.items()}
        for part, rows in parts.items():
            yield maker(
                f"mxu/gemm/scales-e8m0-s-{name}{part}",
                f"s is {name}: every pair of E8M0 scale codes",
                ("scale-once", "scale-e8m0", "scale-e8m0-nan", "no-flush", "overflow"),
                partial(_scale_table, name, rows),
            )
    yield maker(
        "mxu/gemm/scales-e8m0-one-sided",
        "every s of a list, from BF16 without scales, under every E8M0 scale of w",
        ("scale-once", "scale-e8m0", "scale-e8m0-nan", "no-flush", "fused-range"),
        _one_sided,
    )


def _scale_table(name: str, rows: range, draft: Draft) -> None:
    fmt, x, y, out = _SUMS[name]
    a = Operand(fmt, np.tile(x, (len(rows), 1)), MX32, np.array(rows)[:, None])
    w = Operand(fmt, np.tile(y, (256, 1)), MX32, np.arange(256)[:, None])
    _table(draft, a, w, out)


def _table(draft: Draft, a: Operand, w: Operand, out: Format = F.FP32) -> None:
    """A product too large for the accumulator at once: in parts of 64 rows."""
    there = place(draft, "w", w)
    for start in range(0, len(a.codes), 64):
        rows = slice(start, start + 64)
        scales = None if a.scales is None else a.scales[rows]
        part = Operand(a.fmt, a.codes[rows], a.kind, scales)
        product(draft, part, w, tag=f"_rows_{start}", at=(None, there), out=out)


def _one_sided(draft: Draft) -> None:
    """64 values of BF16, special ones and some at random, times 1 and times 2^-16."""
    special = (0, 0x8000, 0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x7F7F, 0xFF7F, 1, 0x8001, 0x7F, 0x80)
    more = any_codes(generator(draft), F.BF16, (64 - len(special),))
    a = Operand(F.BF16, np.concatenate((special, more))[:, None])
    scales = np.arange(256)[:, None]
    for tag, code, columns in (("_1", 0x3C, slice(None)), ("_tiny", 0x81, slice(0, 256, 3))):
        w = Operand(F.E5M2, np.full((256, 1), code)[columns], MX32, scales[columns])
        product(draft, a, w, tag=tag)


# ---- NV16 scales


def _nv_pairs() -> Iterator[Maker]:
    for part, rows in HALVES.items():
        yield maker(
            f"mxu/gemm/scales-nv16-nv16-{part}",
            "every pair of NV16 scale codes: the sign bit is ignored, 0x7f and 0xff are NaN",
            ("scale-nv16", "scale-nv16-nan", "scale-once", "block-16"),
            partial(_nv_table, rows),
        )
        yield maker(
            f"mxu/gemm/scales-nv16-e8m0-{part}",
            "every NV16 scale code against every E8M0 one; s has 22 bits, so t is rounded",
            ("scale-nv16", "scale-nv16-nan", "scale-once", "scale-e8m0", "scale-e8m0-nan"),
            partial(_nv_mx_table, rows, NV16),
        )
    yield maker(
        "mxu/gemm/scales-e8m0-nv16",
        "every third E8M0 scale of a against every NV16 one of w",
        ("scale-nv16", "scale-nv16-nan", "scale-once", "scale-e8m0", "scale-e8m0-nan"),
        partial(_nv_mx_table, range(0, 256, 3), MX32),
    )


def _nv_table(rows: range, draft: Draft) -> None:
    """s = -6 * 6 + 0.5 * 0.5."""
    a = Operand(F.E2M1, np.tile((0xF, 1), (len(rows), 1)), NV16, np.array(rows)[:, None])
    w = Operand(F.E2M1, np.tile((7, 1), (256, 1)), NV16, np.arange(256)[:, None])
    _table(draft, a, w)


def _nv_mx_table(rows: range, kind: ScaleKind, draft: Draft) -> None:
    """s = 6 * 448 + 1.5 * 2^-9, from whichever side."""
    small = (F.E2M1, (7, 3), NV16)
    large = (F.E4M3FN, (0x7E, 1), MX32)
    (fa, x, ka), (fw, y, kw) = (small, large) if kind is NV16 else (large, small)
    a = Operand(fa, np.tile(x, (len(rows), 1)), ka, np.array(rows)[:, None])
    w = Operand(fw, np.tile(y, (256, 1)), kw, np.arange(256)[:, None])
    _table(draft, a, w)
