"""Times a run while it happens: feeds each entry's records to the timing model, keeps sums.

    meter = Meter(program, chip)
    Decoder(machine, meter); ...            # begin / feed / end for every entry, or `entry`
    meter.result(prefill_steps)             # the timing part of the JSON result
    meter.text(result)                      # the report for people

Sums are kept per group of steps (prefill, decode), so a long run needs no more memory than a short
one, but for one number per step. Several entries may be timed at a time, each by a model of its
own on a thread of its own; they are summed in the order in which they were rung.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.explain import Explained
from emulator.explain_text import render_explained
from emulator.fold import Fold
from emulator.metered import UNTIMED, Metered, Models
from emulator.report import render
from emulator.tally import Tally
from emulator.timing.result import EntryTiming
from emulator.timing.unfold import layer_cycles, unfold
from emulator.tracing.recorder import Recorder
from isa.chip import Chip
from isa.program import Program


class Meter:
    """An observer of entries (see `emulator.decoder.Observer`)."""

    def __init__(
        self,
        program: Program,
        chip: Chip,
        trace: bool = False,
        fold: Fold | None = None,
        recorder: Recorder | None = None,
        every: int = 1,
        recalls: bool = True,
    ) -> None:
        """Time every so many-th decode step; each other counts as the nearest of these does.

        Unless it `recalls`, steps that do the work of an earlier one are timed as well.
        """
        self.program, self.chip, self.fold = program, chip, fold
        self.info = ProgramInfo.of(program)
        self.cycles: list[int] = []
        self._steps = Tally(chip, self.info)
        self._prefill = Tally(chip, self.info)
        self._is_prefill = True
        self.models = Models(chip, self.info, recorder, recalls)
        self._now: Metered | None = None  # the entry of `begin`
        self._lock = Lock()
        self._rung = self._summed = 0  # entries
        self._ended: dict[int, tuple[EntryTiming | None, bool]] = {}  # others before them have not
        self._every, self._decoded = every, 0  # decode steps
        self._owed = 0  # not timed since the latest that was
        self._latest: EntryTiming | None = None
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

    @property
    def is_late(self) -> bool:
        """Whether several entries may be timed at a time: what writes traces takes one by one."""
        return self._recorder is None and self._trace is None

    def entry(self, name: str, semaphores: NDArray[np.int64] | None = None) -> Metered:
        """An entry is about to be rung, with these counts of semaphores, int64 [tiles, 64].

        Without them the model that timed the entries before must time this one.
        """
        self._rung += 1
        listens = True
        if not self._is_prefill:
            listens = self._decoded % self._every == 0
            self._decoded += 1
        return Metered(self, name, self._rung, self._is_prefill, semaphores, listens)

    def begin(self, entry: str) -> None:
        """An entry is about to be rung."""
        self._now = self.entry(entry)

    def feed(self, chunk: NDArray[np.int64]) -> None:
        """Some of its records."""
        assert self._now is not None
        if self._now.listens:
            self._now.feed(chunk)

    def end(self) -> None:
        """It has completed."""
        assert self._now is not None
        self._now.end()

    def take(self, entry: Metered, found: EntryTiming | None) -> None:
        """An entry is over: sum it up behind those before."""
        with self._lock:
            self._ended[entry.number] = found, entry.is_prefill
            while self._summed + 1 in self._ended:
                self._summed += 1
                self._sum(*self._ended.pop(self._summed))

    def _sum(self, found: EntryTiming | None, is_prefill: bool) -> None:
        if found is None:
            self._owed += 1
            return
        found = self._whole(found)
        if self._trace is not None:
            self._trace.add(found)
        if found.entry == UNTIMED:
            return
        if self._recorder is not None:
            self._recorder.end(found.entry, found.cycles)
        if self._explained is not None:
            self._explained["prefill" if is_prefill else "decode"].add(found)
        if is_prefill:
            self.cycles.append(found.cycles)
            self._prefill.add(found)
            return
        nearer = self._owed // 2  # of those between, to this one; the one in the middle is not
        self._owed -= nearer
        self._pay()
        self._latest = found
        self._count(1 + nearer)

    def _pay(self) -> None:
        """Steps that were not timed count as the latest that was."""
        owed, self._owed = self._owed, 0
        self._count(owed)

    def _count(self, times: int) -> None:
        for _ in range(times):
            assert self._latest is not None  # the first decode step is timed
            self.cycles.append(self._latest.cycles)
            self._steps.add(self._latest)

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
        self._pay()
        return sum(self.step_seconds(cycles) for cycles in self.cycles)

    def step_seconds(self, cycles: int) -> float:
        """Time of one entry as its host sees it."""
        host = self.chip.host.doorbell_s + self.chip.host.return_s
        return cycles / self.chip.clock_hz + host

    def result(self, prefill_steps: int) -> dict[str, Any]:
        """The timing part of the JSON result, schema 1 (docs/report.md).

        Raises RuntimeError while an entry is still timed.
        """
        if self._summed < self._rung:
            raise RuntimeError("an entry is not timed to its end: Decoder.settle() waits for it")
        self._pay()
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
            "sampled": self._sampled(),
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

    def _sampled(self) -> dict[str, Any] | None:
        """Which decode steps were timed."""
        if self._every == 1:
            return None
        timed = -(-self._decoded // self._every)
        return {"every": self._every, "steps": self._decoded, "timed": timed}

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
