"""What an hour of a chip costs, and from that a million tokens."""

from __future__ import annotations

from emulator.explore.economics.ledger import Entry, Ledger
from emulator.explore.economics.technology import Technology
from emulator.explore.economics.values import EconomicsError

HOURS_PER_YEAR = 8760.0
SECONDS_PER_HOUR = 3600.0
MILLION = 1e6


def hour(
    chip_usd: float, working_w: float, idle_w: float, technology: Technology, share: float = 1.0
) -> Ledger:
    """Dollars of an hour of a chip in its server, used for the technology's share of hours.

    `working_w` and `idle_w` are watts of the chip while it works and while it waits; `share` is
    what of a server's place the chip takes.
    """
    run, cost = technology.operation, technology.cost
    hours = run.years.value * HOURS_PER_YEAR
    busy = run.utilisation.value
    chip_kw = (busy * working_w + (1 - busy) * idle_w) / 1e3
    power = run.pue.value * run.power.value
    years = f"{run.years.value:g} years in equal parts"
    server = share * cost.server.value
    capital = chip_usd + server
    upkeep = run.upkeep.value / HOURS_PER_YEAR
    paid = f"{run.power.source} ({run.power.date}); with a PUE of {run.pue.value:g}"
    rows = (
        ("chip", chip_usd, "USD", 1 / hours, years),
        ("server", server, "USD", 1 / hours, f"{cost.server.source}; {years}"),
        ("upkeep", capital, "USD", upkeep, run.upkeep.source),
        ("chip power", chip_kw, "kW", power, paid),
        ("server power", share * run.server.value / 1e3, "kW", power, paid),
    )
    return Ledger("hour", "USD", tuple(
        Entry(name, amount, unit, rate, f"per {unit} and hour", amount * rate, "estimate", source)
        for name, amount, unit, rate, source in rows
    ))  # fmt: skip


def usd_per_million_tokens(
    usd_per_hour: float, tokens_per_second: float, utilisation: float = 1.0
) -> float:
    """Dollars per million tokens of a machine that makes so many while it works.

    Raises EconomicsError if it makes none.
    """
    if tokens_per_second <= 0 or not 0 < utilisation <= 1:
        raise EconomicsError(
            f"tokens: {tokens_per_second:g} tokens/s at a utilisation of {utilisation:g} cost "
            "without end; give more of both, utilisation at most 1"
        )
    return usd_per_hour / (tokens_per_second * SECONDS_PER_HOUR * utilisation) * MILLION


def hours_for(
    input_tokens: float, output_tokens: float, input_rate: float, output_rate: float
) -> float:
    """Machine-hours that prompts and answers take, at tokens/s of prefill and of decode."""
    return (input_tokens / input_rate + output_tokens / output_rate) / SECONDS_PER_HOUR
