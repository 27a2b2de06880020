"""A run as a Perfetto trace: one process a tile, one track a unit, counters of the chip.

The format is protocol buffers (perfetto/trace/trace_packet.proto, track_event.proto), written by
encode.py packet by packet as the run goes on; all names are written once, at the beginning. What
the tracks mean is in docs/trace.md.
"""

from __future__ import annotations

from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.timing import layout as at
from emulator.timing.slices import KINDS, METERS
from emulator.tracing import encode
from emulator.tracing.proto import field, message
from isa.chip import Chip
from isa.faults import unit_name
from isa.spec import INSTRUCTIONS

Ints = NDArray[np.int64]

_CHIP: Final = 1  #: process and track of the chip
_ENTRIES: Final = 2  #: its track of entries
_METERS: Final = 16  #: its first counter
_FIRST_PID: Final = 1000  #: process of tile 0
_STEP: Final = 1 << 12  #: slices encoded at a time
_CLEARED: Final = 1  #: sequence_flags: what was interned before is forgotten


class PerfettoTrace:
    """Writes to a binary file; an observer of `emulator.timing.watch`."""

    def __init__(
        self, file: BinaryIO, chip: Chip, info: ProgramInfo, tiles: tuple[int, int]
    ) -> None:
        self._file, self._chip = file, chip
        self._clock = _clock(chip.clock_hz)
        self._base = 0  # the cycle at which the entry began
        self._flow = 1
        self._window, self._moved = 1, np.zeros((0, len(METERS)), np.int64)
        self._out = np.empty(_STEP * encode.ROW_BYTES, np.uint8)
        self.bytes = 0
        self._write(_names(info))
        for packet in _tracks(chip, tiles):
            self._write(packet)

    def begin(self, base: int) -> None:
        """An entry begins at a cycle of the run."""
        self._base = base

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some of its slices."""
        for first in range(0, len(rows), _STEP):
            beyond = min(first + _STEP, len(rows))
            size, self._flow = encode.encode_slices(
                self._out, rows, first, beyond, keys, self._base, self._clock, self._flow
            )
            self._write(self._out[:size].data)

    def meters(self, window: int, moved: Ints) -> None:
        """The bytes of its windows."""
        self._window, self._moved = window, moved.copy()

    def end(self, name: str, cycles: int) -> None:
        """The entry is over."""
        self._write_counters(cycles)
        times = [self._nanoseconds(self._base + cycle) for cycle in (0, cycles)]
        args = message((1, encode.CYCLES), (3, cycles))
        begin = message((9, encode.BEGIN), (11, _ENTRIES), (23, name), (4, args))
        self._write(_packet((8, times[0]), (11, begin)))
        self._write(_packet((8, times[1]), (11, message((9, encode.END), (11, _ENTRIES)))))

    def _write_counters(self, cycles: int) -> None:
        """GB/s of each window, of which the last may be shorter; then 0."""
        begins = np.arange(0, max(cycles, 1), self._window)
        lengths = np.diff(begins, append=max(cycles, 1))
        rates = self._moved[: len(begins)] * (self._chip.clock_hz / 1e9) / lengths[:, None]
        for kind in range(len(METERS)):
            for first in range(0, len(begins), _STEP):
                self._write_counter(kind, rates[first : first + _STEP, kind], first * self._window)
            self._write_counter(kind, np.zeros(1), cycles)

    def _write_counter(self, kind: int, rates: NDArray[np.float64], cycle: int) -> None:
        """A counter's values at windows from a cycle on."""
        bits = np.ascontiguousarray(rates).view(np.int64)
        base, track = self._base + cycle, _METERS + kind
        size = encode.encode_counter(self._out, bits, track, self._window, base, self._clock)
        self._write(self._out[:size].data)

    def _nanoseconds(self, cycle: int) -> int:
        cycles, ns = self._clock
        return cycle * ns // cycles

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.bytes += len(data)


def _clock(hertz: float) -> tuple[int, int]:
    """Cycles and nanoseconds of a second, or of a millisecond if their product is too large."""
    if hertz < 9e9:
        return round(hertz), 10**9
    return round(hertz / 1000), 10**6


def _packet(*fields: tuple[int, int | bytes], flags: int = 2) -> bytes:
    return field(1, message(*fields, (10, encode.SEQUENCE), (13, flags)))


def _names(info: ProgramInfo) -> bytes:
    """The packet with every name that slices refer to by number."""
    found = [(1, _named(i + 1, kind)) for i, kind in enumerate(KINDS)]
    for op in range(-1, len(info.ops)):
        name, first = info.op_name(op), encode.NAMES * (op + 1) + 1
        labels = [name, *(f"{name}: {kind}" for kind in KINDS[1:])]
        found += [(2, _named(first + i, label)) for i, label in enumerate(labels)]
    found += [(3, _named(i + 1, note)) for i, note in enumerate(encode.NOTES)]
    strings = {encode.MNEMONICS + entry.opcode: entry.mnemonic for entry in INSTRUCTIONS}
    strings |= {encode.UNIT_NAMES + unit: unit_name(unit) for unit in range(at.UNITS)}
    found += [(29, _named(number, text)) for number, text in strings.items()]
    return _packet((12, message(*found)), (87, 1), flags=_CLEARED)


def _named(number: int, name: str) -> bytes:
    """Any of the messages that give a name a number."""
    return message((1, number), (2, name))


def _tracks(chip: Chip, tiles: tuple[int, int]) -> list[bytes]:
    """The packets that describe processes, tracks and counters."""
    found = [
        _process(_CHIP, 1, chip.name),
        _thread(_ENTRIES, _CHIP, 1, 2, "entries"),
    ]
    for kind, name in enumerate(METERS):
        counter = message((6, "GB/s"))
        found.append(message((1, _METERS + kind), (5, _CHIP), (2, name), (8, counter)))
    for tile in range(*tiles):
        first, pid = encode.TRACKS + 16 * tile, _FIRST_PID + tile
        found.append(_process(first + 15, pid, f"tile {tile}"))
        for unit in range(at.UNITS):
            tid = 16 * pid + unit
            found.append(_thread(first + unit, first + 15, pid, tid, unit_name(unit)))
    return [_packet((60, descriptor)) for descriptor in found]


def _process(track: int, pid: int, name: str) -> bytes:
    return message((1, track), (3, message((1, pid), (6, name))))


def _thread(track: int, parent: int, pid: int, tid: int, name: str) -> bytes:
    thread = message((1, pid), (2, tid), (5, name))
    return message((1, track), (5, parent), (4, thread))
