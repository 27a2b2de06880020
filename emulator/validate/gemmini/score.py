"""How far predictions are from measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Of one set of rows: errors as shares of the measured cycles."""

    rows: int
    median_ape: float
    mape: float
    spearman: float
    bias: float  #: mean signed error

    def __str__(self) -> str:
        return (
            f"{self.rows} rows, median APE {self.median_ape:.1%}, MAPE {self.mape:.1%}, "
            f"Spearman {self.spearman:.3f}, bias {self.bias:+.1%}"
        )


def score(predicted: Sequence[float], measured: Sequence[float]) -> Score:
    """The errors of predictions."""
    ratio = np.array(predicted, float) / np.array(measured, float)
    error = np.abs(ratio - 1)
    both = np.corrcoef(_ranks(np.array(predicted)), _ranks(np.array(measured)))
    return Score(
        len(ratio),
        float(np.median(error)),
        float(error.mean()),
        float(both[0, 1]),
        float(ratio.mean() - 1),
    )


def _ranks(values: NDArray[np.float64]) -> Floats:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - 1 - (counts - 1) / 2).astype(np.float64)
    return ranks[inverse]
