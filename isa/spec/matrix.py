"""The matrix unit: systolic array and accumulator memory."""

from isa.spec.model import Flag, Instruction, Unit, b32, d

_TENSOR_FAULTS = (
    "out_of_bounds",
    "misaligned",
    "format_mismatch",
    "shape_mismatch",
    "bad_space",
    "bad_descriptor",
)

INSTRUCTIONS = (
    Instruction(
        "gemm",
        0x30,
        Unit.MXU,
        "Matrix product into the accumulator: acc[M,N] (+)= a[M,K] * w[N,K]^T.",
        (
            d(0, "acc", "FP32 [M, N] in ACC"),
            d(1, "a", "[M, K] in TSRAM, strided"),
            d(2, "w", "[N, K] in TSRAM, strided or panel"),
            d(3, "bounds", "I32 [M, 2] in TSRAM: each row's absolute [k_begin, k_end)", True),
            b32("k0", "absolute index of k = 0, for bounds", True),
        ),
        (
            Flag("acc", 0, 1, {"": 0, "acc": 1}, "keep the accumulator's old value"),
            Flag("split", 1, 2, {"": 0, "split2": 1, "split4": 2}, "sub-arrays; never the bits"),
        ),
        "b = 16 if a or w is NV16 else 32\n"
        "for m, n: x = old acc[m,n] if .acc else +0\n"
        "  lo, hi = clip(bounds[m] - k0, 0, K)  (0, K without bounds)\n"
        "  for each block of b from k = 0 that meets [lo, hi), ascending:\n"
        "    s = +0; for k ascending in block and in [lo, hi): s = RNE(s + a[m,k] * w[n,k])\n"
        "    t = RNE(s * scale_a * scale_w);  x = RNE(x + t)\n"
        "  acc[m,n] = x",
        _TENSOR_FAULTS,
        "gemm",
        notes="Formats of a and w: BF16, FP16, E4M3FN, E5M2, E2M1, each with scale NONE, MX32 or "
        "NV16 (NV16 with E2M1 only; MX32 with the 8-bit and 4-bit formats only). Arithmetic NaN "
        "is canonical. A block none of whose products is executed adds nothing: a row with an "
        "empty range keeps its starting value.",
    ),
    Instruction(
        "readout",
        0x31,
        Unit.MXU,
        "Read the accumulator out, scaled and converted.",
        (
            d(0, "dst", "[M, N] in TSRAM; FP32, BF16, FP16, E4M3FN or E5M2, no scale"),
            d(1, "acc", "FP32 [M, N] in ACC"),
            d(2, "row", "FP32 or E8M0 [M, 1] in TSRAM: factor per row", True),
            d(3, "col", "FP32 or E8M0 [1, N] in TSRAM: factor per column", True),
        ),
        (Flag("sat", 0, 1, {"": 0, "nosat": 1}, "overflow of 8-bit formats"),),
        "y = acc[m,n]; if row: y = RNE(y * row[m]); if col: y = RNE(y * col[n])\n"
        "dst[m,n] = convert(y), saturating unless .nosat",
        _TENSOR_FAULTS,
        "readout",
        notes="Without factors and to FP32 the bits are copied (a spill). An E8M0 factor 0xFF is "
        "NaN.",
    ),
    Instruction(
        "seed",
        0x32,
        Unit.MXU,
        "Load the accumulator.",
        (d(0, "acc", "FP32 [M, N] in ACC"), d(1, "src", "FP32 [M, N] in TSRAM")),
        (),
        "acc[m,n] = src[m,n]   (bits)",
        _TENSOR_FAULTS,
        "readout",
    ),
)
