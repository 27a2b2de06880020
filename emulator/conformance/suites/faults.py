"""Cases of faults: every fault of every instruction, and what goes on after one."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import (
    faults_control,
    faults_deadlock,
    faults_rest,
    faults_tensor,
    faults_words,
)

RULES: Final[dict[str, str]] = {
    "fault-rest": "after a fault everything else goes on until nothing moves",
    "fault-alone": "a deadlock is reported only if no other fault was raised",
    "fault-sorted": "faults are reported sorted by tile, unit and pc",
    "fault-first": "a unit stops at its first fault",
    "fault-signal": "a signal that faults adds nowhere",
}


def makers() -> list[Maker]:
    """The cases."""
    parts = (faults_tensor, faults_words, faults_control, faults_deadlock, faults_rest)
    return [maker for part in parts for maker in part.makers()]
