"""The matrix engine's rule for a few rows and panels at a time, in registers.

Source: the arithmetic contract, section 1. Per block: a fresh chain from +0 (one fused multiply-add
per k), one scaled add into the accumulator tile. A micro-kernel walks `blocks` blocks of `length`
values of k over `rows` rows of A and `panels` panels of W, both already fp32 (see scratch.py for
the strides).

The scale product is one fp32 multiplication where the caller knows that to be exact (`wide` = 0),
else s * sa * sw in float64, exact for any scales, and one rounding to fp32.

The shapes follow the machine: accumulator chains must cover the multiply-add's latency and fit in
the register file (32 registers of 16 lanes, or 16 of 8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import canonical
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, F64, WIDTH, Lanes, Vec, target_features
from emulator.kernels.memory import out_of_line
from emulator.kernels.scratch import A_STRIDE, SA_STRIDE, SW_STRIDE, W_STRIDE

_AVX512 = "avx512f" in target_features()
TILE_ROWS = 4
TILE_PANELS = 4 if _AVX512 else 1
ROW_PANELS = 8 if _AVX512 else 4


def _make_micro(rows: int, panels: int) -> Callable[..., Any]:
    """(C, row stride of C, A, W, scales of A, scales of W, blocks, length, wide) -> nothing."""

    @intrinsic
    def micro(typingctx, c, c_stride, a, w, sa, sw, blocks, length, wide):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            c, c_stride, a, w, sa, sw, blocks, length, wide = (lanes.vec(arg) for arg in args)
            tile = [[c + c_stride * i + 64 * j for j in range(panels)] for i in range(rows)]
            is_wide = wide.compare("!=", 0)

            def block(carried):
                at_a, at_w, at_sa, at_sw = carried
                next_a, next_w, sums = _chains(lanes, rows, panels, at_a, at_w, length)
                add_scaled(lanes, tile, sums, at_sa, at_sw, is_wide)
                return [next_a, next_w, at_sa + 4, at_sw + 64]

            lanes.counted_loop(blocks, [a, w, sa, sw], block)
            make_canonical(lanes, tile)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return micro


def _chains(
    lanes: Lanes, rows: int, panels: int, a: Vec, w: Vec, length: Vec
) -> tuple[Vec, Vec, list[list[Vec]]]:
    """Step 1: s = RNE(s + a[k] * w[k]), k ascending, for every row and panel; and where it ends."""
    zero = lanes.constant(F32, 0.0)

    def step(carried):
        at_a, at_w, *chains = carried
        column = [lanes.load(at_w + j * W_STRIDE, F32) for j in range(panels)]
        after = []
        for i in range(rows):
            value = lanes.broadcast(lanes.load_scalar(at_a + i * A_STRIDE, F32))
            chain = chains[i * panels : (i + 1) * panels]
            after += [lanes.fma(value, wj, s) for wj, s in zip(column, chain, strict=True)]
        return [at_a + 4, at_w + 4 * WIDTH, *after]

    end_a, end_w, *sums = lanes.counted_loop(length, [a, w, *[zero] * (rows * panels)], step)
    return end_a, end_w, [sums[i * panels : (i + 1) * panels] for i in range(rows)]


def add_scaled(
    lanes: Lanes, tile: list[list[Vec]], sums: list[list[Vec]], sa: Vec, sw: Vec, is_wide: Vec
) -> None:
    """Steps 2 and 3: acc = RNE(acc + RNE(s * scale_a * scale_w))."""

    def finish(scaled: Callable[[Vec, Vec, Vec], Vec]) -> None:
        for i, (addresses, row) in enumerate(zip(tile, sums, strict=True)):
            scale_a = lanes.broadcast(lanes.load_scalar(sa + i * SA_STRIDE, F32))
            for j, (address, s) in enumerate(zip(addresses, row, strict=True)):
                term = scaled(s, scale_a, lanes.load(sw + j * SW_STRIDE, F32))
                lanes.store(lanes.load(address, F32) + term, address)

    def narrow_product(s: Vec, scale_a: Vec, scale_w: Vec) -> Vec:
        return s * (scale_a * scale_w)

    lanes.branch(is_wide, lambda: finish(exact_wide_product), lambda: finish(narrow_product))


def exact_wide_product(s: Vec, scale_a: Vec, scale_w: Vec) -> Vec:
    """RNE(s * scale_a * scale_w) for any scales: 24 + 4 + 4 bits are exact in float64."""
    first = s.cast("fpext", F64) * scale_a.cast("fpext", F64)
    return (first * scale_w.cast("fpext", F64)).cast("fptrunc", F32)


def make_canonical(lanes: Lanes, tile: list[list[Vec]]) -> None:
    """The accumulator's NaNs as arithmetic writes them: once, at the end, since NaNs stay NaNs."""
    for row in tile:
        for address in row:
            lanes.store(canonical(lanes, lanes.load(address, F32)), address)


_tile = _make_micro(TILE_ROWS, TILE_PANELS)
_row = _make_micro(1, ROW_PANELS)


@inner
def tile_blocks(c, c_stride, a, w, sa, sw, blocks, length, wide):
    """TILE_ROWS rows by TILE_PANELS panels."""
    out_of_line()
    _tile(c, c_stride, a, w, sa, sw, blocks, length, wide)


@inner
def row_blocks(c, c_stride, a, w, sa, sw, blocks, length, wide):
    """One row by ROW_PANELS panels."""
    out_of_line()
    _row(c, c_stride, a, w, sa, sw, blocks, length, wide)
