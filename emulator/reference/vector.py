"""The vector unit's elementwise instructions.

Source: isa/spec/vector.py; the arithmetic is in emulator/reference/arith.py and convert.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from emulator.reference import arith
from emulator.reference.arith import F32, I64
from emulator.reference.convert import from_integer, sticky_nan, to_format, to_integer
from emulator.reference.reduce import prefix_sum
from emulator.reference.registry import (
    EVERY,
    FLOATS,
    INTEGERS,
    NARROW,
    WHOLE_BYTES,
    Rule,
    Run,
    same_formats,
    same_shapes,
    tensor,
)
from emulator.reference.state import wrap
from emulator.reference.tensor import Tensor
from isa.formats import FORMATS, Format

Floating = Callable[[F32, F32], F32]
Integral = Callable[[I64, I64], I64]

_U8: Final = frozenset({Format.U8})
_NUMERIC: Final = FLOATS | INTEGERS


def _all_float_or_all_integer(run: Run) -> bool:
    """FP32, BF16 and FP16 may mix; I32 goes with I32 only."""
    return len({t.format is Format.I32 for t in run.all}) == 1


def _second_floats(run: Run) -> F32:
    """Operand b of a floating instruction: a tensor, or an FP32 number."""
    b = run.get("b")
    return arith.from_bits(run.op.pattern()) if b is None else b.values()


def _second_integers(run: Run) -> I64:
    """Operand b of an I32 instruction: a tensor, or a number."""
    b = run.get("b")
    return np.asarray(wrap(run.op.b, 32), dtype=np.int64) if b is None else b.integers()


# ---- two operands


def _binary(mnemonic: str, floating: Floating, integral: Integral | None) -> None:
    """Register an elementwise instruction of two operands."""
    formats = FLOATS if integral is None else _NUMERIC

    def run_binary(run: Run) -> None:
        dst, a = run["dst"], run["a"]
        if integral is not None and dst.format is Format.I32:
            dst.store_integers(integral(a.integers(), _second_integers(run)))
        else:
            dst.store_values(floating(a.values(), _second_floats(run)))

    rules = {"dst": Rule(formats, write=True), "a": Rule(formats), "b": Rule(formats)}
    tensor(mnemonic, rules, same_shapes, _all_float_or_all_integer)(run_binary)


_binary("vadd", arith.add, lambda a, b: a + b)
_binary("vsub", arith.sub, lambda a, b: a - b)
_binary("vmul", arith.mul, lambda a, b: a * b)
_binary("vdiv", arith.div, None)
_binary("vmin", arith.minimum, lambda a, b: np.minimum(a, b))
_binary("vmax", arith.maximum, lambda a, b: np.maximum(a, b))


@tensor(
    "vmuladd2",
    {"dst": Rule(FLOATS, write=True), **{name: Rule(FLOATS) for name in "abce"}},
    same_shapes,
)
def vmuladd2(run: Run) -> None:
    """dst = RNE(RNE(a * b) + RNE(c * e))."""
    a, b, c, e = (run[name].values() for name in "abce")
    run["dst"].store_values(arith.add(arith.mul(a, b), arith.mul(c, e)))


# ---- one operand


def _unary(mnemonic: str, function: Callable[[F32], F32]) -> None:
    """Register an elementwise instruction of one operand."""

    def run_unary(run: Run) -> None:
        run["dst"].store_values(function(run["a"].values()))

    rules = {"dst": Rule(FLOATS, write=True), "a": Rule(FLOATS)}
    tensor(mnemonic, rules, same_shapes)(run_unary)


_unary("vsqrt", arith.sqrt)
_unary("vrcp", arith.rcp)
_unary("vrsqrt", arith.rsqrt)
_unary("vexp2", arith.exp2)


# ---- conversions


def _cvt_formats(run: Run) -> bool:
    """E2M1 has no NOSAT conversion."""
    return not (run["dst"].format is Format.E2M1 and run.op.flag("sat"))


@tensor(
    "vcvt",
    {"dst": Rule(_NUMERIC | NARROW, write=True), "a": Rule(EVERY)},
    same_shapes,
    _cvt_formats,
)
def vcvt(run: Run) -> None:
    """dst = a converted, by way of FP32."""
    dst, values = run["dst"], _as_floats(run["a"])
    if dst.format is Format.I32:
        dst.store_integers(to_integer(values))
        return
    if dst.format is Format.E2M1:
        run.tile.sticky |= sticky_nan(values)
    dst.store(to_format(dst.format, values, sat=not run.op.flag("sat")))


def _as_floats(operand: Tensor) -> F32:
    """fp32 values of any operand; integers are rounded."""
    if FORMATS[operand.format].is_float:
        return operand.values()
    return from_integer(operand.integers())


# ---- comparison and selection

_RELATIONS: Final[
    dict[int, Callable[[npt.NDArray[np.generic], npt.NDArray[np.generic]], object]]
] = {
    0: np.equal,
    1: np.not_equal,
    2: np.less,
    3: np.less_equal,
    4: np.greater,
    5: np.greater_equal,
}


def _compare_formats(run: Run) -> bool:
    """a and b are both floating or both I32."""
    return len({t.format is Format.I32 for t in run.all[1:]}) == 1


@tensor(
    "vcmp",
    {"dst": Rule(_U8, write=True), "a": Rule(_NUMERIC), "b": Rule(_NUMERIC)},
    same_shapes,
    _compare_formats,
)
def vcmp(run: Run) -> None:
    """dst = 1 where the relation holds, else 0."""
    a = run["a"]
    relation = _RELATIONS[run.op.flag("relation")]
    if a.format is Format.I32:
        mask = relation(a.integers(), _second_integers(run))
    else:
        mask = relation(a.values(), _second_floats(run))
    run["dst"].store(np.asarray(mask).astype(np.uint8))


def _select_formats(run: Run) -> bool:
    """dst, a and b share a format."""
    return run["dst"].format is run["a"].format is run["b"].format


_SELECTABLE: Final = FLOATS | {Format.I32, Format.U8}


@tensor(
    "vsel",
    {
        "dst": Rule(_SELECTABLE, write=True),
        "mask": Rule(_U8),
        "a": Rule(_SELECTABLE),
        "b": Rule(_SELECTABLE),
    },
    same_shapes,
    _select_formats,
)
def vsel(run: Run) -> None:
    """dst = a where the mask is not 0, else b; bits."""
    chosen = np.where(run["mask"].codes() != 0, run["a"].codes(), run["b"].codes())
    run["dst"].store(chosen)


# ---- moves and counting


@tensor(
    "vcopy",
    {"dst": Rule(WHOLE_BYTES, write=True), "a": Rule(WHOLE_BYTES)},
    same_shapes,
    same_formats,
)
def vcopy(run: Run) -> None:
    """dst = a, bits."""
    run["dst"].store(run["a"].codes())


def _transposed(run: Run) -> bool:
    return run["dst"].shape == run["a"].shape[::-1]


@tensor(
    "vtrans",
    {"dst": Rule(WHOLE_BYTES, rank=2, write=True), "a": Rule(WHOLE_BYTES, rank=2)},
    _transposed,
    same_formats,
)
def vtrans(run: Run) -> None:
    """dst[n, m] = a[m, n], bits."""
    run["dst"].store(run["a"].codes().T)


@tensor("viota", {"dst": Rule(INTEGERS, write=True)}, same_shapes)
def viota(run: Run) -> None:
    """dst[..., j] = start + j, wrapping."""
    dst = run["dst"]
    last = dst.shape[-1] if dst.shape else 1
    row = np.arange(last, dtype=np.int64) + wrap(run.op.b, 32)
    dst.store_integers(np.broadcast_to(row if dst.shape else row[0], dst.shape))


_FP32: Final = frozenset({Format.FP32})


@tensor("vscan", {"dst": Rule(_FP32, write=True), "a": Rule(_FP32)}, same_shapes)
def vscan(run: Run) -> None:
    """Prefix sums along the last axis, one after the other."""
    values = run["a"].values()
    rows = (
        values.reshape(-1, values.shape[-1])
        if values.size and values.ndim
        else values.reshape(1, -1)
    )
    run["dst"].store_values(prefix_sum(rows).reshape(values.shape))
