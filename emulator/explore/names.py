"""Names in a study: metrics, definitions, constraints, objectives; each known and of one unit."""

from __future__ import annotations

from typing import NoReturn

from emulator.explore import inputs
from emulator.explore.expressions import Expression, ExpressionError, parse
from emulator.explore.located import Node, nearest
from emulator.explore.metrics import LESS, MORE, PHASES, known
from emulator.explore.study import Objective
from emulator.explore.units import Dimension, shown

_DEFAULT_METRICS = {
    "prefill": ("ttft", "prefill_tokens_per_s"),
    "decode": ("tpot", "tokens_per_s_user", "tokens_per_s_chip"),
    "request": ("ttft", "tpot", "tokens_per_s_user", "request_tokens_per_s_chip"),
}


class Names:
    """What names mean in one study. Raises StudyError."""

    def __init__(self, parts: dict[str, Node], workloads: tuple[str, ...]) -> None:
        self.parts = parts
        self.workloads = workloads
        self.timed = {phase for name in workloads for phase in PHASES[name]}
        self.places: dict[str, Node] = {}
        self.definitions: dict[str, Expression] = {}
        self.units: dict[str, str] = {}
        self._dimensions: dict[str, Dimension] = {}
        self._define()

    # -- definitions -----------------------------------------------------------------------------

    def _define(self) -> None:
        node = self.parts.get("define")
        if node is None:
            return
        for name, place in node.mapping("define").items():
            taken = name in known() or name in inputs.known() or name in inputs.chip_keys()
            if taken or not name.isidentifier():
                place.fail(f"define: `{name}` is {'taken' if taken else 'no name'}; choose another")
            self.places[name] = place
            self.definitions[name] = self._parsed(place, "define")
        for name, place in self.places.items():
            self._check_names(place, self.definitions[name])
        for name in self.places:
            self._resolve(name, ())
        ordered = sorted(self._dimensions, key=list(self._dimensions).index)
        self.definitions = {name: self.definitions[name] for name in ordered}

    def _resolve(self, name: str, above: tuple[str, ...]) -> Dimension:
        """A definition's dimension; those it mentions come before it, and it cannot be one."""
        place = self.places[name]
        if name in above:
            circle = " -> ".join([*above[above.index(name) :], name])
            place.fail(f"define: circular: {circle}; break the circle")
        if name not in self._dimensions:
            found = self.definitions[name]
            for each in sorted(found.names & self.definitions.keys()):
                self._resolve(each, (*above, name))
            self._dimensions[name] = self._checked(place, found)
            self.units[name] = shown(self._dimensions[name]).replace("no unit", "1")
        return self._dimensions[name]

    # -- expressions -----------------------------------------------------------------------------

    def _parsed(self, node: Node, what: str) -> Expression:
        value = node.scalar(what)
        try:
            return parse(str(value))
        except ExpressionError as error:
            node.fail(f"{what}: {error}")

    def _check_names(self, node: Node, found: Expression) -> None:
        for name in sorted(found.names):
            if name in self.definitions:
                continue
            if name in known():
                self._check_phases(node, name)
            elif name not in inputs.known() and name not in inputs.chip_keys():
                names = [*known(), *self.definitions, *inputs.known(), *inputs.chip_keys()]
                node.fail(f"unknown name `{name}`{nearest(name, names)}")

    def _checked(self, node: Node, found: Expression) -> Dimension:
        try:
            return found.dimension(self._dimension)
        except ExpressionError as error:
            node.fail(str(error))

    def _dimension(self, name: str) -> Dimension | None:
        if name in self._dimensions:
            return self._dimensions[name]
        return known()[name].dimension if name in known() else inputs.dimension_of(name)

    def _check_phases(self, node: Node, name: str) -> None:
        metric = known()[name]
        if not metric.has(self.timed):
            node.fail(f"metric `{name}` needs the workload {metric.needs()}; add it to `workloads`")

    # -- what a study lists ----------------------------------------------------------------------

    def constraints(self) -> tuple[Expression, ...]:
        """Conditions that points must meet."""
        node = self.parts.get("constraints")
        found = []
        for item in node.items("constraints") if node else ():
            expression = self._parsed(item, "constraints")
            self._check_names(item, expression)
            if not expression.is_condition:
                item.fail(f"constraints: `{expression.text}` is no condition; compare it: a <= b")
            self._checked(item, expression)
            found.append(expression)
        return tuple(found)

    def metrics(self) -> tuple[str, ...]:
        """Names of the results' columns; without a list, those that fit the workloads."""
        node = self.parts.get("metrics")
        if node is None:
            names = [name for each in self.workloads for name in _DEFAULT_METRICS[each]]
        else:
            names = [self._metric(item) for item in node.items("metrics")]
        return tuple(dict.fromkeys([*names, *self._objective_names(), *self.definitions]))

    def _metric(self, node: Node) -> str:
        name = node.text("metrics")
        if name in self.definitions:
            return name
        if name not in known():
            node.fail(f"unknown metric `{name}`{nearest(name, [*known(), *self.definitions])}")
        self._check_phases(node, name)
        return name

    def _objective_names(self) -> list[str]:
        node = self.parts.get("objectives")
        if node is None:
            return []
        if isinstance(node.value, dict):
            return [
                self._metric(Node(each.file, each.line, name)) for name, each in node.value.items()
            ]
        return [self._metric(item) for item in node.items("objectives")]

    def objectives(self, required: bool) -> tuple[Objective, ...]:
        """What is to be less or more: a list of metrics, or a mapping to `less` or `more`."""
        node = self.parts.get("objectives")
        if node is None:
            if required:
                self.parts["sampling"].fail("sampling: a search needs `objectives`: [tpot]")
            return ()
        if not isinstance(node.value, dict):
            return tuple(self._natural(item) for item in node.items("objectives"))
        if not node.value:
            node.fail("objectives: there are none; name at least one metric")
        found = []
        for name, each in node.value.items():
            better = each.text("objectives")
            if better not in (LESS, MORE):
                each.fail(f"objectives: {name}: expected less or more, got {better}")
            found.append(Objective(name, better))
        return tuple(found)

    def _natural(self, node: Node) -> Objective:
        name = self._metric(node)
        better = None if name in self.definitions else known()[name].better
        if better is None:
            self._undirected(node, name)
        return Objective(name, better)

    def _undirected(self, node: Node, name: str) -> NoReturn:
        node.fail(f"objectives: is less or more of `{name}` better? Write `{name}: less`")
