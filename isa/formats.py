"""The number formats of the chip: one block of facts per format, and everything derived from it.

Source: docs/architecture.md (format codes) and the arithmetic contract, section 1
(read-out, canonical NaNs).
Encoding uses integers only, so no floating-point mode of the host can change a bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.unsignedinteger[Any]]

FP32_NAN: Final = 0x7FC00000
_FP32_BIAS: Final = 127
_FP32_MANTISSA: Final = 23
_FP32_INF: Final = 0x7F800000
_MAGNITUDE: Final = 0x7FFFFFFF
_CHUNK: Final = 1 << 15  # elements: the temporaries of one chunk stay in a 1 MiB cache


class Format(IntEnum):
    """Element formats. The codes are frozen: descriptors and program files hold them."""

    FP32 = 0
    BF16 = 1
    FP16 = 2
    E4M3FN = 3
    E5M2 = 4
    E2M1 = 5
    E8M0 = 6
    I32 = 7
    U8 = 8


class ScaleKind(IntEnum):
    """Block scales of a tensor: none, E8M0 per 32 elements, or E4M3FN (sign ignored) per 16."""

    NONE = 0
    MX32 = 1
    NV16 = 2


class Layout(IntEnum):
    """How a tensor's elements lie in memory: by strides, or in packed weight panels."""

    STRIDED = 0
    PANEL = 1


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """Facts about one format. Its codes are magnitudes (sign bit clear), canonical_nan excepted."""

    format: Format
    name: str
    bits: int
    exponent_bits: int
    mantissa_bits: int
    bias: int
    signed: bool
    subnormals: bool
    inf_code: int | None
    nan_codes: tuple[int, int] | None  # first and last magnitude that is a NaN
    canonical_nan: int | None  # the whole code, sign included
    max_code: int
    max_value: float
    is_float: bool = True

    @property
    def has_inf(self) -> bool:
        """Whether the format has infinities."""
        return self.inf_code is not None

    @property
    def saturates(self) -> bool:
        """Whether SAT means anything: the narrow element formats; the others are IEEE."""
        return self.format in (Format.E4M3FN, Format.E5M2, Format.E2M1)

    @property
    def max_exponent(self) -> int:
        """Unbiased exponent of the largest finite value (OCP's emax)."""
        return (self.max_code >> self.mantissa_bits) - self.bias

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type that holds one code (4-bit codes: one per byte)."""
        if self.format is Format.I32:
            return np.dtype(np.int32)
        return np.dtype({4: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}[self.bits])


# fmt: off
_TABLE: Final = (
    #          format         name   bits exp man bias signed subnormals
    #          inf code    NaN magnitudes            canonical   max code    max value
    FormatInfo(Format.FP32,   "FP32",   32, 8, 23, 127, True, True,
               0x7F800000, (0x7F800001, 0x7FFFFFFF), 0x7FC00000, 0x7F7FFFFF, 3.4028234663852886e38),
    FormatInfo(Format.BF16,   "BF16",   16, 8, 7, 127, True, True,
               0x7F80,     (0x7F81, 0x7FFF),         0x7FC0,     0x7F7F,     3.3895313892515355e38),
    FormatInfo(Format.FP16,   "FP16",   16, 5, 10, 15, True, True,
               0x7C00,     (0x7C01, 0x7FFF),         0x7E00,     0x7BFF,     65504.0),
    FormatInfo(Format.E4M3FN, "E4M3FN", 8, 4, 3, 7, True, True,
               None,       (0x7F, 0x7F),             0x7F,       0x7E,       448.0),
    FormatInfo(Format.E5M2,   "E5M2",   8, 5, 2, 15, True, True,
               0x7C,       (0x7D, 0x7F),             0x7E,       0x7B,       57344.0),
    FormatInfo(Format.E2M1,   "E2M1",   4, 2, 1, 1, True, True,
               None,       None,                     None,       0x7,        6.0),
    FormatInfo(Format.E8M0,   "E8M0",   8, 8, 0, 127, False, False,
               None,       (0xFF, 0xFF),             0xFF,       0xFE,       2.0**127),
    FormatInfo(Format.I32,    "I32",    32, 0, 31, 0, True, False,
               None,       None,                     None,       0x7FFFFFFF, 2.0**31 - 1, False),
    FormatInfo(Format.U8,     "U8",     8, 0, 8, 0, False, False,
               None,       None,                     None,       0xFF,       255.0, False),
)
# fmt: on
FORMATS: Final[dict[Format, FormatInfo]] = {info.format: info for info in _TABLE}


def byte_size(fmt: Format, elements: int) -> int:
    """Bytes that `elements` consecutive elements occupy; an odd nibble takes a whole byte."""
    return (elements * FORMATS[fmt].bits + 7) // 8


def _float_info(fmt: Format) -> FormatInfo:
    info = FORMATS[Format(fmt)]
    if not info.is_float:
        raise ValueError(f"{info.name} is an integer format: it has no floating-point codec")
    return info


# ---- decode


@cache
def decode_table(fmt: Format) -> F32:
    """The fp32 value of every code of a format of at most 16 bits: read-only, [2**bits]."""
    info = _float_info(fmt)
    if info.bits > 16:
        raise ValueError(f"{info.name} is too wide for a decode table")
    table = _decode_fields(info, np.arange(1 << info.bits, dtype=np.int64))
    table.flags.writeable = False
    return table


def _decode_fields(info: FormatInfo, codes: npt.NDArray[np.int64]) -> F32:
    """Values of codes[n]: significand times power of two in float64, then fp32; all exact."""
    magnitude = codes & ((1 << (info.bits - 1)) - 1) if info.signed else codes
    exponent = magnitude >> info.mantissa_bits
    fraction = magnitude & ((1 << info.mantissa_bits) - 1)
    normal = (exponent > 0) | (not info.subnormals)
    significand = np.where(normal, fraction + (1 << info.mantissa_bits), fraction)
    power = np.where(normal, exponent, 1) - info.bias - info.mantissa_bits
    values = np.ldexp(significand.astype(np.float64), power)
    if info.inf_code is not None:
        values[magnitude == info.inf_code] = np.inf
    if info.signed:
        values = np.where(codes != magnitude, -values, values)
    if info.nan_codes is not None:
        values[(magnitude >= info.nan_codes[0]) & (magnitude <= info.nan_codes[1])] = 0.0
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    if info.nan_codes is not None:
        bits[(magnitude >= info.nan_codes[0]) & (magnitude <= info.nan_codes[1])] = FP32_NAN
    table: F32 = bits.view(np.float32)
    return table


def decode(fmt: Format, codes: npt.ArrayLike) -> F32:
    """fp32 values of `codes`, same shape. Every NaN becomes the canonical fp32 NaN 0x7FC00000."""
    info = _float_info(fmt)
    array = np.asarray(codes)
    if info.bits <= 16:
        return np.asarray(decode_table(fmt)[array], dtype=np.float32)
    bits = np.array(array, dtype=np.uint32)
    bits[(bits & np.uint32(_MAGNITUDE)) > _FP32_INF] = FP32_NAN
    return np.asarray(bits.view(np.float32))


# ---- encode


def encode(fmt: Format, values: F32 | np.float32, sat: bool = True) -> Codes:
    """Codes of fp32 `values` (same shape), rounded to nearest, ties to even.

    E4M3FN, E5M2, E2M1 with `sat`: overflow and Inf become +-max, NaN the canonical NaN (E2M1: +6).
    Without: E4M3FN overflow is NaN, E5M2 overflow is Inf, E2M1 is illegal. Other formats are IEEE.
    """
    info = _float_info(fmt)
    if info.format is Format.E8M0:
        raise ValueError("E8M0 holds scales only: the quantise rules make it, no conversion does")
    if info.format is Format.E2M1 and not sat:
        raise ValueError("E2M1 has neither NaN nor Inf: it is always saturating")
    bits = _fp32_bits(values)
    out = np.empty(bits.shape, dtype=info.dtype)
    encode_chunk = _encode_by_table if info.bits <= 8 else _encode_bits_into
    flat_out = out.reshape(-1)
    for part in _chunks(bits.size):
        encode_chunk(info, bits.reshape(-1)[part], sat, flat_out[part])
    return out


def e2m1_sticky(values: F32 | np.float32) -> bool:
    """The sticky status bit of a conversion to E2M1: whether any of the fp32 `values` is NaN."""
    bits = _fp32_bits(values)
    return bool(np.any((bits & np.uint32(_MAGNITUDE)) > _FP32_INF))


def _fp32_bits(values: F32 | np.float32) -> U32:
    """The patterns of fp32 values. No other type: a silent cast would round twice."""
    if values.dtype != np.float32:
        raise TypeError(f"values must be float32, not {values.dtype}")
    return np.asarray(values, order="C").view(np.uint32)


def _chunks(size: int) -> Iterator[slice]:
    return (slice(i, min(i + _CHUNK, size)) for i in range(0, size, _CHUNK))


def _encode_bits_into(info: FormatInfo, bits: U32, sat: bool, out: Codes) -> None:
    out[...] = _encode_bits(info, bits, sat)


def _encode_bits(info: FormatInfo, bits: U32, sat: bool) -> U32:
    """Codes of fp32 patterns bits[n]: the conversion itself; tables are built from it."""
    magnitude = bits & np.uint32(_MAGNITUDE)
    code = _round_magnitude(info, magnitude)
    negative = bits >> np.uint32(31)
    overflow = code > info.max_code
    if overflow.any():
        code[overflow] = _overflow_code(info, sat)
        if info.inf_code is None and not sat:
            negative[overflow] = 0  # the overflow is a NaN, and the canonical one has no sign
    code |= negative << np.uint32(info.bits - 1)
    nan = magnitude > _FP32_INF
    if nan.any():
        code[nan] = info.max_code if info.canonical_nan is None else info.canonical_nan
    return code


def _overflow_code(info: FormatInfo, sat: bool) -> int:
    if info.saturates and sat:
        return info.max_code
    code = info.canonical_nan if info.inf_code is None else info.inf_code
    assert code is not None
    return code


def _round_magnitude(info: FormatInfo, magnitude: U32) -> U32:
    """Magnitude code [n] of fp32 magnitudes [n], rounded as if the exponent had no upper bound."""
    drop = _FP32_MANTISSA - info.mantissa_bits
    rebias = _FP32_BIAS - info.bias
    if drop == 0:
        return magnitude.copy()
    normal = _shift_rne(magnitude - np.uint32(rebias << _FP32_MANTISSA), np.uint32(drop))
    if rebias == 0:  # the exponents coincide, so subnormals line up with fp32's own
        return normal
    exponent = magnitude >> np.uint32(_FP32_MANTISSA)
    small = exponent <= rebias
    if small.any():
        normal[small] = _round_subnormal(magnitude[small], exponent[small], drop + 1 + rebias)
    return normal


def _round_subnormal(magnitude: U32, exponent: U32, distance: int) -> U32:
    """Codes of values below the smallest normal; `distance` is the shift at exponent field 0.

    An fp32 subnormal gets an implicit one it does not have: far below half a quantum all the same.
    """
    implicit = np.uint32(1 << _FP32_MANTISSA)
    significand = (magnitude & (implicit - np.uint32(1))) | implicit
    shift = np.minimum(np.uint32(distance) - exponent, np.uint32(_FP32_MANTISSA + 2))
    return _shift_rne(significand, shift)


def _shift_rne(value: U32, shift: U32 | np.uint32) -> U32:
    """value >> shift, rounded to nearest, ties to even (shift at least 1)."""
    one = np.uint32(1)
    half = (one << (shift - one)) - one
    return np.asarray((value + (half + ((value >> shift) & one))) >> shift, dtype=np.uint32)


def _encode_by_table(info: FormatInfo, bits: U32, sat: bool, out: Codes) -> None:
    """Narrow formats: round to odd at two bits below the target's precision, then look the code up.

    Rounding to odd with two spare bits loses nothing that a later rounding to nearest could need.
    """
    drop = _index_shift(info)
    mask = np.uint32((1 << drop) - 1)
    index = bits & mask
    index += mask
    index |= bits
    wide = np.right_shift(index, np.uint32(drop), dtype=np.int64, casting="unsafe")
    np.take(_encode_table(info.format, sat), wide, out=out, mode="clip")


def _index_shift(info: FormatInfo) -> int:
    return _FP32_MANTISSA - (info.mantissa_bits + 2)


@cache
def _encode_table(fmt: Format, sat: bool) -> Codes:
    """Codes [2**(32 - shift)] by the top bits of an fp32 pattern rounded to odd."""
    info = FORMATS[fmt]
    shift = _index_shift(info)
    tops = np.arange(1 << (32 - shift), dtype=np.uint32) << np.uint32(shift)
    return _encode_bits(info, tops, sat).astype(info.dtype)


# ---- nibbles


def pack_nibbles(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """4-bit codes [..., K] to bytes [..., ceil(K/2)]: even index low, 0 after an odd end."""
    even = codes[..., 0::2] & np.uint8(15)
    packed = even.copy()
    packed[..., : codes.shape[-1] // 2] |= codes[..., 1::2] << np.uint8(4)
    return packed


def unpack_nibbles(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """The first `count` 4-bit codes [..., count] of bytes [..., ceil(count/2)]."""
    codes = np.empty((*packed.shape[:-1], 2 * packed.shape[-1]), dtype=np.uint8)
    codes[..., 0::2] = packed & np.uint8(15)
    codes[..., 1::2] = packed >> np.uint8(4)
    return codes[..., :count]
