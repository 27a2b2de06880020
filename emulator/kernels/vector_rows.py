"""The vector unit's row instructions: prefix sums, reductions, argmax and top-k.

Source: the arithmetic contract, section 2 (32 lanes, total order); isa/spec/vector.py. The lanes of
a reduction start at the operation's exact identity (-0 for sums: x + -0 is x, even for -0), which
stands for "takes no part"; positions outside a row's bounds hold it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import canonical
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I32, WIDTH, Lanes, Vec
from emulator.kernels.memory import (
    bits_of_f32,
    copy_bytes,
    f32_of_bits,
    load_f32,
    load_i32,
    load_u32,
    store_f32,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    H_K0,
    H_NUMBER,
    H_OPCODE,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    STATUS_OK,
    field,
    format_bits,
    header,
    is_absent,
)
from emulator.kernels.rows import (
    deliver_run,
    evenly_spaced_rows,
    fetch_run,
    make_nest,
    nest_rows,
    next_run,
    row_address,
    row_length,
)
from emulator.kernels.squares import scan_square
from emulator.kernels.vector_loops import Operation, maximum, minimum
from isa.spec import BY_MNEMONIC

VRSUM, VRMAX, VRMIN = (BY_MNEMONIC[name].opcode for name in ("vrsum", "vrmax", "vrmin"))
NAN = 0x7FC00000
NEGATIVE_ZERO, INFINITY, NEGATIVE_INFINITY = 0x80000000, 0x7F800000, 0xFF800000
LANES = 32

# ---- reductions


def _addition(lanes: Lanes, a: Vec, b: Vec) -> Vec:
    return a + b


def _make_fold(operation: Operation) -> Callable[..., Any]:
    """(address of the 32 lanes, fp32 address, blocks of 32) -> nothing."""

    @intrinsic
    def fold(typingctx: Any, state: Any, source: Any, blocks: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            state, source, blocks = (lanes.vec(arg) for arg in args)

            def body(carried: Sequence[Vec]) -> list[Vec]:
                at_block, low, high = carried
                low = operation(lanes, low, lanes.load(at_block, F32))
                high = operation(lanes, high, lanes.load(at_block + 64, F32))
                return [at_block + 128, low, high]

            start = [source, lanes.load(state, F32), lanes.load(state + 64, F32)]
            _, low, high = lanes.counted_loop(blocks, start, body)
            lanes.store(low, state)
            lanes.store(high, state + 64)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return fold


def _make_finish(operation: Operation) -> Callable[..., Any]:
    """(address of the 32 lanes) -> fp32: lane i with i + 16, i + 8, i + 4, i + 2, i + 1."""

    @intrinsic
    def finish(typingctx: Any, state: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            state = lanes.vec(args[0])
            value = operation(lanes, lanes.load(state, F32), lanes.load(state + 64, F32))
            for distance in (8, 4, 2, 1):
                other = [(lane + distance) % WIDTH for lane in range(WIDTH)]
                value = operation(lanes, value, lanes.shuffle(value, value, other))
            value = canonical(lanes, value)
            return builder.extract_element(value.value, ir.Constant(I32, 0))

        return types.float32(types.int64), codegen

    return finish


_fold_sum, _finish_sum = _make_fold(_addition), _make_finish(_addition)
_fold_max, _finish_max = _make_fold(maximum), _make_finish(maximum)
_fold_min, _finish_min = _make_fold(minimum), _make_finish(minimum)


@inner
def _fold(op, state, source, blocks):
    if op == VRSUM:
        _fold_sum(state, source, blocks)
    elif op == VRMAX:
        _fold_max(state, source, blocks)
    else:
        _fold_min(state, source, blocks)


@inner
def _finish(op, state):
    if op == VRSUM:
        return _finish_sum(state)
    if op == VRMAX:
        return _finish_max(state)
    return _finish_min(state)


@inner
def _identity(op):
    if op == VRSUM:
        return NEGATIVE_ZERO
    return NEGATIVE_INFINITY if op == VRMAX else INFINITY


@inner
def _empty(op):
    return 0 if op == VRSUM else _identity(op)


@inner
def _row_bounds(args, operand, row, columns):
    """A row's [begin, end) within [0, columns]."""
    if is_absent(args, operand):
        return 0, columns
    k0 = header(args, H_K0)
    address = field(args, operand, ADDRESS) + 4 * row * field(args, operand, ROW_STRIDE)
    begin = max(load_i32(address) - k0, 0)
    end = min(load_i32(address + 4 * field(args, operand, COLUMN_STRIDE)) - k0, columns)
    return begin, end


@inner
def _fold_cut_block(op, fmt, source, stride, begin, count, base):
    """A block of which only lanes [begin, begin + count) take part; `source` is the first's."""
    state, buffer = base + at.LANES_AT, base + at.IN_AT
    values = fetch_run(fmt, source, stride, count, buffer, base)
    block = base + at.OUT_AT
    for lane in range(LANES):
        store_u32(block + 4 * lane, _identity(op))
    copy_bytes(block + 4 * begin, values, 4 * count)
    _fold(op, state, block, 1)


@inner
def _reduce_row(op, fmt, source, stride, begin, end, base):
    """The reduction of elements [begin, end) of a row, as an fp32 pattern."""
    if begin >= end:
        return _empty(op)
    state = base + at.LANES_AT
    for lane in range(LANES):
        store_u32(state + 4 * lane, _identity(op))
    step = stride * (format_bits(fmt) // 8)
    i = begin
    while i < end:
        lane = i % LANES
        if lane != 0 or end - i < LANES:
            count = min(LANES - lane, end - i)
            _fold_cut_block(op, fmt, source + i * step, stride, lane, count, base)
        else:
            count = min(at.RUN, (end - i) // LANES * LANES)
            values = fetch_run(fmt, source + i * step, stride, count, base + at.IN_AT, base)
            _fold(op, state, values, count // LANES)
        i += count
    return bits_of_f32(_finish(op, state))


@njit
def k_reduce(args):
    """vrsum, vrmax, vrmin: operands dst [M, 1], src [M, N], bounds [M, 2]."""
    base = at.aligned(header(args, H_SCRATCH))
    op = header(args, H_OPCODE)
    fmt, to_fmt = field(args, 1, FORMAT), field(args, 0, FORMAT)
    columns, stride = field(args, 1, COLUMNS), field(args, 1, COLUMN_STRIDE)
    row_bytes = field(args, 1, ROW_STRIDE) * (format_bits(fmt) // 8)
    to_bytes = field(args, 0, ROW_STRIDE) * (format_bits(to_fmt) // 8)
    result = base + at.OUT_AT
    for row in range(field(args, 1, ROWS)):
        source = field(args, 1, ADDRESS) + row * row_bytes
        begin, end = _row_bounds(args, 2, row, columns)
        bits = _reduce_row(op, fmt, source, stride, begin, end, base)
        store_u32(result, bits)
        deliver_run(to_fmt, True, result, field(args, 0, ADDRESS) + row * to_bytes, 1, 1, base)
    return STATUS_OK


# ---- prefix sums


@njit
def k_scan(args):
    """vscan: prefix sums along the last axis, one after the other; operands dst, a (FP32)."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 2, base, False)
    together = field(args, 0, COLUMN_STRIDE) == 1 and field(args, 1, COLUMN_STRIDE) == 1
    rows, side_by_side, row = nest_rows(base), evenly_spaced_rows(base), 0
    while row < rows:
        if together and row % side_by_side + WIDTH <= side_by_side:
            _scan_rows(args, row, base)
            row += WIDTH
        else:
            target, source = row_address(base, 0, row), row_address(base, 1, row)
            _scan_row(args, target, source, f32_of_bits(NEGATIVE_ZERO), 0, row_length(base))
            row += 1
    return STATUS_OK


@inner
def _scan_row(args, target, source, total, first, last):
    """Columns [first, last) of one row."""
    step, source_step = 4 * field(args, 0, COLUMN_STRIDE), 4 * field(args, 1, COLUMN_STRIDE)
    for j in range(first, last):
        total = total + load_f32(source + j * source_step)
        if total != total:
            total = f32_of_bits(NAN)
        store_f32(target + j * step, total)


@inner
def _scan_rows(args, row, base):
    """Sixteen rows whose columns lie together: squares, then the rest row by row."""
    target, source = row_address(base, 0, row), row_address(base, 1, row)
    to_stride = row_address(base, 0, row + 1) - target
    stride = row_address(base, 1, row + 1) - source
    totals, length = base + at.LANES_AT, row_length(base)
    for lane in range(WIDTH):
        store_u32(totals + 4 * lane, NEGATIVE_ZERO)
    whole = length & -WIDTH
    for j in range(0, whole, WIDTH):
        scan_square(source + 4 * j, stride, target + 4 * j, to_stride, totals)
    for lane in range(WIDTH):
        to, fro = target + lane * to_stride, source + lane * stride
        _scan_row(args, to, fro, load_f32(totals + 4 * lane), whole, length)


# ---- order


def _order_key(lanes: Lanes, bits: Vec) -> Vec:
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
            key = _order_key(lanes, lanes.load(at_block, I32))
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


@inner
def _order(bits, index):
    """One integer that ranks an element: its key, then the lower index."""
    if bits & 0x7FFFFFFF > 0x7F800000:
        key = 0x7FFFFFFF
    elif bits & 0x80000000:
        key = ~(bits & 0x7FFFFFFF)
    else:
        key = bits
    return (key << 32) | (0xFFFFFFFF - index)


@inner
def _sift_down(heap, place, size):
    """Restore a heap whose least element is at 0, from `place` down."""
    item = heap[place]
    child = 2 * place + 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[place] = heap[child]
        place = child
        child = 2 * place + 1
    heap[place] = item


@inner
def _best_of_row(heap, source, step, columns):
    """Fill `heap` with the ranks of a row's greatest elements, greatest first."""
    size = heap.size
    for i in range(size):
        heap[i] = _order(load_u32(source + i * step), i)
    for place in range(size // 2 - 1, -1, -1):
        _sift_down(heap, place, size)
    for i in range(size, columns):
        rank = _order(load_u32(source + i * step), i)
        if rank > heap[0]:
            heap[0] = rank
            _sift_down(heap, 0, size)
    for last in range(size - 1, 0, -1):  # take the least away, put it behind the rest
        least = heap[0]
        heap[0] = heap[last]
        _sift_down(heap, 0, last)
        heap[last] = least


@njit
def k_topk(args):
    """vtopk: operands values FP32 [M, k], indices I32 [M, k], src FP32 [M, N]; bits are copied."""
    wanted, columns = field(args, 0, COLUMNS), field(args, 2, COLUMNS)
    step = 4 * field(args, 2, COLUMN_STRIDE)
    heap = np.empty(wanted, np.int64)
    for row in range(field(args, 2, ROWS)):
        source = field(args, 2, ADDRESS) + 4 * row * field(args, 2, ROW_STRIDE)
        values = field(args, 0, ADDRESS) + 4 * row * field(args, 0, ROW_STRIDE)
        places = field(args, 1, ADDRESS) + 4 * row * field(args, 1, ROW_STRIDE)
        _best_of_row(heap, source, step, columns)
        for i in range(wanted):
            index = 0xFFFFFFFF - (heap[i] & 0xFFFFFFFF)
            bits = load_u32(source + index * step)
            store_u32(values + 4 * i * field(args, 0, COLUMN_STRIDE), bits)
            place = places + 4 * i * field(args, 1, COLUMN_STRIDE)
            store_u32(place, index + header(args, H_NUMBER))
    return STATUS_OK
