"""Dies of a wafer, and how many of them work."""

from __future__ import annotations

import math

from emulator.explore.economics.technology import Cost, Node, Technology
from emulator.explore.economics.values import EconomicsError

MM2_PER_CM2 = 100.0


def die_yield(mm2: float, cost: Cost, node: Node) -> float:
    """Share of dies that work, in (0, 1], by the technology's yield model.

    Poisson, Murphy (1964), Seeds (1967) and the negative binomial of Stapper (1983), of the
    defects expected on what spares cannot repair.
    """
    defects = mm2 / MM2_PER_CM2 * node.defects.value * (1 - cost.repairable.value)
    if cost.yield_model == "poisson":
        return math.exp(-defects)
    if cost.yield_model == "murphy":
        return (-math.expm1(-defects) / defects) ** 2 if defects else 1.0
    if cost.yield_model == "seeds":
        return 1 / (1 + defects)
    alpha = cost.clustering.value
    return float((1 + defects / alpha) ** -alpha)


def dies_per_wafer(mm2: float, cost: Cost) -> float:
    """Whole dies of a wafer, on average: its area over theirs, less those that the edge cuts.

    The usual first-order formula, pi d^2 / 4A - pi d / sqrt(2A) (de Vries, IEEE Trans.
    Semiconductor Manufacturing 18(1), 2005, compares it with others).
    """
    d = cost.wafer_diameter.value
    return math.pi * d * d / (4 * mm2) - math.pi * d / math.sqrt(2 * mm2)


def good_dies(mm2: float, technology: Technology, node: Node) -> float:
    """Working dies of a wafer. Raises EconomicsError for a die beyond the reticle."""
    reticle = technology.area.reticle.value
    if mm2 > reticle:
        raise EconomicsError(
            f"area: a die of {mm2:,.0f} mm2 is beyond the reticle of {reticle:,.0f} mm2; make the "
            "chip smaller, or of more dies (about.figures.dies in the chip's file)"
        )
    found = dies_per_wafer(mm2, technology.cost) * die_yield(mm2, technology.cost, node)
    if found <= 0:
        raise EconomicsError(
            f"area: no die of {mm2:,.0f} mm2 is whole on a wafer of "
            f"{technology.cost.wafer_diameter.value:g} mm; check both"
        )
    return found
