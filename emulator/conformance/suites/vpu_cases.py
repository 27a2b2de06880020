"""What the vector unit's case writers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.parts import ints
from emulator.conformance.oracle.vector import elementwise
from isa.chip import Chip
from isa.descriptor import Descriptor
from isa.formats import Format

FLOATS = (Format.FP32, Format.BF16, Format.FP16)
SHORT = {Format.FP32: "fp32", Format.BF16: "bf16", Format.FP16: "fp16"}
Writer = Callable[[Draft], Iterable[str]]


def written(name: str, write: Writer, note: str = "") -> Maker:
    """A case that a function writes into a draft; it returns the rules it covers."""

    def make(chip: Chip, name: str) -> Case:
        d = Draft(chip, name, note or (write.__doc__ or "").partition("\n")[0])
        return d.case([f"rule:{rule}" for rule in write(d)])

    return Maker(name, make)


def compute(
    d: Draft, mnemonic: str, target: Format, *operands: tuple[Format, Any], **fields: Any
) -> Descriptor:
    """An elementwise instruction on fresh operands, with its expected result."""
    arrays = [(fmt, ints(codes)) for fmt, codes in operands]
    named = zip("abce", arrays, strict=False)
    tensors = {name: d.tensor(name, fmt, codes) for name, (fmt, codes) in named}
    y = d.result("y", target, arrays[0][1].shape)
    d.do(mnemonic, dst=y, **tensors, **fields)
    d.expect(y, elementwise(mnemonic, target, *arrays))
    return y
