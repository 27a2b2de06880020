"""The vector suite's cases: what they cover, and that both executors pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emulator.conformance.case import Case
from emulator.conformance.device import EXECUTORS, run
from emulator.conformance.judge import Status, judge
from emulator.conformance.oracle.numbers import encode, fp32
from emulator.conformance.suites import enumeration, vpu, vpu_binary, vpu_enumerate
from isa.chip import Chip, load_chip
from isa.formats import Format
from tests import vector_obvious as obvious

FAST = [maker for maker in vpu.makers() if not maker.full]


@pytest.fixture(scope="module")
def chip() -> Chip:
    return load_chip("t1-mini")


@pytest.fixture(scope="module")
def cases(chip: Chip) -> list[Case]:
    return [maker.case(chip) for maker in FAST]


def test_every_rule_is_covered(cases: list[Case]) -> None:
    points = {point for case in cases for point in case.covers}
    rules = {f"rule:{slug}" for slug in vpu.RULES}
    assert rules == {point for point in points if point.startswith("rule:")}


@pytest.mark.parametrize(("executor", "each"), [(EXECUTORS[0], 4), (EXECUTORS[1], 16)])
def test_the_executors_pass(executor: str, each: int, cases: list[Case], chip: Chip) -> None:
    for case in cases[::each]:
        verdict = judge(case, run(case.program, chip, executor))
        assert verdict.status is Status.PASS, (case.name, verdict.detail)


def test_a_wrong_bit_is_found_and_named(cases: list[Case], chip: Chip) -> None:
    case = next(case for case in cases if case.name == "vpu/vsqrt/fp32")
    result = run(case.program, chip)
    view = next(view for view in case.views if view.result)
    data = bytearray(result.symbols["tsram"])
    data[view.descriptor.base + 4 * 777] ^= 1
    wrong = replace(result, symbols={**result.symbols, "tsram": bytes(data)})
    assert "y[777]" in judge(case, wrong).detail


@pytest.mark.parametrize("name", vpu_binary.ARITHMETIC)
@pytest.mark.parametrize("fmt", [Format.BF16, Format.FP16])
def test_packs_reveal_a_missing_second_rounding(name: str, fmt: Format) -> None:
    found = 0
    for a, b in zip(*vpu_binary.double_rounding(name, fmt), strict=True):
        exact = obvious.BINARY[name](obvious.number(int(a)), obvious.number(int(b)))
        found += encode(fmt, exact) != encode(fmt, fp32(exact))
    assert found > 50


def test_one_wrong_word_changes_the_hash() -> None:
    r = np.random.default_rng(3)
    words = r.integers(0, 1 << 32, (4, 64))
    right = enumeration.hash_words(words)
    for _ in range(300):
        other = words.copy()
        other[r.integers(4), r.integers(64)] ^= 1 << r.integers(32)
        assert enumeration.hash_words(other) != right


def test_wrong_signs_and_exchanges_change_the_hash() -> None:
    """What a sum of odd multiples would not see: an even number of topmost bits."""
    words = np.full((4, 64), 0x7FC00000)
    right = enumeration.hash_words(words)
    assert enumeration.hash_words(words ^ 0x80000000) != right
    for rows in ([0], [3], [1, 2]):
        other = words.copy()
        other[rows] ^= 0x80000000
        assert enumeration.hash_words(other) != right
    words = np.arange(256).reshape(4, 64) << 23
    right = enumeration.hash_words(words)
    flat = words.reshape(-1)
    for i, j in np.random.default_rng(4).integers(0, 256, (300, 2)):
        other = flat.copy()
        other[[i, j]] = other[[j, i]]
        assert i == j or enumeration.hash_words(other.reshape(4, 64)) != right


def test_a_block_of_the_full_suite_is_right_on_the_device(chip: Chip) -> None:
    """Eight whole blocks, with a NaN's among them, against the table."""
    plan = vpu_enumerate.OPERATIONS["vrsqrt/fp32"]
    few = replace(plan, blocks=8, step=plan.step * 509)
    result = run(enumeration.program(few, chip, "few"), chip)
    got = np.frombuffer(result.symbols[enumeration.SYMBOL], "<u4")
    table = np.frombuffer(vpu_enumerate.table_path(plan).read_bytes(), "<u4")
    assert (got == table[509 * np.arange(8)]).all()
