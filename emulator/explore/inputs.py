"""What a study can set: the model, formats, batch, lengths, compiler options, any key of the chip.

An input that is not a chip's key is an `Input` of the table here; other modules add theirs with
`add`. A chip's key is any dotted path of `isa.chip.Chip`: `hbm.bytes_per_second`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final, get_type_hints

from compiler.errors import CompileError
from compiler.options import TECHNIQUES, Options
from compiler.tiling import Tiling
from emulator.explore.units import NONE, Dimension, chip_unit, parse_quantity, shown
from isa.chip import Chip
from isa.errors import ChipError
from isa.schema import Place, build, leaves, show

#: Modules that add inputs when they are imported.
PROVIDERS: Final[list[str]] = []

ALL: Final = "all"  #: instead of a number: simulate every layer or step
AUTO: Final = "auto"
LEAST_LAYERS: Final = 4  # as emulator.fold has it


@dataclass(frozen=True)
class Input:
    """One input.

    `check` returns the value to use or raises ValueError saying what was expected. `default` is
    what points have that do not set it. Inputs that are not `simulated` enter metrics only: two
    points that differ in nothing else share one simulation.
    """

    name: str
    what: str
    check: Callable[[Any], Any]
    default: Any = None
    simulated: bool = True
    dimension: Dimension | None = field(default=NONE)  #: None: a text


_TABLE: dict[str, Input] = {}


def add(item: Input) -> None:
    """Make an input known."""
    _TABLE[item.name] = item


@cache
def known() -> dict[str, Input]:
    """All inputs that are not keys of the chip."""
    for module in PROVIDERS:
        import_module(module)
    return _TABLE


# ---- what is checked


def whole(least: int, most: int, *words: str) -> Callable[[Any], Any]:
    """A check for whole numbers, or one of some words."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            also = "".join(f" or {word}" for word in words)
            raise ValueError(f"expected an integer from {least} to {most}{also}, got {show(value)}")
        return value

    return check


def truth(value: Any) -> bool:
    """A check for true and false."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {show(value)}")
    return value


def a_text(value: Any) -> str:
    """A check for a text."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, got {show(value)}")
    return value


def techniques(value: Any) -> tuple[str, ...]:
    """A check for techniques of the compiler, each once and in its order."""
    known = ", ".join(TECHNIQUES)
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of techniques, got {show(value)}; known are {known}")
    for name in value:
        if not isinstance(name, str) or name not in TECHNIQUES:
            raise ValueError(f"{show(name)} is no technique; known are {known}")
    return tuple(name for name in TECHNIQUES if name in value)


def tiling(value: Any) -> str:
    """A check for the compiler's tiling; knobs in its order."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text such as slots=3,block=16, got {show(value)}")
    try:
        return Tiling.parse(value).text()
    except CompileError as error:
        raise ValueError(str(error).split(": ", 1)[-1]) from None


def _option(name: str) -> Callable[[Any], Any]:
    """A check by the compiler's own rules."""

    def check(value: Any) -> Any:
        default = next(each.default for each in fields(Options) if each.name == name)
        if value is None and default is None:
            return None
        if isinstance(value, list):
            value = tuple(value)
        wanted = get_type_hints(Options)[name]
        if not _is_a(value, wanted):
            raise ValueError(f"expected {_type_name(wanted)}, got {show(value)}")
        try:
            Options(**{name: value})
        except CompileError as error:
            raise ValueError(str(error).split(": ", 1)[-1]) from None
        return value

    return check


def _is_a(value: Any, wanted: Any) -> bool:
    kinds = [kind for kind in getattr(wanted, "__args__", (wanted,)) if isinstance(kind, type)]
    if isinstance(value, tuple):
        return "tuple" in str(wanted) and all(isinstance(item, str | int) for item in value)
    return type(value) in kinds


def _type_name(wanted: Any) -> str:
    text = str(getattr(wanted, "__name__", wanted))
    names = {"int": "an integer", "str": "a name", "bool": "true or false"}
    return " or ".join(names.get(part.strip(), part.strip()) for part in text.split("|")).replace(
        "or None", "or null"
    )


# ---- the inputs that come along

_POSITIONS: Final = 1 << 24  # as compiler.config_reader has it
_MOST_WINDOWS: Final = 4096  # the text has 32

_OWN: Final = (
    Input("chip", "name of a chip, or its YAML file", a_text, "t1", dimension=None),
    Input("model", "config.json, a model's directory, or a shipped config's name", a_text,
          dimension=None),
    Input("technology", "name of a technology, or its YAML file: energy, area and cost", a_text,
          "public-2026", simulated=False, dimension=None),
    Input("batch", "sequences at a time", whole(1, 1 << 16), 1),
    Input("context", "positions each decoded token attends to, its own included",
          whole(1, _POSITIONS), 1024),
    Input("prompt", "tokens of each prompt", whole(1, _POSITIONS), 1024),
    Input("output", "tokens generated for each prompt", whole(1, _POSITIONS), 256),
    Input("ignore_capacity", "time programs that need more HBM than there is", truth, False),
    Input("fold_layers", "layers simulated, the others taken to be like them; auto: 4 of models "
          "with more than 8, in decode 8; or all", whole(LEAST_LAYERS, 4096, AUTO, ALL), AUTO),
    Input("prefill_samples", "steps of a prompt simulated beside its last, each standing for those "
          "around it; or all", whole(1, _POSITIONS, ALL), 1),
    Input("decode_samples", "steps of an answer simulated, each standing for those around it; or "
          "all", whole(1, _POSITIONS, ALL), 2),
    Input("quality_windows", "windows of held-out text, of 512 tokens at most, that metrics of "
          "quality are of; or all", whole(1, _MOST_WINDOWS, ALL), 8, simulated=False),
)  # fmt: skip

#: Options whose value follows from other inputs: the cache holds what the workloads need.
_DERIVED: Final = ("context",)
_OPTION_WORDS: Final = {
    "weights": "format of weight matrices",
    "activations": "format of their inputs",
    "kv": "format of the KV cache",
    "lm_head": "format of the output matrix; null: as weights",
    "scale_mode": "round_up or floor",
    "rows": "tokens a step takes; null: the compiler chooses",
    "sequences": "sequences the cache holds; null: the batch",
    "logit_rows": "rows a step may want logits of; null: the sequences",
    "top_k": "candidates ranked per row",
    "without": "list of techniques that the compiler leaves out (emu compile --without)",
    "split": "ways the array is divided; null: for few rows",
    "tiling": "knobs of the schedule, such as slots=3,block=16 (emu compile --tiling)",
}


def option_names() -> list[str]:
    """The compiler's options that are inputs."""
    return [each.name for each in fields(Options) if each.name not in _DERIVED]


def _nullable(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _add_own() -> None:
    for item in _OWN:
        add(item)
    hints = get_type_hints(Options)
    for each in fields(Options):
        if each.name in _DERIVED:
            continue
        check, default = _option(each.name), each.default
        if default is MISSING:
            raise TypeError(f"compiler option {each.name} has no default")
        if each.name == "sequences":
            check, default = _nullable(check), None
        if each.name == "without":
            check = techniques
        if each.name == "tiling":
            check, default = tiling, ""
        what = _OPTION_WORDS.get(each.name, "compiler option")
        is_number = hints[each.name] in (int, int | None)
        add(Input(each.name, what, check, default, dimension=NONE if is_number else None))


_add_own()


# ---- keys of the chip


@cache
def chip_keys() -> dict[str, Any]:
    """The dotted keys of a chip, and the type each has."""
    found = {}
    for key in leaves(Chip):
        hint: Any = Chip
        for part in key.split("."):
            hint = get_type_hints(hint, include_extras=True)[part]
        found[key] = hint
    return {key: hint for key, hint in found.items() if key != "name"}


def chip_value(key: str, value: Any) -> Any:
    """A value of a chip's key, in its own unit; texts such as `7 TB/s` are converted.

    Raises ValueError.
    """
    unit = chip_unit(key)
    if isinstance(value, str):
        quantity = parse_quantity(value)
        if quantity is None:
            raise ValueError(f"expected a number, got {show(value)}")
        if quantity.dimension != unit.dimension:
            wanted = shown(unit.dimension)
            raise ValueError(f"`{value}` is in {shown(quantity.dimension)}, expected {wanted}")
        value = float(f"{quantity.value / unit.value:.15g}")  # 13 ns are 13, not 13.000000000000002
    last = key.rsplit(".", 1)[-1]
    leaf: Any = make_dataclass("leaf", [(last, chip_keys()[key])])
    try:
        found = getattr(build(leaf, {last: value}, Place("")), last)
    except ChipError as error:
        raise ValueError(str(error).split(": ", 1)[-1]) from None
    return list(found) if isinstance(found, tuple) else found


def dimension_of(name: str) -> Dimension | None:
    """The dimension of an input or a key of the chip. Raises KeyError."""
    if name in known():
        return known()[name].dimension
    if name in chip_keys():
        return chip_unit(name).dimension
    raise KeyError(name)
