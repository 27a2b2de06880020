"""Which values of the knobs a search tries."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from compiler.tiling import KNOBS, Tiling

_KIB: Final = 1024
_DOUBLES: Final = tuple(1 << n for n in range(11))

#: The values of each knob, ascending: powers of two and what is between, as far as it may pay.
LADDERS: Final[Mapping[str, Sequence[int]]] = {
    "chunk": [n * _KIB for n in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)],
    "slots": (2, 3, 4),
    "lent": (0, 1, 2),
    "block": (4, 8, 12, 16, 24, 32, 48, 64, 96, 128),
    "group_rows": (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512),
    "stage": (4, 8, 12, 16, 32),
    "wide_stage": (4, 8, 12, 16, 24, 32, 48, 64),
    "parts": (1, 2, 3, 4, 6, 8, 16),
    "skinny": (0, *_DOUBLES[3:]),
    "shared_rows": _DOUBLES,
    "head_part": _DOUBLES[2:],
    "page_slots": (2, 3, 4, 5, 6, 8),
    "attend_rows": (*_DOUBLES[:8], 192, 256, 384, 512),
    "item_rows": _DOUBLES[:9],
    "spread": _DOUBLES[:7],
}
_KICKED: Final = 3  #: knobs that are turned at random where no single one helps any more


def near(tiling: Tiling, now: Tiling, knob: str, far: int) -> list[Tiling]:
    """Tilings with the values of a knob that are so `far` below and above the present one.

    `now`: what the tiling settles to.
    """
    value: int | None = getattr(now, knob)
    if value is None:  # the options have said it in another way
        return []
    ladder = LADDERS[knob]
    below, above = bisect_left(ladder, value), bisect_right(ladder, value)
    places = (below - far, above + far - 1)
    values = [ladder[place] for place in places if 0 <= place < len(ladder)]
    return [replace(tiling, **{knob: each}) for each in values]


def order(free: Sequence[str], chance: random.Random) -> list[str]:
    """The knobs that may be turned, shuffled."""
    return chance.sample(list(free), len(free))


def kicked(tiling: Tiling, free: Sequence[str], chance: random.Random) -> Tiling:
    """The tiling with some knobs anywhere."""
    knobs = chance.sample(list(free), min(_KICKED, len(free)))
    return replace(tiling, **{knob: chance.choice(list(LADDERS[knob])) for knob in knobs})


def turned(given: Tiling) -> list[str]:
    """The knobs that a search turns: those that the user has not."""
    return [knob for knob in KNOBS if knob not in given.given()]
