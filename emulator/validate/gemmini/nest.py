"""A row's loops over DRAM and the tiles they move, as the program that was measured had them.

That program is public (ucb-bar/gemmini-rocc-tests, which the data set's authors used). What it
makes of a mapping is written out in docs/validation/gemmini-rtl.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.validate.gemmini.rows import Row

EDGES = (2, 4, 8, 16, 32, 64, 128)  #: array edges that were emulated
MATMUL_BLOCK = 16  #: the matmul program counts a tile in blocks of so many elements...
_INNERMOST_FIRST = "CKPQ"  # the order of dimensions that L3 does not name, which come outside


@dataclass(frozen=True)
class Level:
    """One loop: `turns` tiles of `tile` elements, the last of them of `last`."""

    dim: str
    turns: int
    tile: int
    last: int


@dataclass(frozen=True)
class Nest:
    """The loops of a row, outermost first, and the array edge it ran with."""

    row: Row
    edge: int
    levels: tuple[Level, ...]
    is_matmul: bool  #: a matrix product (Q = 1) or a convolution: the two commands differ

    @property
    def steps(self) -> int:
        """Tiles in all."""
        total = 1
        for level in self.levels:
            total *= level.turns
        return total


def nest_of(row: Row) -> Nest:
    """The loops of a row."""
    edge, is_matmul = array_edge(row), row.size["Q"] == 1
    levels = tuple(_level(row, dim, edge, is_matmul) for dim in _order(row))
    return Nest(row, edge, levels, is_matmul)


def array_edge(row: Row) -> int:
    """The smallest array that holds a mapping's spatial factors."""
    used = max(row.spatial("C"), row.spatial("K"))
    return next(edge for edge in EDGES if edge >= used)


def _order(row: Row) -> list[str]:
    """Dimensions, outermost first; those that L3 does not name are outside of all."""
    named = [f.dim for f in row.outer if f.dim in _INNERMOST_FIRST]
    rest = [dim for dim in reversed(_INNERMOST_FIRST) if dim not in named]
    return rest + named


def _level(row: Row, dim: str, edge: int, is_matmul: bool) -> Level:
    extent, tile = row.size[dim], row.tile(dim)
    if is_matmul and dim != "Q":  # ... but steps over them by blocks of the array's edge
        tile = max(1, tile // MATMUL_BLOCK) * edge
    turns = -(-extent // tile)
    tile = min(tile, extent)
    return Level(dim, turns, tile, extent - (turns - 1) * tile)
