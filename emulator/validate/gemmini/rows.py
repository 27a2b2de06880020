"""Rows of gemmini_rtl.csv: a layer's shape, its mapping, and the cycles it took in RTL."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TextIO

from emulator.errors import InputError

FILE = "gemmini_rtl.csv"
COLUMNS = ("C", "K", "N", "P", "Q", "R", "S", "Hstride", "Wstride", "mapping", "rtl_cycles")
_LEVELS = ("L3[WIO]", "L2[WI]", "L1[O]", "L0[W]")
_FACTOR = re.compile(r"([CKNPQRS])([1-9][0-9]{0,6})(X?)")
_MOST = 1 << 20  # of a dimension or factor


@dataclass(frozen=True)
class Factor:
    """One loop of a mapping: a dimension and its number of turns, side by side if spatial."""

    dim: str
    count: int
    spatial: bool


@dataclass(frozen=True)
class Row:
    """A layer: `size` by dimension (K output and C input channels, P columns, Q rows, N)."""

    size: dict[str, int]
    stride: int
    mapping: str
    levels: tuple[tuple[Factor, ...], ...] = field(repr=False)  #: L3, L2, L1, L0
    cycles: float  #: in RTL

    @property
    def outer(self) -> tuple[Factor, ...]:
        """The loops over DRAM, outermost first."""
        return self.levels[0]

    def tile(self, dim: str) -> int:
        """Elements of a dimension in one tile of the scratchpad."""
        return prod(f.count for level in self.levels[1:] for f in level if f.dim == dim)

    def spatial(self, dim: str) -> int:
        """How many of a dimension's elements the array takes side by side."""
        return prod(f.count for level in self.levels for f in level if f.dim == dim and f.spatial)


def read_rows(path: Path) -> list[Row]:
    """The 1x1 layers of a file, in its order. Raises InputError, of one line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(_rows(file, path))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be read: {reason}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None
    if not rows:
        raise InputError(f"{path}: no 1x1 layer in it")
    return rows


def _rows(file: TextIO, path: Path) -> Iterator[Row]:
    lines = csv.reader(file)
    header = next(lines, [])
    if missing := [name for name in COLUMNS if name not in header]:
        raise InputError(f"{path}: no column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
    for line in lines:
        where = f"{path}, line {lines.line_num}"
        if len(line) != len(header):
            raise InputError(f"{where}: {len(line)} columns, not {len(header)}")
        row = _row(dict(zip(header, line, strict=True)), where)
        if row.size["R"] == row.size["S"] == 1:
            _check_loops(row, where)
            yield row


def _row(cells: dict[str, str], where: str) -> Row:
    size = {dim: _whole(cells[dim], dim, where) for dim in "CKNPQRS"}
    stride = _whole(cells["Wstride"], "Wstride", where)
    if _whole(cells["Hstride"], "Hstride", where) != stride:
        raise InputError(f"{where}: strides differ")
    try:
        cycles = float(cells["rtl_cycles"])
    except ValueError:
        cycles = 0.0
    if not 0 < cycles < float("inf"):
        raise InputError(f"{where}: rtl_cycles {cells['rtl_cycles']!r} is not a positive number")
    row = Row(size, stride, cells["mapping"], _levels(cells["mapping"], where), cycles)
    for dim, extent in size.items():
        covered = prod(f.count for level in row.levels for f in level if f.dim == dim)
        if covered != extent:
            raise InputError(f"{where}: the mapping covers {covered} of {dim}, not {extent}")
    return row


def _check_loops(row: Row, where: str) -> None:
    """Only loops that the lowering knows: one a dimension over DRAM, none over N."""
    outer = [f.dim for f in row.outer]
    if row.size["N"] != 1:
        raise InputError(f"{where}: N is {row.size['N']}; only 1 is known")
    if twice := [dim for dim in outer if outer.count(dim) > 1]:
        raise InputError(f"{where}: L3 loops over {twice[0]} twice")
    if max(row.spatial("C"), row.spatial("K")) > 128:
        raise InputError(f"{where}: a spatial factor beyond the array's 128")


def _whole(text: str, name: str, where: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise InputError(f"{where}: {name} {text!r} is not a whole number from 1 to {_MOST}")
    return int(text)


def _levels(text: str, where: str) -> tuple[tuple[Factor, ...], ...]:
    """L3, L2, L1 and L0 of a mapping such as `L3[WIO] K8 Q4 - L2[WI] K4X - ...`."""
    words = [part.split() for part in text.split(" - ")]
    if tuple(part[0] for part in words if part) != _LEVELS:
        raise InputError(f"{where}: the mapping's levels are not {' - '.join(_LEVELS)}")
    levels = []
    for part in words:
        found = [_FACTOR.fullmatch(word) for word in part[1:]]
        for word, match in zip(part[1:], found, strict=True):
            if match is None:
                raise InputError(f"{where}: {word!r} is no factor of a mapping")
        levels.append(tuple(Factor(m[1], int(m[2]), m[3] == "X") for m in found if m))
    return tuple(levels)
