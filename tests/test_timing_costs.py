"""What single instructions cost: the closed forms, reproduced exactly under their knobs."""

from __future__ import annotations

from math import ceil, gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timing_streams import BF16, FP4, FP8, MINI, T1, gemm, readout, span, vector

from emulator.timing import layout as at
from emulator.timing.state import integer_constants, opcode_table
from isa.spec import INSTRUCTIONS
from isa.spec.model import Unit

#: An array as SCALE-Sim sees it: no overlap, one cycle a processing element, unlimited memory.
UNPIPELINED = {
    "tile.mxu.pe_latency": 1,
    "tile.mxu.double_buffered": False,
    "tile.mxu.weight_load_rows_per_cycle": 1,
    "tile.mxu.min_interval": 1,
    "tile.mxu.start": 0,
    "tile.tsram.bank_bytes": 4096,
    "tile.acc.bytes": 1 << 30,
}
PIPELINED = UNPIPELINED | {"tile.mxu.double_buffered": True}


def test_every_instruction_of_a_unit_has_a_price() -> None:
    table = opcode_table()
    for entry in INSTRUCTIONS:
        if entry.unit is not Unit.CTL:
            assert table[entry.opcode, 0] != at.OP_SCALAR, entry.mnemonic


# ---- GEMM


@pytest.mark.parametrize(
    ("m", "n", "k", "cycles"),
    [  # SCALE-Sim's own cycles, timing.md and peers.md
        (128, 128, 128, 509),
        (512, 512, 512, 14_303),
        (1024, 1024, 1024, 89_983),
        (128, 4096, 4096, 522_239),
        (1, 4096, 4096, 392_191),
    ],
)
def test_without_overlap_cycles_are_those_of_an_unpipelined_array(
    m: int, n: int, k: int, cycles: int
) -> None:
    assert span(T1.with_(**UNPIPELINED), gemm(0, m, n, k)) == cycles


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000))
def test_without_overlap_every_shape_follows_the_formula(m: int, n: int, k: int) -> None:
    expected = ceil(k / 128) * ceil(n / 128) * (m + 382) - 1
    assert span(T1.with_(**UNPIPELINED), gemm(0, m, n, k)) == expected


@settings(max_examples=30)
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_with_overlap_a_fold_takes_rows_or_load_whichever_is_more(m: int, n: int, k: int) -> None:
    folds = ceil(k / 128) * ceil(n / 128)
    load, fill_and_drain = 128, 128 + 128 - 2  # ONNXim: latency H + W - 2 + S
    expected = load + (folds - 1) * max(m, load) + m + fill_and_drain
    assert span(T1.with_(**PIPELINED), gemm(0, m, n, k)) == expected


@pytest.mark.parametrize("rows", [1, 100, 128, 500])
def test_a_cold_array_loads_in_2h_less_1_cycles(rows: int) -> None:
    """ONNXim: weights go down H rows, the last of them H - 1 places; then H + W - 2 + S."""
    chip = T1.with_(**PIPELINED | {"tile.mxu.weight_load_latency": 127})
    assert span(chip, gemm(0, rows, 128, 128)) == (2 * 128 - 1) + (128 + 128 - 2 + rows)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 100, 127, 129, 500])
def test_folds_follow_each_other_as_published(rows: int) -> None:
    """ONNXim: max(S, 4) where weights stay, max(S, H) where they change. Trainium: max(S, 64)."""
    hidden = {"tile.mxu.weight_load_rows_per_cycle": 128}  # the load takes a cycle: it never shows
    for chip, interval in (
        (T1.with_(**PIPELINED | hidden | {"tile.mxu.min_interval": 4}), max(rows, 4)),
        (T1.with_(**PIPELINED), max(rows, 128)),
        (T1.with_(**PIPELINED | hidden | {"tile.mxu.min_interval": 64}), max(rows, 64)),
    ):
        few, more = (span(chip, gemm(0, rows, 128, 128 * folds)) for folds in (2, 12))
        assert more - few == 10 * interval


@pytest.mark.parametrize(("moving", "stationary"), [(512, 128), (32, 128), (200, 64), (64, 16)])
def test_a_trainium_product_takes_its_rows_or_its_load(moving: int, stationary: int) -> None:
    """On average max(min(64, N_stationary), N_moving): weights load up to 4 times as fast."""
    chip = T1.with_(
        **PIPELINED
        | {"tile.mxu.weight_load_rows_per_cycle": 4, "tile.mxu.min_interval": min(64, stationary)}
    )
    few, more = (span(chip, *[gemm(0, moving, 128, 128)] * count) for count in (2, 12))
    assert more - few == 10 * max(min(64, stationary), moving)


def test_back_to_back_gemms_stream_without_a_gap() -> None:
    chip = T1.with_(**PIPELINED)
    one, three = (span(chip, *[gemm(0, 512, 128, 128)] * count) for count in (1, 3))
    assert three == one + 2 * 512


def test_a_narrow_interval_has_a_floor() -> None:
    chip = T1.with_(**PIPELINED | {"tile.mxu.weight_load_rows_per_cycle": 128})
    floors = [
        span(chip.with_(**{"tile.mxu.min_interval": least}), gemm(0, 1, 128, 12_800))
        for least in (1, 64)
    ]
    assert floors[1] - floors[0] == 100 * 63


@pytest.mark.parametrize(
    ("a", "w", "rate"), [(BF16, BF16, 0.5), (FP8, FP8, 1), (FP8, FP4, 1), (FP4, FP4, 2)]
)
def test_streaming_goes_at_the_rate_of_the_formats(a: int, w: int, rate: float) -> None:
    m, folds = 1024, 16
    cycles = span(T1.with_(**PIPELINED), gemm(0, m, 128, 128 * folds, a, w))
    assert cycles - m * folds / rate < 1024 / rate  # one load, one fill and drain
    assert cycles >= m * folds / rate


def test_splitting_loads_weights_in_parallel_for_few_rows() -> None:
    chip = T1.with_(**PIPELINED)
    whole, halves, quarters = (span(chip, gemm(0, 1, 512, 2048, split=s)) for s in (1, 2, 4))
    assert whole > 1.9 * halves > 3.6 * quarters


def test_splitting_uses_rows_that_a_short_k_leaves_empty() -> None:
    chip = T1.with_(**PIPELINED)
    whole, quarters = (span(chip, gemm(0, 1000, 512, 32, split=s)) for s in (1, 4))
    assert whole > 3.5 * quarters


def test_spare_sub_arrays_take_other_rows_of_a() -> None:
    chip = T1.with_(**PIPELINED)
    whole, quarters = (span(chip, gemm(0, 1000, 128, 32, split=s)) for s in (1, 4))
    assert whole - quarters >= 750


def test_narrow_banks_slow_the_array() -> None:
    wide = T1.with_(**PIPELINED)
    narrow = wide.with_(**{"tile.tsram.bank_bytes": 1})  # 32 bytes a cycle; a row of a is 128
    assert (
        span(narrow, gemm(0, 512, 128, 1024)) >= 4 * 512 * 8 > span(wide, gemm(0, 512, 128, 1024))
    )


def test_readout_waits_for_the_array_and_goes_at_the_accumulators_rate() -> None:
    chip = T1.with_(**PIPELINED)
    alone = span(chip, readout(0, 64, 128))
    assert alone == 64 * 128 * 4 // 512
    assert span(chip, gemm(0, 64, 128, 128), readout(0, 64, 128)) == (
        span(chip, gemm(0, 64, 128, 128)) + alone
    )


# ---- VPU


@settings(max_examples=40)
@given(
    st.sampled_from(["vcopy", "vadd", "vmuladd2", "vexp2", "vquant"]),
    st.integers(1, 50),
    st.integers(1, 700),
)
def test_vector_cycles_are_start_and_passes(name: str, rows: int, last: int) -> None:
    passes = {"vcopy": 1, "vadd": 2, "vmuladd2": 4, "vexp2": 4, "vquant": 2}[name]
    expected = 20 + ceil(rows * last / 128) * passes
    assert span(T1, vector(0, name, rows, last)) == expected


def test_a_row_is_reduced_in_32_lanes() -> None:
    assert span(T1, vector(0, "vrsum", 1, 2048)) == 20 + 2048 // 32 + 5
    assert span(T1, vector(0, "vrsum", 4, 2048)) == 20 + 4 * 2048 // 128 + 5


def test_exponentials_of_rows_are_a_reduction_with_slow_passes() -> None:
    assert span(T1, vector(0, "vexp2sum", 1, 2048)) == 20 + 2048 // 32 * 4 + 5
    assert span(T1, vector(0, "vexp2sum", 32, 128)) == 20 + 32 * 128 // 128 * 4 + 5
    slow = T1.with_(**{"tile.vpu.passes.vector_slow": 6.5, "tile.vpu.passes.reduce": 9})
    assert span(slow, vector(0, "vexp2sum", 32, 128)) == 20 + ceil(32 * 6.5 + 5 * 9)
    assert span(T1, vector(0, "vexp2sum", 3, 0)) == 20


def test_exponentials_of_rows_count_the_banks_of_source_and_destination() -> None:
    """Strides of a whole row of banks: a group's elements take turns at one bank."""
    rows = 100
    for strides, conflicts in ((1 | 512 << 20, 1), (512 | 1 << 20, 1), (512 | 512 << 20, 2)):
        cycles = span(T1, vector(0, "vexp2sum", rows, 128, strides=strides)) - 20
        assert abs(cycles - conflicts * rows * 128) <= 2 * rows


def test_scans_and_top_k_take_their_steps() -> None:
    assert span(T1, vector(0, "vscan", 1, 100)) == 20 + 100 * 4
    assert span(T1, vector(0, "vscan", 128, 100)) == 20 + 100 * 4
    assert span(T1, vector(0, "vtopk", 1, 1280, k=7)) == 20 + 7 * 10


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, 16, 17, 32, 64, 512])
def test_strides_that_share_banks_conflict(step: int) -> None:
    """128 FP32 elements, 32 banks of 64 bytes: the busiest bank serves one access a cycle."""
    words = max(128 * 4 * step // 64, 1) if step <= 16 else 128
    banks = 32 // gcd(max(4 * step // 64, 1), 32)
    busiest = min(words, 128) / banks + 128 * 4 / 64 / 32  # the source's; the result is contiguous
    groups = 100
    strides = 1 | step << 20
    cycles = span(T1, vector(0, "vcopy", groups, 128, strides=strides)) - 20
    assert abs(cycles - max(groups, groups * busiest)) <= 1


def test_an_empty_vector_instruction_costs_its_start() -> None:
    assert span(T1, vector(0, "vadd", 0, 7)) == 20


def test_constants_of_a_small_chip_are_its_own() -> None:
    p = integer_constants(MINI)
    assert p[at.P_TILES] == 4
    assert p[at.P_PIECE] == 4096
    kinds = [at.R_TILE_OUT, at.R_TILE_IN, at.R_CSRAM_OUT, at.R_CSRAM_IN, at.R_PORT_OUT]
    kinds += [at.R_PORT_IN, at.R_CLUSTER, at.R_CHANNEL, at.R_COUNT]
    assert (np.diff(p[kinds]) > 0).all()
