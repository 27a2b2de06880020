"""Compiled loops that do nothing but what is to be measured.

A peak is a loop of independent operations on registers: enough chains to hide the latency, few
enough not to be spilled. Reading is a loop of loads, joined by exclusive or so that none is left
out, along several streams, since one stream does not keep every machine's memory busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels.lanes import F32, I32, I64, WIDTH, Lanes, Vec, target_features
from emulator.kernels.matrix_dots import HAS_DOTS, dot_bytes

_FEATURES = target_features()
#: Of one register. (Features that are asked for by name do not bring along those they imply.)
LANES = 16 if "avx512f" in _FEATURES else 8 if {"avx", "avx2"} & _FEATURES else 4
CHAINS = 12
LINE = 4 * WIDTH  #: bytes of a vector of sixteen lanes
STREAMS = 4
DONE = np.int64(0)


def _make_peak(step: Callable[[Lanes, Vec], Vec], element: Any, count: int) -> Any:
    """(steps, address of CHAINS vectors) -> nothing."""

    @intrinsic
    def peak(typingctx: Any, steps: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            steps, target = (lanes.vec(arg) for arg in args)
            start = [lanes.load(target + LINE * i, element, count) for i in range(CHAINS)]
            ends = lanes.counted_loop(steps, start, lambda old: [step(lanes, x) for x in old])
            for i, end in enumerate(ends):
                lanes.store(end, target + LINE * i)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return peak


_fma_peak = _make_peak(lambda lanes, x: lanes.fma(x, x, x), F32, LANES)


@njit
def fma_chains(steps: Any, room: Any) -> Any:
    """`steps` fused multiply-adds on each of CHAINS registers of LANES lanes."""
    _fma_peak(steps, room)
    return DONE


if HAS_DOTS:
    _dot_peak = _make_peak(lambda lanes, x: dot_bytes(lanes, x, x, x), I32, WIDTH)

    @njit
    def dot_chains(steps: Any, room: Any) -> Any:
        """`steps` dot products of 64 bytes on each of CHAINS registers."""
        _dot_peak(steps, room)
        return DONE


def _read(typingctx: Any, source: Any, stride: Any, steps: Any) -> Any:
    """The exclusive or of STREAMS x `steps` x 2 vectors."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, stride, steps = (lanes.vec(arg) for arg in args)
        zero = lanes.constant(I32, 0)

        def step(carried: Sequence[Vec]) -> list[Vec]:
            at, *sums = carried
            for i in range(STREAMS):
                start = at + stride * i
                pair = lanes.load(start, I32) ^ lanes.load(start + LINE, I32)
                sums[i] = sums[i] ^ pair
            return [at + 2 * LINE, *sums]

        _end, *sums = lanes.counted_loop(steps, [source, *[zero] * STREAMS], step)
        total = zero
        for part in sums:
            total = total ^ part
        return lanes.call("llvm.vector.reduce.xor.v16i32", I32, total).cast("zext", I64).value

    return types.int64(types.int64, types.int64, types.int64), codegen


_read_all: Any = intrinsic(_read)


@njit
def read_streams(source: Any, size: Any) -> Any:
    """Read `size` bytes (a multiple of STREAMS x 2 x LINE), as STREAMS streams."""
    part = size // STREAMS
    return _read_all(source, part, part // (2 * LINE))
