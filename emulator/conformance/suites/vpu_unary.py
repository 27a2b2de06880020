"""`vsqrt`, `vrcp`, `vrsqrt` and `vexp2`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.soft import sqrt
from emulator.conformance.oracle.vector import rsqrt
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import FLOATS, SHORT, compute, written
from isa.formats import Format

UNARY = ("vsqrt", "vrcp", "vrsqrt", "vexp2")

RULES = {
    "unary-rne": "vsqrt and vrcp are the exact result rounded once.",
    "unary-special": "Roots and reciprocals of zeros, infinities, negatives and NaNs: IEEE 754.",
    "unary-subnormal": "Subnormals are operands and results; nothing is flushed to zero.",
    "vrsqrt-two-roundings": "vrsqrt is RNE(1 / RNE(sqrt(x))), not 1 / sqrt(x) rounded once.",
    "unary-double-rounding": "To BF16 and FP16 the FP32 result is rounded a second time.",
    "vexp2-steps": "vexp2 is its steps, each rounded: unfused Horner of degree 6.",
    "vexp2-clamp": "vexp2 clamps x to [-160, 129]; infinities as well.",
    "vexp2-nearest": "vexp2's n is the nearest integer, ties to even.",
    "vexp2-subnormal": "vexp2's results go down among the subnormals, by two factors.",
    "vexp2-nan": "vexp2 of a NaN is the canonical NaN.",
}
_GENERAL = ("unary-rne", "unary-special", "unary-subnormal")


def makers() -> list[Maker]:
    """The cases."""
    out = [_stratified(mnemonic) for mnemonic in UNARY]
    out += [_hard("vsqrt", packs.hard_roots), _hard("vrcp", packs.hard_reciprocals)]
    out += [_hard("vrsqrt", rsqrt_twice, ("vrsqrt-two-roundings",))]
    out += [written("vpu/vexp2/fp32-steps", _exp2_steps), written("vpu/vexp2/fp32-low", _exp2_low)]
    for mnemonic, half in product(UNARY, (Format.BF16, Format.FP16)):
        out += [_all_codes(mnemonic, half, part) for part in (0, 1)]
        out.append(_mixed(mnemonic, half))
    return out


def _rules(mnemonic: str) -> tuple[str, ...]:
    exp2 = tuple(rule for rule in RULES if rule.startswith("vexp2-"))
    return exp2 if mnemonic == "vexp2" else _GENERAL


def _stratified(mnemonic: str) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        x = np.concatenate((packs.stratified(mnemonic, 24), packs.oddities(), packs.SPECIALS))
        compute(d, mnemonic, Format.FP32, (Format.FP32, x))
        return _rules(mnemonic)

    return written(f"vpu/{mnemonic}/fp32", write, "every exponent, specials, subnormals")


def _hard(mnemonic: str, operands: Any, rules: tuple[str, ...] = ("unary-rne",)) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        compute(d, mnemonic, Format.FP32, (Format.FP32, operands()))
        return rules

    return written(f"vpu/{mnemonic}/fp32-hard", write, operands.__doc__)


def _all_codes(mnemonic: str, fmt: Format, part: int) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        codes = packs.codes(fmt)[part << 15 : (part + 1) << 15]
        compute(d, mnemonic, fmt, (fmt, codes))
        return (*_rules(mnemonic), "unary-double-rounding")

    sign = "negative" if part else "positive"
    return written(f"vpu/{mnemonic}/{SHORT[fmt]}-{sign}", write, f"all codes of {fmt.name}")


def _mixed(mnemonic: str, half: Format) -> Maker:
    def write(d: Draft) -> Iterable[str]:
        x = np.concatenate((packs.stratified(f"{mnemonic}{half.name}", 6), packs.SPECIALS))
        compute(d, mnemonic, half, (Format.FP32, x))
        r = packs.rng(f"mixed{mnemonic}")
        for target in FLOATS:
            compute(d, mnemonic, target, (half, r.integers(0, 1 << 16, 500)))
        return _rules(mnemonic)[:1]

    return written(f"vpu/{mnemonic}/{SHORT[half]}-mixed", write, "operand and result differ")


def rsqrt_twice() -> Ints:
    """Operands for which 1 / sqrt(x), rounded once, is another number."""
    r = packs.rng("rsqrt_twice")
    x = r.integers(1, 254, 20000) << 23 | r.integers(0, 1 << 23, 20000)
    value = x.astype(np.uint32).view(np.float32).astype(np.float64)
    once = (1 / np.sqrt(value)).astype(np.float32).view(np.uint32).astype(np.int64)
    differ = x[once != rsqrt(x)][:1500]
    same = x[:300]
    return np.concatenate((differ, same, sqrt(differ)))


def _exp2_steps(d: Draft) -> Iterable[str]:
    """Integers, halves and their neighbours over the range, and numbers beyond it."""
    compute(d, "vexp2", Format.FP32, (Format.FP32, exp2_steps()))
    return [rule for rule in RULES if rule.startswith("vexp2-")]


def exp2_steps() -> Ints:
    """Where n steps, where results change their exponent, and where the clamp begins."""
    halves = np.arange(-330, 270, dtype=np.float32) / np.float32(2)
    at = halves.view(np.uint32).astype(np.int64)
    around = np.unique((at[:, None] + np.arange(-2, 3)).reshape(-1) & 0xFFFFFFFF)
    small = packs.both_signs(np.arange(1, 127, dtype=np.int64) << 23 | 0x123456)
    r = packs.rng("exp2_steps")
    spread = r.uniform(-150, 128, 4000).astype(np.float32).view(np.uint32).astype(np.int64)
    return np.concatenate((around, small, spread, packs.SPECIALS))


def _exp2_low(d: Draft) -> Iterable[str]:
    """Results among the subnormals and around the smallest of them."""
    r = packs.rng("exp2_low")
    x = r.uniform(-151, -125, 6000).astype(np.float32).view(np.uint32).astype(np.int64)
    ends = ints([0xC3150000, 0xC3160000, 0xC2FC0000, 0xC2FE0000])  # -149, -150, -126, -127
    near = (ends[:, None] + np.arange(-50, 51)).reshape(-1)
    compute(d, "vexp2", Format.FP32, (Format.FP32, np.concatenate((x, near))))
    return ("vexp2-subnormal", "vexp2-steps")
