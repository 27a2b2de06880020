"""Where a step's cycles beyond its operations' bounds went, summed over operations by cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from emulator.timing.result import OVERLAP

_CAUSES: Final = 4  #: that the table shows
_NAMES: Final = 2  #: operations of each
_SHOWN: Final = 0.005  #: least share of the step's cycles


@dataclass(frozen=True)
class Loss:
    """Cycles lost to one cause, and the operations that lost most of them."""

    cause: str
    cycles: int
    share: float  #: of the step's cycles
    operations: tuple[tuple[str, int], ...]  #: name, cycles; the largest first

    def json(self) -> dict[str, Any]:
        """For the bench's JSON."""
        return {
            "cause": self.cause,
            "cycles": self.cycles,
            "share": round(self.share, 6),
            "operations": dict(self.operations),
        }


def losses(operations: list[dict[str, Any]], cycles: int) -> list[Loss]:
    """The causes of a report's operations (docs/report.md), the largest first.

    Causes are exclusive: an operation's own cycles without its bound. Time that ran behind other
    operations (overlap) cost nothing and is left out.
    """
    by_cause: dict[str, Counter[str]] = {}
    for operation in operations:
        for cause, lost in operation["causes"].items():
            if cause != OVERLAP:
                by_cause.setdefault(cause, Counter())[operation["name"]] += lost
    found = [
        Loss(cause, parts.total(), parts.total() / max(cycles, 1), tuple(_sorted(parts)))
        for cause, parts in by_cause.items()
    ]
    return sorted(found, key=lambda loss: (-loss.cycles, loss.cause))


def at_bounds(operations: list[dict[str, Any]]) -> dict[str, int]:
    """Cycles that are no loss, by what bounds their operation; with the losses, all cycles."""
    found: Counter[str] = Counter()
    for operation in operations:
        lost = sum(cycles for cause, cycles in operation["causes"].items() if cause != OVERLAP)
        found[operation["bound"] or "(no bound)"] += operation["exclusive"] - lost
    return {bound: cycles for bound, cycles in _sorted(found) if cycles}


def _sorted(parts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(parts.items(), key=lambda item: (-item[1], item[0]))


def in_words(found: list[Loss], bounds: dict[str, int], cycles: int) -> list[str]:
    """Two lines: shares of the step's cycles at bounds, and the largest losses and where."""
    shares = ((bound, part / max(cycles, 1)) for bound, part in bounds.items())
    held = [f"{bound} {share:.0%}" for bound, share in shares if share >= _SHOWN]
    lost = [
        f"{loss.cause} {loss.share:.0%} ({', '.join(name for name, _ in loss.operations[:_NAMES])})"
        for loss in found[:_CAUSES]
        if loss.share >= _SHOWN
    ]
    lines = [f"at bounds: {', '.join(held)}", f"lost: {'; '.join(lost)}"]
    return [line for line in lines if not line.endswith(": ")]
