"""The quantise unit: docs/isa/numerics.md, step by step, twice.

`mx_block` and `nv_block` are the page's text on integers and Numbers, with `scaled` for the
arithmetic on elements; `mx_block_obvious` and `nv_block_obvious` use Numbers for all of it. Blocks
are FP32 codes; `widen` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.conformance.oracle import scaled
from emulator.conformance.oracle.exact import over, times
from emulator.conformance.oracle.numbers import Number, decode, encode, fp32, sticky
from isa.formats import Format

Ints = NDArray[np.int64]

FP32: Final = Format.FP32
SIGN: Final = 0x80000000
INF_FIELD: Final = 255
EMAX: Final = {Format.E4M3FN: 8, Format.E5M2: 15, Format.E2M1: 2}
FRACTION: Final = {Format.E4M3FN: 0x600000, Format.E5M2: 0x600000, Format.E2M1: 0x400000}


class Block(NamedTuple):
    """Element codes, scale code, and whether the sticky bit is set."""

    elements: list[int]
    scale: int
    sticky: bool = False


class Quantised(NamedTuple):
    """Element codes [M, K], scale codes [M, blocks], and the sticky bit."""

    codes: Ints
    scales: Ints
    sticky: bool


def widen(fmt: Format, code: int) -> int:
    """The FP32 code of a source element: exact."""
    return code if fmt is FP32 else _widened(fmt, code)


@cache
def _widened(fmt: Format, code: int) -> int:
    return encode(FP32, decode(fmt, code))


def amax_of(block: Sequence[int]) -> int:
    """The largest pattern with its sign cleared; 0 of no elements."""
    return max((code & ~SIGN for code in block), default=0)


# ---- MX


def mx_scale(amax: int, fmt: Format, floor: bool = False) -> int:
    """The E8M0 code that a largest pattern makes."""
    field, fraction = amax >> 23, amax & 0x7FFFFF
    if amax == 0:
        return 0
    if field == INF_FIELD:
        return 0xFF
    more = int(not floor and fraction > FRACTION[fmt])
    return min(max(field - EMAX[fmt] + more, 0), 254)


def mx_block_obvious(block: Sequence[int], fmt: Format, floor: bool = False) -> Block:
    """One block, or one row of vquantr, on Numbers."""
    scale = mx_scale(amax_of(block), fmt, floor)
    if scale == 0xFF:
        return Block([0] * len(block), scale)
    factor = Number.of(Fraction(2) ** (127 - scale))
    return Block([encode(fmt, times(decode(FP32, code), factor)) for code in block], scale)


def mx_block(block: Sequence[int], fmt: Format, floor: bool = False) -> Block:
    """One block, or one row of vquantr."""
    scale = mx_scale(amax_of(block), fmt, floor)
    if scale == 0xFF:
        return Block([0] * len(block), scale)
    factor = scaled.Parts(0, 1, 127 - scale)
    parts = (scaled.split(FP32, code) for code in block)
    return Block([scaled.code_of(fmt, scaled.product(x, factor)) for x in parts], scale)


# ---- NV16


def inverse(ts: int) -> int:
    """r = RNE(1 / ts); a tensor scale of pattern 0 is 1."""
    return encode(FP32, over(Number.of(1), decode(FP32, ts or 0x3F800000)))


def nv_block_obvious(block: Sequence[int], ts: int = 0) -> Block:
    """One block on Numbers."""
    amax, r = amax_of(block), decode(FP32, inverse(ts))
    if amax >> 23 == INF_FIELD:
        return Block([0] * len(block), 0x7F, True)
    scale = encode(Format.E4M3FN, fp32(over(fp32(times(decode(FP32, amax), r)), Number.of(6))))
    if scale & 0x7F == 0:
        return Block([8 if code & SIGN else 0 for code in block], scale)
    # A scale is read without its sign, here as everywhere.
    divisor = decode(Format.E4M3FN, scale & 0x7F)
    values = [fp32(over(fp32(times(decode(FP32, code), r)), divisor)) for code in block]
    elements = [encode(Format.E2M1, value) for value in values]
    return Block(elements, scale, any(sticky(Format.E2M1, value) for value in values))


def nv_block(block: Sequence[int], ts: int = 0) -> Block:
    """One block; whatever is not a plain number is left to the obvious version."""
    amax, r = amax_of(block), inverse(ts)
    if amax >> 23 == INF_FIELD or not scaled.finite(FP32, r):
        return nv_block_obvious(block, ts)
    factor = scaled.split(FP32, r)
    products = [_product_code(code, factor) for code in (amax, *block)]
    if not all(scaled.finite(FP32, code) for code in products):
        return nv_block_obvious(block, ts)
    sixth = scaled.code_of(FP32, scaled.quotient(scaled.split(FP32, products[0]), _SIX))
    scale = scaled.code_of(Format.E4M3FN, scaled.split(FP32, sixth))
    if scale & 0x7F == 0:
        return Block([8 if code & SIGN else 0 for code in block], scale)
    divisor = scaled.split(Format.E4M3FN, scale & 0x7F)
    return Block([_divided(code, divisor) for code in products[1:]], scale)


_SIX: Final = scaled.Parts(0, 6, 0)


def _product_code(code: int, factor: scaled.Parts) -> int:
    """RNE(x * r) as an FP32 code."""
    return scaled.code_of(FP32, scaled.product(scaled.split(FP32, code), factor))


def _divided(code: int, divisor: scaled.Parts) -> int:
    """RNE(x / scale), converted to E2M1."""
    quotient = scaled.code_of(FP32, scaled.quotient(scaled.split(FP32, code), divisor))
    if scaled.finite(FP32, quotient):
        return scaled.code_of(Format.E2M1, scaled.split(FP32, quotient))
    return encode(Format.E2M1, decode(FP32, quotient))


# ---- tensors


def vquant_mx(fmt: Format, src: Format, codes: Any, floor: bool = False) -> Quantised:
    """vquant to MX32."""
    return _blocks(src, codes, 32, lambda block: mx_block(block, fmt, floor))


def vquant_nv(src: Format, codes: Any, ts: int = 0) -> Quantised:
    """vquant to NV16."""
    return _blocks(src, codes, 16, lambda block: nv_block(block, ts))


def vquantr(fmt: Format, src: Format, codes: Any, floor: bool = False) -> Quantised:
    """vquantr: each row is a block, also one without elements."""
    rows = [mx_block([widen(src, int(c)) for c in row], fmt, floor) for row in np.asarray(codes)]
    scales = np.array([[row.scale] for row in rows], np.int64).reshape(-1, 1)
    elements = np.array([row.elements for row in rows], np.int64).reshape(np.shape(codes))
    return Quantised(elements, scales, False)


def _blocks(
    src: Format, codes: Any, length: int, quantise: Callable[[Sequence[int]], Block]
) -> Quantised:
    """Every block of every row, the last one of a row perhaps short."""
    codes = np.asarray(codes)
    rows, k = codes.shape
    out, scales = np.zeros((rows, k), np.int64), np.zeros((rows, -(-k // length)), np.int64)
    seen = False
    for m, row in enumerate(codes.tolist()):
        for index, start in enumerate(range(0, k, length)):
            block = quantise([widen(src, code) for code in row[start : start + length]])
            out[m, start : start + length] = block.elements
            scales[m, index] = block.scale
            seen |= block.sticky
    return Quantised(out, scales, seen)
