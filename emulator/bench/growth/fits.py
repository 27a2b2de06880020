"""How a quantity follows what grows, as numbers: exponents, and a straight line with its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emulator.bench.growth.axes import DECODE, LIMITS, MEMORY, PREFILL, Axis

Points = Sequence[Mapping[str, float]]
Pairs = list[tuple[float, float]]


@dataclass(frozen=True)
class Fit:
    """y of x: `exponent` of a power law through all points, `end` of one through the last three.

    `start + slope * x` is the straight line whose largest error, as a share of y, is `worst`.
    """

    exponent: float
    end: float
    start: float
    slope: float
    worst: float

    def within(self, expected: str) -> bool:
        """Whether it grows no faster than it should."""
        return max(self.exponent, self.end) <= LIMITS[expected]


def quantity(name: str, point: Mapping[str, float]) -> float:
    """Seconds or bytes of a point."""
    if name == MEMORY:
        return point["memory_bytes"]
    if name == PREFILL:
        return point["prefill"]
    if name == DECODE:
        return point["decode"] / max(1, point["steps"])
    return point["prefill"] + point["decode"]


def pairs(name: str, points: Points) -> Pairs:
    """x and the quantity, x ascending."""
    return sorted((point["x"], quantity(name, point)) for point in points)


def fit(found: Pairs) -> Fit:
    """Of two points or more."""
    x, y = (np.array(column, float) for column in zip(*found, strict=True))
    exponent, end = (
        float(np.polyfit(np.log(x[-last:]), np.log(y[-last:]), 1)[0]) for last in (len(x), 3)
    )
    columns = np.stack([np.ones_like(x), x], axis=1) / y[:, None]  # errors count as shares of y
    start, slope = (float(c) for c in np.linalg.lstsq(columns, np.ones_like(y), rcond=None)[0])
    worst = float(np.abs((start + slope * x) / y - 1).max())
    return Fit(exponent, end, start, slope, worst)


def growth(axis: Axis, points: Points) -> list[dict[str, Any]]:
    """A fit for each of an axis's quantities, as the JSON has it; none of a single point."""
    if len(points) < 2:
        return []
    found = []
    for name, expected in axis.quantities.items():
        one = fit(pairs(name, points))
        numbers = {key: float(f"{value:.4g}") for key, value in asdict(one).items()}
        head = {"quantity": name, "expected": expected, "within": one.within(expected)}
        found.append(head | numbers)
    return found
