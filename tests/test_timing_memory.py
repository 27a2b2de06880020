"""DMA, HBM and mesh: latencies of single transfers, and what happens when they meet."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timing_streams import (
    CSRAM,
    HBM,
    INFO,
    MINI,
    T1,
    TSRAM,
    Stream,
    dma,
    halt,
    stream,
    timed,
)

from emulator.jit import njit
from emulator.timing import hbm, mesh, reserve
from emulator.timing import layout as at
from emulator.timing.model import Timing, state_of
from emulator.timing.result import EntryTiming
from emulator.timing.state import integer_constants
from isa.chip import Chip
from isa.faults import DMA0

ISSUE, HOP, INTERFACE, LINK = 2, 9, 5, 128
KIB = 1024


@njit
def channel_of(p, address):
    """`hbm_channel` for Python."""
    return hbm.hbm_channel(p, address)


def own(chip: Chip, tile: int, *records: Stream) -> int:
    """Cycles from doorbell to completion of one tile's transfers."""
    found = timed(chip, stream(chip, *records))
    return int(found.last[0] - found.first[0])


def hops(chip: Chip, tile: int, address: int) -> int:
    """Links between a tile and the port of an HBM address."""
    channel = channel_of(integer_constants(chip), address)
    node = mesh.port_nodes(chip)[mesh.channel_ports(chip)[channel]]
    columns = chip.mesh.columns
    x, y = chip.tile_router(tile)
    return int(abs(node % columns - x) + abs(node // columns - y))


# ---- single transfers


@pytest.mark.parametrize("tile", [0, 27, 63])
@pytest.mark.parametrize("address", [0, 4096, 123 * 4096])
def test_the_first_byte_leaves_hbm_960_cycles_after_the_doorbell(tile: int, address: int) -> None:
    """32 bytes: a quarter of tFAW on a pseudo-channel, then the way to the tile."""
    way = 2 * INTERFACE + HOP * hops(T1, tile, address)
    burst = ceil(15 / 4 * 2.4 / (1 - 0.067))
    assert own(T1, tile, dma(tile, 0, HBM, TSRAM, 32, src_address=address)) == 960 + burst + way


def test_a_copy_between_srams_starts_sooner() -> None:
    """Tile 0 to tile 1: 120 cycles, 4 KiB at 128 bytes a cycle, one hop, two interfaces twice."""
    taken = own(T1, 0, dma(0, 0, TSRAM, TSRAM, 4096, dst_owner=1))
    assert taken == 120 + 4096 // LINK + 2 * (2 * INTERFACE + HOP)  # there, and the completion back


def test_a_copy_within_a_tile_does_not_leave_it() -> None:
    found = timed(T1, stream(T1, dma(0, 0, TSRAM, TSRAM, 4096)))
    assert int(found.last[0] - found.first[0]) == 120 + 4096 // LINK
    assert found.traffic.total("noc") == 0
    assert found.busy["links"] == 0


def test_start_costs_of_consecutive_transfers_overlap() -> None:
    one = own(T1, 0, dma(0, 0, HBM, TSRAM, 4096))
    eight = own(T1, 0, *(dma(0, 0, HBM, TSRAM, 4096, src_address=i * 4096) for i in range(8)))
    assert eight < one + 8 * 140  # the last doorbell is rung 7 issues later


def test_a_transfer_that_reads_what_the_last_one_wrote_follows_it() -> None:
    write = dma(0, 0, TSRAM, HBM, 4096, dst_owner=1, dst_address=1 << 20)
    read = dma(0, 0, HBM, TSRAM, 4096, src_owner=1, src_address=1 << 20)
    apart = dma(0, 0, HBM, TSRAM, 4096, src_owner=1, src_address=1 << 21)
    dependent, independent = own(T1, 0, write, read), own(T1, 0, write, apart)
    assert dependent > independent + 200  # its row is open, the other one is not


def test_an_empty_transfer_takes_its_start() -> None:
    assert own(T1, 0, dma(0, 0, HBM, TSRAM, 0)) == 960


def test_requests_under_way_limit_a_channel() -> None:
    few = T1.with_(**{"tile.dma.outstanding": 8})
    size = 256 * KIB
    wide, narrow = (own(chip, 0, dma(0, 0, HBM, TSRAM, size)) for chip in (T1, few))
    # 8 requests of 256 bytes in a round trip of some 500 cycles.
    assert narrow > 3 * wide
    found = timed(few, stream(few, dma(0, 0, HBM, TSRAM, size)))
    assert found.units[0, DMA0, at.LATENCY] > 0.5 * found.cycles


def test_a_channels_own_rate_is_a_floor() -> None:
    slow = T1.with_(**{"tile.dma.bytes_per_cycle": 8})
    assert own(slow, 0, dma(0, 0, CSRAM, TSRAM, 64 * KIB)) >= 64 * KIB // 8


def test_short_runs_cost_hbm_and_requests() -> None:
    size = 64 * KIB
    whole = own(T1, 0, dma(0, 0, HBM, TSRAM, size))
    scattered = own(T1, 0, dma(0, 0, HBM, TSRAM, size, run=32, stride=64 * KIB))
    assert scattered > 2 * whole


def test_rows_of_a_list_spread_over_the_channels() -> None:
    """A gather of 512 rows: the stream does not name them, so they go to many channels."""
    gather = dma(0, 0, HBM, TSRAM, 512 * 512, run=512, stride=512, mnemonic="dmag")
    state = _state_after(T1, gather)
    channels = _busy(state, at.R_CHANNEL, at.R_COUNT)
    assert (channels > 0).sum() > 80


# ---- transfers that meet


def test_two_transfers_through_one_link_take_turns() -> None:
    """Tiles 0 and 1 write to tile 3 of their row: the last link carries both."""
    size = 64 * KIB
    a, b = (dma(tile, 0, TSRAM, TSRAM, size, dst_owner=3) for tile in (0, 1))
    alone, both = own(T1, 0, a), own(T1, 0, a, b)
    assert both >= 2 * size // LINK
    assert both - alone == pytest.approx(size // LINK, rel=0.05)
    found = timed(T1, stream(T1, a, b))
    assert found.units[:, DMA0, at.NOC_BUSY].sum() > 300


def test_transfers_on_other_links_do_not_meet() -> None:
    size = 64 * KIB
    a = dma(0, 0, TSRAM, TSRAM, size, dst_owner=1)
    b = dma(3, 0, TSRAM, TSRAM, size, dst_owner=2)
    assert own(T1, 0, a, b) <= max(own(T1, 0, a), own(T1, 3, b)) + ISSUE


def test_a_multicast_takes_each_link_once() -> None:
    size = 64 * KIB
    copies = [dma(0, 0, TSRAM, TSRAM, size, dst_owner=tile) for tile in range(1, 8)]
    cast = dma(0, 0, TSRAM, TSRAM, size, dst_owner=1, fan=7)
    apart, together = timed(T1, stream(T1, *copies)), timed(T1, stream(T1, cast))
    assert together.traffic.total("noc byte hops") == 7 * size
    assert apart.traffic.total("noc byte hops") == sum(range(1, 8)) * size
    assert together.traffic.total("tsram write dma") == 7 * size
    assert together.cycles < apart.cycles / 4


def test_a_cluster_memory_serves_no_more_than_it_can() -> None:
    slow = T1.with_(**{"cluster.csram.bytes_per_cycle": 64})
    reads = [dma(tile, 0, CSRAM, TSRAM, 64 * KIB) for tile in range(8)]
    assert own(slow, 0, *reads) >= 8 * 64 * KIB // 64 > own(T1, 0, *reads)


def test_one_channel_of_hbm_is_shared_by_all_who_want_it() -> None:
    """Every tile reads the same granule: one channel serves 64 of them, one after the other."""
    reads = [dma(tile, 0, HBM, TSRAM, 4096) for tile in range(64)]
    found = timed(T1, stream(T1, *reads))
    per_piece = 4096 / (7e12 / 2.4e9 / 96) / (1 - 0.067)
    assert found.cycles >= 960 + 64 * per_piece - 1
    assert found.busiest["hbm channels"] > 0.85
    assert found.units[:, DMA0, at.HBM_SLOW].sum() >= 0.9 * per_piece * sum(range(64))


def test_a_copy_of_hbm_by_all_tiles_comes_near_its_peak() -> None:
    """What the compiler's streams are held against: 64 KiB pieces, all tiles, 0.88 of peak."""
    size, each = 64 * KIB, 16
    records = []
    for tile in range(64):
        base = tile * each * size
        records += [
            dma(tile, i % 8, HBM, TSRAM, size, src_address=base + i * size) for i in range(each)
        ]
        records.append(halt(tile))
    found = timed(T1, np.array(records))
    rate = 64 * each * size / (found.cycles - 1000)
    assert rate / (7e12 / 2.4e9) >= 0.88
    assert found.busiest["links"] <= 1 and found.busiest["hbm channels"] <= 1


# ---- laws


def _state_after(chip: Chip, *records: Stream) -> Timing:
    timing = Timing(chip, INFO)
    timed(chip, stream(chip, *records), timing=timing)
    return timing


def _busy(timing: Timing, begin: int, end: int) -> np.ndarray:
    s = state_of(timing)
    low = 0 if begin == 0 else int(s.p[begin])
    return s.res[low : int(s.p[end]), reserve.BUSY]


Tiles = st.integers(0, 3)
Sizes = st.sampled_from([128, 1280, 4096, 40960])


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from([HBM, CSRAM, TSRAM]), st.integers(0, 3), Sizes
        ),
        min_size=1,
        max_size=12,
    )
)
def test_links_carry_exactly_the_bytes_of_the_stream(
    transfers: list[tuple[int, int, int, int]],
) -> None:
    """Bytes in are bytes out: the links' time is the accounting's byte-hops."""
    records = []
    for tile, space, target, size in transfers:
        owner = tile // 2 if space == CSRAM else tile
        records.append(dma(tile, 0, space, TSRAM, size, src_owner=owner, dst_owner=target))
    timing = Timing(MINI, INFO)
    found = timed(MINI, stream(MINI, *records), timing=timing)
    links = _busy(timing, 0, at.R_TILE_OUT)
    assert links.sum() * LINK == found.traffic.total("noc byte hops")
    into = _busy(timing, at.R_TILE_IN, at.R_CSRAM_OUT)
    assert into.sum() * LINK == found.traffic.total("tsram write dma")


FASTER = {
    "noc.link_bytes": 256,
    "hbm.bytes_per_second": 14e12,
    "cluster.csram.bytes_per_cycle": 2048,
    "tile.dma.bytes_per_cycle": 256,
    "tile.tsram.bank_bytes": 128,
    "tile.dma.outstanding": 128,
}


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(FASTER)),
    st.lists(
        st.tuples(
            st.sampled_from([HBM, CSRAM, TSRAM]),
            st.sampled_from([HBM, CSRAM, TSRAM]),
            st.integers(1, 60_000),
            st.integers(0, 1 << 22),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_more_bandwidth_never_slows_a_channel_that_is_alone(
    key: str, transfers: list[tuple[int, int, int, int]]
) -> None:
    records = stream(
        MINI,
        *(
            dma(0, 0, src, dst, size, src_owner=0, dst_owner=0, src_address=at_, dst_address=at_)
            for src, dst, size, at_ in transfers
        ),
    )
    assert _cycles(MINI.with_(**{key: FASTER[key]}), records) <= _cycles(MINI, records)


def _cycles(chip: Chip, records: Stream) -> int:
    found: EntryTiming = timed(chip, records)
    return found.cycles


def test_consecutive_granules_use_all_channels_equally() -> None:
    p = integer_constants(T1)
    channels = [channel_of(p, granule * 4096) for granule in range(96 * 50)]
    assert (np.bincount(channels, minlength=96) == 50).all()
    for stride in (2, 96, 1024, 4096, 96 * 64):
        strided = [channel_of(p, granule * stride * 4096) for granule in range(960)]
        assert np.bincount(strided, minlength=96).max() < 40


def test_every_port_and_channel_is_on_the_mesh() -> None:
    for chip in (T1, MINI, MINI.with_(mesh={"columns": 4, "rows": 1})):
        nodes = mesh.port_nodes(chip)
        assert len(nodes) == chip.hbm.stacks * chip.hbm.ports
        assert nodes.max() < chip.mesh.columns * chip.mesh.rows
        assert set(mesh.channel_ports(chip)) <= set(range(len(nodes)))
        assert (np.bincount(mesh.channel_ports(chip)) == chip.hbm.channels // chip.hbm.ports).all()
