"""Compiled code that is called through addresses: kernels, and large parts of the loop.

So the loop knows nothing of kernels, and a program compiles only those that it uses. The parts of
the loop are cut at these calls because Numba optimises a function again in each of its callers:
in one piece, the loop would take three times as long to compile.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.fast import layout as at
from emulator.fast.access_log import log
from emulator.fast.execute import tensor
from emulator.fast.operands import resolve
from emulator.fast.postponed import prepare
from emulator.fast.records import fill
from emulator.jit import address_of
from emulator.kernels import kernels


def kernel_table(opcodes: Iterable[int]) -> NDArray[np.int64]:
    """Addresses by opcode, int64 [256], of those instructions that have a kernel; 0 elsewhere."""
    table, known = np.zeros(256, np.int64), kernels()
    for opcode in opcodes:
        if int(opcode) in known:
            table[opcode] = address_of(known[int(opcode)])
    return table


def connect_log(machine: NDArray[np.int64]) -> None:
    """Have the accesses of tensor instructions logged (access_log.py)."""
    machine[at.M_LOG] = address_of(log, 7)
    allocate = ctypes.cast(ctypes.pythonapi.PyMem_RawMalloc, ctypes.c_void_p).value
    assert allocate is not None
    machine[at.M_ALLOCATE] = allocate


def connect(machine: NDArray[np.int64]) -> None:
    """Put the addresses of the loop's parts into a machine block."""
    machine[at.M_RESOLVE] = address_of(resolve, 6)
    machine[at.M_TENSOR] = address_of(tensor, 7)
    machine[at.M_RECORD] = address_of(fill, 4)
    machine[at.M_YIELD] = _yield_processor()


def _yield_processor() -> int:
    """Address of C's `sched_yield`; 0 where there is none."""
    if not hasattr(os, "sched_yield"):
        return 0
    return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


def connect_postponed(machine: NDArray[np.int64], blocks: NDArray[np.int64]) -> None:
    """Have copies postponed (postponed.py), noted in the tiles' blocks, int64 [tiles, P_WORDS]."""
    machine[at.M_PREPARE] = address_of(prepare, 5)
    machine[at.M_POSTPONED] = blocks.ctypes.data
