"""Faults of row reductions, argmax and top-k.

That lanes are counted from column 0 and not from where bounds begin can be seen nowhere: counting
from elsewhere turns the lanes round, and the tree that joins them looks the same from each.
"""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import add, edit, fault
from emulator.conformance.mutants.seeded.helpers import FLUSH

_SUM: Final = "vpu/vrsum vpu/"
_LANE: Final = "lane = i % LANES"
_STEPS: Final = "for step in (16, 8, 4, 2, 1):"
_TREE: Final = """\
    for step in (16, 8, 4, 2, 1):
        left, right = slice(0, step), slice(step, 2 * step)
"""
_NEIGHBOURS: Final = """\
    for step in (16, 8, 4, 2, 1):
        order = [*range(0, 2 * step, 2), *range(1, 2 * step, 2)]
        lanes[:, : 2 * step] = lanes[:, order]
        used[:, : 2 * step] = used[:, order]
        left, right = slice(0, step), slice(step, 2 * step)
"""
_REVERSED_TREE: Final = """\
    for step in (16, 8, 4, 2, 1):
        lanes[:, step : 2 * step] = lanes[:, step : 2 * step][:, ::-1].copy()
        used[:, step : 2 * step] = used[:, step : 2 * step][:, ::-1].copy()
        left, right = slice(0, step), slice(step, 2 * step)
"""
_LEFT_TO_RIGHT: Final = """\
    for step in range(1, LANES):
        left, right = slice(0, 1), slice(step, step + 1)
"""
_CLIPPED: Final = 'bounds = clipped_bounds(run, *run["src"].shape)'
_RESULT: Final = "np.where(used[:, 0], canonical(lanes[:, 0]), np.float32(empty))"
_KEY: Final = "return np.where(np.isnan(x), np.int64(1) << 32, key)"
_RANK: Final = "key=lambda i: (-keys[i], i)"
_OFFSET: Final = "best = [[row[0] + run.op.b]"

FAULTS: Final = (
    fault("lanes-16", "there are 16 lanes", _SUM, edit("reduce", _LANE, "lane = i % 16")),
    fault("lanes-64", "there are 64 lanes", _SUM,
          edit("reduce", "LANES: Final = 32", "LANES: Final = 64"),
          edit("reduce", _STEPS, "for step in (32, 16, 8, 4, 2, 1):")),
    fault("lanes-sequential", "a row is summed from left to right", _SUM,
          edit("reduce", _LANE, "lane = 0")),
    fault("lanes-contiguous", "a lane takes neighbouring elements", _SUM,
          edit("reduce", _LANE, "lane = i * LANES // k")),
    fault("lanes-descending", "lanes take their elements from the end", _SUM,
          edit("reduce", "for i in range(k):", "for i in reversed(range(k)):")),
    fault("tree-neighbours", "lanes pair up with their neighbours", _SUM,
          edit("reduce", _TREE, _NEIGHBOURS)),
    fault("tree-mirrored", "lanes pair up from both ends", _SUM,
          edit("reduce", _TREE, _REVERSED_TREE)),
    fault("tree-sequential", "lanes are added from left to right", _SUM,
          edit("reduce", _TREE, _LEFT_TO_RIGHT)),
    fault("empty-lanes-add-zero", "lanes without elements add +0", _SUM,
          edit("reduce", "used = np.zeros((rows, LANES), np.bool_)",
               "used = np.full((rows, LANES), combine is add)"),
          edit("reduce", "lanes = np.zeros((rows, LANES), np.float32)",
               "lanes = np.full((rows, LANES), 0, np.float32)")),
    fault("lanes-start-with-zero", "a lane adds its first element to +0", _SUM,
          edit("reduce", "x[:, i], live)",
               "x[:, i] + np.float32(0) if combine is add else x[:, i], live)")),
    fault("empty-lanes-are-zero", "for vrmax and vrmin lanes without elements hold 0",
          "vpu/vrmax vpu/vrmin vpu/",
          edit("reduce", "used = np.zeros((rows, LANES), np.bool_)",
               "used = np.full((rows, LANES), combine is not add)")),
    fault("vrsum-of-nothing", "the sum of an empty row is -0", _SUM,
          edit("reduce", "reduce_rows(add, 0.0, x, bounds)", "reduce_rows(add, -0.0, x, bounds)")),
    fault("vrmax-of-nothing", "the maximum of an empty row is the lowest number",
          "vpu/vrmax vpu/", edit("reduce", "-np.inf, x, bounds", "-3.4028235e38, x, bounds")),
    fault("vrmin-of-nothing", "the minimum of an empty row is +0", "vpu/vrmin vpu/",
          edit("reduce", "reduce_rows(minimum, np.inf,", "reduce_rows(minimum, 0.0,")),
    fault("vrsum-bounds-ignored", "reductions ignore their bounds", _SUM,
          edit("vector_rows", _CLIPPED, "bounds = None")),
    fault("vrsum-bounds-inclusive", "reductions take the element at the end of their bounds", _SUM,
          edit("vector_rows", _CLIPPED,
               f'{_CLIPPED}\n        bounds = bounds[0], np.minimum(bounds[1] + 1, '
               'run["src"].shape[1])')),
    fault("vrsum-masked-as-zero", "elements outside the bounds are taken as +0", _SUM,
          edit("reduce", "live = (begin <= i) & (i < end)",
               "live = (begin <= i) & (i < end)\n        if combine is add:\n"
               "            x = x.copy()\n            x[~live, i] = 0\n"
               "            live = np.ones_like(live)")),
    fault("vrmax-masked-as-lowest", "vrmax takes elements outside the bounds as the lowest number",
          "vpu/vrmax vpu/",
          edit("reduce", "live = (begin <= i) & (i < end)",
               "live = (begin <= i) & (i < end)\n        if combine is maximum:\n"
               "            x = x.copy()\n            x[~live, i] = np.float32(-3.4028235e38)\n"
               "            live = np.ones_like(live)")),
    fault("vrsum-in-bf16", "sums of BF16 are kept in BF16", _SUM,
          edit("reduce", "return np.where(has_new, both, old).astype(np.float32)",
               "result = np.where(has_new, both, old).astype(np.float32)\n"
               "    return round_to(FORMAT, result)"),
          edit("vector_rows", _CLIPPED,
               f'reduce.FORMAT = run["src"].format\n        {_CLIPPED}'),
          add("reduce", "from emulator.reference.convert import round_to")),
    fault("vrsum-in-float64", "sums are kept in float64", _SUM,
          edit("reduce", "lanes = np.zeros((rows, LANES), np.float32)",
               "lanes = np.zeros((rows, LANES), np.float64)"),
          edit("reduce", "both, old).astype(np.float32)", "both, old)"),
          edit("reduce", "return reduce_rows(add, 0.0,", "return reduce_rows(wide, 0.0,"),
          add("reduce", "def wide(a, b):\n    with np.errstate(all='ignore'):\n"
              "        return np.float64(a) + np.float64(b)")),
    fault("vrsum-ftz", "subnormal partial sums become zero", _SUM,
          edit("reduce", "reduce_rows(add, 0.0,", "reduce_rows(flushed_add, 0.0,"),
          add("reduce", FLUSH + "\n\ndef flushed_add(a, b):\n    return flush(add(a, b))")),
    fault("vrsum-of-one-nan", "a row of one NaN is copied with its payload", _SUM,
          edit("vector_rows", 'run["dst"].store_values(function(run["src"].values(), bounds)[:, '
               "None])",
               'run["dst"].store_values(function(run["src"].values(), bounds)[:, None])\n'
               '        if run["src"].shape[1] == 1 and run["dst"].format is run["src"].format:\n'
               '            run["dst"].store(run["src"].codes())')),
    fault("vrmax-nan-loses", "vrmax passes over NaNs", "vpu/vrmax vpu/",
          edit("reduce", "reduce_rows(maximum, -np.inf,", "reduce_rows(np.fmax, -np.inf,")),
    fault("vrmin-nan-loses", "vrmin passes over NaNs", "vpu/vrmin vpu/",
          edit("reduce", "reduce_rows(minimum, np.inf,", "reduce_rows(np.fmin, np.inf,")),
    fault("vrmax-zeros-equal", "vrmax of -0 and +0 is the first of them", "vpu/vrmax vpu/",
          edit("reduce", "reduce_rows(maximum, -np.inf,", "reduce_rows(first_greater, -np.inf,"),
          add("reduce", "def first_greater(a, b):\n"
              "    return np.where((a >= b) | np.isnan(a), a, b)")),
    fault("argmax-ties-to-last", "equal elements rank by index, highest first",
          "vpu/vargmax vpu/vtopk vpu/", edit("reduce", _RANK, "key=lambda i: (-keys[i], -i)")),
    fault("argmax-nan-lowest", "NaN ranks below everything", "vpu/vargmax vpu/vtopk vpu/",
          edit("reduce", _KEY, "return np.where(np.isnan(x), -(np.int64(1) << 32), key)")),
    fault("argmax-nan-by-pattern", "NaNs rank by their patterns", "vpu/vargmax vpu/vtopk vpu/",
          edit("reduce", _KEY, "return key")),
    fault("vtopk-nans-by-pattern", "NaNs rank highest, and among themselves by their patterns",
          "vpu/vtopk vpu/", edit("reduce", _KEY,
                                 "return np.where(np.isnan(x), (np.int64(1) << 32) + magnitude, "
                                 "key)")),
    fault("argmax-zeros-equal", "-0 ranks as +0", "vpu/vargmax vpu/vtopk vpu/",
          edit("reduce", "-magnitude - 1)", "-magnitude)")),
    fault("argmax-by-magnitude", "elements rank by magnitude", "vpu/vargmax vpu/vtopk vpu/",
          edit("reduce", "key = np.where(bits == magnitude, magnitude, -magnitude - 1)",
               "key = magnitude")),
    fault("vargmax-offset-ignored", "vargmax ignores its offset", "vpu/vargmax vpu/",
          edit("vector_rows", _OFFSET, "best = [[row[0]]")),
    fault("vargmax-offset-saturates", "vargmax saturates", "vpu/vargmax vpu/",
          edit("vector_rows", _OFFSET,
               "best = [[min(row[0] + (run.op.b + 2**31) % 2**32 - 2**31, 2**31 - 1)]")),
    fault("vtopk-offset-ignored", "the indices of vtopk are without the offset", "vpu/vtopk vpu/",
          edit("vector_rows", "[[i + run.op.b for i in row] for row in best]",
               "[list(row) for row in best]")),
    fault("vtopk-lowest", "vtopk gives the lowest elements", "vpu/vtopk vpu/",
          edit("reduce", "[rank(row)[:k]",
               "[rank(row)[::-1][:k]")),
    fault("vtopk-by-index", "vtopk gives its elements by their index", "vpu/vtopk vpu/",
          edit("reduce", "[rank(row)[:k]",
               "[sorted(rank(row)[:k])")),
)  # fmt: skip
