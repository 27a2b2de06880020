"""What watches a run instruction by instruction, if somebody wants that: traces, explanations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.errors import InputError
from emulator.explain import Waits
from emulator.run_options import Options
from emulator.timing.watch import Watch
from emulator.tracing.selection import Range
from isa.chip import Chip
from isa.files import atomic_write
from isa.program import Program

Ints = NDArray[np.int64]
LARGE = 200_000_000  #: bytes of a trace from which on it says how to make it smaller


class Writer(Protocol):
    """Something that is made from slices."""

    def begin(self, base: int) -> None:
        """An entry begins at a cycle of the run."""

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some of its slices."""

    def meters(self, window: int, moved: Ints) -> None:
        """The bytes that it moved, by window."""

    def end(self, name: str, cycles: int) -> None:
        """The entry is over."""


class Recorder:
    """Gives the slices of the steps that are wanted to all writers; an observer of a watch."""

    def __init__(self, writers: list[Writer], steps: Range, tiles: tuple[int, int]) -> None:
        self.writers, self._steps, self._tiles = writers, steps, tiles
        self._step = self._cycles = 0

    @property
    def waits(self) -> Waits | None:
        """The sums of waits, if an explanation is wanted."""
        return next((writer for writer in self.writers if isinstance(writer, Waits)), None)

    def begin(self) -> Watch | None:
        """A step begins: the watch for it."""
        if self._step not in self._steps:
            return None
        for writer in self.writers:
            writer.begin(self._cycles)
        return Watch(self, self._tiles)

    def say_if_empty(self) -> None:
        """Nothing was traced: say why."""
        if self._step <= self._steps.first:
            print(
                f"--trace-steps: the run had {self._step} steps, from 0 on; the trace is empty",
                file=sys.stderr,
            )

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some slices of the step."""
        for writer in self.writers:
            writer.slices(rows, keys)

    def meters(self, window: int, moved: Ints) -> None:
        """Its bytes."""
        for writer in self.writers:
            writer.meters(window, moved)

    def end(self, entry: str, cycles: int) -> None:
        """The step is over."""
        if self._step in self._steps:
            for writer in self.writers:
                writer.end(f"{entry} {self._step}", cycles)
        self._step, self._cycles = self._step + 1, self._cycles + cycles


@contextmanager
def recording(options: Options, program: Program, chip: Chip) -> Iterator[Recorder]:
    """The recorder that the options ask for; its files are there once the block has ended.

    An error in the block leaves no file.
    """
    from emulator.tracing.konata import KonataLog
    from emulator.tracing.perfetto import PerfettoTrace

    info = ProgramInfo.of(program)
    tiles = options.tile_range.within(chip.num_tiles)
    if tiles[0] == tiles[1]:
        raise InputError(f"--trace-tiles: {chip.name} has {chip.num_tiles} tiles, from 0 on")
    writers: list[Writer] = [Waits()] if options.explain else []
    with ExitStack() as files:
        if options.perfetto is not None:
            file = files.enter_context(atomic_write(options.perfetto))
            writers.append(PerfettoTrace(file, chip, info, tiles))
        if options.konata is not None:
            window = options.instruction_range
            log = KonataLog(chip, info, window.first, window.count)
            writers.append(log)
        recorder = Recorder(writers, options.step_range, tiles)
        yield recorder
        recorder.say_if_empty()
        if options.konata is not None:
            log.write(files.enter_context(atomic_write(options.konata)))
        trace = next((writer for writer in writers if isinstance(writer, PerfettoTrace)), None)
        if trace is not None and trace.bytes >= LARGE:
            _say_large(options.perfetto, trace.bytes)


def _say_large(path: Path | None, size: int) -> None:
    print(
        f"{path}: {size / 1e6:,.0f} MB, more than ui.perfetto.dev takes well; "
        "--trace-steps and --trace-tiles make it smaller",
        file=sys.stderr,
    )
