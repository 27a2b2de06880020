"""What must hold between passes; a violation is a defect of the compiler, never of the user."""

from __future__ import annotations

import itertools

from compiler.emit import Code, Label
from compiler.errors import CompileError
from compiler.lower.context import Plan
from isa.descriptor import Space


def verify_plan(plan: Plan) -> None:
    """Regions apart and inside HBM, memories not exceeded, buffers inside CSRAM."""
    regions = sorted(plan.hbm.regions, key=lambda region: region.base)
    for before, after in itertools.pairwise(regions):
        _check(before.base + before.size <= after.base, f"{before.name} overlaps {after.name}")
    _check(plan.tile.used <= plan.tile.size, "tile memory exceeded")
    for rows in plan.buffers.rows.values():
        end = rows.data.base + rows.data.rows * rows.data.row_bytes
        if rows.data.space is Space.CSRAM:
            _check(end <= plan.chip.cluster.csram.bytes, f"buffer {rows.name} beyond CSRAM")
    _check(plan.buffers.csram <= plan.chip.cluster.csram.bytes, "CSRAM exceeded")


def verify_code(code: Code) -> None:
    """Labels placed inside the code; every semaphore that is waited for is signalled."""
    waited, signalled = set(), set()
    for line in code.lines:
        for value in line.fields.values():
            if isinstance(value, Label):
                _check(0 <= value.index <= len(code.lines), f"label {value.name} not placed")
        if line.mnemonic == "wait":
            waited.add(line.fields["sem"])
        if line.mnemonic == "signal":
            signalled.add(line.fields["sem"])
    _check(waited <= signalled, f"semaphores never signalled: {waited - signalled}")


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise CompileError(f"internal: {problem}")
