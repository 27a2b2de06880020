"""The suite `quant` and its oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import pytest

from emulator.conformance.case import Case
from emulator.conformance.device import run
from emulator.conformance.judge import Status, judge
from emulator.conformance.kit import makers
from emulator.conformance.oracle import quantise, scaled
from emulator.conformance.oracle.numbers import Number, decode, encode
from emulator.conformance.oracle.quantise import Block
from emulator.conformance.suites.material import integers
from emulator.conformance.suites.quant import RULES
from emulator.conformance.suites.quant_blocks import mixed_blocks
from emulator.conformance.suites.quant_common import MX_FORMATS
from isa.chip import load_chip
from isa.formats import Format

F = Format
CHIP = load_chip("t1-mini")
MAKERS = {maker.name: maker for maker in makers(["quant"])}
SMALL = [name for name in MAKERS if "mx-every-bf16" not in name and "mx-every-fp16" not in name]
FP32 = F.FP32


@cache
def case_of(name: str) -> Case:
    return MAKERS[name].case(CHIP)


# ---- the oracle


def blocks(seed: int, count: int, k: int) -> list[list[int]]:
    """Blocks of all kinds: plain, with zeros, with any patterns."""
    rng = Random(seed)
    plain = mixed_blocks(rng, count, k, k).tolist()
    for index, block in enumerate(plain):
        if index % 4 == 1:
            block[index % k] = 0x80000000 * (index % 3 == 0)
        if index % 8 == 3:
            block[index % k] = int(integers(rng, 0, 1 << 32, (1,))[0])
        if index % 16 == 5:
            block[:] = [code & 0x807FFFFF for code in block]
    return [*plain, [0] * k, [0x80000000] * k, []]


@pytest.mark.parametrize("fmt", MX_FORMATS)
def test_the_fast_mx_block_is_the_obvious_one(fmt: Format) -> None:
    for floor in (False, True):
        for block in blocks(1, 60, 9):
            want = quantise.mx_block_obvious(block, fmt, floor)
            assert quantise.mx_block(block, fmt, floor) == want, [hex(c) for c in block]


@pytest.mark.parametrize(
    "ts", [0, 0x3F800000, 0x40490FDB, 0xC0490FDB, 1, 0x00200001, 0x7F7FFFFF, 0x7F800000,
           0x80000000, 0x7FC00000, 0x10000000, 0x60000000]
)  # fmt: skip
def test_the_fast_nv_block_is_the_obvious_one(ts: int) -> None:
    for block in blocks(ts, 40, 8):
        assert quantise.nv_block(block, ts) == quantise.nv_block_obvious(block, ts)


def test_nothing_saturates_when_scales_are_rounded_up() -> None:
    for fmt in MX_FORMATS:
        top = decode(fmt, {F.E4M3FN: 0x7E, F.E5M2: 0x7B, F.E2M1: 7}[fmt]).magnitude
        for block in mixed_blocks(Random(2), 60, 8, 8).tolist():
            scale = quantise.mx_block(block, fmt).scale
            amax = decode(FP32, quantise.amax_of(block)).magnitude
            assert amax / Number.of(2).magnitude ** (scale - 127) <= top


def test_a_dequantised_block_is_near_its_source() -> None:
    for block in mixed_blocks(Random(3), 40, 16, 16, low=60).tolist():
        block = [code & 0xBFFFFFFF for code in block]
        result = quantise.mx_block(block, F.E4M3FN)
        amax = decode(FP32, quantise.amax_of(block)).magnitude
        unit = Number.of(2).magnitude ** (result.scale - 127)
        for code, element in zip(block, result.elements, strict=True):
            error = abs(decode(FP32, code).value - decode(F.E4M3FN, element).value * unit)
            assert error <= amax / 16


# ---- the cases


def test_names() -> None:
    assert 60 <= len(MAKERS) <= 110
    for name in MAKERS:
        assert name.split("/")[1] in ("vquant", "vquantr")
        assert name == name.lower() and " " not in name


@pytest.mark.parametrize("name", SMALL)
def test_the_fast_executor_passes(name: str) -> None:
    case = case_of(name)
    verdict = judge(case, run(case.program, CHIP, "fast"))
    assert verdict.status is Status.PASS, verdict.detail


@pytest.mark.parametrize(
    "name",
    [
        "quant/vquant/mx-ties-e2m1",
        "quant/vquant/mx-subnormal-e5m2",
        "quant/vquant/mx-empty",
        "quant/vquant/mx-strides",
        "quant/vquant/nv-ts-minus-7",
        "quant/vquant/nv-ts-smallest",
        "quant/vquant/nv-negative-scale",
        "quant/vquant/nv-division-minus",
        "quant/vquant/nv-ts-register",
        "quant/vquant/nv-sticky-stays",
        "quant/vquantr/lengths-e5m2-floor",
        "quant/vquantr/strides",
    ],
)
def test_the_reference_executor_passes(name: str) -> None:
    case = case_of(name)
    verdict = judge(case, run(case.program, CHIP, "reference"))
    assert verdict.status is Status.PASS, verdict.detail


def test_every_rule_is_covered_and_has_a_name() -> None:
    covered = {point for name in SMALL for point in case_of(name).covers}
    rules = {point.removeprefix("rule:") for point in covered if point.startswith("rule:")}
    assert rules == set(RULES)


@pytest.mark.parametrize("name", SMALL)
def test_a_case_says_what_becomes_of_the_sticky_bit(name: str) -> None:
    case = case_of(name)
    claimed = [word for word in ("set", "clear") if f"rule:sticky-{word}" in case.covers]
    assert claimed in ([], ["set" if case.expected.sticky else "clear"])


# ---- what the cases tell

_RIGHT_MX, _RIGHT_NV, _RIGHT_SCALE = quantise.mx_block, quantise.nv_block, quantise.mx_scale


def reciprocal_of_scale(block: Sequence[int], ts: int = 0) -> Block:
    """x * r * RNE(1 / scale)."""
    right = _RIGHT_NV(block, ts)
    if right.scale & 0x7F in (0, 0x7F):
        return right
    r = scaled.split(FP32, quantise.inverse(ts))
    one_over = scaled.quotient(scaled.Parts(0, 1, 0), scaled.split(F.E4M3FN, right.scale & 0x7F))
    factor = scaled.split(FP32, scaled.code_of(FP32, one_over))
    return Block([rounded(rounded(code, r), factor, F.E2M1) for code in block], right.scale)


def rounded(code: int, factor: scaled.Parts, fmt: F = FP32) -> int:
    """RNE(x * factor), then converted."""
    found = scaled.code_of(FP32, scaled.product(scaled.split(FP32, code), factor))
    return scaled.code_of(fmt, scaled.split(FP32, found))


def division_by_ts(block: Sequence[int], ts: int = 0) -> Block:
    """x / ts rather than x * RNE(1 / ts)."""
    by = scaled.split(FP32, ts or 0x3F800000)
    divided = [scaled.code_of(FP32, scaled.quotient(scaled.split(FP32, c), by)) for c in block]
    return _RIGHT_NV(divided)


def reciprocal_of_six(block: Sequence[int], ts: int = 0) -> Block:
    """amax * RNE(1 / 6)."""
    right = _RIGHT_NV(block, ts)
    sixth = scaled.split(FP32, 0x3E2AAAAB)
    amax = rounded(quantise.amax_of(block), scaled.split(FP32, quantise.inverse(ts)))
    return right._replace(scale=rounded(amax, sixth, F.E4M3FN))


def unsigned_zeros(block: Sequence[int], ts: int = 0) -> Block:
    right = _RIGHT_NV(block, ts)
    return right._replace(elements=[0] * len(block)) if right.scale & 0x7F == 0 else right


def signed_division(block: Sequence[int], ts: int = 0) -> Block:
    """Divided by the scale with its sign."""
    right = _RIGHT_NV(block, ts)
    if right.scale < 0x80:
        return right
    return right._replace(elements=[element ^ 8 for element in right.elements])


def double_rounding(block: Sequence[int], fmt: Format, floor: bool = False) -> Block:
    """Elements by way of BF16."""
    right = _RIGHT_MX(block, fmt, floor)
    if right.scale == 0xFF:
        return right
    factor = scaled.Parts(0, 1, 127 - right.scale)
    codes = [rounded(code, factor, F.BF16) for code in block]
    return right._replace(elements=[encode(fmt, decode(F.BF16, code)) for code in codes])


def amax_of_first_block(block: Sequence[int], fmt: Format, floor: bool = False) -> Block:
    """A row's scale from its first 32 elements."""
    scale = _RIGHT_SCALE(quantise.amax_of(block[:32]), fmt, floor)
    return _RIGHT_MX(block, fmt, floor)._replace(scale=scale)


def threshold_off(step: int) -> Callable[..., int]:
    def scale(amax: int, fmt: Format, floor: bool = False) -> int:
        return _RIGHT_SCALE(amax + step if 0 < amax < 0x7F000000 else amax, fmt, floor)

    return scale


@pytest.mark.parametrize(
    ("what", "wrong", "name"),
    [
        ("nv_block", reciprocal_of_scale, "quant/vquant/nv-division-plus"),
        ("nv_block", division_by_ts, "quant/vquant/nv-inverse-of-ts"),
        ("nv_block", reciprocal_of_six, "quant/vquant/nv-scale-thresholds"),
        ("nv_block", unsigned_zeros, "quant/vquant/nv-zero-scale"),
        ("nv_block", signed_division, "quant/vquant/nv-negative-scale"),
        ("mx_block", double_rounding, "quant/vquant/mx-ties-e4m3fn"),
        ("mx_block", amax_of_first_block, "quant/vquantr/lengths-e5m2-round-up"),
        ("mx_scale", threshold_off(1), "quant/vquant/mx-thresholds-e2m1-round-up"),
        ("mx_scale", threshold_off(-1), "quant/vquant/mx-thresholds-e4m3fn-round-up"),
        ("mx_scale", threshold_off(-1), "quant/vquantr/thresholds-e5m2-floor"),
    ],
)
def test_a_wrong_step_gives_other_bits(
    what: str, wrong: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = case_of(name).expected.symbols["tsram"]
    monkeypatch.setattr(quantise, what, wrong)
    assert MAKERS[name].case(CHIP).expected.symbols["tsram"] != right


def test_a_tensor_scale_of_pattern_0_is_1() -> None:
    block = [0x40C00000, 0x3F800000, 0xBF000001]
    assert quantise.inverse(0) == quantise.inverse(0x3F800000) == 0x3F800000
    assert quantise.nv_block(block) == quantise.nv_block(block, 0x3F800000)
