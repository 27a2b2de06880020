"""Reads STUDY.yaml: every key, value, name and unit is checked before any work.

Whatever is wrong raises StudyError with the file, the line and the remedy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from emulator.explore import inputs
from emulator.explore import reader_values as values
from emulator.explore.errors import StudyError
from emulator.explore.located import Node, nearest, read
from emulator.explore.metrics import PHASES
from emulator.explore.names import Names
from emulator.explore.quality.text import checkpoint
from emulator.explore.reader_values import axis_values, value_of
from emulator.explore.study import GRID, LIST, RANDOM, SEARCH, Sampling, Study

KEYS: Final = (
    "name", "chip", "model", "fixed", "axes", "workloads", "define", "constraints", "metrics",
    "objectives", "sampling",
)  # fmt: skip
MOST_POINTS: Final = 100_000
SAMPLERS: Final = ("nsga2", "tpe")
_SAMPLING_KEYS: Final = {
    GRID: ("kind",),
    LIST: ("kind", "points"),
    RANDOM: ("kind", "n", "seed"),
    SEARCH: ("kind", "n", "seed", "sampler", "population"),
}


def load_study(path: Path) -> Study:
    """The study of a file. Raises StudyError."""
    root = read(path)
    parts = root.mapping("study")
    root.known(KEYS, "study")
    for key in ("name", "model", "workloads"):
        if key not in parts:
            root.fail(f"missing key `{key}`; docs/explore.md shows a study")
    reader = _Reader(path, parts)
    return reader.study(root)


class _Reader:
    def __init__(self, path: Path, parts: dict[str, Node]) -> None:
        self.path, self.parts = path, parts
        self.folder = path.parent
        self.chips: dict[str, str] = {}
        self.models: dict[str, str] = {}
        self.technologies: dict[str, str] = {}

    def study(self, root: Node) -> Study:
        fixed, axes = self.settings()
        sampling = self.sampling(axes)
        workloads = self.workloads()
        names = Names(self.parts, workloads)
        study = Study(
            name=self.parts["name"].text("name"),
            file=str(self.path),
            fixed=fixed,
            axes=axes,
            workloads=workloads,
            metrics=names.metrics(),
            objectives=names.objectives(required=sampling.kind == SEARCH),
            constraints=names.constraints(),
            definitions=names.definitions,
            sampling=sampling,
            chips=self.chips,
            models=self.models,
            technologies=self.technologies,
            units=names.units,
        )
        if study.size > MOST_POINTS:
            place = self.parts.get("axes" if sampling.kind == GRID else "sampling", root)
            place.fail(
                f"{study.size:,} points; at most {MOST_POINTS:,}: shorten the axes, or choose some "
                "with `sampling: {kind: random, n: 200, seed: 1}`"
            )
        if study.asks_quality:
            self.check_quality(root)
        return study

    def check_quality(self, root: Node) -> None:
        """Whether the model that quality is measured with is here."""
        try:
            checkpoint()
        except StudyError as error:
            self.parts.get("metrics", root).fail(str(error))

    # -- inputs ----------------------------------------------------------------------------------

    def settings(self) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        """What is fixed, and the axes; `chip` and `model` at the top are either."""
        fixed: dict[str, Any] = {}
        axes: dict[str, tuple[Any, ...]] = {}
        for name in ("chip", "model"):
            node = self.parts.get(name)
            if node is None:
                fixed[name] = self.checked(name, Node(str(self.path), 1, "t1"))
            elif isinstance(node.value, list):
                axes[name] = tuple(self.checked(name, item) for item in node.items(name))
            else:
                fixed[name] = self.checked(name, node)
        for key, node in self.section("fixed").items():
            self.settable(key, node)
            fixed[key] = self.checked(key, node)
        for key, node in self.section("axes").items():
            self.settable(key, node)
            if key in fixed:
                node.fail(f"`{key}` is both fixed and an axis; remove one of them")
            axes[key] = self.axis(key, node)
        return fixed, axes

    def section(self, name: str) -> dict[str, Node]:
        node = self.parts.get(name)
        if node is None:
            return {}
        return node.mapping(name)

    def settable(self, key: str, node: Node) -> None:
        if key in ("chip", "model"):
            node.fail(f"`{key}` belongs to the top of the study; a list there is an axis")
        if key not in inputs.known() and key not in inputs.chip_keys():
            names = [*inputs.known(), *inputs.chip_keys()]
            node.fail(f"unknown key `{key}`{nearest(key, names)}")

    def axis(self, key: str, node: Node) -> tuple[Any, ...]:
        values = tuple(self.checked(key, item) for item in axis_values(key, node))
        for index, value in enumerate(values):
            if value in values[:index]:
                node.fail(f"{key}: the value {value!r} is there twice")
        return values

    def checked(self, key: str, node: Node) -> Any:
        """A value of an input, as it is used; names of chips, models and technologies are found."""
        if key == "chip":
            return values.chip(node, self.folder, self.chips)
        if key == "model":
            return values.model(node, self.folder, self.models)
        if key == "technology":
            return values.technology(node, self.folder, self.technologies)
        return value_of(key, node)

    # -- the rest --------------------------------------------------------------------------------

    def workloads(self) -> tuple[str, ...]:
        node = self.parts["workloads"]
        items = [node] if not isinstance(node.value, list) else node.items("workloads")
        found = []
        for item in items:
            name = item.text("workloads")
            if name not in PHASES:
                item.fail(f"unknown workload `{name}`{nearest(name, PHASES)}")
            if name in found:
                item.fail(f"workload `{name}` is given twice")
            found.append(name)
        return tuple(found)

    def sampling(self, axes: dict[str, tuple[Any, ...]]) -> Sampling:
        node = self.parts.get("sampling")
        if node is None:
            return Sampling()
        if not isinstance(node.value, dict):
            kind = node.text("sampling")
            node = Node(node.file, node.line, {"kind": node})
        parts = node.mapping("sampling")
        if "kind" not in parts:
            node.fail("sampling: missing key `kind`: grid, list, random or search")
        kind = parts["kind"].text("sampling")
        if kind not in _SAMPLING_KEYS:
            node.fail(f"unknown sampling `{kind}`{nearest(kind, _SAMPLING_KEYS)}")
        node.known(_SAMPLING_KEYS[kind], "sampling")
        if kind == LIST:
            return Sampling(LIST, points=self.listed(node, axes))
        if kind == GRID:
            return Sampling()
        return self.drawn(kind, node, parts)

    def drawn(self, kind: str, node: Node, parts: dict[str, Node]) -> Sampling:
        for key in ("n", "seed"):
            if key not in parts:
                node.fail(f"sampling: {kind} needs `{key}`")
        n = parts["n"].integer("n", 1, 10**12)
        seed = parts["seed"].integer("seed", 0, (1 << 32) - 1)
        if kind == RANDOM:
            return Sampling(RANDOM, n, seed)
        sampler = parts["sampler"].text("sampler") if "sampler" in parts else SAMPLERS[0]
        if sampler not in SAMPLERS:
            parts["sampler"].fail(f"unknown sampler `{sampler}`{nearest(sampler, SAMPLERS)}")
        population = (
            parts["population"].integer("population", 2, 10_000) if "population" in parts else 20
        )
        return Sampling(SEARCH, n, seed, sampler, population)

    def listed(self, node: Node, axes: dict[str, tuple[Any, ...]]) -> tuple[dict[str, Any], ...]:
        parts = node.mapping("sampling")
        if "points" not in parts:
            node.fail("sampling: list needs `points`")
        if axes:
            node.fail("sampling: a list has no axes; set every value in its points")
        found = []
        for item in parts["points"].items("points"):
            point = {}
            for key, value in item.mapping("points").items():
                if key not in ("chip", "model"):
                    self.settable(key, value)
                point[key] = self.checked(key, value)
            found.append(point)
        return tuple(found)
