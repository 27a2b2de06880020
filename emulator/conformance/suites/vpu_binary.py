"""`vadd`, `vsub`, `vmul`, `vdiv`, `vmin`, `vmax`, `vcmp` and `vmuladd2`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import narrow, widen
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.vector import (
    FUNCTIONS,
    compare,
    compare_integers,
    elementwise,
    integer,
)
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import FLOATS, SHORT, compute, written
from isa.formats import Format

F = Format
ARITHMETIC = ("vadd", "vsub", "vmul", "vdiv")
BINARY = (*ARITHMETIC, "vmin", "vmax")
RELATIONS = ("eq", "ne", "lt", "le", "gt", "ge")

RULES = {
    "binary-rne": "vadd, vsub, vmul and vdiv are the exact result rounded once, ties to even.",
    "binary-special": "Zeros, infinities and NaNs behave as in IEEE 754.",
    "binary-signed-zero": "x + (-x) is +0; the zeros keep their signs as in IEEE 754.",
    "binary-nan": "Arithmetic writes the canonical NaN, whatever the operands' payloads.",
    "binary-subnormal": "Subnormal operands and results are kept: nothing is flushed to zero.",
    "binary-overflow": "Results beyond the range are infinities.",
    "binary-double-rounding": "A BF16 or FP16 result is the FP32 result, rounded once more.",
    "binary-mixed": "Operands of other formats are read as FP32, exactly.",
    "binary-number": "A number operand is an FP32 pattern: register plus immediate.",
    "minmax": "vmin and vmax: -0 is below +0, a NaN operand makes NaN.",
    "vcmp-float": "vcmp: -0 equals +0; with a NaN only `ne` holds.",
    "integer-wrap": "I32 vadd, vsub, vmul, vmin, vmax and vcmp are two's complement and wrap.",
    "muladd2-unfused": "vmuladd2 is RNE(RNE(a * b) + RNE(c * e)): nothing is fused.",
}


def makers() -> list[Maker]:
    """The cases."""
    out: list[Maker] = []
    for mnemonic in BINARY:
        out += [_specials(mnemonic), _random(mnemonic), _mixed(mnemonic), _number(mnemonic)]
    for mnemonic, half in product(BINARY, (F.BF16, F.FP16)):
        out.append(_half(mnemonic, half))
    for mnemonic in ("vadd", "vsub", "vmul", "vmin", "vmax"):
        out.append(_integer(mnemonic))
    out += [_compare(relation, fmt) for relation in RELATIONS for fmt in (F.FP32, F.I32)]
    out += [written("vpu/vcmp/mixed", _compare_mixed), written("vpu/vcmp/number", _compare_number)]
    out += _hard()
    out += [written(f"vpu/vmuladd2/{name}", write) for name, write in _MULADD2.items()]
    return out


def _rules(mnemonic: str) -> tuple[str, ...]:
    if mnemonic in ("vmin", "vmax"):
        return ("minmax", "binary-nan")
    return ("binary-rne", "binary-special", "binary-signed-zero", "binary-nan", "binary-overflow")


def _pair(d: Draft, mnemonic: str, target: Format, pair: tuple[Any, Any]) -> None:
    compute(d, mnemonic, target, (F.FP32, pair[0]), (F.FP32, pair[1]))


def _specials(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        _pair(d, mnemonic, F.FP32, packs.special_pairs())
        return (*_rules(mnemonic), "binary-subnormal")

    return written(f"vpu/{mnemonic}/fp32-specials", write, "every special pattern with every other")


def _random(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        _pair(d, mnemonic, F.FP32, packs.random_pairs(mnemonic, 4096))
        x = packs.stratified(f"r{mnemonic}", 6)
        _pair(d, mnemonic, F.FP32, (x, packs.rng(mnemonic).permutation(x)))
        return _rules(mnemonic)

    return written(f"vpu/{mnemonic}/fp32-random", write, "random pairs, far and near exponents")


def _hard() -> list[Maker]:
    """Operands at the boundaries of rounding."""
    packs_of: dict[str, tuple[str, ...]] = {
        "vadd": ("sum_ties", "cancelling"),
        "vsub": ("sum_ties", "cancelling"),
        "vmul": ("product_ties", "small_products", "overflowing"),
        "vdiv": ("hard_quotients", "small_quotients", "overflowing"),
    }
    return [_hard_case(op, pack) for op, names in packs_of.items() for pack in names]


def _hard_case(mnemonic: str, pack: str) -> Maker:
    operands = getattr(packs, pack)

    def write(d: Draft) -> Iterable[str]:
        a, b = operands()
        _pair(d, mnemonic, F.FP32, (a, b ^ packs.SIGN if mnemonic == "vsub" else b))
        extra = {"cancelling": "binary-signed-zero", "overflowing": "binary-overflow"}
        found = "binary-subnormal" if pack.startswith("small") else extra.get(pack, "binary-rne")
        return ("binary-rne", found)

    return written(f"vpu/{mnemonic}/fp32-{pack.replace('_', '-')}", write, operands.__doc__)


def _mixed(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        wide = packs.random_pairs(f"m{mnemonic}", 96, 9)
        for target, left, right in product(FLOATS, FLOATS, FLOATS):
            a, b = (narrow(fmt, x) for fmt, x in zip((left, right), wide, strict=True))
            compute(d, mnemonic, target, (left, a), (right, b))
        return ("binary-mixed", "binary-double-rounding")

    return written(f"vpu/{mnemonic}/mixed", write, "every combination of formats")


def _half(mnemonic: str, fmt: Format) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        special = np.unique(narrow(fmt, packs.SPECIALS))
        a, b = (x.reshape(-1) for x in np.meshgrid(special, special))
        compute(d, mnemonic, fmt, (fmt, a), (fmt, b))
        r = packs.rng(f"{mnemonic}{fmt.name}")
        compute(
            d,
            mnemonic,
            fmt,
            (fmt, r.integers(0, 1 << 16, 3000)),
            (fmt, r.integers(0, 1 << 16, 3000)),
        )
        if mnemonic in ARITHMETIC:
            wide = double_rounding(mnemonic, fmt)
            _pair(d, mnemonic, fmt, wide)
        return (*_rules(mnemonic), "binary-double-rounding")

    return written(f"vpu/{mnemonic}/{SHORT[fmt]}", write, "specials, random pairs, double rounding")


def double_rounding(mnemonic: str, fmt: Format) -> tuple[Ints, Ints]:
    """FP32 pairs whose FP32 result is halfway between two narrow numbers, the exact one beside it.

    Found by search: of sums (or products, ...) aimed at a middle those whose result is one.
    """
    r, count = packs.rng(f"double{mnemonic}{fmt.name}"), 2000
    middles = packs.boundaries(fmt)[:, 0] & ~1  # the middle is one of an even and an odd pattern
    normal = middles[(middles > 0x38900000) & (middles < 0x47000000)]
    goal = r.choice(normal, count)
    b = r.integers(90, 110, count) << 23 | r.integers(0, 1 << 23, count)
    if mnemonic in ("vadd", "vsub"):
        tiny = (goal >> 23) - r.integers(26, 60, count) << 23 | r.integers(0, 1 << 23, count)
        return goal, np.where(r.integers(0, 2, count) == 1, tiny, tiny | packs.SIGN)
    inverse = "vdiv" if mnemonic == "vmul" else "vmul"
    a = FUNCTIONS[inverse](goal, b)
    hit = FUNCTIONS[mnemonic](a, b) == goal
    return a[hit][:600], b[hit][:600]


def _number(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        d.emit("li", rd=7, imm64=0x3F000000)
        d.emit("li", rd=8, imm64=0x1_2345_0000_0000)  # the upper half does not count
        x = np.concatenate((packs.SPECIALS, packs.stratified(f"n{mnemonic}", 4)[::8]))
        for register, pattern in (
            (0, 0x3F000000),
            (7, 0x00800001),
            (8, 0x7F800001),
            (0, packs.SIGN),
        ):
            base = {0: 0, 7: 0x3F000000, 8: 0}[register]
            number = np.full_like(x, base + pattern & 0xFFFFFFFF)
            for fmt in FLOATS:
                a, y = d.tensor("a", fmt, narrow(fmt, x)), d.result("y", fmt, x.shape)
                d.do(mnemonic, dst=y, a=a, imm32=pattern, rb=register, scalar=1)
                d.expect(y, elementwise(mnemonic, fmt, (fmt, narrow(fmt, x)), (F.FP32, number)))
        return ("binary-number", "binary-mixed")

    return written(f"vpu/{mnemonic}/number", write, "number operands, by immediate and by register")


def _integer(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        ends = [0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFF, 0x10000, 46341]
        a, b = (x.reshape(-1) for x in np.meshgrid(ints(ends), ints(ends)))
        r = packs.rng(f"i{mnemonic}")
        a = np.concatenate((a, r.integers(0, 1 << 32, 1000)))
        b = np.concatenate((b, r.integers(0, 1 << 32, 1000)))
        left, right = d.tensor("a", F.I32, a), d.tensor("b", F.I32, b)
        y, z = d.result("y", F.I32, a.shape), d.result("z", F.I32, a.shape)
        d.do(mnemonic, dst=y, a=left, b=right)
        d.expect(y, integer(mnemonic, a, b))
        d.emit("li", rd=7, imm64=0x80000000)
        d.do(mnemonic, dst=z, a=left, imm32=0x12345677, rb=7, scalar=1)
        d.expect(z, integer(mnemonic, a, np.full_like(a, 0x92345677)))
        return ("integer-wrap", "binary-number")

    return written(
        f"vpu/{mnemonic}/i32", write, "I32: the ends of the range, random pairs, a number"
    )


def _compare(relation: str, fmt: Format) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        a, b = packs.special_pairs()
        more = packs.random_pairs(f"c{relation}", 500, 1)
        a, b = np.concatenate((a, more[0])), np.concatenate((b, more[1]))
        b[-100:] = a[-100:]
        answer = compare if fmt is F.FP32 else compare_integers
        y = d.result("y", F.U8, a.shape)
        d.do(f"vcmp.{relation}", dst=y, a=d.tensor("a", fmt, a), b=d.tensor("b", fmt, b))
        d.expect(y, answer(relation, a, b))
        return ("vcmp-float",) if fmt is F.FP32 else ("integer-wrap",)

    name = f"vpu/vcmp/{fmt.name.lower()}-{relation}"
    return written(name, write, "every special pattern with every other")


def _compare_mixed(d: Draft) -> Iterable[str]:
    """Comparisons of two formats."""
    wide = packs.random_pairs("compare_mixed", 100, 1)
    for left, right, relation in product(FLOATS, FLOATS, ("le", "ne")):
        a, b = (narrow(fmt, x) for fmt, x in zip((left, right), wide, strict=True))
        a = np.concatenate((a, narrow(left, packs.SPECIALS)))
        b = np.concatenate((b, narrow(right, packs.SPECIALS)[::-1]))
        y = d.result("y", F.U8, a.shape)
        d.do(f"vcmp.{relation}", dst=y, a=d.tensor("a", left, a), b=d.tensor("b", right, b))
        d.expect(y, compare(relation, widen(left, a), widen(right, b)))
    return ("vcmp-float", "binary-mixed")


def _compare_number(d: Draft) -> Iterable[str]:
    """Comparisons with numbers: zeros, a NaN, and an I32 from a register."""
    x = packs.SPECIALS
    d.emit("li", rd=9, imm64=1)
    for relation, number in product(RELATIONS, (0, packs.SIGN, 0x7FC00000, 0x3F7FFFFF)):
        y, z = d.result("y", F.U8, x.shape), d.result("z", F.U8, x.shape)
        a, i = d.tensor("a", F.FP32, x), d.tensor("i", F.I32, x)
        d.do(f"vcmp.{relation}", dst=y, a=a, imm32=number, rb=9, scalar=1)
        d.expect(y, compare(relation, x, np.full_like(x, number + 1)))
        d.do(f"vcmp.{relation}", dst=z, a=i, imm32=number, scalar=1)
        d.expect(z, compare_integers(relation, x, np.full_like(x, number)))
    return ("vcmp-float", "binary-number", "integer-wrap")


def _muladd2(d: Draft, target: Format, *operands: tuple[Format, Any]) -> None:
    compute(d, "vmuladd2", target, *operands)


def _muladd2_specials(d: Draft) -> Iterable[str]:
    """Special patterns in all four places."""
    r, count = packs.rng("muladd2"), 4000
    _muladd2(d, F.FP32, *((F.FP32, r.choice(packs.SPECIALS, count)) for _ in range(4)))
    return ("muladd2-unfused", "binary-nan", "binary-special")


def _muladd2_unfused(d: Draft) -> Iterable[str]:
    """a * b and c * e cancel but for what rounding took away: a fused device leaves that."""
    r, count = packs.rng("unfused"), 2000
    a, b, delta = (
        r.integers(120, 134, count) << 23 | r.integers(0, 1 << 23, count) for _ in range(3)
    )
    c, e = a ^ packs.SIGN, b.copy()
    c[::4] = delta[::4] | packs.SIGN
    e[1::4] += 1
    _muladd2(d, F.FP32, *((F.FP32, x) for x in (a, b, c, e)))
    _muladd2(d, F.FP32, *((F.FP32, x) for x in (a, b, e, c)))
    big, small = r.integers(190, 254, 1000) << 23, r.integers(1, 60, 1000) << 23
    _muladd2(d, F.FP32, *((F.FP32, x) for x in (big, big, big | packs.SIGN, big)))
    _muladd2(d, F.FP32, *((F.FP32, x | 0x3FFFFF) for x in (small, small, big, small)))
    return ("muladd2-unfused", "binary-overflow", "binary-subnormal")


def _muladd2_formats(d: Draft) -> Iterable[str]:
    """Every format in every place."""
    r = packs.rng("formats")
    for number, target in enumerate(FLOATS):
        for turn in range(9):
            formats = [FLOATS[(number + turn // 3 * i + turn + i) % 3] for i in range(4)]
            wide = r.integers(118, 136, (4, 120)) << 23 | r.integers(0, 1 << 23, (4, 120))
            wide |= r.integers(0, 2, (4, 120)) << 31
            codes = (narrow(f, x) for f, x in zip(formats, wide, strict=True))
            _muladd2(d, target, *zip(formats, codes, strict=True))
    return ("muladd2-unfused", "binary-mixed", "binary-double-rounding")


def _muladd2_bf16(d: Draft) -> Iterable[str]:
    """BF16 throughout, as RoPE and the fold may use it."""
    r = packs.rng("muladd2bf16")
    operands = [r.integers(118, 136, 4000) << 7 | r.integers(0, 128, 4000) for _ in range(4)]
    operands[2] |= r.integers(0, 2, 4000) << 15
    _muladd2(d, F.BF16, *((F.BF16, x) for x in operands))
    return ("muladd2-unfused", "binary-double-rounding")


_MULADD2 = {
    "fp32-specials": _muladd2_specials,
    "fp32-unfused": _muladd2_unfused,
    "mixed": _muladd2_formats,
    "bf16": _muladd2_bf16,
}
