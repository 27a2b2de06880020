"""Probes of what the arithmetic units can do at most."""

from __future__ import annotations

import ctypes
from typing import Any

from emulator.bench import loops
from emulator.bench.measure import Probe, one_thread
from emulator.bench.stored import aligned
from emulator.jit import address_of
from emulator.kernels.matrix_dots import HAS_DOTS


def fma(steps: int) -> Probe:
    """Fused multiply-adds of fp32."""
    return _chains(loops.fma_chains, steps, loops.LANES)


def dots(steps: int) -> Probe | None:
    """Multiply-adds of bytes by dot products, where the machine has them."""
    return _chains(loops.dot_chains, steps, 64) if HAS_DOTS else None


def _chains(loop: Any, steps: int, each: int) -> Probe:
    room = aligned(loops.CHAINS * loops.LINE)
    call = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 3)(address_of(loop, 2))
    address = int(room.ctypes.data)

    def run(room: object = room) -> object:  # keeps the room alive
        return call(steps, address)

    return one_thread(float(steps) * loops.CHAINS * each, run)
