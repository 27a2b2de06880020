"""What entries took whose streams have been timed before.

The timing model is a function: streams with one digest (digest.py) take the same cycles, and move
the same bytes. Most steps of a long answer do the work of the step before, and need not be timed
again; only the MACs of their products are counted.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import Traffic
from emulator.accounting_columns import ARRAY_WORK, MAC_COLUMNS, R_MAC_WIDTHS, R_MACS, T_MACS
from emulator.retire import OPCODE
from emulator.timing.result import EntryTiming, lower_bounds
from isa.chip import Chip
from isa.spec import BY_MNEMONIC

Ints = NDArray[np.int64]

_GEMM = BY_MNEMONIC["gemm"].opcode

KEPT = 16  #: entries; estimate: a few sequences' steps, each like one of those before
#: So many entries in a row that are not known: from then on only one of so many is looked for,
#: since an entry that is can be timed as it comes (estimate).
PATIENCE = 8


class Recall:
    """The latest timings of one chip and program, by digest; threads may share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, EntryTiming] = OrderedDict()
        self._waiting: dict[bytes, list[Callable[[EntryTiming], None]]] = {}
        self._lock = Lock()
        self.hits = 0
        self._misses = self._asked = 0  # since the latest hit; in all

    def is_worth_asking(self) -> bool:
        """Whether the next entry may well be known."""
        with self._lock:
            self._asked += 1
            return self._misses < PATIENCE or self._asked % PATIENCE == 0

    def find(self, key: bytes, then: Callable[[EntryTiming], None]) -> bool:
        """Call `then` with the timing of a stream with this digest, now or once it is there.

        False if nobody has begun to time one: the caller does, and calls `keep` or `give_up`.
        """
        with self._lock:
            known = self._known.get(key)
            waiting = self._waiting.get(key)
            if known is None and waiting is None:
                self._waiting[key] = []
                self._misses += 1
                return False
            self.hits, self._misses = self.hits + 1, 0
            if known is None:
                assert waiting is not None
                waiting.append(then)
                return True
            self._known.move_to_end(key)
        then(known)
        return True

    def keep(self, key: bytes, timing: EntryTiming) -> None:
        """Keep a timing, in the place of the one that was not asked for longest."""
        with self._lock:
            self._known[key] = timing
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
            waiting = self._waiting.pop(key, [])
        for then in waiting:
            then(timing)

    def give_up(self, key: bytes) -> None:
        """There will be no timing."""
        with self._lock:
            self._waiting.pop(key, None)


def products_of(chunk: Ints) -> Ints:
    """The matrix products among records, int64 [n, 16]."""
    found: Ints = chunk[chunk[:, OPCODE] == _GEMM]
    return found


def same_timing(chip: Chip, known: EntryTiming, products: Traffic) -> EntryTiming:
    """A timing like a known one, of an entry with the same digest.

    What it moved is the same as well. `products` are the sums over its matrix products, of which
    the numbers of MACs are taken: a row's bounds decide them, and nothing else.
    """
    known_rows, order = _sorted(known.keys), _sorted(products.keys)
    found = known_rows[_places(known.keys[known_rows], products.keys[order])]
    rows, totals = known.traffic.rows.copy(), known.traffic.totals.copy()
    for column in (R_MACS, ARRAY_WORK, *range(R_MAC_WIDTHS, R_MAC_WIDTHS + len(MAC_COLUMNS))):
        rows[:, column] = 0
        rows[found, column] = products.rows[order, column]
    totals[T_MACS] = products.totals[T_MACS]
    macs = products.macs_by_formats
    traffic = replace(known.traffic, rows=rows, totals=totals, macs_by_formats=macs)
    bounds = lower_bounds(chip, traffic)
    alike = (bounds == known.bounds).all(axis=1)
    reasons = {row: why for row, why in list(known.found.items()) if alike[row]}
    return replace(known, bounds=bounds, traffic=traffic, found=reasons)


def _sorted(keys: Ints) -> Ints:
    """Numbers of rows in the order of their keys."""
    return np.lexsort((keys[:, 1], keys[:, 0]))


def _places(keys: Ints, some: Ints) -> Ints:
    """Where some of the keys are among all, both in their order."""
    at_place = {tuple(key): place for place, key in enumerate(keys.tolist())}
    return np.array([at_place[tuple(key)] for key in some.tolist()], np.int64)
