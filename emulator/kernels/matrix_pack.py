"""A and W of a matrix product as fp32 in scratch, and the range of their scales.

Source: the layouts of docs/architecture.md, section 2. Weights in panels are decoded a word vector
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
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.convert import (
    SHAPES,
    block_bytes,
    decode_lanes,
    decode_run,
    decode_top,
    load_codes,
)
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I1, I8, I16, I32, I64, WIDTH, Lanes, Vec, target_features
from emulator.kernels.memory import (
    bits_of_f32,
    copy_bytes,
    f32_of_bits,
    fill_bytes,
    load_u8,
    out_of_line,
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
from emulator.kernels.rows import gather_codes

_FEATURES = target_features()
_AVX512 = "avx512f" in _FEATURES
_BYTE_TABLES = "avx512vbmi" in _FEATURES  # permutations of bytes: FP8 by table look-up
NAN = 0x7FC00000
ONE = 0x3F800000
NO_SCALES = (0x7F800000 << 32) | 0
UNIT_SCALES = (ONE << 32) | ONE

# ---- decoding panel words

#: element type, and the mask and pattern of an Inf or a NaN
_SPECIALS = {FP16: (I16, 0x7C00), E4M3FN: (I8, 0x7F), E5M2: (I8, 0x7C)}


def word_decoder(lanes: Lanes, fmt: int) -> Callable[[Vec], list[Vec]]:
    """Panel words [16] to the fp32 vectors of their codes, lowest k first; exact for every code."""
    if fmt == E2M1 and _AVX512:
        return _nibble_tables(lanes)
    if fmt in (E4M3FN, E5M2) and _BYTE_TABLES:
        return _byte_tables(lanes, fmt)
    return _top_decoder(lanes, fmt, exact=True)


def _top_decoder(lanes: Lanes, fmt: int, exact: bool) -> Callable[[Vec], list[Vec]]:
    """Each code in turn shifted to the top of its word."""
    bits = 16 if fmt == BF16 else SHAPES[fmt][2]
    shifts = range(32 - bits, -1, -bits)

    def decode(word: Vec) -> list[Vec]:
        tops = (word << shift if shift else word for shift in shifts)
        return [decode_top(lanes, fmt, top, exact) for top in tops]

    return decode


def _nibble_tables(lanes: Lanes) -> Callable[[Vec], list[Vec]]:
    """A permutation by the low four bits of each lane is a table look-up."""
    codes = ir.Constant(ir.VectorType(I32, WIDTH), list(range(WIDTH)))
    table = decode_lanes(lanes, E2M1, lanes.vec(codes))

    def decode(word: Vec) -> list[Vec]:
        name, kind = "llvm.x86.avx512.permvar.sf.512", table.value.type
        indices = [word.lshr(4 * i) if i else word for i in range(8)]
        return [lanes.call(name, kind, table, index) for index in indices]

    return decode


def _byte_tables(lanes: Lanes, fmt: int) -> Callable[[Vec], list[Vec]]:
    """An FP8 value is exact in BF16: its two bytes come from two tables of 128 magnitudes."""
    mantissa, bias, _bits = SHAPES[fmt]
    patterns = [_bf16_pattern(code, mantissa, bias, fmt) for code in range(128)]
    low_table = [pattern & 0xFF for pattern in patterns]
    high_table = [pattern >> 8 for pattern in patterns]
    zeros = lanes.constant(I8, 0, 64)

    def constant(numbers: list[int]) -> Vec:
        return lanes.vec(ir.Constant(ir.VectorType(I8, 64), numbers))

    def look_up(first: Vec, index: Vec, second: Vec) -> Vec:
        name = "llvm.x86.avx512.vpermi2var.qi.512"
        return lanes.call(name, first.value.type, first, index, second)

    def table(numbers: list[int], index: Vec) -> Vec:
        return look_up(constant(numbers[:64]), index, constant(numbers[64:]))

    def decode(word: Vec) -> list[Vec]:
        codes = lanes.vec(lanes.builder.bitcast(word.value, zeros.value.type))
        low = table(low_table, codes)
        high = table(high_table, codes) | (codes & 0x80)
        values = []
        for i in range(4):
            pick = [(0, 0, 4 * lane + i, 64 + 4 * lane + i) for lane in range(WIDTH)]
            index = constant([byte for lane in pick for byte in lane])
            keep = lanes.vec(ir.Constant(ir.VectorType(I1, 64), [0, 0, 1, 1] * WIDTH))
            bytes_ = keep.choose(look_up(low, index, high), zeros)
            value = lanes.builder.bitcast(bytes_.value, ir.VectorType(F32, WIDTH))
            values.append(lanes.vec(value))
        return values

    return decode


def _bf16_pattern(magnitude: int, mantissa: int, bias: int, fmt: int) -> int:
    """The BF16 pattern of an FP8 magnitude code; a NaN is 0x7FC0."""
    exponent, fraction = magnitude >> mantissa, magnitude & ((1 << mantissa) - 1)
    if fmt == E4M3FN and magnitude == 0x7F:
        return 0x7FC0
    if fmt == E5M2 and exponent == 31:
        return 0x7FC0 if fraction else 0x7F80
    if magnitude == 0:
        return 0
    if exponent == 0:  # normalise: every subnormal is a normal BF16
        shift = mantissa + 1 - fraction.bit_length()
        exponent, fraction = 1 - shift, (fraction << shift) & ((1 << mantissa) - 1)
    return (exponent - bias + 127) << 7 | fraction << (7 - mantissa)


def _make_panel_decode(fmt: int) -> Callable[..., Any]:
    """(word address, fp32 address, words per column) -> nothing."""
    scan = fmt == FP16 or (fmt in _SPECIALS and not _BYTE_TABLES)

    @intrinsic
    def decode(typingctx, source, target, words):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, dst, count = (lanes.vec(arg) for arg in args)

            def loop(decoder: Callable[[Vec], list[Vec]]) -> None:
                _decode_words(lanes, decoder, src, dst, count)

            if scan:
                lanes.branch(
                    _any_special(lanes, fmt, src, count),
                    lambda: loop(word_decoder(lanes, fmt)),
                    lambda: loop(_top_decoder(lanes, fmt, exact=False)),
                )
            else:
                loop(word_decoder(lanes, fmt))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return decode


def _decode_words(
    lanes: Lanes, decoder: Callable[[Vec], list[Vec]], src: Vec, dst: Vec, count: Vec
) -> None:
    def word(carried):
        at_word, to = carried
        values = decoder(lanes.load(at_word, I32))
        for i, value in enumerate(values):
            lanes.store(value, to + 4 * WIDTH * i)
        return [at_word + 4 * WIDTH, to + 4 * WIDTH * len(values)]

    lanes.counted_loop(count, [src, dst], word)


def _any_special(lanes: Lanes, fmt: int, src: Vec, count: Vec) -> Vec:
    """Whether any code of the words is an Inf or a NaN."""
    element, pattern = _SPECIALS[fmt]
    length = 512 // element.width

    def word(carried):
        at_word, seen = carried
        codes = lanes.load(at_word, element, length)
        special = (codes & pattern).compare("==", pattern)
        mask = lanes.vec(lanes.builder.bitcast(special.value, ir.IntType(length)))
        mask = mask if length == 64 else mask.cast("zext", I64)
        return [at_word + 64, seen | mask]

    _end, seen = lanes.counted_loop(count, [src, lanes.i64(0)], word)
    return seen.compare("!=", 0)


_panel_bf16, _panel_fp16 = _make_panel_decode(BF16), _make_panel_decode(FP16)
_panel_e4m3fn, _panel_e5m2 = _make_panel_decode(E4M3FN), _make_panel_decode(E5M2)
_panel_e2m1 = _make_panel_decode(E2M1)


@inner
def decode_panel(fmt, source, target, words):
    """`words` (>= 1) words of each of 16 columns to fp32 [k][16]."""
    out_of_line()
    if fmt == BF16:
        _panel_bf16(source, target, words)
    elif fmt == FP16:
        _panel_fp16(source, target, words)
    elif fmt == E4M3FN:
        _panel_e4m3fn(source, target, words)
    elif fmt == E5M2:
        _panel_e5m2(source, target, words)
    else:
        _panel_e2m1(source, target, words)


# ---- strided weights


@intrinsic
def _transpose_words(typingctx, source, stride, target):
    """Sixteen rows of sixteen 32-bit words, `stride` bytes apart, to sixteen columns."""

    def codegen(context, builder, signature, args):
        lanes = Lanes(builder)
        source, stride, target = (lanes.vec(arg) for arg in args)
        rows = [lanes.load(source + stride * i, I32) for i in range(WIDTH)]
        for distance in (8, 4, 2, 1):
            rows = _exchange(lanes, rows, distance)
        for i, row in enumerate(rows):
            lanes.store(row, target + 4 * WIDTH * i)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _exchange(lanes: Lanes, rows: list[Vec], distance: int) -> list[Vec]:
    """One step of a transposition: swap the off-diagonal blocks of size `distance`."""
    low = [i if not i & distance else WIDTH + i - distance for i in range(WIDTH)]
    high = [i + distance if not i & distance else WIDTH + i for i in range(WIDTH)]
    out = list(rows)
    for i in range(WIDTH):
        if not i & distance:
            out[i] = lanes.shuffle(rows[i], rows[i + distance], low)
            out[i + distance] = lanes.shuffle(rows[i], rows[i + distance], high)
    return out


def _make_grid_decode(fmt: int) -> Callable[..., Any]:
    """(address of (k0, n0), bytes from k to k + 1, fp32 address, panels, count of k): n contiguous."""

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
def _pack_columns(fmt, source, n_stride, k_stride, columns, count, target, base):
    """One panel of strided weights: 16 columns, `count` values of k, to fp32 [k][16]."""
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
        _transpose_words(source + 4 * first, stride, packed + 64 * first)
    decode_panel(fmt, packed, target, words)


@inner
def _pack_strided(args, operand, n0, columns, k0, count, base):
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
            base,
        )
        panel += 1


@inner
def _pack_panels(args, operand, n0, columns, k0, count, base):
    fmt = field(args, operand, FORMAT)
    bits = format_bits(fmt)
    panel_bytes = field(args, operand, ROW_STRIDE) * bits // 8
    source = field(args, operand, ADDRESS) + n0 // 16 * panel_bytes + k0 * bits * 2
    words = (count * bits + 31) // 32
    for panel in range((columns + 15) // 16):
        target = base + at.W_AT + panel * at.W_STRIDE
        decode_panel(fmt, source + panel * panel_bytes, target, words)


@inner
def pack_w(args, operand, n0, columns, k0, count, base):
    """Columns [n0, n0 + columns) and k in [k0, k0 + count) of W; n0 and k0 start a group, a chunk."""
    if field(args, operand, LAYOUT) == PANEL:
        _pack_panels(args, operand, n0, columns, k0, count, base)
    else:
        _pack_strided(args, operand, n0, columns, k0, count, base)


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
    """(scale bytes, fp32 address, blocks, blocks per scale) -> range. Blocks per scale: 1 or 2."""
    fmt = E8M0 if kind == SCALE_MX32 else E4M3FN

    @intrinsic
    def decode(typingctx, source, target, blocks, shift):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, dst, blocks, shift = (lanes.vec(arg) for arg in args)

            def one(carried):
                block, to, high, low = carried
                code = lanes.load(src + (block.lshr(shift) << 4), I8).cast("zext", I32)
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

            start = [lanes.i64(0), dst, lanes.constant(I32, 0), lanes.constant(I32, 0x7F7FFFFF)]
            *_, high, low = lanes.counted_loop(blocks, start, one)
            largest = lanes.call("llvm.vector.reduce.umax.v16i32", I32, high).cast("zext", I64)
            least = lanes.call("llvm.vector.reduce.umin.v16i32", I32, low).cast("zext", I64)
            return (((least + 1) << 32) | largest).value

        return types.int64(*[types.int64] * 4), codegen

    return decode


_panel_scales_mx, _panel_scales_nv = (_make_panel_scales(kind) for kind in (SCALE_MX32, 2))


@inner
def pack_w_scales(args, operand, n0, columns, block, first, blocks, base):
    """Scales of a column group for blocks [first, first + blocks); returns their range."""
    kind = field(args, operand, SCALE_KIND)
    target = base + at.SW_AT
    seen = NO_SCALES
    if kind != SCALE_NONE and field(args, operand, LAYOUT) == PANEL:
        shift = 1 if kind == SCALE_MX32 and block == 16 else 0
        stride = field(args, operand, SCALE_STRIDE0)
        source = field(args, operand, SCALE_ADDRESS) + n0 // 16 * stride + (first >> shift) * 16
        for panel in range((columns + 15) // 16):
            to = target + panel * at.SW_STRIDE
            codes = source + panel * stride
            if kind == SCALE_MX32:
                part = _panel_scales_mx(codes, to, blocks, shift)
            else:
                part = _panel_scales_nv(codes, to, blocks, shift)
            seen = widen_range(seen, part)
        return seen
    for n in range(columns):
        to = target + n // 16 * at.SW_STRIDE + n % 16 * 4
        part = _strided_scales(args, operand, n0 + n, block, first, blocks, to, 64)
        seen = widen_range(seen, part)
    return seen


@inner
def product_may_round(a, w):
    """Whether some product of two scales within these ranges is not exact and finite in fp32.

    Scale products have at most 8 significant bits, hence the margin above 2^-149.
    """
    highest = np.float64(f32_of_bits(a & 0xFFFFFFFF)) * np.float64(f32_of_bits(w & 0xFFFFFFFF))
    lowest = np.float64(f32_of_bits(a >> 32)) * np.float64(f32_of_bits(w >> 32))
    return highest >= 2.0**128 or lowest < 2.0**-142
