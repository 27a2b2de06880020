"""How many logits a tile keeps at a time, and in how many parts it ranks those of its columns."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arena import DoesNotFit
from compiler.hbm import Capacity
from compiler.matrices import Matrix
from isa.descriptor import PANEL_COLUMNS

PART_SHARE = 8  # of a tile's memory: the most for a part's logits; more leave less room for chunks


@dataclass(frozen=True)
class HeadSizes:
    """A tile keeps logits of ``columns`` at a time, which come in blocks of ``panels``.

    These are all of its columns if there is one of ``parts``; else each part is ranked and sent
    before the next: ``part_panels`` each, and what is left with the last. ``rankings`` lists of
    candidates come of it: one of each part, or, with all columns at hand, one or two.
    """

    columns: int
    panels: int
    parts: int
    part_panels: int
    rankings: int

    @property
    def lists(self) -> int:
        """Lists of candidates that a tile has at a time."""
        return self.rankings // self.parts


def whole_head(matrix: Matrix, tiles: int, top_k: int, block_panels: int) -> HeadSizes:
    """All of a tile's logits at once: at least as many as candidates are drawn from them."""
    most = _most_panels(matrix, tiles)
    panels = min(most, block_panels)
    twice = _ranks_twice(matrix, most, top_k, panels)
    return HeadSizes(max(most * PANEL_COLUMNS, top_k), panels, 1, most, 2 if twice else 1)


def head_in_parts(
    matrix: Matrix, tiles: int, capacity: Capacity, block_panels: int, nbytes: int
) -> HeadSizes:
    """Logits in parts that take a share of a tile's `nbytes`, or one block if that is more.

    Every part has as many columns as candidates are drawn from it, and every tile as many parts.
    """
    most = _most_panels(matrix, tiles)
    panels = min(most, block_panels)
    need = -(-capacity.top_k // PANEL_COLUMNS)
    room = nbytes // PART_SHARE // (4 * capacity.wanted * PANEL_COLUMNS)
    wide = max(room // panels, -(-need // panels), 1) * panels
    least = most - matrix.unit  # of any tile; the last of these panels may not be full
    parts = -(-least // wide)
    if least - (parts - 1) * wide < need + 1:
        parts -= 1
    if parts < 2:
        raise DoesNotFit("logits: too few for parts")
    kept = max(wide, most - (parts - 1) * wide)
    return HeadSizes(kept * PANEL_COLUMNS, panels, parts, wide, parts)


def _most_panels(matrix: Matrix, tiles: int) -> int:
    """Of a tile: others have as many, or a unit less."""
    return -(-matrix.units // tiles) * matrix.unit


def _ranks_twice(matrix: Matrix, most: int, top_k: int, wide: int) -> bool:
    """Whether a tile ranks some of its logits while another block of `wide` is still to come.

    Then both parts have as many columns as candidates are drawn from them, on every tile.
    """
    for panels in (most, most - matrix.unit):
        last = panels - (panels - 1) // wide * wide
        if panels <= wide or (last - 1) * PANEL_COLUMNS < top_k:  # the last may not be full
            return False
    return wide * PANEL_COLUMNS >= top_k
