"""The matrix engine: docs/isa/numerics.md, step by step, twice.

gemm(Operand(Format.BF16, codes_a), Operand(Format.E4M3FN, codes_w, ScaleKind.MX32, scales))

`gemm_obvious` is the page's text on Numbers. `gemm` is the same on integers, and asks the obvious
one wherever a sum, a product or an accumulator is not a plain number (an infinity, a NaN, -0, an
overflow or an underflow to zero). The tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emulator.conformance.oracle import scaled
from emulator.conformance.oracle.exact import plus, times
from emulator.conformance.oracle.numbers import Number, decode, encode, fp32
from isa.formats import Format, ScaleKind

Ints = NDArray[np.int64]
Bounds = Sequence[tuple[int, int]]

FP32: Final = Format.FP32
ZERO, ONE = Number(), Number.of(1)
COVERS: Final = {ScaleKind.MX32: 32, ScaleKind.NV16: 16}  #: elements under one scale

#: A multiple of 2^-149, or a Number where that is -0, an infinity or a NaN.
Token = int | Number
number = cache(decode)  #: what a code stands for


@dataclass(frozen=True)
class Operand:
    """Codes [rows, K] and, with scales, their codes [rows, blocks]."""

    fmt: Format
    codes: Any
    kind: ScaleKind = ScaleKind.NONE
    scales: Any = None

    @property
    def k(self) -> int:
        """The length of a row."""
        return int(np.shape(self.codes)[1])


def block_of(a: Operand, w: Operand) -> int:
    """Elements of a block of the product."""
    return 16 if ScaleKind.NV16 in (a.kind, w.kind) else 32


def scale_number(kind: ScaleKind, code: int) -> Number:
    """What a scale code stands for."""
    if kind is ScaleKind.MX32:
        return number(Format.E8M0, code)
    return number(Format.E4M3FN, code & 0x7F)


def clip(bounds: Bounds | None, k0: int, rows: int, k: int) -> list[tuple[int, int]]:
    """Each row's bounds, relative to k = 0 of the instruction."""
    if bounds is None:
        return [(0, k)] * rows
    return [(min(max(lo - k0, 0), k), min(max(hi - k0, 0), k)) for lo, hi in bounds]


def executed(lo: int, hi: int, block: int) -> list[tuple[int, int, int]]:
    """(block's index, first k, end) of every block that meets [lo, hi)."""
    if lo >= hi:
        return []
    return [
        (b, max(lo, b * block), min(hi, (b + 1) * block))
        for b in range(lo // block, (hi - 1) // block + 1)
    ]


# ---- the obvious version


def block_term(
    a: Sequence[Number], w: Sequence[Number], scale_a: Number, scale_w: Number
) -> Number:
    """t of one block: steps 2 and 3 of the page, over the products that are executed."""
    s = _obvious_sum(zip(a, w, strict=True))
    return fp32(times(s, times(scale_a, scale_w)))


def _obvious_sum(pairs: Iterable[tuple[Number, Number]]) -> Number:
    """s, over pairs of elements in ascending order."""
    s = ZERO
    for x, y in pairs:
        s = fp32(plus(s, times(x, y)))
    return s


def gemm_obvious(
    a: Operand, w: Operand, bounds: Bounds | None = None, k0: int = 0, old: Any = None
) -> Ints:
    """acc[M, N] as FP32 codes."""
    rows, columns = len(a.codes), len(w.codes)
    block, limits = block_of(a, w), clip(bounds, k0, rows, a.k)
    out = np.zeros((rows, columns), np.int64) if old is None else np.array(old, np.int64)
    for m in range(rows):
        for n in range(columns):
            out[m, n] = _obvious_element(a, w, m, n, executed(*limits[m], block), int(out[m, n]))
    return out


def _obvious_element(
    a: Operand, w: Operand, m: int, n: int, blocks: list[tuple[int, int, int]], old: int
) -> int:
    if not blocks:
        return old
    acc, block = number(FP32, old), block_of(a, w)
    for index, start, end in blocks:
        x = [number(a.fmt, int(c)) for c in a.codes[m][start:end]]
        y = [number(w.fmt, int(c)) for c in w.codes[n][start:end]]
        scales = (_scale(a, m, index * block), _scale(w, n, index * block))
        acc = fp32(plus(acc, block_term(x, y, *scales)))
    return encode(FP32, acc)


def _scale(operand: Operand, row: int, k: int) -> Number:
    """The scale of the element k of a row."""
    if operand.scales is None:
        return ONE
    return scale_number(operand.kind, int(operand.scales[row][k // COVERS[operand.kind]]))


# ---- on integers


@dataclass(frozen=True)
class _Row:
    """A row of an operand; its values as multiples of 2^-unit, None where one is no plain number.

    `factors` are the scales of the blocks of the product, `scales` the same as n * 2^e.
    """

    fmt: Format
    codes: list[int]
    values: list[int | None]
    factors: list[Number]
    scales: list[tuple[int, int] | None]


def _rows(operand: Operand, block: int) -> list[_Row]:
    rows = []
    for m, codes in enumerate(np.asarray(operand.codes).tolist()):
        values = [_plain(operand.fmt, code) for code in codes]
        factors = [_scale(operand, m, start) for start in range(0, operand.k, block)]
        plain = [_plain_scale(factor) for factor in factors]
        rows.append(_Row(operand.fmt, codes, values, factors, plain))
    return rows


@cache
def _plain(fmt: Format, code: int) -> int | None:
    return scaled.multiple(fmt, code) if scaled.finite(fmt, code) else None


def _plain_scale(scale: Number) -> tuple[int, int] | None:
    """A scale as n * 2^e; None for a NaN."""
    if scale.kind != "finite":
        return None
    bottom = scale.magnitude.denominator.bit_length() - 1
    return scale.magnitude.numerator, -bottom


def gemm(
    a: Operand, w: Operand, bounds: Bounds | None = None, k0: int = 0, old: Any = None
) -> Ints:
    """acc[M, N] as FP32 codes: `gemm_obvious`, faster."""
    rows, columns = len(a.codes), len(w.codes)
    block, limits = block_of(a, w), clip(bounds, k0, rows, a.k)
    out = np.zeros((rows, columns), np.int64) if old is None else np.array(old, np.int64)
    left, right = _rows(a, block), _rows(w, block)
    u = scaled.unit(a.fmt) + scaled.unit(w.fmt)
    for m in range(rows):
        blocks = executed(*limits[m], block)
        if not blocks:
            continue
        for n in range(columns):
            acc = _token(int(out[m, n]))
            for part in blocks:
                acc = _accumulate(acc, _term(left[m], right[n], part, u))
            out[m, n] = scaled.fp32_code(acc) if isinstance(acc, int) else encode(FP32, acc)
    return out


def _term(a: _Row, w: _Row, part: tuple[int, int, int], u: int) -> Token:
    """t of one block."""
    index, start, end = part
    x, y = a.scales[index], w.scales[index]
    s = _block_sum(a.values[start:end], w.values[start:end], u)
    if s is not None and x is not None and y is not None:
        n, e = s * x[0] * y[0], x[1] + y[1] - u
        t = scaled.fp32_multiple(n, e) if n or s >= 0 else None
        if t is not None:
            return t
        return _token(scaled.code_of(FP32, scaled.Parts(int(s < 0), abs(n), e)))
    pairs = zip(a.codes[start:end], w.codes[start:end], strict=True)
    full = _obvious_sum(((number(a.fmt, c), number(w.fmt, d)) for c, d in pairs))
    return _token(encode(FP32, times(full, times(a.factors[index], w.factors[index]))))


def _block_sum(a: list[int | None], w: list[int | None], u: int) -> int | None:
    """s as a multiple of 2^-u, if it stays a plain number.

    All products are such multiples, so a rounding leaves one, and what FP32 cannot tell from zero
    matters only if u is above 149.
    """
    s, least = 0, max(u - 149, 0)
    for x, y in zip(a, w, strict=True):
        if x is None or y is None:
            return None
        s += x * y
        drop = max(s.bit_length() - 24, least)
        if drop and s:
            s = scaled.halves_to_even(s, drop) << drop
            if s == 0 or s.bit_length() > 128 + u:
                return None
    return s


@lru_cache(1 << 16)
def _token(code: int) -> Token:
    """An FP32 code as a token."""
    if not scaled.finite(FP32, code) or code == 0x80000000:
        return number(FP32, code)
    return scaled.multiple(FP32, code)


def _accumulate(acc: Token, t: Token) -> Token:
    """RNE(acc + t)."""
    if isinstance(acc, int) and isinstance(t, int):
        total = scaled.fp32_multiple(acc + t, -149)
        if total is not None:
            return total
    return _token(encode(FP32, plus(_number(acc), _number(t))))


def _number(token: Token) -> Number:
    return number(FP32, scaled.fp32_code(token)) if isinstance(token, int) else token


# ---- read-out


@dataclass(frozen=True)
class Factors:
    """Factors of a read-out, FP32 or E8M0, one code for each row or column."""

    fmt: Format
    codes: Any


def readout_obvious(
    acc: Any, fmt: Format, row: Factors | None = None, col: Factors | None = None, sat: bool = True
) -> Ints:
    """Codes[M, N] of the read-out of FP32 codes [M, N]."""
    out = np.array(acc, np.int64)
    if row is None and col is None and fmt is FP32:
        return out
    for place, code in np.ndenumerate(out):
        y = number(FP32, int(code))
        for factors, index in ((row, place[0]), (col, place[1])):
            if factors is not None:
                y = fp32(times(y, number(factors.fmt, int(factors.codes[index]))))
        out[place] = encode(fmt, y, sat)
    return out


def readout(
    acc: Any, fmt: Format, row: Factors | None = None, col: Factors | None = None, sat: bool = True
) -> Ints:
    """`readout_obvious`, faster."""
    out = np.array(acc, np.int64)
    if row is None and col is None and fmt is FP32:
        return out
    for (m, n), code in np.ndenumerate(out):
        y = int(code)
        if row is not None:
            y = _scaled_by(y, row.fmt, int(row.codes[m]))
        if col is not None:
            y = _scaled_by(y, col.fmt, int(col.codes[n]))
        out[m, n] = convert(fmt, y, sat)
    return out


def _scaled_by(y: int, fmt: Format, factor: int) -> int:
    """RNE(y * factor) as an FP32 code."""
    if scaled.finite(FP32, y) and scaled.finite(fmt, factor):
        return scaled.code_of(
            FP32, scaled.product(scaled.split(FP32, y), scaled.split(fmt, factor))
        )
    return encode(FP32, times(number(FP32, y), number(fmt, factor)))


def convert(fmt: Format, code: int, sat: bool = True) -> int:
    """An FP32 code converted once."""
    if scaled.finite(FP32, code):
        return scaled.code_of(fmt, scaled.split(FP32, code), sat)
    return encode(fmt, number(FP32, code), sat)
