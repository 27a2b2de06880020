"""Faults of exponentials of rows and their sums."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import Edit, Mutant, add, edit, fault

_X: Final = 'x = exp2(sub(run["a"].values(), run["b"].values()))'
_SUM: Final = "total = reduce.row_sum(x, clipped_bounds(run, *x.shape))"
_DST: Final = 'run["dst"].store_values(x)'
_TOTAL: Final = 'run["total"].store_values(total[:, None])'
_A, _B = 'run["a"].values()', 'run["b"].values()'
_ROUND: Final = add("vector_rows", "from emulator.reference.convert import round_to")

#: EXP2's steps on the difference as it is, which float64 holds.
_UNROUNDED: Final = """\
def exp2_of_difference(a, b):
    with np.errstate(all="ignore"):
        exact = np.float64(a) - np.float64(b)
        x = exact.astype(np.float32)
        n = sub(add(np.clip(np.nan_to_num(x), _EXP2_LOW, _EXP2_HIGH), _ROUNDER), _ROUNDER)
        inside = (x > _EXP2_LOW) & (x < _EXP2_HIGH)
        return np.where(inside, _exp2_about(n, (exact - n).astype(np.float32)), exp2(x))


def _exp2_about(n, fraction):
    p = from_bits(_EXP2_COEFFICIENTS[6])
    for i in (5, 4, 3, 2, 1, 0):
        p = add(mul(p, fraction), from_bits(_EXP2_COEFFICIENTS[i]))
    whole = n.astype(np.int64)
    half = whole >> 1
    return mul(mul(p, power_of_two(half)), power_of_two(whole - half))
"""


def _other(name: str, what: str, old: str, new: str, *more: Edit) -> Mutant:
    return fault(name, what, "vpu/vexp2sum", edit("vector_rows", old, new), *more)


FAULTS: Final = (
    _other("exp2sum-of-rounded", "vexp2sum adds up what it writes to dst", _SUM,
           'total = reduce.row_sum(round_to(run["dst"].format, x), clipped_bounds(run, *x.shape))',
           _ROUND),
    _other("exp2sum-bounds-ignored", "vexp2sum adds up all columns, whatever the bounds", _SUM,
           "total = reduce.row_sum(x)"),
    _other("exp2sum-bounds-limit-dst", "vexp2sum makes dst +0 outside of the bounds", _DST,
           "begin, end = (np.asarray(edge)[:, None] for edge in reduce.row_bounds(\n"
           "        clipped_bounds(run, *x.shape), *x.shape))\n"
           "    column = np.arange(x.shape[1])\n"
           '    run["dst"].store_values(np.where((column >= begin) & (column < end), x, '
           "np.float32(0)))"),
    _other("exp2sum-unrounded", "vexp2sum does not round a - b before EXP2", _X,
           f"x = exp2_of_difference({_A}, {_B})",
           add("arith", _UNROUNDED),
           add("vector_rows", "from emulator.reference.arith import exp2_of_difference")),
    _other("exp2sum-difference-in-format", "vexp2sum rounds a - b to a's format", _X,
           f'x = exp2(round_to(run["a"].format, sub({_A}, {_B})))', _ROUND),
    _other("exp2sum-number-of-row-0", "vexp2sum subtracts b[0, 0] from all rows", _X,
           f"x = exp2(sub({_A}, {_B}[:1]))"),
    _other("exp2sum-adds", "vexp2sum adds b", _X, f"x = exp2(sub({_A}, -{_B}))"),
    _other("exp2sum-reversed", "vexp2sum subtracts a from b", _X, f"x = exp2(sub({_B}, {_A}))"),
    _other("exp2sum-base-e", "vexp2sum takes powers of e", _X,
           f"x = exp2(mul(sub({_A}, {_B}), from_bits(0x3FB8AA3B)))",
           add("vector_rows", "from emulator.reference.arith import mul")),
    _other("exp2sum-total-by-dst", "vexp2sum rounds its total to dst's format first", _TOTAL,
           'run["total"].store_values(round_to(run["dst"].format, total)[:, None])', _ROUND),
    _other("exp2sum-bounds-late", "vexp2sum reads its bounds when dst is written", _DST,
           'run["dst"].store_values(x)\n'
           "    total = reduce.row_sum(x, clipped_bounds(run, *x.shape))"),
)  # fmt: skip
