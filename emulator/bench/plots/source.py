"""The bench's JSON, read and checked: rows, or growth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from emulator.bench.rows import BenchError

_BAR = re.compile(r"(?:[<>]= \d+(?:\.\d+)?)?")


def read(path: str) -> dict[str, Any]:
    """What a file holds, `kind` (rows or growth) included. Raises BenchError."""
    found = _parsed(path)
    if not isinstance(found, dict) or not {"rows", "axes"} & set(found):
        raise BenchError(f"{path}: is no JSON of `emu bench --json` or `emu bench growth --json`")
    if found.get("schema") != 1:
        raise BenchError(f"{path}: schema: expected 1, got {found.get('schema')!r:.40}")
    found = {"machine": {}, "complete": True} | found
    if not isinstance(found["machine"], dict):
        raise BenchError(f"{path}: machine: expected an object")
    if "rows" in found:
        _check_all(path, "rows", found["rows"], _ROW)
        return found | {"kind": "rows"}
    for place, axis in _check_all(path, "axes", found["axes"], _AXIS):
        _check_all(place, "points", axis.get("points"), _POINT)
        _check_all(place, "growth", axis.get("growth"), _FIT)
    return found | {"kind": "growth"}


def _parsed(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BenchError(f"{path}: is no JSON; give a file of `emu bench --json`") from None


def _refuse(constant: str) -> None:
    """NaN and infinities are no JSON, whatever Python says."""
    raise ValueError(constant)


# ---- what each object has to hold

Kind = tuple[str, Callable[[Any], bool]]  #: what is expected, in words, and whether it is that


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_TEXT: Kind = "text", _is_text
_NOTE: Kind = "text", lambda value: value is None or _is_text(value)
_NUMBER: Kind = "a number", _is_number
_POSITIVE: Kind = "a number above 0", lambda value: _is_number(value) and value > 0
_NATURAL: Kind = "a number from 0", lambda value: _is_number(value) and value >= 0
_MAYBE: Kind = "a number from 0 or null", lambda value: value is None or _NATURAL[1](value)
_LIMIT: Kind = ">= or <= and a number", lambda v: v is None or (_is_text(v) and _is_bar(v))
_YES: Kind = "true or false", lambda value: isinstance(value, bool)

_ROW = {"name": _TEXT, "unit": _TEXT, "bar": _LIMIT} | {
    **dict.fromkeys(("value", "yardstick", "ratio", "operations", "bytes", "threads"), _MAYBE),
    **dict.fromkeys(("of", "verdict", "note"), _NOTE),
}
_AXIS = dict.fromkeys(("name", "x", "what"), _TEXT)
_POINT = dict.fromkeys(("x", "prefill", "memory_bytes"), _POSITIVE) | dict.fromkeys(
    ("steps", "decode", "wall"), _NATURAL
)
_FIT = {"quantity": _TEXT, "expected": _TEXT, "within": _YES} | dict.fromkeys(
    ("exponent", "end", "start", "slope", "worst"), _NUMBER
)


def _is_bar(text: str) -> bool:
    return _BAR.fullmatch(text) is not None and not text.endswith(" 0")


def _check_all(
    path: str, key: str, value: Any, wanted: dict[str, Kind]
) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a list, each with its place. Raises BenchError."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BenchError(f"{path}: {key}: expected a list of objects")
    found = [(f"{path}: {key}[{index}]", item) for index, item in enumerate(value)]
    for place, item in found:
        for name, (words, good) in wanted.items():
            if not good(item.get(name)):
                raise BenchError(f"{place}: {name}: expected {words}")
    return found
