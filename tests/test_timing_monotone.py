"""More bandwidth and deeper buffers do not make programs slower.

Events may fall out worse by chance, so the law is not exact: 1 % on shipped programs, a factor of 2
on random streams. TESSERA_LAWS=N tries N random cases of every law (`make laws`: 10,000).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from asm_cases import CASES, CHIP, program
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases
from numpy.typing import NDArray
from test_timing_streams import MINI, T1, random_stream, timed

from emulator.accounting import ProgramInfo
from emulator.bench.programs import decoder_program
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from emulator.timing import Timing
from isa.chip import Chip
from isa.program import Program

#: Keys that are bandwidths or buffers, and by how much they grow.
BETTER = {
    "hbm.bytes_per_second": 2,
    "hbm.queue": 2,
    "noc.link_bytes": 2,
    "cluster.csram.bytes_per_cycle": 2,
    "tile.dma.bytes_per_cycle": 2,
    "tile.dma.outstanding": 2,
    "tile.queue_depth": 2,
    "tile.tsram.banks": 2,
    "tile.acc.bytes_per_cycle": 2,
    "tile.vpu.lanes": 2,
    "tile.mxu.weight_load_rows_per_cycle": 2,
}

Entries = list[tuple[str, list[NDArray[np.int64]]]]


def improved(chip: Chip, key: str) -> Chip:
    """The chip with one bandwidth or buffer enlarged."""
    value: object = chip
    for name in key.split("."):
        value = getattr(value, name)
    assert isinstance(value, int | float)
    return chip.with_(**{key: value * BETTER[key]})


class Kept:
    """An observer that keeps the records of every entry."""

    def __init__(self) -> None:
        self.entries: Entries = []

    def begin(self, entry: str) -> None:
        self.entries.append((entry, []))

    def feed(self, chunk: NDArray[np.int64]) -> None:
        self.entries[-1][1].append(chunk)

    def end(self) -> None:
        pass


@cache
def shipped(name: str) -> tuple[Program, Chip, Entries]:
    """A program's stream: of programs/asm, or a compiled decoder's two steps."""
    if name in CASES:
        chunks: list[NDArray[np.int64]] = []
        machine, case = FastMachine(program(name), CHIP), CASES[name]
        for buffer, array in case.inputs().items():
            machine.write(buffer, array)
        machine.ring(next(iter(program(name).entries)), case.arguments, chunks.append)
        return program(name), CHIP, [("main", chunks)]
    model, rows = name.split(" x ")
    compiled, kept = decoder_program(model, 2), Kept()
    chip = T1.with_hbm(compiled.chip.architecture["hbm.bytes"])
    decoder = Decoder(FastMachine(compiled, chip, timing_only=True), kept)
    decoder.step([Request(decoder.open(), [1] * int(rows))])
    return compiled, chip, kept.entries


@cache
def shipped_cycles(name: str, key: str | None) -> int:
    """Cycles of its last entry, with a part of the chip improved."""
    compiled, chip, entries = shipped(name)
    timing = Timing(chip if key is None else improved(chip, key), ProgramInfo.of(compiled))
    for entry, chunks in entries:
        timing.begin(entry)
        for chunk in chunks:
            timing.feed(chunk)
        found = timing.end()
    return found.cycles


@pytest.mark.parametrize("key", BETTER)
@pytest.mark.parametrize("name", [*sorted(CASES), "8b x 1", "8b x 64"])
def test_no_shipped_program_gets_slower(name: str, key: str) -> None:
    assert shipped_cycles(name, key) <= 1.01 * shipped_cycles(name, None)


@settings(max_examples=cases(100))
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(BETTER)))
def test_no_random_stream_gets_much_slower(seed: int, key: str) -> None:
    records = random_stream(MINI, seed)
    assert timed(improved(MINI, key), records).cycles <= 2 * timed(MINI, records).cycles
