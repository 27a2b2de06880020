"""E2M1 by E2M1 with integer dot products: the same bits, three times as fast.

Source: the arithmetic contract, section 1, consequence (c): every partial sum of a block is exact
in fp32 (see matrix_dots.py). Doubled values are integers from -12 to 12, so the sum is four times
s; A's scales are divided by four for it.

s times the scales is exact in fp32 too (13 bits by at most 8), within the range the caller checks,
so that step 2 does not round and steps 2 and 3 are one multiply-add.

Bytes of one row of A in scratch: even k, odd k (a word of four for each panel word), then the
blocks' starting values. A panel of W: two vectors for each word, even k and odd k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I8, I32, Lanes, Vec
from emulator.kernels.matrix_dots import (
    ODD_AT,
    OFFSET,
    WORD_BYTES,
    Shape,
    Tile,
    dot_bytes,
    make_dots,
    nibble_decoder,
    only_with_dots,
)
from emulator.kernels.matrix_micro import exact_wide_product
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

DOT_ROWS, DOT_PANELS = 4, 4
SUMS_AT, START_AT = 128, 256  # within a row of A
QUARTER = np.float32(0.25)


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


def _add_exact(lanes: Lanes, tile: Tile, sums: Tile, sa: Vec, sw: Vec, is_wide: Vec) -> None:
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


_dot_tile = make_dots(Shape(DOT_ROWS, DOT_PANELS, A_STRIDE, packed=False), _add_exact)
_dot_row = make_dots(Shape(1, 2 * DOT_PANELS, A_STRIDE, packed=False), _add_exact)
_dot_stream = make_dots(Shape(1, 2 * DOT_PANELS, A_STRIDE), _add_exact)


@only_with_dots
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


@only_with_dots
def decode_w_dots(source, target, words):
    """Panel words to bytes in scratch."""
    _decode_w(source, target, words)


@only_with_dots
def dot_tile_blocks(c, c_stride, a, w, sa, sw, blocks, words, wide):
    """DOT_ROWS rows by DOT_PANELS panels."""
    out_of_line()
    _dot_tile(c, c_stride, a, w, W_STRIDE, sa, sw, a + START_AT, blocks, words, wide, AHEAD)


@only_with_dots
def dot_row_blocks(c, a, w, sa, sw, blocks, words, wide):
    """One row by eight panels."""
    out_of_line()
    _dot_row(c, 0, a, w, W_STRIDE, sa, sw, a + START_AT, blocks, words, wide, AHEAD)


@only_with_dots
def dot_stream_blocks(c, a, w, w_stride, sa, sw, blocks, words, wide):
    """One row by eight panels of packed words."""
    out_of_line()
    _dot_stream(c, 0, a, w, w_stride, sa, sw, a + START_AT, blocks, words, wide, AHEAD)


@inner
def quarter_scales(scales, blocks):
    """Scales of A for sums that are four times too large: exact."""
    for b in range(blocks):
        store_f32(scales + 4 * b, load_f32(scales + 4 * b) * QUARTER)
