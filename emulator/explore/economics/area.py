"""Silicon area of a chip, part by part: docs/economics.md has the formulas."""

from __future__ import annotations

import math

from emulator.explore.economics.ledger import Entry, Ledger, entry
from emulator.explore.economics.part import Part
from emulator.explore.economics.technology import Node, Technology
from emulator.explore.economics.values import Value
from isa.chip import Chip

MM2 = "mm2"
_PER_UM2 = 1e-6  # mm2 of an um2
_OTHER = "other, up to the published die"


def area(part: Part, technology: Technology) -> Ledger:
    """Area of all compute dies in mm2.

    What a published die has beyond the model of its chip is an entry of its own, and stays the
    same in variations of that chip.
    """
    modelled = modelled_area(part.chip, technology, technology.node(part.node))
    published = part.figure("die_mm2")
    if published is None:
        return modelled
    known = part.base or part.chip
    reference = modelled_area(known, technology, technology.node(part.node)).total
    assert part.about is not None
    figure = part.about.figures["die_mm2"]
    source = part.about.sources[figure.source]
    beyond = Value(max(published - reference, 0.0), MM2, source.citation, source.date, figure.kind)
    other = entry(_OTHER, 1.0, "chip", beyond, note="less the model of the published chip",
                  kinds=(modelled.kind,))  # fmt: skip
    return Ledger("area", MM2, (*modelled.entries, other))


def modelled_area(chip: Chip, technology: Technology, node: Node) -> Ledger:
    """What the technology's numbers alone make of a chip."""
    parts = [*_logic(chip, technology, node), *_sram(chip, technology, node)]
    parts += _interfaces(chip, technology)
    placed = math.fsum(part.value for part in parts)
    kinds = tuple(part.kind for part in parts)
    rest = entry("rest", placed, "mm2 of the above", technology.area.rest, kinds=kinds)
    return Ledger("area", MM2, (*parts, rest))


def fp8_macs(chip: Chip) -> float:
    """Multipliers of all arrays, as FP8 ones: a BF16 one is two, an FP4 one half."""
    mxu = chip.tile.mxu
    rate = max(mxu.rate(8, 8), 2 * mxu.rate(16, 16), mxu.rate(4, 4) / 2)
    return mxu.rows * mxu.columns * rate * chip.num_tiles


def _logic(chip: Chip, technology: Technology, node: Node) -> list[Entry]:
    numbers, density = technology.area, node.logic_density
    shrink = 1 / density.value
    lanes = chip.tile.vpu.lanes * chip.num_tiles
    note, kinds = f"over a logic density of {density.value:g}", (density.kind,)
    return [
        entry("arrays", fp8_macs(chip), "MAC", numbers.mac, _PER_UM2 * shrink, note, kinds),
        entry("vector units", lanes, "lane", numbers.vector_lane, _PER_UM2 * shrink, note, kinds),
        entry("tile control", chip.num_tiles, "tile", numbers.tile_control, shrink, note, kinds),
    ]


def _sram(chip: Chip, technology: Technology, node: Node) -> list[Entry]:
    efficiency = technology.area.sram_efficiency
    sizes = {
        "TSRAM": chip.num_tiles * chip.tile.tsram.bytes,
        "ACC": chip.num_tiles * chip.tile.acc.bytes,
        "CSRAM": chip.clusters * chip.cluster.csram.bytes,
    }
    factor, note = _PER_UM2 / efficiency.value, f"over an efficiency of {efficiency.value:g}"
    return [
        entry(name, 8 * size, "bit", node.sram_cell, factor, note, (efficiency.kind,))
        for name, size in sizes.items()
    ]


def _interfaces(chip: Chip, technology: Technology) -> list[Entry]:
    stacks = chip.hbm.stacks if chip.hbm.bytes else 0
    links = chip.scale_up.links * chip.scale_up.bytes_per_second / 1e9
    return [
        entry("HBM interface", stacks, "stack", technology.area.hbm_phy),
        entry("scale-up interface", links, "GB/s", technology.area.scale_up_phy),
    ]
