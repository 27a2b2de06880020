"""684 layers of Gemmini in RTL. Odd rows are fitted on, errors are of even ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from emulator.validate.case import Case, MissingData, Set
from emulator.validate.gemmini import baselines
from emulator.validate.gemmini.predict import cycles_of
from emulator.validate.gemmini.rows import FILE, Row, read_rows
from isa.chip import load_chip

CHIP = "gemmini-128"
CITATION = "ucb-bar/dosa (BSD-2), data/firesim_training_data"
ASSUMED = "each row by its own mapping; how that becomes transfers: docs/validation/gemmini-rtl.md"
NO_TREES = f"gradient-boosted trees are not shown: they need the extra `{baselines.EXTRA}`"
TREES = "gradient-boosted trees"


def layers(data: Path | None) -> Set:
    """The set, if its file is in `data`."""
    if data is None or not (data / FILE).exists():
        raise MissingData(f"{FILE} is not in --data DIR; github.com/ucb-bar/dosa publishes it")
    rows = read_rows(data / FILE)
    cases = tuple(
        Case(f"{i}: {_shape(row)}", row.cycles, partial(cycles_of, row), fitting=i % 2 == 1)
        for i, row in enumerate(rows)
    )
    notes = (ASSUMED,) if find_spec("sklearn") else (ASSUMED, NO_TREES)
    title = "Gemmini in RTL, 1x1 layers"
    return Set("gemmini-rtl", title, CHIP, "cycles", CITATION, cases, notes,
               partial(_baselines, rows))  # fmt: skip


def _shape(row: Row) -> str:
    size = row.size
    return f"C{size['C']} K{size['K']} P{size['P']} Q{size['Q']}"


def _baselines(rows: Sequence[Row]) -> Mapping[str, Sequence[float | None]]:
    """The plain roofline, and trees that have seen the odd rows."""
    chip = load_chip(CHIP)
    found: dict[str, Sequence[float | None]] = {
        "roofline": [baselines.roofline(row, chip) for row in rows]
    }
    if find_spec("sklearn"):
        predicted = iter(baselines.regressor(rows[1::2], rows[0::2]))
        found[TREES] = [next(predicted) if i % 2 == 0 else None for i in range(len(rows))]
    return found
