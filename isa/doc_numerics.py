"""The arithmetic contract as a page of the reference document: how every result bit is made.

The text is normative. Numbers that the format table holds are taken from it.
"""

from isa.blockscale import BLOCK, E8M0_NAN, NV16_NAN
from isa.doc_markdown import inline, page, table
from isa.formats import FORMATS, Format, ScaleKind

CONTRACT_VERSION = (1, 0)

#: c0..c6 of EXP2, as FP32 patterns.
EXP2 = (0x3F800000, 0x3F317218, 0x3E75FDF0, 0x3D635766, 0x3C1D950E, 0x3AAFA460, 0x39222000)

LOG2_E = 0x3FB8AA3B
ATTENTION_BLOCK = 128

_MX, _NV = BLOCK[ScaleKind.MX32], BLOCK[ScaleKind.NV16]
_BLOCK_FORMATS = (Format.E4M3FN, Format.E5M2, Format.E2M1)

_TERMS = """\
**Terms.** RNE(x) is the exact value x rounded once to FP32, to nearest, ties to even.
FP32 is IEEE 754 binary32 with subnormals, as operands and as results; nothing is flushed to zero.
Signed zeros, infinities and NaNs behave as in IEEE 754 wherever this page does not say otherwise;
in particular x + (-x) is +0. Elements of other floating formats are read as the FP32 value they
stand for, exactly."""

_NAN = """\
**NaN.** There is one NaN. Whatever arithmetic or a conversion writes as NaN is the
canonical NaN of the destination's format ([formats](formats.md#special-codes)), whatever the
operands' NaNs were. Instructions that move (`dma`, `dmag`, `dmas`, `seed`, `vcopy`, `vtrans`,
`vsel`, the values of `vtopk`, and a `readout` to FP32 without factors) copy bits, NaNs included."""

_INVISIBLE = """\
**What can change a bit.** The program: its instructions, formats, shapes and
order. Not the size or split of the array, the width of the vector unit, the number of tiles or
threads, the timing, nor what else is in a batch. There is no stochastic rounding and no other
rounding mode."""

_MATRIX = f"""\
`gemm` forms, for every m and n, one chain over K:

1. K is cut into blocks of {_MX} from k = 0, or of {_NV} if either operand's scales are NV16. The
   last block may be short. Where blocks have {_NV} elements, a scale that covers {_MX} serves two.
2. Within a block, s starts as +0. For k ascending, s = RNE(s + a[k] * w[k]): the product is exact,
   the addition is the only rounding. (Products of 8-bit and 4-bit formats are FP32 values; those of
   BF16 can lie outside FP32's range, and there the step is a fused multiply-add.)
3. t = RNE(s * scale_a * scale_w), the exact product of all three rounded once; a scale that is not
   there is 1. No intermediate product overflows or underflows: 0 times two large scales is 0.
4. acc = RNE(acc + t), blocks ascending, over the whole of K, beginning with +0, or with `.acc` with
   the accumulator's old value.

The scales of operands are read as E8M0 (MX32), or as E4M3FN without its sign bit (NV16). An E8M0
code 0x{E8M0_NAN:X} is NaN, as are E4M3FN codes 0x7F and 0xFF, and make t a NaN. An infinite s times
a zero scale is NaN.

**Bounds.** With `bounds`, row m executes only the products whose absolute index k0 + k lies in
[bounds[m, 0], bounds[m, 1]). Others are not executed: their operands have no influence, be they
NaN, and +0 is not added for them. Blocks stay where they are, at multiples of the block length from
k = 0 of this instruction. A block of which a row executes no product leaves that row's accumulator
alone (steps 2 to 4 do not happen), so a row with an empty range keeps its starting value. A K of 0
is such a case for every row.

**Chunks.** Cutting K at multiples of the block length into several `gemm.acc`, each with its own
`k0`, changes no bit. Cutting it elsewhere does.

**Read-out.** `readout` computes y = acc, then y = RNE(y * row[m]) if there is a row factor, then
y = RNE(y * col[n]) if there is a column factor, then converts y once to the destination's format
([conversion](formats.md#conversion)). An E8M0 factor is a power of two, its code 0x{E8M0_NAN:X}
a NaN."""

_ELEMENTWISE = """\
Elementwise instructions compute in FP32 and convert once to the destination's
format; BF16 and FP16 sources are widened exactly. So a BF16 operation is the FP32 operation
followed by one rounding to BF16. There is no fused multiply-add in this unit: every operation
named below is rounded by itself. A number operand is an FP32 pattern.

| Instruction | Result |
|---|---|
| `vadd`, `vsub`, `vmul`, `vdiv`, `vsqrt` | RNE of the exact result |
| `vrcp` | RNE(1 / x) |
| `vrsqrt` | RNE(1 / RNE(sqrt(x))) |
| `vmuladd2` | RNE(RNE(a * b) + RNE(c * e)) |
| `vmin`, `vmax` | minimum, maximum of IEEE 754-2019: -0 is below +0, a NaN operand makes NaN |
| `vcmp` | FP32 comparison: -0 equals +0; with a NaN only `ne` holds |

**Integers.** On I32 tensors `vadd`, `vsub`, `vmul`, `vmin` and `vmax` are two's complement and
wrap; `viota` and the offsets of `vargmax` and `vtopk` wrap as well.

**Conversion** (`vcvt`) goes by way of FP32: the source is read exactly, or, from I32, rounded to
FP32; then it is converted once ([conversion](formats.md#conversion)). To I32: to nearest, ties to
even, saturating, NaN gives 0.

**Prefix sum** (`vscan`): the first result is the first element (a NaN becomes canonical), and each
next one is RNE(result before + element), one after the other."""

_EXP2_TEXT = """\
`vexp2` is defined by its steps, each operation an FP32 one:

1. A NaN gives the canonical NaN. Otherwise x is clamped to [-160, 129].
2. n = RNE(RNE(x + 12582912) - 12582912), the nearest integer; f = RNE(x - n).
3. p = c6; for i = 5, 4, ..., 0: p = RNE(RNE(p * f) + c_i).
4. h = n >> 1, rounded down; the result is RNE(RNE(p * 2^h) * 2^(n - h))."""

_REDUCE = """\
`vrsum`, `vrmax` and `vrmin` have 32 lanes, whatever the machine's width. Lane j takes the
elements whose index is j modulo 32, in ascending order; it starts with its first element, not
with zero. Then lane i takes in lane i + 16, for i below 16; then i + 8, i + 4, i + 2 and i + 1.
Taking in is RNE(x + y), maximum(x, y) or minimum(x, y), with the lower lane as x. A lane without
elements takes no part: the other one is kept as it is. The result of a row without elements is
+0, -Inf or +Inf. It is converted once to the destination's format, so BF16 sums run in FP32.

With `bounds` only the elements whose absolute index k0 + i lies in [bounds[m, 0], bounds[m, 1]) are
taken; i counts from column 0 of the source, and the lane is i modulo 32, wherever the bounds begin.

**Exponentials and their sum.** `vexp2sum` hides no arithmetic: x = EXP2(RNE(a - b)) has the bits of
`vsub` and `vexp2` to FP32; dst is x converted once, as by `vcvt`; total is the `vrsum` of the FP32
x, not of what dst holds. Bounds limit the sum; x is formed for every column.

**Order.** `vargmax` and `vtopk` use a total order: NaN (all alike) > +Inf > ... > +0 > -0 > ... >
-Inf. Equal elements rank by index, lowest first."""

_MX_RULE = """\
`vquant` with MX32 scales, for each block, and `vquantr`, for each whole row, choose the
scale by integers alone:

1. amax is the largest FP32 pattern of the block's elements with their signs cleared, E its exponent
   field and F its 23-bit fraction field.
2. amax = 0: the scale code is 0. An infinity or NaN in the block (E = 255): the scale code is
   0xFF and every element is +0.
3. Otherwise the code is E - emax, plus 1 if F is above the fraction of the format's largest value,
   clamped to 0..254. So nothing saturates. With `.floor` the 1 is not added (OCP MX's rule), and
   large elements of a block may saturate.
4. An element is x * 2^(127 - code), exact, converted once to the format, saturating."""

_NV_RULE = f"""\
`vquant` with NV16 scales, for each block of {_NV} and a tensor scale ts (1 if absent or
of pattern 0):

1. r = RNE(1 / ts); amax as above, taken as an FP32 number.
2. An infinity or NaN in the block: the scale is 0x{NV16_NAN:X}, every element +0, and the sticky
   status bit is set.
3. The scale is RNE(RNE(amax * r) / 6), converted to E4M3FN, saturating.
4. If that is zero, every element is a zero with its own sign, and the sticky bit stays.
5. Otherwise an element is RNE(RNE(x * r) / scale), a true division by the scale without its sign
   (a negative ts makes negative scales, whose code is stored as it is), converted to E2M1,
   saturating; a NaN there becomes +6 and sets the sticky bit.

A GEMM sees the block scales only. The tensor scale is a factor of the read-out."""

_STICKY = """\
The sticky status bit is a tile's record that a NaN went into E2M1, which cannot hold it.
No instruction reads it."""


_GRAPH = f"""\
What a compiled model computes, in terms of the operations above. A compiler places and schedules
these; it never re-associates them. L is the FP32 number 0x{LOG2_E:08X}.

- **Exponential.** exp(x - m) = EXP2(RNE(RNE(x - m) * L)). sigmoid(x) = RNE(1 / RNE(1 + exp(-x)));
  SiLU(x) = RNE(x * sigmoid(x)).
- **RMSNorm**, over a whole row of n elements with gain g:
  r = RSQRT(RNE(RNE(sum(RNE(x * x)) / n) + eps)), y = RNE(RNE(x * r) * g), sum as `vrsum`.
- **RoPE.** y = RNE(RNE(x * c) + RNE(x' * s)), x' being the rotated partner of x with its sign.
  The tables c and s are data: frequencies and angles in FP32, steps as in the transformers
  library, sine and cosine of the angle correctly rounded.
- **Attention**, in blocks of {ATTENTION_BLOCK} absolute key positions, each by itself: scores
  s = RNE(acc * RNE(L / sqrt(d))) of head size d, over the unmasked keys; m_b their maximum;
  p = EXP2(RNE(s - m_b)); l_b the `vrsum` of p in FP32; O_b the product of p, converted to BF16,
  with V, beginning with +0. Blocks are folded from the left in ascending order. The first block
  with an unmasked key is copied; then m' = max(m, m_b), c = EXP2(RNE(m - m')),
  c_b = EXP2(RNE(m_b - m')), l = RNE(RNE(l * c) + RNE(l_b * c_b)), O likewise, m = m'. For a row,
  blocks without an unmasked key are skipped. The output is RNE(O / l).
- **Scales never depend on another row.** FP8 weights have one power-of-two scale for each output
  channel, FP8 activations one for each row, by the MX rule over the whole of K. NV16 activations
  have a static tensor scale, recorded in the program; an NV16 weight tensor of the checkpoint has
  RNE(amax / 2688), at least 2^-126, and 1 if amax is 0. An FP8 KV cache is E4M3FN with scale 1,
  saturating.
- **Bias** of a matrix is added in FP32, after the read-out's factors.
- **Sampling** at temperature T with one uniform number u for each sequence and step:
  p = EXP2(RNE(RNE(l - max) * RNE(L / T))); in rank order of the top k, running sums in FP32, one
  after the other; the choice is the first whose running sum is above RNE(u * total), else the last.
  T = 0 takes the largest.

**Numeric options** are recorded in the program, with defaults that do not depend on the chip:
`ksplit` (1: into how many ranges K is cut), `scale_mode` (ROUND_UP, or FLOOR: `.floor`), and the
formats of each class of tensors. Nothing else changes a bit: neither tiles, nor memory sizes, nor
the other rows of a batch, nor how a prompt is cut into chunks.

**Ranges of K.** With `ksplit` S, the B = ceil(K / 32) blocks of 32 from k = 0, whatever the
formats, are shared among S ranges, S at most B: range r has the blocks from floor(r * B / S) up to,
but without, floor((r + 1) * B / S). So none is empty, and each begins at a block of every format.
Each range is a chain of its own from +0 (steps 1 to 4 of the matrix engine). Then total = acc of
range 0, and for r ascending from 1: total = RNE(total + acc of range r). The total takes the place
of acc in the read-out: factors, one conversion, and what follows."""


def numerics_page() -> str:
    """The whole page."""
    version = f"Version {CONTRACT_VERSION[0]}.{CONTRACT_VERSION[1]} of the contract. Normative."
    return page(
        "Numerics",
        version,
        _TERMS,
        _NAN,
        _INVISIBLE,
        "## The matrix engine",
        _MATRIX,
        "## The vector engine",
        _ELEMENTWISE,
        "### EXP2",
        _EXP2_TEXT,
        table(
            ("Coefficient", "FP32 pattern"),
            ((f"c{index}", inline(f"0x{bits:08X}")) for index, bits in enumerate(EXP2)),
        ),
        "The result is at most 1.25 units in the last place from 2^x.",
        "### Reductions and order",
        _REDUCE,
        "## The quantise unit",
        "### MX scales: powers of two",
        _MX_RULE,
        table(("Format", "emax", "Fraction of the largest value"), map(_mx_row, _BLOCK_FORMATS)),
        "### NV16 scales",
        _NV_RULE,
        _STICKY,
        "## Graph semantics",
        _GRAPH,
    )


def _mx_row(fmt: Format) -> tuple[str, ...]:
    info = FORMATS[fmt]
    fraction = info.max_code & ((1 << info.mantissa_bits) - 1)
    return (
        inline(info.name),
        str(info.max_exponent),
        inline(f"0x{fraction << (23 - info.mantissa_bits):06X}"),
    )
