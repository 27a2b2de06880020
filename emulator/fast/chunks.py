"""Arrays for chunks of retire records, whose memory is used again when nobody has them any more.

New memory from the operating system costs more than the records that are copied to it.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from emulator import retire

#: Of memory that waits to be used again: what a decoder keeps of one step (emulator/metered.py).
MOST_BYTES = 128 << 20


class Chunks:
    """Chunks of one size; threads may share it."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        most = max(1, MOST_BYTES // (8 * retire.WORDS * rows))
        self._free: deque[NDArray[np.int64]] = deque(maxlen=most)

    def new(self) -> NDArray[np.int64]:
        """Memory for a chunk, int64 [rows, 16], with anything in it."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty((self._rows, retire.WORDS), np.int64)
        return np.asarray(_Lent(memory, self._free))


class _Lent:
    """Memory of an array; when that and its views are gone, it is given back."""

    def __init__(self, memory: NDArray[np.int64], free: deque[NDArray[np.int64]]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory, self._free = memory, free

    def __del__(self) -> None:
        self._free.append(self._memory)
