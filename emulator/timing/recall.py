"""What entries took whose streams have been timed before.

The timing model is a function: streams with one digest (digest.py) take the same cycles. Most steps
of a long answer do the work of the step before, and need not be timed again; what they moved is
still counted, record by record.
"""

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import Traffic
from emulator.timing.result import EntryTiming, lower_bounds
from isa.chip import Chip

Ints = NDArray[np.int64]

KEPT = 16  #: entries; estimate: a few sequences' steps, each like one of those before


class Recall:
    """The latest timings of one chip and program, by digest; threads may share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, EntryTiming] = OrderedDict()
        self._lock = Lock()
        self.hits = 0

    def find(self, key: bytes) -> EntryTiming | None:
        """The timing of a stream with this digest, if it is known."""
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self.hits += 1
                self._known.move_to_end(key)
            return found

    def keep(self, key: bytes, timing: EntryTiming) -> None:
        """Keep a timing, in the place of the one that was not asked for longest."""
        with self._lock:
            self._known[key] = timing
            if len(self._known) > KEPT:
                self._known.popitem(last=False)


def same_timing(chip: Chip, known: EntryTiming, traffic: Traffic) -> EntryTiming:
    """A timing like a known one, of an entry with the same rows that moved `traffic`."""
    order = np.empty(len(known.keys), np.int64)
    order[_sorted(known.keys)] = _sorted(traffic.keys)
    traffic.keys, traffic.rows = traffic.keys[order], traffic.rows[order]
    traffic.hbm_rows = traffic.hbm_rows[order]
    bounds = lower_bounds(chip, traffic)
    return replace(known, keys=traffic.keys, bounds=bounds, traffic=traffic)


def _sorted(keys: Ints) -> Ints:
    """Numbers of rows in the order of their keys."""
    return np.lexsort((keys[:, 1], keys[:, 0]))
