"""Conversions of the reference model: nearest value in the decode table, ties to the even code.

Source: the arithmetic contract, section 1 (read-out) and 2 (convert). Shares with the compiler's
codec only the decode tables; the search itself is independent of isa.formats.encode.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from emulator.reference.arith import F32, F64, bits_of, canonical
from isa.formats import FORMATS, Codes, Format, FormatInfo, decode, decode_table

I32 = npt.NDArray[np.int32]


@cache
def _midpoints(fmt: Format) -> F64:
    """Where rounding passes from magnitude code i to i + 1, exact in float64: [max_code + 1].

    The last one leads to the first value that does not exist: one more step of the last binade.
    """
    values = decode_table(fmt)[: FORMATS[fmt].max_code + 1].astype(np.float64)
    beyond = values[-1] + (values[-1] - values[-2])
    return np.asarray((values + np.append(values[1:], beyond)) / 2)


def to_format(fmt: Format, x: F32 | F64, sat: bool = True) -> Codes:
    """Codes of x (same shape), one rounding of its exact value; a float64 x is taken as exact."""
    info = FORMATS[fmt]
    if fmt is Format.FP32:
        return bits_of(canonical(x)).copy()
    if fmt is Format.E2M1 and not sat:
        raise ValueError("E2M1 has no NOSAT conversion")
    with np.errstate(invalid="ignore"):  # signalling NaNs are NaNs like others
        magnitude = np.abs(np.asarray(x, dtype=np.float64))
    code = _nearest(fmt, magnitude)
    negative = np.signbit(np.asarray(x))
    overflow = code > info.max_code
    code = np.where(overflow, _overflow_code(info, sat), code)
    # The canonical NaN that stands for an overflow has no sign; saturated values keep theirs.
    unsigned = overflow & (not sat) & (not info.has_inf)
    code = np.where(negative & ~unsigned, code + (1 << (info.bits - 1)), code)
    nan_code = info.max_code if info.canonical_nan is None else info.canonical_nan
    return np.where(np.isnan(magnitude), nan_code, code).astype(info.dtype)


def _nearest(fmt: Format, magnitude: F64) -> npt.NDArray[np.int64]:
    """Nearest magnitude code, ties to even; max_code + 1 for whatever rounds beyond the format."""
    midpoints = _midpoints(fmt)
    code = np.searchsorted(midpoints, magnitude, side="left")
    tie = midpoints[np.minimum(code, len(midpoints) - 1)] == magnitude
    return np.asarray(np.where(tie & (code % 2 == 1), code + 1, code), dtype=np.int64)


def _overflow_code(info: FormatInfo, sat: bool) -> int:
    """What an overflow becomes: the maximum (SAT), else Inf, else NaN."""
    if info.saturates and sat:
        return info.max_code
    code = info.inf_code if info.inf_code is not None else info.canonical_nan
    assert code is not None
    return code


def from_format(fmt: Format, codes: Codes) -> F32:
    """fp32 values of codes: exact."""
    return decode(fmt, codes)


def round_to(fmt: Format, x: F32) -> F32:
    """x rounded to a format and read back: a BF16 operation is an fp32 one, then this."""
    return from_format(fmt, to_format(fmt, x))


def sticky_nan(x: F32 | F64) -> bool:
    """Whether a conversion of x to E2M1 sets the sticky status bit: some element is NaN."""
    return bool(np.isnan(x).any())


def to_integer(x: F32, low: int = -(2**31), high: int = 2**31 - 1) -> npt.NDArray[np.int64]:
    """Integers nearest to x, ties to even, saturating at low and high; NaN gives 0."""
    with np.errstate(invalid="ignore"):
        wide = np.asarray(x, dtype=np.float64)
    whole = np.rint(np.where(np.isnan(wide), 0.0, wide))
    return np.where(whole > high, high, np.where(whole < low, low, whole)).astype(np.int64)


def from_integer(x: npt.NDArray[Any]) -> F32:
    """fp32 values nearest to integers (at most 53 bits), ties to even."""
    return np.asarray(x).astype(np.float64).astype(np.float32)
