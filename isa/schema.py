"""From plain data (parsed YAML) to frozen dataclasses, with errors that name the exact key.

A field's type says what it accepts: ``Annotated[int, Range(1, 4096)]``, ``Annotated[float,
Range(0, 1)]``, ``bool``, ``Annotated[str, Length(64)]``, ``tuple[int, ...]`` of ``OneOf``, or
another dataclass for a nested mapping. Unknown and missing keys are refused.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from isa.errors import ChipError

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Inclusive bounds of a number."""

    lo: float
    hi: float


@dataclass(frozen=True)
class Length:
    """The longest string."""

    most: int


@dataclass(frozen=True)
class OneOf:
    """The values a list may hold, ascending and without repetition."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where in which source a value lies, for error messages."""

    source: str
    path: str = ""

    def key(self, name: str) -> "Place":
        """The place of a key below this one."""
        return Place(self.source, f"{self.path}.{name}" if self.path else name)

    def fail(self, problem: str) -> ChipError:
        """The error for this place."""
        return ChipError(": ".join(part for part in (self.source, self.path, problem) if part))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def build(cls: Callable[..., T], data: object, place: Place) -> T:
    """An instance of dataclass ``cls`` from a mapping; raises ChipError naming the key at fault."""
    if not isinstance(data, dict):
        raise place.fail(f"expected a mapping, got {show(data)}")
    hints = _hints(cls)
    for key in data:
        if key not in hints:
            name = show_key(key)
            raise place.key(name).fail(f"unknown key{_suggest(cls, place, name)}")
    for key in hints:
        if key not in data:
            raise place.key(key).fail("missing key")
    return cls(**{key: _convert(hint, data[key], place.key(key)) for key, hint in hints.items()})


def _suggest(cls: Any, place: Place, key: str) -> str:
    names = list(_hints(cls))
    near = difflib.get_close_matches(key, names, 1, 0.5)
    if near:
        return f"; did you mean `{place.key(near[0]).path}`?"
    return f"; known here: {', '.join(names)}"


def _convert(hint: Any, value: object, place: Place) -> Any:
    """``value`` as the annotated type ``hint``, checked."""
    rule: Any = None
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, place)
    if hint is bool:
        return _boolean(value, place)
    if hint is str:
        return _string(value, rule, place)
    if hint is int:
        return _integer(value, rule, place)
    if hint is float:
        return _real(value, rule, place)
    return _choices(value, rule, place)


def _boolean(value: object, place: Place) -> bool:
    if not isinstance(value, bool):
        raise place.fail(f"expected true or false, got {show(value)}")
    return value


def _string(value: object, rule: Length, place: Place) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise place.fail(f"expected a name, got {show(value)}")
    if len(value.encode()) > rule.most:
        raise place.fail(f"expected at most {rule.most} bytes, got {show(value)}")
    return value


def _integer(value: object, rule: Range, place: Place) -> int:
    expected = f"expected an integer {_bounds(rule, value)}, got {show(value)}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 216e9 is a fair way to write a size
    if isinstance(value, bool) or not isinstance(value, int):
        raise place.fail(expected)
    if not rule.lo <= value <= rule.hi:
        raise place.fail(expected)
    return value


def _real(value: object, rule: Range, place: Place) -> float:
    expected = f"expected a number {_bounds(rule, value)}, got {show(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.fail(expected)
    if not rule.lo <= value <= rule.hi:  # nor is a NaN
        raise place.fail(expected)
    return float(value)


def _bounds(rule: Range, value: object) -> str:
    """Say only the bound that matters: `>= 1` to a negative number, the whole range to others."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and number < rule.lo:
        return f">= {rule.lo:.15g}"
    if number is not None and number > rule.hi:
        return f"<= {rule.hi:.15g}"
    return f"from {rule.lo:.15g} to {rule.hi:.15g}"


def _choices(value: object, rule: OneOf, place: Place) -> tuple[int, ...]:
    expected = f"expected an ascending list of some of {list(rule.values)}, got {show(value)}"
    if not isinstance(value, list | tuple) or not value:
        raise place.fail(expected)
    if any(isinstance(item, bool) or not isinstance(item, int) for item in value):
        raise place.fail(expected)
    if any(item not in rule.values for item in value) or list(value) != sorted(set(value)):
        raise place.fail(expected)
    return tuple(value)


def show(value: object) -> str:
    """A value as an error message shows it: short, and on one line."""
    if isinstance(value, dict):
        return "a mapping"
    try:
        text = "nothing" if value is None else repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        return "a huge number"
    return text if len(text) <= 40 else text[:37] + "..."


def show_key(key: object) -> str:
    """A mapping's key as an error message shows it: as it is, if it is a plain name."""
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 80 else show(key)


def leaves(cls: Any, prefix: str = "") -> Iterator[str]:
    """The dotted path of every key that is not itself a mapping, in order."""
    for name, hint in _hints(cls).items():
        if is_dataclass(hint) and isinstance(hint, type):
            yield from leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
