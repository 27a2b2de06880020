"""What a chip costs to make, and to buy."""

from __future__ import annotations

import math

from emulator.explore.economics.area import area
from emulator.explore.economics.ledger import Entry, Ledger, entry
from emulator.explore.economics.part import Part
from emulator.explore.economics.silicon import good_dies
from emulator.explore.economics.technology import Technology

USD = "USD"
GIGA = 1e9


def making(part: Part, technology: Technology) -> Ledger:
    """Dollars to make a chip with its memory and package.

    Raises EconomicsError for a die beyond the reticle.
    """
    silicon = area(part, technology)
    parts = [_dies(part, silicon, technology), *_package(part, silicon.total, technology)]
    return Ledger("cost", USD, (*parts, *_lost(part, parts, technology)))


def _dies(part: Part, silicon: Ledger, technology: Technology) -> Entry:
    node = technology.node(part.node)
    each = silicon.total / part.dies
    good = good_dies(each, technology, node)
    return entry("compute dies", part.dies, "die", node.wafer, 1 / good,
                 f"{good:.1f} good dies of {each:.0f} mm2 on a wafer",
                 (silicon.kind, node.defects.kind))  # fmt: skip


def _package(part: Part, mm2: float, technology: Technology) -> list[Entry]:
    cost = technology.cost
    board = entry("test and board", part.share, "chip", cost.test_and_board)
    if not part.has_hbm:
        return [entry("package", part.share, "chip", cost.plain_package), board]
    return [
        entry("HBM", part.chip.hbm.bytes / GIGA, "GB", cost.hbm),
        entry("package", part.share, "chip", cost.package),
        entry("package area", mm2, "mm2", cost.package_area, kinds=("estimate",)),
        board,
    ]


def _lost(part: Part, parts: list[Entry], technology: Technology) -> list[Entry]:
    """Good parts that are lost when they are put together with HBM."""
    if not part.has_hbm:
        return []
    assembly = technology.cost.assembly_yield
    spent = math.fsum(item.value for item in parts)
    rate = 1 / assembly.value - 1
    source = f"{assembly.source} ({assembly.date}); 1 / yield - 1"
    return [Entry("lost in assembly", spent, USD, rate, "per USD", spent * rate, assembly.kind,
                  source)]  # fmt: skip


def price(part: Part, technology: Technology) -> Ledger:
    """Dollars to buy a chip: what it costs to make, and the vendor's margin."""
    made = making(part, technology)
    margin = technology.cost.margin
    rate = margin.value / (1 - margin.value)
    source = f"{margin.source} ({margin.date}); margin / (1 - margin)"
    added = Entry(
        "margin", made.total, USD, rate, "per USD", made.total * rate, margin.kind, source
    )
    return Ledger("price", USD, (*made.entries, added))
