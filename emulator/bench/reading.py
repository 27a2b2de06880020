"""How fast memory can be read: the best of several ways, over more than any cache holds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emulator.bench import loops
from emulator.bench.measure import Probe, on_threads, one_thread
from emulator.bench.stored import Bytes, aligned
from emulator.jit import address_of

Reader = Callable[[Bytes], object]
_UNIT = loops.STREAMS * 2 * loops.LINE
_TRIALS = 5


class Memory:
    """Memory to be read, and the ways to read it."""

    def __init__(self, size: int, team: ThreadPoolExecutor) -> None:
        self._data = aligned(size)
        self._data[:] = 1  # or every page would be the system's one page of zeros
        self._team = team

    def best(self, threads: int) -> tuple[str, Probe]:
        """The fastest way on so many threads."""
        return max(self._probes(threads), key=lambda pair: pair[1].rate(_TRIALS))

    def _probes(self, threads: int) -> list[tuple[str, Probe]]:
        share = self._data.size // threads // _UNIT * _UNIT
        parts = [self._data[i * share : (i + 1) * share] for i in range(threads)]
        return [
            (name, self._probe([_bound(read, part) for part in parts], share * threads))
            for name, read in readers().items()
        ]

    def _probe(self, calls: list[Callable[[], object]], work: float) -> Probe:
        if len(calls) == 1:
            return one_thread(work, calls[0])
        return on_threads(work, calls, self._team)


def _bound(read: Reader, part: Bytes) -> Callable[[], object]:
    return lambda: read(part)


def readers() -> dict[str, Reader]:
    """Ways to read bytes, by name."""
    return {
        "streams": _streams(),
        "np.max of bytes": np.max,
        "np.max of fp32": lambda part: np.max(part.view(np.float32)),
        "np.max of int64": lambda part: np.max(part.view(np.int64)),
    }


def _streams() -> Reader:
    call = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 3)(address_of(loops.read_streams, 2))
    return lambda part: call(int(part.ctypes.data), part.size)
