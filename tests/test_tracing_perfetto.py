"""The Perfetto trace, read by the official definitions: tracks, slices, arrows, counters, speed."""

from __future__ import annotations

import io
import time
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto_reading import Slice, Trace, read
from test_timing_laws import Seeds
from test_timing_streams import INFO, MINI, random_stream
from traced_runs import Ints, Kept, kept, watched

from emulator.timing import EntryTiming
from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.tracing.perfetto import PerfettoTrace
from emulator.tracing.proto import field, message, varint
from isa.chip import Chip
from isa.faults import unit_name
from isa.spec import BY_OPCODE


class Both(Kept):
    """Keeps what it gives to a trace."""

    def __init__(self, trace: PerfettoTrace) -> None:
        super().__init__()
        self.trace = trace

    def slices(self, rows: Ints, keys: Ints) -> None:
        super().slices(rows, keys)
        self.trace.slices(rows, keys)

    def meters(self, window: int, moved: Ints) -> None:
        super().meters(window, moved)
        self.trace.meters(window, moved)


def traced(chip: Chip, seed: int, base: int = 0) -> tuple[Trace, Both, EntryTiming]:
    """A random stream's trace as it reads, and what it was made of."""
    file = io.BytesIO()
    observer = Both(PerfettoTrace(file, chip, INFO, (0, chip.num_tiles)))
    observer.trace.begin(base)
    found = watched(chip, random_stream(chip, seed), observer)
    observer.trace.end("entry 0", found.cycles)
    assert observer.trace.bytes == len(file.getvalue())
    return read(file.getvalue()), observer, found


def nanoseconds(chip: Chip, cycle: int) -> int:
    return cycle * 10**9 // round(chip.clock_hz)


def units_of(trace: Trace, found: list[Slice]) -> list[Slice]:
    return [each for each in found if trace.place(each)[0].startswith("tile ")]


def test_there_is_a_process_for_each_tile_and_a_track_for_each_unit() -> None:
    trace, _, _ = traced(MINI, 1)
    assert set(trace.processes.values()) == {MINI.name} | {
        f"tile {tile}" for tile in range(MINI.num_tiles)
    }
    units: dict[str, list[str]] = defaultdict(list)
    for parent, name in trace.threads.values():
        units[trace.processes[parent]].append(name)
    assert units.pop(MINI.name) == ["entries"]
    assert all(names == [unit_name(unit) for unit in range(at.UNITS)] for names in units.values())
    assert [name for name, _ in trace.counters.values()] == list(cut.METERS)
    assert {unit for _, unit in trace.counters.values()} == {"GB/s"}


@settings(max_examples=15)
@given(Seeds, st.sampled_from([0, 12345, 1 << 40]), st.sampled_from([2.4e9, 940e6, 1e9, 1e6, 1e11]))
def test_every_slice_is_what_the_model_saw(seed: int, base: int, clock: float) -> None:
    chip = replace(MINI, clock_hz=clock)
    trace, observer, _ = traced(chip, seed, base)
    expected = []
    for row in observer.rows[observer.rows[:, cut.S_END] > observer.rows[:, cut.S_BEGIN]].tolist():
        tile, unit = divmod(row[cut.S_UNIT], at.UNITS)
        begin, end = base + row[cut.S_BEGIN], base + row[cut.S_END]
        op, context = observer.keys[row[cut.S_ROW]].tolist()
        notes = {
            "mnemonic": BY_OPCODE[row[cut.S_OPCODE] & 0xFF].mnemonic,
            "pc": row[cut.S_PC],
            "cycle": begin,
            "cycles": end - begin,
        }
        notes |= {"layer": context - 1} if context else {}
        notes |= {"bytes": row[cut.S_BYTES]} if row[cut.S_BYTES] else {}
        kind = cut.KINDS[row[cut.S_KIND]]
        name = INFO.op_name(op) + ("" if kind in ("work", "issue") else f": {kind}")
        times = nanoseconds(chip, begin), nanoseconds(chip, end)
        expected.append(
            (f"tile {tile}", unit_name(unit), *times, name, kind, sorted(notes.items()))
        )
    got = []
    for each in units_of(trace, trace.slices):
        notes = {k: v for k, v in each.notes.items() if k not in ("semaphore", "tile", "unit")}
        got.append(
            (
                *trace.place(each),
                each.begin,
                each.end,
                each.name,
                each.category,
                sorted(notes.items()),
            )
        )
    assert sorted(got, key=repr) == sorted(expected, key=repr)


@settings(max_examples=15)
@given(Seeds)
def test_arrows_lead_from_a_signal_to_the_wait_that_it_ended(seed: int) -> None:
    trace, observer, _ = traced(MINI, seed)
    ended = observer.rows[observer.rows[:, cut.S_FROM] >= 0]
    arrows = trace.arrows()
    assert len(arrows) == len(ended)
    for sent, wait in arrows:
        assert sent.category == "signal" and wait.category == "wait"
        assert sent.begin <= wait.end
        assert sent.notes["semaphore"] == wait.notes["semaphore"]
        there = trace.place(wait)
        assert there == (f"tile {sent.notes['tile']}", sent.notes["unit"])
        assert trace.place(sent) == (f"tile {wait.notes['tile']}", wait.notes["unit"])


def test_counters_hold_the_bytes_and_end_at_zero() -> None:
    trace, observer, found = traced(MINI, 2)
    end = nanoseconds(MINI, found.cycles)
    for kind, name in enumerate(cut.METERS):
        values = trace.values[name]
        assert values[-1] == (end, 0)
        assert all(a[0] < b[0] and a[1] != b[1] for a, b in pairwise(values[:-1]))
        total = sum(rate * (b - a) for (a, rate), (b, _) in pairwise(values))
        assert total == pytest.approx(observer.moved[:, kind].sum(), rel=1e-2)  # times are rounded


def test_the_entry_has_a_slice() -> None:
    trace, _, found = traced(MINI, 2, base=100)
    entry = next(each for each in trace.slices if trace.place(each)[1] == "entries")
    assert entry.name == "entry 0" and entry.notes == {"cycles": found.cycles}
    times = nanoseconds(MINI, 100), nanoseconds(MINI, 100 + found.cycles)
    assert (entry.begin, entry.end) == times


def test_names_of_any_kind_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(INFO, ops=("layer 0 · q", "", "\udcff", "x" * 300))
    file = io.BytesIO()
    trace = PerfettoTrace(file, MINI, info, (0, 1))
    watched(MINI, random_stream(MINI, 1), trace, (0, 1), info)
    names = {each.name for each in read(file.getvalue()).slices}
    assert {"layer 0 · q", "x" * 300, "(no operation)"} <= names


def test_a_million_slices_take_less_than_ten_seconds() -> None:
    observer = kept(MINI, random_stream(MINI, 0, 600))
    rows = observer.rows[observer.rows[:, cut.S_END] > observer.rows[:, cut.S_BEGIN]]
    file = io.BytesIO()
    trace = PerfettoTrace(file, MINI, INFO, (0, MINI.num_tiles))
    trace.slices(rows[:1], observer.keys)  # compiles
    copies = np.tile(rows, (2**20 // len(rows), 1))
    begin = time.perf_counter()
    trace.slices(copies, observer.keys)
    assert time.perf_counter() - begin < 10
    assert 2**20 - len(rows) <= len(copies) and trace.bytes > 50 * len(copies)


# ---- messages


@given(st.integers(0, 2**64 - 1))
def test_whole_numbers_read_back(value: int) -> None:
    from google.protobuf.internal.decoder import _DecodeVarint

    data = varint(value)
    assert _DecodeVarint(data, 0) == (value, len(data))


def test_fields_have_the_type_of_their_value() -> None:
    assert field(1, 150) == b"\x08\x96\x01"
    assert field(2, "testing") == b"\x12\x07testing"
    assert message((3, field(1, 150)), (1, 1.0)) == b"\x1a\x03\x08\x96\x01\t" + bytes(6) + b"\xf0?"
