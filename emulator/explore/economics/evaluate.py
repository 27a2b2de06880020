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
class _Phase:
    """Prefill or decode."""

    ledger: Ledger
    hour: Ledger
    seconds: float
    tokens: int

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def watts(self) -> float:
        return self.ledger.total / self.seconds


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
    silicon, made, bought = (
        area(part, technology),
        making(part, technology),
        price(part, technology),
    )
    ledgers = {"area": silicon, "price": bought}
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    metrics |= {
        "area_mm2": silicon.total,
        "die_yield": die_yield(
            silicon.total / part.dies, technology.cost, technology.node(part.node)
        ),
        "usd_to_make": made.total,
        "usd_per_chip": bought.total,
    }
    for group, kind, tokens in (
        ("prefill", "input", input_tokens),
        ("decode", "output", output_tokens),
    ):
        if not tokens:
            continue
        phase = _phase(counts_of(result, group, part.chip), tokens, part, technology, bought.total)
        ledgers |= {f"{group} energy": phase.ledger, f"{group} hour": phase.hour}
        metrics |= _phase_metrics(phase, group, kind, technology)
    return Evaluation(metrics, ledgers)


def _phase(counts: Counts, tokens: int, part: Part, technology: Technology, usd: float) -> _Phase:
    spent = energy(counts, part, technology)
    idle = energy(Counts(seconds=1.0), part, technology).total
    watts = spent.total / counts.seconds
    return _Phase(spent, hour(usd, watts, idle, technology, part.share), counts.seconds, tokens)


def _phase_metrics(
    phase: _Phase, group: str, kind: str, technology: Technology
) -> dict[str, float | None]:
    busy = technology.operation.utilisation.value
    found: dict[str, float | None] = {
        f"{kind}_tokens_per_second": phase.rate,
        f"{group}_watts": phase.watts,
        f"joules_per_{kind}_token": phase.ledger.total / phase.tokens,
        f"usd_per_million_{kind}_tokens": usd_per_million_tokens(
            phase.hour.total, phase.rate, busy
        ),
        "usd_per_hour": phase.hour.total,
    }
    if kind == "output":
        found["tokens_per_second_per_watt"] = phase.tokens / phase.ledger.total
    return found
