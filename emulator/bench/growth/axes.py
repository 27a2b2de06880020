"""What grows, over which values, and how time and memory should follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from emulator.bench.growth.models import LLAMA, Shape, small

#: Growth -> the largest exponent it may have: the true one, and some room for a clock's error.
LIMITS = {"flat": 0.1, "linear": 1.2, "quadratic": 2.2}
PREFILL, DECODE, RUN, MEMORY = "prefill", "decode step", "run", "memory"


@dataclass(frozen=True)
class Work:
    """A run: a model on a chip, the length of the prompt, and how many tokens are drawn."""

    shape: Shape
    prompt: int = 16
    tokens: int = 9
    clusters: int = 8  #: of eight tiles
    timing_only: bool = False
    fold_layers: int | None = None

    def json(self) -> dict[str, Any]:
        """For the process that does it; the shape is in the program."""
        return {key: value for key, value in asdict(self).items() if key != "shape"}


@dataclass(frozen=True)
class Axis:
    """A series of runs that differ in one thing; `quantities` says how each should grow."""

    name: str
    x: str  #: what the values are
    what: str  #: is done at each of them
    quantities: dict[str, str]
    points: dict[int, Work]


_SMALL = small(256, 4)


def axes() -> list[Axis]:
    """Every axis there is."""
    return [_model(), _timing(None), _timing(4), _context(), _tiles(), _tokens()]


def _model() -> Axis:
    sizes = ((128, 2), (256, 4), (512, 6), (768, 10), (1024, 16), (1280, 20))
    shapes = [small(hidden, layers) for hidden, layers in sizes]
    grows = {RUN: "linear", MEMORY: "linear"}
    what = "values and timing: 16 tokens of prompt, 8 decode steps"
    return Axis("model", "parameters", what, grows, {s.parameters: Work(s) for s in shapes})


def _timing(fold_layers: int | None) -> Axis:
    work = Work(LLAMA["1b"], prompt=1, tokens=1, timing_only=True, fold_layers=fold_layers)
    points = {s.parameters: replace(work, shape=s) for s in LLAMA.values()}
    whole = f"{fold_layers} layers for all" if fold_layers else "every layer"
    name = "folded" if fold_layers else "timing"
    grows = {RUN: "linear", MEMORY: "flat"}
    return Axis(name, "parameters", f"timing alone: a decode step, {whole}", grows, points)


def _context() -> Axis:
    def work(length: int) -> Work:
        return Work(replace(_SMALL, positions=length + 32), prompt=length, tokens=17)

    grows = {PREFILL: "quadratic", DECODE: "linear", MEMORY: "linear"}
    what = "a prompt of this length, then 16 decode steps"
    return Axis(
        "context", "positions", what, grows, _points(work, 512, 1024, 2048, 4096, 8192, 16384)
    )


def _tiles() -> Axis:
    def work(tiles: int) -> Work:
        return Work(_SMALL, clusters=tiles // 8)

    grows = {RUN: "linear", MEMORY: "linear"}
    what = "16 tokens of prompt, 8 decode steps"
    return Axis("tiles", "tiles", what, grows, _points(work, 8, 16, 32, 64, 128, 256))


def _tokens() -> Axis:
    def work(tokens: int) -> Work:
        return Work(_SMALL, tokens=tokens)

    grows = {RUN: "linear", MEMORY: "flat"}
    what = "16 tokens of prompt, then so many tokens drawn"
    return Axis("tokens", "tokens generated", what, grows, _points(work, 10, 30, 100, 300, 1000))


def _points(work: Callable[[int], Work], *values: int) -> dict[int, Work]:
    return {value: work(value) for value in values}
