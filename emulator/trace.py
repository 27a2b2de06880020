"""A timeline of a run in the Trace Event format, which Perfetto (ui.perfetto.dev) opens.

One track per graph operation, a slice for each time it ran (in which layer), placed on the chip's
clock; entries follow each other, the host's time between them left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emulator.accounting import ProgramInfo
from emulator.timing.result import BOUNDS, EntryTiming
from isa.chip import Chip
from isa.files import atomic_write
from isa.program import Program


class Trace:
    """Collects slices; times in microseconds of the chip."""

    def __init__(self, program: Program, chip: Chip) -> None:
        self.info = ProgramInfo.of(program)
        self.clock = chip.clock_hz
        self.now = 0
        self.tracks: dict[str, int] = {}
        self.events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": chip.name}}
        ]

    def add(self, found: EntryTiming) -> None:
        """The slices of one entry."""
        self._slice("entries", found.entry, 0, found.cycles, {"cycles": found.cycles})
        for row, (op, context) in enumerate(found.keys):
            if found.first[row] < 0:
                continue
            name = self.info.op_name(int(op))
            bound, gap, causes = found.reasons(row)
            limits = {kind: int(v) for kind, v in zip(BOUNDS, found.bounds[row], strict=True) if v}
            args = {"context": int(context), "bound": bound, "bounds": limits, "gap": gap}
            label = f"{name} [{context - 1}]" if context else name
            first, last = int(found.first[row]), int(found.last[row])
            self._slice(name, label, first, last, args | {"causes": causes})
        self.now += found.cycles

    def _slice(self, track: str, name: str, first: int, last: int, args: dict[str, Any]) -> None:
        start = self._microseconds(self.now + first)
        event = {"ph": "X", "pid": 0, "tid": self._track(track), "name": name, "ts": start}
        self.events.append(event | {"dur": self._microseconds(last - first), "args": args})

    def _track(self, name: str) -> int:
        if name not in self.tracks:
            self.tracks[name] = len(self.tracks)
            meta = {"ph": "M", "pid": 0, "tid": self.tracks[name], "name": "thread_name"}
            self.events.append(meta | {"args": {"name": name}})
        return self.tracks[name]

    def _microseconds(self, cycles: int) -> float:
        return cycles / self.clock * 1e6

    def write(self, path: Path) -> None:
        """Write the file."""
        with atomic_write(path) as file:
            file.write(json.dumps({"traceEvents": self.events, "displayTimeUnit": "ns"}).encode())
