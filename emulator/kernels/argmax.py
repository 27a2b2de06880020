"""The total order of fp32 numbers as integers, and the index of a row's greatest.

Source: the arithmetic contract, section 2 (total order); isa/spec/vector.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.lanes import I32, WIDTH, Lanes, Vec
from emulator.kernels.memory import load_i32, store_u32
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    H_NUMBER,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    STATUS_OK,
    field,
    format_bits,
    header,
)
from emulator.kernels.rows import fetch_run, next_run

NEGATIVE_INFINITY = 0xFF800000


def order_key(lanes: Lanes, bits: Vec) -> Vec:
    """Signed integers in the order -Inf < ... < -0 < +0 < ... < +Inf < NaN; all NaNs alike."""
    key = bits ^ (bits.ashr(31).lshr(1))
    is_nan = (bits & 0x7FFFFFFF).compare(">", 0x7F800000)
    return is_nan.choose(lanes.constant(I32, 0x7FFFFFFF), key)


@intrinsic
def _lane_maxima(
    typingctx: Any, keys: Any, places: Any, source: Any, first: Any, blocks: Any
) -> Any:
    """Fold blocks of sixteen, from index `first`, into each lane's best key and its index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        keys, places, source, first, blocks = (lanes.vec(arg) for arg in args)
        numbers = lanes.vec(ir.Constant(ir.VectorType(I32, WIDTH), list(range(WIDTH))))
        index = lanes.broadcast(first.cast("trunc", I32)) + numbers

        def body(carried: Sequence[Vec]) -> list[Vec]:
            at_block, index, best, place = carried
            key = order_key(lanes, lanes.load(at_block, I32))
            better = key.compare(">", best)
            return [
                at_block + 64,
                index + 16,
                better.choose(key, best),
                better.choose(index, place),
            ]

        start = [source, index, lanes.load(keys, I32), lanes.load(places, I32)]
        *_, best, place = lanes.counted_loop(blocks, start, body)
        lanes.store(best, keys)
        lanes.store(place, places)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


@inner
def _best_lane(keys, places):
    """The index of the greatest key, the lowest of equals."""
    best, place = load_i32(keys), load_i32(places)
    for lane in range(1, 16):
        key, index = load_i32(keys + 4 * lane), load_i32(places + 4 * lane)
        if key > best or (key == best and index < place):
            best, place = key, index
    return place


@inner
def _argmax_row(fmt, source, stride, columns, base):
    keys, places = base + at.LANES_AT, base + at.LANES_AT + 64
    for lane in range(16):
        store_u32(keys + 4 * lane, 0x80000000)  # below every key
        store_u32(places + 4 * lane, 0x7FFFFFFF)
    step = stride * (format_bits(fmt) // 8)
    start = 0
    while start < columns:
        count = next_run(start, columns)
        values = fetch_run(fmt, source + start * step, stride, count, base + at.IN_AT, base)
        for lane in range(count, (count + 15) & -16):
            store_u32(values + 4 * lane, NEGATIVE_INFINITY)  # a later index than any -Inf
        _lane_maxima(keys, places, values, start, (count + 15) >> 4)
        start += count
    return _best_lane(keys, places)


@njit
def k_argmax(args):
    """vargmax: operands dst I32 [M, 1], src [M, N]; the header's number is added."""
    base = at.aligned(header(args, H_SCRATCH))
    fmt, columns = field(args, 1, FORMAT), field(args, 1, COLUMNS)
    row_bytes = field(args, 1, ROW_STRIDE) * (format_bits(fmt) // 8)
    for row in range(field(args, 1, ROWS)):
        source = field(args, 1, ADDRESS) + row * row_bytes
        index = _argmax_row(fmt, source, field(args, 1, COLUMN_STRIDE), columns, base)
        target = field(args, 0, ADDRESS) + 4 * row * field(args, 0, ROW_STRIDE)
        store_u32(target, index + header(args, H_NUMBER))
    return STATUS_OK
