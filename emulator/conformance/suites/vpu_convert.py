"""`vcvt`: every code of every format, and FP32 at both sides of every step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import convert, sets_sticky
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.oracle.parts import ints
from emulator.conformance.suites import vpu_packs as packs
from isa.chip import Chip
from isa.formats import Format

F = Format
FLOATS = (F.FP32, F.BF16, F.FP16, F.E4M3FN, F.E5M2, F.E2M1)
SOURCES = (*FLOATS, F.E8M0, F.I32, F.U8)
TARGETS = (*FLOATS, F.I32)
SMALL = (F.E4M3FN, F.E5M2, F.E2M1, F.E8M0, F.U8)
_PIECE = 1 << 15  # inputs of one case

RULES = {
    "vcvt-rne": "A conversion rounds to nearest, ties to the even code.",
    "vcvt-sat": "Saturating: overflow and infinities become the largest value with their sign.",
    "vcvt-nosat": "Not saturating: overflow of E4M3FN is its NaN, overflow of E5M2 an infinity.",
    "vcvt-overflow-after-rounding": "What rounds to the largest value does not overflow.",
    "vcvt-ieee-overflow": "FP32, BF16 and FP16 overflow to infinity, saturating or not.",
    "vcvt-nan": "A conversion writes the canonical NaN of its format, whatever the payload.",
    "vcvt-e2m1-nan": "A NaN becomes +6 in E2M1 and sets the sticky bit; nothing else sets it.",
    "vcvt-subnormal": "Subnormals are read and written in every format.",
    "vcvt-by-way-of-fp32": "A conversion goes by way of FP32: I32 to a narrow format rounds twice.",
    "vcvt-to-integer": "To I32: to nearest, ties to even, saturating, NaN gives 0.",
    "vcvt-e8m0": "E8M0 is 2^(code - 127), subnormal for code 0; 0xFF is NaN.",
}


def makers() -> list[Maker]:
    """The cases."""
    return [*_decoding(), *_halves(), *_defining(), *_integers()]


def _modes(target: Format) -> tuple[str, ...]:
    """Suffixes to try; only 8-bit formats tell them apart."""
    return ("sat", "nosat") if target in (F.E4M3FN, F.E5M2) else ("",)


def _name(source: Format, target: Format, *rest: str) -> str:
    words = (f"{source.name}-{target.name}".lower(), *rest)
    return "vpu/vcvt/" + "-".join(word for word in words if word)


def _make(chip: Chip, name: str, *, source: Format, target: Format, codes: Any, mode: str) -> Case:
    """One conversion of these codes; they may be a function that gives them."""
    codes = ints(codes() if callable(codes) else codes)
    d = Draft(chip, name, f"vcvt of {source.name} to {target.name} {mode}".strip())
    _convert(d, source, target, codes, mode)
    return d.case(_covers(source, target, mode))


def _convert(d: Draft, source: Format, target: Format, codes: Any, mode: str) -> None:
    """Add one conversion to a draft."""
    a, y = (
        d.tensor("a", source, codes),
        d.result(f"y_{target.name}{mode}".lower(), target, codes.shape),
    )
    d.do("vcvt.nosat" if mode == "nosat" else "vcvt", dst=y, a=a)
    d.expect(y, convert(source, codes, target, mode != "nosat"))
    d.sticky = d.sticky or sets_sticky(source, codes, target)


def _covers(source: Format, target: Format, mode: str) -> list[str]:
    """The rules that a wide source and this target bring up."""
    rules = []
    if source is F.E8M0:
        rules.append("rule:vcvt-e8m0")
    if source in FLOATS and target is not F.E2M1:
        rules.append("rule:vcvt-nan")
    if target is F.I32:
        return [*rules, "rule:vcvt-to-integer"]
    if source is F.I32 and target is not F.FP32:
        rules.append("rule:vcvt-by-way-of-fp32")
    if source in (F.FP32, F.BF16, F.FP16) and target is not F.FP32:
        rules += ["rule:vcvt-rne", "rule:vcvt-subnormal", "rule:vcvt-overflow-after-rounding"]
        kind = "ieee-overflow" if FACTS[target].bits == 16 else mode or "sat"
        rules.append(f"rule:vcvt-{kind}")
    if target is F.E2M1:
        rules.append("rule:vcvt-e2m1-nan")
    return rules


def _decoding() -> list[Maker]:
    """Every code of the small formats to every format; E2M1 apart, for its sticky bit."""
    return [
        Maker(_name(source, F.E2M1) if alone else f"vpu/vcvt/{source.name.lower()}-all", make)
        for source in SMALL
        for alone, make in (
            (
                True,
                partial(_make, source=source, target=F.E2M1, codes=packs.codes(source), mode=""),
            ),
            (False, partial(_make_all, source=source)),
        )
    ]


def _make_all(chip: Chip, name: str, *, source: Format) -> Case:
    d = Draft(chip, name, f"every code of {source.name} to every format but E2M1")
    rules: list[str] = []
    for target in TARGETS:
        for mode in _modes(target):
            if target is not F.E2M1:
                _convert(d, source, target, packs.codes(source), mode)
                rules += _covers(source, target, mode)
    return d.case(rules)


def _maker(name: str, source: Format, target: Format, codes: Any, mode: str) -> Maker:
    return Maker(name, partial(_make, source=source, target=target, codes=codes, mode=mode))


def _pieces(name: str, source: Format, target: Format, codes: Any, mode: str) -> list[Maker]:
    """Several cases if the codes need more room than one has."""
    count = -(-len(codes) // _PIECE)
    if count == 1:
        return [_maker(name, source, target, codes, mode)]
    parts = np.array_split(codes, count)
    return [_maker(f"{name}-{i}", source, target, part, mode) for i, part in enumerate(parts)]


def _halves() -> list[Maker]:
    """All codes of BF16 and FP16 to every format."""
    out: list[Maker] = []
    for source in (F.BF16, F.FP16):
        for target in TARGETS:
            for mode in _modes(target):
                name = _name(source, target, mode)
                out += _pieces(name, source, target, packs.codes(source), mode)
    return out


def _defining() -> list[Maker]:
    """FP32 to every format, at both sides of every step."""
    out: list[Maker] = []
    for target in (F.E4M3FN, F.E5M2, F.E2M1):
        for mode in _modes(target):
            out.append(
                _maker(_name(F.FP32, target, mode), F.FP32, target, _defining_pack(target), mode)
            )
    for target in (F.BF16, F.FP16):
        steps = packs.boundaries(target).reshape(-1)
        out += _pieces(_name(F.FP32, target, "steps"), F.FP32, target, packs.both_signs(steps), "")
        out.append(_maker(_name(F.FP32, target), F.FP32, target, _wide, ""))
    out.append(_maker(_name(F.FP32, F.FP32), F.FP32, F.FP32, _wide, ""))
    out.append(_maker(_name(F.FP32, F.I32), F.FP32, F.I32, packs.to_integer, ""))
    return out


def _wide() -> Any:
    """Every exponent, and all oddities."""
    return np.concatenate((packs.stratified("wide", 16), packs.oddities()))


def _defining_pack(target: Format) -> Any:
    return lambda: np.concatenate((packs.defining(target), packs.stratified("narrow", 6)))


def _integers() -> list[Maker]:
    """I32 to every format."""
    return [
        _maker(_name(F.I32, target, mode), F.I32, target, integers, mode)
        for target in TARGETS
        for mode in _modes(target)
    ]


def integers() -> Any:
    """I32 codes: around every power of two and the ties of every float format."""
    r, power = packs.rng("integers"), 1 << np.arange(32, dtype=np.int64)
    near = (power[:, None] + np.arange(-2, 3)).reshape(-1)
    many = r.integers(0, 1 << 31, 2000) >> r.integers(0, 31, 2000)
    twice = [
        0x1008001,
        0x1018001,
        0x1FFFFFF,
        0x3FFFFFD,
        0x10080001,
        0x1100001,
        0x5800001,
        0x4080003,
    ]
    bits = r.integers(2, 12, 1000)  # halfway, or one off, for formats of few bits
    middle = (2 * r.integers(1 << bits - 1, 1 << bits) + 1) << r.integers(0, 18, 1000)
    found = np.concatenate((near, many, ints(twice), middle, middle + 1, middle - 1))
    return np.unique(np.concatenate((found, -found)) & 0xFFFFFFFF)
