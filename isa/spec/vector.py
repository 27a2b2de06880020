"""The vector unit and its quantise unit."""

from isa.spec.model import Flag, Instruction, Unit, b32, d, d_or_num, num

_TENSOR_FAULTS = (
    "out_of_bounds",
    "misaligned",
    "format_mismatch",
    "shape_mismatch",
    "bad_space",
    "bad_descriptor",
)
_SCALAR = Flag("scalar", 0, 1, {}, "operand b is a number, not a tensor (set by writing `#`)")
_SAT = Flag("sat", 1, 1, {"": 0, "nosat": 1}, "overflow of 8-bit formats")
_FLOOR = Flag("scale_mode", 1, 1, {"": 0, "floor": 1}, "FLOOR instead of ROUND_UP scales")


def _binary(opcode: int, mnemonic: str, meaning: str) -> Instruction:
    return Instruction(
        mnemonic,
        opcode,
        Unit.VPU,
        f"Elementwise {mnemonic[1:]}.",
        (d(0, "dst", "result"), d(1, "a", "tensor"), d_or_num(2, "b", "tensor or number")),
        (_SCALAR,),
        meaning,
        _TENSOR_FAULTS,
        "vector2",
        notes="Shapes are equal (broadcast by stride 0). Floating: each of FP32, BF16, FP16; the "
        "operation is done in FP32, then one RNE to dst's format. I32: all operands I32 (vadd, "
        "vsub, vmul, vmin, vmax), wrapping. A number is an FP32 pattern, or I32 for I32 tensors.",
    )


def _unary(opcode: int, mnemonic: str, meaning: str, timing: str) -> Instruction:
    return Instruction(
        mnemonic,
        opcode,
        Unit.VPU,
        f"Elementwise {mnemonic[1:]}.",
        (d(0, "dst", "result"), d(1, "a", "tensor")),
        (),
        meaning,
        _TENSOR_FAULTS,
        timing,
        notes="FP32, BF16 or FP16 in and out; done in FP32, then one RNE to dst's format.",
    )


def _reduction(opcode: int, mnemonic: str, meaning: str) -> Instruction:
    return Instruction(
        mnemonic,
        opcode,
        Unit.VPU,
        f"Row {mnemonic[2:]}.",
        (
            d(0, "dst", "[M, 1]; FP32, BF16 or FP16"),
            d(1, "src", "[M, N]; FP32, BF16 or FP16"),
            d(2, "bounds", "I32 [M, 2]: each row's absolute [begin, end)", True),
            b32("k0", "absolute index of column 0, for bounds", True),
        ),
        (),
        "lo, hi = clip(bounds[m] - k0, 0, N)  (0, N without bounds); over src[m, lo:hi]:\n"
        "lane j of 32 takes indices i with i mod 32 == j, ascending, from its first element;\n"
        "then lane i with i+16, i+8, i+4, i+2, i+1; lanes without elements take no part\n"
        + meaning,
        _TENSOR_FAULTS,
        "reduce",
        notes="The index i counts from src's column 0, not from lo. Rank 2.",
    )


INSTRUCTIONS = (
    _binary(0x40, "vadd", "dst = RNE(a + b)"),
    _binary(0x41, "vsub", "dst = RNE(a - b)"),
    _binary(0x42, "vmul", "dst = RNE(a * b)"),
    _binary(0x43, "vdiv", "dst = RNE(a / b)   (true division; no I32)"),
    _binary(0x44, "vmin", "dst = minimum(a, b)   (IEEE 754-2019: -0 < +0, NaN propagates)"),
    _binary(0x45, "vmax", "dst = maximum(a, b)"),
    Instruction(
        "vmuladd2",
        0x46,
        Unit.VPU,
        "Sum of two products, each rounded: RoPE and the attention fold.",
        (
            d(0, "dst", "result"),
            d(1, "a", "tensor"),
            d(2, "b", "tensor"),
            d(3, "c", "tensor"),
            d(4, "e", "tensor"),
        ),
        (),
        "dst = RNE(RNE(a * b) + RNE(c * e))",
        _TENSOR_FAULTS,
        "vector4",
        notes="FP32, BF16 or FP16; shapes equal; one RNE to dst's format at the end.",
    ),
    _unary(0x48, "vsqrt", "dst = RNE(sqrt(a))", "vector_slow"),
    _unary(0x49, "vrcp", "dst = RNE(1 / a)", "vector_slow"),
    _unary(0x4A, "vrsqrt", "dst = RNE(1 / RNE(sqrt(a)))", "vector_slow"),
    _unary(
        0x4B,
        "vexp2",
        "NaN -> canonical NaN; x = clamp(a, -160, 129); n = RNE(RNE(x + 12582912) - 12582912);\n"
        "f = RNE(x - n); p = c6; for i = 5..0: p = RNE(RNE(p * f) + c_i);\n"
        "dst = RNE(RNE(p * 2^(n >> 1)) * 2^(n - (n >> 1))), c0..c6 = 3f800000 3f317218 3e75fdf0\n"
        "3d635766 3c1d950e 3aafa460 39222000",
        "vector_slow",
    ),
    Instruction(
        "vcvt",
        0x4C,
        Unit.VPU,
        "Convert between formats.",
        (d(0, "dst", "result"), d(1, "a", "tensor")),
        (_SAT,),
        "dst = RNE to dst's format, saturating (E4M3FN, E5M2, E2M1) unless .nosat; float to I32:\n"
        "RNE, saturating, NaN -> 0; I32 or U8 to float: RNE of the integer",
        _TENSOR_FAULTS,
        "vector1",
        notes="From FP32, BF16, FP16, E4M3FN, E5M2, E2M1, E8M0, I32, U8 to FP32, BF16, FP16, "
        "E4M3FN, E5M2, E2M1, I32, by way of FP32. E2M1 with .nosat is a "
        "format_mismatch. E2M1 of NaN is +6 and sets the sticky status bit.",
    ),
    Instruction(
        "vcmp",
        0x4D,
        Unit.VPU,
        "Compare, giving a mask.",
        (d(0, "dst", "U8: 1 or 0"), d(1, "a", "tensor"), d_or_num(2, "b", "tensor or number")),
        (
            _SCALAR,
            Flag(
                "relation", 1, 3, {"eq": 0, "ne": 1, "lt": 2, "le": 3, "gt": 4, "ge": 5}, "relation"
            ),
        ),
        "dst = 1 if a relation b else 0   (with a NaN: only ne holds; -0 == +0)",
        _TENSOR_FAULTS,
        "vector2",
        notes="Both FP32, BF16 or FP16, or both I32. A number is an FP32 or I32 pattern.",
    ),
    Instruction(
        "vsel",
        0x4E,
        Unit.VPU,
        "Select by a mask; copies bits.",
        (
            d(0, "dst", "result"),
            d(1, "mask", "U8"),
            d(2, "a", "where the mask is not 0; dst's format"),
            d(3, "b", "where the mask is 0; dst's format"),
        ),
        (),
        "dst = a if mask else b",
        _TENSOR_FAULTS,
        "vector2",
        notes="FP32, BF16, FP16, I32, U8.",
    ),
    Instruction(
        "viota",
        0x4F,
        Unit.VPU,
        "Count along the last axis.",
        (d(0, "dst", "I32"), b32("start", "first value: rb + immediate")),
        (),
        "dst[..., j] = start + j",
        _TENSOR_FAULTS,
        "vector1",
        notes="The low 32 bits of start count; the sum wraps.",
    ),
    Instruction(
        "vscan",
        0x50,
        Unit.VPU,
        "Prefix sum along the last axis, one after the other.",
        (d(0, "dst", "FP32"), d(1, "a", "FP32, dst's shape")),
        (),
        "dst[..., 0] = a[..., 0]; dst[..., j] = RNE(dst[..., j-1] + a[..., j])",
        _TENSOR_FAULTS,
        "scan",
    ),
    Instruction(
        "vtrans",
        0x51,
        Unit.VPU,
        "Transpose; copies bits.",
        (d(0, "dst", "[N, M]"), d(1, "a", "[M, N], dst's format")),
        (),
        "dst[n, m] = a[m, n]",
        _TENSOR_FAULTS,
        "vector1",
        notes="FP32, BF16, FP16, E4M3FN, E5M2, E8M0, I32, U8; rank 2.",
    ),
    Instruction(
        "vcopy",
        0x52,
        Unit.VPU,
        "Copy; bits.",
        (d(0, "dst", "result"), d(1, "a", "dst's shape and format")),
        (),
        "dst = a",
        _TENSOR_FAULTS,
        "vector1",
        notes="FP32, BF16, FP16, E4M3FN, E5M2, E8M0, I32, U8.",
    ),
    _reduction(0x58, "vrsum", "dst[m,0] = sum (FP32, one RNE to dst); empty: +0"),
    _reduction(0x59, "vrmax", "dst[m,0] = maximum; empty: -Inf"),
    _reduction(0x5A, "vrmin", "dst[m,0] = minimum; empty: +Inf"),
    Instruction(
        "vargmax",
        0x5B,
        Unit.VPU,
        "Index of each row's largest element.",
        (
            d(0, "dst", "I32 [M, 1]"),
            d(1, "src", "FP32, BF16 or FP16 [M, N], N >= 1"),
            b32("offset", "added to the index", True),
        ),
        (),
        "order NaN > +Inf > ... > +0 > -0 > ... > -Inf; ties to the lowest index\n"
        "dst[m,0] = index + offset",
        _TENSOR_FAULTS,
        "reduce",
    ),
    Instruction(
        "vtopk",
        0x5C,
        Unit.VPU,
        "Each row's k largest elements in order, and their indices.",
        (
            d(0, "values", "FP32 [M, k]"),
            d(1, "indices", "I32 [M, k]"),
            d(2, "src", "FP32 [M, N], N >= k"),
            b32("offset", "added to the indices", True),
        ),
        (),
        "as vargmax, k times, each time without the elements already taken; values copy bits",
        _TENSOR_FAULTS,
        "topk",
        notes="With k = 0 nothing is written; mind that a dense descriptor of [M, 0] has a "
        "stride 0, which a destination may not have if M is above 1.",
    ),
    Instruction(
        "vexp2sum",
        0x5D,
        Unit.VPU,
        "Exp2 of each row less a number, and its sum: the softmax numerator.",
        (
            d(0, "dst", "[M, N]; FP32, BF16 or FP16"),
            d(1, "total", "[M, 1]; FP32, BF16 or FP16"),
            d(2, "a", "[M, N]; FP32, BF16 or FP16"),
            d(3, "b", "[M, 1]; FP32, BF16 or FP16: subtracted from each row"),
            d(4, "bounds", "I32 [M, 2]: each row's absolute [begin, end), for total", True),
            b32("k0", "absolute index of column 0, for bounds", True),
        ),
        (),
        "x[m, n] = EXP2(RNE(a[m, n] - b[m, 0])) in FP32, for every n, whatever the bounds\n"
        "dst[m, n] = RNE(x[m, n]) in dst's format\n"
        "total[m, 0] = the sum that vrsum forms of the FP32 x[m, :] with bounds and k0; one RNE\n"
        "to total's format; EXP2 as vexp2",
        _TENSOR_FAULTS,
        "reduce_slow",
        since="1.1",
        notes="The bits of vsub and vexp2 to FP32, then of vrsum, and of vcvt to dst. Rank 2. "
        "A row without elements within its bounds has the total +0.",
    ),
    Instruction(
        "vquant",
        0x60,
        Unit.VPU,
        "Quantise to a block format.",
        (
            d(0, "dst", "[M, K] with scale MX32 (E4M3FN, E5M2, E2M1) or NV16 (E2M1)"),
            d(1, "src", "FP32, BF16 or FP16 [M, K]"),
            num("ts", "NV16: the tensor scale, FP32; 1 if absent or of pattern 0", True),
        ),
        (_FLOOR,),
        "numerics section 4, blocks of 32 or 16 along K from k = 0\n"
        "NV16 uses RNE(1 / ts); .floor with NV16 is a format_mismatch",
        _TENSOR_FAULTS,
        "quantise",
        notes="Section 4 is the part of the numerics page on the quantise unit.",
    ),
    Instruction(
        "vquantr",
        0x61,
        Unit.VPU,
        "Quantise rows to FP8 with one power-of-two scale each.",
        (
            d(0, "dst", "E4M3FN or E5M2 [M, K], no scale"),
            d(1, "scale", "E8M0 [M, 1]"),
            d(2, "src", "FP32, BF16 or FP16 [M, K]"),
        ),
        (_FLOOR,),
        "the MX rule with the whole row as one block",
        _TENSOR_FAULTS,
        "quantise",
        notes="A row without elements has the scale code 0.",
    ),
)
