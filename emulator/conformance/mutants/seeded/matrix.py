"""Faults of the matrix engine: the chain over K, its roundings, scales, and the read-out."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import add, edit, fault
from emulator.conformance.mutants.seeded.helpers import FLUSH, ROUNDINGS

_STEP: Final = "fma32(a[:, k, None], w[None, :, k], total)"
_ROUNDED: Final = "return canonical(_to_odd(total, error).astype(np.float32))"
_TERM: Final = (
    "term = scale_sum(total, _column(scale_a, index)[:, None], _column(scale_w, index)[None, :])"
)
_ADDED: Final = "add(acc, term)"
_START: Final = "total = np.zeros((a.shape[0], w.shape[0]), np.float32)"
_BODY: Final = f"""\
    {_START}
    for k in range(a.shape[1]):
        live = (begin <= k) & (k < end)
        step = {_STEP}
        total = np.where(live[:, None], step, total)
    return total
"""
_EVEN_AND_ODD: Final = """\
    lanes = [np.zeros((a.shape[0], w.shape[0]), np.float32) for _ in range(2)]
    for k in range(a.shape[1]):
        live = (begin <= k) & (k < end)
        step = fma32(a[:, k, None], w[None, :, k], lanes[k % 2])
        lanes[k % 2] = np.where(live[:, None], step, lanes[k % 2])
    return add(lanes[0], lanes[1])
"""
_PAIRWISE: Final = """\
    terms = []
    for k in range(a.shape[1]):
        live = (begin <= k) & (k < end)
        product = mul(a[:, k, None], w[None, :, k])
        terms.append(np.where(live[:, None], product, np.float32(0)))
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        terms = [add(x, y) for x, y in zip(terms[::2], terms[1::2])] + odd
    return add(terms[0], np.float32(0))
"""
_WIDE: Final = """\
    total = np.zeros((a.shape[0], w.shape[0]), np.float64)
    with np.errstate(all="ignore"):
        for k in range(a.shape[1]):
            live = (begin <= k) & (k < end)
            step = total + np.float64(a[:, k, None]) * np.float64(w[None, :, k])
            total = np.where(live[:, None], step, total)
        return total.astype(np.float32)
"""
_FACTORS: Final = """\
    if alpha_row is not None:
        acc = mul(acc, alpha_row[:, None])
    if alpha_col is not None:
        acc = mul(acc, alpha_col[None, :])
    return"""
_COLUMN_FIRST: Final = """\
    if alpha_col is not None:
        acc = mul(acc, alpha_col[None, :])
    if alpha_row is not None:
        acc = mul(acc, alpha_row[:, None])
    return"""
_FACTORS_FIRST: Final = """\
    if alpha_row is not None and alpha_col is not None:
        acc = mul(acc, mul(alpha_row[:, None], alpha_col[None, :]))
    elif alpha_row is not None:
        acc = mul(acc, alpha_row[:, None])
    elif alpha_col is not None:
        acc = mul(acc, alpha_col[None, :])
    return"""
_NOT_ROUNDED: Final = """\
    with np.errstate(all="ignore"):
        if alpha_row is not None and alpha_col is not None:
            acc = acc.astype(np.float64) * alpha_row[:, None] * alpha_col[None, :]
        elif alpha_row is not None:
            acc = mul(acc, alpha_row[:, None])
        elif alpha_col is not None:
            acc = mul(acc, alpha_col[None, :])
        if fmt is Format.FP32:
            acc = acc.astype(np.float32)
    return"""
_UNROUNDED_PRODUCT: Final = """\
    with np.errstate(all="ignore"):
        if alpha_row is not None:
            acc = acc.astype(np.float64 if alpha_col is None else np.float32) * alpha_row[:, None]
        if alpha_col is not None:
            acc = canonical(acc).astype(np.float64) * alpha_col[None, :]
        if fmt is Format.FP32:
            acc = acc.astype(np.float32)
    return"""
_GEMM: Final = "mxu/gemm mxu/"
_READOUT: Final = "mxu/readout mxu/"

FAULTS: Final = (
    fault("mxu-step-rtz", "a block's steps round towards zero", _GEMM,
          edit("arith", _ROUNDED, "return canonical(towards_zero(_to_odd(total, error)))"),
          add("arith", ROUNDINGS)),
    fault("mxu-step-half-away", "a block's steps round ties away from zero", _GEMM,
          edit("arith", _ROUNDED, "return canonical(away_on_ties(_to_odd(total, error)))"),
          add("arith", ROUNDINGS)),
    fault("mxu-daz", "subnormal elements of operands are read as zero", _GEMM,
          edit("matrix", _STEP, "fma32(flush(a[:, k, None]), flush(w[None, :, k]), total)"),
          add("matrix", FLUSH)),
    fault("mxu-ftz-step", "a subnormal sum within a block becomes zero", _GEMM,
          edit("matrix", _STEP, f"flush({_STEP})"), add("matrix", FLUSH)),
    fault("mxu-ftz-term", "a block's scaled sum becomes zero if it is subnormal", _GEMM,
          edit("matrix", _TERM, f"{_TERM}\n        term = flush(term)"), add("matrix", FLUSH)),
    fault("mxu-ftz-acc", "an accumulator becomes zero if it is subnormal", _GEMM,
          edit("matrix", _ADDED, f"flush({_ADDED})"), add("matrix", FLUSH)),
    fault("mxu-acc-rtz", "blocks are added to the accumulator towards zero", _GEMM,
          edit("matrix", _ADDED, "canonical(towards_zero(exact_sum(acc, term)))"),
          edit("matrix", "import F32, add, fma32,",
               "import F32, canonical, exact_sum, fma32, towards_zero,"),
          add("arith", ROUNDINGS)),
    fault("bf16-product-rounded", "the product is rounded to FP32 before it is added", _GEMM,
          edit("matrix", _STEP, "add(mul(a[:, k, None], w[None, :, k]), total)")),
    fault("product-rounded-to-bf16", "the product is rounded to BF16 before it is added", _GEMM,
          edit("matrix", "convert import to_format", "convert import round_to, to_format"),
          edit("matrix", _STEP,
               "add(round_to(Format.BF16, mul(a[:, k, None], w[None, :, k])), total)")),
    fault("block-sum-in-bf16", "a block's sum is kept in BF16", _GEMM,
          edit("matrix", "convert import to_format", "convert import round_to, to_format"),
          edit("matrix", _STEP, f"round_to(Format.BF16, {_STEP})")),
    fault("block-sum-in-float64", "a block's sum is kept in float64 and rounded at its end", _GEMM,
          edit("matrix", _BODY, _WIDE)),
    fault("block-sum-reversed", "a block's products are added from its end", _GEMM,
          edit("matrix", "for k in range(a.shape[1]):", "for k in reversed(range(a.shape[1])):")),
    fault("block-sum-even-and-odd", "even and odd k have sums of their own", _GEMM,
          edit("matrix", _BODY, _EVEN_AND_ODD)),
    fault("block-sum-pairwise", "a block's products are added pairwise, as a tree", _GEMM,
          edit("matrix", _BODY, _PAIRWISE)),
    fault("block-sum-from-first", "a block's sum starts with its first product, not with +0", _GEMM,
          edit("matrix", _START, "total = np.full((a.shape[0], w.shape[0]), -0.0, np.float32)")),
    fault("block-sum-not-restarted", "a block's sum goes on from the accumulator", _GEMM,
          edit("matrix", _START, "total = np.asarray(start)"),
          edit("matrix", "begin: np.ndarray, end: np.ndarray)",
               "begin: np.ndarray, end: np.ndarray, start: F32)"),
          edit("matrix", "end - start)", "end - start, acc)"),
          edit("matrix", _ADDED, "term")),
    fault("one-block-without-scales", "without scales all of K is one block", _GEMM,
          edit("mxu", "start = acc.codes()",
               "if a.scale_kind is w.scale_kind is ScaleKind.NONE:\n"
               "        block = max(a.shape[1], 1)\n    start = acc.codes()")),
    fault("blocks-of-16-always", "all blocks have 16 elements", _GEMM,
          edit("mxu", "ScaleKind.NV16 if nv else ScaleKind.MX32", "ScaleKind.NV16")),
    fault("blocks-of-32-if-mixed", "NV16 with MX32 has blocks of 32 and drops every second scale",
          _GEMM,
          edit("mxu", "nv = ScaleKind.NV16 in (a.scale_kind, w.scale_kind)",
               "nv = ScaleKind.MX32 not in (a.scale_kind, w.scale_kind) and ScaleKind.NV16 in ("
               "a.scale_kind, w.scale_kind)"),
          edit("mxu", "return np.repeat(values, SCALE_BLOCK[operand.scale_kind] // block, axis=1)",
               "size = SCALE_BLOCK[operand.scale_kind]\n    if size < block:\n"
               "        return values[:, :: block // size]\n"
               "    return np.repeat(values, size // block, axis=1)")),
    fault("blocks-of-16-by-a-only", "w's NV16 scales do not make blocks of 16", _GEMM,
          edit("mxu", "nv = ScaleKind.NV16 in (a.scale_kind, w.scale_kind)",
               "nv = a.scale_kind is ScaleKind.NV16"),
          edit("mxu", "return np.repeat(values, SCALE_BLOCK[operand.scale_kind] // block, axis=1)",
               "size = SCALE_BLOCK[operand.scale_kind]\n    if size < block:\n"
               "        return values[:, :: block // size]\n"
               "    return np.repeat(values, size // block, axis=1)")),
    fault("mx32-scales-tiled", "where blocks have 16, block b takes scale b modulo their number",
          _GEMM,
          edit("mxu", "return np.repeat(values, SCALE_BLOCK[operand.scale_kind] // block, axis=1)",
               "return np.tile(values, (1, SCALE_BLOCK[operand.scale_kind] // block))")),
    fault("blocks-reversed", "blocks are added from the end of K", _GEMM,
          edit("matrix", "enumerate(range(0, k, block))",
               "reversed(list(enumerate(range(0, k, block))))")),
    fault("blocks-summed-first", "blocks are added to each other, and then to the accumulator",
          _GEMM,
          edit("matrix", "rows, k = a.shape",
               "rows, k = a.shape\n    old, acc = acc, np.zeros_like(acc)\n"
               "    any_block = np.zeros((rows, 1), np.bool_)"),
          edit("matrix", f"acc = np.where(executed[:, None], {_ADDED}, acc)",
               f"acc = np.where(executed[:, None], {_ADDED}, acc)\n"
               "        any_block |= executed[:, None]"),
          edit("matrix", "return np.array(acc, dtype=np.float32)",
               "return np.array(np.where(any_block, add(old, acc), old), dtype=np.float32)")),
    fault("scale-per-element", "operands are scaled before they are multiplied", _GEMM,
          edit("matrix", "_block_sum(a[:, start:stop], w[:, start:stop],",
               "_block_sum(mul(a[:, start:stop], _column(scale_a, index)[:, None]), "
               "mul(w[:, start:stop], _column(scale_w, index)[:, None]),"),
          edit("matrix", _TERM, "term = total")),
    fault("scale-a-rounded-first", "a block's sum times a's scale is rounded before w's scale",
          _GEMM,
          edit("arith", "wide = np.asarray(s, dtype=np.float64)"
               " * np.asarray(scale_a, dtype=np.float64)",
               "wide = np.float64(np.float32(s) * np.float32(scale_a))")),
    fault("scales-rounded-first", "the product of the two scales is rounded to FP32 first", _GEMM,
          edit("arith", "wide = np.asarray(s, dtype=np.float64)"
               " * np.asarray(scale_a, dtype=np.float64)",
               "wide = np.asarray(s, dtype=np.float64)"),
          edit("arith", "(wide * np.asarray(scale_w, dtype=np.float64))",
               "(wide * np.float64(np.float32(scale_a) * np.float32(scale_w)))")),
    fault("scale-fused-into-acc", "the scaled block sum is not rounded before it is added", _GEMM,
          edit("matrix", f"        {_TERM}\n",
               "        both = np.float64(_column(scale_a, index)[:, None]) * np.float64(\n"
               "            _column(scale_w, index)[None, :])\n"
               "        with np.errstate(all='ignore'):\n"
               "            term = np.float64(total) * both\n"
               "            fused = canonical((np.float64(acc) + term).astype(np.float32))\n"),
          edit("matrix", _ADDED, "fused"),
          edit("matrix", "import F32, add, fma32,", "import F32, canonical, fma32,")),
    fault("first-scale-of-w", "w's first scale serves all blocks", _GEMM,
          edit("matrix", "_column(scale_w, index)", "_column(scale_w, 0)")),
    fault("scale-nan-is-a-power", "E8M0 code 0xFF is 2^127", _GEMM,
          edit("tensor", "return from_format(Format.E8M0, codes)",
               "return from_format(Format.E8M0, np.minimum(codes, np.uint8(0xFE)))")),
    fault("scale-zero-is-zero", "E8M0 code 0 is zero", _GEMM,
          edit("tensor", "return from_format(Format.E8M0, codes)",
               "return from_format(Format.E8M0, codes) * (codes != 0)")),
    fault("nv16-scale-signed", "the sign bit of an NV16 scale counts", _GEMM,
          edit("tensor", "codes & np.uint8(0x7F)", "codes")),
    fault("nv16-scale-nan-is-480", "an NV16 scale of 0x7F is 480", _GEMM,
          edit("tensor", "return from_format(Format.E4M3FN, codes & np.uint8(0x7F))",
               "value = from_format(Format.E4M3FN, codes & np.uint8(0x7F))\n"
               "        return np.where(np.isnan(value), np.float32(480), value)")),
    fault("acc-ignored", "gemm.acc starts from +0", _GEMM,
          edit("mxu", 'if run.op.flag("acc") else', "if False else")),
    fault("acc-always", "gemm without .acc starts from the old value", _GEMM,
          edit("mxu", 'if run.op.flag("acc") else', "if True else")),
    fault("first-block-copied", "without .acc the first block is copied, not added to +0", _GEMM,
          edit("mxu", "else np.zeros(acc.shape, np.float32)",
               "else np.full(acc.shape, -0.0, np.float32)"),
          edit("mxu", "acc.store(result.view(np.uint32))",
               "idle = (np.asarray(low) >= np.asarray(high))[:, None] & (not run.op.flag('acc'))\n"
               "    result = np.where(idle, np.float32(0), result)\n"
               "    acc.store(result.view(np.uint32))")),
    fault("empty-k-does-nothing", "gemm over a K of 0 leaves the accumulator alone", _GEMM,
          edit("mxu", "acc.store(result.view(np.uint32))",
               "if a.shape[1]:\n        acc.store(result.view(np.uint32))")),
    fault("readout-column-first", "the column factor is applied before the row factor", _READOUT,
          edit("matrix", _FACTORS, _COLUMN_FIRST)),
    fault("readout-factors-first", "the two factors are multiplied first", _READOUT,
          edit("matrix", _FACTORS, _FACTORS_FIRST)),
    fault("readout-one-rounding", "the products with both factors are not rounded in between",
          _READOUT, edit("matrix", _FACTORS, _NOT_ROUNDED)),
    fault("readout-not-rounded-to-fp32", "the last product is converted without being rounded",
          _READOUT, edit("matrix", _FACTORS, _UNROUNDED_PRODUCT),
          edit("matrix", "import F32, add, fma32,", "import F32, add, canonical, fma32,")),
    fault("readout-daz", "subnormal accumulators are read as zero", _READOUT,
          edit("mxu", "values = acc.values()", "values = flush(acc.values())"),
          add("mxu", FLUSH)),
    fault("readout-ftz", "subnormal products of the read-out become zero", _READOUT,
          edit("matrix", "return to_format(fmt, acc, sat)",
               "return to_format(fmt, flush(acc), sat)"),
          add("matrix", FLUSH)),
    fault("readout-nosat-ignored", "readout.nosat saturates", _READOUT,
          edit("mxu", 'dst.format, not run.op.flag("sat")', "dst.format, True")),
    fault("readout-never-saturates", "readout never saturates", _READOUT,
          edit("mxu", 'dst.format, not run.op.flag("sat")', "dst.format, False")),
    fault("readout-factor-nan", "an E8M0 factor of 0xFF is 2^127", _READOUT,
          edit("mxu", "None if row is None else row.values()[:, 0]",
               "None if row is None else np.nan_to_num(row.values()[:, 0], nan=2.0**127)")),
)  # fmt: skip
