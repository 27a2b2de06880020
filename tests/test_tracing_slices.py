"""Slices: watching changes nothing, and what is seen is the ledger's time, cut at records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from test_timing_laws import Seeds, chips, everything
from test_timing_streams import (
    HBM,
    INFO,
    MINI,
    TSRAM,
    dma,
    gemm,
    random_stream,
    signal,
    stream,
    timed,
    wait,
)
from traced_runs import Kept, kept, watched

from emulator import retire
from emulator.timing import Timing, watch
from emulator.timing import layout as at
from emulator.timing import slices as cut
from isa.chip import Chip
from isa.spec import BY_MNEMONIC


@settings(max_examples=30)
@given(chips(), Seeds)
def test_watching_changes_nothing(chip: Chip, seed: int) -> None:
    records = random_stream(chip, seed)
    assert everything(watched(chip, records, Kept())) == everything(timed(chip, records))


@settings(max_examples=30)
@given(chips(), Seeds)
def test_every_record_has_one_slice_and_slices_of_a_unit_follow_each_other(
    chip: Chip, seed: int
) -> None:
    records = random_stream(chip, seed)
    rows = kept(chip, records).rows
    own = rows[~np.isin(rows[:, cut.S_KIND], (cut.ISSUE, cut.BLOCKED))]
    assert sorted(own[:, cut.S_SERIAL]) == list(range(len(records)))
    for unit in np.unique(rows[:, cut.S_UNIT]):
        mine = rows[rows[:, cut.S_UNIT] == unit]
        if unit % at.UNITS:  # what others signal takes no time, and may lie in the future
            mine = mine[mine[:, cut.S_KIND] != cut.SIGNAL]
        assert (mine[:, cut.S_END] >= mine[:, cut.S_BEGIN]).all()
        assert (mine[1:, cut.S_BEGIN] >= mine[:-1, cut.S_END]).all()


@settings(max_examples=30)
@given(Seeds)
def test_slices_are_the_time_that_is_not_idle(seed: int) -> None:
    observer = Kept()
    found = watched(MINI, random_stream(MINI, seed), observer)
    rows = observer.rows
    length = rows[:, cut.S_END] - rows[:, cut.S_BEGIN]
    for unit in range(MINI.num_tiles * at.UNITS):
        tile, kind = divmod(unit, at.UNITS)
        causes = dict(zip(at.CAUSES, found.units[tile, kind].tolist(), strict=True))
        busy = int(length[rows[:, cut.S_UNIT] == unit].sum())
        idle = causes["issue"] + causes["after end"]
        if kind >= 2:  # VPU, DMA
            assert busy == found.cycles - idle
        elif kind == 1:  # an array may drain within a slice or between two
            assert found.cycles - idle - causes["drain"] <= busy <= found.cycles - idle
        else:  # scalar instructions before a wait are in no slice
            assert found.cycles - idle - causes["execute"] <= busy <= found.cycles - idle
            waited = rows[:, cut.S_KIND] == cut.WAIT
            assert length[waited & (rows[:, cut.S_UNIT] == unit)].sum() >= causes["semaphore"]
            blocked = rows[:, cut.S_KIND] == cut.BLOCKED
            assert length[blocked & (rows[:, cut.S_UNIT] == unit)].sum() == causes["queue full"]


@settings(max_examples=30)
@given(chips(), Seeds)
def test_meters_hold_the_bytes_of_the_accounting(chip: Chip, seed: int) -> None:
    records, observer = random_stream(chip, seed), Kept()
    traffic = watched(chip, records, observer).traffic
    loads = records[records[:, retire.OPCODE] == BY_MNEMONIC["ld"].opcode]
    loaded = {
        space: int(loads[loads[:, retire.LD_SPACE] == space, retire.BYTES].sum())
        for space in range(3)
    }
    names = ("hbm read", "hbm write", "noc", "tsram", "csram")
    sums = [int(traffic.row(name).sum()) for name in names]
    moved = observer.moved.sum(axis=0).tolist()
    assert moved[0] == sums[0] - loaded[HBM]  # scalar loads are not metered
    assert moved[1:3] == sums[1:3]
    assert sums[3] - loaded[TSRAM] <= moved[3] <= sums[3]
    assert sums[4] - loaded[3 - HBM - TSRAM] <= moved[4] <= sums[4]
    assert observer.moved.min() >= 0


def test_a_full_buffer_is_emptied_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    records = random_stream(MINI, 3, 500)
    whole = kept(MINI, records)
    monkeypatch.setattr(watch, "CAPACITY", 8)
    parts = kept(MINI, records)
    assert max(map(len, parts.parts)) <= 8 and len(parts.parts) > 50
    np.testing.assert_array_equal(parts.rows[:, : cut.S_FROM], whole.rows[:, : cut.S_FROM])
    np.testing.assert_array_equal(parts.moved, whole.moved)


def test_only_chosen_tiles_are_watched() -> None:
    records = random_stream(MINI, 4, 400)
    found = kept(MINI, records, (1, 3))
    np.testing.assert_array_equal(found.moved, kept(MINI, records).moved)  # of the whole chip
    rows = found.rows
    assert set(rows[:, cut.S_UNIT] // at.UNITS) == {1, 2}
    tiles = records[:, retire.TILE]
    own = rows[~np.isin(rows[:, cut.S_KIND], (cut.ISSUE, cut.BLOCKED))]
    assert len(own) == ((tiles == 1) | (tiles == 2)).sum()
    assert sorted(own[:, cut.S_SERIAL]) == list(range(len(own)))
    senders = rows[rows[:, cut.S_FROM] >= 0][:, cut.S_FROM] % cut.SENDERS // at.UNITS
    assert set(senders) <= {1, 2}


def test_the_next_entry_is_not_watched() -> None:
    records, timing, observer = random_stream(MINI, 5), Timing(MINI, INFO), Kept()
    timing.begin("entry", watch.Watch(observer))
    timing.feed(records)
    timing.end()
    seen = len(observer.rows)
    assert timed(MINI, records, timing=timing).cycles > 0
    assert len(observer.rows) == seen


def test_a_wait_knows_who_ended_it() -> None:
    records = stream(
        MINI,
        gemm(2, 16, 16, 64, PC=4, CONTEXT=1),
        signal(2, 1, 7, 1, 1, 0, PC=4, CONTEXT=1),
        wait(0, 3, 7, PC=2),
        dma(0, 0, HBM, TSRAM, 4096, PC=2),
    )
    found = kept(MINI, records)
    rows = found.rows
    waits = rows[(rows[:, cut.S_KIND] == cut.WAIT) & (rows[:, cut.S_FROM] >= 0)]
    assert len(waits) == 1
    row, sender = divmod(int(waits[0, cut.S_FROM]), cut.SENDERS)
    assert sender == 2 * at.UNITS + 1
    assert found.keys[row].tolist() == [2, 1]
    signals = rows[rows[:, cut.S_KIND] == cut.SIGNAL]
    assert signals[0, cut.S_SERIAL] == waits[0, cut.S_SENDER]
    assert signals[0, cut.S_END] == waits[0, cut.S_SENT] < waits[0, cut.S_END]


def test_windows_grow_with_time() -> None:
    """Five million cycles of loads: more than there are windows of the first length."""
    chip = MINI.with_(**{"control.load_hbm": 1_000_000})
    load = [0] * retire.WORDS
    load[retire.OPCODE] = BY_MNEMONIC["ld"].opcode
    copy = dma(0, 0, HBM, TSRAM, 10_000)
    found = kept(chip, stream(chip, copy, *[np.array(load)] * 5, copy))
    assert found.window == 2 * cut.FIRST_WINDOW
    assert found.moved[:, cut.HBM_READ].sum() == 20_000
    busy = np.flatnonzero(found.moved[:, cut.HBM_READ])
    assert busy[0] < 20 and busy[-1] * found.window > 4_900_000
