"""Faults of conversion: rounding, overflow, subnormals, integers."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import Mutant, edit, fault

_CVT: Final = "vpu/vcvt vpu/"
_TIE: Final = "np.where(tie & (code % 2 == 1), code + 1, code)"
_NEAREST: Final = "    code = _nearest(fmt, magnitude)\n"
_MAGNITUDE: Final = "magnitude = np.abs(np.asarray(x, dtype=np.float64))"
_OVERFLOW: Final = "overflow = code > info.max_code"
_SATURATES: Final = "if info.saturates and sat:"
_INTEGER: Final = "whole = np.rint(np.where(np.isnan(wide), 0.0, wide))"
_CLAMPED: Final = "np.where(whole > high, high, np.where(whole < low, low, whole))"
_DST_CONVERSION: Final = 'dst.store(to_format(dst.format, values, sat=not run.op.flag("sat")))'
_NORMAL: Final = "        code = np.where(code < 1 << info.mantissa_bits, 0, code)\n"
_STICKY: Final = "run.tile.sticky |= sticky_nan(values)"
_FP32: Final = "return np.asarray(x).astype(np.float64).astype(np.float32)"


def _flushed(name: str, fmt: str) -> Mutant:
    """Results of a format that are subnormal become zero."""
    changed = f"{_NEAREST}    if fmt is Format.{fmt}:\n{_NORMAL}"
    what = f"subnormal {fmt} results become zero"
    return fault(f"{name}-ftz", what, _CVT, edit("convert", _NEAREST, changed))


def _read_as_zero(name: str, fmt: str) -> Mutant:
    """Operands of a format that are subnormal are read as zero."""
    return fault(f"{name}-daz", f"subnormal {fmt} operands are read as zero", "vpu/ mxu/",
                 edit("isa.formats",
                      "significand = np.where(normal, fraction + (1 << info.mantissa_bits), "
                      "fraction)",
                      f"fraction = np.where((exponent > 0) | (info.name != '{fmt}'), fraction, 0)"
                      "\n    significand = np.where(normal, "
                      "fraction + (1 << info.mantissa_bits), fraction)"))  # fmt: skip


def _rounds(name: str, what: str, condition: str, tie: str) -> Mutant:
    """Ties of some formats go elsewhere."""
    return fault(name, what, _CVT, edit("convert", _TIE, f"({tie}) if {condition} else {_TIE}"))


FAULTS: Final = (
    _rounds("convert-half-away", "conversions round ties away from zero", "True",
            "np.where(tie, code + 1, code)"),
    _rounds("convert-half-down", "conversions round ties towards zero", "True", "code"),
    _rounds("convert-bf16-half-away", "conversions to BF16 round ties away from zero",
            "fmt is Format.BF16", "np.where(tie, code + 1, code)"),
    _rounds("convert-e2m1-half-away", "conversions to E2M1 round ties away from zero",
            "fmt is Format.E2M1", "np.where(tie, code + 1, code)"),
    _rounds("convert-e2m1-half-down", "conversions to E2M1 round ties towards zero",
            "fmt is Format.E2M1", "code"),
    _rounds("convert-e5m2-half-away", "conversions to E5M2 round ties away from zero",
            "fmt is Format.E5M2", "np.where(tie, code + 1, code)"),
    _rounds("convert-e4m3fn-half-down", "conversions to E4M3FN round ties towards zero",
            "fmt is Format.E4M3FN", "code"),
    fault("convert-rtz", "conversions cut bits off", _CVT,
          edit("convert", _NEAREST,
               "    values = decode_table(fmt)[: info.max_code + 1].astype(np.float64)\n"
               "    code = np.searchsorted(values, magnitude, side='right') - 1\n"
               "    code = np.where(np.isinf(magnitude), info.max_code + 1, code)\n")),
    fault("convert-bf16-rtz", "conversions to BF16 cut bits off", _CVT,
          edit("convert", _NEAREST,
               f"{_NEAREST}    if fmt is Format.BF16:\n"
               "        cut = np.asarray(x, dtype=np.float32).view(np.uint32) & 0x7FFFFFFF\n"
               "        code = np.asarray(cut >> 16, dtype=np.int64)\n")),
    fault("convert-fp8-via-bf16", "FP32 is rounded to BF16 on its way to 8-bit formats", _CVT,
          edit("vector", _DST_CONVERSION,
               "if dst.bits == 8:\n        values = round_to(Format.BF16, values)\n"
               f"    {_DST_CONVERSION}"),
          edit("vector", "sticky_nan, to_format,", "round_to, sticky_nan, to_format,")),
    fault("convert-fp16-via-bf16", "FP32 is rounded to BF16 on its way to FP16", _CVT,
          edit("vector", _DST_CONVERSION,
               "if dst.format is Format.FP16:\n        values = round_to(Format.BF16, values)\n"
               f"    {_DST_CONVERSION}"),
          edit("vector", "sticky_nan, to_format,", "round_to, sticky_nan, to_format,")),
    fault("convert-e2m1-via-fp8", "FP32 is rounded to E4M3FN on its way to E2M1", _CVT,
          edit("vector", _DST_CONVERSION,
               "if dst.format is Format.E2M1:\n        values = round_to(Format.E4M3FN, values)\n"
               f"    {_DST_CONVERSION}"),
          edit("vector", "sticky_nan, to_format,", "round_to, sticky_nan, to_format,")),
    _flushed("convert-bf16", "BF16"),
    _flushed("convert-fp16", "FP16"),
    _flushed("convert-e4m3fn", "E4M3FN"),
    _flushed("convert-e5m2", "E5M2"),
    _flushed("convert-e2m1", "E2M1"),
    _read_as_zero("bf16", "BF16"),
    _read_as_zero("fp16", "FP16"),
    _read_as_zero("e4m3fn", "E4M3FN"),
    _read_as_zero("e5m2", "E5M2"),
    _read_as_zero("e2m1", "E2M1"),
    fault("sat-nosat-swapped", "the modifier .nosat means saturation", _CVT,
          edit("vector", _DST_CONVERSION,
               'nosat = run.op.flag("sat") or dst.format is Format.E2M1\n'
               "    dst.store(to_format(dst.format, values, sat=bool(nosat)))")),
    fault("nosat-ignored", "vcvt.nosat saturates", _CVT,
          edit("vector", 'sat=not run.op.flag("sat")', "sat=True")),
    fault("e4m3fn-overflow-to-max", "E4M3FN without saturation overflows to 448", _CVT,
          edit("convert", _SATURATES, "if info.saturates and (sat or not info.has_inf):")),
    fault("e4m3fn-overflow-signed", "E4M3FN's overflow without saturation keeps its sign", _CVT,
          edit("convert", "negative & ~unsigned", "negative")),
    fault("e4m3fn-overflows-above-448", "E4M3FN overflows for all above 448, rounded or not", _CVT,
          edit("convert", _OVERFLOW,
               "if fmt is Format.E4M3FN:\n        code = np.where(magnitude > 448, 127, code)\n"
               f"    {_OVERFLOW}")),
    fault("e5m2-overflow-to-max", "E5M2 without saturation overflows to its maximum", _CVT,
          edit("convert", _SATURATES, "if info.saturates and (sat or info.has_inf):")),
    fault("e5m2-infinity-kept", "E5M2 with saturation keeps infinities", _CVT,
          edit("convert", "code = np.where(negative & ~unsigned",
               "if fmt is Format.E5M2:\n        code = np.where(np.isinf(magnitude), 0x7C, code)\n"
               "    code = np.where(negative & ~unsigned")),
    fault("e5m2-overflows-to-infinity", "E5M2 with saturation overflows to infinity", _CVT,
          edit("convert", _SATURATES, "if info.saturates and sat and not info.has_inf:")),
    fault("bf16-overflow-to-max", "BF16 overflows to its maximum", _CVT,
          edit("convert", _SATURATES,
               "if (info.saturates and sat) or info.format is Format.BF16:")),
    fault("fp16-overflow-to-max", "FP16 overflows to its maximum", _CVT,
          edit("convert", _SATURATES,
               "if (info.saturates and sat) or info.format is Format.FP16:")),
    fault("fp16-overflows-at-65505", "FP16 overflows for all above 65504, rounded or not", _CVT,
          edit("convert", _OVERFLOW,
               "if fmt is Format.FP16:\n        "
               "code = np.where(magnitude > 65504, info.max_code + 1, code)\n"
               f"    {_OVERFLOW}")),
    fault("convert-zero-unsigned", "a result that is zero loses its sign", _CVT,
          edit("convert", "np.where(negative & ~unsigned,",
               "np.where(negative & ~unsigned & (code != 0),")),
    fault("e2m1-nan-is-zero", "a NaN becomes 0 in E2M1", _CVT + " quant/",
          edit("convert", "nan_code = info.max_code if info.canonical_nan is None",
               "nan_code = 0 if info.canonical_nan is None")),
    fault("e2m1-nan-is-minus-6", "a NaN becomes -6 in E2M1", _CVT + " quant/",
          edit("convert", "nan_code = info.max_code if info.canonical_nan is None",
               "nan_code = 15 if info.canonical_nan is None")),
    fault("vcvt-sticky-missing", "vcvt of a NaN to E2M1 does not set the sticky bit", _CVT,
          edit("vector", _STICKY, "pass")),
    fault("vcvt-sticky-cleared", "vcvt to E2M1 without a NaN clears the sticky bit", _CVT,
          edit("vector", _STICKY, "run.tile.sticky = sticky_nan(values)")),
    fault("vcvt-sticky-everywhere", "vcvt of a NaN to any format sets the sticky bit", _CVT,
          edit("vector", f"    if dst.format is Format.E2M1:\n        {_STICKY}\n",
               f"    {_STICKY}\n")),
    fault("vcvt-sticky-infinity", "vcvt of an infinity to E2M1 sets the sticky bit", _CVT,
          edit("convert", "return bool(np.isnan(x).any())", "return not np.isfinite(x).all()")),
    fault("to-i32-rtz", "conversion to I32 cuts the fraction off", _CVT,
          edit("convert", _INTEGER, "whole = np.trunc(np.where(np.isnan(wide), 0.0, wide))")),
    fault("to-i32-half-away", "conversion to I32 rounds ties away from zero", _CVT,
          edit("convert", _INTEGER,
               "whole = np.where(np.isnan(wide), 0.0, wide)\n"
               "    whole = np.trunc(whole + np.copysign(0.5, whole))")),
    fault("to-i32-floor", "conversion to I32 rounds down", _CVT,
          edit("convert", _INTEGER, "whole = np.floor(np.where(np.isnan(wide), 0.0, wide))")),
    fault("to-i32-wraps", "conversion to I32 wraps", _CVT,
          edit("convert", _CLAMPED,
               "(np.mod(np.where(np.isfinite(whole), whole, low) + 2.0**31, 2.0**32) - 2.0**31)")),
    fault("to-i32-as-x86", "conversion to I32 gives the lowest integer for all it cannot hold",
          _CVT, edit("convert", _CLAMPED, "np.where((whole > high) | (whole < low), low, whole)")),
    fault("to-i32-nan-is-lowest", "a NaN becomes the lowest integer", _CVT,
          edit("convert", _INTEGER, "whole = np.rint(np.where(np.isnan(wide), -np.inf, wide))")),
    fault("to-i32-nan-is-highest", "a NaN becomes the highest integer", _CVT,
          edit("convert", _INTEGER, "whole = np.rint(np.where(np.isnan(wide), np.inf, wide))")),
    fault("from-i32-one-rounding", "I32 is converted without being rounded to FP32", _CVT,
          edit("convert", _FP32, "return np.asarray(x).astype(np.float64)")),
    fault("from-i32-rtz", "I32 is cut off on its way to FP32", _CVT,
          edit("convert", _FP32,
               "exact = np.asarray(x).astype(np.float64)\n    near = exact.astype(np.float32)\n"
               "    above = np.abs(near.astype(np.float64)) > np.abs(exact)\n"
               "    return np.where(above, np.nextafter(near, np.float32(0)), near)")),
    fault("from-i32-unsigned", "I32 is converted as an unsigned number", _CVT,
          edit("convert", _FP32,
               "x = np.asarray(x)\n    return (x % 2**32).astype(np.float64).astype(np.float32)")),
    fault("from-u8-signed", "U8 is converted as a signed number", _CVT,
          edit("vector", "return from_integer(operand.integers())",
               "values = operand.integers()\n    if operand.format is Format.U8:\n"
               "        values = (values + 128) % 256 - 128\n    return from_integer(values)")),
    fault("from-e8m0-zero", "E8M0 code 0 is converted to zero", _CVT,
          edit("isa.formats", "values = np.ldexp(significand.astype(np.float64), power)",
               "values = np.ldexp(significand.astype(np.float64), power)\n"
               "    if info.format is Format.E8M0:\n        values[0] = 0.0")),
)  # fmt: skip
