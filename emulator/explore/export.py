"""Rows as files: CSV, and Parquet with the extra `explore`; the same bytes for the same rows.

Nothing that depends on when, where or how fast points were timed is in them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from emulator.explore import inputs
from emulator.explore.errors import MissingExtra, extra
from emulator.explore.rows import Row
from emulator.explore.study import Study
from isa.files import atomic_write, write_bytes, write_json

CSV, PARQUET, META = "points.csv", "points.parquet", "study.json"
LEADING: Final = ("key", "status", "reason", "note")


def columns(study: Study) -> list[str]:
    """Names of the columns: key and outcome, inputs, metrics."""
    return [*LEADING, *study.shown, *study.metrics]


def _cells(study: Study, row: Row) -> list[Any]:
    found = [row.key, row.status, row.reason, row.note]
    found += [row.inputs[name] for name in study.shown]
    return found + [row.metrics[name] for name in study.metrics]


def csv_bytes(study: Study, rows: Sequence[Row]) -> bytes:
    """The rows as CSV: floats as Python writes them, lists as JSON, nothing for what is absent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(study))
    for row in rows:
        writer.writerow([_plain(cell) for cell in _cells(study, row)])
    return text.getvalue().encode(errors="backslashreplace")


def _plain(cell: Any) -> Any:
    if isinstance(cell, list | tuple):
        return json.dumps(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else cell


def export(study: Study, rows: Sequence[Row], folder: Path) -> bool:
    """Write the files, each whole or not at all; whether Parquet was among them."""
    write_bytes(folder / CSV, csv_bytes(study, rows))
    write_json(folder / META, description(study, rows))
    try:
        pyarrow = extra("pyarrow", PARQUET, "explore")
        parquet = extra("pyarrow.parquet", PARQUET, "explore")
    except MissingExtra:
        (folder / PARQUET).unlink(missing_ok=True)  # one of an earlier run would be another's
        return False
    with atomic_write(folder / PARQUET) as file:
        parquet.write_table(_table(pyarrow, study, rows), file, compression="zstd")
    return True


def _table(pyarrow: Any, study: Study, rows: Sequence[Row]) -> Any:
    cells = [_cells(study, row) for row in rows]
    names = columns(study)
    arrays = [
        _array(pyarrow, study, name, [row[i] for row in cells]) for i, name in enumerate(names)
    ]
    return pyarrow.table(arrays, names=names)


def _array(pyarrow: Any, study: Study, name: str, values: list[Any]) -> Any:
    """A column: metrics and the chip's numbers as doubles; what has no one type as text."""
    if name in study.metrics and name not in study.shown:
        return pyarrow.array(values, pyarrow.float64())
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pyarrow.array(values, pyarrow.int64())
    if kinds and kinds <= {int, float}:
        return pyarrow.array([None if v is None else float(v) for v in values], pyarrow.float64())
    if kinds == {bool}:
        return pyarrow.array(values, pyarrow.bool_())
    return pyarrow.array([None if v is None else str(_plain(v)) for v in values], pyarrow.string())


def description(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    """What the columns mean, for programs that read the files."""
    return {
        "schema": 1,
        "name": study.name,
        "code": study.points.version,
        "workloads": list(study.workloads),
        "axes": {name: list(values) for name, values in study.axes.items()},
        "fixed": dict(study.fixed),
        "varied": list(study.varied),
        "inputs": list(study.shown),
        "metrics": [
            {"name": name, "unit": study.unit(name), "better": _better(study, name)}
            for name in study.metrics
        ],
        "objectives": [{"name": each.name, "better": each.better} for each in study.objectives],
        "constraints": [each.text for each in study.constraints],
        "points": len(rows),
        "defaults": {name: item.default for name, item in inputs.known().items()},
    }


def _better(study: Study, name: str) -> str | None:
    chosen = {each.name: each.better for each in study.objectives}
    metric = study.metric(name)
    return chosen.get(name, metric.better if metric else None)
