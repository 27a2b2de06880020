"""Faults of the quantise unit."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_MX: Final = "quant/vquant quant/"
_NAN_BLOCK: Final = "if scale == 0xFF:\n        return np.zeros(block.shape, np.uint8), scale"
_NV: Final = "quant/vquant/nv quant/vquant quant/"
_ROW: Final = "quant/vquantr quant/"
_CLAMP: Final = "return min(max(exponent + 127, 0), 254)"
_THRESHOLD: Final = "(amax & 0x7FFFFF) > _MAX_FRACTION[elem_fmt]"
_LARGEST: Final = "max((int(b) & 0x7FFFFFFF for b in bits_of(block)), default=0)"
_SCALED: Final = "scaled = div(mul(from_bits(amax), ts_inv), f32(6))"
_QUOTIENT: Final = "quotient = div(mul(block, ts_inv), divisor)"
_ZEROS: Final = "return np.where(np.signbit(block), 8, 0).astype(np.uint8), scale, False"
_BAD: Final = "return np.zeros(block.shape, np.uint8), 0x7F, True"
_TS: Final = "np.float32(1) if pattern == 0 else np.float32(from_bits(pattern))"
_DIVISOR: Final = "np.asarray(scale & 0x7F, dtype=np.uint8)"
_EXACT: Final = "exact = block.astype(np.float64) * np.float64(2.0) ** (127 - scale)"
_ELEMENTS: Final = "return to_format(elem_fmt, exact).astype(np.uint8), scale"
_RESULT: Final = "return to_format(Format.E2M1, quotient).astype(np.uint8), scale,"
_ROW_CALL: Final = 'quantise_mx(values, dst.format, whole, bool(run.op.flag("scale_mode")))'

FAULTS: Final = (
    fault("mx-scale-plus-one", "MX scales are one too large", _MX,
          edit("quantise", _CLAMP, "return min(max(exponent + 128, 0), 254)")),
    fault("mx-scale-minus-one", "MX scales are one too small", _MX,
          edit("quantise", _CLAMP, "return min(max(exponent + 126, 0), 254)")),
    fault("mx-floor-always", "MX scales follow OCP's rule without .floor", _MX,
          edit("quantise", "if not floor and (amax", "if False and (amax")),
    fault("mx-floor-ignored", "vquant.floor rounds up", _MX,
          edit("vector_rows", 'quantise_mx(values, dst.format, floor=bool(run.op.flag("scale_mode'
               '")))', "quantise_mx(values, dst.format)")),
    fault("mx-threshold-inclusive", "MX scales round up at the largest fraction itself", _MX,
          edit("quantise", _THRESHOLD, "(amax & 0x7FFFFF) >= _MAX_FRACTION[elem_fmt]")),
    fault("mx-threshold-by-rounding", "MX scales round up where the element would overflow", _MX,
          edit("quantise", _THRESHOLD,
               "(amax & 0x7FFFFF) > _MAX_FRACTION[elem_fmt] + 0x80000")),
    fault("mx-threshold-any-fraction", "MX scales round up for any fraction", _MX,
          edit("quantise", _THRESHOLD, "amax & 0x7FFFFF")),
    fault("mx-threshold-e2m1-as-fp8", "E2M1's threshold is that of FP8", _MX,
          edit("quantise", "Format.E2M1: 0x400000", "Format.E2M1: 0x600000")),
    fault("mx-emax-e4m3fn", "E4M3FN's emax is 7", _MX,
          edit("quantise", "{Format.E4M3FN: 8,", "{Format.E4M3FN: 7,")),
    fault("mx-not-clamped", "MX scales below 0 wrap", _MX,
          edit("quantise", _CLAMP, "return (exponent + 127) % 256")),
    fault("mx-clamped-to-1", "MX scales are at least 1", _MX,
          edit("quantise", _CLAMP, "return min(max(exponent + 127, 1), 254)")),
    fault("mx-subnormal-amax", "a block of subnormals has scale 0 and zeros", _MX,
          edit("quantise", _LARGEST,
               "max((int(b) & 0x7FFFFFFF for b in bits_of(block) if int(b) & 0x7F800000), "
               "default=0)"),
          edit("quantise", _ELEMENTS,
               "if scale == 0 and not (bits_of(block) & 0x7F800000).any():\n"
               "        exact = np.copysign(0.0, exact)\n    " + _ELEMENTS)),
    fault("mx-zero-block-scale", "a block of zeros has scale 127", _MX,
          edit("quantise", "if amax == 0:\n        return 0", "if amax == 0:\n        return 127")),
    fault("mx-zero-block-unsigned", "a block of zeros loses its signs", _MX,
          edit("quantise", _ELEMENTS,
               "if not block.any():\n        exact = np.zeros_like(exact)\n    " + _ELEMENTS)),
    fault("mx-amax-signed", "the largest element is found with its sign", _MX,
          edit("quantise", _LARGEST,
               "max((int(b) for b in bits_of(block) if int(b) < 1 << 31), default=0)")),
    fault("mx-amax-of-neighbours", "the last element of a block is left out of its amax", _MX,
          edit("quantise", "scale = mx_scale(largest(block), elem_fmt, floor)",
               "scale = mx_scale(largest(block[:-1] if len(block) > 1 else block), elem_fmt, "
               "floor)")),
    fault("mx-infinity-as-number", "an infinity counts as the number 2^128", _MX,
          edit("quantise", "if amax >= _INF:\n        return 0xFF",
               "if amax > _INF:\n        return 0xFF")),
    fault("mx-nan-ignored", "NaNs are left out of a block's amax", _MX,
          edit("quantise", _LARGEST,
               "max((m for b in bits_of(block) if (m := int(b) & 0x7FFFFFFF) <= _INF), default=0)"
               )),
    fault("mx-nan-block-keeps-elements", "a block with a NaN keeps its elements", _MX,
          edit("quantise", _NAN_BLOCK,
               "if scale == 0xFF:\n        return to_format(elem_fmt, block).astype(np.uint8), "
               "scale")),
    fault("mx-nan-block-signs", "a block with a NaN has zeros with signs", _MX,
          edit("quantise", _NAN_BLOCK,
               "if scale == 0xFF:\n        exact = np.copysign(0.0, block)\n"
               "        return to_format(elem_fmt, exact).astype(np.uint8), scale")),
    fault("mx-elements-rtz", "elements are cut off", _MX,
          edit("quantise", _ELEMENTS,
               "from emulator.reference.convert import decode_table\n"
               "    table = np.sort(np.abs(decode_table(elem_fmt)[np.isfinite("
               "decode_table(elem_fmt))].astype(np.float64)))\n"
               "    place = np.searchsorted(table, np.abs(exact), side='right') - 1\n"
               "    exact = np.copysign(table[np.minimum(place, len(table) - 1)], exact)\n    "
               + _ELEMENTS)),
    fault("mx-elements-ftz", "elements that are subnormal become zero", _MX,
          edit("quantise", _EXACT,
               f"{_EXACT}\n    least = {{8: 2.0**-6, 15: 2.0**-14, 2: 1.0}}[_EMAX[elem_fmt]]\n"
               "    exact = np.where(np.abs(exact) < least, np.copysign(0.0, exact), exact)")),
    fault("mx-blocks-of-16", "MX blocks have 16 elements and share the first scale", _MX,
          edit("quantise", "codes[row, part], scales[row, index] = "
               "_mx_block(x[row, part], elem_fmt, floor)",
               "half = slice(part.start, part.start + 16) if block == 32 else part\n"
               "            scales[row, index] = _mx_block(x[row, half], elem_fmt, floor)[1]\n"
               "            codes[row, part] = to_format(elem_fmt, x[row, part].astype('f8') * "
               "2.0 ** (127 - int(scales[row, index])))")),
    fault("mx-scales-transposed", "scale bytes are written by block, then by row", "quant/",
          edit("tensor", "memory[self.scale_addresses()] = codes",
               "memory[self.scale_addresses()] = codes.T.reshape(codes.shape)")),
    fault("vquantr-blocks-of-32", "vquantr's scale is that of the first 32 elements", _ROW,
          edit("vector_rows", f"result = {_ROW_CALL}",
               "head = quantise_mx(values[:, :32], dst.format, 32, "
               'bool(run.op.flag("scale_mode")))\n'
               "    from emulator.reference.quantise import Quantised, to_format\n"
               "    wide = values.astype('f8') * 2.0 ** (127 - head.scales.astype('f8'))\n"
               "    result = Quantised(to_format(dst.format, wide), head.scales, False)")),
    fault("vquantr-floor-ignored", "vquantr.floor rounds up", _ROW,
          edit("vector_rows", f"result = {_ROW_CALL}",
               "result = quantise_mx(values, dst.format, whole, False)")),
    fault("vquantr-one-scale", "vquantr's first row decides for all", _ROW,
          edit("vector_rows", 'run["scale"].store(scales)',
               'run["scale"].store(np.repeat(scales[:1], len(scales), axis=0))')),
    fault("nv-times-a-sixth", "NV16 scales multiply by the rounded 1/6", _NV,
          edit("quantise", _SCALED,
               "scaled = mul(mul(from_bits(amax), ts_inv), div(f32(1), f32(6)))")),
    fault("nv-reciprocal-of-scale", "NV16 elements multiply by the rounded reciprocal", _NV,
          edit("quantise", _QUOTIENT,
               "quotient = mul(mul(block, ts_inv), div(f32(1), divisor))")),
    fault("nv-one-factor", "NV16 elements divide by the product of both scales", _NV,
          edit("quantise", _QUOTIENT, "quotient = div(block, div(divisor, ts_inv))")),
    fault("nv-divides-by-ts", "NV16 divides by ts instead of multiplying by its reciprocal", _NV,
          edit("quantise", "ts_inv = div(f32(1), np.asarray(ts, dtype=np.float32))",
               "ts_inv = np.asarray(ts, dtype=np.float32)"),
          edit("quantise", _SCALED, "scaled = div(div(from_bits(amax), ts_inv), f32(6))"),
          edit("quantise", _QUOTIENT, "quotient = div(div(block, ts_inv), divisor)")),
    fault("nv-scale-one-rounding", "NV16's amax * r / 6 is rounded once", _NV,
          edit("quantise", _SCALED,
               "scaled = (np.float64(from_bits(amax)) * np.float64(ts_inv) / 6).astype('f4')")),
    fault("nv-ts-ignored", "NV16 ignores the tensor scale", _NV,
          edit("vector_rows", _TS, "np.float32(1)")),
    fault("nv-ts-multiplies", "NV16 multiplies by the tensor scale", _NV,
          edit("quantise", "ts_inv = div(f32(1), np.asarray(ts, dtype=np.float32))",
               "ts_inv = np.asarray(ts, dtype=np.float32)")),
    fault("nv-ts-pattern-0", "a tensor scale of pattern 0 is the number 0", _NV,
          edit("vector_rows", _TS, "np.float32(from_bits(pattern))")),
    fault("nv-ts-minus-zero", "a tensor scale of -0 is 1 as well", _NV,
          edit("vector_rows", "1) if pattern == 0 else", "1) if pattern % 2**31 == 0 else")),
    fault("nv-scale-rtz", "NV16 scales are cut off", _NV,
          edit("quantise", "scale = int(to_format(Format.E4M3FN, scaled))",
               "scale = int(to_format(Format.E4M3FN, scaled))\n"
               "    if from_format(Format.E4M3FN, np.uint8(scale)) > scaled:\n"
               "        scale -= 1")),
    fault("nv-scale-rounded-up", "NV16 scales are rounded up", _NV,
          edit("quantise", "scale = int(to_format(Format.E4M3FN, scaled))",
               "scale = int(to_format(Format.E4M3FN, scaled))\n"
               "    if scale < 0x7E and from_format(Format.E4M3FN, np.uint8(scale)) < scaled:\n"
               "        scale += 1")),
    fault("nv-scale-not-saturated", "NV16 scales that overflow are NaN", _NV,
          edit("quantise", "scale = int(to_format(Format.E4M3FN, scaled))",
               "scale = int(to_format(Format.E4M3FN, scaled, False))")),
    fault("nv-zero-scale-minimum", "NV16 scales are at least the smallest subnormal", _NV,
          edit("quantise", "scale = int(to_format(Format.E4M3FN, scaled))",
               "scale = int(to_format(Format.E4M3FN, scaled)) or int(amax > 0)")),
    fault("nv-zero-scale-unsigned", "with a scale of zero the elements lose their signs", _NV,
          edit("quantise", _ZEROS, "return np.zeros(block.shape, np.uint8), scale, False")),
    fault("nv-zero-scale-divides", "with a scale of zero elements are divided by it", _NV,
          edit("quantise", "if scale & 0x7F == 0:", "if False:")),
    fault("nv-zero-scale-sticky", "with a scale of zero the sticky bit is set", _NV,
          edit("quantise", _ZEROS, _ZEROS.replace("False", "True"))),
    fault("nv-nan-block-scale-0", "a block with a NaN has scale 0", _NV,
          edit("quantise", _BAD, _BAD.replace("0x7F", "0"))),
    fault("nv-nan-block-not-sticky", "a block with a NaN does not set the sticky bit", _NV,
          edit("quantise", _BAD, _BAD.replace("True", "False"))),
    fault("nv-nan-block-elements", "a block with a NaN has elements +6 for it", _NV,
          edit("quantise", _BAD,
               "return to_format(Format.E2M1, block).astype(np.uint8), 0x7F, True")),
    fault("nv-infinity-as-number", "an infinity in a block saturates", _NV,
          edit("quantise", "amax = largest(block)\n    if amax >= _INF:",
               "amax = largest(block)\n    if amax > _INF:")),
    fault("nv-nan-element-not-sticky", "an element that becomes NaN does not set the sticky bit",
          _NV, edit("quantise", f"{_RESULT} sticky_nan(quotient)", f"{_RESULT} False")),
    fault("nv-sticky-on-saturation", "an element that saturates sets the sticky bit", _NV,
          edit("quantise", f"{_RESULT} sticky_nan(quotient)",
               f"{_RESULT} bool((np.isnan(quotient) | (np.abs(quotient) > 6)).any())")),
    fault("nv-sticky-last-block", "the last block decides the sticky bit", _NV,
          edit("quantise", "sticky |= bad", "sticky = bad")),
    fault("nv-sticky-cleared", "vquant without a NaN clears the sticky bit", _NV,
          edit("vector_rows", "run.tile.sticky |= result.sticky",
               "run.tile.sticky = result.sticky")),
    fault("nv-scale-sign-divides", "the sign of an NV16 scale turns its elements", _NV,
          edit("quantise", _DIVISOR, "np.asarray(scale, dtype=np.uint8)")),
    fault("nv-blocks-of-32", "NV16 takes amax over 32 elements", _NV,
          edit("quantise", "amax = largest(block)\n", "amax = largest(WHOLE)\n"),
          edit("quantise", "part = slice(16 * index, 16 * index + 16)",
               "part = slice(16 * index, 16 * index + 16)\n"
               "            first = 16 * (index // 2 * 2)\n"
               "            global WHOLE\n            WHOLE = x[row, first : first + 32]")),
)  # fmt: skip
