"""The vector unit's reductions: sums, maxima and minima of rows, within bounds.

Source: the arithmetic contract, section 2 (32 lanes); isa/spec/vector.py. The lanes of a reduction
start at the operation's exact identity (-0 for sums: x + -0 is x, even for -0), which stands for
"takes no part"; positions outside a row's bounds hold it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import canonical
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I32, WIDTH, Lanes, Vec
from emulator.kernels.memory import bits_of_f32, copy_bytes, load_i32, store_u32
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    H_K0,
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
from emulator.kernels.rows import deliver_run, fetch_run
from emulator.kernels.vector_loops import Operation, maximum, minimum
from isa.spec import BY_MNEMONIC

VRSUM, VRMAX, VRMIN = (BY_MNEMONIC[name].opcode for name in ("vrsum", "vrmax", "vrmin"))
NEGATIVE_ZERO, INFINITY, NEGATIVE_INFINITY = 0x80000000, 0x7F800000, 0xFF800000
LANES = 32


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


_fold_sum, finish_sum = _make_fold(_addition), _make_finish(_addition)
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
        return finish_sum(state)
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
def row_bounds(args, operand, row, columns):
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
        begin, end = row_bounds(args, 2, row, columns)
        bits = _reduce_row(op, fmt, source, stride, begin, end, base)
        store_u32(result, bits)
        deliver_run(to_fmt, True, result, field(args, 0, ADDRESS) + row * to_bytes, 1, 1, base)
    return STATUS_OK
