"""Which turns of a long nest of loops are simulated, and how many each of them stands for.

    segments = sample(nest.levels, 2000)

A nest of more steps than the budget is cut at its outermost loop: the first turns and the last one
are simulated for themselves, and some turns after the first stand for all between. Where a single
turn is too long, it is cut in the same way. One rule for all rows; exact if nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emulator.validate.gemmini.nest import Level

_LEAST = 4  # turns that are simulated at once, so that a steady state shows


@dataclass(frozen=True)
class Segment:
    """A part of the nest, (first turn, turns) of each loop; its time counts `weight` times."""

    ranges: tuple[tuple[int, int], ...]
    weight: float


def sample(levels: Sequence[Level], budget: int) -> list[Segment]:
    """Segments in the order of execution; weight times steps sums to the nest's steps."""
    return list(_cut([level.turns for level in levels], (), budget, 1.0))


def _cut(
    turns: list[int], before: tuple[tuple[int, int], ...], budget: int, weight: float
) -> Iterator[Segment]:
    steps = 1
    for count in turns:
        steps *= count
    if steps <= budget or not turns:
        yield Segment(before + tuple((0, count) for count in turns), weight)
        return
    first, inner = turns[0], steps // turns[0]
    if first == 1:
        yield from _cut(turns[1:], (*before, (0, 1)), budget, weight)
    elif inner * _LEAST > budget:
        shown = min(first, 3)
        share = budget // shown
        for turn, times in _few(first):
            yield from _cut(turns[1:], (*before, (turn, 1)), share, weight * times)
    else:
        rest = tuple((0, count) for count in turns[1:])
        shown = budget // inner
        middle = shown // 2
        head = shown - middle - 1
        each = (first - 1 - head) / middle
        yield Segment((*before, (0, head), *rest), weight)
        yield Segment((*before, (head, middle), *rest), weight * each)
        yield Segment((*before, (first - 1, 1), *rest), weight)


def _few(turns: int) -> list[tuple[int, int]]:
    """The first turn, one that stands for those between, and the last one."""
    if turns == 2:
        return [(0, 1), (1, 1)]
    return [(0, 1), (1, turns - 2), (turns - 1, 1)]
