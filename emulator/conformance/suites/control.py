"""Cases of the control processor: scalars, branches, loops, descriptors, loads, issue."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import (
    control_flow,
    control_issue,
    control_load,
    control_loop,
    control_moved,
    control_scalar,
)

RULES: Final = {
    "scalar-wrap": "scalar arithmetic is 64-bit two's complement and wraps",
    "scalar-unsigned": "divu and remu are unsigned, min, max and branches signed",
    "scalar-shift": "a shift goes by the low six bits of its amount",
    "scalar-immediate": "an immediate is extended with its sign and added to its register",
    "scalar-r0": "r0 reads 0 and ignores writes",
    "scalar-names": "one register may be destination and source",
    "branch-target": "a branch goes to its target forwards and backwards, or to what follows",
    "call-stack": "calls nest to 8; a return goes behind its call",
    "loop-count": "a loop's body runs count times, as read when it begins; not if it is <= 0",
    "loop-nest": "loops nest to 8; several may end at one place, the innermost first",
    "loop-end": "the end of the innermost loop is looked at however the next pc comes about",
    "loop-left": "a loop that was left by a jump stays on the stack",
    "load-extend": "ld extends I32 with its sign and U8 with zeros",
    "load-place": "ld reads HBM and the own TSRAM, with strides",
    "descriptor-table": "dld takes an entry of the table, dmov a register: copies of all 16 words",
    "descriptor-fields": "dset and dadd change one field and no other",
    "descriptor-wrap": "sstride0 and sstride1 wrap at 40 and 24 bits and keep each other's bits",
    "issue-capture": "descriptors and scalars are captured when an instruction is issued",
    "issue-late": "memory is read when an instruction is executed, not when it is issued",
    "issue-depth": "a full queue holds the control processor up and loses nothing",
    "halt-queues": "a tile that has halted finishes what its units were given",
    "entry-clear": "an entry begins with cleared registers, loops and calls; memory persists",
}


def makers() -> list[Maker]:
    """The cases."""
    parts = (
        control_scalar, control_flow, control_loop, control_load, control_moved, control_issue,
    )  # fmt: skip
    return [maker for part in parts for maker in part.makers()]
