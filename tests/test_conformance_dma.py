"""The DMA cases: complete, and right on both executors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from conformance_cases import CHIP, build, check_all, check_profile, every

from emulator.conformance.case import Case
from emulator.conformance.copies import Copies
from emulator.conformance.device import run
from emulator.conformance.judge import Status, judge
from isa.descriptor import Descriptor, Space
from isa.formats import Format


@cache
def cases() -> list[Case]:
    return build("dma")


def test_the_suite_is_complete() -> None:
    check_profile("dma", cases())


def test_all_cases_on_the_fast_executor() -> None:
    check_all(cases(), "fast")


def test_a_sample_on_the_reference_executor() -> None:
    check_all([*cases()[::3], *(maker.case(CHIP) for maker in every(4, "dma"))], "reference")


def test_a_byte_beside_the_destination_is_seen() -> None:
    """The whole window is compared, not the destination alone."""
    c = Copies(CHIP, "dma/dma/made-up", "a copy")
    source, target = c.window(Space.HBM, size=64), c.window(Space.TSRAM, 1, 0x40, 64)
    row = Descriptor(Space.TSRAM, Format.U8, (8,), (1,), target.base + 8, owner=1)
    c.do("dma", dst=row, src=Descriptor(Space.HBM, Format.U8, (8,), (1,), source.base))
    case = c.case()
    result = run(case.program, CHIP, "fast")
    assert judge(case, result).status is Status.PASS
    for at in range(64):
        spoilt = dict(result.symbols)
        data = np.frombuffer(spoilt["out"], "u1").copy()
        data[at] ^= 1
        spoilt["out"] = data.tobytes()
        verdict = judge(case, type(result)(symbols=spoilt))
        assert verdict.status is Status.FAIL
        assert ("dst0" in verdict.detail) is (8 <= at < 16)


@pytest.mark.parametrize("rows", [(2, 2, 2), (0, 1, 0)])
def test_the_model_scatters_in_ascending_order(rows: tuple[int, ...]) -> None:
    c = Copies(CHIP, "dma/dmas/made-up", "a scatter")
    table, listed = c.window(Space.HBM, size=16), c.window(Space.HBM, size=16)
    data = b"".join(row.to_bytes(4, "little") for row in rows)
    c.window(Space.TSRAM, 0, 0x100, data=data)
    index = Descriptor(Space.TSRAM, Format.I32, (3,), (1,), 0x100)
    src = Descriptor(Space.HBM, Format.U8, (3, 4), (4, 1), listed.base)
    c.do("dmas", dst=Descriptor(Space.HBM, Format.U8, (4, 4), (4, 1), table.base), src=src,
         index=index)  # fmt: skip
    for row in range(4):
        if row in rows:
            last = len(rows) - 1 - rows[::-1].index(row)
            assert table.data[4 * row : 4 * row + 4] == listed.data[4 * last : 4 * last + 4]
