"""Laws that no stream may break, on random streams for small chips of many shapes.

TESSERA_LAWS=N tries N of them for each law (`make laws`: 10,000).
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases
from test_timing_streams import INFO, MINI, Stream, random_stream, shuffled, stream, timed, vector

from emulator.accounting_columns import ROW_COLUMNS
from emulator.retire import BYTES, OPCODE, SPACES
from emulator.timing import EntryTiming, Timing, reserve
from emulator.timing import layout as at
from emulator.timing.model import state_of
from emulator.timing.result import BOUNDS, apportion
from isa.chip import Chip
from isa.spec import BY_OPCODE

Seeds = st.integers(0, 2**32 - 1)

#: Knobs that change cycles and nothing else.
KNOBS: dict[str, tuple[object, ...]] = {
    "tile.queue_depth": (1, 3, 16),
    "tile.mxu.pe_latency": (1, 2),
    "tile.mxu.double_buffered": (True, False),
    "tile.mxu.weight_load_rows_per_cycle": (1, 4),
    "tile.mxu.weight_load_latency": (0, 15),
    "tile.mxu.start": (0, 8),
    "tile.vpu.lanes": (8, 32),
    "tile.tsram.banks": (1, 16),
    "tile.tsram.bank_bytes": (8, 64),
    "tile.dma.outstanding": (1, 4, 64),
    "tile.dma.request_bytes": (64, 256, 4096),
    "tile.dma.start": (0, 960),
    "tile.dma.bytes_per_cycle": (16, 128),
    "control.issue": (0, 2),
    "cluster.csram.bytes_per_cycle": (16, 256),
    "cluster.csram.ports": (1, 2, 3),
    "noc.link_bytes": (8, 128),
    "noc.hop": (0, 9),
    "hbm.bytes_per_second": (1e11, 7e12),
    "hbm.interleave": (256, 4096),
    "hbm.ports": (1, 4),
    "hbm.latency": (0, 360, 2000),
    "hbm.queue": (1, 16, 128),
    "hbm.entry_bytes": (32, 256),
    "hbm.banks": (1, 4, 48),
    "hbm.bank_stripe": (256, 1024),
    "hbm.pseudo_channels": (1, 2),
    "hbm.interleave_hash": (True, False),
    "hbm.turnaround_ns": (0, 15),
    "clusters": (1, 2),
    "mesh": ({"columns": 2, "rows": 2}, {"columns": 4, "rows": 1}, {"columns": 1, "rows": 5}),
}


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    """t1-mini with up to eight knobs turned."""
    keys = draw(st.lists(st.sampled_from(sorted(KNOBS)), unique=True, max_size=8))
    return MINI.with_(**{key: draw(st.sampled_from(KNOBS[key])) for key in keys})


def everything(found: EntryTiming) -> dict[str, object]:
    """All that an entry's timing says, comparable."""
    traffic = {key: np.asarray(value).tolist() for key, value in vars(found.traffic).items()}
    plain = {key: value for key, value in vars(found).items() if key != "traffic"}
    return traffic | {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in plain.items()
    }


@settings(max_examples=cases(40))
@given(chips(), Seeds, Seeds)
def test_chunks_and_the_order_of_tiles_mean_nothing(chip: Chip, seed: int, order: int) -> None:
    records = random_stream(chip, seed)
    expected = everything(timed(chip, records))
    for chunk in (1, 7, 4096):
        assert everything(timed(chip, shuffled(records, order), chunk)) == expected


@settings(max_examples=cases(20))
@given(chips(), Seeds)
def test_an_entry_leaves_nothing_behind_but_semaphores(chip: Chip, seed: int) -> None:
    timing = Timing(chip, INFO)
    timed(chip, random_stream(chip, seed + 1), timing=timing)
    assert timing.buffered_records == 0
    state_free = Timing(chip, INFO)
    state_free._state.sems[:] = timing._state.sems
    records = random_stream(chip, seed)
    again, fresh = (timed(chip, records, timing=model) for model in (timing, state_free))
    assert everything(again) == everything(fresh)


@settings(max_examples=cases(60))
@given(chips(), Seeds)
def test_every_cycle_of_every_unit_has_one_cause(chip: Chip, seed: int) -> None:
    found = timed(chip, random_stream(chip, seed))
    assert found.units.min() >= 0
    assert (found.units.sum(axis=2) == found.cycles).all()
    assert not found.units[:, :, at.SIGNAL_WAY].any()


@settings(max_examples=cases(60))
@given(chips(), Seeds)
def test_nothing_is_faster_than_its_bounds(chip: Chip, seed: int) -> None:
    found = timed(chip, random_stream(chip, seed))
    assert (found.spans[:, None] >= found.bounds).all()
    assert found.cycles >= found.critical_cycles
    assert found.cycles >= found.last.max()
    assert all(0 <= share <= 1 for share in found.busiest.values())


def test_pieces_that_come_from_nearer_by_do_not_break_the_bound() -> None:
    """Found by `make laws`: the critical path took every transfer's way to be the first piece's."""
    found = timed(MINI.with_(**{"cluster.csram.ports": 2}), random_stream(MINI, 6632))
    assert found.cycles >= found.critical_cycles


@settings(max_examples=cases(60))
@given(chips(), Seeds)
def test_parts_sum_to_the_whole(chip: Chip, seed: int) -> None:
    found = timed(chip, random_stream(chip, seed))
    assert found.exclusive.min() >= 0 and found.rest >= 0
    assert found.exclusive.sum() + found.rest == found.cycles
    assert min(found.critical_path.values()) > 0
    assert sum(found.critical_path.values()) == found.cycles
    for row in range(len(found.keys)):
        bound, gap, causes = found.reasons(row)
        assert sum(causes.values()) == gap
        assert all(part > 0 for part in causes.values())
        assert gap == found.spans[row] - found.bounds[row, BOUNDS.index(bound)]
        assert found.exclusive_causes[row].sum() == found.exclusive[row]
    assert found.exclusive_causes.min() >= 0
    assert found.traffic.rows.shape == (len(found.keys), len(ROW_COLUMNS))


def _flits(chip: Chip, records: Stream) -> tuple[int, int]:
    """(out of sources, into destinations): cycles for which ways in and out are taken."""
    timing = Timing(chip, INFO)
    timed(chip, records, timing=timing)
    s = state_of(timing)
    busy = s.res[:, reserve.BUSY]

    def taken(*kinds: tuple[int, int]) -> int:
        return int(sum(busy[s.p[begin] : s.p[end]].sum() for begin, end in kinds))

    out = taken((at.R_TILE_OUT, at.R_TILE_IN), (at.R_CSRAM_OUT, at.R_CSRAM_IN))
    into = taken((at.R_TILE_IN, at.R_CSRAM_OUT), (at.R_CSRAM_IN, at.R_PORT_OUT))
    return (
        out + taken((at.R_PORT_OUT, at.R_PORT_IN)),
        into + taken((at.R_PORT_IN, at.R_CLUSTER)),
    )


@settings(max_examples=cases(40))
@given(chips(), Seeds)
def test_what_leaves_a_source_arrives_and_nothing_else(chip: Chip, seed: int) -> None:
    """Each transfer by itself: all its bytes, once for each destination; together: their sum."""
    moves = [r for r in random_stream(chip, seed, 24) if kind_of(r) == "dma" and r[BYTES] > 0]
    out, into = 0, 0
    for move in moves[:6]:
        left, came = _flits(chip, stream(chip, move))
        fan = max(int(move[SPACES]) >> 16, 1)
        delivered = int(move[BYTES]) * fan
        assert came * chip.noc.link_bytes >= delivered
        if left > 0:  # else it stays within a tile
            assert came == left * fan
            assert left * chip.noc.link_bytes >= move[BYTES]
        out, into = out + left, into + came
    assert _flits(chip, stream(chip, *moves[:6])) == (out, into)


def kind_of(record: Stream) -> str:
    """Whether a record is a transfer."""
    mnemonic = BY_OPCODE[int(record[OPCODE])].mnemonic
    return "dma" if mnemonic in ("dma", "dmag", "dmas") else "other"


def test_a_chip_larger_than_its_tiles_and_a_single_tile_work() -> None:
    one = MINI.with_(clusters=1, tiles_per_cluster=1, mesh={"columns": 1, "rows": 1})
    wide = MINI.with_(mesh={"columns": 5, "rows": 3})
    for chip in (one, wide):
        for seed in range(5):
            assert timed(chip, random_stream(chip, seed)).cycles > 0


def test_apportioning_is_exact_and_fair() -> None:
    assert apportion(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert apportion(7, {"a": 0, "b": 5}) == {"b": 7}
    assert apportion(0, {"a": 1}) == {}
    assert apportion(3, {}) == {"unexplained": 3}


@pytest.mark.parametrize("count", [1, 40])
def test_operations_are_told_apart_by_name_and_context(count: int) -> None:
    records = [
        vector(tile, "vcopy", 4, 32, PC=pc, CONTEXT=context)
        for context in range(count)
        for tile in (0, 3)
        for pc in (0, 2)
    ]
    found = timed(MINI, _with_contexts(records))
    named = {(INFO.op_name(int(op)), int(context)) for op, context in found.keys}
    expected = {(name, c) for name in ("embed", "attend") for c in range(count)}
    assert named == expected | {("embed", 0)}
    assert found.traffic.row("elements").sum() == count * 4 * 128
    assert (np.diff(found.first[found.first >= 0]) >= 0).all()


def _with_contexts(records: list[Stream]) -> Stream:
    return stream(MINI, *records)
