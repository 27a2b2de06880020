"""Every figure of energy, area and cost of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.explore.economics.area import area
from emulator.explore.economics.counts import Counts, counts_of
from emulator.explore.economics.energy import energy
from emulator.explore.economics.ledger import Ledger
from emulator.explore.economics.making import making, price
from emulator.explore.economics.part import Part
from emulator.explore.economics.running import hour, usd_per_million_tokens
from emulator.explore.economics.silicon import die_yield
from emulator.explore.economics.technology import Technology

#: Metric -> what it is. Those of a phase that a run does not have are None.
METRICS = {
    "area_mm2": "mm2 of compute silicon",
    "die_yield": "share of dies that work",
    "usd_to_make": "USD to make a chip",
    "usd_per_chip": "USD to buy a chip",
    "input_tokens_per_second": "tokens/s of prefill, of the chip",
    "output_tokens_per_second": "tokens/s of decode, of the chip",
    "prefill_watts": "W of the chip in prefill",
    "decode_watts": "W of the chip in decode",
    "joules_per_input_token": "J of the chip",
    "joules_per_output_token": "J of the chip",
    "tokens_per_second_per_watt": "output tokens per joule of the chip",
    "usd_per_hour": "USD of an hour of a chip in its server, decoding (or else prefilling)",
    "usd_per_million_input_tokens": "USD",
    "usd_per_million_output_tokens": "USD",
}


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and the ledgers they come from."""

    metrics: Mapping[str, float | None]
    ledgers: Mapping[str, Ledger]

    @property
    def json(self) -> dict[str, Any]:
        """Both as plain data."""
        ledgers = {name: ledger.json for name, ledger in self.ledgers.items()}
        return {"metrics": dict(self.metrics), "ledgers": ledgers}


@dataclass(frozen=True)
class Done:
    """What a phase did, and the tokens it took (prefill) or gave (decode), of all sequences."""

    counts: Counts
    tokens: int


def evaluate(
    result: Mapping[str, Any],
    part: Part,
    technology: Technology,
    input_tokens: int = 0,
    output_tokens: int = 0,
) -> Evaluation:
    """Figures of a timed run (the JSON result of `emu run`, or of a Meter).

    `input_tokens` are those that the run's prefill steps took, `output_tokens` those that its
    decode steps gave, of all sequences together; 0 leaves a phase out. Raises EconomicsError if
    the run has no such steps, or the chip cannot be made.
    """
    chip = part.chip
    return evaluate_phases(
        part,
        technology,
        Done(counts_of(result, "prefill", chip), input_tokens) if input_tokens else None,
        Done(counts_of(result, "decode", chip), output_tokens) if output_tokens else None,
    )


def evaluate_phases(
    part: Part, technology: Technology, prefill: Done | None = None, decode: Done | None = None
) -> Evaluation:
    """Figures of phases however they were counted. Raises EconomicsError as `evaluate` does."""
    silicon, bought = area(part, technology), price(part, technology)
    ledgers = {"area": silicon, "price": bought}
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    node = technology.node(part.node)
    metrics |= {
        "area_mm2": silicon.total,
        "die_yield": die_yield(silicon.total / part.dies, technology.cost, node),
        "usd_to_make": making(part, technology).total,
        "usd_per_chip": bought.total,
    }
    for group, kind, done in (("prefill", "input", prefill), ("decode", "output", decode)):
        if done is None:
            continue
        spent = energy(done.counts, part, technology)
        paid = _hour(spent, done.counts.seconds, part, technology, bought.total)
        ledgers |= {f"{group} energy": spent, f"{group} hour": paid}
        metrics |= _rates(done, spent.total, paid.total, technology, group, kind)
    return Evaluation(metrics, ledgers)


def _hour(spent: Ledger, seconds: float, part: Part, technology: Technology, usd: float) -> Ledger:
    """An hour of the chip, at the power of the phase while it works."""
    idle = energy(Counts(seconds=1.0), part, technology).total
    return hour(usd, spent.total / seconds, idle, technology, part.share)


def _rates(
    done: Done, joules: float, usd_per_hour: float, technology: Technology, group: str, kind: str
) -> dict[str, float | None]:
    rate = done.tokens / done.counts.seconds
    busy = technology.operation.utilisation.value
    found: dict[str, float | None] = {
        f"{kind}_tokens_per_second": rate,
        f"{group}_watts": joules / done.counts.seconds,
        f"joules_per_{kind}_token": joules / done.tokens,
        f"usd_per_million_{kind}_tokens": usd_per_million_tokens(usd_per_hour, rate, busy),
        "usd_per_hour": usd_per_hour,
    }
    if kind == "output":
        found["tokens_per_second_per_watt"] = done.tokens / joules
    return found
