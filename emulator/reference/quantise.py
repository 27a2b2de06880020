"""The quantise unit of the reference model: one block at a time, scales in integers.

Source: the arithmetic contract, section 4. This is the independent check of isa.blockscale.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from emulator.reference.arith import F32, bits_of, div, f32, from_bits, mul
from emulator.reference.convert import from_format, sticky_nan, to_format
from isa.formats import Format

U8 = npt.NDArray[np.uint8]

_INF: Final = 0x7F800000
# Exponent of the largest element value, and its fraction field as fp32 has it.
_EMAX: Final = {Format.E4M3FN: 8, Format.E5M2: 15, Format.E2M1: 2}
_MAX_FRACTION: Final = {Format.E4M3FN: 0x600000, Format.E5M2: 0x600000, Format.E2M1: 0x400000}


class Quantised(NamedTuple):
    """Element codes[R, K], scale codes[R, blocks], and the sticky status bit."""

    codes: U8
    scales: U8
    sticky: bool


def mx_scale(amax: int, elem_fmt: Format, floor: bool = False) -> int:
    """E8M0 code for a block whose largest |pattern| is amax."""
    if amax == 0:
        return 0
    if amax >= _INF:
        return 0xFF
    exponent = (amax >> 23) - 127 - _EMAX[elem_fmt]
    if not floor and (amax & 0x7FFFFF) > _MAX_FRACTION[elem_fmt]:
        exponent += 1
    return min(max(exponent + 127, 0), 254)


def largest(block: F32) -> int:
    """Integer maximum of |pattern| over a block[b]; 0 for an empty one."""
    return max((int(b) & 0x7FFFFFFF for b in bits_of(block)), default=0)


def _mx_block(block: F32, elem_fmt: Format, floor: bool) -> tuple[U8, int]:
    """Element codes and scale code of one block[b]."""
    scale = mx_scale(largest(block), elem_fmt, floor)
    if scale == 0xFF:
        return np.zeros(block.shape, np.uint8), scale
    # 2^-e in float64 makes the product exact, so that the conversion is its only rounding.
    exact = block.astype(np.float64) * np.float64(2.0) ** (127 - scale)
    return to_format(elem_fmt, exact).astype(np.uint8), scale


def quantise_mx(x: F32, elem_fmt: Format, block: int = 32, floor: bool = False) -> Quantised:
    """MX rule over fp32 x[R, K] in blocks along K; block = K gives one scale per row."""
    codes = np.zeros(x.shape, np.uint8)
    scales = np.zeros((x.shape[0], -(-x.shape[1] // block)), np.uint8)
    for row in range(x.shape[0]):
        for index in range(scales.shape[1]):
            part = slice(index * block, (index + 1) * block)
            codes[row, part], scales[row, index] = _mx_block(x[row, part], elem_fmt, floor)
    return Quantised(codes, scales, False)


def _nvfp4_block(block: F32, ts_inv: F32) -> tuple[U8, int, bool]:
    """Element codes, scale code and sticky bit of one block[b]."""
    amax = largest(block)
    if amax >= _INF:
        return np.zeros(block.shape, np.uint8), 0x7F, True
    scaled = div(mul(from_bits(amax), ts_inv), f32(6))
    scale = int(to_format(Format.E4M3FN, scaled))
    if scale & 0x7F == 0:
        return np.where(np.signbit(block), 8, 0).astype(np.uint8), scale, False
    divisor = from_format(Format.E4M3FN, np.asarray(scale & 0x7F, dtype=np.uint8))
    quotient = div(mul(block, ts_inv), divisor)
    return to_format(Format.E2M1, quotient).astype(np.uint8), scale, sticky_nan(quotient)


def quantise_nvfp4(x: F32, ts: np.float32) -> Quantised:
    """NVFP4 rule over fp32 x[R, K] in blocks of 16 along K, under tensor scale ts."""
    ts_inv = div(f32(1), np.asarray(ts, dtype=np.float32))
    codes = np.zeros(x.shape, np.uint8)
    scales = np.zeros((x.shape[0], -(-x.shape[1] // 16)), np.uint8)
    sticky = False
    for row in range(x.shape[0]):
        for index in range(scales.shape[1]):
            part = slice(16 * index, 16 * index + 16)
            codes[row, part], scales[row, index], bad = _nvfp4_block(x[row, part], ts_inv)
            sticky |= bad
    return Quantised(codes, scales, sticky)
