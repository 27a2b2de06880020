"""`vrsum`, `vrmax` and `vrmin`: lanes, bounds, empty rows, rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import narrow
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.reduce import reduce_rows
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import FLOATS, written
from isa.formats import Format

F = Format
REDUCTIONS = ("vrsum", "vrmax", "vrmin")
MINUS_ZERO = packs.SIGN

RULES = {
    "reduce-lanes": "Lane j of 32 takes the indices j modulo 32, ascending; then i with i + 16, "
    "i + 8, i + 4, i + 2 and i + 1, the lower lane first.",
    "reduce-first": "A lane starts with its first element, not with zero: -0 alone stays -0.",
    "reduce-no-part": "Lanes without elements take no part.",
    "reduce-empty": "A row without elements gives +0, -Inf or +Inf.",
    "reduce-once": "The result is converted once: BF16 and FP16 sums run in FP32.",
    "reduce-bounds": "With bounds only elements of absolute index k0 + i within them are taken.",
    "reduce-bounds-lane": "The lane is i modulo 32 from column 0, wherever bounds begin.",
    "reduce-special": "Infinities, NaNs and zeros in rows: as vadd, vmax and vmin have them.",
}


def makers() -> list[Maker]:
    """The cases."""
    out: list[Maker] = []
    for mnemonic in REDUCTIONS:
        out += [_case(mnemonic, name, write) for name, write in _CASES.items()]
    return out


def _case(mnemonic: str, name: str, write: Callable[[Draft, str], Iterable[str]]) -> Maker:
    def bound(d: Draft) -> Iterable[str]:
        return write(d, mnemonic)

    return written(f"vpu/{mnemonic}/{name}", bound, (write.__doc__ or "").partition("\n")[0])


def _reduce(
    d: Draft, mnemonic: str, rows: Any, source: Format = F.FP32, target: Format = F.FP32
) -> None:
    rows = ints(rows)
    y = d.result("y", target, (len(rows), 1))
    d.do(mnemonic, dst=y, src=d.tensor("src", source, rows))
    d.expect(y, reduce_rows(mnemonic, source, rows, target))


def uneven(name: str, shape: tuple[int, ...], low: int = 110, high: int = 150) -> Ints:
    """Numbers of both signs and unlike sizes: the sum of a row depends on its order."""
    r = packs.rng(name)
    x = r.integers(low, high, shape) << 23 | r.integers(0, 1 << 23, shape)
    return ints(x | r.integers(0, 2, shape) << 31)


def _short(d: Draft, mnemonic: str) -> Iterable[str]:
    """Every length from 0 to 66."""
    for length in range(67):
        _reduce(d, mnemonic, uneven(f"length{length}", (5, length)))
    return ("reduce-lanes", "reduce-no-part", "reduce-empty")


def _long(d: Draft, mnemonic: str) -> Iterable[str]:
    """Every length from 67 to 130."""
    for length in range(67, 131):
        _reduce(d, mnemonic, uneven(f"length{length}", (5, length)))
    return ("reduce-lanes", "reduce-no-part")


def _probes(d: Draft, mnemonic: str) -> Iterable[str]:
    """Two huge numbers that cancel, at every index and with every distance."""
    for length, big in ((128, 0x5D800000), (101, 0x4C000000)):
        rows = uneven(f"probe{length}", (length, length), 124, 130)
        index = np.arange(length)
        rows[index, index] = big
        rows[index, (index * 37 + 11) % length] = big | packs.SIGN
        _reduce(d, mnemonic, rows)
    return ("reduce-lanes",)


def _pairs(d: Draft, mnemonic: str) -> Iterable[str]:
    """Rows of 32 with three numbers that do not associate, the rest zeros: the tree itself."""
    r, count = packs.rng("pairs"), 400
    rows = np.where(r.integers(0, 2, (count, 32)) == 1, MINUS_ZERO, 0)
    for row in rows:
        row[r.choice(32, 3, replace=False)] = (0x4B800000, 0xCB800000, 0x3F800001)
    _reduce(d, mnemonic, rows)
    return ("reduce-lanes",)


def _zeros(d: Draft, mnemonic: str) -> Iterable[str]:
    """Rows of -0 of every length to 70, and of -0 with one +0: nothing adds a +0 of its own."""
    for length in range(1, 71):
        rows = np.full((3, length), MINUS_ZERO)
        rows[1, length // 2] = rows[2, -1] = 0
        _reduce(d, mnemonic, rows)
    return ("reduce-first", "reduce-no-part", "reduce-special")


def _special(d: Draft, mnemonic: str) -> Iterable[str]:
    """Every special pattern with every other at two places of a row, and full rows of them."""
    a, b = packs.special_pairs()
    rows = np.full((len(a), 3), MINUS_ZERO)
    rows[:, 0], rows[:, 2] = a, b
    _reduce(d, mnemonic, rows)
    x = packs.rng("special rows").choice(packs.SPECIALS, (60, 70))
    _reduce(d, mnemonic, x)
    finite = packs.SPECIALS[(packs.SPECIALS & 0x7FFFFFFF) < 0x7F800000]
    _reduce(d, mnemonic, packs.rng("finite rows").choice(finite, (60, 70)))
    return ("reduce-special", "reduce-first")


def _formats(d: Draft, mnemonic: str) -> Iterable[str]:
    """Every format in and out; results that round, and that overflow FP16."""
    for source, target in product(FLOATS, FLOATS):
        for length in (1, 33, 75):
            rows = narrow(source, uneven(f"formats{length}", (9, length), 118, 136))
            _reduce(d, mnemonic, rows, source, target)
        special = narrow(source, packs.SPECIALS)[:, None]
        _reduce(d, mnemonic, special, source, target)
        _reduce(d, mnemonic, np.zeros((2, 0), np.int64), source, target)
    many = narrow(F.BF16, ints(np.full((1, 300), 0x3F810000)))  # a BF16 sum would stand still
    _reduce(d, mnemonic, many, F.BF16, F.BF16)
    return ("reduce-once", "reduce-empty", "reduce-special")


def _bounded(
    d: Draft,
    mnemonic: str,
    rows: Any,
    bounds: Any,
    k0: int,
    fields: dict[str, int],
    source: Format = F.FP32,
) -> None:
    """A reduction with bounds; the fields say k0 once more."""
    rows, bounds = ints(rows), ints(bounds)
    y = d.result("y", F.FP32, (len(rows), 1))
    src, limits = d.tensor("src", source, rows), d.tensor("bounds", F.I32, bounds & 0xFFFFFFFF)
    d.do(mnemonic, dst=y, src=src, bounds=limits, **fields)
    d.expect(y, reduce_rows(mnemonic, source, rows, F.FP32, bounds, k0))


def _bounds(d: Draft, mnemonic: str) -> Iterable[str]:
    """Every beginning and end of a row of 36, NaNs outside of some, -0 inside of others."""
    begin, end = (x.reshape(-1) for x in np.meshgrid(np.arange(-2, 39), np.arange(-1, 40, 2)))
    bounds = np.stack((begin, end), axis=1)
    _bounded(d, mnemonic, uneven("bounds", (len(bounds), 36)), bounds, 0, {})
    inside = np.arange(40)
    begin, end = packs.rng("nan").integers(0, 41, (2, 200))
    rows = np.where((inside >= begin[:, None]) & (inside < end[:, None]), MINUS_ZERO, 0x7F800001)
    _bounded(d, mnemonic, rows, np.stack((begin, end), axis=1), 0, {"imm32": 0})
    return ("reduce-bounds", "reduce-bounds-lane", "reduce-no-part", "reduce-empty")


def _offsets(d: Draft, mnemonic: str) -> Iterable[str]:
    """Chunks of rows at absolute places: k0 by immediate and by register, extreme bounds."""
    r = packs.rng("offsets")
    d.emit("li", rd=3, imm64=1000)
    for k0, fields in (
        (128, {"imm32": 128}),
        (1024, {"imm32": 24, "rb": 3}),
        (1000, {"imm32": 0, "rb": 3}),
        (33, {"imm32": 33}),
        (-40, {"imm32": -40}),
        (-1, {"imm32": -1001, "rb": 3}),
    ):
        bounds = np.sort(k0 + r.integers(-20, 120, (60, 2)), axis=1)
        bounds[:6] = (
            (0, 1 << 30), (-(1 << 31), (1 << 31) - 1), (k0, k0), (k0 + 5, k0 + 4), (0, k0 + 1),
            (k0 + 89, 1 << 30),
        )  # fmt: skip
        _bounded(d, mnemonic, uneven(f"offsets{k0}", (60, 90)), bounds, k0, fields)
    half = narrow(F.BF16, uneven("half", (20, 50)))
    _bounded(d, mnemonic, half, r.integers(0, 50, (20, 2)), 0, {}, F.BF16)
    return ("reduce-bounds", "reduce-bounds-lane", "reduce-empty")


def _strided(d: Draft, mnemonic: str) -> Iterable[str]:
    """Rows and elements apart, one row for all, one element for all, bounds repeated."""
    x = uneven("strided", (6, 80))
    a = d.tensor("a", F.FP32, x)
    views = [
        (replace(a, shape=(6, 40), strides=(80, 2)), x[:, ::2]),
        (replace(a, shape=(80, 6), strides=(1, 80)), x.T),
        (replace(a, shape=(5, 70), strides=(0, 1)), np.broadcast_to(x[0, :70], (5, 70))),
        (replace(a, shape=(3, 70), strides=(80, 0)), np.broadcast_to(x[:3, :1], (3, 70))),
    ]
    for view, rows in views:
        y = d.result("y", F.FP32, (len(rows), 2))
        narrow_view = replace(y, shape=(len(rows), 1))
        d.do(mnemonic, dst=narrow_view, src=view)
        d.expect(narrow_view, reduce_rows(mnemonic, F.FP32, rows, F.FP32))
    limits = d.tensor("bounds", F.I32, ints([[3, 66]]))
    y = d.result("y", F.FP32, (6, 1))
    d.do(mnemonic, dst=y, src=a, bounds=replace(limits, shape=(6, 2), strides=(0, 1)))
    d.expect(y, reduce_rows(mnemonic, F.FP32, x, F.FP32, np.tile([[3, 66]], (6, 1))))
    return ("reduce-lanes", "reduce-bounds")


_CASES: dict[str, Callable[[Draft, str], Iterable[str]]] = {
    "lengths-short": _short,
    "lengths-long": _long,
    "order-probes": _probes,
    "order-tree": _pairs,
    "zeros": _zeros,
    "specials": _special,
    "formats": _formats,
    "bounds": _bounds,
    "bounds-offsets": _offsets,
    "strided": _strided,
}
