"""`vexp2sum`: what is rounded where, which number a row has, and what its sum is of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import narrow
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.reduce import Columns, exp2_rows
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import FLOATS, Writer, written
from isa.descriptor import Descriptor
from isa.formats import Format

F = Format

RULES = {
    "exp2sum-rounds": "vexp2sum rounds a - b to FP32 before EXP2, as vsub and then vexp2 do.",
    "exp2sum-row": "Each row of vexp2sum has its own number, b[m, 0].",
    "exp2sum-wide": "vexp2sum's total is of the FP32 exponentials, not of what dst holds.",
    "exp2sum-bounds": "Bounds limit the sum alone: every column of dst is written.",
    "exp2sum-in-place": "dst may lie in a's or the bounds' place, total in b's.",
}


def makers() -> list[Maker]:
    """The cases."""
    return [written(f"vpu/vexp2sum/{name}", write) for name, write in _CASES.items()]


def scores(name: str, shape: tuple[int, ...]) -> Ints:
    """Numbers of both signs up to 16, and some near zero: exponentials that round in a sum."""
    r = packs.rng(name)
    x = r.integers(118, 131, shape) << 23 | r.integers(0, 1 << 23, shape)
    return ints(x | r.integers(0, 2, shape) << 31)


def _run(
    d: Draft,
    a: Columns,
    b: Columns,
    target: Format = F.FP32,
    total: Format = F.FP32,
    bounds: Any = None,
    k0: int = 0,
    fields: dict[str, int] | None = None,
) -> None:
    """The instruction on fresh operands; `fields` say k0 once more."""
    rows, columns = a[1].shape
    y, t = d.result("y", target, (rows, columns)), d.result("t", total, (rows, 1))
    more: dict[str, Any] = dict(fields or {})
    if bounds is not None:
        more["bounds"] = d.tensor("bounds", F.I32, ints(bounds) & 0xFFFFFFFF)
    d.do("vexp2sum", dst=y, total=t, a=d.tensor("a", *a), b=d.tensor("b", *b), **more)
    _expect(d, y, t, exp2_rows(a, b, target, total, bounds, k0))


def _expect(d: Draft, y: Descriptor, t: Descriptor, codes: tuple[Ints, Ints]) -> None:
    d.expect(y, codes[0])
    d.expect(t, codes[1])


def _fp32(codes: Any) -> Columns:
    return F.FP32, ints(codes)


def _lengths(d: Draft) -> Iterable[str]:
    """Every length from 0 to 66, and some more."""
    for length in (*range(67), 95, 96, 97, 127, 128, 129, 250):
        a, b = scores(f"a{length}", (3, length)), scores(f"b{length}", (3, 1))
        _run(d, _fp32(a), _fp32(b))
    return ("reduce-lanes", "reduce-empty", "exp2sum-row")


def _long(d: Draft) -> Iterable[str]:
    """Rows of thousands."""
    for length in (1023, 1024, 1025, 2100):
        a = scores(f"a{length}", (2, length))
        _run(d, _fp32(a), _fp32(scores(f"b{length}", (2, 1))), F.BF16)
    return ("reduce-lanes", "exp2sum-wide")


def _rounds(d: Draft) -> Iterable[str]:
    """Differences that are no FP32 numbers: ties, cancelling, many sizes."""
    for pack in (packs.sum_ties, packs.cancelling, lambda: packs.random_pairs("exp2sum", 400)):
        a, b = (x[:600, None] for x in pack())
        _run(d, _fp32(a), _fp32(b ^ packs.SIGN))
    fine = scores("fine", (200, 5)) & ~0x7F800000 | 0x41000000  # 8 to 16, all fraction bits in use
    _run(d, _fp32(fine), _fp32(scores("coarse", (200, 1))))
    return ("exp2sum-rounds", "exp2sum-row")


def _specials(d: Draft) -> Iterable[str]:
    """Every special pattern as b with every other in the row, and NaNs anywhere."""
    a = np.tile(packs.SPECIALS, (len(packs.SPECIALS), 1))
    _run(d, _fp32(a), _fp32(packs.SPECIALS[:, None]))
    pairs = packs.special_pairs()
    _run(d, _fp32(pairs[0][:, None]), _fp32(pairs[1][:, None]))
    low = scores("low", (40, 70)) | packs.SIGN
    low[:, ::7] = 0xC3100000  # 2^-144: sums of subnormals
    low[::2] = 0xC3120000
    _run(d, _fp32(low), _fp32(np.zeros((40, 1))))
    return ("exp2sum-rounds", "reduce-special")


def _formats(d: Draft) -> Iterable[str]:
    """Every format of every operand; results that round, and that overflow FP16."""
    for number, (fa, fb, target, total) in enumerate(product(FLOATS, repeat=4)):
        length = (1, 33, 40)[number % 3]
        a, b = narrow(fa, scores(f"fa{number}", (4, length))), narrow(fb, scores("fb", (4, 1)))
        _run(d, (fa, a), (fb, b), target, total)
    return ("exp2sum-wide", "reduce-once")


def _wide(d: Draft) -> Iterable[str]:
    """Sums that tell FP32 exponentials from rounded ones, and from sums kept in the format."""
    for target, total in product(FLOATS, FLOATS):
        a = scores("wide", (12, 300)) & ~0x40000000  # below 2
        _run(d, _fp32(a), _fp32(np.full((12, 1), 0x3F000000)), target, total)
    return ("exp2sum-wide", "reduce-once")


def _bounds(d: Draft) -> Iterable[str]:
    """Every beginning and end of a row of 36; NaNs and infinities outside of the bounds."""
    begin, end = (x.reshape(-1) for x in np.meshgrid(np.arange(-2, 39, 2), np.arange(-1, 40, 2)))
    limits = np.stack((begin, end), axis=1)
    rows = len(limits)
    a, b = scores("bounded", (rows, 36)), scores("less", (rows, 1))
    _run(d, _fp32(a), _fp32(b), bounds=limits)
    columns = np.arange(36)
    outside = (columns < begin[:, None]) | (columns >= end[:, None])
    wild = packs.rng("wild").choice([0x7F800001, 0x7F800000, 0xFFC00000], (rows, 36))
    _run(d, _fp32(np.where(outside, wild, a)), _fp32(b), F.BF16, bounds=limits)
    return ("exp2sum-bounds", "reduce-bounds", "reduce-empty", "reduce-no-part")


def _offsets(d: Draft) -> Iterable[str]:
    """Chunks of rows at absolute places: k0 by immediate and by register, extreme bounds."""
    r = packs.rng("offsets")
    d.emit("li", rd=3, imm64=1000)
    for k0, fields in (
        (128, {"imm32": 128}),
        (1024, {"imm32": 24, "rb": 3}),
        (-40, {"imm32": -40}),
        (-1, {"imm32": -1001, "rb": 3}),
    ):
        limits = np.sort(k0 + r.integers(-20, 120, (30, 2)), axis=1)
        limits[:5] = (
            (0, 1 << 30), (-(1 << 31), (1 << 31) - 1), (k0, k0), (k0 + 5, k0 + 4),
            (k0 + 89, 1 << 30),
        )  # fmt: skip
        a, b = scores(f"offsets{k0}", (30, 90)), scores(f"less{k0}", (30, 1))
        _run(d, _fp32(a), _fp32(b), F.BF16, bounds=limits, k0=k0, fields=fields)
    return ("exp2sum-bounds", "reduce-bounds", "reduce-bounds-lane")


def _strides(d: Draft) -> Iterable[str]:
    """Rows and elements apart, one row, element or number for all, bounds repeated."""
    x, less = scores("strided", (6, 80)), scores("numbers", (6, 2))
    a, b = d.tensor("a", F.FP32, x), d.tensor("b", F.FP32, less)
    every = replace(b, shape=(6, 1))
    views = [
        (replace(a, shape=(6, 40), strides=(80, 2)), x[:, ::2], every, less[:, :1]),
        (replace(a, shape=(5, 70), strides=(0, 1)), np.tile(x[0, :70], (5, 1)),
         replace(every, shape=(5, 1)), less[:5, :1]),
        (replace(a, shape=(3, 70), strides=(80, 0)), np.tile(x[:3, :1], (1, 70)),
         replace(every, shape=(3, 1), strides=(0, 1)), np.tile(less[:1, :1], (3, 1))),
        (replace(a, shape=(80, 6), strides=(1, 80)), x.T,
         replace(every, shape=(80, 1), strides=(0, 7)), np.tile(less[:1, :1], (80, 1))),
    ]  # fmt: skip
    for view, rows, number, numbers in views:
        m, n = rows.shape
        y = replace(d.result("y", F.BF16, (n, m, 2)), shape=(m, n), strides=(2, 2 * m))
        t = replace(d.result("t", F.FP32, (m, 3)), shape=(m, 1), strides=(3, 1))
        d.do("vexp2sum", dst=y, total=t, a=view, b=number)
        _expect(d, y, t, exp2_rows(_fp32(rows), _fp32(numbers), F.BF16, F.FP32))
    limits = replace(d.tensor("bounds", F.I32, ints([[3, 66]])), shape=(6, 2), strides=(0, 1))
    y, t = d.result("y", F.FP32, (6, 80)), d.result("t", F.FP32, (6, 1))
    d.do("vexp2sum", dst=y, total=t, a=a, b=every, bounds=limits)
    tiled = np.tile([[3, 66]], (6, 1))
    _expect(d, y, t, exp2_rows(_fp32(x), _fp32(less[:, :1]), F.FP32, F.FP32, tiled))
    return ("exp2sum-row", "reduce-bounds", "strides")


def _in_place(d: Draft) -> Iterable[str]:
    """dst in a's place and total in b's, also in another format of one width; dst on bounds."""
    for source, target in ((F.FP32, F.FP32), (F.BF16, F.BF16), (F.BF16, F.FP16)):
        for length in (1, 40, 64):
            x, less = narrow(source, scores("place", (5, length))), scores("its", (5, 1))
            a, b = d.tensor("a", source, x), d.tensor("b", F.FP32, less)
            y = replace(a, format=target)
            d.do("vexp2sum", dst=y, total=b, a=a, b=b)
            _expect(d, y, b, exp2_rows((source, x), _fp32(less), target, F.FP32))
    x, less = scores("two", (9, 2)), scores("its", (9, 1))
    pairs = packs.rng("pairs").integers(-1, 4, (9, 2))
    limits = d.tensor("bounds", F.I32, ints(pairs) & 0xFFFFFFFF)
    y, t = replace(limits, format=F.FP32), d.result("t", F.FP32, (9, 1))
    a, b = d.tensor("a", F.FP32, x), d.tensor("b", F.FP32, less)
    d.do("vexp2sum", dst=y, total=t, a=a, b=b, bounds=limits)
    _expect(d, y, t, exp2_rows(_fp32(x), _fp32(less), F.FP32, F.FP32, pairs))
    return ("exp2sum-in-place", "exp2sum-bounds")


_CASES: dict[str, Writer] = {
    "lengths": _lengths,
    "long": _long,
    "rounds": _rounds,
    "specials": _specials,
    "formats": _formats,
    "wide": _wide,
    "bounds": _bounds,
    "bounds-offsets": _offsets,
    "strided": _strides,
    "in-place": _in_place,
}
