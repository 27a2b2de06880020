"""The matrix unit: gemm, readout and seed, bit for bit."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import (
    mxu_bounds,
    mxu_extra,
    mxu_layouts,
    mxu_order,
    mxu_pairs,
    mxu_readout,
    mxu_special,
    mxu_tables,
)

#: The rules of docs/isa/numerics.md (and of the pages it names) that the cases of `mxu` cover.
RULES: Final[dict[str, str]] = {
    "block-32": "K is cut into blocks of 32 from k = 0.",
    "block-16": "K is cut into blocks of 16 if either operand's scales are NV16.",
    "short-block": "The last block may be short.",
    "shared-scale": "Where blocks have 16 elements, a scale that covers 32 serves two.",
    "s-from-zero": "Within a block, s starts as +0.",
    "k-ascending": "Products are added for k ascending, one after the other.",
    "fused-step": "The product is exact; the addition to s is the only rounding.",
    "fused-range": "BF16 products can lie outside FP32's range; the step is a fused multiply-add.",
    "narrow-products": "Products of 8-bit and 4-bit formats are FP32 values.",
    "scale-once": "t is the exact product of s and both scales, rounded once.",
    "scale-zero-sum": "0 times two large scales is 0.",
    "scale-e8m0": "MX32 scales are read as E8M0.",
    "scale-e8m0-nan": "An E8M0 code 0xFF is NaN and makes t a NaN.",
    "scale-nv16": "NV16 scales are read as E4M3FN without its sign bit.",
    "scale-nv16-nan": "E4M3FN scale codes 0x7F and 0xFF are NaN and make t a NaN.",
    "scale-inf-zero": "An infinite s times a zero scale is NaN.",
    "acc-ascending": "acc = RNE(acc + t), blocks ascending, over the whole of K, from +0.",
    "acc-old": "With .acc the chain begins with the accumulator's old value.",
    "bounds": "A row executes only the products whose index lies in its bounds.",
    "bounds-k0": "Bounds are absolute: product k has the index k0 + k.",
    "bounds-nan": "Operands of products that are not executed have no influence, be they NaN.",
    "bounds-blocks": "With bounds, blocks stay at multiples of the block length from k = 0.",
    "bounds-empty-block": "A block without an executed product leaves the accumulator alone.",
    "bounds-empty-row": "A row with an empty range keeps its starting value.",
    "k-zero": "With K = 0 every row keeps its starting value.",
    "chunks": "Cutting K at multiples of the block length into gemm.acc changes no bit.",
    "split-invisible": "The split of the array changes no bit.",
    "array-invisible": "The size of the array changes no bit.",
    "nan-canonical": "What arithmetic or a conversion writes as NaN is the canonical NaN.",
    "infinities": "Infinities are those of IEEE 754; Inf - Inf and 0 * Inf are NaN.",
    "overflow": "What rounds beyond FP32's largest value is an infinity, judged once rounded.",
    "signed-zeros": "Zeros have signs as in IEEE 754; x + (-x) is +0.",
    "no-flush": "Subnormals are operands and results; nothing is flushed to zero.",
    "readout-factors": "Each factor of a read-out multiplies y, rounded each time.",
    "readout-row-then-col": "The row's factor comes first, then the column's.",
    "readout-e8m0": "An E8M0 factor is a power of two.",
    "readout-e8m0-nan": "An E8M0 factor 0xFF is a NaN.",
    "convert-once": "y is converted once to the destination's format.",
    "convert-ties": "Conversion rounds to nearest, ties to the even code.",
    "convert-sat": "Saturating: overflow and infinities become the largest value, NaN stays NaN.",
    "convert-nosat": "Not saturating: an overflow of E4M3FN is NaN, one of E5M2 an infinity.",
    "spill": "A read-out to FP32 without factors copies bits, NaNs included.",
    "seed-bits": "seed copies bits, NaNs included.",
    "strided-order": "Elements lie where base and strides say; stride 0 broadcasts.",
    "panel-order": "Packed weights lie in panels of 16 columns; what is beyond N and K is nothing.",
    "scale-strides": "Scales lie where the scale strides say.",
}


def makers() -> list[Maker]:
    """The cases, by what they are about."""
    modules = (
        mxu_tables,
        mxu_pairs,
        mxu_order,
        mxu_special,
        mxu_bounds,
        mxu_layouts,
        mxu_readout,
        mxu_extra,
    )
    return [maker for module in modules for maker in module.makers()]
