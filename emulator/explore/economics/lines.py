"""Places in a YAML file with their line numbers, for errors that name both."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from isa.errors import ChipError
from isa.schema import Place


@dataclass(frozen=True)
class LinedPlace(Place):
    """A place that knows the line of each key; of a missing key, that of the nearest one above."""

    lines: Mapping[str, int] = field(default_factory=dict)

    def key(self, name: str) -> "LinedPlace":
        """The place of a key below this one."""
        return LinedPlace(self.source, f"{self.path}.{name}" if self.path else name, self.lines)

    def fail(self, problem: str) -> ChipError:
        """The error for this place."""
        path = self.path
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        line = f"line {self.lines[path]}" if path else ""
        parts = (self.source, line, self.path, problem)
        return ChipError(": ".join(part for part in parts if part))


def lined_place(path: Path) -> LinedPlace:
    """The root of a file that `isa.yamlfile.read_yaml` has read already."""
    node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    return LinedPlace(path.name, "", dict(_lines(node, "")))


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            path = f"{prefix}{key.value}"
            yield path, key.start_mark.line + 1
            yield from _lines(value, f"{path}.")
