"""A YAML file as plain data of which every part knows its line, for errors that name it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from emulator.explore.errors import StudyError
from isa.errors import printable
from isa.schema import show

MOST_BYTES = 1 << 20  # of a study: lists of ten thousand points are some hundred kilobytes

Scalar = str | int | float | bool | None


class _Loader(yaml.SafeLoader):
    """SafeLoader that takes `2.4e9` for a number, as people do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Node:
    """A part of a file: a scalar, a list of nodes, or a mapping of names to nodes."""

    file: str
    line: int
    value: Any

    def fail(self, problem: str) -> NoReturn:
        """Raise StudyError for this place."""
        raise StudyError(f"{self.file}: line {self.line}: {problem}")

    @property
    def plain(self) -> Any:
        """Its value without places."""
        if isinstance(self.value, list):
            return [item.plain for item in self.value]
        if isinstance(self.value, dict):
            return {name: item.plain for name, item in self.value.items()}
        return self.value

    def mapping(self, what: str) -> dict[str, Node]:
        """Its parts by name; `what` describes the place in errors."""
        if not isinstance(self.value, dict):
            self.fail(f"{what}: expected a mapping, got {show(self.plain)}")
        return self.value

    def items(self, what: str) -> list[Node]:
        """Its items; an empty list is refused."""
        if not isinstance(self.value, list):
            self.fail(f"{what}: expected a list, got {show(self.plain)}")
        if not self.value:
            self.fail(f"{what}: the list is empty; give at least one value")
        return self.value

    def scalar(self, what: str) -> Scalar:
        """Its value, neither list nor mapping."""
        if isinstance(self.value, list | dict):
            self.fail(f"{what}: expected one value, got {show(self.plain)}")
        value: Scalar = self.value
        return value

    def text(self, what: str) -> str:
        """Its value, a printable text."""
        value = self.scalar(what)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.fail(f"{what}: expected a text, got {show(value)}")
        return value.strip()

    def integer(self, what: str, least: int, most: int) -> int:
        """Its value, a whole number between two bounds."""
        value = self.scalar(what)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            self.fail(f"{what}: expected an integer from {least} to {most}, got {show(value)}")
        return value

    def known(self, names: Iterable[str], what: str) -> None:
        """Refuse keys other than these."""
        names = list(names)
        for key, node in self.mapping(what).items():
            if key not in names:
                node.fail(f"unknown key `{key}`{nearest(key, names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the one that was meant, or all there are."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    if len(names) > 24:
        return "; `emu explore --list` shows those there are"
    return f"; known are {', '.join(names)}"


def read(path: Path) -> Node:
    """The file's content. Raises StudyError."""
    file = printable(str(path))
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise StudyError(f"{file}: cannot be read: {problem}") from None
    if len(raw) > MOST_BYTES:
        raise StudyError(f"{file}: larger than {MOST_BYTES} bytes: not a study")
    try:
        return _parsed(raw.decode(), file)
    except UnicodeDecodeError:
        raise StudyError(f"{file}: not UTF-8 text: not a study") from None
    except RecursionError:
        raise StudyError(f"{file}: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = " ".join((error.problem or "syntax error").split())
        raise StudyError(f"{file}: {line}{printable(problem)}") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{file}: not YAML: {printable(' '.join(str(error).split()))}") from None


def _parsed(text: str, file: str) -> Node:
    if re.search(r"(^|[\s\[{,:-])[&*]\w", text) and any(
        isinstance(token, yaml.AliasToken) for token in yaml.scan(text, _Loader)
    ):
        raise StudyError(f"{file}: references (`*name`) are not supported; write the values out")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise StudyError(f"{file}: the file is empty; docs/explore.md shows a study")
        return _Builder(file, loader).node(node)
    finally:
        loader.dispose()


class _Builder:
    """Makes nodes of the library's nodes."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self.file, self.loader = file, loader

    def node(self, node: yaml.Node, line: int | None = None) -> Node:
        line = node.start_mark.line + 1 if line is None else line
        if isinstance(node, yaml.SequenceNode):
            return Node(self.file, line, [self.node(item) for item in node.value])
        if isinstance(node, yaml.MappingNode):
            return Node(self.file, line, self.mapping(node))
        try:
            value = self.loader.construct_object(node)
        except (ValueError, OverflowError):
            value = node.value
        if value is not None and not isinstance(value, str | int | float | bool):
            value = node.value  # dates and the like are texts here
        return Node(self.file, line, value)

    def mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        """Names to nodes. A name's line is the key's, so that errors point to it."""
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or not key.isprintable():
                raise StudyError(f"{self.file}: line {line}: expected a name as a key")
            if key in found:
                raise StudyError(f"{self.file}: line {line}: key `{key}` is given twice")
            found[key] = self.node(value, line)
        return found
