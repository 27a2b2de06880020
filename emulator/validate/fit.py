"""The fitted constants of a chip, found again: `emu validate --fit CHIP`.

Each is a value of the chip's file that no source gives. They are what makes the sum of squared
logarithmic errors over the rows marked for fitting least: damped Gauss-Newton steps in the
constants' logarithms, from fixed starting points, within fixed bounds; then rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from math import exp, log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emulator.errors import InputError
from emulator.validate.case import MissingData
from emulator.validate.gemmini.rows import FILE, read_rows
from emulator.validate.registry import SETS, load
from emulator.validate.run import Runner, Task
from emulator.validate.sets import gemmini
from isa.chip import load_chip

MOST = 6  #: fitted constants of a chip
ROUNDS = 12
STEP = 0.05  #: of the numeric derivative, in logarithms
ENOUGH = 1e-4
MOST_LINES = 40


@dataclass(frozen=True)
class Constant:
    """A fitted value: its place in the chip's file, bounds, where to start, how it is rounded."""

    path: str
    low: float
    high: float
    start: float
    quantum: float  #: a multiple of this

    def rounded(self, value: float) -> float | int:
        """As it stands in the file."""
        whole = round(min(max(value, self.low), self.high) / self.quantum)
        return whole * int(self.quantum) if self.quantum >= 1 else round(whole * self.quantum, 12)


#: By chip. What they mean is in docs/accuracy.md.
CONSTANTS: dict[str, tuple[Constant, ...]] = {
    "tpu-v3-core": (
        Constant("tile.dma.start", 10, 5000, 500, 1),
        Constant("tile.vpu.passes.vector2", 1, 64, 8, 0.1),
        Constant("tile.vpu.passes.vector_slow", 1, 64, 4, 0.1),
        Constant("tile.vpu.passes.reduce", 1, 64, 4, 0.1),
    ),
    "ironwood-core": (
        Constant("tile.dma.start", 10, 5000, 1000, 1),
        Constant("host.doorbell_s", 1e-9, 5e-6, 3e-7, 1e-9),
        Constant("hbm.turnaround_ns", 1, 200, 15, 0.5),
    ),
}

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What was found, and the errors that are left on the rows used."""

    chip: str
    constants: dict[str, float | int]
    rows: dict[str, float]  #: relative error by the row's name

    def lines(self) -> Iterator[str]:
        """What there is to say, the chip's file beside it."""
        yield f"{self.chip}: fitted constants, and what the chip's file has"
        data = asdict(load_chip(self.chip))
        for path, value in self.constants.items():
            there = reduce(lambda node, key: node[key], path.split("."), data)
            yield f"  {path:34} {value!s:>10} {there!s:>10}"
        if len(self.rows) > MOST_LINES:
            median = 100 * float(np.median(np.abs(list(self.rows.values()))))
            yield f"median error that is left on the {len(self.rows)} rows used: {median:.1f} %"
            return
        yield "errors that are left on the rows used"
        for name, error in self.rows.items():
            yield f"  {name:34} {100 * error:+9.1f} %"


def fit(chip: str, run: Runner, data: Path | None, say: Callable[[str], None]) -> Fit:
    """Fit the constants of a chip."""
    if chip == gemmini.CHIP:
        return _fit_layers(data, run.jobs, say)
    if chip not in CONSTANTS:
        known = ", ".join([*CONSTANTS, gemmini.CHIP])
        raise InputError(f"--fit: {chip} has no fitted constants; {known} have")
    constants = CONSTANTS[chip]
    rows = _rows(chip, data)
    found = _minimise(constants, rows, run, say)
    values = {c.path: c.rounded(float(v)) for c, v in zip(constants, found, strict=True)}
    left = np.expm1(_residuals(values, rows, run)[0])
    return Fit(
        chip, values, dict(zip((name for _, _, name in rows), map(float, left), strict=True))
    )


def _fit_layers(data: Path | None, jobs: int, say: Callable[[str], None]) -> Fit:
    """Gemmini's: hundreds of rows whose streams are kept (emulator/validate/gemmini/fit.py)."""
    from emulator.validate.gemmini import fit as layers
    from emulator.validate.gemmini.predict import predict

    gemmini.layers(data)  # raises MissingData
    assert data is not None
    rows = read_rows(data / FILE)[1::2]
    chip = load_chip(gemmini.CHIP)
    values = layers.fit(rows, chip, jobs, tell=say)
    found = predict(rows, chip.with_(**values), processes=jobs)
    left = {str(2 * i + 1): cycles / row.cycles - 1 for i, (cycles, row) in
            enumerate(zip(found, rows, strict=True))}  # fmt: skip
    return Fit(gemmini.CHIP, dict(values), left)


def _rows(chip: str, data: Path | None) -> list[tuple[Task, float, str]]:
    """(task, measured, name) of every row marked for fitting."""
    rows = []
    for name in SETS:
        try:
            found = load(name, data)
        except MissingData:
            continue
        if found.chip != chip:
            continue
        for index in found.expressible:
            case = found.cases[index]
            if case.fitting:
                rows.append((Task(name, index, data), case.measured, case.name))
    return rows


def _minimise(
    constants: Sequence[Constant],
    rows: Sequence[tuple[Task, float, str]],
    run: Runner,
    say: Callable[[str], None],
) -> Values:
    """Values of the constants at the least squares."""
    low = np.array([log(c.low) for c in constants])
    high = np.array([log(c.high) for c in constants])
    at = np.array([log(c.start) for c in constants])
    damping = 1e-3
    best = _at(constants, at, rows, run)[0]
    for number in range(ROUNDS):
        moved = [np.where(np.arange(len(at)) == i, STEP, 0) for i in range(len(at))]
        slopes = _at(constants, at, rows, run, *moved)
        jacobian = np.stack([(row - slopes[0]) / STEP for row in slopes[1:]], axis=1)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.eye(len(at)), -jacobian.T @ slopes[0])
        target = np.clip(at + np.clip(step, -0.7, 0.7), low, high)
        residuals = _at(constants, target, rows, run)[0]
        say(f"round {number + 1}: rms error {100 * _rms(min(best, residuals, key=_rms)):.2f} %")
        if _rms(residuals) < _rms(best):
            gain = _rms(best) - _rms(residuals)
            at, best, damping = target, residuals, damping / 4
            if gain < ENOUGH:
                break
        else:
            damping *= 16
            if damping > 1e3:
                break
    values: Values = np.exp(at)
    return values


def _rms(residuals: Values) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def _at(
    constants: Sequence[Constant],
    at: Values,
    rows: Sequence[tuple[Task, float, str]],
    run: Runner,
    *moved: Values,
) -> list[Values]:
    """Residuals at a point in logarithms, and at that point moved."""
    settings = []
    for shift in (np.zeros_like(at), *moved):
        pairs = zip(constants, at + shift, strict=True)
        settings.append({c.path: _value(c, exp(x)) for c, x in pairs})
    return _residuals_of(settings, rows, run)


def _value(constant: Constant, value: float) -> float | int:
    """Whole numbers are rounded even while fitting: a cycle is the least there is."""
    return constant.rounded(value) if constant.quantum >= 1 else value


def _residuals(
    values: dict[str, float | int], rows: Sequence[tuple[Task, float, str]], run: Runner
) -> list[Values]:
    return _residuals_of([values], rows, run)


def _residuals_of(
    settings: Sequence[dict[str, float | int]],
    rows: Sequence[tuple[Task, float, str]],
    run: Runner,
) -> list[Values]:
    """log(predicted / measured) of every row, for each setting of the constants."""
    tasks = [
        Task(task.name, task.index, task.data, setting)
        for setting in settings
        for task, _, _ in rows
    ]
    measured = np.array([value for _, value, _ in rows])
    predicted = np.array(run(tasks)).reshape(len(settings), len(rows))
    return list(np.log(predicted / measured))
