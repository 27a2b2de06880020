"""One row of A by eight panels of W, straight from the packed words: the M = 1 path.

Source: the arithmetic contract, section 1. With few rows, decoding W is the work, and writing it to
scratch would double it. So each word is decoded in registers and multiplied at once; eight panels
side by side hide the latency of the chains. Arithmetic and order are those of matrix_micro.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I32, WIDTH, Lanes, Vec, target_features
from emulator.kernels.matrix_micro import add_scaled, make_canonical
from emulator.kernels.memory import out_of_line
from emulator.kernels.operand import BF16, E2M1, E4M3FN, E5M2
from emulator.kernels.panel_words import decodes_in_registers, word_decoder
from emulator.kernels.scratch import AHEAD

STREAM_PANELS = 8 if "avx512f" in target_features() else 4
STREAM_FORMATS = tuple(fmt for fmt in (BF16, E4M3FN, E5M2, E2M1) if decodes_in_registers(fmt))


def _make_stream(fmt: int, panels: int = STREAM_PANELS) -> Callable[..., Any]:
    """(C, A, W, bytes from panel to panel, scales of A and W, blocks, words a block, wide)."""

    @intrinsic
    def stream(
        typingctx: Any,
        c: Any,
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
            c, a, w, w_stride, sa, sw, blocks, words, wide = (lanes.vec(arg) for arg in args)
            tile = [[c + 64 * j for j in range(panels)]]
            offsets = [w_stride * j for j in range(panels)]
            decode = word_decoder(lanes, fmt)
            is_wide = wide.compare("!=", 0)

            def block(carried: Sequence[Vec]) -> list[Vec]:
                at_a, at_w, at_sa, at_sw = carried
                end_a, end_w, sums = _chains(lanes, decode, at_a, at_w, offsets, words)
                add_scaled(lanes, tile, [sums], at_sa, at_sw, is_wide)
                return [end_a, end_w, at_sa + 4, at_sw + 64]

            lanes.counted_loop(blocks, [a, w, sa, sw], block)
            make_canonical(lanes, tile)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return stream


def _chains(
    lanes: Lanes,
    decode: Callable[[Vec], list[Vec]],
    a: Vec,
    w: Vec,
    offsets: list[Vec],
    words: Vec,
) -> tuple[Vec, Vec, list[Vec]]:
    """s = RNE(s + a[k] * w[k]) over the words of one block, for every panel."""
    zero = lanes.constant(F32, 0.0)

    def step(carried: Sequence[Vec]) -> list[Vec]:
        at_a, at_w, *chains = carried
        count, after = 0, []
        for offset, s in zip(offsets, chains, strict=True):  # panel by panel: registers are few
            lanes.prefetch(at_w + offset + AHEAD)
            part = decode(lanes.load(at_w + offset, I32))
            count = len(part)
            for i, value in enumerate(part):
                s = lanes.fma(lanes.broadcast(lanes.load_scalar(at_a + 4 * i, F32)), value, s)
            after.append(s)
        return [at_a + 4 * count, at_w + 4 * WIDTH, *after]

    end_a, end_w, *sums = lanes.counted_loop(words, [a, w, *[zero] * len(offsets)], step)
    return end_a, end_w, sums


_STREAMS = {fmt: _make_stream(fmt) for fmt in (BF16, E4M3FN, E5M2, E2M1)}
_stream_bf16, _stream_e2m1 = _STREAMS[BF16], _STREAMS[E2M1]
_stream_narrow = _make_stream(E2M1, 1)
_stream_e4m3fn, _stream_e5m2 = _STREAMS[E4M3FN], _STREAMS[E5M2]


@inner
def can_stream(fmt):
    """Whether this machine decodes the format's words faster in registers than by way of memory."""
    return fmt in STREAM_FORMATS


@inner
def stream_blocks(fmt, c, a, w, w_stride, sa, sw, blocks, words, wide):
    """One row by STREAM_PANELS panels, over whole blocks."""
    out_of_line()
    if fmt == BF16:
        _stream_bf16(c, a, w, w_stride, sa, sw, blocks, words, wide)
    elif fmt == E4M3FN:
        _stream_e4m3fn(c, a, w, w_stride, sa, sw, blocks, words, wide)
    elif fmt == E5M2:
        _stream_e5m2(c, a, w, w_stride, sa, sw, blocks, words, wide)
    else:
        _stream_e2m1(c, a, w, w_stride, sa, sw, blocks, words, wide)


@inner
def stream_narrow_blocks(c, a, w, w_stride, sa, sw, blocks, words, wide):
    """One row by one panel of E2M1, for what is left of few columns."""
    out_of_line()
    _stream_narrow(c, a, w, w_stride, sa, sw, blocks, words, wide)
