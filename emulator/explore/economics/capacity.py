"""Whether a model fits a chip that keeps its weights in SRAM or in wires, and how many it takes."""

from __future__ import annotations

import math

from emulator.explore.economics.part import Part, sram_bytes
from emulator.explore.economics.values import EconomicsError


def capacity_bytes(part: Part) -> int:
    """Bytes that weights, KV cache and tables may take on one chip."""
    return part.chip.hbm.bytes if part.has_hbm else sram_bytes(part.chip)


def chips_needed(part: Part, needed_bytes: int, parameters: int = 0) -> int:
    """Chips that hold so many bytes; of hardwired ones, so many parameters.

    Raises EconomicsError for a hardwired chip that does not say how many it holds.
    """
    if part.weights != "hardwired":
        return max(1, math.ceil(needed_bytes / capacity_bytes(part)))
    resident = part.figure("resident_parameters")
    if not resident:
        raise EconomicsError(
            f"{part.chip.name}: about.figures.resident_parameters: missing key; a hardwired chip "
            "has to say how many parameters it holds"
        )
    return max(1, math.ceil(parameters / resident))


def unplaceable(part: Part, needed_bytes: int, parameters: int) -> str | None:
    """Why no program can be compiled for a chip, in one line; None if one can.

    Programs keep weights, KV cache and tables in HBM: of a chip without any, it can be said how
    many are needed, no more.
    """
    name = part.chip.name
    if part.has_hbm:
        return None
    chips = chips_needed(part, needed_bytes, parameters)
    if part.weights == "hardwired":
        return (
            f"{name}: weights are wired into the chip, and programs bring their own; the model's "
            f"{parameters / 1e9:.2f} billion parameters need {chips} such chip{_s(chips)}; "
            f"`emu chips {name}` compares it, another --chip can be compiled for"
        )
    return (
        f"{name}: has no HBM, and programs keep weights and KV cache there; their "
        f"{needed_bytes / 1e6:,.1f} MB need {chips:,} chip{_s(chips)} of "
        f"{capacity_bytes(part) / 1e6:,.1f} MB SRAM; choose a --chip with HBM"
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"
