"""A and W of a matrix product as fp32 in scratch.

Source: the layouts of docs/isa/descriptors.md. Weights in panels are decoded a word vector
at a time (16 columns); strided weights whose k is contiguous are first transposed, 32 bits at a
time, into the very same panel words, those whose n is contiguous are decoded as they lie, and any
other strides are copied together first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import block_bytes, decode_lanes, load_codes
from emulator.kernels.convert import decode_run
from emulator.kernels.inner import inner
from emulator.kernels.lanes import WIDTH, Lanes
from emulator.kernels.matrix_nibbles import decode_w_dots
from emulator.kernels.memory import copy_bytes, fill_bytes
from emulator.kernels.operand import (
    ADDRESS,
    BF16,
    COLUMN_STRIDE,
    E2M1,
    E4M3FN,
    E5M2,
    FORMAT,
    FP16,
    LAYOUT,
    PANEL,
    ROW_STRIDE,
    field,
    format_bits,
)
from emulator.kernels.panel_words import decode_panel
from emulator.kernels.rows import gather_codes
from emulator.kernels.squares import transpose_square

# ---- strided weights


def _make_grid_decode(fmt: int) -> Callable[..., Any]:
    """(address of (k0, n0), bytes from k to k + 1, target, panels, count of k): n contiguous."""

    @intrinsic
    def decode(typingctx, source, k_stride, target, panels, count):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, k_stride, dst, panels, count = (lanes.vec(arg) for arg in args)

            def one_panel(carried):
                at_k, to = carried
                value = decode_lanes(lanes, fmt, load_codes(lanes, fmt, at_k))
                lanes.store(value, to)
                return [at_k + block_bytes(fmt), to + at.W_STRIDE]

            def one_k(carried):
                at_k, to = carried
                lanes.counted_loop(panels, [at_k, to], one_panel)
                return [at_k + k_stride, to + 4 * WIDTH]

            lanes.counted_loop(count, [src, dst], one_k)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return decode


_grid_bf16, _grid_fp16 = _make_grid_decode(BF16), _make_grid_decode(FP16)
_grid_e4m3fn, _grid_e5m2 = _make_grid_decode(E4M3FN), _make_grid_decode(E5M2)


@inner
def _decode_grid(fmt, source, k_stride, target, panels, count):
    if fmt == BF16:
        _grid_bf16(source, k_stride, target, panels, count)
    elif fmt == FP16:
        _grid_fp16(source, k_stride, target, panels, count)
    elif fmt == E4M3FN:
        _grid_e4m3fn(source, k_stride, target, panels, count)
    else:
        _grid_e5m2(source, k_stride, target, panels, count)


@inner
def _stage_panel(fmt, source, n_stride, k_stride, columns, count, stage):
    """The codes of up to 16 columns, k contiguous, one stage row each; strides in bytes."""
    size = format_bits(fmt) // 8
    for n in range(16):
        row = stage + n * at.STAGE_STRIDE
        if n >= columns:
            fill_bytes(row, 0, at.STAGE_STRIDE)
        elif fmt == E2M1:
            copy_bytes(row, source + n * n_stride, (count + 1) // 2)
        else:
            gather_codes(size, source + n * n_stride, k_stride, row, count)


@inner
def _decode_panel(fmt, source, target, words, dots):
    if dots:
        decode_w_dots(source, target, words)
    else:
        decode_panel(fmt, source, target, words)


@inner
def _pack_columns(fmt, source, n_stride, k_stride, columns, count, target, dots, base):
    """One panel of strided weights: 16 columns, `count` values of k, to [k][16]."""
    bits = format_bits(fmt)
    words = (count * bits + 31) // 32
    whole = columns == 16 and words % 16 == 0 and count * bits % 32 == 0
    contiguous = fmt == E2M1 or k_stride == bits // 8
    stride = n_stride
    if not (whole and contiguous):
        stage = base + at.STAGE_AT
        _stage_panel(fmt, source, n_stride, k_stride, columns, count, stage)
        source, stride = stage, at.STAGE_STRIDE
    packed = base + at.WORDS_AT
    for first in range(0, words, 16):
        transpose_square(source + 4 * first, stride, packed + 64 * first, 64)
    _decode_panel(fmt, packed, target, words, dots)


@inner
def _pack_strided(args, operand, n0, columns, k0, count, dots, base):
    fmt = field(args, operand, FORMAT)
    bits = format_bits(fmt)
    n_step = field(args, operand, ROW_STRIDE)
    k_step = field(args, operand, COLUMN_STRIDE)
    source = field(args, operand, ADDRESS) + (n0 * n_step + k0 * k_step) * bits // 8
    n_stride, k_stride = n_step * bits // 8, k_step * bits // 8
    panel = 0
    if fmt != E2M1 and n_step == 1 and k_step != 1 and columns >= 16:
        panel = columns // 16
        _decode_grid(fmt, source, k_stride, base + at.W_AT, panel, count)
    while panel * 16 < columns:
        _pack_columns(
            fmt,
            source + panel * 16 * n_step * bits // 8,
            n_stride,
            k_stride,
            min(16, columns - panel * 16),
            count,
            base + at.W_AT + panel * at.W_STRIDE,
            dots,
            base,
        )
        panel += 1


@inner
def _pack_panels(args, operand, n0, columns, k0, count, dots, base):
    fmt = field(args, operand, FORMAT)
    bits = format_bits(fmt)
    panel_bytes = field(args, operand, ROW_STRIDE) * bits // 8
    source = field(args, operand, ADDRESS) + n0 // 16 * panel_bytes + k0 * bits * 2
    words = (count * bits + 31) // 32
    for panel in range((columns + 15) // 16):
        target = base + at.W_AT + panel * at.W_STRIDE
        _decode_panel(fmt, source + panel * panel_bytes, target, words, dots)


@inner
def pack_w(args, operand, n0, columns, k0, count, dots, base):
    """Columns [n0, n0 + columns) of W for k in [k0, k0 + count), as fp32, or bytes for dots.

    n0 starts a column group, k0 a chunk.
    """
    if field(args, operand, LAYOUT) == PANEL:
        _pack_panels(args, operand, n0, columns, k0, count, dots, base)
    else:
        _pack_strided(args, operand, n0, columns, k0, count, dots, base)


@inner
def pack_a(args, operand, row, k0, count, target, base):
    """k in [k0, k0 + count) of one row of A."""
    fmt = field(args, operand, FORMAT)
    bits = format_bits(fmt)
    k_step = field(args, operand, COLUMN_STRIDE)
    first = row * field(args, operand, ROW_STRIDE) + k0 * k_step
    source = field(args, operand, ADDRESS) + first * bits // 8
    if k_step != 1 and fmt != E2M1:
        stage = base + at.STAGE_AT
        gather_codes(bits // 8, source, k_step * bits // 8, stage, count)
        source = stage
    decode_run(fmt, source, target, count)
