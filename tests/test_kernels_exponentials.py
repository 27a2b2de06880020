"""vexp2sum: against the reference, and against the instructions that its definition names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.kernels.scratch import RUN
from emulator.reference import arith, reduce
from emulator.reference.convert import to_format
from isa.formats import Format
from tests.kernel_records import Tensor, record, row_major, run, stored
from tests.test_kernels_vector import EDGES, FLOATS, numbers, room, same, tensor, values_of

FP32 = Format.FP32


def limits(rng, rows: int, columns: int, k0: int) -> Tensor:
    """Bounds that begin before, in and behind the columns, some of them reversed."""
    bounds = rng.integers(k0 - 10, k0 + columns + 10, (rows, 2)).astype(np.int32)
    return stored(Format.I32, bounds, (3, 1))


def spread(column: Tensor, columns: int) -> Tensor:
    """[M, 1] read as [M, columns]."""
    shape, strides = (column.shape[0], columns), (column.strides[0], 0)
    words = record(int(column.record[0]), column.fmt, shape, strides)
    return Tensor(column.data, column.fmt, shape, strides, words)


def filled(rng, fmt: Format, shape: tuple[int, int]) -> Tensor:
    """Room for results, in which nothing is zero."""
    place = room(rng, fmt, shape)
    place.data[:] = 0xA5
    return place


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    formats=st.tuples(*[st.sampled_from(FLOATS)] * 4),
    rows=st.integers(1, 5),
    columns=st.sampled_from((1, 2, 15, 16, 17, 31, 32, 33, 48, 64, 100, 128, RUN, RUN + 16, 1500)),
    bounded=st.booleans(),
)
def test_is_the_sequence_of_its_definition(seed, formats, rows, columns, bounded):
    """The bits of the kernels of vsub and vexp2 to FP32, vrsum, and vcvt."""
    rng = np.random.default_rng(seed)
    a = tensor(rng, formats[0], numbers(rng, (rows, columns), bool(seed % 2)))
    b = tensor(rng, formats[1], numbers(rng, (rows, 1), bool(seed % 3)))
    k0 = int(rng.integers(-50, 50))
    bounds = limits(rng, rows, columns, k0) if bounded else None
    dst, total = filled(rng, formats[2], (rows, columns)), filled(rng, formats[3], (rows, 1))
    run("vexp2sum", dst, total, a, b, bounds, k0=k0)
    x = stored(FP32, np.zeros((rows, columns), np.uint32))
    rounded, summed = filled(rng, formats[2], (rows, columns)), filled(rng, formats[3], (rows, 1))
    run("vsub", x, a, spread(b, columns))
    run("vexp2", x, x)
    run("vrsum", summed, x, bounds, k0=k0)
    run("vcvt", rounded, x)
    same(dst.codes(), rounded.codes())
    same(total.codes(), summed.codes())


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_reference(seed):
    rng = np.random.default_rng([seed, 50])
    rows, columns = int(rng.integers(1, 6)), int(rng.choice((1, 31, 32, 33, 100, 1024, 1500)))
    fa, fb, fd, ft = (FLOATS[int(i)] for i in rng.integers(0, 3, 4))
    a = tensor(rng, fa, numbers(rng, (rows, columns), bool(seed % 2)))
    b = tensor(rng, fb, rng.choice(EDGES, (rows, 1)) if seed % 3 else numbers(rng, (rows, 1)))
    dst, total = room(rng, fd, (rows, columns)), room(rng, ft, (rows, 1))
    k0 = int(rng.integers(0, 50))
    bounds = limits(rng, rows, columns, k0) if seed % 2 else None
    run("vexp2sum", dst, total, a, b, bounds, k0=k0)
    clipped = np.clip(bounds.codes() - k0, 0, columns).T if bounds else None
    x = arith.exp2(arith.sub(values_of(a), values_of(b)))
    same(dst.codes(), to_format(fd, x))
    same(total.codes(), to_format(ft, reduce.row_sum(x, clipped))[:, None])


def test_more_rows_than_are_treated_together():
    rng = np.random.default_rng(7)
    rows = 2 * RUN + 3
    a, b = tensor(rng, FP32, numbers(rng, (rows, 3))), tensor(rng, FP32, numbers(rng, (rows, 1)))
    dst, total = room(rng, Format.BF16, (rows, 3)), room(rng, FP32, (rows, 1))
    run("vexp2sum", dst, total, a, b, None)
    x = arith.exp2(arith.sub(values_of(a), values_of(b)))
    same(dst.codes(), to_format(Format.BF16, x))
    same(total.codes(), to_format(FP32, reduce.row_sum(x))[:, None])


@pytest.mark.parametrize("columns", [1, 2, 20, 64, RUN + 7])
@pytest.mark.parametrize("formats", [(FP32, FP32), (Format.BF16, Format.FP16)])
def test_in_place(columns, formats):
    """dst in a's place and total in b's, in formats of one width; with two columns, bounds too."""
    rng = np.random.default_rng(columns)
    rows, (source, target) = RUN + 2, formats
    a = tensor(rng, source, numbers(rng, (rows, columns)))
    b = stored(FP32, numbers(rng, (rows, 1)).view(np.uint32))
    x = arith.exp2(arith.sub(values_of(a), values_of(b)))
    sums = reduce.row_sum(x)
    dst = Tensor(a.data, target, a.shape, a.strides, a.record.copy())
    dst.record[1] = target
    run("vexp2sum", dst, b, a, b, None)
    same(dst.codes(), to_format(target, x))
    same(b.codes(), to_format(FP32, sums)[:, None])


def test_dst_may_lie_on_its_bounds():
    rng = np.random.default_rng(3)
    a, b = numbers(rng, (40, 2)), numbers(rng, (40, 1))
    limits = rng.integers(0, 3, (40, 2)).astype(np.int32)
    bounds = stored(Format.I32, limits)
    dst = Tensor(bounds.data, FP32, (40, 2), (2, 1), bounds.record.copy())
    dst.record[1] = FP32
    total = room(rng, FP32, (40, 1))
    operands = (stored(FP32, x.view(np.uint32)) for x in (a, b))
    run("vexp2sum", dst, total, *operands, bounds)
    x = arith.exp2(arith.sub(a, b))
    same(dst.codes(), to_format(FP32, x))
    same(total.codes(), to_format(FP32, reduce.row_sum(x, limits.T))[:, None])


def test_nothing_beyond_the_operands_is_touched():
    """Rows end within a block of sixteen: what lies behind stays, and has no influence."""
    rng = np.random.default_rng(5)
    for columns in (1, 17, 30):
        shape = (3, columns)
        a = stored(FP32, numbers(rng, shape).view(np.uint32), row_major(shape, 5), fill=0xFF)
        b = stored(FP32, numbers(rng, (3, 1)).view(np.uint32), (4, 1), fill=0xFF)
        for fmt in FLOATS:
            dst = stored(fmt, np.zeros(shape, to_format(fmt, np.float32(0)).dtype), (40, 1))
            total = stored(FP32, np.zeros((3, 1), np.uint32), (2, 1))
            before = dst.data.copy(), total.data.copy()
            run("vexp2sum", dst, total, a, b, None)
            x = arith.exp2(arith.sub(values_of(a), values_of(b)))
            wanted = (to_format(fmt, x), to_format(FP32, reduce.row_sum(x))[:, None])
            for place, old, codes in zip((dst, total), before, wanted, strict=True):
                expected = stored(place.fmt, codes, place.strides)
                assert len(old) == len(expected.data)
                same(place.data, expected.data)
