"""What moves bits (`vsel`, `vcopy`, `vtrans`), `viota`, `vscan`, and shapes of all kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.image import BITS
from emulator.conformance.oracle.convert import convert, narrow
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.soft import add, multiply
from emulator.conformance.oracle.vector import elementwise, iota, scan
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import compute, written
from isa.descriptor import Descriptor, Space
from isa.formats import Format

F = Format
COPIED = (F.FP32, F.BF16, F.FP16, F.E4M3FN, F.E5M2, F.E8M0, F.I32, F.U8)
SELECTED = (F.FP32, F.BF16, F.FP16, F.I32, F.U8)
SHAPES = ((), (1,), (7,), (33,), (3, 5), (1, 17), (2, 3, 5), (2, 1, 3, 7), (3, 2, 2, 19))

RULES = {
    "copy-bits": "vcopy, vtrans and vsel copy bits, NaNs of any payload included.",
    "select-mask": "vsel takes a where the mask is not 0, whatever else it is.",
    "iota": "viota counts along the last axis and wraps at 32 bits.",
    "scan-order": "vscan adds one element after the other.",
    "scan-first": "vscan's first result is the first element; a NaN becomes canonical.",
    "shapes": "Elementwise operations take shapes of rank 0 to 4, empty ones as well.",
    "strides": "Elements lie where strides say; a source may repeat by stride 0.",
    "in-place": "A result may lie where an operand lies, element by element.",
}


def makers() -> list[Maker]:
    """The cases."""
    out = [written(f"vpu/vcopy/{f.name.lower()}", _copy(f), f"{f.name}: all codes") for f in COPIED]
    out += [written(f"vpu/vtrans/{f.name.lower()}", _transpose(f), "odd shapes") for f in COPIED]
    out += [written(f"vpu/vsel/{f.name.lower()}", _select(f), "every mask") for f in SELECTED]
    out += [written(f"vpu/{name}", write) for name, write in _OTHERS.items()]
    return out


def _codes(fmt: Format, shape: tuple[int, ...], name: str) -> Ints:
    """Random codes with many NaNs."""
    r, bits = packs.rng(f"{name}{fmt.name}{shape}"), BITS[fmt]
    random = r.integers(0, 1 << bits, shape)
    if bits == 8:
        return ints(random)
    nan = {F.BF16: 0x7F80, F.FP16: 0x7C00}.get(fmt, 0x7F800000)
    return ints(np.where(r.integers(0, 3, shape) == 0, random | nan, random))


def _copy(fmt: Format) -> Any:
    def write(d: Draft) -> Iterable[str]:
        for shape in (*SHAPES, (0,), (3, 0, 2), (777,)):
            codes = _codes(fmt, shape, "copy")
            y = d.result("y", fmt, shape)
            d.do("vcopy", dst=y, a=d.tensor("a", fmt, codes))
            d.expect(y, codes)
        every = np.arange(1 << min(BITS[fmt], 13), dtype=np.int64)
        every = every * 0x80003 & (1 << BITS[fmt]) - 1 if BITS[fmt] == 32 else every
        y = d.result("all", fmt, every.shape)
        d.do("vcopy", dst=y, a=d.tensor("a", fmt, every))
        d.expect(y, every)
        return ("copy-bits", "shapes")

    return write


def _transpose(fmt: Format) -> Any:
    def write(d: Draft) -> Iterable[str]:
        for shape in ((1, 1), (1, 9), (9, 1), (5, 7), (33, 31), (64, 32), (17, 130), (0, 3)):
            codes = _codes(fmt, shape, "transpose")
            y = d.result("y", fmt, shape[::-1])
            d.do("vtrans", dst=y, a=d.tensor("a", fmt, codes))
            d.expect(y, codes.T)
        return ("copy-bits",)

    return write


def _select(fmt: Format) -> Any:
    def write(d: Draft) -> Iterable[str]:
        mask = np.concatenate((np.arange(256), np.zeros(256, np.int64)))
        for shape, m in (((512,), mask), ((3, 7), mask[250:271].reshape(3, 7)), ((), ints(2))):
            a, b = _codes(fmt, shape, "select"), _codes(fmt, shape, "other")
            y = d.result("y", fmt, shape)
            left, right = d.tensor("a", fmt, a), d.tensor("b", fmt, b)
            d.do("vsel", dst=y, mask=d.tensor("mask", F.U8, m), a=left, b=right)
            d.expect(y, np.where(m != 0, a, b))
        return ("copy-bits", "select-mask")

    return write


def _iota(d: Draft) -> Iterable[str]:
    """Starts of all kinds, from immediates and registers; the count begins anew in each row."""
    d.emit("li", rd=4, imm64=0x7FFFFFF0)
    d.emit("li", rd=5, imm64=-3)
    d.emit("li", rd=6, imm64=0x5_0000_0007)
    for shape in (*SHAPES, (0,), (2, 0)):
        for register, base, imm in (
            (0, 0, 0),
            (0, 0, 0x80000000 - 5),
            (4, 0x7FFFFFF0, 4),
            (5, -3, 1),
            (6, 7, 9),
        ):
            y = d.result("y", F.I32, shape)
            d.do("viota", dst=y, imm32=imm, rb=register)
            d.expect(y, iota(shape, base + imm))
    return ("iota", "shapes")


def _scan_order(d: Draft) -> Iterable[str]:
    """Numbers whose sums depend on the order; ranks 0 to 4."""
    r = packs.rng("scan")
    for shape in (*SHAPES, (0,), (2, 0), (5, 100), (2, 300)):
        x = r.integers(110, 150, shape) << 23 | r.integers(0, 1 << 23, shape)
        x |= r.integers(0, 2, shape) << 31
        _scan(d, ints(x))
    return ("scan-order", "shapes")


def _scan(d: Draft, x: Ints) -> None:
    y = d.result("y", F.FP32, x.shape)
    d.do("vscan", dst=y, a=d.tensor("a", F.FP32, x))
    d.expect(y, scan(x) if x.ndim else scan(x.reshape(1))[0])


def _scan_specials(d: Draft) -> Iterable[str]:
    """NaNs first and later, infinities, -0, cancellation, subnormals, overflow."""
    first = packs.SPECIALS
    rows = np.stack([np.roll(first, i) for i in range(len(first))])
    _scan(d, rows)
    _scan(d, np.stack((first, first ^ packs.SIGN, first), axis=1))
    tiny = packs.rng("tiny").integers(0, 1 << 24, (9, 40))
    _scan(d, ints(tiny))
    zeros = np.full((3, 5), packs.SIGN)
    zeros[1, 2] = zeros[2, 0] = 0
    _scan(d, zeros)
    return ("scan-first", "scan-order")


def _scan_in_place(d: Draft) -> Iterable[str]:
    """The result over the operand."""
    x = packs.rng("in place").integers(0x3F000000, 0x41000000, (4, 65))
    a = d.tensor("a", F.FP32, x)
    d.do("vscan", dst=a, a=a)
    d.expect(a, scan(x))
    return ("in-place", "scan-order")


def _shapes(d: Draft) -> Iterable[str]:
    """Elementwise operations on odd shapes of every rank."""
    r = packs.rng("shapes")
    for shape in (*SHAPES, (0,), (4, 0), (65, 3)):
        a, b = (r.integers(0x3F000000, 0x41000000, shape) for _ in range(2))
        compute(d, "vmul", F.FP32, (F.FP32, a), (F.FP32, b))
        compute(d, "vsqrt", F.BF16, (F.FP32, a))
        y = d.result("y", F.E2M1, shape)
        d.do("vcvt", dst=y, a=d.tensor("a", F.FP32, a))
        d.expect(y, narrow(F.E2M1, a))
    return ("shapes",)


def _spread(d: Draft, fmt: Format, shape: tuple[int, ...], gaps: tuple[int, ...]) -> Descriptor:
    """A tensor with gaps: each dimension takes a few elements more than it has."""
    strides: list[int] = []
    step = 1
    for size, gap in zip(reversed(shape), reversed(gaps), strict=True):
        strides.insert(0, step * (gap + 1 if not strides else 1))
        step = strides[0] * size + gap
    base = d.room(step * BITS[fmt] // 8 + 64, 4)
    return Descriptor(Space.TSRAM, fmt, shape, tuple(strides), base)


def _strided(d: Draft) -> Iterable[str]:
    """Operands and results with gaps, of different formats; the gaps stay as they are."""
    r = packs.rng("strided")
    for shape, gaps in (((5, 9), (3, 1)), ((2, 3, 7), (1, 2, 0)), ((2, 2, 3, 5), (0, 1, 2, 3))):
        for target in (F.FP32, F.BF16):
            a, b = _spread(d, F.BF16, shape, gaps), _spread(d, F.FP32, shape, gaps[::-1])
            y = _spread(d, target, shape, gaps)
            x, z = r.integers(0x3F00, 0x4100, shape), r.integers(0x3F000000, 0x41000000, shape)
            d.put(a, x)
            d.put(b, z)
            d.view("y", y, result=True)
            d.do("vadd", dst=y, a=a, b=b)
            d.expect(y, elementwise("vadd", target, (F.BF16, x), (F.FP32, z)))
    return ("strides",)


def _broadcast(d: Draft) -> Iterable[str]:
    """Stride 0 in every place: rows, columns, single elements."""
    r = packs.rng("broadcast")
    shape = (4, 3, 9)
    x = r.integers(0x3F000000, 0x41000000, shape)
    a = d.tensor("a", F.FP32, x)
    for kept in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0), (1, 0, 1)):
        small = tuple(size if keep else 1 for size, keep in zip(shape, kept, strict=True))
        values = r.integers(0x3F000000, 0x41000000, small)
        b = d.tensor("b", F.FP32, values)
        strides = tuple(s if keep else 0 for s, keep in zip(b.strides, kept, strict=True))
        b = replace(b, shape=shape, strides=strides)
        y, z = d.result("y", F.FP32, shape), d.result("z", F.FP32, shape)
        wide = np.broadcast_to(values, shape)
        d.do("vmul", dst=y, a=a, b=b)
        d.expect(y, multiply(x, wide))
        d.do("vadd", dst=z, a=b, b=b)
        d.expect(z, add(wide, wide))
    return ("strides",)


def _transposed(d: Draft) -> Iterable[str]:
    """A transposed view as operand, and one as result."""
    x = packs.rng("view").integers(0, 1 << 16, (6, 10))
    a = d.tensor("a", F.BF16, x)
    turned = replace(a, shape=(10, 6), strides=(1, 10))
    y, z = d.result("y", F.BF16, (10, 6)), d.result("z", F.BF16, (6, 10))
    d.do("vcopy", dst=y, a=turned)
    d.expect(y, x.T)
    d.do("vcopy", dst=replace(z, shape=(10, 6), strides=(1, 10)), a=turned)
    d.expect(z, x)
    return ("strides", "copy-bits")


def _in_place(d: Draft) -> Iterable[str]:
    """Results over one operand, over both, and in another format of equal width."""
    r = packs.rng("elementwise in place")
    x, z = (r.integers(0x3F000000, 0x41000000, (3, 50)) for _ in range(2))
    a, b = d.tensor("a", F.FP32, x), d.tensor("b", F.FP32, z)
    d.do("vadd", dst=a, a=a, b=b)
    x = add(x, z)
    d.do("vmul", dst=a, a=a, b=a)
    x = multiply(x, x)
    d.do("vsub", dst=b, a=a, b=b)
    d.expect(a, x)
    d.expect(b, add(x, z ^ packs.SIGN))
    half = r.integers(0, 1 << 16, 300)
    h = d.tensor("h", F.BF16, half)
    d.do("vcvt", dst=replace(h, format=F.FP16), a=h)
    d.expect(h, convert(F.BF16, half, F.FP16))
    return ("in-place",)


_OTHERS = {
    "viota/i32": _iota,
    "vscan/order": _scan_order,
    "vscan/specials": _scan_specials,
    "vscan/in-place": _scan_in_place,
    "shapes/ranks": _shapes,
    "shapes/strided": _strided,
    "shapes/broadcast": _broadcast,
    "shapes/transposed": _transposed,
    "shapes/in-place": _in_place,
}
