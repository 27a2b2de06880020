"""What the model is compared with: the plain roofline, and a regressor that has seen data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from math import log

import numpy as np

from emulator.errors import InputError
from emulator.validate.gemmini.rows import Row
from isa.chip import Chip

EXTRA = "validate"  #: of the package: what the regressor needs


def roofline(row: Row, chip: Chip) -> float:
    """Cycles if the whole array were busy, or each tensor crossed the system bus once."""
    size, mxu = row.size, chip.tile.mxu
    pixels = size["N"] * size["P"] * size["Q"]
    macs = pixels * size["C"] * size["K"]
    nbytes = pixels * (size["C"] + size["K"]) + size["C"] * size["K"]
    return max(macs / (mxu.rows * mxu.columns), nbytes / chip.tile.dma.bytes_per_cycle)


def regressor(train: Sequence[Row], test: Sequence[Row]) -> list[float]:
    """Cycles of `test` by gradient-boosted trees that have seen `train`.

    Raises InputError if scikit-learn is not installed.
    """
    try:
        ensemble = import_module("sklearn.ensemble")
    except ImportError:
        raise InputError(f"the regressor needs scikit-learn: the extra `{EXTRA}`") from None
    trees = ensemble.GradientBoostingRegressor(random_state=0)
    trees.fit(np.array([features(row) for row in train]), [log(row.cycles) for row in train])
    found = np.exp(trees.predict(np.array([features(row) for row in test])))
    return [float(cycles) for cycles in found]


def features(row: Row) -> list[float]:
    """Logarithms of sizes, tiles, turns and spatial factors; the place of each loop over DRAM."""
    outer = [f.dim for f in row.outer]
    sizes = [row.size[dim] for dim in "CKPQ"]
    tiles = [row.tile(dim) for dim in "CKPQ"]
    spatial = [row.spatial(dim) for dim in "CK"]
    turns = [size / tile for size, tile in zip(sizes, tiles, strict=True)]
    logs = [log(value) for value in [*sizes, *tiles, *turns, *spatial, row.stride]]
    return logs + [float(outer.index(dim)) if dim in outer else -1.0 for dim in "CKPQ"]
