"""`vargmax` and `vtopk`: the total order, ties, offsets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import narrow
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.reduce import argmax, topk
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import FLOATS, SHORT, written
from isa.formats import Format

F = Format

RULES = {
    "order-total": "vargmax and vtopk order NaN > +Inf > ... > +0 > -0 > ... > -Inf.",
    "order-nans": "NaNs are all alike, whatever their signs and payloads.",
    "order-ties": "Equal elements rank by index, lowest first.",
    "order-offset": "The offset is added to indices, which wrap.",
    "topk-bits": "The values of vtopk are copied bits.",
    "topk-all": "vtopk takes any k from none to all.",
}


def makers() -> list[Maker]:
    """The cases."""
    out = [
        written(f"vpu/vargmax/{SHORT[fmt]}", _argmax_format(fmt), "order, ties") for fmt in FLOATS
    ]
    out += [written(f"vpu/{name}", write) for name, write in _CASES.items()]
    return out


def _argmax(d: Draft, fmt: Format, rows: Any, offset: int = 0, **fields: int) -> None:
    rows = ints(rows)
    y = d.result("y", F.I32, (len(rows), 1))
    d.do("vargmax", dst=y, src=d.tensor("src", fmt, rows), **fields)
    d.expect(y, argmax(fmt, rows, offset))


def _topk(d: Draft, rows: Any, k: int, offset: int = 0, **fields: int) -> None:
    rows = ints(rows)
    shape = (len(rows), k)
    values, indices = d.result("values", F.FP32, shape), d.result("indices", F.I32, shape)
    d.do("vtopk", values=values, indices=indices, src=d.tensor("src", F.FP32, rows), **fields)
    expected = topk(rows, k, offset)
    d.expect(values, expected[0])
    d.expect(indices, expected[1])


def few_values(name: str, shape: tuple[int, ...]) -> Ints:
    """Rows with many ties: zeros of both signs, NaNs of many kinds, infinities, a few numbers."""
    return ints(packs.rng(name).choice(packs.SPECIALS, shape))


def _pairs(fmt: Format) -> Ints:
    """Rows of two: every special pattern with every other."""
    return np.stack([narrow_bits(fmt, x) for x in packs.special_pairs()], axis=1)


def narrow_bits(fmt: Format, patterns: Any) -> Ints:
    """Narrow codes whose NaNs keep a payload: the upper half of FP32, a conversion for FP16."""
    patterns = ints(patterns)
    nan = patterns & 0x7FFFFFFF > 0x7F800000
    if fmt is F.BF16:
        upper = patterns >> 16
        return np.asarray(np.where(nan, upper | 1, upper))
    payload = patterns >> 16 & 0x8000 | 0x7C01 | patterns & 0x3F0
    return np.asarray(np.where(nan, payload, narrow(fmt, patterns))) if fmt is F.FP16 else patterns


def _argmax_format(fmt: Format) -> Any:
    def write(d: Draft) -> Iterable[str]:
        _argmax(d, fmt, _pairs(fmt))
        for length in (1, 2, 31, 32, 33, 64, 65, 100, 129):
            rows = narrow_bits(fmt, few_values(f"argmax{length}", (20, length)))
            _argmax(d, fmt, rows)
            finite = packs.rng(f"finite{length}").integers(0x3F00, 0x3F08, (20, length))
            _argmax(d, fmt, finite << 16 if fmt is F.FP32 else finite)
        return ("order-total", "order-nans", "order-ties")

    return write


def _argmax_ties(d: Draft) -> Iterable[str]:
    """All equal; the largest at every two places of a row; negative rows."""
    for pattern in (0, packs.SIGN, 0xFF800000, 0x7FC00000, 0xC0000000):
        _argmax(d, F.FP32, np.full((1, 70), pattern))
    rows = np.full((70, 70), 0xC0400000)
    index = np.arange(70)
    rows[index, index] = rows[index, (index * 13 + 5) % 70] = 0xBF800000
    _argmax(d, F.FP32, rows)
    nans = rows.copy()
    nans[index, (index * 29 + 3) % 70] = 0xFF800001
    nans[index, (index * 31 + 7) % 70] = 0x7FC00000
    _argmax(d, F.FP32, nans)
    return ("order-ties", "order-nans")


_OFFSETS: tuple[tuple[int, dict[str, int]], ...] = (
    (0, {}),
    (128, {"imm32": 128}),
    (0x7FFFFFF0, {"imm32": 0x7FFFFFF0}),
    (-5, {"imm32": -5}),
    (0x1_0000_0005, {"imm32": 6, "rb": 3}),
    (-7, {"imm32": 3, "rb": 4}),
)


def _registers(d: Draft) -> None:
    d.emit("li", rd=3, imm64=0xFFFFFFFF)
    d.emit("li", rd=4, imm64=-10)


def _argmax_offset(d: Draft) -> Iterable[str]:
    """Offsets from immediates and registers, with wrapping."""
    _registers(d)
    for offset, fields in _OFFSETS:
        _argmax(d, F.FP32, packs.rng("offset").integers(0, 1 << 31, (20, 40)), offset, **fields)
    return ("order-offset",)


def _topk_offset(d: Draft) -> Iterable[str]:
    """Offsets from immediates and registers, with wrapping."""
    _registers(d)
    for offset, fields in _OFFSETS:
        _topk(d, few_values("offset", (10, 40)), 17, offset, **fields)
    return ("order-offset", "order-ties")


def _topk_all(d: Draft) -> Iterable[str]:
    """Every k from 1 to the length of the row, which is full of ties."""
    for k in range(1, 38):
        _topk(d, few_values(f"topk{k}", (3, 37)), k)
    return ("topk-all", "topk-bits", "order-ties", "order-total", "order-nans")


def _topk_lengths(d: Draft) -> Iterable[str]:
    """Long rows and short ones, none taken, one taken; equal, ascending and descending rows."""
    for length, k in ((1, 1), (1, 0), (64, 64), (300, 5), (300, 40), (1000, 8), (33, 1)):
        _topk(d, packs.rng(f"{length}").integers(0, 1 << 32, (4, length)), k)
    rows = np.stack((np.arange(100), 99 - np.arange(100), np.full(100, 7))) + 0x3F800000
    _topk(d, np.concatenate((rows, rows | packs.SIGN)), 50)
    return ("topk-all", "topk-bits", "order-ties")


def _topk_pairs(d: Draft) -> Iterable[str]:
    """Every special pattern with every other, in order."""
    _topk(d, _pairs(F.FP32), 2)
    return ("order-total", "order-nans", "topk-bits")


def _strided(d: Draft) -> Iterable[str]:
    """Rows and elements apart."""
    x = few_values("strided", (40, 30))
    a = d.tensor("a", F.FP32, x)
    y = d.result("y", F.I32, (30, 1))
    d.do("vargmax", dst=y, src=replace(a, shape=(30, 40), strides=(1, 30)))
    d.expect(y, argmax(F.FP32, x.T))
    values, indices = d.result("values", F.FP32, (20, 9)), d.result("indices", F.I32, (20, 9))
    d.do("vtopk", values=values, indices=indices, src=replace(a, shape=(20, 15), strides=(60, 2)))
    expected = topk(x[::2, ::2], 9)
    d.expect(values, expected[0])
    d.expect(indices, expected[1])
    return ("order-ties",)


_CASES = {
    "vargmax/ties": _argmax_ties,
    "vargmax/offset": _argmax_offset,
    "vtopk/all-k": _topk_all,
    "vtopk/lengths": _topk_lengths,
    "vtopk/pairs": _topk_pairs,
    "vtopk/offset": _topk_offset,
    "vtopk/strided": _strided,
}
