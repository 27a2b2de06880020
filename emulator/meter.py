"""Times a run while it happens: feeds each entry's records to the timing model, keeps sums.

    meter = Meter(program, chip)
    Decoder(machine, meter); ...            # begin / feed / end for every entry
    meter.result(prefill_steps)             # the timing part of the JSON result
    meter.text(result)                      # the report for people

Sums are kept per group of steps (prefill, decode), so a long run needs no more memory than a short
one, but for one number per step.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.explain import Explained
from emulator.explain_text import render_explained
from emulator.fold import Fold
from emulator.report import render
from emulator.tally import Tally
from emulator.timing.model import Timing
from emulator.timing.result import EntryTiming
from emulator.timing.unfold import layer_cycles, unfold
from emulator.tracing.recorder import Recorder
from isa.chip import Chip
from isa.program import Program

UNTIMED = "reset"  # happens once when a program is loaded


class Meter:
    """An observer of entries (see `emulator.decoder.Observer`)."""

    def __init__(
        self,
        program: Program,
        chip: Chip,
        trace: bool = False,
        fold: Fold | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.program, self.chip, self.fold = program, chip, fold
        self.info = ProgramInfo.of(program)
        self.timing = Timing(chip, self.info)
        self.cycles: list[int] = []
        self.host_seconds = 0.0
        self._steps = Tally(chip, self.info)
        self._prefill = Tally(chip, self.info)
        self._is_prefill = True
        self._layer_cycles: list[int] = []  # least and most of those that stand for others
        self._recorder = recorder
        self._explained: dict[str, Explained] | None = None
        if recorder is not None and recorder.waits is not None:
            self._explained = {name: Explained(self.info) for name in ("prefill", "decode")}
        self._trace = None
        if trace:
            from emulator.trace import Trace

            self._trace = Trace(program, chip)

    # -- the observer ------------------------------------------------------------------------------

    def begin(self, entry: str) -> None:
        """An entry is about to be rung."""
        recorder = None if entry == UNTIMED else self._recorder
        self.timing.begin(entry, None if recorder is None else recorder.begin())

    def feed(self, chunk: NDArray[np.int64]) -> None:
        """Some of its records."""
        start = time.perf_counter()
        self.timing.feed(chunk)
        self.host_seconds += time.perf_counter() - start

    def end(self) -> None:
        """It has completed."""
        found = self._whole(self.timing.end())
        if self._trace is not None:
            self._trace.add(found)
        if found.entry == UNTIMED:
            return
        if self._recorder is not None:
            self._recorder.end(found.entry, found.cycles)
        if self._explained is not None:
            self._explained["prefill" if self._is_prefill else "decode"].add(found)
        self.cycles.append(found.cycles)
        (self._prefill if self._is_prefill else self._steps).add(found)

    def _whole(self, found: EntryTiming) -> EntryTiming:
        """The entry with all its layers."""
        if self.fold is None or found.entry == UNTIMED:
            return found
        cycles = layer_cycles(found, self.fold).tolist()
        self._layer_cycles = [min(cycles + self._layer_cycles), max(cycles + self._layer_cycles)]
        return unfold(found, self.fold)

    def prefill_done(self) -> None:
        """From here on steps are decode steps."""
        self._is_prefill = False

    # -- results -----------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Time on the chip of all entries, the host's doorbell and return included."""
        return sum(self.step_seconds(cycles) for cycles in self.cycles)

    def step_seconds(self, cycles: int) -> float:
        """Time of one entry as its host sees it."""
        host = self.chip.host.doorbell_s + self.chip.host.return_s
        return cycles / self.chip.clock_hz + host

    def result(self, prefill_steps: int) -> dict[str, Any]:
        """The timing part of the JSON result, schema 1 (docs/report.md)."""
        prefill, decode = self.cycles[:prefill_steps], self.cycles[prefill_steps:]
        whole = self._prefill.merged(self._steps)
        groups = {"prefill": self._prefill, "decode": self._steps}
        return {
            "cycles": {"total": sum(self.cycles), "prefill": sum(prefill), "decode": decode},
            "traffic": whole.traffic(),
            "bounds": {name: tally.bounds() for name, tally in groups.items() if tally.steps},
            "work": {name: tally.work() for name, tally in groups.items() if tally.steps},
            "units": whole.units(),
            "operations": {
                name: tally.operations() for name, tally in groups.items() if tally.steps
            },
            "rates": self._rates(prefill, decode),
            "folded": self._folded(),
            "explained": self._explanation(),
        }

    def _explanation(self) -> dict[str, Any] | None:
        """With --explain: by group, where operations' cycles beyond their bounds went."""
        if self._explained is None or self._recorder is None or self._recorder.waits is None:
            return None
        waits = self._recorder.waits
        return {
            name: explained.result(waits)
            for name, explained in self._explained.items()
            if explained.steps
        }

    def _folded(self) -> dict[str, Any] | None:
        """Which layers were simulated, and how much those that stand for others differ."""
        if self.fold is None:
            return None
        return {
            "layers": self.fold.layers,
            "simulated": self.fold.simulated,
            "layer_cycles": self._layer_cycles,
        }

    def _rates(self, prefill: list[int], decode: list[int]) -> dict[str, float | None]:
        """Seconds to the first token, and per token after it."""
        first = sum(self.step_seconds(cycles) for cycles in prefill) if prefill else None
        later = [self.step_seconds(cycles) for cycles in decode]
        mean = sum(later) / len(later) if later else None
        return {"first_token_seconds": first, "token_seconds": mean}

    def text(self, result: dict[str, Any]) -> str:
        """The report for people."""
        explained = result.get("explained")
        return render(result) + ("\n" + render_explained(explained) if explained else "")

    def write_trace(self, path: Path) -> None:
        """Write the timeline."""
        assert self._trace is not None
        self._trace.write(path)
