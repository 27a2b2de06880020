"""The oracle of the vector engine: against exact fractions, other libraries, and itself."""

from __future__ import annotations

from itertools import product
from typing import Any

import gfloat
import gfloat.formats
import ml_dtypes
import mpmath
import numpy as np
import pytest

from emulator.conformance.oracle import compiled, reduce, soft, vector
from emulator.conformance.oracle.convert import convert, narrow
from emulator.conformance.suites import vpu_enumerate, vpu_exponentials, vpu_hashes, vpu_reduce
from emulator.conformance.suites import vpu_packs as packs
from isa.formats import Format
from tests import vector_obvious as obvious

F = Format
RNG = np.random.default_rng(7)
ALL = (F.FP32, F.BF16, F.FP16, F.E4M3FN, F.E5M2, F.E2M1)


def some(patterns: Any, count: int = 300) -> list[int]:
    """A few of many patterns."""
    chosen: list[int] = RNG.choice(
        np.unique(patterns), min(count, len(np.unique(patterns)))
    ).tolist()
    return chosen


def modes(target: Format) -> tuple[bool, ...]:
    return (True, False) if target in (F.E4M3FN, F.E5M2) else (True,)


@pytest.mark.parametrize("source", [*ALL[1:], F.E8M0, F.U8, F.I32, F.FP32])
def test_conversions_are_those_of_fractions(source: Format) -> None:
    if source is F.I32:
        codes = some(RNG.integers(0, 1 << 32, 300) >> RNG.integers(0, 32, 300))
    elif source is F.FP32:
        codes = some(packs.stratified("test"), 500) + some(packs.oddities(), 60)
        codes += some(packs.to_integer())
    else:
        codes = some(packs.codes(source), 256)
    for target in (*ALL, F.I32):
        for sat in modes(target):
            wanted = [obvious.converted(source, code, target, sat) for code in codes]
            assert convert(source, codes, target, sat).tolist() == wanted, (target, sat)


@pytest.mark.parametrize("fmt", ALL[1:])
def test_a_pack_has_both_sides_of_every_step(fmt: Format) -> None:
    steps, sat = packs.boundaries(fmt), fmt is F.E2M1
    codes = narrow(fmt, steps, sat)
    assert (codes[:, 0] == np.arange(len(steps))).all()
    assert (codes[:-1, 1] == np.arange(1, len(steps))).all()
    assert (steps[:, 1] - steps[:, 0] == 1).all()
    assert set(steps.reshape(-1).tolist()) <= set(packs.defining(fmt).tolist())


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [
        (F.BF16, ml_dtypes.bfloat16),
        (F.FP16, np.float16),
        (F.E4M3FN, ml_dtypes.float8_e4m3fn),
        (F.E5M2, ml_dtypes.float8_e5m2),
        (F.E2M1, ml_dtypes.float4_e2m1fn),
    ],
)
def test_ml_dtypes_agrees(fmt: Format, dtype: Any) -> None:
    """It does not saturate, keeps signs of NaNs, and has no NaN in E2M1: those are left out."""
    patterns = np.concatenate((packs.defining(fmt), RNG.integers(0, 1 << 32, 1 << 18)))
    patterns = patterns[(patterns & 0x7FFFFFFF) <= 0x7F800000]
    with np.errstate(over="ignore"):
        theirs = patterns.astype(np.uint32).view(np.float32).astype(dtype)
    bits = theirs.view(np.uint16 if fmt in (F.BF16, F.FP16) else np.uint8).astype(np.int64)
    if fmt is F.E4M3FN:
        bits = np.where(bits & 0x7F == 0x7F, 0x7F, bits)
    assert (narrow(fmt, patterns, fmt is F.E2M1) == bits).all()


@pytest.mark.parametrize(
    ("fmt", "info"),
    [
        (F.E4M3FN, gfloat.formats.format_info_ocp_e4m3),
        (F.E5M2, gfloat.formats.format_info_ocp_e5m2),
        (F.E2M1, gfloat.formats.format_info_ocp_e2m1),
    ],
)
def test_gfloat_agrees_on_saturating(fmt: Format, info: Any) -> None:
    patterns = np.array([p for p in some(packs.defining(fmt), 400) if p & 0x7FFFFFFF <= 0x7F800000])
    values = patterns.astype(np.uint32).view(np.float32)
    rounded = [gfloat.round_float(info, float(v), sat=True) for v in values]
    theirs = [gfloat.encode_float(info, v) for v in rounded]
    assert narrow(fmt, patterns).tolist() == theirs


def test_unary_operations_are_those_of_fractions() -> None:
    patterns = some(packs.stratified("u"), 250) + packs.SPECIALS.tolist()
    patterns += some(packs.hard_roots(), 60) + some(packs.hard_reciprocals(), 100)
    for name, function in obvious.UNARY.items():
        wanted = [obvious.pattern(function(obvious.number(p))) for p in patterns]
        assert vector.FUNCTIONS[name](patterns).tolist() == wanted, name


PAIRS = {
    "vadd": (packs.special_pairs, packs.sum_ties, packs.cancelling),
    "vsub": (packs.special_pairs, packs.cancelling),
    "vmul": (packs.special_pairs, packs.product_ties, packs.small_products, packs.overflowing),
    "vdiv": (packs.special_pairs, packs.hard_quotients, packs.small_quotients, packs.overflowing),
    "vmin": (packs.special_pairs,),
    "vmax": (packs.special_pairs,),
}


@pytest.mark.parametrize("name", PAIRS)
def test_binary_operations_are_those_of_fractions(name: str) -> None:
    for pack in (*PAIRS[name], lambda: packs.random_pairs("test", 400)):
        a, b = (x[:: max(len(x) // 250, 1)] for x in pack())
        pairs = zip(a.tolist(), b.tolist(), strict=True)
        wanted = [
            obvious.pattern(obvious.BINARY[name](obvious.number(x), obvious.number(y)))
            for x, y in pairs
        ]
        assert vector.FUNCTIONS[name](a, b).tolist() == wanted


def test_comparisons_are_those_of_fractions() -> None:
    a, b = packs.special_pairs()
    for relation in ("eq", "ne", "lt", "le", "gt", "ge"):
        wanted = [
            obvious.compared(relation, obvious.number(x), obvious.number(y))
            for x, y in zip(a.tolist(), b.tolist(), strict=True)
        ]
        assert vector.compare(relation, a, b).tolist() == wanted


def test_the_processor_agrees_on_many() -> None:
    """The machine's own arithmetic is IEEE 754; its NaNs are made canonical."""
    a, b = packs.random_pairs("many", 1 << 18)
    x, y = (v.astype(np.uint32).view(np.float32) for v in (a, b))
    with np.errstate(all="ignore"):
        theirs = {soft.add: x + y, soft.multiply: x * y, soft.divide: x / y}
        roots = np.sqrt(x)
    for function, values in theirs.items():
        assert (function(a, b) == narrow(F.FP32, values.view(np.uint32))).all()
    assert (soft.sqrt(a) == narrow(F.FP32, roots.view(np.uint32))).all()


def test_reductions_are_those_of_fractions() -> None:
    for name, length in product(("vrsum", "vrmax", "vrmin"), (0, 1, 5, 31, 33, 63, 90, 130)):
        rows = vpu_reduce.uneven(f"test{length}", (3, length))
        rows[1:, ::3] = RNG.choice(packs.SPECIALS, rows[1:, ::3].shape)
        bounds = np.array([[0, length], [3, length - 2], [7, 40]])
        got = reduce.reduce_rows(name, F.FP32, rows, F.FP32, bounds + 50, 50)
        wanted = [
            obvious.reduced(name, row, *limits)
            for row, limits in zip(rows.tolist(), bounds.tolist(), strict=True)
        ]
        assert got[:, 0].tolist() == wanted


def test_exponentials_of_rows_are_those_of_fractions() -> None:
    for length in (0, 1, 33, 70):
        rows = vpu_exponentials.scores(f"test{length}", (4, length))
        rows[2:, ::3] = RNG.choice(packs.SPECIALS, rows[2:, ::3].shape)
        less = np.append(vpu_exponentials.scores("less", (3, 1)), [[0x7F800000]], axis=0)
        bounds = np.array([[0, length], [3, length - 2], [7, 40], [0, 1]])
        columns = (F.FP32, rows), (F.FP32, less)
        dst, total = reduce.exp2_rows(*columns, F.FP32, F.FP32, bounds + 50, 50)
        for i, (row, limits) in enumerate(zip(rows.tolist(), bounds.tolist(), strict=True)):
            wanted = obvious.exponentials(row, int(less[i, 0]), *limits)
            assert (dst[i].tolist(), int(total[i, 0])) == wanted


def test_order_is_that_of_fractions() -> None:
    rows = RNG.choice(packs.SPECIALS, (20, 45))
    values, indices = reduce.topk(rows, 45, -3)
    for row, value, index in zip(rows.tolist(), values.tolist(), indices.tolist(), strict=True):
        order = obvious.ranked(row)
        assert index == [i - 3 & 0xFFFFFFFF for i in order]
        assert value == [row[i] for i in order]


@pytest.mark.parametrize("name", vpu_enumerate.OPERATIONS)
def test_the_compiled_oracle_agrees(name: str) -> None:
    assert vpu_hashes.differences(vpu_enumerate.OPERATIONS[name], 1 << 20) == 0


@pytest.mark.parametrize("name", vpu_enumerate.OPERATIONS)
def test_the_tables_of_hashes_are_those_of_the_compiled_oracle(name: str) -> None:
    plan = vpu_enumerate.OPERATIONS[name]
    table = np.frombuffer(vpu_enumerate.table_path(plan).read_bytes(), "<u4")
    assert len(table) == 4096
    for block in RNG.integers(0, 4096, 2):
        assert compiled.block_hash(plan, int(block)) == table[block]


def test_the_arrays_make_the_same_hashes() -> None:
    for name in ("vcvt/fp32-e2m1", "vcvt/fp32-i32", "vrcp/fp32"):
        plan = vpu_enumerate.OPERATIONS[name]
        assert vpu_enumerate.hash_of_block(plan, 1013) == compiled.block_hash(plan, 1013)


def test_exp2_is_within_its_bound() -> None:
    """Against long doubles, and the worst against mpmath: at most 1.25 units in the last place."""
    patterns = np.concatenate(
        [RNG.uniform(low, high, 1 << 18).astype(np.float32) for low, high in RANGES]
    )
    x = patterns.astype(np.longdouble)
    got = compiled.results("vexp2", F.FP32, patterns.view(np.uint32))
    value = got.astype(np.uint32).view(np.float32)
    unit = np.exp2(np.maximum(np.floor(x), -126) - 23)
    errors = np.abs((value.astype(np.longdouble) - np.exp2(x)) / unit)
    assert len(patterns) > 10**6
    with mpmath.workprec(120):
        for i in np.argsort(errors)[-300:]:
            exact = mpmath.power(2, mpmath.mpf(float(patterns[i])))
            error = abs(mpmath.mpf(float(value[i])) - exact) / mpmath.mpf(float(unit[i]))
            assert abs(error - float(errors[i])) < 1e-6
            assert error <= 1.25


RANGES = ((-1, 1), (-0.01, 0.01), (-20, 20), (-126, 127.9), (-149, -125))
