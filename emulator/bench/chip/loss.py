"""Where a step's cycles beyond its bound went, by cause, summed over its operations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from emulator.timing.result import OVERLAP, USEFUL, apportion

CONTROL: Final = "control"  #: what operations without a bound do
_CAUSES: Final = 5  #: that the table shows
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


def losses(operations: list[dict[str, Any]], cycles: int, bound: str, least: int) -> list[Loss]:
    """Cycles beyond `least` by cause, the largest first; they sum to `cycles` - `least`.

    `operations` is a group of the report (docs/report.md), whose exclusive cycles sum to `cycles`.
    What an operation needs for its own bound is the cause "KIND work". The step's bound, so many
    cycles of one kind, is taken from work of that kind, then from causes that are it in part, then
    from all that is left: an operation can wait while its neighbour's bytes arrive.
    """
    parts = _by_cause(operations)
    left = min(least, cycles)
    for cause in (f"{bound} work", *USEFUL[bound]):
        left -= _taken(parts, {cause: sum(parts.get(cause, {}).values())}, left)
    _taken(parts, {cause: by_op.total() for cause, by_op in parts.items()}, left)
    found = [
        Loss(cause, by_op.total(), by_op.total() / max(cycles, 1), tuple(_sorted(by_op)))
        for cause, by_op in parts.items()
        if by_op.total()
    ]
    return sorted(found, key=lambda loss: (-loss.cycles, loss.cause))


def _by_cause(operations: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Exclusive cycles by cause and operation. Overlap with operations before costs nothing."""
    found: dict[str, Counter[str]] = {}
    for operation in operations:
        causes = {name: part for name, part in operation["causes"].items() if name != OVERLAP}
        work = f"{operation['bound']} work" if operation["bound"] else CONTROL
        causes[work] = causes.get(work, 0) + operation["exclusive"] - sum(causes.values())
        for cause, part in causes.items():
            found.setdefault(cause, Counter())[operation["name"]] += part
    return found


def _taken(parts: dict[str, Counter[str]], weights: dict[str, int], most: int) -> int:
    """Take up to `most` cycles from causes, in proportion to weights; how many were there."""
    amount = min(most, sum(weights.values()))
    if amount <= 0:
        return 0
    for cause, part in apportion(amount, weights).items():
        for name, cycles in apportion(part, dict(parts[cause])).items():
            parts[cause][name] -= cycles
    return amount


def _sorted(parts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(((k, v) for k, v in parts.items() if v), key=lambda item: (-item[1], item[0]))


def in_words(found: list[Loss]) -> str:
    """The largest causes, as shares of the step's cycles, and where: `dma start 18% (qkv, o)`."""
    texts = [
        f"{loss.cause} {loss.share:.0%} ({', '.join(name for name, _ in loss.operations[:_NAMES])})"
        for loss in found[:_CAUSES]
        if loss.share >= _SHOWN
    ]
    whole = sum(loss.share for loss in found)
    return f"lost {whole:.0%}: {', '.join(texts)}" if texts else ""
