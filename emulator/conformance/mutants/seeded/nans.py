"""Faults of NaNs, signed zeros, comparison and moves."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import add, edit, fault

_CANONICAL: Final = "np.where(np.isnan(values), from_bits(NAN_BITS), values).astype(np.float32)"
_MIN: Final = '_binary("vmin", arith.minimum,'
_MAX: Final = '_binary("vmax", arith.maximum,'
_MIN_TEST: Final = "(a < b) | ((a == b) & np.signbit(a))"
_MAX_TEST: Final = "(a > b) | ((a == b) & ~np.signbit(a))"
_MIN_NAN: Final = "np.where(np.isnan(a), a, smaller)"
_MAX_NAN: Final = "np.where(np.isnan(a), a, greater)"
_FLOAT_MASK: Final = "mask = relation(a.values(), _second_floats(run))"
_INTEGER_MASK: Final = "mask = relation(a.integers(), _second_integers(run))"
_TO_FP32: Final = "return bits_of(canonical(x)).copy()"
_CODES: Final = 'run["a"].codes()'
_QUIET: Final = """
def quiet(codes):
    if codes.dtype == np.uint32:
        return arith.bits_of(arith.canonical(codes.view(np.float32)))
    return codes
"""
_DAZ_CODES: Final = """
def flushed(codes):
    if codes.dtype == np.uint32:
        return np.where(codes & np.uint32(0x7F800000) == 0, codes & np.uint32(1 << 31), codes)
    return codes
"""

FAULTS: Final = (
    fault("nan-negative", "arithmetic writes the NaN of x86, 0xFFC00000", "vpu/ mxu/",
          edit("arith", "NAN_BITS: Final = 0x7FC00000", "NAN_BITS: Final = 0xFFC00000")),
    fault("nan-all-ones", "arithmetic writes the NaN 0x7FFFFFFF", "vpu/ mxu/",
          edit("arith", "NAN_BITS: Final = 0x7FC00000", "NAN_BITS: Final = 0x7FFFFFFF")),
    fault("nan-payload-kept", "arithmetic keeps an operand's NaN payload", "vpu/vadd vpu/",
          edit("arith", "values = np.array(x, dtype=np.float32)\n    return " + _CANONICAL,
               "return np.array(x, dtype=np.float32)"),
          edit("isa.formats", "    bits[(bits & np.uint32(_MAGNITUDE)) > _FP32_INF] = FP32_NAN\n",
               "")),
    fault("nan-sign-kept", "a NaN keeps the sign of the operand", "vpu/vadd vpu/",
          edit("arith", "from_bits(NAN_BITS), values).astype",
               "np.copysign(from_bits(NAN_BITS), values), values).astype"),
          edit("isa.formats", "bits[(bits & np.uint32(_MAGNITUDE)) > _FP32_INF] = FP32_NAN",
               "nan = (bits & np.uint32(_MAGNITUDE)) > _FP32_INF\n"
               "    bits[nan] = bits[nan] & np.uint32(1 << 31) | np.uint32(FP32_NAN)")),
    fault("nan-code-bf16", "a BF16 NaN is 0x7FFF", "vpu/",
          edit("isa.formats", "(0x7F81, 0x7FFF),         0x7FC0, ",
               "(0x7F81, 0x7FFF),         0x7FFF, ")),
    fault("nan-code-fp16", "an FP16 NaN is 0x7FFF", "vpu/",
          edit("isa.formats", "(0x7C01, 0x7FFF),         0x7E00, ",
               "(0x7C01, 0x7FFF),         0x7FFF, ")),
    fault("nan-code-e5m2", "an E5M2 NaN is 0x7F", "vpu/vcvt vpu/",
          edit("isa.formats", "(0x7D, 0x7F),             0x7E, ",
               "(0x7D, 0x7F),             0x7F, ")),
    fault("nan-code-e4m3fn-signed", "an E4M3FN NaN keeps its sign", "vpu/vcvt vpu/",
          edit("convert", "return np.where(np.isnan(magnitude), nan_code, code)",
               "signed = nan_code + 128 * (negative & (fmt is Format.E4M3FN))\n"
               "    return np.where(np.isnan(magnitude), signed, code)"),
          edit("isa.formats", "bits[(bits & np.uint32(_MAGNITUDE)) > _FP32_INF] = FP32_NAN",
               "nan = (bits & np.uint32(_MAGNITUDE)) > _FP32_INF\n"
               "    bits[nan] = bits[nan] & np.uint32(1 << 31) | np.uint32(FP32_NAN)")),
    fault("nan-fp16-read-as-infinity", "FP16 NaNs are read as infinity", "vpu/",
          edit("isa.formats", "bits[(magnitude >= info.nan_codes[0]) & "
               "(magnitude <= info.nan_codes[1])] = FP32_NAN",
               "bits[(magnitude >= info.nan_codes[0]) & (magnitude <= info.nan_codes[1])] = "
               "_FP32_INF if info.name == 'FP16' else FP32_NAN")),
    fault("vmin-zeros-equal", "vmin of -0 and +0 is the second operand", "vpu/vmin vpu/",
          edit("arith", _MIN_TEST, "a < b")),
    fault("vmin-zeros-first", "vmin of -0 and +0 is the first operand", "vpu/vmin vpu/",
          edit("arith", _MIN_TEST, "a <= b")),
    fault("vmax-zeros-equal", "vmax of -0 and +0 is the second operand", "vpu/vmax vpu/",
          edit("arith", _MAX_TEST, "a > b")),
    fault("vmax-zeros-first", "vmax of -0 and +0 is the first operand", "vpu/vmax vpu/",
          edit("arith", _MAX_TEST, "a >= b")),
    fault("vmin-nan-loses", "vmin of a NaN and a number is the number", "vpu/vmin vpu/",
          edit("vector", _MIN, '_binary("vmin", np.fmin,')),
    fault("vmax-nan-loses", "vmax of a NaN and a number is the number", "vpu/vmax vpu/",
          edit("vector", _MAX, '_binary("vmax", np.fmax,')),
    fault("vmin-nan-second", "vmin of a NaN and a number is the second operand", "vpu/vmin vpu/",
          edit("arith", _MIN_NAN, "smaller")),
    fault("vmax-nan-first", "vmax of a number and a NaN is the first operand", "vpu/vmax vpu/",
          edit("arith", _MAX_NAN, "np.where(np.isnan(a) | np.isnan(b), a, greater)")),
    fault("vcmp-nan-equal", "vcmp: NaNs of one pattern are equal", "vpu/vcmp vpu/",
          edit("vector", _FLOAT_MASK,
               "x, y = np.broadcast_arrays(a.values(), _second_floats(run))\n"
               "        both = np.isnan(x) & np.isnan(y)\n"
               "        x, y = np.where(both, np.float32(0), x), np.where(both, np.float32(0), y)\n"
               "        mask = relation(x, y)")),
    fault("vcmp-ne-false-with-nan", "vcmp.ne is 0 with a NaN", "vpu/vcmp vpu/",
          edit("vector", "1: np.not_equal,", "1: lambda x, y: (x < y) | (x > y),")),
    fault("vcmp-ge-is-not-lt", "vcmp.ge is the opposite of .lt, so true with a NaN",
          "vpu/vcmp vpu/", edit("vector", "5: np.greater_equal,", "5: lambda x, y: ~(x < y),")),
    fault("vcmp-le-is-not-gt", "vcmp.le is the opposite of .gt, so true with a NaN",
          "vpu/vcmp vpu/", edit("vector", "3: np.less_equal,", "3: lambda x, y: ~(x > y),")),
    fault("vcmp-zeros-differ", "vcmp: -0 is below +0", "vpu/vcmp vpu/",
          edit("vector", _FLOAT_MASK,
               "x, y = np.broadcast_arrays(a.values(), _second_floats(run))\n"
               "        zeros = (x == 0) & (y == 0)\n"
               "        x = np.where(zeros, -np.signbit(x).astype(np.float32), x)\n"
               "        y = np.where(zeros, -np.signbit(y).astype(np.float32), y)\n"
               "        mask = relation(x, y)")),
    fault("vcmp-daz", "vcmp reads subnormals as zero", "vpu/vcmp vpu/",
          edit("vector", _FLOAT_MASK,
               "x, y = ((z * (np.abs(z) >= 2.0**-126)) for z in (a.values(), _second_floats(run)))"
               "\n        mask = relation(x, y)")),
    fault("vcmp-gt-ge-swapped", "vcmp.gt holds for equal numbers", "vpu/vcmp vpu/",
          edit("vector", "4: np.greater,", "4: np.greater_equal,")),
    fault("vcmp-le-excludes-equal", "vcmp.le does not hold for equal numbers", "vpu/vcmp vpu/",
          edit("vector", "3: np.less_equal,", "3: np.less,")),
    fault("vcmp-true-is-255", "vcmp writes 255 for true", "vpu/vcmp vpu/",
          edit("vector", "np.asarray(mask).astype(np.uint8)",
               "np.asarray(mask).astype(np.uint8) * np.uint8(255)")),
    fault("vcmp-i32-unsigned", "vcmp of I32 is unsigned", "vpu/vcmp vpu/",
          edit("vector", _INTEGER_MASK,
               "mask = relation(a.integers() % 2**32, _second_integers(run) % 2**32)")),
    fault("vcmp-i32-in-fp32", "vcmp of I32 goes by way of FP32", "vpu/vcmp vpu/",
          edit("vector", _INTEGER_MASK,
               "mask = relation(a.integers().astype('f4'), _second_integers(run).astype('f4'))")),
    fault("vcopy-makes-canonical", "vcopy makes NaNs canonical", "vpu/vcopy vpu/",
          edit("vector", f'run["dst"].store({_CODES})', f'run["dst"].store(quiet({_CODES}))'),
          add("vector", _QUIET)),
    fault("vtrans-makes-canonical", "vtrans makes NaNs canonical", "vpu/vtrans vpu/",
          edit("vector", f"{_CODES}.T", f"quiet({_CODES}.T)"), add("vector", _QUIET)),
    fault("vsel-makes-canonical", "vsel makes NaNs canonical", "vpu/vsel vpu/",
          edit("vector", 'run["dst"].store(chosen)', 'run["dst"].store(quiet(chosen))'),
          add("vector", _QUIET)),
    fault("vsel-daz", "vsel makes subnormals zero", "vpu/vsel vpu/",
          edit("vector", 'run["dst"].store(chosen)', 'run["dst"].store(flushed(chosen))'),
          add("vector", _DAZ_CODES)),
    fault("vtopk-makes-canonical", "the values of vtopk are made canonical", "vpu/vtopk vpu/",
          edit("vector_rows", 'codes, shape = run["src"].codes(),',
               'codes, shape = run["src"].values().view(np.uint32),')),
    fault("spill-makes-canonical", "readout to FP32 without factors makes NaNs canonical",
          "mxu/readout mxu/",
          edit("mxu", "if row is None and col is None and dst.format is Format.FP32:",
               "if False:")),
    fault("seed-makes-canonical", "seed makes NaNs canonical", "mxu/seed mxu/",
          edit("mxu", 'run["acc"].store(run["src"].codes())',
               'run["acc"].store(run["src"].values().view(np.uint32))')),
    fault("seed-loses-minus-zero", "seed makes -0 into +0", "mxu/seed mxu/",
          edit("mxu", 'run["acc"].store(run["src"].codes())',
               'codes = run["src"].codes()\n'
               '    run["acc"].store(np.where(codes == 1 << 31, np.uint32(0), codes))')),
    fault("dma-makes-canonical", "dma makes FP32 NaNs canonical", "dma/dma dma/",
          edit("dma", 'run["dst"].store(run["src"].codes())',
               'codes = run["src"].codes()\n'
               '    if run["src"].format is Format.FP32:\n'
               '        codes = run["src"].values().view(np.uint32)\n'
               '    run["dst"].store(codes)')),
    fault("dmag-makes-canonical", "dmag makes FP32 NaNs canonical", "dma/dmag dma/",
          edit("dma", "src.codes()[indices]",
               "(src.values().view(np.uint32) if src.format is Format.FP32 else "
               "src.codes())[indices]")),
)  # fmt: skip
