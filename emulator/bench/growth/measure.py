"""Measures every point of the axes, or those that an unfinished file lacks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emulator.bench.growth import child
from emulator.bench.growth.axes import Axis, Work
from emulator.bench.growth.fits import growth
from emulator.bench.growth.models import write_checkpoint, write_config

SCHEMA = 1
REPEATS = 3  #: of a point, of which the fastest counts
ENOUGH = 20.0  #: seconds after which a point is not repeated

Point = dict[str, float]
Known = dict[str, list[Point]]  #: axis -> points


def report(
    machine: dict[str, Any], table: Sequence[Axis], known: Known, complete: bool
) -> dict[str, Any]:
    """Schema 1 of the JSON: what is known of the axes of a table."""
    return {
        "schema": SCHEMA,
        "kind": "growth",
        "machine": machine,
        "complete": complete,
        "axes": [_axis(axis, known[axis.name]) for axis in table if axis.name in known],
    }


def _axis(axis: Axis, points: list[Point]) -> dict[str, Any]:
    head = {"name": axis.name, "x": axis.x, "what": axis.what}
    return head | {"points": points, "growth": growth(axis, points)}


def missing(table: Sequence[Axis], known: Known) -> list[tuple[Axis, int, Work]]:
    """Points that are still to be measured."""
    have = {(name, point["x"]) for name, points in known.items() for point in points}
    return [
        (axis, x, work)
        for axis in table
        for x, work in axis.points.items()
        if (axis.name, x) not in have
    ]


def measured(x: int, work: Work, repeats: int = REPEATS) -> Point:
    """A point: compiled here, run in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        program = _program(Path(folder), work)
        runs = _repeated(lambda: child.measured(program, work.json()), repeats)
    best = min(runs, key=lambda run: run["prefill"] + run["decode"])
    point = best | {"wall": min(run["wall"] for run in runs)}
    point = {key: float(f"{value:.5g}") for key, value in point.items()}
    point["memory_bytes"] = min(int(run["memory_bytes"]) for run in runs)
    return {"x": x, "steps": work.tokens - 1} | point


def _repeated(run: Callable[[], Point], repeats: int) -> list[Point]:
    """The first may compile kernels, so it counts only where it takes long itself."""
    runs = [run()]
    while len(runs) < repeats + 1 and sum(each["wall"] for each in runs) < ENOUGH:
        runs.append(run())
    return runs


def _program(folder: Path, work: Work) -> Path:
    """The model and its program; one that is only timed has no weights, and may be of any size."""
    from compiler.api import compile_checkpoint, compile_config
    from compiler.config import ModelConfig
    from compiler.options import Options
    from isa.program import save

    chip, options = child.chip_of(work.clusters), Options(sequences=1, context=_context(work))
    if work.timing_only:
        config = ModelConfig.load(write_config(folder, work.shape))
        program = compile_config(config, chip, options, ignore_capacity=True)
    else:
        write_checkpoint(folder, work.shape)
        program = compile_checkpoint(folder, chip, options)
    save(program, folder / "program.bin")
    return folder / "program.bin"


def _context(work: Work) -> int:
    """Positions of the cache: as many as the run needs, and at least what small models have."""
    return max(work.prompt + work.tokens, min(work.shape.positions, 4096))
