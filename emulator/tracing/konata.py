"""A pipeline log in the Kanata format, version 0004, which Konata opens.

The format is that of docs/kanata-log-format.md in github.com/shioyadan/Konata: lines of columns
divided by tabs. `C=` and `C` move the time; `I` begins an instruction (number in the file, number
in the run, thread), `L` labels it, `S` begins a stage, `R` retires it, `W` draws an arrow from a
producer to a consumer. Time never goes back, so a window's slices are kept and sorted.

Stages: F scalar instructions before it, B blocked by a full queue, I handed to its unit, Q in the
unit's queue (or behind the unit's work), X executes, W waits for a semaphore, S signals.
"""

from __future__ import annotations

from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.timing import layout as at
from emulator.timing import slices as cut
from isa.chip import Chip
from isa.faults import unit_name
from isa.spec import BY_OPCODE

Ints = NDArray[np.int64]
_STAGE: Final = {cut.WORK: "X", cut.WAIT: "W", cut.SIGNAL: "S"}
_Event = tuple[int, list[str]]  # cycle, lines


class KonataLog:
    """Instructions first..first+count-1 of those that are watched, in the order of their issue."""

    def __init__(self, chip: Chip, info: ProgramInfo, first: int, count: int) -> None:
        self._info, self._issue = info, chip.control.issue
        self._first, self._beyond = first, first + count
        self._base = self._serials = self._seen = 0
        self._kept: list[Ints] = []  # slices, their cycles and serials those of the run
        self._ops: list[Ints] = []  # operation and context of each

    def begin(self, base: int) -> None:
        """An entry begins at a cycle of the run."""
        self._base, self._serials = base, self._seen

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Keep what is in the window."""
        self._seen = max(self._seen, self._serials + int(rows[:, cut.S_SERIAL].max()) + 1)
        serials = rows[:, cut.S_SERIAL] + self._serials
        wanted = (serials >= self._first) & (serials < self._beyond)
        wanted &= np.isin(rows[:, cut.S_KIND], list(_STAGE))
        kept = rows[wanted].copy()
        kept[:, cut.S_SERIAL] += self._serials
        kept[:, cut.S_SENDER] += self._serials
        for column in (cut.S_BEGIN, cut.S_END, cut.S_TURNED, cut.S_REACHED, cut.S_ISSUED):
            kept[:, column] += self._base
        self._kept.append(kept)
        self._ops.append(keys[kept[:, cut.S_ROW]])

    def meters(self, window: int, moved: Ints) -> None:
        """Bytes are not for this log."""

    def end(self, name: str, cycles: int) -> None:
        """The entry is over."""

    def write(self, file: BinaryIO) -> None:
        """Write the whole log."""
        rows = np.concatenate([*self._kept, np.empty((0, cut.S_FIELDS), np.int64)])
        ops = np.concatenate([*self._ops, np.empty((0, 2), np.int64)])
        order = np.lexsort((rows[:, cut.S_SERIAL], rows[:, cut.S_TURNED]))
        rows, ops = rows[order], ops[order]
        numbers = {int(serial): i for i, serial in enumerate(rows[:, cut.S_SERIAL])}
        events: list[_Event] = []
        for i, (row, op) in enumerate(zip(rows.tolist(), ops.tolist(), strict=True)):
            producer = numbers.get(row[cut.S_SENDER]) if row[cut.S_FROM] >= 0 else None
            events += self._events(i, row, op, producer)
        events.sort(key=lambda event: event[0])  # stable: an instruction's lines keep their order
        file.write(_text(events).encode(errors="backslashreplace"))

    def _events(self, i: int, row: list[int], op: list[int], producer: int | None) -> list[_Event]:
        """The lines of one instruction."""
        begin, end = row[cut.S_BEGIN], row[cut.S_END]
        events = [(row[cut.S_TURNED], self._labels(i, row, op))]
        stages = self._stages(row)
        for stage, start, stop in stages:
            if stop > start:
                events.append((start, [f"S\t{i}\t0\t{stage}"]))
        events.append((begin, [f"S\t{i}\t0\t{_STAGE[row[cut.S_KIND]]}"]))
        woken = [] if producer is None else [f"W\t{i}\t{producer}\t0"]
        events.append((end, [*woken, f"R\t{i}\t{row[cut.S_SERIAL]}\t0"]))
        return events

    def _stages(self, row: list[int]) -> list[tuple[str, int, int]]:
        """What was before it began: (stage, from, to)."""
        reached, begin = row[cut.S_REACHED], row[cut.S_BEGIN]
        if row[cut.S_UNIT] % at.UNITS == 0:  # the control processor's own
            return [("F", row[cut.S_TURNED], begin)]
        issued = row[cut.S_ISSUED]
        granted = issued - self._issue
        return [
            ("F", row[cut.S_TURNED], reached),
            ("B", reached, granted),
            ("I", granted, issued),
            ("Q", issued, begin),
        ]

    def _labels(self, i: int, row: list[int], op: list[int]) -> list[str]:
        tile, unit = divmod(row[cut.S_UNIT], at.UNITS)
        mnemonic = BY_OPCODE[row[cut.S_OPCODE] & 0xFF].mnemonic
        name = self._info.op_name(op[0]).replace("\t", " ")
        sem = f" s{row[cut.S_SEM]}" if row[cut.S_SEM] >= 0 else ""
        layer = f" layer {op[1] - 1}" if op[1] else ""
        size = f", {row[cut.S_BYTES]} bytes" if row[cut.S_BYTES] else ""
        return [
            f"I\t{i}\t{row[cut.S_SERIAL]}\t{16 * tile + unit}",
            f"L\t{i}\t0\tt{tile} {unit_name(unit)} {row[cut.S_PC]}: {mnemonic}{sem}",
            f"L\t{i}\t1\t{name}{layer}{size}",
        ]


def _text(events: list[_Event]) -> str:
    """The file's text: lines, and the steps of time between them."""
    now = events[0][0] if events else 0
    lines = ["Kanata\t0004", f"C=\t{now}"]
    for cycle, those in events:
        if cycle > now:
            lines.append(f"C\t{cycle - now}")
            now = cycle
        lines += those
    return "\n".join(lines) + "\n"
