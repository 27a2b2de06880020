"""The six constants that no source gives, fitted on the odd rows.

    emu validate --fit gemmini-128 --data DIR

Minimises the mean of |log(predicted / measured)|, cut off at 1, by going through the constants in
turn, each by smaller and smaller factors. Deterministic: it starts from the numbers here, whatever
the chip's file says. A row's retire stream is made once, since none of these constants changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np

from emulator.validate.gemmini.predict import Stream, stream_of, timed, with_edge
from emulator.validate.gemmini.rows import Row
from isa.chip import Chip

#: Where the search starts: round numbers of the right order.
START: dict[str, float] = {
    "control.scalar": 5,
    "control.issue": 2,
    "tile.mxu.min_interval": 4,
    "hbm.tfaw_ns": 4.0,
    "hbm.bytes_per_second": 8e9,
    "host.doorbell_s": 1e-6,
}
WHOLE = ("control.scalar", "control.issue", "tile.mxu.min_interval")
FACTORS = (1.3, 1.1, 1.03)
STEPS = 200  #: tiles of a row that are simulated, more or less
WORST = 1.0  #: |log| beyond which a row counts no more

Cycles = Callable[[dict[str, float]], list[float]]


def fit(
    rows: Sequence[Row],
    chip: Chip,
    processes: int = 1,
    steps: int = STEPS,
    tell: Callable[[str], Any] | None = None,
) -> dict[str, float]:
    """The fitted constants by their paths in the chip, for the rows given (the odd ones)."""
    measured = np.array([row.cycles for row in rows])
    with _cycles(rows, chip, processes, steps) as cycles:

        def loss(values: dict[str, float]) -> float:
            errors = np.abs(np.log(np.array(cycles(values)) / measured))
            return float(np.minimum(errors, WORST).mean())

        return rounded(descend(loss, dict(START), tell))


def rounded(values: dict[str, float]) -> dict[str, float]:
    """The constants as the chip's file has them: three digits."""
    short = {name: float(f"{value:.3g}") for name, value in values.items()}
    return {name: int(value) if name in WHOLE else value for name, value in short.items()}


def descend(
    loss: Callable[[dict[str, float]], float],
    values: dict[str, float],
    tell: Callable[[str], Any] | None = None,
) -> dict[str, float]:
    """Smaller and smaller steps in one constant at a time, while they help."""
    best = loss(values)
    for factor in FACTORS:
        improved = True
        while improved:
            improved = False
            for name in values:
                for change in (factor, 1 / factor):
                    while (found := loss(tried := _changed(values, name, change))) < best:
                        values, best, improved = tried, found, True
            if tell is not None:
                tell(f"factor {factor}: loss {best:.4f}")
    return values


def _changed(values: dict[str, float], name: str, factor: float) -> dict[str, float]:
    """The constants with one of them larger or smaller: a whole number by 1 at least."""
    value = values[name] * factor
    if name in WHOLE:
        step = 1 if factor > 1 else -1
        nearest = round(value)
        value = nearest if nearest != values[name] else max(0, values[name] + step)
    return values | {name: value}


@contextmanager
def _cycles(rows: Sequence[Row], chip: Chip, processes: int, steps: int) -> Iterator[Cycles]:
    """Cycles of all rows as a function of the constants; each process keeps its rows' streams."""
    count = max(1, min(processes, len(rows)))
    if count == 1:
        _begin(rows, chip, steps)
        yield _all
        return
    shares = [rows[i::count] for i in range(count)]
    pools = [
        ProcessPoolExecutor(1, get_context("spawn"), _begin, (share, chip, steps))
        for share in shares
    ]

    def cycles(values: dict[str, float]) -> list[float]:
        found = [0.0] * len(rows)
        waiting = [pool.submit(_all, values) for pool in pools]
        for i, future in enumerate(waiting):
            found[i::count] = future.result()
        return found

    try:
        yield cycles
    finally:
        for pool in pools:
            pool.shutdown()


_streams: list[Stream] = []
_chips: list[Chip] = []


def _begin(rows: Sequence[Row], chip: Chip, steps: int) -> None:
    """Make this process's streams."""
    _streams[:] = [stream_of(row, chip, steps) for row in rows]
    _chips[:] = [chip]


def _all(values: dict[str, float]) -> list[float]:
    """Cycles of this process's rows."""
    whole = {name: int(value) if name in WHOLE else value for name, value in values.items()}
    edges = {stream.nest.edge for stream in _streams}
    base = _chips[0].with_(**whole)
    chips = {edge: with_edge(base, edge) for edge in edges}
    return [timed(stream, chips[stream.nest.edge]) for stream in _streams]
