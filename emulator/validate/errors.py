"""How far predictions are from measurements. All are fractions: 0.08 is 8 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pair = tuple[float, float]  #: predicted, measured


@dataclass(frozen=True)
class Errors:
    """Of some rows: mean and median absolute error, rank correlation, mean signed error."""

    rows: int
    mape: float | None
    median_ape: float | None
    spearman: float | None
    bias: float | None


def errors(pairs: Sequence[Pair]) -> Errors:
    """The errors of pairs of predicted and measured; None where there are too few."""
    if not pairs:
        return Errors(0, None, None, None, None)
    predicted, measured = np.array(pairs, np.float64).T
    relative = predicted / measured - 1
    return Errors(
        len(pairs),
        float(np.mean(np.abs(relative))),
        float(np.median(np.abs(relative))),
        _rank_correlation(predicted, measured),
        float(np.mean(relative)),
    )


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Spearman's: the correlation of ranks, equal values sharing theirs."""
    if len(a) < 2:
        return None
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / scale) if scale else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return means
