"""Points and fits as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.bench.growth.axes import MEMORY

MEGA = 1e6
_SUFFIXES = ((1e9, "B"), (1e6, "M"))

HEAD = f"{'axis':9}{'quantity':13}{'should be':11}{'exponent':>8}{'at end':>8}  straight line"


def short(x: float) -> str:
    """A value of an axis: 1.44M, 405.9B, 1,000."""
    for unit, suffix in _SUFFIXES:
        if x >= unit:
            return f"{x / unit:.3g}{suffix}" if x < 1000 * unit else f"{x / unit:,.0f}{suffix}"
    return f"{x:,.0f}"


def point_line(axis: str, x: str, point: Mapping[str, float]) -> str:
    """A point as it comes."""
    seconds = point["prefill"] + point["decode"]
    text = f"{axis:9}{short(point['x']):>7} {x:17}{seconds:9.3f} s"
    return f"{text}{point['memory_bytes'] / MEGA:7.0f} MB   {point['wall']:.1f} s with the start"


def fit_line(axis: str, one: Mapping[str, Any]) -> str:
    """A fit, and whether it is what it should be."""
    text = f"{axis:9}{one['quantity']:13}{one['expected']:11}"
    text += f"{one['exponent']:8.2f}{one['end']:8.2f}  {straight(one)}"
    return text if one["within"] else f"{text}  GROWS FASTER"


def straight(one: Mapping[str, Any]) -> str:
    """The straight line with its error: `0.012 s + 21.3 ms each, within 4%`."""
    scale, unit, parts = (MEGA, "MB", "bytes") if one["quantity"] == MEMORY else (1, "s", "s")
    sign = "-" if one["slope"] < 0 else "+"
    line = f"{one['start'] / scale:.3g} {unit} {sign} {abs(one['slope']):.3g} {parts} each"
    return f"{line}, within {one['worst']:.0%}"
