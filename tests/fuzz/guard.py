"""Memory that lies right against pages nobody may touch: an access outside ends the process.

    guard = Guard(end=True)
    with guard.memories():
        machine = FastMachine(program, CHIP)     # TSRAM, CSRAM, ACC, regions and queues guarded
    guard.blocks(machine)                        # code, tables, tiles, rings and scratch as well

There are inaccessible pages on both sides; `end` says whether an array ends at the second or
begins at the first (both, where its size is a multiple of a page). Kernels use plain addresses,
so NUMBA_BOUNDSCHECK cannot see where they reach.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any
from unittest.mock import patch

import numpy as np

from emulator import retire
from emulator.fast import layout as at
from emulator.fast.blocks import address
from emulator.fast.machine import FastMachine

PAGE = mmap.PAGESIZE
RING_ROWS = 64
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


class Arena:
    """Bytes between two inaccessible pages. It stays as long as the process."""

    def __init__(self, size: int, end: bool) -> None:
        inner = max(-(-size // PAGE), 1) * PAGE
        self._map = mmap.mmap(-1, inner + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(self._map, np.uint8)
        for place in (0, inner + PAGE):
            _forbid(address(whole) + place)
        start = PAGE + (inner - size if end else 0)
        self.bytes = whole[start : start + size]


def _forbid(place: int) -> None:
    if _libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), _PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")


_pool: dict[tuple[int, bool], list[Arena]] = defaultdict(list)


class Guard:
    """Gives out guarded arrays; `release` takes them all back for the next machine."""

    def __init__(self, end: bool) -> None:
        self.end = end
        self._taken: list[tuple[tuple[int, bool], Arena]] = []

    def zeros(self, *shape: int) -> np.ndarray:
        """Zero bytes, as `emulator.memory.zeros` gives them."""
        key = (prod(shape), self.end)
        arena = _pool[key].pop() if _pool[key] else Arena(*key)
        self._taken.append((key, arena))
        arena.bytes[:] = 0
        return arena.bytes.reshape(shape)

    def copy(self, array: np.ndarray) -> np.ndarray:
        """A guarded copy. int64 words stay aligned: their sizes are multiples of 8."""
        flat = self.zeros(array.nbytes)
        flat[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return flat.view(array.dtype).reshape(array.shape)

    @contextmanager
    def memories(self) -> Iterator[None]:
        """Machines made here have guarded memories."""
        with (
            patch("emulator.memory.zeros", self.zeros),
            patch("emulator.fast.blocks.zeros", self.zeros),
        ):
            yield

    def blocks(self, machine: FastMachine) -> None:
        """Move the executor's own arrays into guarded memory as well."""
        blocks: Any = machine._blocks
        for name, word in (
            ("rows", at.M_CODE),
            ("table", at.M_TABLE),
            ("regions", at.M_REGIONS),
            ("rules", at.M_RULES),
            ("kernels", at.M_KERNELS),
            ("tiles", at.M_TILE0),
            ("postponed", at.M_POSTPONED),
        ):
            if blocks.machine[word] == 0:
                continue  # not in use
            setattr(blocks, name, self.copy(getattr(blocks, name)))
            blocks.machine[word] = address(getattr(blocks, name))
        blocks.machine = self.copy(blocks.machine)
        for tile in range(len(blocks.tiles)):
            rows = self.zeros(RING_ROWS * retire.WORDS * 8)
            blocks.rings.append(rows.view(np.int64).reshape(RING_ROWS, retire.WORDS))
            blocks._place_ring(tile)
        self._worker(machine._workers)

    def _worker(self, workers: Any) -> None:
        """The first worker's scratch memory and block."""
        scratch, block = workers._scratch[0], workers._blocks[0]
        workers._scratch[0] = self.zeros(scratch.nbytes)
        block[at.W_SCRATCH] = address(workers._scratch[0])
        workers._blocks[0] = self.copy(block)

    def release(self) -> None:
        """Take the arrays back. Nobody may use them any more."""
        for key, arena in self._taken:
            _pool[key].append(arena)
        self._taken.clear()
