"""The calls of the matrix kernel that a run makes, kept and made again with nothing in between.

    calls = MatrixCalls(machine)
    with calls.recorded():
        decoder.step(...)
    seconds = calls.probe(2).seconds()      # the same products on two threads

A call's operands lie in the machine's memories, where other values may be by now: the kernel takes
as long for those. Each thread takes every other tile, so that no two write to the same memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emulator.bench.measure import Probe, on_threads
from emulator.bench.stored import aligned
from emulator.fast import layout as at
from emulator.fast.machine import FastMachine
from emulator.kernels.scratch import SCRATCH_BYTES
from isa.spec import BY_MNEMONIC

GEMM = BY_MNEMONIC["gemm"].opcode
WORDS = at.W_WORDS - at.W_ARGS  #: of an argument record
DESTINATION = 16  #: the word of it that is the address of the accumulators
_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


class MatrixCalls:
    """Argument records of a machine's matrix products, in the order in which they were made."""

    def __init__(self, machine: FastMachine) -> None:
        self._machine = machine
        self._address = int(machine.kernels[GEMM])
        self._kernel = _KERNEL(self._address)
        self._records: list[bytes] = []

    def __len__(self) -> int:
        return len(self._records)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """While this lasts, the machine's products are kept."""
        note = _KERNEL(self._note)
        self._machine.kernels[GEMM] = ctypes.cast(note, ctypes.c_void_p).value or 0
        try:
            yield
        finally:
            self._machine.kernels[GEMM] = self._address

    def _note(self, arguments: int) -> int:
        self._records.append(ctypes.string_at(arguments, 8 * WORDS))
        return int(self._kernel(arguments))

    def probe(self, threads: int, team: ThreadPoolExecutor) -> Probe:
        """All of them once more, on so many threads; the work is their number."""
        records = np.frombuffer(b"".join(self._records), np.int64).reshape(-1, WORDS)
        acc = self._machine.memory.acc
        tiles = (records[:, DESTINATION] - acc.ctypes.data) // acc.shape[1]
        calls = [
            partial(self._replay, records[tiles % threads == thread].copy(), aligned(SCRATCH_BYTES))
            for thread in range(threads)
        ]
        return on_threads(float(len(records)), calls, team)

    def _replay(self, records: NDArray[np.int64], scratch: NDArray[np.uint8]) -> None:
        """One thread's share, with scratch memory of its own."""
        records[:, at.A_SCRATCH] = scratch.ctypes.data
        kernel, first, step = self._kernel, int(records.ctypes.data), 8 * WORDS
        for address in range(first, first + step * len(records), step):
            kernel(address)
