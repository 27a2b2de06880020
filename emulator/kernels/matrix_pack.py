"""A and W of a matrix product as fp32 in scratch, and the range of their scales.

Source: the layouts of docs/isa/descriptors.md. Weights in panels are decoded a word vector
at a time (16 columns); strided weights whose k is contiguous are first transposed, 32 bits at a
time, into the very same panel words, those whose n is contiguous are decoded as they lie, and any
other strides are copied together first.

A scale range is one int64: the largest finite scale's fp32 pattern in the low word, the smallest
non-zero one's in the high word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import block_bytes, decode_lanes, load_codes
from emulator.kernels.convert import decode_run
from emulator.kernels.inner import inner
from emulator.kernels.lanes import I8, I32, I64, WIDTH, Lanes
from emulator.kernels.matrix_dots import decode_w_dots
from emulator.kernels.memory import (
    bits_of_f32,
    copy_bytes,
    f32_of_bits,
    fill_bytes,
    load_u8,
    store_u32,
)
from emulator.kernels.operand import (
    ADDRESS,
    BF16,
    COLUMN_STRIDE,
    E2M1,
    E4M3FN,
    E5M2,
    E8M0,
    FORMAT,
    FP16,
    LAYOUT,
    PANEL,
    ROW_STRIDE,
    SCALE_ADDRESS,
    SCALE_KIND,
    SCALE_MX32,
    SCALE_NONE,
    SCALE_STRIDE0,
    SCALE_STRIDE1,
    field,
    format_bits,
)
from emulator.kernels.panel_words import decode_panel
from emulator.kernels.rows import gather_codes
from emulator.kernels.squares import transpose_square

NAN = 0x7FC00000
ONE = 0x3F800000
NO_SCALES = (0x7F800000 << 32) | 0
UNIT_SCALES = (ONE << 32) | ONE

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


# ---- scales


@inner
def widen_range(a, b):
    """The range that covers two scale ranges."""
    high = max(a & 0xFFFFFFFF, b & 0xFFFFFFFF)
    low = min(a >> 32, b >> 32)
    return (low << 32) | high


@inner
def scale_bits(kind, code):
    """fp32 pattern of a scale code: E8M0, or E4M3FN with the sign ignored."""
    if kind == SCALE_MX32:
        if code == 255:
            return NAN
        return 0x00400000 if code == 0 else code << 23
    magnitude = code & 0x7F
    if magnitude == 0x7F:
        return NAN
    if magnitude >= 8:
        return (magnitude << 20) + (120 << 23)
    return bits_of_f32(np.float32(magnitude) * np.float32(2.0**-9))


@inner
def _note_scale(bits, seen):
    if bits == NAN or bits == 0:
        return seen
    return widen_range(seen, (bits << 32) | bits)


@inner
def _strided_scales(args, operand, row, block, first, blocks, target, step):
    """Scales of one row or column, `step` bytes apart at target; returns their range."""
    kind = field(args, operand, SCALE_KIND)
    if kind == SCALE_NONE:
        for b in range(blocks):
            store_u32(target + b * step, ONE)
        return UNIT_SCALES
    source = field(args, operand, SCALE_ADDRESS) + row * field(args, operand, SCALE_STRIDE0)
    stride = field(args, operand, SCALE_STRIDE1)
    halves = 2 if kind == SCALE_MX32 and block == 16 else 1  # blocks under one scale
    seen = NO_SCALES
    for b in range(blocks):
        bits = scale_bits(kind, load_u8(source + (first + b) // halves * stride))
        store_u32(target + b * step, bits)
        seen = _note_scale(bits, seen)
    return seen


@inner
def pack_a_scales(args, operand, row, block, first, blocks, target):
    """Scales of one row of A for blocks [first, first + blocks)."""
    return _strided_scales(args, operand, row, block, first, blocks, target, 4)


def _make_panel_scales(kind: int) -> Callable[..., Any]:
    """(scale bytes, panel stride, fp32 address, panels, blocks, log2 blocks per scale) -> range."""
    fmt = E8M0 if kind == SCALE_MX32 else E4M3FN

    @intrinsic
    def decode(typingctx, source, stride, target, panels, blocks, shift):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, stride, dst, panels, blocks, shift = (lanes.vec(arg) for arg in args)

            def one_block(codes, carried):
                block, to, high, low = carried
                code = lanes.load(codes + (block.lshr(shift) << 4), I8).cast("zext", I32)
                code = code if fmt == E8M0 else code & 0x7F
                value = decode_lanes(lanes, fmt, code)
                lanes.store(value, to)
                bits = value.bits()
                usable = bits.compare("<", 0x7F800000)
                counted = usable.choose(bits, lanes.constant(I32, 0))
                high = counted.compare(">", high).choose(counted, high)
                # zero minus one is the largest unsigned: zeros and NaNs never are the smallest
                lowered = counted - 1
                low = lowered.compare("<", low, signed=False).choose(lowered, low)
                return [block + 1, to + 64, high, low]

            def one_panel(carried):
                codes, to, high, low = carried
                lanes.prefetch(codes + at.SCALES_AHEAD)
                start = [lanes.i64(0), to, high, low]
                *_, high, low = lanes.counted_loop(blocks, start, lambda c: one_block(codes, c))
                return [codes + stride, to + at.SW_STRIDE, high, low]

            start = [src, dst, lanes.constant(I32, 0), lanes.constant(I32, 0x7F7FFFFF)]
            *_, high, low = lanes.counted_loop(panels, start, one_panel)
            largest = lanes.call("llvm.vector.reduce.umax.v16i32", I32, high).cast("zext", I64)
            least = lanes.call("llvm.vector.reduce.umin.v16i32", I32, low).cast("zext", I64)
            return (((least + 1) << 32) | largest).value

        return types.int64(*[types.int64] * 6), codegen

    return decode


_panel_scales_mx, _panel_scales_nv = (_make_panel_scales(kind) for kind in (SCALE_MX32, 2))


@intrinsic
def clear_w_scales(typingctx, base):
    """Ones, for a W without scales: once is enough for all column groups and chunks."""

    def codegen(context, builder, signature, args):
        lanes = Lanes(builder)
        target = lanes.vec(args[0]) + at.SW_AT
        for vector in range(at.GROUP * at.SW_STRIDE // at.LINE):
            lanes.store(lanes.float_bits(ONE), target + at.LINE * vector)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@inner
def pack_w_scales(args, operand, n0, columns, block, first, blocks, base):
    """Scales of a column group for blocks [first, first + blocks); returns their range."""
    kind = field(args, operand, SCALE_KIND)
    if kind == SCALE_NONE:
        return UNIT_SCALES  # see clear_w_scales
    target = base + at.SW_AT
    if field(args, operand, LAYOUT) == PANEL:
        shift = 1 if kind == SCALE_MX32 and block == 16 else 0
        stride = field(args, operand, SCALE_STRIDE0)
        source = field(args, operand, SCALE_ADDRESS) + n0 // 16 * stride + (first >> shift) * 16
        panels = (columns + 15) // 16
        if kind == SCALE_MX32:
            return _panel_scales_mx(source, stride, target, panels, blocks, shift)
        return _panel_scales_nv(source, stride, target, panels, blocks, shift)
    seen = NO_SCALES
    for n in range(columns):
        to = target + n // 16 * at.SW_STRIDE + n % 16 * 4
        part = _strided_scales(args, operand, n0 + n, block, first, blocks, to, 64)
        seen = widen_range(seen, part)
    return seen


@inner
def product_may_round(a, w, dots):
    """Whether some product of two scales within these ranges is not exact and finite in fp32.

    Scale products have at most 8 significant bits, hence the margin above 2^-149. For dots, the
    product with a block's sum must be exact and finite too: 13 bits, of which two are fractions.
    """
    highest = np.float64(f32_of_bits(a & 0xFFFFFFFF)) * np.float64(f32_of_bits(w & 0xFFFFFFFF))
    lowest = np.float64(f32_of_bits(a >> 32)) * np.float64(f32_of_bits(w >> 32))
    if dots:
        return highest >= 2.0**112 or lowest < 2.0**-128
    return highest >= 2.0**128 or lowest < 2.0**-142
