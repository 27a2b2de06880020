"""A descriptor that was moved is used: every word of it must have come along."""

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
    return [Maker("control/dmov/scales", _scales)]


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
