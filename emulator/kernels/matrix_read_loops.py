"""The loops of READOUT: accumulator values by two factors, converted, in one pass over memory.

Source: the arithmetic contract, section 1 (read-out): RNE(RNE(acc * row) * column), then one
conversion. A factor that is absent is 1, which changes nothing but a NaN's pattern, and the
conversion makes those canonical.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import (
    block_bytes,
    encode_lanes,
    load_tail,
    store_codes,
    store_tail,
)
from emulator.kernels.convert import for_blocks
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, Lanes, Vec
from emulator.kernels.operand import BF16, E4M3FN, E5M2, FP16, FP32


def _make_read(fmt: int, saturate: bool) -> Any:
    """(fp32 address, row's factor, columns' factors and their step, target, count)."""

    @intrinsic
    def read(
        typingctx: Any, source: Any, row: Any, columns: Any, step: Any, target: Any, count: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            source, row, columns, step, target, count = (lanes.vec(arg) for arg in args)
            rows = lanes.broadcast(row)

            def codes(value: Vec, at_factor: Vec) -> Vec:
                product = value * rows * lanes.load(at_factor, F32)
                return encode_lanes(lanes, fmt, product, saturate)

            def full(carried: Sequence[Vec]) -> list[Vec]:
                at, at_factor, to = carried
                store_codes(lanes, fmt, codes(lanes.load(at, F32), at_factor), to)
                return [at + 64, at_factor + step, to + block_bytes(fmt)]

            def rest(carried: Sequence[Vec], remaining: Vec) -> None:
                at, at_factor, to = carried
                value = load_tail(lanes, FP32, at, remaining).floats()
                store_tail(lanes, fmt, codes(value, at_factor), to, remaining)

            for_blocks(lanes, count, [source, columns, target], full, rest)
            return context.get_dummy_value()

        return types.void(types.int64, types.float32, *[types.int64] * 4), codegen

    return read


_fp32, _bf16, _fp16 = (_make_read(fmt, True) for fmt in (FP32, BF16, FP16))
_e4m3fn, _e5m2 = (_make_read(fmt, True) for fmt in (E4M3FN, E5M2))
_e4m3fn_nosat, _e5m2_nosat = (_make_read(fmt, False) for fmt in (E4M3FN, E5M2))


@inner
def read_run(fmt, saturate, source, row, columns, step, target, count):
    """`count` consecutive fp32 to consecutive elements.

    `row` is a number; `columns` the address of fp32 factors, readable to a multiple of sixteen,
    `step` bytes from one sixteen to the next.
    """
    if fmt == FP32:
        _fp32(source, row, columns, step, target, count)
    elif fmt == BF16:
        _bf16(source, row, columns, step, target, count)
    elif fmt == FP16:
        _fp16(source, row, columns, step, target, count)
    elif fmt == E4M3FN:
        if saturate:
            _e4m3fn(source, row, columns, step, target, count)
        else:
            _e4m3fn_nosat(source, row, columns, step, target, count)
    elif saturate:
        _e5m2(source, row, columns, step, target, count)
    else:
        _e5m2_nosat(source, row, columns, step, target, count)
