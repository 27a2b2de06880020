"""Reads JSON that others wrote: every defect is a one-line error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from compiler.errors import CompileError


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file. Duplicate keys are refused: readers disagree on which one wins."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise CompileError(f"{path}: {error.strerror or error}") from None


def parse_json(text: bytes, source: str) -> dict[str, Any]:
    """The object of JSON `text`; `source` names it in errors."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CompileError(f"{source}: key {shown(twice)} appears twice")
        return found

    try:
        data = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise CompileError(f"{source}: not valid JSON: {reason}") from None
    if not isinstance(data, dict):
        raise CompileError(f"{source}: expected a JSON object")
    return data


def shown(value: object) -> str:
    """A value for a one-line message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(name: str) -> str:
    """A name for a message: as it is if it is a plain word."""
    return name if re.fullmatch(r"[\w./-]{1,120}", name, re.ASCII) else shown(name)
