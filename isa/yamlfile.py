"""Reading a YAML file as plain data, strictly: no duplicate keys, `2.4e9` is a number."""

import re
from pathlib import Path
from typing import Any

import yaml

from isa.errors import ChipError

_MOST_BYTES = 1 << 16  # a chip's description is some kilobytes; beyond, YAML takes for ever


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what a chip cannot mean, and reads numbers as people write them."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node. References are refused: a few of references can stand for billions of values."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "references are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; the plain loader would silently keep the last of two equal keys."""
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key}` is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a sign in an exponent and takes `2.4e9` for a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> object:
    """The file's content. Raises ChipError with the line of a syntax error."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise ChipError(f"{path}: cannot be read: {problem}") from None
    if len(raw) > _MOST_BYTES:
        raise ChipError(f"{path.name}: larger than {_MOST_BYTES} bytes: not a chip description")
    try:
        return yaml.load(raw.decode(), _Loader)
    except UnicodeDecodeError:
        raise ChipError(f"{path.name}: not UTF-8 text: not a chip description") from None
    except RecursionError:
        raise ChipError(f"{path.name}: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ChipError(f"{path.name}: {line}{_one_line(error.problem)}") from None
    except Exception as error:  # the library's constructors fail in many ways
        raise ChipError(f"{path.name}: not YAML: {_one_line(str(error))}") from None


def _one_line(text: str | None) -> str:
    return " ".join((text or "syntax error").split())
