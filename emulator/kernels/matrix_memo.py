"""What the one row of A in scratch was packed from, so that the same row is not packed twice.

In decode every tile of a chip multiplies the same activations by other weights. With the few
columns that a tile has, packing the row into digits (matrix_digits.py) would be most of the work.
So a product of one row leaves a copy of the row's codes and scales beside what it packed; the next
one that has the same codes and scales, byte by byte, uses that. Whatever packs another row, forgets
this one first. A result depends on it no more than on anything else in scratch: what a row is
packed to follows from its codes.

Rows of A as fp32, which blocks need whose sums may round, are not kept: the vector unit's pieces of
scratch lie over them. Where there are such blocks, `keeps_all` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.lanes import I32, I64, Lanes, Vec
from emulator.kernels.memory import copy_bytes, load_i64, load_u8, store_i64
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    FORMAT,
    ROW_STRIDE,
    SCALE_ADDRESS,
    SCALE_KIND,
    SCALE_MX32,
    SCALE_NONE,
    SCALE_STRIDE0,
    SCALE_STRIDE1,
    field,
)

A = 1  # the operand
MAGIC = 0x6D656D6F20412031  # no scratch has this by chance; all zero and all ones are what it has
DEPTH = at.ROWS * at.DEPTH  #: most values of k of a row that is held whole

# words of the note
M_MAGIC, M_DEPTH, M_BLOCK, M_FORMAT, M_SCALES, M_ALL = 0, 8, 16, 24, 32, 40


@intrinsic
def _lines_differ(typingctx: Any, one: Any, other: Any, lines: Any) -> Any:
    """Whether any of so many lines of 64 bytes (>= 1) differ."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        one, other, lines = (lanes.vec(arg) for arg in args)

        def line(carried: Sequence[Vec]) -> list[Vec]:
            a, b, seen = carried
            return [a + 64, b + 64, seen | (lanes.load(a, I32) ^ lanes.load(b, I32))]

        *_, seen = lanes.counted_loop(lines, [one, other, lanes.constant(I32, 0)], line)
        return lanes.call("llvm.vector.reduce.or.v16i32", I32, seen).cast("zext", I64).value

    return types.int64(*[types.int64] * 3), codegen


@inner
def _same_bytes(one, other, size):
    lines = size >> 6
    if lines > 0 and _lines_differ(one, other, lines) != 0:
        return False
    differ = 0
    for i in range(lines << 6, size):
        differ |= load_u8(one + i) ^ load_u8(other + i)
    return differ == 0


@inner
def _row(args, row):
    return field(args, A, ADDRESS) + row * field(args, A, ROW_STRIDE)


@inner
def _scales(args, row):
    return field(args, A, SCALE_ADDRESS) + row * field(args, A, SCALE_STRIDE0)


@inner
def _scale_bytes(args):
    """Scales of a row; 0 without scales."""
    if field(args, A, SCALE_KIND) == SCALE_NONE:
        return 0
    size = 32 if field(args, A, SCALE_KIND) == SCALE_MX32 else 16
    return (field(args, A, COLUMNS) + size - 1) // size


@inner
def can_keep(args, block):
    """Whether A's rows, of FP8, and their scales are plain bytes, few enough, and of whole blocks.

    The chunk of a block that is cut is multiplied in fp32, so its row would have to be, too.
    """
    depth = field(args, A, COLUMNS)
    if depth > DEPTH or depth % block != 0 or field(args, A, COLUMN_STRIDE) != 1:
        return False
    return field(args, A, SCALE_KIND) == SCALE_NONE or field(args, A, SCALE_STRIDE1) == 1


@inner
def is_kept(args, row, block, base):
    """Whether this row of A is what is in scratch, packed for blocks of this size."""
    memo = base + at.MEMO_AT
    if load_i64(memo + M_MAGIC) != MAGIC or load_i64(memo + M_BLOCK) != block:
        return False
    depth = field(args, A, COLUMNS)
    if load_i64(memo + M_DEPTH) != depth or load_i64(memo + M_FORMAT) != field(args, A, FORMAT):
        return False
    if load_i64(memo + M_SCALES) != field(args, A, SCALE_KIND):
        return False
    copy = memo + at.LINE
    if not _same_bytes(_row(args, row), copy, depth):
        return False
    return _same_bytes(_scales(args, row), copy + DEPTH, _scale_bytes(args))


@inner
def keeps_all(base):
    """Whether no block of the row that is kept needs it in fp32."""
    return load_i64(base + at.MEMO_AT + M_ALL) != 0


@inner
def keep(args, row, block, every, base):
    """This row of A is in scratch now; `every`: no block needs it in fp32."""
    memo, depth = base + at.MEMO_AT, field(args, A, COLUMNS)
    store_i64(memo + M_DEPTH, depth)
    store_i64(memo + M_BLOCK, block)
    store_i64(memo + M_FORMAT, field(args, A, FORMAT))
    store_i64(memo + M_SCALES, field(args, A, SCALE_KIND))
    store_i64(memo + M_ALL, every)
    copy_bytes(memo + at.LINE, _row(args, row), depth)
    copy_bytes(memo + at.LINE + DEPTH, _scales(args, row), _scale_bytes(args))
    store_i64(memo + M_MAGIC, MAGIC)


@inner
def forget(base):
    """Another row is about to be packed."""
    store_i64(base + at.MEMO_AT + M_MAGIC, 0)
