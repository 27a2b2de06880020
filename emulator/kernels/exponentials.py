"""The vector unit's exponentials of rows, with their sums: the numerator of a softmax.

Source: the arithmetic contract, section 2; vexp2sum of isa/spec/vector.py. It is vsub, vexp2, vrsum
and vcvt in one pass: the exponentials of sixteen columns are added to their lanes while they are in
registers. What lies outside a row's bounds is left out of its lane, where -0 stands for "no element
yet" (see reductions.py).
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
from emulator.kernels.lanes import F32, I32, WIDTH, Lanes, Vec
from emulator.kernels.memory import bits_of_f32, store_u32
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    FP32,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    STATUS_OK,
    field,
    format_bits,
    header,
)
from emulator.kernels.reductions import LANES, NEGATIVE_ZERO, finish_sum, row_bounds
from emulator.kernels.rows import deliver_run, fetch_run
from emulator.kernels.vector_loops import exp2

DST, TOTAL, A, B, BOUNDS = range(5)
ROWS_AT_ONCE = at.RUN  #: rows whose numbers are fetched, and whose sums are delivered, together

# Work buffers, each of a run: results, a, and a number and a sum for each row.
_RESULT, _A, _B, _SUMS = (at.OUT_AT + number * at.BUFFER for number in range(4))


@intrinsic
def _exp2_sum(
    typingctx: Any, to: Any, source: Any, less: Any, state: Any, begin: Any, end: Any, blocks: Any
) -> Any:
    """Blocks of sixteen of EXP2(source - the number at `less`) to `to`; [begin, end) to the lanes.

    The first block takes the lower sixteen of the 32 lanes at `state`, the next one the upper, and
    so on. 0 <= begin, and end is at most the end of the blocks.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        to, source, less, state, begin, end, blocks = (lanes.vec(arg) for arg in args)
        number = lanes.broadcast(lanes.load_scalar(less, F32))
        first = lanes.broadcast(begin.cast("trunc", I32))
        width = lanes.broadcast((end - begin).cast("trunc", I32))
        columns = [ir.Constant(I32, lane) for lane in range(WIDTH)]
        column = lanes.vec(ir.Constant(ir.VectorType(I32, WIDTH), columns)) - first

        def block(source: Vec, to: Vec, column: Vec, lane: Vec) -> Vec:
            x = exp2(lanes, lanes.load(source, F32) - number)
            lanes.store(x, to)
            return column.compare("<", width, signed=False).choose(lane + x, lane)

        def pair(carried: Sequence[Vec]) -> list[Vec]:
            source, to, column, low, high = carried
            low = block(source, to, column, low)
            high = block(source + 64, to + 64, column + WIDTH, high)
            return [source + 128, to + 128, column + 2 * WIDTH, low, high]

        pairs = blocks.lshr(1)
        with builder.if_then(pairs.compare(">", 0).value):
            low, high = lanes.load(state, F32), lanes.load(state + 64, F32)
            *_, low, high = lanes.counted_loop(pairs, [source, to, column, low, high], pair)
            lanes.store(low, state)
            lanes.store(high, state + 64)
        with builder.if_then((blocks & 1).compare(">", 0).value):
            done = pairs << 7
            column = column + lanes.broadcast((pairs << 5).cast("trunc", I32))
            low = block(source + done, to + done, column, lanes.load(state, F32))
            lanes.store(low, state)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@inner
def _row(args, row, less, base):
    """Write a row of dst; the pattern of its sum in FP32."""
    fmt, to_fmt = field(args, A, FORMAT), field(args, DST, FORMAT)
    stride, to_stride = field(args, A, COLUMN_STRIDE), field(args, DST, COLUMN_STRIDE)
    step, to_step = format_bits(fmt) // 8, format_bits(to_fmt) // 8
    source = field(args, A, ADDRESS) + row * field(args, A, ROW_STRIDE) * step
    target = field(args, DST, ADDRESS) + row * field(args, DST, ROW_STRIDE) * to_step
    columns = field(args, A, COLUMNS)
    begin, end = row_bounds(args, BOUNDS, row, columns)  # before dst is written: it may lie there
    state = base + at.LANES_AT
    for lane in range(LANES):
        store_u32(state + 4 * lane, NEGATIVE_ZERO)
    start = 0
    while start < columns:
        count = min(at.RUN, columns - start)
        values = fetch_run(fmt, source + start * stride * step, stride, count, base + _A, base)
        place = base + _RESULT
        run_target = target + start * to_stride * to_step
        if to_fmt == FP32 and to_stride == 1 and count % WIDTH == 0:
            place = run_target
        low = min(max(begin - start, 0), count)
        high = max(min(end - start, count), low)
        _exp2_sum(place, values, less, state, low, high, (count + WIDTH - 1) // WIDTH)
        deliver_run(to_fmt, True, place, run_target, to_stride, count, base)
        start += count
    return bits_of_f32(finish_sum(state)) if begin < end else 0


@njit
def k_exp2_sum(args):
    """vexp2sum: operands dst [M, N], total [M, 1], a [M, N], b [M, 1], bounds [M, 2]."""
    base = at.aligned(header(args, H_SCRATCH))
    b_fmt, total_fmt = field(args, B, FORMAT), field(args, TOTAL, FORMAT)
    b_stride, total_stride = field(args, B, ROW_STRIDE), field(args, TOTAL, ROW_STRIDE)
    b_step = b_stride * (format_bits(b_fmt) // 8)
    total_step = total_stride * (format_bits(total_fmt) // 8)
    rows = field(args, A, ROWS)
    row = 0
    while row < rows:
        count = min(ROWS_AT_ONCE, rows - row)
        source = field(args, B, ADDRESS) + row * b_step
        numbers = fetch_run(b_fmt, source, b_stride, count, base + _B, base)
        for i in range(count):
            store_u32(base + _SUMS + 4 * i, _row(args, row + i, numbers + 4 * i, base))
        target = field(args, TOTAL, ADDRESS) + row * total_step
        deliver_run(total_fmt, True, base + _SUMS, target, total_stride, count, base)
        row += count
    return STATUS_OK
