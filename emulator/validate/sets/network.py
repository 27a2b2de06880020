"""Two neighbours on a mesh against a measured curve of packet sizes."""

from __future__ import annotations

from pathlib import Path

from emulator.validate.case import Case, Predict, Set
from emulator.validate.facts import read
from emulator.validate.predict import cycles
from isa.assembler import assemble
from isa.chip import Chip
from isa.program import Program

CHIP = "wormhole-noc"
CITATION = (
    "Tenstorrent's performance estimator (tt-npe, wormhole_b0.hpp): measured bytes a cycle of one "
    "transfer by its packets' size"
)
PACKETS = 64

_SOURCE = """
.const SIZE = {size}
.desc here  tsram:0 u8[{packets}, SIZE] stride[2 * SIZE, 1]
.desc there tsram:0 u8[{packets}, SIZE] owner=1
.entry send
        rdsr r9, TILE_ID
        bne  r9, 0, done
        dld  d0, there
        dld  d1, here
        dma  dma0, d0, d1
done:   halt
"""


def packets(_: Path | None) -> Set:
    """The curve; its first point is what the chip's one constant is fitted on."""
    cases = tuple(
        Case(f"packets of {row['bytes']} bytes", float(row["B/cycle"]), _rate(int(row["bytes"])),
             fitting=i == 0)
        for i, row in enumerate(read("wormhole_noc.csv"))
    )  # fmt: skip
    return Set("noc-packets", "Wormhole, one sender", CHIP, "B/cycle", CITATION, cases)


def _rate(size: int) -> Predict:
    return lambda chip: PACKETS * size / cycles(strided_copy(chip, size), chip)


def strided_copy(chip: Chip, size: int) -> Program:
    """A program whose first tile sends packets of `size` bytes to its neighbour."""
    return assemble(_SOURCE.format(size=size, packets=PACKETS), "send", chip)
