"""Units: `20 ms`, `7 TB/s`, `0.1 USD/Mtoken` as a number of base units and a dimension.

Base units are second, byte, token, joule, US dollar and square millimetre; a dimension is their
exponents. What counts (a batch, a share, operations) has no unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BASES: Final = ("s", "B", "token", "J", "USD", "mm2")
Dimension = tuple[int, ...]  #: exponents of BASES
NONE: Final[Dimension] = (0,) * len(BASES)


def _of(base: str, exponent: int = 1) -> Dimension:
    return tuple(exponent if each == base else 0 for each in BASES)


@dataclass(frozen=True)
class Quantity:
    """A number of base units, and what they are."""

    value: float
    dimension: Dimension = NONE


_SI: Final = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_WATT: Final = tuple(a + b for a, b in zip(_of("J"), _of("s", -1), strict=True))


def _table() -> dict[str, Quantity]:
    found = {
        "s": Quantity(1, _of("s")),
        "ms": Quantity(1e-3, _of("s")),
        "us": Quantity(1e-6, _of("s")),
        "ns": Quantity(1e-9, _of("s")),
        "hour": Quantity(3600, _of("s")),
        "Hz": Quantity(1, _of("s", -1)),
        "B": Quantity(1, _of("B")),
        "token": Quantity(1, _of("token")),
        "tokens": Quantity(1, _of("token")),
        "J": Quantity(1, _of("J")),
        "mJ": Quantity(1e-3, _of("J")),
        "pJ": Quantity(1e-12, _of("J")),
        "kWh": Quantity(3.6e6, _of("J")),
        "W": Quantity(1, _WATT),
        "USD": Quantity(1, _of("USD")),
        "mm2": Quantity(1, _of("mm2")),
    }
    for prefix, factor in _SI.items():
        for unit in ("Hz", "B", "token", "tokens", "W"):
            whole = found[unit]
            found[prefix + unit] = Quantity(factor * whole.value, whole.dimension)
    for prefix, factor in _BINARY.items():
        found[f"{prefix}B"] = Quantity(factor, _of("B"))
    return found


UNITS: Final = _table()


def times(one: Dimension, other: Dimension, sign: int = 1) -> Dimension:
    """The dimension of a product, or with sign -1 of a quotient."""
    return tuple(a + sign * b for a, b in zip(one, other, strict=True))


def unit_of(text: str) -> Quantity:
    """The quantity that a unit's text is: `tokens/s`, `USD/Mtoken`; `1` is none.

    Raises ValueError.
    """
    value, dimension, sign = 1.0, NONE, 1
    for part in re.split(r"([*/])", text.replace(" ", "")):
        if part in "*/" and part:
            sign = 1 if part == "*" else -1
            continue
        unit = Quantity(1) if part == "1" else UNITS.get(part)
        if unit is None:
            raise ValueError(f"unknown unit `{part}`; known are {', '.join(UNITS)}")
        value *= unit.value**sign
        dimension = times(dimension, unit.dimension, sign)
    return Quantity(value, dimension)


def shown(dimension: Dimension) -> str:
    """A dimension as a unit's text: `tokens/s`; of none, `no unit`."""
    named = list(zip(BASES, dimension, strict=True))
    above = [name for name, exponent in named for _ in range(exponent)]
    below = [name for name, exponent in named for _ in range(-exponent)]
    if not above and not below:
        return "no unit"
    return "/".join(["*".join(above) or "1", *below])


_QUANTITY: Final = re.compile(r"([-+]?\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*([A-Za-z]\S*)")


def parse_quantity(text: str) -> Quantity | None:
    """`7 TB/s` as a quantity; None if the text is no number with a unit.

    Raises ValueError for an unknown unit.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    unit = unit_of(match[2])
    return Quantity(float(match[1]) * unit.value, unit.dimension)


#: What the values of a chip's keys are in, by how the key's last part ends.
_CHIP_UNITS: Final = (
    ("bytes_per_second", "B/s"),
    ("bytes_per_cycle", "B"),
    ("_ns", "ns"),
    ("_s", "s"),
    ("_hz", "Hz"),
    ("bytes", "B"),
)


def chip_unit_name(key: str) -> str:
    """The unit of a chip's key: `hbm.bytes_per_second` is in B/s, `hbm.trp_ns` in ns."""
    return next((unit for ending, unit in _CHIP_UNITS if key.endswith(ending)), "1")


def chip_unit(key: str) -> Quantity:
    """The same as a quantity."""
    return unit_of(chip_unit_name(key))


_PREFIXES: Final = (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_SMALL: Final = (("", 1.0), ("m", 1e-3), ("u", 1e-6), ("n", 1e-9))


def readable(value: float, unit: str) -> str:
    """A number of a unit as people read it: 6.863e-05 s is `68.63 us`, 1e11 B/s `100 GB/s`."""
    first = unit.split("/")[0]
    if unit == "s" or (first == "J" and 0 < value < 1):
        prefix, factor = next(((p, f) for p, f in _SMALL if value >= f), _SMALL[-1])
        return f"{_digits(value / factor)} {prefix}{unit}"
    if first in ("B", "Hz", "tokens", "token", "W") and value >= 1e4:
        prefix, factor = next((p, f) for p, f in _PREFIXES if value >= f)
        if first in ("B", "Hz", "W"):
            return f"{_digits(value / factor)} {prefix}{unit}"
        return f"{_digits(value / factor)}{prefix} {unit}"
    return _digits(value) if unit in ("", "1") else f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if not 1000 <= abs(value) < 1e6 else f"{value:,.0f}"
