"""All rows, in the order they are measured, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from emulator.bench import gemm, hosts, masked, models, rates, start, vector, whole
from emulator.bench.host import Host
from emulator.bench.rows import BenchError, Entry, Row

SCHEMA = 1


def entries() -> list[Entry]:
    """Every row there is."""
    return [
        *hosts.entries(),
        *gemm.gemm_entries(),
        *masked.entries(),
        *gemm.gemv_entries(),
        *vector.entries(),
        *rates.entries(),
        *start.entries(),
        *models.entries(),
        *whole.entries(),
    ]


def chosen(patterns: Sequence[str], table: Sequence[Entry], large: bool = False) -> list[Entry]:
    """The rows whose names match a pattern of the shell; all without patterns.

    A `large` row has to be asked for, by that or by a pattern.
    """
    names = [entry.name for entry in table]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BenchError(f"no row is named {pattern!r}; {_candidates(pattern, names)}")
    if not patterns:
        return [entry for entry in table if large or not entry.large]
    return [entry for entry in table if any(fnmatchcase(entry.name, p) for p in patterns)]


def _candidates(pattern: str, names: Sequence[str]) -> str:
    near = get_close_matches(pattern, names, n=5, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}"


def measured(table: Sequence[Entry], host: Host) -> Iterator[Row]:
    """Rows one after the other."""
    for entry in table:
        yield Row(entry, entry.measure(host))


def report(machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Schema 1 of the bench's JSON."""
    return {"schema": SCHEMA, "machine": machine, "rows": [row.json() for row in rows]}
