"""The reference model's arithmetic against exact fractions, mpmath, ml_dtypes and laws."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import mpmath
import numpy as np
import pytest
from exact import (
    bits,
    finite,
    finite_fp32,
    fp32,
    fractions,
    random_patterns,
    rne,
    same,
    vector,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.reference import arith, matrix, reduce
from emulator.reference.arith import bits_of, f32, from_bits
from isa.formats import Format, decode, decode_table, encode

NAN = 0x7FC00000
NARROW = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1)
any_fp32 = st.floats(width=32) | st.sampled_from([0.0, -0.0, inf, -inf, float("nan")])


def value(x: Fraction | float) -> float:
    """A rounded fraction as a Python float."""
    return float(x)


# ---- elementwise


def test_self_test_passes_and_notices_a_flushing_host(monkeypatch: pytest.MonkeyPatch) -> None:
    arith.self_test()

    def flushing(function: object) -> object:
        def wrapped(*args: object) -> np.ndarray:
            result = function(*args)  # type: ignore[operator]
            return np.where(np.abs(result) < 2.0**-126, np.float32(0), result)

        return wrapped

    for name in ("add", "mul", "canonical"):
        with monkeypatch.context() as patch:
            patch.setattr(arith, name, flushing(getattr(arith, name)))
            with pytest.raises(RuntimeError, match="IEEE 754"):
                arith.self_test()


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_binary_operations_round_the_exact_result(name: str) -> None:
    rng = np.random.default_rng(1)
    near = rng.standard_normal(500).astype(np.float32)
    a = np.concatenate([random_patterns(rng, 1000), near, near])
    b = np.concatenate([random_patterns(rng, 1000), rng.permutation(near), near[::-1]])
    b[b == 0] = 1
    exact = {
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y,
    }[name]
    pairs = zip(fractions(a), fractions(b), strict=True)
    expected = [value(fp32(exact(x, y))) for x, y in pairs]
    assert getattr(arith, name)(a, b).tolist() == expected


def test_square_roots_are_nearest() -> None:
    x = np.abs(random_patterns(np.random.default_rng(2), 1000))
    for v, root in zip(fractions(x), arith.sqrt(x), strict=True):
        below, above = np.nextafter(root, f32(-inf)), np.nextafter(root, f32(inf))
        low = (Fraction(float(root)) + Fraction(float(below))) / 2
        high = (Fraction(float(root)) + Fraction(float(above))) / 2
        assert v == 0 or low * low <= v <= high * high


def test_reciprocals() -> None:
    x = np.abs(random_patterns(np.random.default_rng(3), 1000)) + f32(1e-30)
    expected = [value(fp32(1 / v)) for v in fractions(x)]
    assert arith.rcp(x).tolist() == expected
    roots = fractions(arith.sqrt(x))
    assert arith.rsqrt(x).tolist() == [value(fp32(1 / r)) for r in roots]
    assert arith.rcp(vector(0.0, -0.0, inf)).tolist() == [inf, -inf, 0.0]


def test_every_nan_is_canonical() -> None:
    odd = from_bits([0xFFC00001, 0x7F800001, 0x7FFFFFFF])
    one, infinity = f32(1), vector(inf)
    for name in ("add", "sub", "mul", "div", "minimum", "maximum"):
        function = getattr(arith, name)
        assert (bits_of(function(odd, one)) == NAN).all()
        assert (bits_of(function(one, odd)) == NAN).all()
    for name in ("sqrt", "rcp", "rsqrt", "exp2", "neg", "absolute"):
        assert (bits_of(getattr(arith, name)(odd)) == NAN).all()
    made = [
        arith.sub(infinity, infinity),
        arith.mul(infinity, f32(0)),
        arith.div(vector(0), vector(0)),
        arith.sqrt(vector(-1)),
        arith.fma32(infinity, one, -infinity),
        arith.scale_sum(vector(0), infinity, one),
        reduce.row_sum(odd[:1][:, None]),
        reduce.row_max(odd[:1][:, None]),
    ]
    assert [int(bits_of(m)[0]) for m in made] == [NAN] * len(made)


def test_minimum_and_maximum_of_zeros() -> None:
    a, b = vector(0.0, -0.0, 0.0, -0.0), vector(-0.0, 0.0, 0.0, -0.0)
    assert np.signbit(arith.minimum(a, b)).tolist() == [True, True, False, True]
    assert np.signbit(arith.maximum(a, b)).tolist() == [False, False, False, True]


@given(any_fp32, any_fp32, any_fp32)
@settings(max_examples=150, deadline=None)
def test_lattice_laws(x: float, y: float, z: float) -> None:
    a, b, c = vector(x), vector(y), vector(z)
    for op in (arith.minimum, arith.maximum):
        assert same(op(a, b), op(b, a))
        assert same(op(a, op(b, c)), op(op(a, b), c))
        assert same(op(a, a), arith.canonical(a))
    assert same(arith.neg(arith.minimum(a, b)), arith.maximum(arith.neg(a), arith.neg(b)))
    assert same(arith.add(a, b), arith.add(b, a)) and same(arith.mul(a, b), arith.mul(b, a))


# ---- exp2


def exp2_inputs() -> np.ndarray:
    """Dense where the result is finite, with every integer and its neighbours."""
    rng = np.random.default_rng(4)
    whole = np.arange(-152, 129, dtype=np.float32)
    near = np.concatenate([np.nextafter(whole, f32(s * inf)) for s in (-1, 1)])
    small = random_patterns(rng, 2000)
    return np.concatenate([whole, near, small, rng.uniform(-150, 128, 8000).astype(np.float32)])


def test_exp2_is_within_its_error_bound() -> None:
    x = exp2_inputs()
    x = x[(x > -149) & (x < 128)]
    worst = mpmath.mpf(0)
    with mpmath.workprec(80):
        for v, y in zip(x.tolist(), arith.exp2(x).tolist(), strict=True):
            exact = mpmath.power(2, mpmath.mpf(v))
            ulp = mpmath.ldexp(1, max(int(mpmath.floor(mpmath.log(exact, 2))), -126) - 23)
            worst = max(worst, abs(exact - mpmath.mpf(y)) / ulp)
    assert 0.5 < worst <= 1.25


def exp2_by_fractions(x: Fraction) -> float:
    """EXP2's steps, each rounded on a fraction."""
    step = finite_fp32
    x = min(max(x, Fraction(-160)), Fraction(129))
    n = step(step(x + 12582912) - 12582912)
    f = step(x - n)
    patterns = (0x3F800000, 0x3F317218, 0x3E75FDF0, 0x3D635766, 0x3C1D950E, 0x3AAFA460, 0x39222000)
    assert patterns == arith._EXP2_COEFFICIENTS  # an ulp of c5 shows in one result of 100,000
    c = [Fraction(float(from_bits(pattern))) for pattern in patterns]
    p = c[6]
    for i in range(5, -1, -1):
        p = step(step(p * f) + c[i])
    whole = int(n)
    return value(
        fp32(step(p * Fraction(2) ** (whole >> 1)) * Fraction(2) ** (whole - (whole >> 1)))
    )


def test_exp2_is_its_definition_step_by_step() -> None:
    x = np.concatenate([exp2_inputs()[::17], vector(128.0, 128.5, 129, 1e30, -149.5, -160, -1e30)])
    expected = [exp2_by_fractions(v) for v in fractions(x)]
    assert arith.exp2(x).tolist() == expected


def test_exp2_at_its_ends() -> None:
    x = vector(inf, 128, -inf, -150, -149, 0.0, -0.0, 1)
    expected = [0x7F800000, 0x7F800000, 0, 0, 1, bits(1), bits(1), bits(2)]
    assert bits_of(arith.exp2(x)).tolist() == expected


# ---- fused multiply-add


def products(fmt: Format, seed: int, count: int) -> np.ndarray:
    """Random finite values of a format, every code as likely."""
    table = decode_table(fmt)
    finite = table[np.isfinite(table)]
    return np.random.default_rng(seed).choice(finite, count)


@pytest.mark.parametrize("fmt", NARROW)
def test_fma_rounds_once(fmt: Format) -> None:
    a, w = products(fmt, 5, 1500), products(fmt, 6, 1500)
    rng = np.random.default_rng(7)
    product = a.astype(np.float64) * w
    with np.errstate(all="ignore"):
        near = (-product * rng.choice([1, 1 + 2.0**-23, 0.5, 2.0**20], 1500)).astype(np.float32)
    c = np.where(rng.random(1500) < 0.3, random_patterns(rng, 1500), near)
    c = np.where(np.isfinite(c), c, f32(1))
    triples = zip(fractions(a), fractions(w), fractions(c), strict=True)
    expected = [value(fp32(x * y + z)) for x, y, z in triples]
    assert arith.fma32(a, w, c).tolist() == expected


def test_fma_of_full_fp32_operands() -> None:
    rng = np.random.default_rng(8)
    a, b, c = (random_patterns(rng, 3000) for _ in range(3))
    a[:2000], b[:2000] = (rng.standard_normal(2000).astype(np.float32) for _ in range(2))
    c[:2000] = a[:2000] * b[:2000] * f32(-1)
    c[1000:2000] *= (2.0 ** rng.integers(0, 60, 1000)).astype(np.float32)
    triples = zip(fractions(a), fractions(b), fractions(c), strict=True)
    assert arith.fma32(a, b, c).tolist() == [value(fp32(x * y + z)) for x, y, z in triples]


def test_fma_differs_from_two_roundings_where_it_must() -> None:
    # 2^128 - 2^127 is finite although the product alone is not.
    assert arith.fma32(f32(2.0**64), f32(2.0**64), f32(-(2.0**127))) == 2.0**127
    # In float64 alone 2^-80 would be lost, and the tie would go down.
    square = f32(1 + 2.0**-12)  # its square is 1 + 2^-11 + 2^-24, a tie
    nudged = value(fp32(Fraction(float(square)) ** 2 + Fraction(1, 2**80)))
    assert arith.fma32(square, square, f32(2.0**-80)) == nudged != square * square
    assert arith.fma32(f32(2.0**-80), f32(2.0**-80), f32(1)) == 1


def test_fma_of_zeros_keeps_ieee_signs() -> None:
    one, zero = f32(1), f32(0)
    assert bits_of(arith.fma32(-one, zero, zero)) == 0
    assert bits_of(arith.fma32(-one, zero, -zero)) == 1 << 31
    assert bits_of(arith.fma32(one, one, -one)) == 0


@pytest.mark.parametrize("fmt", [Format.E4M3FN, Format.E5M2, Format.E2M1])
def test_narrow_products_need_no_fusion(fmt: Format) -> None:
    a, w = products(fmt, 9, 2000), products(Format.E5M2, 10, 2000)
    c = random_patterns(np.random.default_rng(11), 2000)
    assert same(arith.fma32(a, w, c), arith.add(arith.mul(a, w), c))


# ---- the matrix rule


def chain(
    a: list[Fraction],
    w: list[Fraction],
    scales: list[tuple[Fraction, Fraction]],
    block: int,
    start: Fraction,
    low: int,
    high: int,
) -> float:
    """One element of a product by the rule's three steps, on fractions."""
    acc: Fraction | float = start
    for index, k0 in enumerate(range(0, len(a), block)):
        inside = [k for k in range(k0, min(k0 + block, len(a))) if low <= k < high]
        if not inside:
            continue
        s: Fraction | float = Fraction(0)
        for k in inside:
            s = fp32(finite(s) + a[k] * w[k])
        t = fp32(finite(s) * scales[index][0] * scales[index][1])
        acc = fp32(finite(acc) + finite(t))
    return value(acc)


@pytest.mark.parametrize(
    ("fmt_a", "fmt_w", "block", "scaled"),
    [
        (Format.BF16, Format.BF16, 32, None),
        (Format.FP16, Format.BF16, 32, None),
        (Format.E4M3FN, Format.E2M1, 32, Format.E8M0),
        (Format.E5M2, Format.E4M3FN, 32, Format.E8M0),
        (Format.E2M1, Format.E2M1, 16, Format.E4M3FN),
    ],
)
def test_block_gemm_is_the_rule(
    fmt_a: Format, fmt_w: Format, block: int, scaled: Format | None
) -> None:
    rng = np.random.default_rng(12)
    m, n, k = 3, 4, 75
    a = decode(fmt_a, encode(fmt_a, rng.normal(0, 2, (m, k)).astype(np.float32)))
    w = decode(fmt_w, encode(fmt_w, rng.normal(0, 2, (n, k)).astype(np.float32)))
    seed = rng.standard_normal((m, n)).astype(np.float32)
    blocks = -(-k // block)
    scale_a = scale_w = None
    if scaled is not None:
        scale_a = decode(scaled, rng.integers(60, 100, (m, blocks)).astype(np.uint8))
        scale_w = decode(scaled, rng.integers(40, 120, (n, blocks)).astype(np.uint8))
    low, high = np.array([0, 5, 33]), np.array([75, 64, 34])
    actual = matrix.block_gemm(seed, a, w, scale_a, scale_w, block, (low, high))
    one = [Fraction(1)] * blocks
    for i in range(m):
        for j in range(n):
            sa = one if scale_a is None else fractions(scale_a[i])
            sw = one if scale_w is None else fractions(scale_w[j])
            scales = list(zip(sa, sw, strict=True))
            start = Fraction(float(seed[i, j]))
            expected = chain(
                fractions(a[i]), fractions(w[j]), scales, block, start, int(low[i]), int(high[i])
            )
            assert float(actual[i, j]) == expected


def test_scales_do_not_overflow_on_the_way() -> None:
    up, down = f32(2.0**127), f32(2.0**-127)
    small = value(fp32(Fraction(1152, 2**150)))  # although 2^-150 itself is below fp32
    assert arith.scale_sum(f32(1152), f32(2.0**-75), f32(2.0**-75)) == small > 0
    assert bits_of(arith.scale_sum(f32(0), up, up)) == 0
    assert arith.scale_sum(f32(2.0**-140), up, up) == 2.0**114
    assert arith.scale_sum(f32(2.0**120), down, down) == value(fp32(Fraction(1, 2**134)))
    assert bits_of(arith.scale_sum(f32(0), decode(Format.E8M0, [255]), f32(1))) == NAN


def test_rows_without_products_keep_their_bits() -> None:
    seed = from_bits([[0x80000000, 0xFFC00001]])
    a, w = np.full((1, 64), np.nan, np.float32), np.ones((2, 64), np.float32)
    for bounds in (([0], [0]), ([40], [40]), ([50], [10]), ([64], [99])):
        assert same(matrix.block_gemm(seed, a, w, None, None, 32, bounds), seed)


def test_unexecuted_blocks_ignore_nan_scales() -> None:
    a, w = np.ones((1, 64), np.float32), np.ones((1, 64), np.float32)
    scale = decode(Format.E8M0, np.array([[255, 127]], np.uint8))
    acc = np.zeros((1, 1), np.float32)
    assert matrix.block_gemm(acc, a, w, scale, None, 32, ([32], [64])) == 32
    assert np.isnan(matrix.block_gemm(acc, a, w, scale, None, 32, ([31], [64])))


@given(st.integers(0, 2**32), st.integers(0, 4), st.sampled_from([16, 32]))
@settings(max_examples=20, deadline=None)
def test_cutting_k_at_blocks_is_invisible(seed: int, cut: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    a, w = (rng.standard_normal((2, 80)).astype(np.float32) for _ in range(2))
    acc = rng.standard_normal((2, 2)).astype(np.float32)
    at = min(cut * block, 80)
    whole = matrix.block_gemm(acc, a, w, None, None, block)
    first = matrix.block_gemm(acc, a[:, :at], w[:, :at], None, None, block)
    assert same(matrix.block_gemm(first, a[:, at:], w[:, at:], None, None, block), whole)


def test_read_out_rounds_each_factor() -> None:
    rng = np.random.default_rng(13)
    acc = rng.normal(0, 100, (5, 6)).astype(np.float32)
    row, col = rng.uniform(0.1, 3, 5).astype(np.float32), rng.uniform(0.1, 3, 6).astype(np.float32)
    for fmt in (Format.FP32, Format.BF16, Format.FP16):
        codes = matrix.read_out(acc, row, col, fmt)
        for i in range(5):
            for j in range(6):
                once = fp32(Fraction(float(acc[i, j])) * Fraction(float(row[i])))
                twice = fp32(finite(once) * Fraction(float(col[j])))
                expected = value(rne(finite(twice), fmt.name))
                assert float(decode(fmt, codes[i : i + 1, j])[0]) == expected
    assert matrix.read_out(f32(500)[None, None], None, None, Format.E4M3FN, True) == 0x7E
    assert matrix.read_out(f32(500)[None, None], None, None, Format.E4M3FN, False) == 0x7F
