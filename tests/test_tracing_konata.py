"""The pipeline log: every line is of the Kanata format, and says what the model saw."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from test_timing_laws import Seeds
from test_timing_streams import INFO, MINI, random_stream
from traced_runs import Ints, Kept, watched

from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.tracing.konata import KonataLog

STAGES = "FBIQXWS"
LAST = {"work": "X", "wait": "W", "signal": "S"}


@dataclass
class Op:
    """An instruction of a log."""

    serial: int
    thread: int
    labels: dict[int, str] = field(default_factory=dict)
    stages: list[tuple[int, str]] = field(default_factory=list)
    retired: int = -1
    producers: list[int] = field(default_factory=list)


def parsed(text: str) -> list[Op]:
    """Read a log; every rule of the format that it could break is asserted."""
    head, start, *lines = text.splitlines()
    assert head == "Kanata\t0004" and start.startswith("C=\t")
    now, ops = int(start.split("\t")[1]), list[Op]()
    for line in lines:
        command, *words = line.split("\t")
        if command == "C":
            assert int(words[0]) > 0
            now += int(words[0])
            continue
        number = int(words[0])
        if command == "I":
            assert number == len(ops)
            ops.append(Op(int(words[1]), int(words[2])))
            continue
        op = ops[number]
        assert op.retired < 0, "nothing comes after its end"
        if command == "L":
            op.labels[int(words[1])] = words[2]
        elif command == "S":
            assert words[1] == "0" and words[2] in STAGES
            op.stages.append((now, words[2]))
        elif command == "W":
            assert words[2] == "0"
            op.producers.append(int(words[1]))
        else:
            assert command == "R" and words[2] == "0" and int(words[1]) == op.serial
            op.retired = now
    assert all(op.retired >= 0 for op in ops)
    return ops


class Both(Kept):
    """Keeps what it gives to a log."""

    def __init__(self, log: KonataLog) -> None:
        super().__init__()
        self.log = log

    def slices(self, rows: Ints, keys: Ints) -> None:
        super().slices(rows, keys)
        self.log.slices(rows, keys)


def logged(seed: int, first: int, count: int, entries: int = 1) -> tuple[list[Op], list[Both]]:
    """Random entries one after the other, each 50,000 cycles after the one before."""
    log, seen = KonataLog(MINI, INFO, first, count), list[Both]()
    for entry in range(entries):
        log.begin(50_000 * entry)
        seen.append(Both(log))
        watched(MINI, random_stream(MINI, seed + entry), seen[-1])
    file = io.BytesIO()
    log.write(file)
    return parsed(file.getvalue().decode()), seen


@settings(max_examples=15)
@given(Seeds, st.integers(0, 100), st.integers(1, 200))
def test_a_window_is_logged(seed: int, first: int, count: int) -> None:
    ops, (seen,) = logged(seed, first, count)
    rows = seen.rows
    rows = rows[rows[:, cut.S_KIND] <= cut.SIGNAL]
    by_serial = {row[cut.S_SERIAL]: row for row in rows.tolist()}
    wanted = [serial for serial in sorted(by_serial) if first <= serial < first + count]
    assert sorted(op.serial for op in ops) == wanted
    assert [op.serial for op in ops] == sorted(
        wanted, key=lambda serial: (by_serial[serial][cut.S_TURNED], serial)
    )
    for op in ops:
        row = by_serial[op.serial]
        tile, unit = divmod(row[cut.S_UNIT], at.UNITS)
        assert op.thread == 16 * tile + unit
        assert op.retired == row[cut.S_END]
        assert op.stages[-1] == (row[cut.S_BEGIN], LAST[cut.KINDS[row[cut.S_KIND]]])
        names = [name for _, name in op.stages]
        assert names == sorted(names, key=STAGES.index), "stages follow each other"
        assert op.labels[0].startswith(f"t{tile} ") and f" {row[cut.S_PC]}: " in op.labels[0]
        if unit:  # handing over takes the chip's cycles for that, and ends in the queue
            handed = next(time for time, name in op.stages if name == "I")
            assert handed == row[cut.S_ISSUED] - MINI.control.issue


@settings(max_examples=10)
@given(Seeds)
def test_arrows_come_from_signals(seed: int) -> None:
    ops, (seen,) = logged(seed, 0, 10_000)
    arrows = [(op, ops[producer]) for op in ops for producer in op.producers]
    ended = seen.rows[seen.rows[:, cut.S_FROM] >= 0]
    assert len(arrows) == len(ended) > 0
    for consumer, producer in arrows:
        assert consumer.stages[-1][1] == "W" and producer.stages[-1][1] == "S"
        assert producer.retired <= consumer.retired


def test_numbers_go_on_from_entry_to_entry() -> None:
    ops, seen = logged(7, 0, 10_000, entries=3)
    counts = [int((part.rows[:, cut.S_KIND] <= cut.SIGNAL).sum()) for part in seen]
    assert sorted(op.serial for op in ops) == list(range(sum(counts)))
    late = [op for op in ops if op.serial >= counts[0] + counts[1]]
    assert len(late) == counts[2]
    assert all(op.stages[0][0] >= 100_000 for op in late)


def test_an_empty_window_is_a_log() -> None:
    ops, _ = logged(1, 5_000, 10)
    assert ops == []
