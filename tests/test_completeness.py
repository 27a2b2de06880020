"""Every instruction has all of its parts; one that is only specified lacks them all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.conformance.completeness import missing
from emulator.conformance.coverage import points
from isa.spec import BY_MNEMONIC, INSTRUCTIONS
from isa.spec.model import Instruction, Unit, d

PARTS = ["semantics", "fast executor", "timing", "vectors", "documentation"]

MADE_UP = {
    "vgelu": Instruction(
        "vgelu", 0x47, Unit.VPU, "Made up.", (d(0, "dst", "result"), d(1, "a", "tensor")), (),
        "dst = gelu(a)", ("misaligned",), "vector_gelu",
    ),
    "trap": Instruction("trap", 0x1F, Unit.CTL, "Made up.", meaning="stop", timing="trap"),
    "gemv": Instruction("gemv", 0x33, Unit.MXU, "Made up.", meaning="as gemm", timing="gemm"),
    "dmax": Instruction("dmax", 0x73, Unit.DMA, "Made up.", meaning="as dma", timing="gather"),
}  # fmt: skip


def test_the_specification_is_complete() -> None:
    assert missing(INSTRUCTIONS) == []


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_instruction_lacks_everything(name: str) -> None:
    problems = missing([*INSTRUCTIONS[:3], MADE_UP[name]], points())
    assert [problem.split(": ")[0] for problem in problems] == [name] * len(PARTS)
    assert [problem.split(": ")[1] for problem in problems] == PARTS


def test_a_changed_instruction_lacks_what_has_changed() -> None:
    vadd = BY_MNEMONIC["vadd"]
    there = points()
    (problem,) = missing([replace(vadd, summary="Something else.")], there)
    assert problem == "vadd: documentation: docs/isa/vector.md lacks it"
    (problem,) = missing([replace(vadd, faults=(*vadd.faults, "bad_tile"))], there)
    assert problem == "vadd: vectors: no case covers fault:vadd:bad_tile"
    (problem,) = missing([replace(vadd, timing="vector3")], there)
    assert problem == "vadd: timing: no class 'vector3'"


def test_a_point_without_a_case_is_missed() -> None:
    less = set(points()) - {"modifier:gemm.acc.split4"}
    (problem,) = missing([BY_MNEMONIC["gemm"]], less)
    assert problem == "gemm: vectors: no case covers modifier:gemm.acc.split4"
