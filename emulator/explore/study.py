"""A study: what is asked, checked and ready to run. `reader.py` makes one of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emulator.explore.expressions import Expression
from emulator.explore.metrics import LESS, Metric, known
from emulator.explore.point import Points

GRID, LIST, RANDOM, SEARCH = "grid", "list", "random", "search"


@dataclass(frozen=True)
class Sampling:
    """How points are chosen: all of the grid, a list, some at random, or by a search."""

    kind: str = GRID
    n: int = 0
    seed: int = 0
    sampler: str = "nsga2"  #: of a search: nsga2 or tpe
    population: int = 20  #: of a search: points asked for at a time
    points: tuple[Mapping[str, Any], ...] = ()  #: of a list


@dataclass(frozen=True)
class Objective:
    """A metric or definition, and whether less or more of it is better."""

    name: str
    better: str

    @property
    def sign(self) -> int:
        """1 if less is better: what is minimised is the value times it."""
        return 1 if self.better == LESS else -1


@dataclass(frozen=True)
class Study:
    """A study. Values of inputs are checked; those of `axes` are in the file's order."""

    name: str
    file: str
    fixed: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]]
    workloads: tuple[str, ...]
    metrics: tuple[str, ...]  #: names of metrics and definitions: the columns of the results
    objectives: tuple[Objective, ...]
    constraints: tuple[Expression, ...]
    definitions: Mapping[str, Expression]
    sampling: Sampling
    chips: Mapping[str, str]  #: name in the study -> path, or name of a chip
    models: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)  #: of definitions
    technologies: Mapping[str, str] = field(default_factory=dict)  #: as chips

    @property
    def size(self) -> int:
        """How many points it has; of a search, how many are tried."""
        if self.sampling.kind == GRID:
            return math.prod(len(values) for values in self.axes.values())
        return len(self.sampling.points) if self.sampling.kind == LIST else self.sampling.n

    @cached_property
    def points(self) -> Points:
        """What makes points of values."""
        return Points(self.workloads, self.chips, self.models, self.technologies)

    @property
    def varied(self) -> tuple[str, ...]:
        """The inputs that its points may differ in, in the file's order."""
        listed = dict.fromkeys(name for point in self.sampling.points for name in point)
        return tuple(dict.fromkeys([*self.axes, *listed]))

    @property
    def shown(self) -> tuple[str, ...]:
        """The inputs that are columns of the results: those it sets, and the workloads'."""
        workload = {"prefill": ("batch", "prompt"), "decode": ("batch", "context"),
                    "request": ("batch", "prompt", "output")}  # fmt: skip
        used = [name for each in self.workloads for name in workload[each]]
        formats = ("chip", "model", "weights", "activations", "kv", "lm_head")
        return tuple(dict.fromkeys([*formats, *used, *self.fixed, *self.varied]))

    @cached_property
    def asks_quality(self) -> bool:
        """Whether anything it says needs the quality of its points' formats to be measured."""
        expressions = [*self.constraints, *self.definitions.values()]
        names = {*self.metrics, *(name for each in expressions for name in each.names)}
        return any(name in known() and known()[name].quality for name in names)

    def unit(self, column: str) -> str:
        """The unit of a metric or definition."""
        metric = self.metric(column)
        return metric.unit if metric else self.units.get(column, "")

    def metric(self, name: str) -> Metric | None:
        """The metric of that name; None for a definition."""
        return None if name in self.definitions else known().get(name)
