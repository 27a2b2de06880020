"""The vector unit: elementwise operations, conversions, reductions, order, movement."""

from __future__ import annotations

from importlib import import_module

from emulator.conformance.case import Maker

_MODULES = (
    "convert", "unary", "binary", "move", "reduce", "exponentials", "order", "graph", "enumerate",
    "extra",
)  # fmt: skip
_PARTS = [import_module(f"emulator.conformance.suites.vpu_{name}") for name in _MODULES]

#: The rules of docs/isa/numerics.md that this suite covers: `rule:SLUG`.
RULES: dict[str, str] = {slug: rule for part in _PARTS for slug, rule in part.RULES.items()}


def makers() -> list[Maker]:
    """Every case of the profile."""
    return [maker for part in _PARTS for maker in part.makers()]
