"""The choice among axes, and what an unfinished file already has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulator.bench.growth.axes import Axis, axes
from emulator.bench.growth.measure import Known
from emulator.bench.plots.source import read
from emulator.bench.rows import BenchError

_SAME = ("cpu", "cores", "numba")  #: of the machine, or points do not belong together


def chosen(names: Sequence[str]) -> list[Axis]:
    """The axes that are asked for; all without names. Raises BenchError."""
    table = axes()
    known = [axis.name for axis in table]
    for name in names:
        if name not in known:
            raise BenchError(f"no axis is named {name!r}; there are {', '.join(known)}")
    return [axis for axis in table if axis.name in names or not names]


def known(path: str, facts: dict[str, Any], table: Sequence[Axis]) -> Known:
    """Points of a file that need not be measured; none of another machine's. Raises BenchError.

    Of a complete file those of other axes than the table's; of an interrupted run's, all.
    """
    if not Path(path).is_file():
        return {}
    found = read(path)
    if found["kind"] != "growth":
        raise BenchError(f"{path}: holds another measurement; choose another file")
    if any(found["machine"].get(key) != facts.get(key) for key in _SAME):
        return {}
    again = {axis.name for axis in table} if found["complete"] else set()
    return {axis["name"]: axis["points"] for axis in found["axes"] if axis["name"] not in again}
