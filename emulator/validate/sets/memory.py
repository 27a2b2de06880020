"""One channel of HBM3 against a published sweep of a DRAM simulator."""

from __future__ import annotations

from pathlib import Path

from emulator.validate.case import Case, Predict, Set
from emulator.validate.facts import read
from emulator.validate.predict import cycles
from isa.assembler import assemble
from isa.chip import Chip
from isa.program import Program

CHIP = "hbm3-6400-channel"
CITATION = "Ramulator 2.1, HBM3-6400, one channel, reads of pieces in random banks and rows"
NOTE = (
    "random rows: a gather whose list the timing model does not see; it spreads them by a hash. "
    "tRCD, tRP and tRTP are estimates (13, 13, 5 ns)"
)
TOTAL = 1 << 20  #: bytes read: long enough that the first access does not count

_SOURCE = """
.const ROWS = {rows}
.const SIZE = {size}
.region memory 0 {span} io ro
.desc source hbm:0 u8[{span} / SIZE, SIZE]
.desc list tsram:0 i32[ROWS]
.desc target tsram:ROWS * 4 u8[ROWS, SIZE]
.entry gather
        dld d0, target
        dld d1, source
        dld d2, list
        dmag dma0, d0, d1, d2
        halt
"""


def channel(_: Path | None) -> Set:
    """The sweep over piece sizes, and that over the queue's entries."""
    cases = []
    for row in read("hbm3_channel.csv"):
        size, queue = int(row["bytes"]), int(row["queue"])
        name = f"pieces of {size:,} bytes, {queue} entries"
        cases.append(Case(name, float(row["GB/s"]), _rate(size, queue)))
    title = "One HBM3-6400 channel, random reads"
    return Set("hbm3-channel", title, CHIP, "GB/s", CITATION, tuple(cases), (NOTE,))


def _rate(size: int, queue: int) -> Predict:
    def predict(chip: Chip) -> float:
        chip = chip.with_(**{"hbm.queue": queue})
        taken = cycles(random_reads(chip, size), chip) - chip.hbm.latency
        return TOTAL / taken * chip.clock_hz / 1e9

    return predict


def random_reads(chip: Chip, size: int) -> Program:
    """A program that gathers TOTAL bytes in rows of `size` bytes from the whole of HBM."""
    span = chip.hbm.bytes // size * size
    return assemble(_SOURCE.format(rows=TOTAL // size, size=size, span=span), "gather", chip)
