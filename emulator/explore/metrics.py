"""Metrics: named functions of a point's result, each with its unit and which way is better.

    add(Metric("tpot", "s", LESS, "seconds per output token", ("decode",), value))

A result is plain data (docs/explore.md has every key):

    inputs    every input by name, and the chip's keys that the study sets
    chip      the whole chip, nested as its YAML file
    model     sizes of the model: layers, hidden, heads, ...
    program   hbm_bytes it needs, rows of a step, sequences, context, numeric (formats)
    phases    what was timed: name -> phase, of prefill, decode, generate
    technology  name or path of what prices it
    base      name or path of the chip that `chip` is a variation of
    quality   None, or what the shipped model says of the held-out text: `own` in the point's
              formats, `base` in bf16, `reference` without Tessera (quality/job.py)

Other modules add metrics by naming themselves in `PROVIDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from emulator.explore.units import Dimension, unit_of

Result = dict[str, Any]

#: Modules that add metrics when they are imported.
PROVIDERS: Final[list[str]] = [
    "emulator.explore.basic_metrics",
    "emulator.explore.cost_metrics",
    "emulator.explore.quality_metrics",
]

LESS, MORE = "less", "more"  #: which way is better

#: Workload of a study -> the phases that are timed for it.
PHASES: Final = {
    "prefill": ("prefill",),
    "decode": ("decode",),
    "request": ("prefill", "generate"),
}


@dataclass(frozen=True)
class Metric:
    """One metric.

    `value` gives a number in `unit`, or None where a point has none. `phases` are what it needs:
    any one of them, or with `every` all of them; none: it can be had of any point.
    """

    name: str
    unit: str
    better: str | None  #: LESS, MORE, or None: neither
    what: str
    phases: tuple[str, ...]
    value: Callable[[Result], float | None]
    every: bool = False
    quality: bool = False  #: needs `quality`, which is measured for studies that ask for it

    @property
    def dimension(self) -> Dimension:
        """Of its unit."""
        return unit_of(self.unit).dimension

    @property
    def scale(self) -> float:
        """Base units in one of its unit: expressions see base units."""
        return unit_of(self.unit).value

    def has(self, phases: set[str]) -> bool:
        """Whether it can be had where these phases are timed."""
        test = all if self.every else any
        return not self.phases or test(phase in phases for phase in self.phases)

    def needs(self) -> str:
        """The workloads that give it, for errors."""
        names = [
            workload
            for workload, phases in PHASES.items()
            if not self.has(set()) and self.has(set(phases))
        ]
        return " or ".join(names)


_TABLE: dict[str, Metric] = {}


def add(metric: Metric) -> None:
    """Make a metric known. Raises ValueError for a unit there is not."""
    unit_of(metric.unit)
    _TABLE[metric.name] = metric


@cache
def known() -> dict[str, Metric]:
    """All metrics by name."""
    for module in PROVIDERS:
        import_module(module)
    return _TABLE
