"""The suite `mxu` and its oracle."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np
import pytest

from emulator.conformance.case import Case
from emulator.conformance.device import run
from emulator.conformance.judge import Status, judge
from emulator.conformance.kit import makers
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import COVERS, Factors, Operand
from emulator.conformance.suites.material import any_codes, integers
from emulator.conformance.suites.mxu import RULES
from emulator.conformance.suites.mxu_common import VARIANTS
from emulator.conformance.suites.mxu_readout import NOTABLE
from isa.chip import load_chip
from isa.formats import Format, ScaleKind
from tests import wrong_gemms as wrongs

F = Format
CHIP = load_chip("t1-mini")
MAKERS = {maker.name: maker for maker in makers(["mxu"])}
#: Tables of 16 thousand results and more: the oracle takes a tenth of a second for each.
LARGE = ("-lower", "-upper", "scales-e8m0-s-")
SMALL = [name for name in MAKERS if not any(part in name for part in LARGE)]


@cache
def case_of(name: str) -> Case:
    return MAKERS[name].case(CHIP)


# ---- the oracle


def random_operand(rng: Random, fmt: Format, kind: ScaleKind, rows: int, k: int) -> Operand:
    """Any codes and any scales."""
    codes = any_codes(rng, fmt, (rows, k))
    if kind is ScaleKind.NONE:
        return Operand(fmt, codes)
    scales = integers(rng, 0, 256, (rows, -(-k // COVERS[kind])))
    return Operand(fmt, codes, kind, scales)


@pytest.mark.parametrize("a", VARIANTS)
def test_the_fast_gemm_is_the_obvious_one(a: tuple[Format, ScaleKind]) -> None:
    rng = Random(f"{a}")
    for w in VARIANTS:
        for k, bounds in ((1, None), (19, [(2, 18), (-5, 9), (17, 3)]), (37, [(0, 37)] * 3)):
            left, right = random_operand(rng, *a, 3, k), random_operand(rng, *w, 2, k)
            old = None if k == 1 else integers(rng, 0, 1 << 32, (3, 2))
            want = matrix.gemm_obvious(left, right, bounds, 0, old)
            assert np.array_equal(matrix.gemm(left, right, bounds, 0, old), want), (w, k)


def test_the_fast_gemm_is_the_obvious_one_near_the_ends_of_fp32() -> None:
    rng = Random(1)
    for low, high in ((0x7000, 0x7F80), (0x3F00, 0x4000), (0x1800, 0x2400), (0, 0x180)):
        codes = [integers(rng, low, high, (4, 33)) | integers(rng, 0, 2, (4, 33)) << 15
                 for _ in range(2)]  # fmt: skip
        other = integers(rng, 0x3B00, 0x4300, (4, 33))
        old = np.resize(np.array(NOTABLE, np.int64), (4, 4))
        for left, right in (codes, (codes[0], other)):
            a, w = Operand(F.BF16, left), Operand(F.BF16, right)
            assert np.array_equal(matrix.gemm(a, w, None, 0, old),
                                  matrix.gemm_obvious(a, w, None, 0, old))  # fmt: skip


def test_the_fast_readout_is_the_obvious_one() -> None:
    rng = Random(2)
    acc = integers(rng, 0, 1 << 32, (6, 9))
    acc[0, :], acc[1, :] = NOTABLE[:9], NOTABLE[9:18]
    row = Factors(F.FP32, [*integers(rng, 0, 1 << 32, (4,)), 0x7F800000, 0])
    col = Factors(F.E8M0, integers(rng, 0, 256, (9,)))
    for fmt in (F.FP32, F.BF16, F.FP16, F.E4M3FN, F.E5M2):
        for factors in ((None, None), (row, None), (None, col), (row, col)):
            for sat in (True, False):
                got = matrix.readout(acc, fmt, *factors, sat)
                assert np.array_equal(got, matrix.readout_obvious(acc, fmt, *factors, sat))


# ---- the cases


def test_names() -> None:
    assert 100 <= len(MAKERS) <= 220
    for name in MAKERS:
        assert name.split("/")[1] in ("gemm", "readout", "seed")
        assert name == name.lower() and " " not in name


@pytest.mark.parametrize("name", SMALL)
def test_the_fast_executor_passes(name: str) -> None:
    case = case_of(name)
    verdict = judge(case, run(case.program, CHIP, "fast"))
    assert verdict.status is Status.PASS, verdict.detail


@pytest.mark.parametrize(
    "name",
    [
        "mxu/gemm/products-e2m1-e2m1-all",
        "mxu/gemm/pairs-e2m1.nv16",
        "mxu/gemm/order-k33-bf16",
        "mxu/gemm/short-trees",
        "mxu/gemm/special-accumulators",
        "mxu/gemm/fused-products-beyond-range",
        "mxu/gemm/bounds-k0-1099511627776",
        "mxu/gemm/bounds-strides",
        "mxu/gemm/panel-fp16",
        "mxu/gemm/k-0",
        "mxu/readout/row-then-col",
        "mxu/readout/to-e5m2-nosat",
        "mxu/seed/strides",
    ],
)
def test_the_reference_executor_passes(name: str) -> None:
    case = case_of(name)
    verdict = judge(case, run(case.program, CHIP, "reference"))
    assert verdict.status is Status.PASS, verdict.detail


def test_every_rule_is_covered_and_has_a_name() -> None:
    covered = {point for name in SMALL for point in case_of(name).covers}
    rules = {point.removeprefix("rule:") for point in covered if point.startswith("rule:")}
    assert rules == set(RULES)


# ---- what the probes tell


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (wrongs.Reverse, "mxu/gemm/short-trees"),
        (wrongs.Reverse, "mxu/gemm/order-k17-fp16"),
        (wrongs.Tree, "mxu/gemm/short-trees"),
        (wrongs.Tree, "mxu/gemm/order-k17-bf16"),
        (wrongs.Lanes, "mxu/gemm/short-trees"),
        (wrongs.Lanes, "mxu/gemm/order-k17-e4m3fn"),
        (wrongs.ExactSum, "mxu/gemm/short-trees"),
        (wrongs.ExactSum, "mxu/gemm/order-k17-e5m2"),
        (wrongs.Unfused, "mxu/gemm/fused-products-beyond-range"),
        (wrongs.Unfused, "mxu/gemm/fused-subnormal-sums-bf16-bf16"),
        (wrongs.FlushSums, "mxu/gemm/fused-subnormal-sums-bf16-e5m2"),
        (wrongs.FlushTerms, "mxu/gemm/scale-per-block"),
        (wrongs.FlushOperands, "mxu/gemm/subnormal-operands"),
        (wrongs.Always32, "mxu/gemm/block-boundaries-e2m1.nv16-fp16"),
        (wrongs.NoRestart, "mxu/gemm/block-boundaries-bf16-bf16"),
        (wrongs.NoRestart, "mxu/gemm/cancel-blocks-e2m1.mx32-e2m1"),
        (wrongs.BlocksFromLo, "mxu/gemm/block-boundaries-bf16-bf16"),
        (wrongs.PadBlocks, "mxu/gemm/bounds-no-plus-zero"),
        (wrongs.PerElement, "mxu/gemm/scale-per-block"),
        (wrongs.ScaleTwice, "mxu/gemm/scales-opposite"),
        (wrongs.ScalesFirst, "mxu/gemm/scale-zero-sum"),
        (wrongs.ScalesFirst, "mxu/gemm/scales-opposite"),
        (wrongs.TermsFirst, "mxu/gemm/block-boundaries-e4m3fn.mx32-e2m1.nv16"),
        (wrongs.Descending, "mxu/gemm/cancel-blocks-e2m1.nv16-e2m1.nv16"),
        (wrongs.NoBlockSums, "mxu/gemm/block-boundaries-e4m3fn-e5m2"),
        (wrongs.SignedScale, "mxu/gemm/pairs-e2m1.nv16"),
    ],
)
def test_a_wrong_step_gives_other_bits(
    wrong: type[wrongs.Gemm], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = case_of(name).expected.symbols["tsram"]
    monkeypatch.setattr(matrix, "gemm", wrong())
    assert MAKERS[name].case(CHIP).expected.symbols["tsram"] != right


def test_the_unchanged_text_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mxu/gemm/short-trees"
    right = case_of(name).expected.symbols["tsram"]
    monkeypatch.setattr(matrix, "gemm", wrongs.Gemm())
    assert MAKERS[name].case(CHIP).expected.symbols["tsram"] == right
