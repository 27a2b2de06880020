"""A number with its unit, its source, its date, and how it came to be."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from isa.chip_about import KINDS
from isa.errors import TesseraError
from isa.schema import Length, Place, Range, show

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


class EconomicsError(TesseraError):
    """Energy, area or cost that cannot be told: `what: why; remedy`."""


@dataclass(frozen=True)
class Value:
    """A sourced number. `kind` is measured (stated by who made or measured it), derived or
    estimate."""

    value: Annotated[float, Range(0, 1e30)]
    unit: Annotated[str, Length(40)]
    source: Annotated[str, Length(600)]
    date: Annotated[str, Length(10)]  # YYYY, YYYY-MM or YYYY-MM-DD
    kind: Annotated[str, Length(10)]


@dataclass(frozen=True)
class Unit:
    """The unit a value must be given in, and its inclusive bounds."""

    name: str
    lo: float = 0.0
    hi: float = 1e30


def weakest(*kinds: str) -> str:
    """What a number computed from such numbers is: an estimate if any of them is one."""
    if "estimate" in kinds:
        return "estimate"
    return "derived" if len(kinds) > 1 or "derived" in kinds else kinds[0]


def check_values(table: Any, place: Place) -> None:
    """Check unit, bounds, date and kind of every Value below a dataclass instance.

    Raises what `place.fail` makes, naming the key.
    """
    for hint, value, here in _values(table, place):
        _check(hint, value, here)


def _values(table: Any, place: Place) -> Iterator[tuple[Unit, Value, Place]]:
    hints = get_type_hints(type(table), include_extras=True)
    for field in fields(table):
        value, hint, here = getattr(table, field.name), hints[field.name], place.key(field.name)
        if isinstance(value, Value):
            assert get_origin(hint) is Annotated, f"{field.name} has no unit"
            yield get_args(hint)[1], value, here
        elif is_dataclass(value):
            yield from _values(value, here)


def _check(unit: Unit, value: Value, place: Place) -> None:
    if value.unit != unit.name:
        raise place.key("unit").fail(f"expected {unit.name}, got {show(value.unit)}; convert it")
    if not unit.lo <= value.value <= unit.hi:
        raise place.key("value").fail(
            f"expected {unit.lo:.15g} to {unit.hi:.15g} {unit.name}, got {value.value:.15g}"
        )
    if value.kind not in KINDS:
        raise place.key("kind").fail(f"expected one of {', '.join(KINDS)}, got {show(value.kind)}")
    if not _DATE.fullmatch(value.date):
        raise place.key("date").fail(
            f'expected "YYYY", "YYYY-MM" or "YYYY-MM-DD", got {show(value.date)}'
        )
