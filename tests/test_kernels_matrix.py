"""The matrix kernel against the contract's rule written out in NumPy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from emulator.kernels.scratch import SCRATCH_BYTES
from emulator.reference.matrix import block_gemm
from isa.formats import Format, decode_table
from tests.kernel_records import (
    NARROW,
    Tensor,
    attach_scales,
    canonical,
    exact_fma,
    panels,
    random_codes,
    run,
    stored,
)

WIDE = (Format.BF16, Format.FP16)
NONE, MX32, NV16 = 0, 1, 2


def scale_values(kind: int, codes: np.ndarray) -> np.ndarray:
    """Scale values in float64."""
    if kind == NV16:
        return decode_table(Format.E4M3FN)[codes & 0x7F].astype(np.float64)
    return decode_table(Format.E8M0)[codes].astype(np.float64)


def rule(acc, a, w, kind_a, scale_a, kind_w, scale_w, ranges):
    """Section 1 of the contract: acc [M, N], a [M, K], w [N, K] fp32; ranges [M, 2]."""
    block = 16 if NV16 in (kind_a, kind_w) else 32
    acc = acc.copy()
    for m in range(a.shape[0]):
        low, high = ranges[m]
        for start in range(0, a.shape[1], block):
            inside = range(max(start, low), min(start + block, high))
            if not inside:
                continue
            s = np.zeros(w.shape[0], np.float32)
            for k in inside:
                s = exact_fma(np.full_like(s, a[m, k]), w[:, k], s)
            t = s.astype(np.float64)
            with np.errstate(all="ignore"):
                if kind_a != NONE:
                    t = t * scale_values(kind_a, scale_a[m, start // (32 // kind_a)])
                if kind_w != NONE:
                    t = t * scale_values(kind_w, scale_w[:, start // (32 // kind_w)])
                acc[m] = acc[m] + t.astype(np.float32)
        if low < high:
            acc[m] = canonical(acc[m]).view(np.float32)
    return acc


def random_scales(rng, kind, rows, k, span):
    if kind == NONE:
        return None
    blocks = -(-k // (32 // kind))
    if span == "wild":
        return rng.integers(0, 256, (rows, blocks)).astype(np.uint8)
    if kind == NV16:
        return rng.integers(8, 120, (rows, blocks)).astype(np.uint8)
    return rng.integers(100, 150, (rows, blocks)).astype(np.uint8)


def random_ranges(rng, rows, k, k0):
    """Absolute bounds and what is left of them within [0, k)."""
    style = rng.integers(0, 4)
    if style == 0:  # causal
        end = k0 + rng.integers(0, k + 1) + np.arange(rows)
        bounds = np.stack([np.zeros(rows, np.int64), end], 1)
    elif style == 1:  # sliding
        end = k0 + rng.integers(0, k + 40) + np.arange(rows)
        bounds = np.stack([end - rng.integers(1, 70), end], 1)
    elif style == 2:  # alike
        bounds = np.tile(np.sort(rng.integers(k0 - 5, k0 + k + 5, 2)), (rows, 1))
    else:
        bounds = rng.integers(k0 - 20, k0 + k + 20, (rows, 2))
    return bounds, np.clip(bounds - k0, 0, k)


def make_weights(rng, fmt, codes, layout):
    if layout == "panel":
        return panels(fmt, codes, rng)
    n, k = codes.shape
    if layout == "rows" or fmt is Format.E2M1:
        return stored(fmt, codes, (k + k % 2 + 2 * int(rng.integers(0, 3)), 1))
    if layout == "columns":
        return stored(fmt, codes, (1, n + int(rng.integers(0, 3))))
    return stored(fmt, codes, (3, 3 * n + 1))


def make_activations(rng, fmt, codes):
    m, k = codes.shape
    if fmt is not Format.E2M1 and rng.random() < 0.2:
        return stored(fmt, codes, (1, m))
    return stored(fmt, codes, (k + k % 2 + 2 * int(rng.integers(0, 3)), 1))


def check(rng, m, n, k, fa, fw, kind_a, kind_w, layout, specials, span, bounded, accumulate):
    a_codes = random_codes(rng, fa, (m, k), specials)
    w_codes = random_codes(rng, fw, (n, k), specials)
    a, w = make_activations(rng, fa, a_codes), make_weights(rng, fw, w_codes, layout)
    sa, sw = random_scales(rng, kind_a, m, k, span), random_scales(rng, kind_w, n, k, span)
    if sa is not None:
        attach_scales(a, kind_a, sa, False, rng)
    if sw is not None:
        attach_scales(w, kind_w, sw, layout == "panel", rng)
    old = rng.standard_normal((m, n)).astype(np.float32)
    old.view(np.uint32)[rng.random((m, n)) < 0.02] = 0xFFC12345
    old[rng.random((m, n)) < 0.02] = -0.0
    step = 1 if rng.random() < 0.8 else 2
    acc = stored(Format.FP32, old.view(np.uint32), (n * step + int(rng.integers(0, 4)), step))
    k0 = int(rng.integers(0, 300)) if bounded else 0
    bounds, ranges = random_ranges(rng, m, k, k0)
    if not bounded:
        ranges = np.tile([0, k], (m, 1))
    limits = stored(Format.I32, bounds.astype(np.int32))
    before = acc.data.copy()
    assert run("gemm", acc, a, w, limits if bounded else None, flags=int(accumulate), k0=k0) == 0
    start = old if accumulate else np.zeros_like(old)
    table_a, table_w = decode_table(fa), decode_table(fw)
    want = rule(start, table_a[a_codes], table_w[w_codes], kind_a, sa, kind_w, sw, ranges)
    got = acc.codes()
    np.testing.assert_array_equal(got, want.view(np.uint32))
    assert_only_written(acc, before)


def assert_only_written(tensor: Tensor, before: np.ndarray) -> None:
    """Bytes of memory that are not elements kept their old values."""
    probe = stored(tensor.fmt, np.zeros(tensor.shape, np.uint32), tensor.strides, fill=1)
    element = probe.data == 0
    np.testing.assert_array_equal(tensor.data[~element], before[~element])


def scale_kinds(rng, fmt):
    if fmt is Format.E2M1:
        return int(rng.integers(0, 3))
    return int(rng.integers(0, 2)) if fmt in NARROW else NONE


@pytest.mark.parametrize("seed", range(60))
def test_random_products(seed):
    rng = np.random.default_rng(seed)
    fa, fw = (Format(int(rng.choice((*WIDE, *NARROW)))) for _ in range(2))
    m = int(rng.choice((1, 2, 3, 4, 5, 7, 8, 9, 13, 33)))
    n = int(rng.choice((1, 15, 16, 17, 48, 64, 100, 128, 144)))
    k = int(rng.choice((1, 7, 16, 31, 32, 33, 64, 100, 128, 160, 257)))
    check(
        rng,
        m,
        n,
        k,
        fa,
        fw,
        scale_kinds(rng, fa),
        scale_kinds(rng, fw),
        rng.choice(("panel", "panel", "rows", "columns", "odd")),
        float(rng.choice((0, 0.02, 0.3))),
        rng.choice(("mild", "wild")),
        bool(rng.random() < 0.5),
        bool(rng.random() < 0.5),
    )


@pytest.mark.parametrize("fmt", [*WIDE, *NARROW])
@pytest.mark.parametrize("layout", ["panel", "rows", "columns"])
def test_whole_tiles(fmt, layout):
    rng = np.random.default_rng(7)
    kind = NONE if fmt in WIDE else MX32
    check(rng, 12, 128, 192, fmt, fmt, kind, kind, layout, 0.0, "mild", False, True)


def test_many_rows_cross_row_blocks():
    rng = np.random.default_rng(3)
    m, n, k = 300, 16, 64
    check(rng, m, n, k, Format.E4M3FN, Format.E2M1, MX32, NV16, "panel", 0, "mild", True, True)


def test_long_k_crosses_held_chunks():
    rng = np.random.default_rng(4)
    check(rng, 9, 16, 4100, Format.E4M3FN, Format.E5M2, 1, 1, "panel", 0, "mild", False, False)


@pytest.mark.parametrize(
    ("value", "sa", "sw", "want"),
    [
        (40.0, 127 - 75, 127 - 75, 0x280),  # 32 * 40 = 1280 at 2^-150 is 640 * 2^-149
        (40.0, 127 - 80, 127 - 80, 1),  # 1280 * 2^-160 = 1.25 * 2^-149
        (0.0, 254, 254, 0),  # +0 at 2^254 is +0
        (1.0, 255, 0, 0x7FC00000),
        (1.0, 254, 126, 0x7F800000),  # 32 * 2^126
        (1.0, 254, 27, 0x4F800000),  # 32 * 2^127 overflows, times 2^-100 it does not
        (2.0**-14, 254, 135, 0x7E800000),  # 32 * 2^-14 * 2^135 = 2^126, where 2^135 overflows
    ],
)
def test_scales_out_of_range(value, sa, sw, want):
    """Products of scales that leave fp32's range although the exact result may not."""
    fmt = Format.E5M2
    code = int(np.flatnonzero(decode_table(fmt) == np.float32(value))[0])
    rng = np.random.default_rng(0)
    codes = np.full((1, 32), code, np.uint8)
    one = np.full((16, 32), int(np.flatnonzero(decode_table(fmt) == 1.0)[0]), np.uint8)
    a, w = stored(fmt, codes), panels(fmt, one, rng)
    attach_scales(a, MX32, np.full((1, 1), sa, np.uint8), False, rng)
    attach_scales(w, MX32, np.full((16, 1), sw, np.uint8), True, rng)
    acc = stored(Format.FP32, np.zeros((1, 16), np.uint32))
    run("gemm", acc, a, w, None)
    assert (acc.codes() == want).all()


@pytest.mark.parametrize("kinds", [(0, 0), (0, 1), (1, 1), (2, 2), (1, 2), (2, 1), (2, 0)])
@pytest.mark.parametrize("layout", ["panel", "rows"])
@pytest.mark.parametrize("span", ["mild", "wild"])
def test_nibbles_by_nibbles(kinds, layout, span):
    """The integer path: every kind of scale, whole tiles and edges, whole and cut blocks."""
    rng = np.random.default_rng([*kinds, len(layout), len(span)])
    fmt = Format.E2M1
    for m, n, k in ((1, 128, 256), (2, 144, 72), (5, 17, 333), (9, 128, 160), (4, 64, 7)):
        check(rng, m, n, k, fmt, fmt, *kinds, layout, 0, span, False, bool(rng.integers(2)))


@pytest.mark.parametrize("fmt", [*WIDE, *NARROW])
@pytest.mark.parametrize("specials", [0.0, 0.1])
def test_few_rows_of_whole_panels(fmt, specials):
    """The path for one and two rows, over more than one chunk and a cut block."""
    rng = np.random.default_rng([int(fmt), int(specials * 10)])
    for m, k in ((1, 256), (2, 300), (1, 129)):
        kind = scale_kinds(rng, fmt)
        check(rng, m, 272, k, Format.BF16, fmt, 0, kind, "panel", specials, "mild", False, True)


@pytest.mark.parametrize("formats", [(1, 1), (2, 3), (3, 5), (5, 5)])
def test_agrees_with_the_reference(formats):
    """The kernel and the reference model, which share nothing, over scales and bounds."""
    rng = np.random.default_rng(formats)
    fa, fw = Format(formats[0]), Format(formats[1])
    m, n, k, k0 = 11, 40, 200, 64
    kinds = [scale_kinds(rng, fmt) for fmt in (fa, fw)]
    a_codes, w_codes = random_codes(rng, fa, (m, k), 0.05), random_codes(rng, fw, (n, k), 0.05)
    a, w = stored(fa, a_codes), panels(fw, w_codes, rng)
    block = 16 if NV16 in kinds else 32
    factors = []
    for tensor, kind, rows in ((a, kinds[0], m), (w, kinds[1], n)):
        codes = random_scales(rng, kind, rows, k, "wild")
        factors.append(None)
        if codes is not None:
            attach_scales(tensor, kind, codes, tensor is w, rng)
            values = scale_values(kind, codes).astype(np.float32)
            factors[-1] = np.repeat(values, 32 // kind // block, axis=1)
    bounds, ranges = random_ranges(rng, m, k, k0)
    old = rng.standard_normal((m, n)).astype(np.float32)
    acc = stored(Format.FP32, old.view(np.uint32))
    run("gemm", acc, a, w, stored(Format.I32, bounds.astype(np.int32)), flags=1, k0=k0)
    tables = decode_table(fa)[a_codes], decode_table(fw)[w_codes]
    want = block_gemm(old, *tables, *factors, block, (ranges[:, 0], ranges[:, 1]))
    np.testing.assert_array_equal(acc.codes(), want.view(np.uint32))


def test_threads_do_not_share():
    """Two threads at once, each with its scratch, give what one gives."""
    rng = np.random.default_rng(0)
    fmt = Format.E4M3FN
    a = stored(fmt, random_codes(rng, fmt, (64, 512)))
    w = panels(fmt, random_codes(rng, fmt, (256, 512)), rng)
    results = [stored(Format.FP32, np.zeros((64, 256), np.uint32)) for _ in range(5)]
    run("gemm", results[0], a, w, None)

    def work(mine):
        scratch = np.zeros(SCRATCH_BYTES, np.uint8)
        for acc in mine:
            for _ in range(20):
                run("gemm", acc, a, w, None, scratch=scratch)

    threads = [threading.Thread(target=work, args=(results[i::2],)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for acc in results[1:]:
        np.testing.assert_array_equal(acc.codes(), results[0].codes())
