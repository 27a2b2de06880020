"""Metrics of energy, area and cost: a point's phases, priced by its technology."""

from __future__ import annotations

from functools import cache
from typing import Any

from emulator.explore.basic_metrics import phase
from emulator.explore.economics.counts import counts_of_work
from emulator.explore.economics.evaluate import Done, Evaluation, evaluate_phases
from emulator.explore.economics.part import Part
from emulator.explore.economics.technology import Technology, load_technology
from emulator.explore.economics.values import EconomicsError
from emulator.explore.metrics import LESS, MORE, Metric, Result, add
from isa.chip import chip_from_data


@cache
def technology(name_or_path: str) -> Technology:
    """A technology that prices points."""
    return load_technology(name_or_path)


@cache
def _base(name_or_path: str) -> Part:
    """A chip, with what its file says of the real part."""
    return Part.load(name_or_path)


def part_of(result: Result) -> Part:
    """The point's chip: a variation keeps what its base's file says."""
    chip = chip_from_data(result["chip"], result["chip"]["name"])
    return _base(result["base"]).varied(chip)


def _done(found: dict[str, Any] | None) -> Done | None:
    if not found:
        return None
    work = found["work"] | {"traffic": found["traffic"]}
    return Done(counts_of_work(work, found["seconds"]), found["tokens"])


#: The last result asked for, and its figures or why it has none: a point's metrics come together.
_latest: list[tuple[Result, Evaluation | EconomicsError]] = []


def evaluation(result: Result) -> Evaluation:
    """A point's figures and their ledgers. Raises EconomicsError of a chip that cannot be made."""
    if not _latest or _latest[0][0] is not result:
        _latest[:] = [(result, _evaluated(result))]
    found = _latest[0][1]
    if isinstance(found, EconomicsError):
        raise found
    return found


def _evaluated(result: Result) -> Evaluation | EconomicsError:
    prefill, decode = phase(result, "prefill"), phase(result, "generate", "decode")
    try:
        prices = technology(result["technology"])
        return evaluate_phases(part_of(result), prices, _done(prefill), _done(decode))
    except EconomicsError as problem:
        return problem


def figure(result: Result, name: str) -> float | None:
    """A metric of docs/economics.md; None of a chip that cannot be made."""
    try:
        return evaluation(result).metrics[name]
    except EconomicsError:
        return None


_PREFILL, _DECODE = ("prefill",), ("decode", "generate")
#: Metric -> unit, which way is better, what it is, phases that give it.
_TABLE = {
    "area_mm2": ("mm2", LESS, "compute silicon", ()),
    "die_yield": ("1", MORE, "share of dies that work", ()),
    "usd_to_make": ("USD", LESS, "to make a chip", ()),
    "usd_per_chip": ("USD", LESS, "to buy a chip", ()),
    "prefill_watts": ("W", LESS, "of the chip in prefill", _PREFILL),
    "decode_watts": ("W", LESS, "of the chip in decode", _DECODE),
    "joules_per_input_token": ("J/token", LESS, "of the chip", _PREFILL),
    "joules_per_output_token": ("J/token", LESS, "of the chip", _DECODE),
    "tokens_per_second_per_watt": ("token/J", MORE, "output tokens per joule", _DECODE),
    "usd_per_million_input_tokens": ("USD/Mtoken", LESS, "of a chip in its server", _PREFILL),
    "usd_per_million_output_tokens": ("USD/Mtoken", LESS, "of a chip in its server", _DECODE),
}


def _add() -> None:
    for name, (unit, better, what, phases) in _TABLE.items():

        def value(result: Result, name: str = name) -> float | None:
            return figure(result, name)

        add(Metric(name, unit, better, what, phases, value))


_add()
