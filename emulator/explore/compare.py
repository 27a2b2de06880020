"""Two directories of results side by side: the same points, what changed of them."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from emulator.explore.errors import StudyError
from emulator.explore.export import CSV, META
from emulator.explore.rows import OK
from emulator.report_table import table

MOST_ROWS: Final = 20
CHANGED: Final = 1e-9  #: relative differences below are rounding


@dataclass(frozen=True)
class Results:
    """An exported study: its description, and its rows as texts by column."""

    folder: Path
    meta: dict[str, Any]
    rows: list[dict[str, str]]

    @property
    def metrics(self) -> list[str]:
        """Names of its metrics."""
        return [each["name"] for each in self.meta["metrics"]]


def load_results(folder: Path) -> Results:
    """The results in a directory. Raises StudyError."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        with (folder / CSV).open(encoding="utf-8", newline="") as file:
            found = Results(folder, meta, list(csv.DictReader(file)))
        names = [*found.meta["inputs"], *found.metrics, "status", "reason"]
        if meta["schema"] != 1 or any(name not in row for row in found.rows for name in names):
            raise KeyError("columns")
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise StudyError(
            f"{error.filename}: {problem}; give directories that emu explore -o made"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise StudyError(
            f"{folder}: {META} and {CSV} are not what emu explore writes; run the study again"
        ) from None
    return found


def compare(one: Results, other: Results) -> list[str]:
    """What changed from one to the other, as lines. Raises StudyError."""
    joined = _Joined(one, other)
    lines = [f"{one.folder} -> {other.folder}", *joined.constants()]
    lines.append(
        f"  {len(joined.pairs)} points in both, {len(joined.only(0))} only in {one.folder}, "
        f"{len(joined.only(1))} only in {other.folder}"
    )
    lines += joined.statuses()
    for metric in (name for name in one.metrics if name in other.metrics):
        lines += joined.metric(metric)
    return lines


class _Joined:
    """Rows of both by the inputs that tell points apart."""

    def __init__(self, one: Results, other: Results) -> None:
        self.sides = (one, other)
        self.shared = [name for name in one.meta["inputs"] if name in other.meta["inputs"]]
        self.by = [name for name in self.shared if self._varies(name)]
        self.rows = [self._keyed(side) for side in self.sides]
        self.pairs = [key for key in self.rows[0] if key in self.rows[1]]

    def _values(self, side: Results, name: str) -> set[str]:
        return {row[name] for row in side.rows}

    def _varies(self, name: str) -> bool:
        return any(len(self._values(side, name)) > 1 for side in self.sides)

    def _keyed(self, side: Results) -> dict[tuple[str, ...], dict[str, str]]:
        found: dict[tuple[str, ...], dict[str, str]] = {}
        for row in side.rows:
            key = tuple(row[name] for name in self.by)
            if key in found:
                lacking = [name for name in side.meta["inputs"] if name not in self.shared]
                raise StudyError(
                    f"{side.folder}: points cannot be told apart by "
                    f"{', '.join(self.by) or 'nothing'}; the other directory lacks "
                    f"{', '.join(lacking)}"
                )
            found[key] = row
        return found

    def only(self, side: int) -> list[tuple[str, ...]]:
        """Points of one side alone."""
        return [key for key in self.rows[side] if key not in self.rows[1 - side]]

    def constants(self) -> list[str]:
        """Inputs that are one value here and another there."""
        lines = []
        for name in self.shared:
            before, after = (self._values(side, name) for side in self.sides)
            if len(before) == len(after) == 1 and before != after:
                lines.append(f"  {name}: {before.pop()} -> {after.pop()}")
        one, other = (side.meta["code"] for side in self.sides)
        if one != other:
            lines.append(f"  version of the code: {one} -> {other}")
        return lines

    def statuses(self) -> list[str]:
        """Points that became good, or are so no longer."""
        rows: list[tuple[str, ...]] = []
        for key in self.pairs:
            before, after = (side[key] for side in self.rows)
            if before["status"] != after["status"]:
                reason = after["reason"] or before["reason"]
                rows.append((*key, before["status"], after["status"], reason[:60]))
        if not rows:
            return []
        head = (*self.by, "was", "is", "reason")
        shown = table([head, *rows[:MOST_ROWS]], ">" * len(self.by) + "<<<")
        return ["", f"{len(rows)} points ended otherwise", *shown]

    def metric(self, name: str) -> list[str]:
        """The changes of a metric: how many, how large, and the largest."""
        found = []
        for key in self.pairs:
            before, after = (_number(side[key], name) for side in self.rows)
            if before is not None and after is not None:
                found.append((after / before - 1 if before else float(after != before), key))
        changed = [(change, key) for change, key in found if abs(change) > CHANGED]
        if not found:
            return []
        if not changed:
            return ["", f"{name}: the same in all {len(found)} points"]
        middle = statistics.median(change for change, _ in found)
        lines = ["", f"{name}: {len(changed)} of {len(found)} points changed, median {middle:+.2%}"]
        largest = sorted(changed, key=lambda pair: (-abs(pair[0]), pair[1]))[:5]
        rows: list[Sequence[str]] = [(*self.by, "was", "is", "change")]
        for change, key in largest:
            values = [f"{float(side[key][name]):.4g}" for side in self.rows]
            rows.append((*key, *values, f"{change:+.2%}"))
        return [*lines, *table(rows, ">" * len(rows[0]))]


def _number(row: dict[str, str], name: str) -> float | None:
    """A good point's metric."""
    return float(row[name]) if row["status"] == OK and row[name] else None
