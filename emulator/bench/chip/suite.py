"""All rows of the chips that are wanted, one after the other, and the file's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from compiler.config import ModelConfig
from emulator.bench import machine
from emulator.bench.chip.cases import COPY, Case, cases, model_cases
from emulator.bench.chip.mixed import Mix, Mixes
from emulator.bench.chip.products import Product, ProductRow, products
from emulator.bench.chip.rows import ChipRow, copy_row, measured_row
from emulator.bench.chip.searched import Searched, searched
from emulator.bench.chip.shapes import SHAPES, named_shape, shape
from emulator.bench.chip.step import Setting
from emulator.bench.chip.techniques import OFF, Gain, gains
from emulator.bench.rows import BenchError
from emulator.progress import progress
from emulator.search.found import Limits
from isa.chip import Chip, load_chip
from isa.errors import TesseraError

SCHEMA = 1
_Chosen = TypeVar("_Chosen", Case, Product)


@dataclass(frozen=True)
class Job:
    """What is to be measured: cases and single products, each on every chip."""

    settings: tuple[Setting, ...]
    cases: tuple[Case, ...]
    models: dict[str, ModelConfig]
    products: tuple[Product, ...] = ()

    @staticmethod
    def planned(
        chips: Sequence[str],
        model: Path | None,
        only: Sequence[str],
        exact: bool = False,
        threads: int = 1,
    ) -> Job:
        """From what the command line says; raises a TesseraError for what cannot be."""
        found = [load_chip(chip) for chip in chips]
        _check_names(found)
        models = {name: shape(name) for name in SHAPES}
        table, single = cases(), products()
        if model is not None:
            name, config = named_shape(model)
            models, table, single = {name: config}, model_cases(name, config), []
        settings = tuple(Setting(chip, exact, threads) for chip in found)
        _check_patterns(only, [COPY, *(c.name for c in table), *(p.name for p in single)])
        wanted = tuple(chosen(only, table))
        names = {case.model for case in wanted}
        models = {n: config for n, config in models.items() if n in names}
        return Job(settings, wanted, models, tuple(chosen(only, single)))

    @property
    def chips(self) -> list[Chip]:
        """The chips."""
        return [setting.chip for setting in self.settings]

    @property
    def rows(self) -> list[Case | Product]:
        """All that is measured on each chip but its copy."""
        return [*self.cases, *self.products]

    def width(self) -> int:
        """Of the longest name of a row."""
        longest = max(len(name) for name in (COPY, *(row.name for row in self.rows)))
        if len(self.settings) == 1:
            return longest
        return longest + 1 + max(len(chip.name) for chip in self.chips)


def chosen(patterns: Sequence[str], table: Sequence[_Chosen]) -> list[_Chosen]:
    """Those whose names match a pattern of the shell; all without patterns.

    The copy's row, which every bound needs, is always measured.
    """
    if not patterns:
        return list(table)
    return [row for row in table if any(fnmatchcase(row.name, p) for p in patterns)]


def _check_patterns(patterns: Sequence[str], names: Sequence[str]) -> None:
    """Raise BenchError if nothing has such a name."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, 3, 0.5) or names
            raise BenchError(f"no row is named {pattern!r}; there are {', '.join(near)}")


def _check_names(chips: Sequence[Chip]) -> None:
    names = [chip.name for chip in chips]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BenchError(f"--chip: two chips are named {twice}; change `name` in one of the files")


def measured(job: Job) -> Iterator[tuple[ChipRow, float]]:
    """Every row, and the rate that its bound is of (bytes a cycle).

    With several chips, names are NAME@CHIP.
    """
    for setting in job.settings:
        with progress(COPY, 1):
            row, rate = copy_row(setting.chip)
        yield _named(row, job), rate
        for case in job.cases:
            with progress(case.name, 1) as advance:
                row = measured_row(setting, case, rate, advance)
            yield _named(row, job), rate


def _named(row: ChipRow, job: Job) -> ChipRow:
    return row if len(job.settings) == 1 else row.named(f"{row.name}@{row.chip}")


def _steps(job: Job, rows: Sequence[ChipRow]) -> Iterator[tuple[ChipRow, Setting]]:
    """The rows that are steps, and where each was run."""
    steps = [row for row in rows if row.case is not None]
    yield from zip(steps, (each for each in job.settings for _ in job.cases), strict=True)


def all_searched(
    job: Job, rows: Sequence[ChipRow], rates: Sequence[float], limits: Limits
) -> Iterator[Searched]:
    """Every row that is a step with the best tiling of a search; `rates` of the copy, in order."""
    of_chip = dict(zip((chip.name for chip in job.chips), rates, strict=True))
    for row, setting in _steps(job, rows):
        yield searched(setting, row, of_chip[row.chip], limits)


def all_gains(job: Job, rows: Sequence[ChipRow]) -> Iterator[tuple[ChipRow, list[Gain]]]:
    """What each technique is worth in every row that is a step."""
    for row, setting in _steps(job, rows):
        with progress(f"{row.name} without techniques", len(OFF)) as advance:
            found = gains(setting, row, advance)
        yield row, found


def all_mixes(job: Job, rates: Sequence[float]) -> Iterator[tuple[str, Chip, list[Mix]]]:
    """The mixed steps of every model on every chip, with a title; `rates` of the copy, in order.

    Where there is no program for them, the title says why, and there are none.
    """
    for setting, rate in zip(job.settings, rates, strict=True):
        for name, config in job.models.items():
            try:
                mixes = Mixes(setting, name, config, rate)
            except TesseraError as error:
                yield f"\n{name}: mixed steps: {error}", setting.chip, []
                continue
            with progress(f"{name} on {setting.chip.name}, mixed", len(mixes.mixes())) as advance:
                found = list(mixes.measured(advance))
            yield mixes.title(), setting.chip, found


def report(
    job: Job, rows: Sequence[ChipRow | ProductRow], tables: dict[str, Any]
) -> dict[str, Any]:
    """Schema 1, as `emu bench` has it; the host's load, which no cycle depends on, is left out."""
    chips = {chip.name: _facts(chip) for chip in job.chips}
    facts = machine.facts() | {"load": None, "chips": chips}
    return {"schema": SCHEMA, "machine": facts, "rows": [row.json() for row in rows]} | tables


def _facts(chip: Chip) -> dict[str, Any]:
    mxu = chip.tile.mxu
    return {
        "tiles": chip.num_tiles,
        "array": [mxu.rows, mxu.columns],
        "clock_hz": chip.clock_hz,
        "hbm_bytes_per_second": chip.hbm.bytes_per_second,
        "digest": chip.digest(),
    }
