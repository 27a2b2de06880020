"""Block-scaled quantisation of whole tensors, as the chip's quantise unit does it.

Source: the arithmetic contract, section 4. Blocks run along the last axis (K) from k = 0; the last
may be short. The compiler quantises weights with this; the reference model has its own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from isa.formats import (
    F32,
    FORMATS,
    FP32_NAN,
    U32,
    Format,
    FormatInfo,
    ScaleKind,
    decode,
    e2m1_sticky,
    encode,
)

U8 = npt.NDArray[np.uint8]
ScaleMode = Literal["round_up", "floor"]

BLOCK: Final = {ScaleKind.MX32: 32, ScaleKind.NV16: 16}  # elements of K per scale
E8M0_NAN: Final = 0xFF
NV16_NAN: Final = 0x7F
_FP32_INF: Final = 0x7F800000
_FRACTION: Final = 0x7FFFFF
_E8M0_MAX: Final = 254
_CHUNK: Final = 1 << 16  # elements quantised at a time: temporaries stay in cache


# ---- the scale rules


def mx_scale_codes(amax: U32, elem_fmt: Format, mode: ScaleMode = "round_up") -> U8:
    """E8M0 codes of blocks whose largest |fp32 pattern| is amax (same shape)."""
    if mode not in ("round_up", "floor"):
        raise ValueError(f"scale mode {mode!r} is neither 'round_up' nor 'floor'")
    info = _element_info(elem_fmt)
    code = (amax >> np.uint32(23)).astype(np.int64) - info.max_exponent
    if mode == "round_up":
        code += (amax & np.uint32(_FRACTION)) > _max_fraction(info)
    code = np.clip(code, 0, _E8M0_MAX)
    code[amax == 0] = 0
    code[amax >= _FP32_INF] = E8M0_NAN
    return code.astype(np.uint8)


def _element_info(elem_fmt: Format) -> FormatInfo:
    info = FORMATS[Format(elem_fmt)]
    if not info.saturates:
        raise ValueError(f"{info.name} is not a block element format")
    return info


def _max_fraction(info: FormatInfo) -> int:
    """Fraction field, as fp32 bits, of the format's largest value: 0x600000 FP8, 0x400000 E2M1."""
    fraction = info.max_code & ((1 << info.mantissa_bits) - 1)
    return fraction << (23 - info.mantissa_bits)


def _inverse_powers(codes: U8) -> F32:
    """2^-e of E8M0 codes, exact; 0 for the NaN code, whose block is all zeros."""
    bits = (_E8M0_MAX - codes.astype(np.int64)) << 23
    # 2^-127, the inverse of code 254, is an fp32 subnormal.
    bits[codes == _E8M0_MAX] = 1 << 22
    bits[codes == E8M0_NAN] = 0
    return bits.astype(np.uint32).view(np.float32)


# ---- MX: E8M0 scales


def quantise_mx(x: F32, elem_fmt: Format, mode: ScaleMode = "round_up") -> tuple[U8, U8]:
    """Quantise fp32 x[R, K]: codes[R, K] (one per byte) and E8M0 scales[R, ceil(K/32)]."""
    return _quantise_e8m0(x, elem_fmt, mode, BLOCK[ScaleKind.MX32])


def quantise_rows_fp8(
    x: F32, elem_fmt: Format = Format.E4M3FN, mode: ScaleMode = "round_up"
) -> tuple[U8, U8]:
    """Quantise fp32 x[R, K] with one power of two per row: codes[R, K] and E8M0 codes[R]."""
    codes, scales = _quantise_e8m0(x, elem_fmt, mode, max(x.shape[1], 1))
    if scales.shape[1] == 0:  # a row without elements has amax 0, hence scale code 0
        return codes, np.zeros(x.shape[0], dtype=np.uint8)
    return codes, np.ascontiguousarray(scales[:, 0])


def _quantise_e8m0(x: F32, elem_fmt: Format, mode: ScaleMode, block: int) -> tuple[U8, U8]:
    codes, scales = _outputs(x, block)
    for rows in _row_groups(x):
        blocks = _blocks(x[rows], block)
        scales[rows] = mx_scale_codes(_amax_bits(blocks), elem_fmt, mode)
        codes[rows] = _elements(blocks, scales[rows], elem_fmt)[:, : x.shape[1]]
    return codes, scales


def _elements(blocks: F32, scales: U8, elem_fmt: Format) -> U8:
    """Codes[R, B*b] of blocks[R, B, b]: CVT_SAT(x * 2^-e), all zero in blocks with a NaN scale."""
    # What the fp32 product could round (below 2^-126) is zero in every element format.
    with np.errstate(all="ignore"):
        scaled = blocks * _inverse_powers(scales)[..., None]
    codes = encode(elem_fmt, scaled).astype(np.uint8, copy=False)
    codes[scales == E8M0_NAN] = 0
    return codes.reshape(blocks.shape[0], -1)


def dequantise_mx(codes: U8, scales: U8, elem_fmt: Format) -> F32:
    """fp32 values[R, K] of MX codes[R, K] and E8M0 scales[R, ceil(K/32)], rounded once."""
    return _scaled_values(codes, decode(Format.E8M0, scales), elem_fmt, BLOCK[ScaleKind.MX32])


def dequantise_rows_fp8(codes: U8, scales: U8, elem_fmt: Format = Format.E4M3FN) -> F32:
    """fp32 values[R, K] of codes[R, K] with one E8M0 code per row."""
    values = decode(Format.E8M0, scales)[:, None]
    return _scaled_values(codes, values, elem_fmt, max(codes.shape[1], 1))


# ---- NVFP4: E4M3FN scales and a tensor scale


def quantise_nvfp4(x: F32, ts: np.float32 | float = 1.0) -> tuple[U8, U8, bool]:
    """Quantise fp32 x[R, K] under tensor scale ts.

    Returns E2M1 codes[R, K], E4M3FN scales[R, ceil(K/16)] and the sticky status bit.
    """
    block = BLOCK[ScaleKind.NV16]
    codes, scales = _outputs(x, block)
    sticky = False
    with np.errstate(all="ignore"):
        ts_inv = np.float32(1.0) / np.float32(ts)
        for rows in _row_groups(x):
            blocks = _blocks(x[rows], block)
            part, scales[rows], bad = _nvfp4_blocks(blocks, ts_inv)
            codes[rows] = part[:, : x.shape[1]]
            sticky |= bad
    return codes, scales, sticky


def _nvfp4_blocks(blocks: F32, ts_inv: np.float32) -> tuple[U8, U8, bool]:
    """Codes[R, B*16], scales[R, B] and sticky of fp32 blocks[R, B, 16]."""
    amax = _amax_bits(blocks)
    scales = encode(Format.E4M3FN, amax.view(np.float32) * ts_inv / np.float32(6)).astype(np.uint8)
    bad = amax >= _FP32_INF
    scales[bad] = NV16_NAN
    divisor = nv_scale_values(scales)
    zero = divisor == 0
    # Zero scales keep x's sign on a zero element: dividing x * 0 by 1 does just that.
    factor = np.where(zero | bad, np.float32(0), ts_inv)
    divisor = np.where(zero | bad, np.float32(1), divisor)
    quotient = (blocks * factor[..., None]) / divisor[..., None]
    quotient[bad] = 0
    codes = encode(Format.E2M1, quotient).astype(np.uint8, copy=False)
    sticky = bool(bad.any()) or e2m1_sticky(quotient)
    return codes.reshape(blocks.shape[0], -1), scales, sticky


def nv_scale_values(scales: U8) -> F32:
    """fp32 values of NVFP4 block scales: E4M3FN with the sign ignored."""
    return decode(Format.E4M3FN, scales & np.uint8(0x7F))


def dequantise_nvfp4(codes: U8, scales: U8, ts: np.float32 | float = 1.0) -> F32:
    """fp32 values[R, K]: RNE(RNE(element * block scale) * ts). The inner product is exact."""
    values = _scaled_values(codes, nv_scale_values(scales), Format.E2M1, BLOCK[ScaleKind.NV16])
    with np.errstate(all="ignore"):
        return _canonical(values * np.float32(ts))


# ---- shared by both


def _scaled_values(codes: U8, scales: F32, elem_fmt: Format, block: int) -> F32:
    """decode(codes)[R, K] * scales[R, ceil(K/block)], one rounding of the exact product."""
    wide = np.repeat(scales.astype(np.float64), block, axis=1)[:, : codes.shape[1]]
    with np.errstate(all="ignore"):
        values = (decode(elem_fmt, codes).astype(np.float64) * wide).astype(np.float32)
    return _canonical(values)


def _canonical(values: F32) -> F32:
    values.view(np.uint32)[np.isnan(values)] = FP32_NAN
    return values


def _outputs(x: F32, block: int) -> tuple[U8, U8]:
    """Empty codes[R, K] and scales[R, ceil(K/block)] for x[R, K]."""
    if x.ndim != 2 or x.dtype != np.float32:
        raise TypeError(f"expected a float32 matrix, not {x.dtype} of {x.ndim} dimensions")
    rows, k = x.shape
    return np.empty((rows, k), np.uint8), np.empty((rows, -(-k // block)), np.uint8)


def _row_groups(x: F32) -> Iterator[slice]:
    """Row slices of about _CHUNK elements."""
    step = max(1, _CHUNK // max(x.shape[1], 1))
    return (slice(r, r + step) for r in range(0, x.shape[0], step))


def _blocks(x: F32, block: int) -> F32:
    """x[R, K] as [R, B, block]; a short last block is filled with zeros, which no amax sees."""
    rows, k = x.shape
    count = -(-k // block)
    if k != count * block:
        padded = np.zeros((rows, count * block), np.float32)
        padded[:, :k] = x
        x = padded
    return np.ascontiguousarray(x).reshape(rows, count, block)


def _amax_bits(blocks: F32) -> U32:
    """Integer maximum of |pattern| over the last axis: blocks[R, B, b] -> [R, B]."""
    bits = blocks.view(np.uint32) & np.uint32(0x7FFFFFFF)
    while bits.shape[-1] > 1 and bits.shape[-1] % 2 == 0:  # halving is faster than one reduction
        half = bits.shape[-1] // 2
        bits = np.maximum(bits[..., :half], bits[..., half:])
    return np.asarray(bits.max(axis=-1, initial=0))
