"""The accounting against sums made byte by byte in Python, on hand-made and random streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timing_memory import hops
from test_timing_streams import (
    BF16,
    CSRAM,
    FP4,
    FP8,
    HBM,
    INFO,
    MINI,
    T1,
    TSRAM,
    Stream,
    dma,
    gemm,
    random_stream,
    readout,
    record,
    shuffled,
    stream,
    timed,
    vector,
)

from emulator import retire
from emulator.accounting import Accounting, Traffic
from emulator.accounting_transfers import burst_bytes
from emulator.jit import njit
from isa.chip import Chip
from isa.faults import CTL


@njit
def bursts(address, run, stride, count, burst):
    """`burst_bytes` for Python."""
    return burst_bytes(address, run, stride, count, burst)


def account(chip: Chip, *records: Stream) -> Traffic:
    accounting = Accounting(chip, INFO)
    accounting.feed(stream(chip, *records))
    return accounting.take()


# ---- HBM


@settings(max_examples=200)
@given(
    st.integers(0, 1000),
    st.integers(1, 200),
    st.integers(0, 500),
    st.integers(1, 100),
    st.sampled_from([32, 64]),
)
def test_padded_bytes_are_the_bursts_that_runs_touch(
    address: int, run: int, stride: int, count: int, burst: int
) -> None:
    touched = sum(
        (address + i * stride + run - 1) // burst - (address + i * stride) // burst + 1
        for i in range(count)
    )
    assert bursts(address, run, stride, count, burst) == touched * burst


def test_hbm_bytes_go_to_the_class_of_their_region() -> None:
    found = account(
        MINI,
        dma(0, 0, HBM, TSRAM, 1000, src_owner=0),  # weights
        dma(1, 3, HBM, CSRAM, 64, src_owner=1, src_address=16, dst_owner=0, fan=2),  # kv, off by 16
        dma(2, 1, TSRAM, HBM, 96, dst_owner=2),  # activations... class 4
        record(3, CTL, "ld", LD_SPACE=HBM, LD_OWNER=3, LD_ADDRESS=4, BYTES=4),  # control
        dma(3, 0, HBM, TSRAM, 8, src_owner=99),  # a region the program does not declare
    )
    assert found.hbm_bytes("read") == {"weights": 1000, "kv": 64, "control": 4, "other": 8}
    assert found.hbm_bytes("read padded") == {"weights": 1024, "kv": 96, "control": 32, "other": 32}
    assert found.hbm_bytes("write") == {"activations": 96}
    assert found.total("csram write") == 128
    assert found.total("tsram write dma") == 1008


def test_strided_rows_are_padded_one_by_one() -> None:
    found = account(MINI, dma(0, 0, HBM, TSRAM, 10 * 48, run=48, stride=100))
    expected = sum((i * 100 + 47) // 32 - i * 100 // 32 + 1 for i in range(10)) * 32
    assert found.hbm_bytes("read padded") == {"weights": expected}
    assert found.hbm_bytes("read") == {"weights": 480}


# ---- the mesh


@pytest.mark.parametrize("chip", [MINI, T1], ids=["t1-mini", "t1"])
def test_byte_hops_are_bytes_times_distance(chip: Chip) -> None:
    last = chip.num_tiles - 1
    far = chip.mesh.columns - 1 + chip.mesh.rows - 1
    found = account(
        chip,
        dma(0, 0, TSRAM, TSRAM, 10_000, dst_owner=last),
        dma(0, 1, TSRAM, TSRAM, 10_000, dst_owner=0),  # stays at home
    )
    assert found.total("noc") == 10_000
    assert found.total("noc byte hops") == 10_000 * far


def test_byte_hops_of_hbm_go_to_the_port_of_each_granule() -> None:
    size, granule = 100_000, T1.hbm.interleave
    found = account(T1, dma(27, 0, HBM, TSRAM, size, src_address=1000))
    expected, address = 0, 1000
    while address < 1000 + size:
        piece = min(granule - address % granule, 1000 + size - address)
        expected += piece * hops(T1, 27, address)
        address += piece
    assert found.total("noc byte hops") == expected


def test_a_multicast_counts_its_tree() -> None:
    """From tile 0 to all 64: down every column from the row of tile 0."""
    found = account(T1, dma(0, 0, TSRAM, TSRAM, 1000, dst_owner=0, fan=64))
    assert found.total("noc byte hops") == 1000 * 63
    assert found.total("tsram write dma") == 64_000
    assert found.total("tsram read dma") == 1000


# ---- the other units


@pytest.mark.parametrize(("a", "w", "bits"), [(FP8, FP4, (8, 4)), (BF16, BF16, (16, 16))])
def test_the_array_reads_a_again_for_every_block_of_columns(
    a: int, w: int, bits: tuple[int, int]
) -> None:
    m, n, k = 7, 100, 64  # t1-mini's array is 32 x 32: four blocks of columns, two of K
    found = account(MINI, gemm(0, m, n, k, a, w))
    assert found.total("tsram read mxu") == (m * k * bits[0] * 4 + n * k * bits[1]) // 8
    assert found.total("acc write") == 2 * 4 * m * n
    assert found.total("acc read") == 4 * m * n
    assert found.total("macs") == m * n * k
    assert list(found.macs().values()) == [m * n * k]


def test_executed_macs_count_not_the_shape() -> None:
    bounded = gemm(0, 8, 16, 32)
    bounded[retire.MACS] = 100
    found = account(MINI, bounded)
    assert found.total("macs") == 100


def test_readout_seed_and_vectors_count_their_operands() -> None:
    seed = record(0, 1, "seed", ROWS=4, COLUMNS=8, BYTES_READ=128, BYTES_WRITTEN=128)
    found = account(
        MINI, readout(0, 4, 8), seed, vector(0, "vadd", 3, 10), vector(1, "vcopy", 1, 5)
    )
    assert found.total("tsram write mxu") == 2 * 4 * 8
    assert found.total("tsram read mxu") == 128
    assert found.total("acc read") == found.total("acc write") == 128
    assert found.total("elements") == 35
    assert found.total("tsram read vpu") == 4 * (60 + 5)
    assert found.total("tsram write vpu") == 4 * 35


def test_rows_are_operations_in_a_context() -> None:
    records = [vector(0, "vcopy", 1, 5, PC=pc, CONTEXT=c) for c in range(200) for pc in (0, 2, 7)]
    found = account(MINI, *records)
    assert len(found.keys) == 600  # more than there is room for at first
    assert len({tuple(key) for key in found.keys.tolist()}) == 600
    by_op = {op: found.row("elements")[found.keys[:, 0] == op].sum() for op in (0, 1, -1)}
    assert by_op == {0: 1000, 1: 1000, -1: 1000}


# ---- streams as a whole


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 4096]))
def test_chunks_and_order_change_no_sum(seed: int, chunk: int) -> None:
    records = random_stream(MINI, seed)
    whole, parts = Accounting(MINI, INFO), Accounting(MINI, INFO)
    whole.feed(records)
    other = shuffled(records, seed)
    for first in range(0, len(other), chunk):
        parts.feed(other[first : first + chunk])
    assert _sums(whole.take()) == _sums(parts.take())


def _sums(found: Traffic) -> dict[str, Any]:
    order = np.lexsort(found.keys.T)
    return {
        "keys": found.keys[order].tolist(),
        "rows": found.rows[order].tolist(),
        "hbm": found.hbm.tolist(),
        "totals": found.totals.tolist(),
        "macs": found.macs(),
    }


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_totals_are_the_sums_of_rows(seed: int) -> None:
    found = timed(MINI, random_stream(MINI, seed)).traffic
    assert found.row("macs").sum() == found.total("macs")
    assert found.row("noc").sum() == found.total("noc")
    assert found.row("noc byte hops").sum() == found.total("noc byte hops")
    sides = ("read mxu", "write mxu", "read vpu", "write vpu", "read dma", "write dma")
    assert found.row("tsram").sum() == sum(found.total(f"tsram {side}") for side in sides)
    assert found.row("hbm read").sum() == sum(found.hbm_bytes("read").values())
    padded = found.hbm_bytes("read padded")
    assert all(padded[name] >= size for name, size in found.hbm_bytes("read").items())


def test_taking_starts_again_from_zero() -> None:
    accounting = Accounting(MINI, INFO)
    accounting.feed(stream(MINI, gemm(0, 4, 4, 4)))
    first = accounting.take()
    accounting.feed(stream(MINI, gemm(0, 4, 4, 4)))
    assert _sums(accounting.take()) == _sums(first)
    assert accounting.take().total("macs") == 0
