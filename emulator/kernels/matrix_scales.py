"""Scales of a matrix product as fp32 in scratch, and their range.

Source: the layouts of docs/isa/descriptors.md. A scale range is one int64: the largest finite
scale's fp32 pattern in the low word, the smallest non-zero one's in the high word. It tells whether
the product of two scales may round, which costs the micro-kernels a wider multiplication.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.code_lanes import decode_lanes
from emulator.kernels.inner import inner
from emulator.kernels.lanes import I8, I32, I64, Lanes
from emulator.kernels.memory import bits_of_f32, f32_of_bits, load_u8, store_u32
from emulator.kernels.operand import (
    E4M3FN,
    E8M0,
    LAYOUT,
    PANEL,
    SCALE_ADDRESS,
    SCALE_KIND,
    SCALE_MX32,
    SCALE_NONE,
    SCALE_STRIDE0,
    SCALE_STRIDE1,
    field,
)

NAN = 0x7FC00000
ONE = 0x3F800000
NO_SCALES = (0x7F800000 << 32) | 0
UNIT_SCALES = (ONE << 32) | ONE


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
