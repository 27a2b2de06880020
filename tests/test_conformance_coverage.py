"""Coverage points: derived from the specification, and missed ones are seen."""

from __future__ import annotations

import pytest

from emulator.conformance.case import PROFILES
from emulator.conformance.coverage import IMPOSSIBLE, of_instruction, points, profile_of, rules
from emulator.conformance.coverage_formats import FORMATS
from emulator.conformance.points import points_of_word
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import Format, Layout, ScaleKind
from isa.spec import BY_MNEMONIC, INSTRUCTIONS
from isa.spec.model import Kind


def test_points_of_a_few_instructions() -> None:
    found = points()
    for point in (
        "instruction:nop", "modifier:gemm", "modifier:gemm.acc", "modifier:gemm.acc.split2",
        "modifier:vcmp.scalar.ge", "operand:readout.row:yes", "operand:gemm.bounds:no",
        "format:gemm.w:E2M1.NV16.PANEL", "format:vcvt.a:E8M0", "fault:dmas:read_only",
        "fault:*:illegal_instruction", "fault:*:bad_pc", "fault:*:deadlock", "rule:fault-rest",
    ):  # fmt: skip
        assert point in found, point
    for point in ("modifier:nop", "format:vadd.dst:U8", "fault:nop:bad_tile", "fault:*:bad_tile"):
        assert point not in found
    assert not IMPOSSIBLE & set(found)


def test_every_point_belongs_to_a_profile() -> None:
    assert {profile_of(point) for point in points()} <= set(PROFILES)


def test_the_table_of_formats_fits_the_specification() -> None:
    """Each operand that is a descriptor has formats, and the names are real."""
    for entry in INSTRUCTIONS:
        tensors = {
            op.name
            for op in entry.operands
            if op.kind in (Kind.D, Kind.D_OR_NUM) and "bad_descriptor" in entry.faults
        }
        assert set(FORMATS.get(entry.mnemonic, {})) == tensors, entry.mnemonic
        for formats in FORMATS.get(entry.mnemonic, {}).values():
            assert len(set(formats)) == len(formats)
            for name in formats:
                first, *more = name.split(".")
                assert first in Format.__members__
                assert set(more) <= {*ScaleKind.__members__, "PANEL"}


def test_points_of_a_word() -> None:
    low, high = encode("gemm.acc.split4", acc=0, a=1, w=2)
    w = Descriptor(Space.TSRAM, Format.E2M1, (16, 64), (1024, 1), 0, Layout.PANEL, ScaleKind.MX32)
    assert points_of_word(low, high, {"w": w}) == {
        "instruction:gemm", "modifier:gemm.acc", "modifier:gemm.split4",
        "modifier:gemm.acc.split4", "operand:gemm.bounds:no", "format:gemm.w:E2M1.MX32.PANEL",
    }  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_rules_have_a_line_each(profile: str) -> None:
    for name, text in rules(profile).items():
        assert name == name.lower() and " " not in name
        assert text and "\n" not in text and len(text) < 200


def test_points_of_an_instruction_are_all_points_with_its_name() -> None:
    mine = of_instruction(BY_MNEMONIC["readout"])
    assert mine == [p for p in points() if p.split(":")[1].split(".")[0] == "readout"]
