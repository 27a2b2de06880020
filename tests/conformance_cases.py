"""Cases of the kit on our own executors."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from emulator.conformance.case import Case, Maker
from emulator.conformance.coverage import holes, unknown
from emulator.conformance.device import run
from emulator.conformance.judge import Status, judge
from emulator.conformance.kit import makers
from emulator.conformance.result import from_text, to_text
from isa.chip import load_chip

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


def every(step: int, profile: str, first: int = 0) -> list[Maker]:
    """A sample of the full suite's cases."""
    return [maker for maker in makers([profile], full=True) if maker.full][first::step]


def sample(step: int, profile: str, first: int = 0) -> list[object]:
    """The same as parameters of a test."""
    return [pytest.param(maker, id=maker.name) for maker in every(step, profile, first)]
