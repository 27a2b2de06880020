"""HBM: the published sweep, and what banks, queue and bus each add to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases
from test_timing_streams import HBM, INFO, T1, TSRAM, dma, stream, timed

from emulator.jit import njit
from emulator.timing import hbm, reserve
from emulator.timing import layout as at
from emulator.timing.model import Timing, state_of
from emulator.timing.state import integer_constants
from isa.chip import Chip, load_chip

CHANNEL = load_chip("hbm3-6400-channel")
MIB = 1 << 20

#: GB/s of one HBM3-6400 channel in Ramulator 2.1, reads of pieces in random banks and rows.
BY_SIZE = {
    32: 15.6,
    64: 31.5,
    128: 45.2,
    256: 45.0,
    512: 43.1,
    1024: 38.0,
    2048: 43.3,
    8192: 45.5,
    65536: 46.5,
}
#: The same for pieces of 256 bytes, by entries of the queue.
BY_QUEUE = {8: 11.5, 16: 17.6, 32: 25.5, 64: 36.6, 128: 45.4, 256: 47.0}


@njit
def place_of(p, address):
    """`place` for Python."""
    return hbm.place(p, address)


@njit
def channel_of(p, address):
    """`hbm_channel` for Python."""
    return hbm.hbm_channel(p, address)


def rate(chip: Chip, piece: int, stride: int = 0, total: int = MIB) -> float:
    """GB/s of reading pieces: in random places, or with a stride."""
    scattered = {"mnemonic": "dmag"} if stride == 0 else {}
    read = dma(0, 0, HBM, TSRAM, total, run=piece, stride=stride or piece, **scattered)
    found = timed(chip, stream(chip, read))
    cycles = int(found.last[0] - found.first[0]) - chip.hbm.latency
    return total / cycles * chip.clock_hz / 1e9


@pytest.mark.parametrize("size", BY_SIZE)
def test_random_pieces_are_as_fast_as_in_ramulator(size: int) -> None:
    assert rate(CHANNEL, size) == pytest.approx(BY_SIZE[size], rel=0.12)


@pytest.mark.parametrize("entries", BY_QUEUE)
def test_a_shorter_queue_keeps_fewer_banks_at_work(entries: int) -> None:
    chip = CHANNEL.with_(**{"hbm.queue": entries})
    assert rate(chip, 256) == pytest.approx(BY_QUEUE[entries], rel=0.2)


def test_the_sweep_as_a_whole() -> None:
    errors = [abs(rate(CHANNEL, size) / want - 1) for size, want in BY_SIZE.items()]
    for entries, want in BY_QUEUE.items():
        errors.append(abs(rate(CHANNEL.with_(**{"hbm.queue": entries}), 256) / want - 1))
    assert np.median(errors) <= 0.08
    assert max(errors) <= 0.20


# ---- mechanisms


def test_an_open_row_is_not_opened_again() -> None:
    """Pieces of 64 bytes one after the other in the same rows run at the bus's rate."""
    assert rate(CHANNEL, 64, stride=64) > 1.4 * rate(CHANNEL, 64)


def test_one_bank_alone_takes_a_row_cycle_for_each_row() -> None:
    """Rows of one bank, one after the other: tRC, or the time its row needs, for each."""
    p = integer_constants(CHANNEL)
    places = [place_of(p, row * 1024) for row in range(4096)]
    stride = next(r for r in range(1, 4096) if places[r][1] == places[0][1]) * 1024
    piece = 64
    pieces = 64
    read = dma(0, 0, HBM, TSRAM, piece * pieces, run=piece, stride=stride)
    same = [place_of(p, i * stride)[1] == places[0][1] for i in range(pieces)]
    cycles = timed(CHANNEL, stream(CHANNEL, read)).cycles
    row_cycle = CHANNEL.hbm.trc_ns * CHANNEL.clock_hz * 1e-9
    assert cycles >= 0.9 * row_cycle * (sum(same) - 1)


def test_writes_between_reads_turn_the_bus_round() -> None:
    """Half reads, half writes: slower by the turnarounds, and not without reads."""
    free = CHANNEL.with_(**{"hbm.turnaround_ns": 0})
    half = 256 * 1024

    def cycles(chip: Chip, *directions: int) -> int:
        moves = []
        for i in range(16):
            for write in directions:
                spaces = (TSRAM, HBM) if write else (HBM, TSRAM)
                address = {"dst_address" if write else "src_address": (2 * i + write) * half}
                moves.append(dma(0, 0, *spaces, half // 16, **address))
        return timed(chip, stream(chip, *moves)).cycles

    assert cycles(CHANNEL, 1) == cycles(free, 1)
    assert cycles(CHANNEL, 0) == cycles(free, 0)
    batches = half / CHANNEL.hbm.write_batch / CHANNEL.hbm.pseudo_channels
    turn = 2 * CHANNEL.hbm.turnaround_ns * CHANNEL.clock_hz * 1e-9
    more = cycles(CHANNEL, 0, 1) - cycles(free, 0, 1)
    assert 0.3 * batches * turn <= more <= 1.2 * batches * turn


def test_bytes_striped_over_bank_groups_are_not_held_to_one_groups_rate() -> None:
    """A single row: half the bus's rate from one bank, all of it from four."""
    striped = CHANNEL.with_(**{"hbm.bank_stripe": 256})

    def read(chip: Chip) -> int:
        return timed(chip, stream(chip, dma(0, 0, HBM, TSRAM, 1024))).cycles

    assert read(CHANNEL) - read(striped) > 0.4 * 32 * CHANNEL.hbm.tccd_l_ns * 4


@pytest.mark.parametrize("hashed", [True, False])
def test_strides_of_all_channels_meet_one_channel_unless_hashed(hashed: bool) -> None:
    chip = T1.with_(**{"hbm.interleave_hash": hashed})
    p = integer_constants(chip)
    channels = chip.hbm.stacks * chip.hbm.channels
    step = channels * chip.hbm.interleave
    met = {int(channel_of(p, i * step)) for i in range(channels)}
    assert len(met) > 40 if hashed else len(met) == 1


# ---- laws

CHIPS = [
    CHANNEL,
    T1,
    T1.with_(**{"hbm.interleave": 256, "hbm.bank_stripe": 1024, "hbm.pseudo_channels": 1}),
    T1.with_(**{"hbm.interleave": 65536, "hbm.bank_groups": 1, "hbm.banks": 1, "hbm.queue": 1}),
]


@settings(max_examples=cases(200))
@given(st.sampled_from(CHIPS), st.integers(0, 2**37))
def test_addresses_have_one_place_each(chip: Chip, address: int) -> None:
    """Neighbouring bytes stay in a visit; other visits of the same bank have other rows."""
    p = integer_constants(chip)
    pseudo, bank, row, left = place_of(p, address)
    assert channel_of(p, address) == pseudo // chip.hbm.pseudo_channels
    assert bank // p[at.P_HBM_BANKS] == pseudo
    assert 1 <= left <= min(chip.hbm.interleave, p[at.P_ROW_BYTES])
    assert place_of(p, address + left - 1) == (pseudo, bank, row, 1)


@pytest.mark.parametrize("chip", CHIPS, ids=range(len(CHIPS)))
def test_rows_hold_their_bytes_and_no_more(chip: Chip) -> None:
    """All bytes of a stretch of HBM: every row of every bank is given to so many bytes, once."""
    p = integer_constants(chip)
    channels = chip.hbm.stacks * chip.hbm.channels
    end = 4 * channels * max(chip.hbm.interleave, int(p[at.P_ROW_BYTES]) * chip.hbm.pseudo_channels)
    held: dict[tuple[int, int], int] = {}
    address = 0
    while address < end:
        _, bank, row, left = place_of(p, address)
        held[bank, row] = held.get((bank, row), 0) + left
        address += left
    assert set(held.values()) == {int(p[at.P_ROW_BYTES])}


@settings(max_examples=cases(60))
@given(
    st.sampled_from(CHIPS),
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from([32, 96, 1024, 5000, 65536]), st.integers(0, 1 << 24)
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_no_bus_is_taken_for_longer_than_there_is_time(
    chip: Chip, moves: list[tuple[bool, int, int]]
) -> None:
    """And it is taken for at least as long as its bytes need."""
    records = []
    for write, size, address in moves:
        spaces = (TSRAM, HBM) if write else (HBM, TSRAM)
        where = {"dst_address" if write else "src_address": address}
        records.append(dma(0, 0, *spaces, size, **where))
    timing = Timing(chip, INFO)
    found = timed(chip, stream(chip, *records), timing=timing)
    s = state_of(timing)
    taken = s.res[int(s.p[at.R_CHANNEL]) :, reserve.BUSY] / at.TICKS
    assert taken.max() <= found.cycles
    per_cycle = chip.hbm.bytes_per_second / chip.clock_hz * (1 - chip.hbm.refresh)
    needed = sum(size for _, size, _ in moves) / per_cycle * len(taken)
    assert taken.sum() >= 0.999 * needed - len(moves)
