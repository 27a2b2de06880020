"""Descriptors are used that were moved, or changed where nobody looks."""

from __future__ import annotations

import numpy as np

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import quantise
from isa.chip import Chip
from isa.formats import Format, ScaleKind

_VPU = 2


def makers() -> list[Maker]:
    """All of them."""
    return [
        Maker("control/dmov/scales", _scales),
        Maker("control/dset/beyond-the-rank", _beyond_the_rank),
    ]


def _beyond_the_rank(chip: Chip, name: str) -> Case:
    """Dimensions and strides that the rank leaves out may be anything."""
    d = Draft(chip, name, "vcopy by descriptors of rank 2 with rubbish behind the second dimension")
    codes = np.arange(3 * 5).reshape(3, 5) + 0x3F800000
    source, target = d.tensor("x", Format.FP32, codes), d.result("y", Format.FP32, (3, 5))
    for register, operand in enumerate((target, source)):
        d.load(register, operand)
        for number, field in enumerate(("dim2", "dim3", "stride2", "stride3")):
            d.emit(
                "dset", dst=register, field=field, b=(0, (-5, 1 << 30, -1, 0)[number - register])
            )
    d.emit("vcopy", dst=0, a=1)
    d.fence(_VPU)
    d.expect(target, codes)
    return d.case(["rule:descriptor-fields"])


def _scales(chip: Chip, name: str) -> Case:
    """A copied descriptor has the scale's address and strides as well."""
    d = Draft(chip, name, "quantise by a descriptor that was moved")
    codes = 0x3F000000 + np.arange(3 * 64).reshape(3, 64) * 0x12345
    source = d.tensor("x", Format.FP32, codes)
    y = d.result("y", Format.E4M3FN, (3, 64), ScaleKind.MX32)
    d.load(7, y)
    d.load(1, source)
    d.emit("dmov", dst=0, src=7)
    d.emit("vquant", dst=0, src=1)
    d.fence(_VPU)
    want = quantise.vquant_mx(Format.E4M3FN, Format.FP32, codes, False)
    d.expect(y, want.codes, want.scales)
    return d.case(["rule:descriptor-table"])
