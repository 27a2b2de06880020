"""The tables of `emu bench chip` for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from emulator.bench import table as bench_table
from emulator.bench.chip.cases import PREFILL
from emulator.bench.chip.loss import in_words
from emulator.bench.chip.rows import ChipRow
from emulator.bench.chip.step import FOLDED

_HEAD = f"{'shape':12} {'phase':8}{'batch':>5} {'context':>7} {'cycles':>11} "
_HEAD += f"{'over bound':>10} {'array used':>10}  bar"

_WIDTH: Final = 100
_ESTIMATE: Final = (
    f"An estimate: of models with more than {FOLDED} layers {FOLDED} were simulated, the others "
    "are copies of these; --exact simulates all."
)


def heading(names: int) -> str:
    """The first line."""
    return f"{'row':{names}} {_HEAD}"


def lines(row: ChipRow, names: int) -> list[str]:
    """A row: its figures, and below what its cycles were lost to."""
    measured = row.row.measured
    if row.case is None:
        text = f"{row.name:{names}} {measured.value:,.0f} of {measured.yardstick:,.0f} GB/s, "
        return [f"{text}{measured.note}: {measured.ratio:.3f}  {_bar(row)}".rstrip()]
    case = row.case
    text = f"{row.name:{names}} {case.model:12.12} {case.phase:8}{case.batch:5} {case.context:7,} "
    if row.cycles is None:
        return [f"{text}{'-':>11}  {measured.note}"]
    used = "-" if row.utilisation is None else f"{row.utilisation:.1%}"
    text += f"{row.cycles:11,} {bench_table.ratio(row.over_bound):>10} {used:>10}  {_bar(row)}"
    found = [text.rstrip(), *_wrapped(in_words(row.loss))]
    if row.csram_kv_bytes:
        found.append(f"    keys and values read from CSRAM: {row.csram_kv_bytes:,} bytes")
    return found


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _bar(row: ChipRow) -> str:
    """What is held against the bar, and whether it is met."""
    limit, measured = row.row.entry.bar, row.row.measured
    if limit is None:
        return ""
    what = "array used " if row.case is not None and row.case.phase == PREFILL else ""
    return f"{what}{limit} {row.row.verdict()}" if measured.ratio is not None else str(limit)


def summary(rows: Sequence[ChipRow]) -> str:
    """How many bars are met, and whether the figures are of all layers."""
    met = bench_table.summary([row.row for row in rows])
    if any(row.folded for row in rows):
        return f"{met}\n{_ESTIMATE}"
    return f"{met}\nEvery layer was simulated."
