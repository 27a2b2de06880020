"""Rows for people."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.bench.rows import Entry, Row

HEAD = f"{'value':>9} {'unit':9}{'yardstick':>9} {'of':26}{'ratio':>6}  bar"


def width(table: Sequence[Entry]) -> int:
    """Of the column of names."""
    return max([len(entry.name) for entry in table] + [3])


def heading(names: int) -> str:
    """The first line."""
    return f"{'row':{names}} {HEAD}"


def line(row: Row, names: int) -> str:
    """One row: value, yardstick, ratio, whether it is met, and what else there is to say."""
    entry, measured = row.entry, row.measured
    bar = f"{entry.bar} {row.verdict()}" if entry.bar else ""
    text = f"{entry.name:{names}} {number(measured.value)} {entry.unit:9}"
    text += f"{number(measured.yardstick)} {entry.against:26}{ratio(measured.ratio)}  {bar:14}"
    return f"{text} {measured.note}".rstrip()


def number(value: float | None) -> str:
    """Four digits, right-aligned."""
    return f"{'-' if value is None else f'{value:.4g}':>9}"


def ratio(value: float | None) -> str:
    """Two decimals, right-aligned."""
    return f"{'-' if value is None else f'{value:.2f}':>6}"


def summary(rows: Sequence[Row]) -> str:
    """How many bars are met, and the names of those that are not."""
    barred = [row for row in rows if row.entry.bar]
    missed = [row.entry.name for row in barred if row.verdict() == "missed"]
    unknown = [row.entry.name for row in barred if not row.verdict()]
    text = f"{len(barred) - len(missed) - len(unknown)} of {len(barred)} bars met"
    text += f"; missed: {', '.join(missed)}" if missed else ""
    return text + (f"; not measured: {', '.join(unknown)}" if unknown else "")
