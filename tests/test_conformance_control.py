"""The control processor's cases: complete, and right on both executors under every schedule."""

from __future__ import annotations

from functools import cache

import pytest
from conformance_cases import CHIP, build, check_all, check_profile, every

from emulator.conformance import device
from emulator.conformance.case import Case
from emulator.reference.machine import ReferenceMachine


@cache
def cases() -> list[Case]:
    return build("control")


def test_the_suite_is_complete() -> None:
    check_profile("control", cases())


def test_all_cases_on_the_fast_executor() -> None:
    check_all([*cases(), *(maker.case(CHIP) for maker in every(3, "control"))], "fast")


def test_a_sample_on_the_reference_executor() -> None:
    check_all(cases()[::2], "reference")


def test_no_schedule_changes_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A race would make a case depend on the device's order of units."""
    chosen = cases()[1::6]

    def shuffled(program: object, chip: object, executor: str) -> ReferenceMachine:
        return ReferenceMachine(program, chip, schedule_seed=5)  # type: ignore[arg-type]

    monkeypatch.setattr(device, "make_machine", shuffled)
    check_all(chosen, "reference")
