"""Predicted cycles: each row's program, run without values and timed by the timing model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.validate.gemmini.lowering import ENTRY, program_of
from emulator.validate.gemmini.nest import Nest, nest_of
from emulator.validate.gemmini.rows import Row
from emulator.validate.gemmini.sampling import sample
from isa.chip import Chip
from isa.program import Program

STEPS = 1000  #: tiles of a row that are simulated at most, more or less
Chunks = list[NDArray[np.int64]]


@dataclass(frozen=True)
class Stream:
    """A row's retire stream. It depends on no number that only changes cycles."""

    nest: Nest
    program: Program
    chunks: Chunks
    weights: tuple[float, ...]  #: of the program's segments


def predict(
    rows: Sequence[Row],
    chip: Chip,
    progress: Callable[[int], Any] | None = None,
    processes: int = 1,
    steps: int = STEPS,
) -> list[float]:
    """Cycles of every row on `chip`; `progress` is told how many rows are done."""
    found = []
    for cycles in _each(rows, chip, processes, steps):
        found.append(cycles)
        if progress is not None:
            progress(len(found))
    return found


def _each(rows: Sequence[Row], chip: Chip, processes: int, steps: int) -> Iterator[float]:
    if processes <= 1 or len(rows) < 2 * processes:
        yield from (cycles_of(row, chip, steps) for row in rows)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        many = len(rows)
        yield from pool.map(cycles_of, rows, [chip] * many, [steps] * many, chunksize=8)


def cycles_of(row: Row, chip: Chip, steps: int = STEPS) -> float:
    """Cycles of one row."""
    stream = stream_of(row, chip, steps)
    return timed(stream, with_edge(chip, stream.nest.edge))


def with_edge(chip: Chip, edge: int) -> Chip:
    """The chip with the array that a row was run on."""
    return chip.with_(**{"tile.mxu.rows": edge, "tile.mxu.columns": edge})


def stream_of(row: Row, chip: Chip, steps: int = STEPS) -> Stream:
    """The retire stream of a row's program."""
    from emulator.fast.machine import FastMachine

    nest = nest_of(row)
    segments = sample(nest.levels, steps)
    program = program_of(nest, segments, chip)
    chunks: Chunks = []
    FastMachine(program, chip, timing_only=True).ring(ENTRY, (), chunks.append)
    return Stream(nest, program, chunks, tuple(segment.weight for segment in segments))


def timed(stream: Stream, chip: Chip) -> float:
    """Cycles of a stream: each segment's own, as often as it stands for, and the host's part."""
    from emulator.timing import ProgramInfo, Timing

    timing = Timing(chip, ProgramInfo.of(stream.program))
    timing.begin(ENTRY)
    for chunk in stream.chunks:
        timing.feed(chunk)
    found = timing.end()
    more = np.array([weight - 1 for weight in stream.weights])
    inside = found.keys[:, 0] == stream.program.debug.ops.index(ENTRY)
    extra = (found.exclusive * inside) @ more[found.keys[:, 1] * inside]
    host = (chip.host.doorbell_s + chip.host.return_s) * chip.clock_hz
    return float(found.cycles + extra + host)
