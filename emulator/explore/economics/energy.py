"""Energy of what was done: counts times the technology's energies, and time times static power."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from emulator.explore.economics.area import area
from emulator.explore.economics.counts import Counts
from emulator.explore.economics.ledger import Entry, Ledger, entry
from emulator.explore.economics.part import Part, peak_flops
from emulator.explore.economics.technology import SramEnergy, Technology
from emulator.explore.economics.values import Value, weakest

JOULES = "J"
_PICO = 1e-12
_KIB8, _KIB32, _MIB = 8192, 32768, 1 << 20


def energy(counts: Counts, part: Part, technology: Technology) -> Ledger:
    """Energy of the chip in joules, HBM included; servers and cooling are not."""
    if part.weights == "hardwired":
        counts = counts.without_weights()
    entries = [
        *_work(counts, part, technology),
        *_sram(counts, part, technology),
        *_distance(counts, part, technology),
        *_static(counts.seconds, part, technology),
    ]
    return Ledger("energy", JOULES, tuple(entries))


def _work(counts: Counts, part: Part, technology: Technology) -> list[Entry]:
    dynamic, numbers = technology.node(part.node).dynamic, technology.energy
    factor, note = _PICO * dynamic.value, f"times {dynamic.value:g} for the node"
    kinds = (dynamic.kind,)
    arrays = [
        entry(f"array {pair}", count, "MAC", numbers.mac.of(pair), factor, note, kinds)
        for pair, count in counts.macs.items()
    ]
    lanes, scalars = counts.vector_elements, counts.instructions
    return [
        *arrays,
        entry("vector", lanes, "element", numbers.vector_element, factor, note, kinds),
        entry("control", scalars, "instruction", numbers.instruction, factor, note, kinds),
    ]


def _sram(counts: Counts, part: Part, technology: Technology) -> list[Entry]:
    """Bytes of each SRAM; an accumulator has a bank for every column of its array."""
    tile, csram = part.chip.tile, part.chip.cluster.csram
    dynamic = technology.node(part.node).dynamic
    banks = {
        "TSRAM": (counts.tsram, tile.tsram.bytes / tile.tsram.banks),
        "ACC": (counts.acc, tile.acc.bytes / tile.mxu.columns),
        "CSRAM": (counts.csram, csram.bytes / csram.banks),
    }
    return [
        entry(name, size, "byte", sram_byte(technology.energy.sram, bank), _PICO * dynamic.value,
              f"times {dynamic.value:g} for the node", (dynamic.kind,))
        for name, (size, bank) in banks.items()
    ]  # fmt: skip


def sram_byte(numbers: SramEnergy, bank_bytes: float) -> Value:
    """A byte of a bank of this size: between the technology's sizes by the logarithm, held at ends.

    Below 8 KiB and above 1 MiB the number is that of the end: a larger bank is made of several.
    """
    points = ((_KIB8, numbers.at_8_kib), (_KIB32, numbers.at_32_kib), (_MIB, numbers.at_1_mib))
    size = min(max(bank_bytes, _KIB8), _MIB)
    for (low, a), (high, b) in pairwise(points):
        if size <= high:
            share = math.log(size / low) / math.log(high / low)
            value = a.value + (b.value - a.value) * share
            kind = weakest(a.kind, b.kind, "derived")
            return replace(a, value=value, kind=kind, source=f"{a.source}; bank of {size:,.0f} B")
    raise AssertionError("sizes end at the last point")


def hop_mm(part: Part, technology: Technology) -> float:
    """Length of a hop in mm: routers divide the area evenly into squares."""
    routers = part.chip.mesh.columns * part.chip.mesh.rows
    return math.sqrt(area(part, technology).total / routers)


def _distance(counts: Counts, part: Part, technology: Technology) -> list[Entry]:
    numbers = technology.energy
    length = hop_mm(part, technology)
    hops = entry("NoC", counts.noc_byte_hops, "byte hop", numbers.wire, _PICO * length,
                 f"{length:.2f} mm a hop", ("estimate",))  # fmt: skip
    hbm = [
        entry(f"HBM {name}", size, "byte", numbers.hbm, _PICO) for name, size in counts.hbm.items()
    ]
    return [hops, *hbm, entry("scale-up", counts.scale_up, "byte", numbers.scale_up, _PICO)]


def _static(seconds: float, part: Part, technology: Technology) -> list[Entry]:
    silicon = area(part, technology).total
    stacks = part.chip.hbm.stacks if part.has_hbm else 0
    numbers = technology.static
    return [
        entry("static die", seconds, "s", numbers.die, silicon, f"{silicon:.0f} mm2"),
        entry("static HBM", seconds, "s", numbers.hbm_stack, stacks, f"{stacks} stacks"),
    ]


def peak_power(part: Part, technology: Technology) -> Ledger:
    """Watts with every array busy at FP8 and HBM at its peak: joules of one second.

    A row of activations enters each array, and a row of sums its accumulator and back, each
    cycle; HBM's bytes cross half of the mesh each way.
    """
    chip, tile = part.chip, part.chip.tile
    cycles = chip.clock_hz * chip.num_tiles
    hbm = chip.hbm.bytes_per_second if part.has_hbm else 0.0
    second = Counts(
        seconds=1.0,
        macs={"fp8 x fp8": peak_flops(chip, 8, 8) / 2},
        tsram=cycles * tile.mxu.rows * tile.mxu.rate(8, 8) + hbm,
        acc=cycles * 2 * 4 * tile.mxu.columns,
        noc_byte_hops=hbm * (chip.mesh.columns + chip.mesh.rows) / 4,
        hbm={"all": hbm},
    )
    return replace(energy(second, part, technology), what="peak power", unit="W")


def ceiling_pj_per_mac(
    watts: float, hbm_bytes_per_second: float, flops: float, technology: Technology
) -> float:
    """The most that a MAC with all that belongs to it may take on a chip of so many watts.

    What HBM takes at its peak is set aside; the rest is shared by all MACs at the dense peak. A
    model of energy that is above it for a MAC alone is wrong.
    """
    memory = hbm_bytes_per_second * technology.energy.hbm.value * _PICO
    return (watts - memory) / (flops / 2) / _PICO
