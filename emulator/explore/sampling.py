"""Which points a study has: its grid, its list, or some of the grid at random."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from emulator.explore.study import GRID, LIST, RANDOM, Study

Values = dict[str, Any]


def sampled(study: Study) -> Iterator[Values]:
    """The values of every point, in an order in which neighbours are alike. Not for a search."""
    kind = study.sampling.kind
    if kind == LIST:
        yield from (dict(study.fixed) | dict(point) for point in study.sampling.points)
    elif kind == GRID:
        yield from (at(study, place) for place in product(*map(range, lengths(study))))
    else:
        assert kind == RANDOM
        yield from (at(study, place) for place in _drawn(study))


def lengths(study: Study) -> list[int]:
    """How many values each axis has."""
    return [len(values) for values in study.axes.values()]


def at(study: Study, place: tuple[int, ...]) -> Values:
    """The values at a place of the grid: an index on each axis."""
    chosen = zip(study.axes.items(), place, strict=True)
    return dict(study.fixed) | {name: values[index] for (name, values), index in chosen}


def _drawn(study: Study) -> list[tuple[int, ...]]:
    """`n` different places of the grid by a seed; all of them if there are no more."""
    sizes = lengths(study)
    total = math.prod(sizes)
    generator = random.Random(study.sampling.seed)
    wanted = min(study.sampling.n, total)
    if total <= 10 * wanted:
        numbers = generator.sample(range(total), wanted)
    else:  # the grid may be larger than any list
        found: dict[int, None] = {}
        while len(found) < wanted:
            found[generator.randrange(total)] = None
        numbers = list(found)
    return [_place(number, sizes) for number in sorted(numbers)]


def _place(number: int, sizes: list[int]) -> tuple[int, ...]:
    found = []
    for size in reversed(sizes):
        number, index = divmod(number, size)
        found.append(index)
    return tuple(reversed(found))
