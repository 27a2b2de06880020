"""Whether programs for a chip can hold a model at all, before anything is compiled for it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from emulator.explore.economics.capacity import unplaceable
from emulator.explore.economics.part import Part
from emulator.explore.economics.values import EconomicsError
from isa.chip import Chip, known_chips, load_about

if TYPE_CHECKING:
    from compiler.config import ModelConfig
    from compiler.options import Options


def part_of(chip: Chip) -> Part:
    """A chip, with what the file of the package's chip of its name says of it."""
    return Part(chip, load_about(chip.name) if chip.name in known_chips() else None)


def check_placement(part: Part, config: ModelConfig, options: Options) -> None:
    """Refuse a chip without HBM: EconomicsError says why, and how many chips the model needs.

    What a program needs is what it would take of HBM on a chip with enough of it.
    """
    if part.has_hbm:
        return
    from compiler.api import compile_stages
    from compiler.config import expected_tensors
    from isa.chip import MAX_HBM_BYTES

    roomy = part.chip.with_hbm(MAX_HBM_BYTES)
    needed = compile_stages(config, roomy, options).plan.hbm.end
    parameters = sum(prod(shape) for shape in expected_tensors(config).values())
    problem = unplaceable(part, needed, parameters)
    if problem is not None:
        raise EconomicsError(problem)
