"""What `emu chips` knows of a chip: peaks, memories, balance, and what it takes to make and feed.

Facts are plain data, schema 1 (docs/chips.md). A figure that sources publish stands before a
modelled one; each says which it is.
"""

from __future__ import annotations

from typing import Any

from emulator.explore.economics.area import area
from emulator.explore.economics.energy import ceiling_pj_per_mac, peak_power
from emulator.explore.economics.ledger import Ledger
from emulator.explore.economics.making import making, price
from emulator.explore.economics.part import Part, peak_flops, sram_bytes
from emulator.explore.economics.technology import Technology
from emulator.explore.economics.values import EconomicsError
from isa.chip import Chip, known_chips, load_about
from isa.chip_about import FIGURES, About

SCHEMA = 1
#: Pairs of widths, activations x weights, whose rates a chip has.
PAIRS = {
    f"{a} x {w}": (bits_a, bits_w)
    for a, bits_a in (("bf16", 16), ("fp8", 8), ("fp4", 4))
    for w, bits_w in (("bf16", 16), ("fp8", 8), ("fp4", 4))
}


def presets() -> list[str]:
    """Chips that say what they are."""
    return [name for name in known_chips() if load_about(name) is not None]


def others() -> list[str]:
    """Chips without prices: parts of chips, and variants for one command's use."""
    return [name for name in known_chips() if load_about(name) is None]


def chips(names: list[str], technology: Technology) -> dict[str, Any]:
    """Facts of several chips."""
    found = [facts(Part.load(name), technology) for name in names]
    return {"schema": SCHEMA, "technology": technology.name, "chips": found}


def facts(part: Part, technology: Technology) -> dict[str, Any]:
    """Facts of one chip."""
    chip, hbm = part.chip, part.chip.hbm
    bandwidth = hbm.bytes_per_second if part.has_hbm else None
    found: dict[str, Any] = {
        "name": chip.name,
        "summary": part.about.summary if part.about else None,
        "node": part.node or technology.default_node,
        "weights": part.weights,
        "tiles": chip.num_tiles,
        "clock_hz": chip.clock_hz,
        "array": _array(chip),
        "peak_flops": {pair: peak_flops(chip, *bits) for pair, bits in PAIRS.items()},
        "sram": _sram(chip),
        "hbm": {"bytes": hbm.bytes, "bytes_per_second": bandwidth},
        "scale_up_bytes_per_second": chip.scale_up.links * chip.scale_up.bytes_per_second,
        "flop_per_byte": peak_flops(chip, 8, 8) / bandwidth if bandwidth else None,
    }
    return found | _physical(part, technology) | _about(part.about)


def _array(chip: Chip) -> dict[str, Any]:
    mxu = chip.tile.mxu
    return {"rows": mxu.rows, "columns": mxu.columns, "splits": list(mxu.splits)}


def _sram(chip: Chip) -> dict[str, float]:
    """Bytes, and bytes/s of all tiles' SRAM."""
    tsram = chip.tile.tsram
    return {
        "tsram_bytes": chip.num_tiles * tsram.bytes,
        "acc_bytes": chip.num_tiles * chip.tile.acc.bytes,
        "csram_bytes": chip.clusters * chip.cluster.csram.bytes,
        "bytes": sram_bytes(chip),
        "tsram_bytes_per_second": chip.num_tiles * tsram.banks * tsram.bank_bytes * chip.clock_hz,
    }


def _physical(part: Part, technology: Technology) -> dict[str, Any]:
    """Area, power and dollars, each with its kind, and the ledgers behind them."""
    silicon, watts = area(part, technology), peak_power(part, technology)
    found: dict[str, Any] = {
        "area_mm2": _figure(part, "die_mm2", silicon),
        "power_w": _figure(part, "power_w", watts),
        "modelled_power_w": watts.total,
        "ceiling_pj_per_mac": _ceiling(part, technology),
    }
    ledgers = {"area": silicon.json, "peak_power": watts.json}
    try:
        made, bought = making(part, technology), price(part, technology)
    except EconomicsError as problem:
        return found | {"usd_to_make": None, "usd": None, "unpriced": str(problem),
                        "ledgers": ledgers}  # fmt: skip
    return found | {
        "usd_to_make": {"value": made.total, "kind": made.kind},
        "usd": {"value": bought.total, "kind": bought.kind},
        "unpriced": None,
        "ledgers": ledgers | {"price": bought.json},
    }


def _figure(part: Part, name: str, modelled: Ledger) -> dict[str, Any]:
    """The published figure if there is one, else the modelled total."""
    published = part.about.figures.get(name) if part.about else None
    if published is None:
        return {"value": modelled.total, "kind": modelled.kind, "source": "model"}
    return {"value": published.value, "kind": published.kind, "source": published.source}


def _ceiling(part: Part, technology: Technology) -> float | None:
    """Of an FP8 MAC, where the power of the part is known."""
    power, chip = part.figure("power_w"), part.chip
    if power is None:
        return None
    memory = chip.hbm.bytes_per_second if part.has_hbm else 0.0
    return ceiling_pj_per_mac(power, memory, peak_flops(chip, 8, 8), technology)


def _about(about: About | None) -> dict[str, Any]:
    if about is None:
        return {"figures": {}, "sources": {}, "conflicts": [], "limits": []}
    return {
        "figures": {
            name: {**vars(figure), "unit": FIGURES[name]} for name, figure in about.figures.items()
        },
        "sources": {label: dict(vars(source)) for label, source in about.sources.items()},
        "conflicts": list(about.conflicts),
        "limits": list(about.limits),
    }
