"""Values of a study's inputs: lists, ranges, names of chips and models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from emulator.explore import inputs
from emulator.explore.economics.technology import known_technologies, load_technology
from emulator.explore.located import Node, nearest
from emulator.explore.point import model_facts
from isa.chip import known_chips, load_chip
from isa.errors import TesseraError

CONFIGS: Final = Path(__file__).resolve().parent.parent.parent / "programs" / "configs"
MOST_STEPS: Final = 10_000
_RANGE_KEYS: Final = ("from", "to", "steps", "scale")


def value_of(key: str, node: Node) -> Any:
    """One value of an input or a chip's key, checked."""
    plain = node.plain
    if isinstance(plain, dict):
        node.fail(f"{key}: expected a value, got a mapping")
    try:
        if key in inputs.chip_keys():
            return inputs.chip_value(key, plain)
        return inputs.known()[key].check(plain)
    except ValueError as error:
        node.fail(f"{key}: {error}")


def axis_values(key: str, node: Node) -> list[Node]:
    """The values of an axis: a list, or `{from: 1, to: 64, steps: 7, scale: log}`."""
    if not isinstance(node.value, dict):
        return node.items(key)
    parts = node.value
    node.known(_RANGE_KEYS, key)
    for name in ("from", "to", "steps"):
        if name not in parts:
            node.fail(f"{key}: a range needs `{name}`")
    low, high = (_number(key, parts[name]) for name in ("from", "to"))
    steps = parts["steps"].integer("steps", 2, MOST_STEPS)
    scale = parts["scale"].text("scale") if "scale" in parts else "linear"
    if scale not in ("linear", "log"):
        parts["scale"].fail(f"unknown scale `{scale}`{nearest(scale, ('linear', 'log'))}")
    if not low < high or (scale == "log" and low <= 0):
        node.fail(f"{key}: a range goes from less to more, with `scale: log` from above 0")
    share = [index / (steps - 1) for index in range(steps)]
    if scale == "log":
        found = [
            math.exp(math.log(low) + part * (math.log(high) - math.log(low))) for part in share
        ]
    else:
        found = [low + part * (high - low) for part in share]
    found[0], found[-1] = low, high
    return [Node(node.file, node.line, _neat(key, value)) for value in found]


def _number(key: str, node: Node) -> float:
    """A bound of a range: a number, of a chip's key also with its unit."""
    value = node.scalar(key)
    if isinstance(value, str) and key in inputs.chip_keys():
        found = value_of(key, node)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        node.fail(f"{key}: a range is of numbers")
    return float(value)


def _neat(key: str, value: float) -> float:
    """Whole where the input is whole; else twelve digits, so that sums leave no dust."""
    is_float = key in inputs.chip_keys() and "float" in str(inputs.chip_keys()[key])
    return float(f"{value:.12g}") if is_float else float(round(value))


# ---- chips and models


def chip(node: Node, folder: Path, found: dict[str, str]) -> str:
    """A chip's name; adds where it is to `found`. A file's path counts from the study."""
    name = node.text("chip")
    if name in known_chips():
        found[name] = name
        return name
    path = folder / name
    if not path.is_file():
        known = ", ".join(known_chips())
        node.fail(f"chip: `{name}` is neither a file nor one of {known}")
    try:
        load_chip(path)
    except TesseraError as error:
        node.fail(f"chip: {error}")
    found[name] = str(path)
    return name


def technology(node: Node, folder: Path, found: dict[str, str]) -> str:
    """A technology's name; adds where it is to `found`. A file's path counts from the study."""
    name = node.text("technology")
    path = name if name in known_technologies() else str(folder / name)
    if path != name and not Path(path).is_file():
        known = ", ".join(known_technologies())
        node.fail(f"technology: `{name}` is neither a file nor one of {known}")
    try:
        load_technology(path)
    except TesseraError as error:
        node.fail(f"technology: {error}")
    found[name] = path
    return name


def model(node: Node, folder: Path, found: dict[str, str]) -> str:
    """A model's name; adds the path of its config to `found`."""
    name = node.text("model")
    for path in (folder / name, CONFIGS / f"{name}.json", CONFIGS / name / "config.json"):
        if path.exists():
            break
    else:
        known = sorted({each.stem if each.is_file() else each.name for each in CONFIGS.glob("*")})
        node.fail(
            f"model: `{name}` is neither a config.json, nor a model's directory"
            + (f", nor one of {', '.join(known)}" if known else "")
        )
    try:
        model_facts(str(path))
    except TesseraError as error:
        node.fail(f"model: {error}")
    found[name] = str(path)
    return name
