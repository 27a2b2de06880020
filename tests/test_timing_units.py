"""Units, queues and semaphores, each by a stream small enough to work out by hand (t1-mini)."""

from __future__ import annotations

import numpy as np
import pytest
from test_timing_streams import (
    HBM,
    INFO,
    MINI,
    T1,
    TSRAM,
    Stream,
    dma,
    gemm,
    halt,
    record,
    signal,
    stream,
    timed,
    vector,
    wait,
)

from emulator import retire
from emulator.timing import Timing, TimingError
from emulator.timing import layout as at
from isa.faults import CTL, DMA0, MXU, VPU

ISSUE, SCALAR, BRANCH = 2, 1, 2  # control of t1-mini
START, LANES = 20, 32
ONE_VECTOR = START + 100  # a vcopy of 100 x 32 elements


def copies(count: int, **words: int) -> list[Stream]:
    return [vector(0, "vcopy", 100, LANES, **words) for _ in range(count)]


def cycles(*records: Stream) -> int:
    return timed(MINI, stream(MINI, *records)).cycles


# ---- control processor


def test_scalars_branches_and_halt_take_their_cycles() -> None:
    assert cycles() == SCALAR  # halt alone
    gap = 10 | 3 << 32
    records = [halt(0, GAP=gap), *(halt(tile) for tile in range(1, 4))]
    assert timed(MINI, np.array(records)).cycles == 10 * SCALAR + 3 * BRANCH + SCALAR


@pytest.mark.parametrize(("space", "latency"), [(0, 600), (1, 10), (2, 10)])
def test_a_scalar_load_blocks_for_its_latency(space: int, latency: int) -> None:
    load = record(0, CTL, "ld", LD_SPACE=space, BYTES=4)
    assert cycles(load, load) == 2 * latency + SCALAR


def test_instructions_of_one_unit_follow_each_other() -> None:
    assert cycles(*copies(1)) == ISSUE + ONE_VECTOR
    assert cycles(*copies(3)) == ISSUE + 3 * ONE_VECTOR


def test_units_run_beside_each_other() -> None:
    alone = cycles(gemm(0, 64, 32, 320))
    both = cycles(*copies(1), gemm(0, 64, 32, 320))
    assert both == alone + ISSUE > ONE_VECTOR


def test_a_full_queue_blocks_the_control_processor() -> None:
    depth = MINI.tile.queue_depth
    found = timed(MINI, stream(MINI, *copies(depth + 3)))
    # The first leaves the queue at once; then the queue fills; three places must come free.
    assert found.units[0, CTL, at.QUEUE_FULL] > ONE_VECTOR
    assert found.cycles == ISSUE + (depth + 3) * ONE_VECTOR
    shorter = MINI.with_(**{"tile.queue_depth": 1})
    assert timed(shorter, stream(shorter, *copies(3))).units[0, CTL, at.QUEUE_FULL] > 0


def test_who_waits_for_a_place_has_the_units_path() -> None:
    found = timed(MINI, stream(MINI, *copies(MINI.tile.queue_depth + 40)))
    assert "queue full" not in found.critical_path
    assert found.critical_path["vector"] > 0.7 * found.cycles


# ---- semaphores


def test_a_wait_holds_its_unit_until_the_signal() -> None:
    found = timed(
        MINI,
        stream(MINI, wait(0, MXU, 1), gemm(0, 1, 32, 32), *copies(5), signal(0, VPU, 1)),
    )
    waited = found.units[0, MXU, at.SEMAPHORE]
    assert 5 * ONE_VECTOR - 10 <= waited <= 5 * ONE_VECTOR + 10


def test_wait_ctl_holds_the_control_processor() -> None:
    found = timed(MINI, stream(MINI, *copies(4), signal(0, VPU, 1), wait(0, CTL, 1)))
    assert found.units[0, CTL, at.SEMAPHORE] > 3 * ONE_VECTOR
    # A signal to the own tile takes one cycle; then `wait` and `halt` one each.
    assert found.cycles == ISSUE + 4 * ONE_VECTOR + 1 + 2 * SCALAR


@pytest.mark.parametrize(("scope", "target", "hops"), [(1, 1, 1), (1, 3, 2), (2, 0, 1), (3, 0, 2)])
def test_a_remote_signal_takes_20_cycles_and_9_a_hop(scope: int, target: int, hops: int) -> None:
    """Tile 0 signals; the farthest tile that it reaches waits. t1-mini is 2 x 2 tiles."""
    waiter = target if scope == 1 else {2: 1, 3: 3}[scope]
    found = timed(MINI, stream(MINI, signal(0, CTL, 1, 1, scope, target), wait(waiter, CTL, 1)))
    assert found.cycles == SCALAR + 20 + 9 * hops + 2 * SCALAR  # signal, wait, halt


def test_counts_add_up_and_are_taken() -> None:
    two = [signal(0, CTL, 1, 1), signal(0, CTL, 1, 1)]
    assert cycles(*two, wait(0, CTL, 1, 2)) > 0
    with pytest.raises(TimingError, match="ctl of tile 0"):
        cycles(*two, wait(0, CTL, 1, 3))


def test_counts_persist_to_the_next_entry() -> None:
    timing = Timing(MINI, INFO)
    timed(MINI, stream(MINI, signal(0, CTL, 5, 2)), timing=timing)
    timed(MINI, stream(MINI, wait(0, CTL, 5, 1)), timing=timing)
    timed(MINI, stream(MINI, wait(0, CTL, 5, 1)), timing=timing)
    with pytest.raises(TimingError):
        timed(MINI, stream(MINI, wait(0, CTL, 5, 1)), timing=timing)
    assert timed(MINI, stream(MINI), timing=timing).cycles == SCALAR


def test_a_signal_behind_a_transfer_comes_after_its_data() -> None:
    moved = timed(MINI, stream(MINI, dma(0, 0, HBM, TSRAM, 8192)))
    data = int(moved.last[0])
    found = timed(
        MINI,
        stream(MINI, dma(0, 0, HBM, TSRAM, 8192), signal(0, DMA0, 1), wait(0, VPU, 1), *copies(1)),
    )
    assert found.cycles >= data + ONE_VECTOR


def test_a_gemm_is_complete_only_when_the_array_has_drained() -> None:
    multiplied = timed(MINI, stream(MINI, gemm(0, 64, 32, 32)))
    found = timed(
        MINI, stream(MINI, gemm(0, 64, 32, 32), signal(0, MXU, 1), wait(0, VPU, 1), *copies(1))
    )
    assert found.cycles == int(multiplied.last[0]) + 1 + 1 + ONE_VECTOR
    assert found.units[0, MXU, at.DRAIN] > 0


# ---- misuse


def test_a_stream_that_stops_is_refused_and_the_next_entry_is_clean() -> None:
    timing = Timing(MINI, INFO)
    timing.begin("entry")
    timing.feed(np.array([wait(0, VPU, 1), *copies(2)]))
    with pytest.raises(TimingError, match="vpu of tile 0"):
        timing.end()
    clean = timed(MINI, stream(MINI, *copies(2)), timing=timing)
    fresh = timed(MINI, stream(MINI, *copies(2)))
    assert clean.cycles == fresh.cycles
    assert clean.traffic.total("elements") == fresh.traffic.total("elements")


def test_calls_out_of_order_are_refused() -> None:
    timing = Timing(MINI)
    with pytest.raises(TimingError):
        timing.feed(stream(MINI))
    with pytest.raises(TimingError):
        timing.end()
    timing.begin("entry")
    with pytest.raises(TimingError):
        timing.begin("entry")
    with pytest.raises(ValueError, match="records"):
        timing.feed(np.zeros((3, 15), np.int64))


def test_an_entry_without_records_takes_no_time() -> None:
    timing = Timing(MINI)
    timing.begin("entry")
    timing.feed(np.empty((0, retire.WORDS), np.int64))
    found = timing.end()
    assert found.cycles == 0 and found.units.sum() == 0 and found.rest == 0


def test_skewed_tiles_are_kept_and_given_back() -> None:
    """All of tile 0's records come first: they wait for the other tiles, and go when these come."""
    many = [record for tile in range(T1.num_tiles) for record in _tile_of_copies(tile, 50)]
    timing = Timing(T1, INFO)
    timing.begin("entry")
    timing.feed(np.array(many[:-51]))
    assert timing.buffered_records > 3000
    timing.feed(np.array(many[-51:]))
    assert timing.buffered_records == 0
    timing.end()


def _tile_of_copies(tile: int, count: int) -> list[Stream]:
    return [*(vector(tile, "vcopy", 1, 128) for _ in range(count)), halt(tile)]
