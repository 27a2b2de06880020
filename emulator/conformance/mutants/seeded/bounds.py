"""Faults of bounds and of packed panels, as the matrix engine and reductions use them."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_GEMM: Final = "mxu/gemm mxu/"
_PANEL: Final = "mxu/gemm/panel mxu/gemm mxu/"
_CLIPPED: Final = "low, high = clipped_bounds(run, *a.shape)"
_PAIRS: Final = "min(max(b - run.op.b, 0), extent) for b in row"
_EXECUTED: Final = "executed = (begin < stop) & (end > start) & (begin < end)"
_UPDATE: Final = "acc = np.where(executed[:, None], add(acc, term), acc)"
_LIVE: Final = "live = (begin <= k) & (k < end)\n"
_ROW_BLOCKS: Final = """\
    begin, end = row_bounds(bounds, rows, k)
    if scale_a is None and scale_w is None and begin.any():
        parts = [
            block_gemm(acc[m : m + 1], a[m : m + 1, b:e], w[:, b:e], None, None, block)
            for m, (b, e) in enumerate(zip(begin.tolist(), end.tolist()))
        ]
        return np.concatenate(parts)
"""

FAULTS: Final = (
    fault("gemm-bounds-ignored", "gemm ignores its bounds", _GEMM,
          edit("mxu", _CLIPPED, "low, high = row_bounds(None, *a.shape)")),
    fault("gemm-bounds-inclusive", "gemm executes the product at the end of its bounds", _GEMM,
          edit("mxu", _CLIPPED, f"{_CLIPPED}\n    high = np.minimum(high + 1, a.shape[1])")),
    fault("gemm-bounds-begin-ignored", "gemm ignores where its bounds begin", _GEMM,
          edit("mxu", _CLIPPED, f"{_CLIPPED}\n    low = np.zeros_like(low)")),
    fault("gemm-bounds-late", "gemm leaves out the first product of its bounds", _GEMM,
          edit("mxu", _CLIPPED, f"{_CLIPPED}\n    low = np.minimum(low + (low > 0), high)")),
    fault("gemm-bounds-by-block", "gemm executes whole blocks that its bounds touch", _GEMM,
          edit("mxu", _CLIPPED,
               f"{_CLIPPED}\n    some = low < high\n    low = np.where(some, low // 32 * 32, low)\n"
               "    high = np.where(some, np.minimum(-(-high // 32) * 32, a.shape[1]), high)")),
    fault("gemm-bounds-of-row-0", "the first row's bounds serve all rows", _GEMM,
          edit("mxu", _CLIPPED,
               f"{_CLIPPED}\n    low, high = (np.repeat(x[:1], a.shape[0]) for x in (low, high))")),
    fault("bounds-k0-ignored", "k0 is ignored", _GEMM + " vpu/vrsum",
          edit("mxu", "b - run.op.b", "b")),
    fault("bounds-k0-added", "k0 is added to the bounds", _GEMM + " vpu/vrsum",
          edit("mxu", "b - run.op.b", "b + run.op.b")),
    fault("bounds-k0-32-bits", "k0 has 32 bits", _GEMM + " vpu/vrsum",
          edit("mxu", "b - run.op.b", "b - (run.op.b + 2**31) % 2**32 + 2**31")),
    fault("bounds-unsigned", "bounds are read as unsigned numbers", _GEMM + " vpu/vrsum",
          edit("mxu", _PAIRS, "min(max(b % 2**32 - run.op.b, 0), extent) for b in row")),
    fault("bounds-not-clipped-below", "bounds below k0 count from the end of the row",
          _GEMM + " vpu/vrsum",
          edit("mxu", _PAIRS,
               "min(x if x >= 0 else max(x + extent, 0), extent) for x in "
               "(b - run.op.b for b in row)")),
    fault("bounds-swapped-if-reversed", "a range that ends before it begins is turned round",
          _GEMM + " vpu/vrsum",
          edit("mxu", "low, high = np.array(pairs, np.int64).reshape(rows, 2).T",
               "low, high = np.sort(np.array(pairs, np.int64).reshape(rows, 2), axis=1).T")),
    fault("blocks-from-begin", "blocks are counted from where a row's bounds begin", _GEMM,
          edit("matrix", "    begin, end = row_bounds(bounds, rows, k)\n", _ROW_BLOCKS)),
    fault("empty-range-clears", "a row with an empty range gets +0", _GEMM,
          edit("matrix", "return np.array(acc, dtype=np.float32)",
               "return np.where((begin < end)[:, None], acc, np.float32(0)).astype(np.float32)")),
    fault("empty-block-adds-zero", "a block of which nothing is executed adds its +0", _GEMM,
          edit("matrix", _UPDATE, "acc = add(acc, term)")),
    fault("empty-range-in-a-block", "a range [b, b) inside a block makes the block executed", _GEMM,
          edit("matrix", _EXECUTED, "executed = (begin < stop) & (end > start)")),
    fault("masked-products-add-zero", "products outside the bounds are added as +0", _GEMM,
          edit("matrix", "total = np.where(live[:, None], step, total)",
               "total = np.where(live[:, None], step, add(total, np.float32(0)))")),
    fault("masked-a-is-zero", "outside the bounds a is zero, and the product is executed", _GEMM,
          edit("matrix", "step = fma32(a[:, k, None], w[None, :, k], total)",
               "masked = np.where(live, a[:, k], np.float32(0))[:, None]\n"
               "        total = fma32(masked, w[None, :, k], total)"),
          edit("matrix", "        total = np.where(live[:, None], step, total)\n", "")),
    fault("panel-high-k-first", "the lowest k of a panel's word is in the highest bits", _PANEL,
          edit("tensor", "return np.asarray(start + panel + word + (k % group) * self.bits)",
               "return np.asarray(start + panel + word + (group - 1 - k % group) * self.bits)")),
    fault("panel-stride-ignored", "panels are taken to lie without gaps", _PANEL,
          edit("tensor", "panel = (n // PANEL_COLUMNS) * d.strides[0] * self.bits",
               "panel = (n // PANEL_COLUMNS) * -(-d.shape[1] // group) * _PANEL_GROUP_BITS")),
    fault("panel-words-by-column", "a panel's words of one column lie together", _PANEL,
          edit("tensor", "word = (k // group) * _PANEL_GROUP_BITS + "
               "(n % PANEL_COLUMNS) * _PANEL_WORD_BITS",
               "words = -(-d.shape[1] // group)\n            "
               "word = (k // group + (n % PANEL_COLUMNS) * words) * _PANEL_WORD_BITS")),
    fault("panel-scales-by-column", "a panel's scales of one column lie together", _PANEL,
          edit("tensor", "panel + block * PANEL_COLUMNS + row % PANEL_COLUMNS)",
               "panel + block + row % PANEL_COLUMNS * blocks)")),
    fault("panel-scale-stride-ignored", "panels of scales are taken to lie without gaps", _PANEL,
          edit("tensor", "panel = (row // PANEL_COLUMNS) * d.scale_strides[0]",
               "panel = (row // PANEL_COLUMNS) * blocks * PANEL_COLUMNS")),
    fault("scale-row-stride-ignored", "rows of scales are taken to lie without gaps",
          "mxu/gemm quant/ mxu/",
          edit("tensor", "start + row * d.scale_strides[0] + block * d.scale_strides[1]",
               "start + row * blocks + block")),
    fault("scale-block-stride-ignored", "a row's scales are taken to lie side by side",
          "mxu/gemm quant/ mxu/",
          edit("tensor", "start + row * d.scale_strides[0] + block * d.scale_strides[1]",
               "start + row * d.scale_strides[0] + block")),
)  # fmt: skip
