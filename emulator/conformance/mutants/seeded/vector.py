"""Faults of the vector unit's elementwise instructions."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import Mutant, add, edit, fault
from emulator.conformance.mutants.seeded.helpers import FLUSH, ROUNDINGS

_SUM: Final = '_binary("vadd", arith.add,'
_DIFFERENCE: Final = '_binary("vsub", arith.sub,'
_PRODUCT: Final = '_binary("vmul", arith.mul,'
_QUOTIENT: Final = '_binary("vdiv", arith.div,'
_SQUARE_ROOT: Final = '_unary("vsqrt", arith.sqrt)'
_RECIPROCAL: Final = '_unary("vrcp", arith.rcp)'
_RSQRT: Final = '_unary("vrsqrt", arith.rsqrt)'
_EXP2: Final = '_unary("vexp2", arith.exp2)'
_TWO: Final = "arith.add(arith.mul(a, b), arith.mul(c, e))"


def _other(name: str, what: str, place: str, function: str, *more: str) -> Mutant:
    """An instruction registered with another function."""
    mnemonic = place.split('"')[1]
    old = place.split(", ")[1].rstrip(",)")
    helpers = [add("arith", text) for text in (FLUSH, ROUNDINGS, *more)]
    changed = place.replace(old, function)
    return fault(name, what, f"vpu/{mnemonic} vpu/", edit("vector", place, changed), *helpers)


_NEWTON: Final = """
def newton_rcp(x):
    with np.errstate(all="ignore"):
        x = np.asarray(x, dtype=np.float32)
        usual = (np.abs(x) > np.float32(2.0**-100)) & (np.abs(x) < np.float32(2.0**100))
        safe = np.where(usual, x, np.float32(1))
        y = np.where(safe < 0, -1, 1) * (np.uint32(0x7EF311C7) - bits_of(np.abs(safe))).view("f4")
        y = y.astype(np.float32)
        for _ in range(4):
            y = (y * (np.float32(2) - safe * y)).astype(np.float32)
        return np.where(usual, y, rcp(x))
"""
_SINGLE_RSQRT: Final = """
def single_rsqrt(x):
    with np.errstate(all="ignore"):
        return (1 / np.sqrt(np.asarray(x, dtype=np.float64))).astype(np.float32)
"""
_RSQRT_SQRT: Final = """
def rsqrt_sqrt(x):
    usual = np.isfinite(x) & (x > 0)
    safe = np.where(usual, x, np.float32(1))
    return np.where(usual, mul(safe, rsqrt(safe)), sqrt(x))
"""
_QUICK_DIV: Final = """
def quick_div(a, b):
    quick = mul(a, rcp(b))
    usual = np.isfinite(quick) & (quick != 0) & (np.abs(b) < np.float32(2.0**100))
    return np.where(usual, quick, div(a, b))
"""
_FUSED: Final = """
def fused2(a, b, c, e):
    return fma32(a, b, mul(c, e))


def fused_first(a, b, c, e):
    return fma32(c, e, mul(a, b))


def unrounded2(a, b, c, e):
    return towards_nearest(exact_product(a, b), exact_product(c, e))


def towards_nearest(p, q):
    with np.errstate(all="ignore"):
        return _to_odd(*_two_sum(p, q)).astype(np.float32)
"""


def _muladd2(name: str, what: str, function: str) -> Mutant:
    return fault(name, what, "vpu/vmuladd2 vpu/",
                 edit("vector", _TWO, function),
                 add("arith", FLUSH), add("arith", ROUNDINGS), add("arith", _FUSED))  # fmt: skip


_HORNER: Final = "p = add(mul(p, fraction), coefficients[i])"
_SCALED: Final = "result = mul(mul(p, power_of_two(half)), power_of_two(whole - half))"
_N: Final = "n = sub(add(clamped, _ROUNDER), _ROUNDER)"


def _exp2(name: str, what: str, old: str, new: str) -> Mutant:
    return fault(name, what, "vpu/vexp2 vpu/",
                 edit("arith", old, new), add("arith", FLUSH), add("arith", ROUNDINGS))  # fmt: skip


def _integers(name: str, what: str, mnemonic: str, old: str, new: str) -> Mutant:
    function = "arith." + {"vmin": "minimum", "vmax": "maximum"}.get(mnemonic, mnemonic[1:])
    place = f'_binary("{mnemonic}", {function}, '
    changed = edit("vector", f"{place}{old})", f"{place}{new})")
    return fault(name, what, f"vpu/{mnemonic} vpu/", changed)


FAULTS: Final = (
    _other("vadd-rtz", "vadd rounds towards zero", _SUM,
           "lambda a, b: arith.towards_zero(arith.exact_sum(a, b))"),
    _other("vadd-half-away", "vadd rounds ties away from zero", _SUM,
           "lambda a, b: arith.away_on_ties(arith.exact_sum(a, b))"),
    _other("vadd-daz", "vadd reads subnormals as zero", _SUM,
           "lambda a, b: arith.add(arith.flush(a), arith.flush(b))"),
    _other("vadd-ftz", "vadd's subnormal sums become zero", _SUM,
           "lambda a, b: arith.flush(arith.add(a, b))"),
    _other("vsub-reversed", "vsub subtracts the first operand", _DIFFERENCE,
           "lambda a, b: arith.sub(b, a)"),
    _other("vsub-zero-sign", "vsub: x - x is -0", _DIFFERENCE,
           "lambda a, b: arith.neg(arith.add(arith.neg(a), b))"),
    _other("vsub-daz", "vsub reads subnormals as zero", _DIFFERENCE,
           "lambda a, b: arith.sub(arith.flush(a), arith.flush(b))"),
    _other("vmul-rtz", "vmul rounds towards zero", _PRODUCT,
           "lambda a, b: arith.towards_zero(arith.exact_product(a, b))"),
    _other("vmul-half-away", "vmul rounds ties away from zero", _PRODUCT,
           "lambda a, b: arith.away_on_ties(arith.exact_product(a, b))"),
    _other("vmul-ftz", "vmul's subnormal products become zero", _PRODUCT,
           "lambda a, b: arith.flush(arith.mul(a, b))"),
    _other("vmul-zero-absorbs", "vmul: zero times infinity or NaN is zero", _PRODUCT,
           "lambda a, b: np.where((a == 0) | (b == 0), np.float32(0) * np.sign(a) * np.sign(b), "
           "arith.mul(a, b))"),
    _other("vdiv-by-reciprocal", "vdiv multiplies by the rounded reciprocal", _QUOTIENT,
           "lambda a, b: arith.quick_div(a, b)", _QUICK_DIV),
    _other("vdiv-ftz", "vdiv's subnormal quotients become zero", _QUOTIENT,
           "lambda a, b: arith.flush(arith.div(a, b))"),
    _other("vdiv-by-zero-is-largest", "vdiv by zero gives the largest number", _QUOTIENT,
           "lambda a, b: np.where((b == 0) & (a != 0) & np.isfinite(a), "
           "np.copysign(np.float32(3.4028235e38), arith.div(a, b)), arith.div(a, b))"),
    _other("vsqrt-daz", "vsqrt reads subnormals as zero", _SQUARE_ROOT,
           "lambda x: arith.sqrt(arith.flush(x))"),
    _other("vsqrt-by-rsqrt", "vsqrt is x times the reciprocal square root", _SQUARE_ROOT,
           "lambda x: arith.rsqrt_sqrt(x)", _RSQRT_SQRT),
    _other("vsqrt-of-minus-zero", "vsqrt of -0 is +0", _SQUARE_ROOT,
           "lambda x: arith.absolute(arith.sqrt(x))"),
    _other("vsqrt-of-magnitude", "vsqrt ignores the sign", _SQUARE_ROOT,
           "lambda x: arith.sqrt(arith.absolute(x))"),
    _other("vrcp-newton", "vrcp is four Newton steps from a table, off by one place", _RECIPROCAL,
           "lambda x: arith.newton_rcp(x)", _NEWTON),
    _other("vrcp-ftz", "vrcp's subnormal results become zero", _RECIPROCAL,
           "lambda x: arith.flush(arith.rcp(x))"),
    _other("vrcp-daz", "vrcp reads subnormals as zero", _RECIPROCAL,
           "lambda x: arith.rcp(arith.flush(x))"),
    _other("vrcp-zero-sign", "vrcp of -0 is +Inf", _RECIPROCAL,
           "lambda x: np.where(x == 0, np.float32(np.inf), arith.rcp(x))"),
    _other("vrsqrt-one-rounding", "vrsqrt is rounded once", _RSQRT,
           "lambda x: arith.single_rsqrt(x)", _SINGLE_RSQRT),
    _other("vrsqrt-of-minus-zero", "vrsqrt of -0 is +Inf", _RSQRT,
           "lambda x: np.where(x == 0, np.float32(np.inf), arith.rsqrt(x))"),
    _other("vrsqrt-daz", "vrsqrt reads subnormals as zero", _RSQRT,
           "lambda x: arith.rsqrt(arith.flush(x))"),
    _muladd2("vmuladd2-fused", "vmuladd2 fuses its first product", "arith.fused2(a, b, c, e)"),
    _muladd2("vmuladd2-fused-second", "vmuladd2 fuses its second product",
             "arith.fused_first(a, b, c, e)"),
    _muladd2("vmuladd2-unrounded", "vmuladd2 rounds neither product",
             "arith.unrounded2(a, b, c, e)"),
    _muladd2("vmuladd2-subtracts", "vmuladd2 subtracts its second product",
             "arith.sub(arith.mul(a, b), arith.mul(c, e))"),
    _muladd2("vmuladd2-crossed", "vmuladd2 multiplies a with c and b with e",
             "arith.add(arith.mul(a, c), arith.mul(b, e))"),
    _exp2("exp2-fused-horner", "EXP2's Horner steps are fused", _HORNER,
          "p = fma32(p, fraction, coefficients[i])"),
    _exp2("exp2-coefficient-c6", "EXP2's c6 is off by one place", "0x39222000,", "0x39222001,"),
    _exp2("exp2-coefficient-taylor", "EXP2's c6 is that of the series", "0x39222000,",
          "0x39218489,"),
    _exp2("exp2-coefficient-c5", "EXP2's c5 is off by one place", "0x3AAFA460,", "0x3AAFA45F,"),
    _exp2("exp2-coefficient-c1", "EXP2's c1 is off by one place", "0x3F317218,", "0x3F317217,"),
    _exp2("exp2-coefficient-c3", "EXP2's c3 is off by one place", "0x3D635766,", "0x3D635767,"),
    _exp2("exp2-degree-5", "EXP2 leaves out its last coefficient", "p = coefficients[6]",
          "p = f32(0)"),
    _exp2("exp2-not-clamped", "EXP2 does not clamp its argument below",
          "clamped = np.where(clamped < _EXP2_LOW, _EXP2_LOW, clamped)",
          "wrapped = np.maximum(clamped % 256 - 128, -126)\n"
          "    clamped = np.where(clamped < _EXP2_LOW, wrapped, clamped)"),
    _exp2("exp2-clamped-early", "EXP2 clamps its argument at -149", "f32(-160)", "f32(-149)"),
    _exp2("exp2-clamped-to-normal", "EXP2 clamps its argument at -126", "f32(-160)", "f32(-126)"),
    _exp2("exp2-floor", "EXP2 splits its argument by rounding down", _N, "n = np.floor(clamped)"),
    _exp2("exp2-half-away", "EXP2 splits ties away from zero", _N,
          "n = np.trunc(clamped + np.copysign(np.float32(0.5), clamped)).astype(np.float32)"),
    _exp2("exp2-ftz", "EXP2's subnormal results become zero", _SCALED,
          f"{_SCALED}\n    result = flush(result)"),
    _exp2("exp2-scaled-towards-zero", "EXP2 scales into the subnormals by cutting bits off",
          _SCALED, "result = towards_zero(p.astype(np.float64) * np.ldexp(1.0, whole))"),
    _exp2("exp2-of-nan", "EXP2 of a NaN is 1", "np.where(np.isnan(x), x, result)", "result"),
    _exp2("exp2-overflow-to-largest", "EXP2 overflows to the largest number", _SCALED,
          f"{_SCALED}\n    result = np.minimum(result, np.float32(3.4028235e38))"),
    _integers("vadd-i32-saturates", "vadd of I32 saturates", "vadd", "lambda a, b: a + b",
              "lambda a, b: np.clip(a + b, -(2**31), 2**31 - 1)"),
    _integers("vsub-i32-saturates", "vsub of I32 saturates", "vsub", "lambda a, b: a - b",
              "lambda a, b: np.clip(a - b, -(2**31), 2**31 - 1)"),
    _integers("vmul-i32-saturates", "vmul of I32 saturates", "vmul", "lambda a, b: a * b",
              "lambda a, b: np.clip(a * b, -(2**31), 2**31 - 1)"),
    _integers("vmul-i32-in-fp32", "vmul of I32 goes by way of FP32", "vmul", "lambda a, b: a * b",
              "lambda a, b: (a.astype('f4') * b.astype('f4')).astype(np.float64).astype(np.int64)"),
    _integers("vmin-i32-unsigned", "vmin of I32 is unsigned", "vmin",
              "lambda a, b: np.minimum(a, b)",
              "lambda a, b: np.where(a % 2**32 < b % 2**32, a, b)"),
    _integers("vmax-i32-unsigned", "vmax of I32 is unsigned", "vmax",
              "lambda a, b: np.maximum(a, b)",
              "lambda a, b: np.where(a % 2**32 > b % 2**32, a, b)"),
    fault("number-rounded-to-format", "a number operand is rounded to the first operand's format",
          "vpu/vadd vpu/vmul vpu/",
          edit("vector", "return arith.from_bits(run.op.pattern()) if b is None",
               "kind = run['a'].format\n"
               "    number = arith.from_bits(run.op.pattern())\n"
               "    if b is None and kind is Format.BF16:\n"
               "        number = arith.from_bits(arith.bits_of(number) & np.uint32(0xFFFF0000))\n"
               "    return number if b is None")),
    fault("number-register-ignored", "a number operand is its immediate alone", "vpu/",
          edit("state", "b=wrap(base + sum(immediates)),",
               "b=wrap((0 if decoded.is_number else base) + sum(immediates)),")),
    fault("i32-operation-in-fp32", "I32 vadd goes by way of FP32", "vpu/vadd vpu/",
          edit("vector", '_binary("vadd", arith.add, lambda a, b: a + b)',
               '_binary("vadd", arith.add, lambda a, b: (a + b).astype("f4").astype(np.int64))')),
    fault("bf16-product-double-rounded", "BF16 results go by way of FP16's precision",
          "vpu/vmul/ vpu/",
          edit("vector", "dst.store_values(floating(a.values(), _second_floats(run)))",
               "result = floating(a.values(), _second_floats(run))\n"
               "            if dst.format is Format.BF16:\n"
               "                fine = arith.bits_of(result) & np.uint32(0x1FFF)\n"
               "                up = (fine > 0x1000).astype(np.uint32) * np.uint32(0x2000)\n"
               "                kept = arith.bits_of(result) - fine + up\n"
               "                result = np.where(np.isfinite(result), arith.from_bits(kept), "
               "result)\n"
               "            dst.store_values(result)")),
    fault("viota-off-by-one", "viota starts at its start plus 1", "vpu/viota vpu/",
          edit("vector", "row = np.arange(last, dtype=np.int64) +",
               "row = np.arange(1, last + 1, dtype=np.int64) +")),
    fault("viota-across-rows", "viota goes on counting in the next row", "vpu/viota vpu/",
          edit("vector", "np.broadcast_to(row if dst.shape else row[0], dst.shape)",
               "(np.arange(dst.count).reshape(dst.shape) + wrap(run.op.b, 32))")),
    fault("viota-saturates", "viota saturates", "vpu/viota vpu/",
          edit("vector", "np.broadcast_to(row if dst.shape",
               "np.broadcast_to(np.minimum(row, 2**31 - 1) if dst.shape")),
    fault("vscan-starts-with-zero", "vscan adds its first element to +0", "vpu/vscan vpu/",
          edit("reduce", "out = canonical(x)", "out = canonical(x + np.float32(0))")),
    fault("vscan-exclusive", "vscan's first result is 0", "vpu/vscan vpu/",
          edit("vector", "prefix_sum(rows).reshape(values.shape)",
               "(prefix_sum(rows) - rows).reshape(values.shape)")),
    fault("vscan-pairs", "vscan adds the sum of two elements at a time", "vpu/vscan vpu/",
          edit("reduce", "out[:, i] = add(out[:, i - 1], x[:, i])",
               "pair = i >= 2 and i % 2 == 0\n"
               "        out[:, i] = (add(out[:, i - 2], add(x[:, i - 1], x[:, i])) if pair\n"
               "                     else add(out[:, i - 1], x[:, i]))")),
    fault("vscan-across-rows", "vscan goes on in the next row", "vpu/vscan vpu/",
          edit("vector", "values.reshape(-1, values.shape[-1])\n", "values.reshape(1, -1)\n")),
    fault("vtrans-copies", "vtrans copies the elements in their order", "vpu/vtrans vpu/",
          edit("vector", 'run["a"].codes().T', 'run["a"].codes().reshape(run["dst"].shape)')),
    fault("vsel-inverted", "vsel takes a where the mask is 0", "vpu/vsel vpu/",
          edit("vector", 'run["mask"].codes() != 0', 'run["mask"].codes() == 0')),
    fault("vsel-lowest-bit", "vsel looks at the mask's lowest bit", "vpu/vsel vpu/",
          edit("vector", 'run["mask"].codes() != 0', 'run["mask"].codes() & 1 != 0')),
    fault("vsel-highest-bit", "vsel looks at the mask's highest bit", "vpu/vsel vpu/",
          edit("vector", 'run["mask"].codes() != 0', 'run["mask"].codes() >> 7 != 0')),
)  # fmt: skip
