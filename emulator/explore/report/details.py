"""A point's breakdown: where its time, joules, dollars and square millimetres go."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from emulator.explore.chips import PAIRS
from emulator.explore.cost_metrics import evaluation, part_of
from emulator.explore.economics.ledger import Entry, Ledger
from emulator.explore.economics.part import peak_flops
from emulator.explore.economics.values import EconomicsError
from emulator.explore.metrics import Result
from emulator.explore.report.names import Names, short
from isa.chip import Chip

HOST = "host"  #: the operation that stands for doorbells and returns
Plain = dict[str, Any]
#: Group of phases -> USD of a million of their tokens.
_MILLION = {
    "prefill": "usd_per_million_input_tokens",
    "decode": "usd_per_million_output_tokens",
}


class Details:
    """Makes breakdowns. What points have in common is in `tables` once, and has numbers there."""

    def __init__(self) -> None:
        self.operations, self.causes = Names(), Names()
        self.entries, self.ledgers, self.programs = Names(), Names(), Names()

    @property
    def tables(self) -> dict[str, list[Any]]:
        """What the numbers of breakdowns stand for."""
        return {
            "operations": self.operations.items,
            "causes": self.causes.items,
            "entries": self.entries.items,
            "ledgers": self.ledgers.items,
            "programs": self.programs.items,
        }

    def point(self, result: Result) -> Plain:
        """The breakdown of a point."""
        found = {
            "program": self.programs.place(_program(result)),
            "phases": {
                name: self._phase(phase, result) for name, phase in result["phases"].items()
            },
        }
        try:
            priced = evaluation(result)
        except EconomicsError as problem:
            return found | {"unpriced": str(problem), "ledgers": {}, "million": {}}
        ledgers = priced.ledgers.items()
        million = {group: short(priced.metrics[name]) for group, name in _MILLION.items()}
        return found | {
            "unpriced": None,
            "ledgers": {name: self.ledgers.place(self._ledger(each)) for name, each in ledgers},
            "million": {group: usd for group, usd in million.items() if usd is not None},
        }

    def _phase(self, phase: Mapping[str, Any], result: Result) -> Plain:
        counts = {
            name: phase[name]
            for name in ("batch", "tokens", "steps", "simulated", "estimated", "cycles")
        }
        return counts | {
            "seconds": short(phase["seconds"]),
            "operations": self._operations(phase, result),
            "units": [
                [self.causes.place([unit, cause]), short(cycles)]
                for unit, causes in phase["units"].items()
                for cause, cycles in causes.items()
                if cycles
            ],
            "bounds": {
                name: short(value) for name, value in phase["bounds"].items() if name != "macs"
            },
            "traffic": _traffic(phase["traffic"]),
            "macs": dict(phase["work"]["macs"]),
            "roof": roof(phase, result),
        }

    def _operations(self, phase: Mapping[str, Any], result: Result) -> list[list[Any]]:
        """[operation, seconds, times, MACs]; the seconds of all sum to the phase's."""
        clock = result["chip"]["clock_hz"]
        found = [
            [self.operations.place(name), each["exclusive"] / clock, each["times"], each["macs"]]
            for name, each in phase["operations"].items()
            if each["exclusive"] or each["macs"]
        ]
        host = phase["seconds"] - phase["cycles"] / clock
        found.append([self.operations.place(HOST), host, phase["steps"], 0])
        return [[name, short(seconds), *rest] for name, seconds, *rest in found]

    def _ledger(self, ledger: Ledger) -> Plain:
        """A ledger; entries of nothing are left out."""
        return {
            "unit": ledger.unit,
            "total": short(ledger.total),
            "kind": ledger.kind,
            "entries": [self._entry(each) for each in ledger.entries if each.value],
        }

    def _entry(self, each: Entry) -> list[Any]:
        """[place of what it is, amount, rate, value]."""
        what = [each.name, each.unit, each.rate_unit, each.kind, each.source]
        return [self.entries.place(what), short(each.amount), short(each.rate), short(each.value)]


def _program(result: Result) -> Plain:
    program = result["program"]
    names = ("hbm_bytes", "hbm_bytes_by_class", "rows", "sequences", "context", "layers",
             "layers_simulated", "layers_simulated_in_decode", "beyond_capacity")  # fmt: skip
    return {name: program[name] for name in names}


def _traffic(traffic: Mapping[str, Any]) -> Plain:
    """Bytes: of HBM in whole bursts by class, [read, written]; of the rest in all."""
    classes = traffic["hbm"]["classes"].items()
    return {
        "hbm": {
            name: [row["read_padded"], row["write_padded"]]
            for name, row in classes
            if row["read_padded"] or row["write_padded"]
        },
        "others": {name: traffic[name]["bytes"] for name in ("tsram", "acc", "csram", "noc")},
    }


def roof(phase: Mapping[str, Any], result: Result) -> Plain:
    """A phase beside its chip's roofline.

    `intensity` is MACs per HBM byte in whole bursts (None: there were none), `rate` MACs/s with
    the host's time, `peak` MACs/s of the arrays for the phase's mix of widths, `attainable` the
    lower of it and what HBM's `bandwidth` in bytes/s feeds (None: no HBM).
    """
    part = part_of(result)
    macs = phase["work"]["macs"]
    total = sum(macs.values())
    hbm = phase["traffic"]["hbm"]
    moved = hbm["read_padded"] + hbm["write_padded"]
    peak = _peak(part.chip, macs)
    bandwidth = part.chip.hbm.bytes_per_second if part.has_hbm else None
    intensity = total / moved if moved else None
    fed = bandwidth * intensity if bandwidth and intensity is not None else inf
    return {
        "intensity": short(intensity),
        "rate": short(total / phase["seconds"]),
        "peak": short(peak),
        "peaks": {pair: short(_pair_peak(part.chip, pair)) for pair in macs},
        "bandwidth": short(bandwidth),
        "attainable": short(min(peak, fed)),
    }


def _pair_peak(chip: Chip, pair: str) -> float:
    """MACs/s of all arrays for a pair of widths, `fp8 x fp4`."""
    return peak_flops(chip, *PAIRS[pair]) / 2


def _peak(chip: Chip, macs: Mapping[str, int]) -> float:
    """MACs/s of all arrays for a mix of pairs: all of it over the least time it takes."""
    seconds = sum(count / _pair_peak(chip, pair) for pair, count in macs.items())
    return sum(macs.values()) / seconds if seconds else 0.0
