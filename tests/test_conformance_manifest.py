"""What a manifest says of a case: its instructions, and whose operands its tensors are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conformance_cases import CHIP, outside

from emulator.conformance.case import Case
from emulator.conformance.entry import Entry
from emulator.conformance.judge import judge
from emulator.conformance.kit import makers
from emulator.conformance.suites import dma_edges

NAMES = [
    "vpu/shapes/in-place", "vpu/vscan/in-place", "quant/vquant/e2m1-neighbours",
    "mxu/readout/strides",
]  # fmt: skip


def build(name: str) -> Case:
    """A case of the kit."""
    profile = name.partition("/")[0]
    return next(maker for maker in makers([profile]) if maker.name == name).case(CHIP)


@pytest.mark.parametrize("name", NAMES)
def test_what_changes_is_a_result(name: str) -> None:
    """Also where an instruction writes over its operand, and where it writes scales."""
    assert outside(build(name)) == []


def test_a_wrong_result_in_place_is_named() -> None:
    case = build("vpu/shapes/in-place")
    left = bytearray(case.expected.symbols["tsram"])
    left[0] ^= 1
    wrong = replace(case.expected, symbols=case.expected.symbols | {"tsram": bytes(left)})
    detail = judge(case, wrong).detail
    assert "[0, 0] is FP32" in detail and "nothing was to be written" not in detail


def test_tensors_name_their_instruction_and_operand() -> None:
    """Of instructions that are alike as well, and of a tensor that is an operand twice."""
    case = build("vpu/shapes/in-place")
    data = Entry.of(case, {}).data()
    uses = {(t["instruction"], t["operand"]) for t in data["tensors"]}
    assert len(uses) == len(data["tensors"])
    for number, line in enumerate(data["operation"]):
        assert (number, "dst") in uses, line
    roles = {(t["instruction"], t["operand"]): t["role"] for t in data["tensors"]}
    assert all((role == "out") == (use[1] == "dst") for use, role in roles.items())


def test_a_copy_s_destination_names_its_instruction() -> None:
    maker = next(m for m in dma_edges.makers() if m.name == "dma/dma/sizes-hbm-tsram")
    case = maker.case(CHIP)
    for view in case.views:
        assert view.instruction is not None and view.operand == "dst"
        if view.instruction < len(case.operation):
            assert case.operation[view.instruction].startswith("dma ")
        else:
            assert case.cut


def test_a_cut_operation_says_so() -> None:
    long, short = build("dma/dma/sizes-hbm-tsram"), build("vpu/shapes/in-place")
    data = json.loads(json.dumps(Entry.of(long, {}).data()))
    assert long.cut and data["cut"] is True and len(data["operation"]) == 40
    assert not short.cut and "cut" not in Entry.of(short, {}).data()


def test_an_entry_comes_back_as_it_was() -> None:
    files = {
        kind: {"file": f"{folder}/vpu/shapes/in-place.{end}", "bytes": 1, "sha256": "0" * 64}
        for kind, folder, end in (("program", "programs", "bin"), ("expected", "expected", "txt"))
    }
    case = replace(build("vpu/shapes/in-place"), cut=True)
    entry = Entry.read(Entry.of(case, {}).data() | files, "here")
    assert entry.views == case.views and entry.cut
