"""Options that several commands of the kit have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_PROFILES = "mxu, vpu, quant, dma, control, sync, faults"


def selection(function: F) -> F:
    """--profile, --full and --chip."""
    for option in reversed(
        [
            click.option(
                "--profile", "profiles", multiple=True, metavar="P",
                help=f"One of {_PROFILES}; may be repeated.  [default: all]",
            ),
            click.option("--full", is_flag=True, help="Also the cases that take minutes."),
            click.option("--chip", default="t1-mini", show_default=True,
                         help="The chip whose sizes the programs use."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def kit_option(function: F) -> F:
    """--kit and --case."""
    kit = click.option(
        "--kit", type=click.Path(path_type=Path), metavar="DIR",
        help="A directory that `export` wrote.  [default: built here, and kept]",
    )  # fmt: skip
    case = click.option(
        "--case", "globs", multiple=True, metavar="GLOB",
        help="Cases whose names match, as vpu/vadd/*; may be repeated.",
    )  # fmt: skip
    return kit(case(function))


jobs = click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N",
    help="Cases at a time.  [default: as many as there are processors]",
)  # fmt: skip


def processors(given: int | None) -> int:
    """As many as asked for, or as there are."""
    import os

    return given or len(os.sched_getaffinity(0))
