"""Cases of the kit on our own executors."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from emulator.conformance.case import Case, Maker
from emulator.conformance.coverage import holes, unknown
from emulator.conformance.device import run
from emulator.conformance.draft import SYMBOL
from emulator.conformance.image import BITS, bit_addresses, scale_addresses
from emulator.conformance.judge import Status, judge
from emulator.conformance.kit import LEAST, makers
from emulator.conformance.operands import written
from emulator.conformance.result import from_text, to_text
from isa.chip import load_chip
from isa.descriptor import Descriptor
from isa.formats import ScaleKind
from isa.spec import BY_MNEMONIC

CHIP = load_chip("t1-mini")


def build(profile: str) -> list[Case]:
    """All cases of the fast suite of a profile."""
    return [maker.case(CHIP) for maker in makers([profile])]


def check_all(cases: Iterable[Case], executor: str) -> None:
    """Every case passes on an executor."""
    verdicts = [judge(case, run(case.program, CHIP, executor)) for case in cases]
    assert [v for v in verdicts if v.status is not Status.PASS] == []


def check_profile(profile: str, cases: list[Case]) -> None:
    """What holds for the cases of every profile."""
    assert holes(cases, [profile]) == []
    assert unknown(cases) == []
    for case in cases:
        assert case.note and case.expected.symbols
        assert case.covers or case.expected.outcome == "completed"
        assert from_text(to_text(case.expected)) == case.expected
        assert case.expected.outcome == ("faulted" if case.expected.faults else "completed")
        assert len(case.image) <= LEAST["tile.tsram.bytes"]
        assert outside(case) == [], case.name
        check_operands(case)


def outside(case: Case) -> list[int]:
    """The bytes of the vectors that change though no result of the manifest has them."""
    if not case.image:
        return []
    before, after = (np.frombuffer(d, "u1") for d in (case.image, case.expected.symbols[SYMBOL]))
    changed = before != after
    for view in case.views:
        if view.result:
            changed[_bytes(view.descriptor)] = False
    return [int(at) for at in np.flatnonzero(changed)]


def _bytes(d: Descriptor) -> NDArray[np.int64]:
    """Where a tensor and its scales lie."""
    width = max(BITS[d.format] // 8, 1)
    places = bit_addresses(d).reshape(-1, 1) // 8 + np.arange(width)
    scales = scale_addresses(d) if d.scale_kind is not ScaleKind.NONE else np.zeros(0, np.int64)
    return np.concatenate([places.reshape(-1), scales.reshape(-1)])


def check_operands(case: Case) -> None:
    """Each tensor that has an instruction is that one's operand, and a result if it is written."""
    for view in case.views:
        if view.instruction is not None and view.instruction < len(case.operation):
            entry = BY_MNEMONIC[re.split("[ .]", case.operation[view.instruction])[0]]
            assert view.operand in [operand.name for operand in entry.operands], case.name
            assert view.result is (view.operand in written(entry.mnemonic)), case.name
        else:
            assert case.cut or view.instruction is None, case.name


def every(step: int, profile: str, first: int = 0) -> list[Maker]:
    """A sample of the full suite's cases."""
    return [maker for maker in makers([profile], full=True) if maker.full][first::step]


def sample(step: int, profile: str, first: int = 0) -> list[object]:
    """The same as parameters of a test."""
    return [pytest.param(maker, id=maker.name) for maker in every(step, profile, first)]
