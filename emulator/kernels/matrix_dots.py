"""E2M1 by E2M1 with integer dot products: the same bits, three times as fast.

Source: the arithmetic contract, section 1, consequence (c): every partial sum of a block is exact
in fp32, so the order of additions inside a block is free and integers will do. Doubled values are
integers from -12 to 12; A is kept as signed bytes, W as unsigned bytes with 12 added, and each
block's sum starts at -12 times the sum of A, which takes the offset away again. The sum is four
times s; A's scales are divided by four for it.

s times the scales is exact in fp32 too (13 bits by at most 8), within the range the caller checks,
so that step 2 does not round and steps 2 and 3 are one multiply-add.

Bytes of one row of A in scratch: even k, odd k (a word of four for each panel word), then the
blocks' starting values. A panel of W: two vectors for each word, even k and odd k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I32, Lanes, Vec, target_features
from emulator.kernels.matrix_micro import exact_wide_product, make_canonical
from emulator.kernels.memory import (
    copy_bytes,
    fill_bytes,
    load_f32,
    load_i32,
    load_u8,
    out_of_line,
    store_f32,
    store_i32,
    store_u8,
)
from emulator.kernels.scratch import A_STRIDE, AHEAD, DEPTH, SA_STRIDE, SW_STRIDE, W_STRIDE

HAS_DOTS = {"avx512vnni", "avx512bw"} <= target_features()

DOT_ROWS, DOT_PANELS = 4, 4
ODD_AT, SUMS_AT, START_AT = 64, 128, 256  # within a row of A
OFFSET = 12
DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
QUARTER = np.float32(0.25)
WORD_BYTES = 128  # of W in scratch, for one panel word of eight k


def dot_bytes(lanes: Lanes, total: Vec, w: Vec, a: Vec) -> Vec:
    """total + the sum of four products unsigned w * signed a, in every 32-bit lane."""
    kind = total.value.type
    w_words, a_words = (lanes.vec(lanes.builder.bitcast(x.value, kind)) for x in (w, a))
    return lanes.call("llvm.x86.avx512.vpdpbusd.512", kind, total, w_words, a_words)


def nibble_decoder(lanes: Lanes, offset: int) -> Callable[[Vec], tuple[Vec, Vec]]:
    """Panel words to the bytes of their even and of their odd k."""
    table = [(value + offset) & 0xFF for value in DOUBLED] * 4
    bytes64 = ir.VectorType(I8, 64)
    values = lanes.vec(ir.Constant(bytes64, table))

    def look_up(codes: Vec) -> Vec:
        index = lanes.vec(lanes.builder.bitcast(codes.value, bytes64))
        return lanes.call("llvm.x86.avx512.pshuf.b.512", bytes64, values, index)

    def decode(words: Vec) -> tuple[Vec, Vec]:
        return look_up(words & 0x0F0F0F0F), look_up(words.lshr(4) & 0x0F0F0F0F)

    return decode


@intrinsic
def _decode_a(typingctx: Any, source: Any, target: Any) -> Any:
    """128 packed codes to a row of A; and 12 times the sum of each word's eight values."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, target = (lanes.vec(arg) for arg in args)
        even, odd = nibble_decoder(lanes, 0)(lanes.load(source, I32))
        lanes.store(even, target)
        lanes.store(odd, target + ODD_AT)
        factor = lanes.constant(I8, OFFSET, 64)
        total = dot_bytes(lanes, lanes.constant(I32, 0), factor, even)
        lanes.store(dot_bytes(lanes, total, factor, odd), target + SUMS_AT)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _decode_w(typingctx: Any, source: Any, target: Any, words: Any) -> Any:
    """Panel words to bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        lanes = Lanes(builder)
        source, target, words = (lanes.vec(arg) for arg in args)
        decode = nibble_decoder(lanes, OFFSET)

        def word(carried: Sequence[Vec]) -> list[Vec]:
            at_word, to = carried
            even, odd = decode(lanes.load(at_word, I32))
            lanes.store(even, to)
            lanes.store(odd, to + 64)
            return [at_word + 64, to + WORD_BYTES]

        lanes.counted_loop(words, [source, target], word)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _make_dots(rows: int, panels: int, packed: bool) -> Callable[..., Any]:
    """(C, row stride of C, A, W, W's panel stride, scales of A and W, blocks, words, wide).

    `packed`: W is panel words in memory, not bytes in scratch.
    """

    @intrinsic
    def dots(
        typingctx: Any,
        c: Any,
        c_stride: Any,
        a: Any,
        w: Any,
        w_stride: Any,
        sa: Any,
        sw: Any,
        blocks: Any,
        words: Any,
        wide: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            c, c_stride, a, w, w_stride, sa, sw, blocks, words, wide = map(lanes.vec, args)
            tile = [[c + c_stride * i + 64 * j for j in range(panels)] for i in range(rows)]
            offsets = [w_stride * j for j in range(panels)]
            decode = nibble_decoder(lanes, OFFSET) if packed else None
            is_wide = wide.compare("!=", 0)

            def block(carried: Sequence[Vec]) -> list[Vec]:
                at_a, at_start, at_w, at_sa, at_sw = carried
                starts = [
                    lanes.broadcast(lanes.load_scalar(at_start + i * A_STRIDE, I32))
                    for i in range(rows)
                ]
                end_a, end_w, sums = _sums(lanes, decode, starts, at_a, at_w, offsets, words)
                _add_exact(lanes, tile, sums, at_sa, at_sw, is_wide)
                return [end_a, at_start + 4, end_w, at_sa + 4, at_sw + 64]

            lanes.counted_loop(blocks, [a, a + START_AT, w, sa, sw], block)
            make_canonical(lanes, tile)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), codegen

    return dots


def _sums(
    lanes: Lanes,
    decode: Callable[[Vec], tuple[Vec, Vec]] | None,
    starts: list[Vec],
    a: Vec,
    w: Vec,
    offsets: list[Vec],
    words: Vec,
) -> tuple[Vec, Vec, list[list[Vec]]]:
    """Integer sums of one block, of every row and panel."""
    panels = len(offsets)

    def step(carried: Sequence[Vec]) -> list[Vec]:
        at_a, at_w, *totals = carried
        values = []
        for i in range(len(starts)):
            even = lanes.load_scalar(at_a + i * A_STRIDE, I32)
            odd = lanes.load_scalar(at_a + i * A_STRIDE + ODD_AT, I32)
            values.append((lanes.broadcast(even), lanes.broadcast(odd)))
        after = list(totals)
        for j, offset in enumerate(offsets):
            if decode:
                lanes.prefetch(at_w + offset + AHEAD)
                w_even, w_odd = decode(lanes.load(at_w + offset, I32))
            else:
                w_even = lanes.load(at_w + offset, I8, 64)
                w_odd = lanes.load(at_w + offset + 64, I8, 64)
            for i, (even, odd) in enumerate(values):
                total = dot_bytes(lanes, after[i * panels + j], w_even, even)
                after[i * panels + j] = dot_bytes(lanes, total, w_odd, odd)
        return [at_a + 4, at_w + (64 if decode else WORD_BYTES), *after]

    first = [start for start in starts for _ in offsets]
    end_a, end_w, *sums = lanes.counted_loop(words, [a, w, *first], step)
    return end_a, end_w, [sums[i * panels : (i + 1) * panels] for i in range(len(starts))]


def _add_exact(
    lanes: Lanes, tile: list[list[Vec]], sums: list[list[Vec]], sa: Vec, sw: Vec, is_wide: Vec
) -> None:
    """acc = RNE(acc + s * scale_a * scale_w), the product being exact or rounded on its own."""

    def finish(added: Callable[[Vec, Vec, Vec, Vec], Vec]) -> None:
        for i, (addresses, row) in enumerate(zip(tile, sums, strict=True)):
            scale_a = lanes.broadcast(lanes.load_scalar(sa + i * SA_STRIDE, F32))
            for j, (address, total) in enumerate(zip(addresses, row, strict=True)):
                scale_w = lanes.load(sw + j * SW_STRIDE, F32)
                s = total.cast("sitofp", F32)
                lanes.store(added(lanes.load(address, F32), s, scale_a, scale_w), address)

    def narrow(acc: Vec, s: Vec, scale_a: Vec, scale_w: Vec) -> Vec:
        return lanes.fma(s, scale_a * scale_w, acc)

    def wide(acc: Vec, s: Vec, scale_a: Vec, scale_w: Vec) -> Vec:
        return acc + exact_wide_product(s, scale_a, scale_w)

    lanes.branch(is_wide, lambda: finish(wide), lambda: finish(narrow))


if HAS_DOTS:
    _dot_tile = _make_dots(DOT_ROWS, DOT_PANELS, packed=False)
    _dot_row = _make_dots(1, 2 * DOT_PANELS, packed=False)
    _dot_stream = _make_dots(1, 2 * DOT_PANELS, packed=True)

    @inner
    def pack_a_dots(source, target, count, block, stage):
        """Up to 128 codes of one row of A, zeros behind them, and its blocks' starting values."""
        size = (count + 1) // 2
        if count < DEPTH:
            fill_bytes(stage, 0, DEPTH // 2)
            copy_bytes(stage, source, size)
            if count % 2 != 0:
                store_u8(stage + size - 1, load_u8(stage + size - 1) & 0x0F)
            source = stage
        _decode_a(source, target)
        words = block // 8
        for b in range(DEPTH // block):
            total = 0
            for word in range(b * words, (b + 1) * words):
                total += load_i32(target + SUMS_AT + 4 * word)
            store_i32(target + START_AT + 4 * b, -total)

    @inner
    def decode_w_dots(source, target, words):
        """Panel words to bytes in scratch."""
        _decode_w(source, target, words)

    @inner
    def dot_tile_blocks(c, c_stride, a, w, sa, sw, blocks, words, wide):
        """DOT_ROWS rows by DOT_PANELS panels."""
        out_of_line()
        _dot_tile(c, c_stride, a, w, W_STRIDE, sa, sw, blocks, words, wide)

    @inner
    def dot_row_blocks(c, a, w, sa, sw, blocks, words, wide):
        """One row by eight panels."""
        out_of_line()
        _dot_row(c, 0, a, w, W_STRIDE, sa, sw, blocks, words, wide)

    @inner
    def dot_stream_blocks(c, a, w, w_stride, sa, sw, blocks, words, wide):
        """One row by eight panels of packed words."""
        out_of_line()
        _dot_stream(c, 0, a, w, w_stride, sa, sw, blocks, words, wide)

else:  # never called

    @inner
    def pack_a_dots(source, target, count, block, stage):
        """Absent."""

    @inner
    def decode_w_dots(source, target, words):
        """Absent."""

    @inner
    def dot_tile_blocks(c, c_stride, a, w, sa, sw, blocks, words, wide):
        """Absent."""

    @inner
    def dot_row_blocks(c, a, w, sa, sw, blocks, words, wide):
        """Absent."""

    @inner
    def dot_stream_blocks(c, a, w, w_stride, sa, sw, blocks, words, wide):
        """Absent."""


@inner
def quarter_scales(scales, blocks):
    """Scales of A for sums that are four times too large: exact."""
    for b in range(blocks):
        store_f32(scales + 4 * b, load_f32(scales + 4 * b) * QUARTER)
