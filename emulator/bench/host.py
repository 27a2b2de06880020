"""The machine's own limits, each measured once it is asked for.

`fma`, `dots` and `reading` are probes, to be run again in turns with what they limit; `sgemm` is a
figure: the best that NumPy's matrix product reaches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property

from emulator.bench import peaks, reading, sgemm
from emulator.bench.effort import Effort
from emulator.bench.measure import Probe


class Host:
    """What rows are measured on and held against."""

    def __init__(self, effort: Effort | None = None) -> None:
        self.effort = effort or Effort()
        self.team = ThreadPoolExecutor(2)

    @cached_property
    def fma(self) -> Probe:
        """Multiply-adds of fp32 on registers, one thread."""
        return peaks.fma(self.effort.peak_steps)

    @cached_property
    def dots(self) -> Probe | None:
        """Multiply-adds of bytes on registers, one thread; None if the machine has none."""
        return peaks.dots(self.effort.peak_steps)

    @cached_property
    def _memory(self) -> reading.Memory:
        return reading.Memory(self.effort.read_bytes, self.team)

    @cache  # noqa: B019 - a host lives as long as the process
    def reading(self, threads: int) -> tuple[str, Probe]:
        """The fastest of several ways to read memory, and its name."""
        return self._memory.best(threads)

    @cached_property
    def sgemm(self) -> tuple[str, float] | None:
        """NumPy's fastest fp32 matrix product on one thread: core type and multiply-adds/s."""
        return sgemm.best(self.effort.gemm, self.effort.repeats)
