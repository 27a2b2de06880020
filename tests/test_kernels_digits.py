"""FP8 by FP4 on few rows: integers where no sum rounds, multiply-adds elsewhere, the same bits."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from emulator.jit import njit as compiled
from emulator.kernels.matrix_digits import EXACT_AT, HAS_DIGITS, START_AT, pack_a_digits
from emulator.kernels.scratch import D_STRIDE, DIGITS_AT, LINE, SCRATCH_BYTES
from emulator.reference.matrix import block_gemm
from isa.formats import Format, decode_table
from tests.kernel_records import Tensor, attach_scales, panels, run, stored

COLUMNS = 128  # of a whole group
LIMIT = 2**24 / 12
E4M3, E2M1 = decode_table(Format.E4M3FN), decode_table(Format.E2M1)


def code_of(values: np.ndarray) -> np.ndarray:
    """Codes of E4M3FN values that exist."""
    order = np.argsort(np.where(np.isnan(E4M3), np.inf, E4M3), kind="stable")
    codes = order[np.searchsorted(E4M3[order], values)].astype(np.uint8)
    assert np.array_equal(E4M3[codes], values)
    return codes


def activations(rng: np.random.Generator, rows: int, k: int) -> np.ndarray:
    """Blocks of many kinds: plain, tiny beside huge, near the limit, with NaNs, all zero."""
    codes = np.zeros((rows, k), np.uint8)
    for m in range(rows):
        for start in range(0, k, 16):
            kind = rng.integers(0, 6)
            part = rng.integers(0, 256, 16).astype(np.uint8)  # any code
            part[(part & 0x7F) == 0x7F] = 3
            if kind == 1:
                part = (part & 0x80) | rng.integers(0x70, 0x7F, 16).astype(np.uint8)  # large
            elif kind == 2:
                part = (part & 0x80) | rng.integers(0x68, 0x78, 16).astype(np.uint8)
                part[int(rng.integers(16))] = rng.integers(1, 8)  # and one subnormal
            elif kind == 3:
                part[:] = 0
            elif kind == 4 and rng.random() < 0.3:
                part[int(rng.integers(16))] = 0x7F
            codes[m, start : start + 16] = part
    return codes


def expected(a_codes, w_codes, sa, sw, kind, old):
    block = 32 if kind == 1 else 16
    if kind == 0:
        return block_gemm(old, E4M3[a_codes], E2M1[w_codes], None, None, 32)
    table = decode_table(Format.E8M0) if kind == 1 else np.abs(E4M3)
    a_kind_block = 32 // block
    scale_a = np.repeat(decode_table(Format.E8M0)[sa], a_kind_block, axis=1)
    return block_gemm(old, E4M3[a_codes], E2M1[w_codes], scale_a, table[sw], block)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["none", "mx32", "nv16"])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("k", [32, 96, 128, 288, 416])
@pytest.mark.parametrize("wild", [False, True])
def test_equals_the_reference(kind: int, rows: int, k: int, wild: bool) -> None:
    rng = np.random.default_rng([kind, rows, k, wild])
    check(rng, kind, rows, COLUMNS + (COLUMNS if rows == 2 else 16), k, wild)


@pytest.mark.parametrize("columns", [1, 16, 31, 32, 48, 80, 112, 120])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_less_than_a_group_of_columns(columns: int, rows: int) -> None:
    """Panels that are no group are multiplied one by one; the last may be cut."""
    rng = np.random.default_rng([columns, rows])
    check(rng, 1, rows, columns, 160, False)
    check(rng, 1, rows, COLUMNS + columns, 96, False)


def check(rng: np.random.Generator, kind: int, rows: int, n: int, k: int, wild: bool) -> None:
    """A product [rows, n, k] with scales of a kind, of the whole range if it is wild."""
    a_codes = activations(rng, rows, k)
    w_codes = rng.integers(0, 16, (n, k)).astype(np.uint8)
    low, high = (0, 256) if wild else (115, 140)
    sa = rng.integers(low, high, (rows, k // 32)).astype(np.uint8)
    blocks = k // 32 if kind == 1 else k // 16
    sw = rng.integers(*((0, 256) if wild else (40, 100)), (n, blocks)).astype(np.uint8)
    if kind == 1 and not wild:
        sw = sw + np.uint8(60)
    a = stored(Format.E4M3FN, a_codes)
    w = panels(Format.E2M1, w_codes, rng)
    if kind:
        attach_scales(a, 1, sa, False, rng)
        attach_scales(w, kind, sw, True, rng)
    old = rng.standard_normal((rows, n)).astype(np.float32)
    acc = stored(Format.FP32, old.view(np.uint32))
    run("gemm", acc, a, w, None, flags=1)
    with np.errstate(all="ignore"):
        want = expected(a_codes, w_codes, sa, sw, kind, old)
    assert np.array_equal(acc.codes(), want.view(np.uint32))


# ---- a row that is packed already


def fresh_scratch() -> np.ndarray:
    return np.full(SCRATCH_BYTES, 0xFF, np.uint8)


def products(rng: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
    """A and W of products whose rows differ in as little as can be: one code, one scale, length."""
    codes = activations(np.random.default_rng(3), 2, 416)
    codes[(codes & 0x7F) == 0x7F] = 0  # a NaN would hide all else
    changed, scales = codes.copy(), np.full((2, 13), 120, np.uint8)
    changed[0, 415] ^= 1
    scaled = scales.copy()
    scaled[0, 12] += 1
    variants = [
        *((codes[:1], scales[:1], 1), (codes[:1], scales[:1], 2), (codes[:1], None, 0)),
        *((codes[:1], None, 1), (changed[:1], scales[:1], 1), (codes[:1], scaled[:1], 1)),
        *((codes[:1, :384], scales[:1, :12], 1), (codes, scales, 1), (codes[1:], scales[1:], 1)),
        *((codes[:1, :408], scales[:1], 1), (codes[:1, :56], None, 1)),
    ]
    found = []
    for row, scale, kind in variants:
        a, k = stored(Format.E4M3FN, row), row.shape[1]
        if scale is not None:
            attach_scales(a, 1, scale, False, rng)
            dense = np.ascontiguousarray(scale)  # as the quantise unit leaves them
            a.keep.append(dense)
            a.record[12:15] = (dense.ctypes.data, scale.shape[1], 1)
        w = panels(Format.E2M1, rng.integers(0, 16, (32, k)).astype(np.uint8), rng)
        if kind:
            codes_w = rng.integers(60, 90, (32, -(-k // (32 if kind == 1 else 16)))).astype(
                np.uint8
            )
            attach_scales(w, kind, codes_w, True, rng)
        found.append((a, w))
    return found


def result(a: Tensor, w: Tensor, scratch: np.ndarray) -> np.ndarray:
    acc = stored(Format.FP32, np.zeros((a.shape[0], 32), np.uint32))
    run("gemm", acc, a, w, None, scratch=scratch)
    return acc.codes()


@pytest.mark.parametrize("between", [False, True])
def test_one_product_after_another(between: bool) -> None:
    """Each after each in one scratch, also with a vector instruction between, which uses it."""
    rng = np.random.default_rng(5)
    x = stored(Format.BF16, rng.integers(0, 1 << 14, (3, 2000)).astype(np.uint16))
    y = stored(Format.FP32, np.zeros((3, 2000), np.uint32))
    operands, scratch = products(rng), fresh_scratch()
    expected = [result(a, w, fresh_scratch()) for a, w in operands]
    for one, other in itertools.product(range(len(operands)), repeat=2):
        for number in (one, other):
            assert np.array_equal(result(*operands[number], scratch), expected[number])
            if between:
                run("vmul", y, x, x, scratch=scratch)


@pytest.mark.skipif(
    not HAS_DIGITS or "TESSERA_AARCH64" in os.environ, reason="its kernel does not use digits"
)
def test_a_row_is_packed_once() -> None:
    """What is packed is used again, and only for the same row: found by changing it."""
    rng = np.random.default_rng(6)
    scratch = fresh_scratch()
    a = stored(Format.E4M3FN, np.full((1, 128), 0x38, np.uint8))
    other = stored(Format.E4M3FN, np.full((1, 128), 0x40, np.uint8))
    w = panels(Format.E2M1, np.full((16, 128), 2, np.uint8), rng)

    def product(row: Tensor) -> float:
        acc = stored(Format.FP32, np.zeros((1, 16), np.uint32))
        run("gemm", acc, row, w, None, scratch=scratch)
        return float(acc.codes().view(np.float32)[0, 0])

    assert product(a) == 128.0
    start = -scratch.ctypes.data % LINE + DIGITS_AT
    scratch[start : start + START_AT] = 0
    assert product(a) != 128.0
    assert product(other) == 256.0
    assert product(a) == 128.0


@pytest.mark.skipif(not HAS_DIGITS, reason="this machine does not use digits")
@pytest.mark.parametrize("block", [16, 32])
def test_a_block_is_exact_only_if_its_sums_cannot_round(block: int) -> None:
    @compiled
    def pack(source, target, size):
        pack_a_digits(source, target, size)
        return 0

    rng = np.random.default_rng(block)
    seen = set()
    for _ in range(200):
        codes = activations(rng, 1, 128)[0]
        values = E4M3[codes]
        row = np.zeros(D_STRIDE, np.uint8)
        pack(values.ctypes.data, row.ctypes.data, block)
        exact = row[EXACT_AT : EXACT_AT + 4 * (128 // block)].view(np.int32)
        for flag, part in zip(exact, values.reshape(-1, block), strict=True):
            assert bool(flag) == cannot_round(part)
            seen.add(bool(flag))
    assert seen == {True, False}


def cannot_round(values: np.ndarray) -> bool:
    """Whether the sum of magnitudes, in units of the lowest bit, leaves 24 bits."""
    if np.isnan(values).any():
        return False
    numbers = [abs(int(value * 512)) for value in values.astype(np.float64)]
    bits = 0
    for number in numbers:
        bits |= number
    return bits == 0 or sum(numbers) <= LIMIT * (bits & -bits)


def test_a_block_beyond_the_limit_rounds() -> None:
    """What the limit is for: such a block has another sum in another order."""
    a = code_of(np.array([[448.0] * 31 + [2.0**-9]], np.float32))
    w = np.full((COLUMNS, 32), 7, np.uint8)  # 6
    w[:, -1] = 1  # 0.5
    want = block_gemm(np.zeros((1, COLUMNS), np.float32), E4M3[a], E2M1[w], None, None, 32)
    exact = 448.0 * 6 * 31 + 2.0**-10
    assert float(want[0, 0]) != exact
    acc = stored(Format.FP32, np.zeros((1, COLUMNS), np.uint32))
    run(
        "gemm",
        acc,
        stored(Format.E4M3FN, a),
        panels(Format.E2M1, w, np.random.default_rng(0)),
        None,
    )
    assert np.array_equal(acc.codes(), want.view(np.uint32))
