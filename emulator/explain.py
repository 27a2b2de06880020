"""Where an operation's cycles beyond its bound went, and on whom it waited.

    explained = Explained(info); explained.add(entry)   # an EntryTiming, for each step
    explained.result(waits)                             # a list for the JSON result

What is shown of each operation is exact and in whole cycles: simulated = bound + the causes. They
are the causes of docs/timing.md under the names of docs/report.md. Work of other units on the path
to an operation's end is a wait for them. How much of it was for which operation's work is in
proportion to the waits that these ended, which `Waits` sums up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.explain_text import ADVICE
from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.timing.result import OVERLAP, USEFUL, EntryTiming, apportion

Ints = NDArray[np.int64]

#: What a path's cause is called where a reader looks for what to change.
LABELS: Final = {
    "drain": "fill/drain",
    "weight load": "weight load exposed",
    "dma start": "DMA start",
    "unit start": "unit start",
    "hbm": "HBM queue",
    "noc": "link shared",
    "csram": "CSRAM shared",
    "tsram banks": "bank conflict",
    "latency": "requests under way",
    "semaphore": "semaphore",
    "signal": "signal on its way",
    "issue": "issue",
    "control": "control",
    "queue full": "queue full",
    "scalar load": "scalar load",
    OVERLAP: OVERLAP,
}
WAIT: Final = "wait"
BEYOND: Final = "work beyond the bound"
_UNIT_OF: Final = {"array": "mxu", "vector": "vpu", "moving data": "dma"}
_ADVISED: Final = 3  #: causes of an operation that advice is given for


class Waits:
    """Sums waits that a signal ended: by who waited, operation and unit, and who signalled."""

    def __init__(self) -> None:
        self.cycles: Counter[tuple[int, str, int, str]] = Counter()

    def begin(self, base: int) -> None:
        """An entry begins."""

    def slices(self, rows: Ints, keys: Ints) -> None:
        """Some of its slices."""
        ended = rows[(rows[:, cut.S_KIND] == cut.WAIT) & (rows[:, cut.S_FROM] >= 0)]
        sender = ended[:, cut.S_FROM]
        waiting, sending = keys[ended[:, cut.S_ROW], 0], keys[sender // cut.SENDERS, 0]
        both = [waiting, _kind(ended[:, cut.S_UNIT]), sending, _kind(sender % cut.SENDERS)]
        found, index = np.unique(np.stack(both, axis=1), axis=0, return_inverse=True)
        length = np.zeros(len(found), np.int64)
        np.add.at(length, index.reshape(-1), ended[:, cut.S_END] - ended[:, cut.S_BEGIN])
        for (waits, unit, sends, by), cycles in zip(found.tolist(), length.tolist(), strict=True):
            self.cycles[waits, at.KINDS[unit], sends, at.KINDS[by]] += cycles

    def meters(self, window: int, moved: Ints) -> None:
        """Bytes explain nothing here."""

    def end(self, name: str, cycles: int) -> None:
        """The entry is over."""

    def of(self, info: ProgramInfo, operation: str) -> list[dict[str, Any]]:
        """The waits of an operation's units, the longest first: `unit` waited for `on`."""
        found: Counter[tuple[str, str, str]] = Counter()
        for (waits, unit, sends, by), cycles in self.cycles.items():
            if cycles and info.op_name(waits) == operation:
                found[unit, by, info.op_name(sends)] += cycles
        keys = ("unit", "on", "operation", "cycles")
        return [dict(zip(keys, (*key, n), strict=True)) for key, n in found.most_common()]


def _kind(units: Ints) -> Ints:
    """Index of each unit's kind."""
    return np.minimum(units % at.UNITS, len(at.KINDS) - 1)


@dataclass
class _Operation:
    """Sums over the rows of an operation, in cycles."""

    times: int = 0
    exclusive: int = 0
    simulated: int = 0
    bounds: Counter[str] = field(default_factory=Counter)  #: of each row its largest
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)  #: by label and unit


class Explained:
    """The operations of a group of steps."""

    def __init__(self, info: ProgramInfo) -> None:
        self.info = info
        self.steps = self.cycles = self.rest = 0
        self._operations: dict[str, _Operation] = {}

    def add(self, found: EntryTiming) -> None:
        """Add one entry."""
        self.steps += 1
        self.cycles += found.cycles
        self.rest += found.rest
        for row, (op, _) in enumerate(found.keys):
            if found.first[row] < 0 and not found.exclusive[row]:
                continue
            operation = self._operations.setdefault(self.info.op_name(int(op)), _Operation())
            bound, gap, causes = found.reasons(row)
            operation.times += 1
            operation.exclusive += int(found.exclusive[row])
            operation.simulated += int(found.spans[row])
            operation.bounds[bound] += int(found.spans[row]) - gap
            for cause, cycles in causes.items():
                operation.causes[_labelled(cause, bound)] += cycles

    def result(self, waits: Waits) -> dict[str, Any]:
        """What the JSON result has of the group; the operation with the largest loss first."""
        shown = [self._shown(name, op, waits) for name, op in self._operations.items()]
        shown.sort(key=lambda op: (-op["loss"], op["name"]))
        return {
            "steps": self.steps,
            "cycles": self.cycles,
            "rest": self.rest,
            "operations": shown,
        }

    def _shown(self, name: str, operation: _Operation, waits: Waits) -> dict[str, Any]:
        causes: list[dict[str, Any]] = []
        waited = waits.of(self.info, name)
        for (label, unit), cycles in operation.causes.items():
            whom = Counter[str]()
            for wait in waited:
                if label == WAIT and wait["on"] == unit:
                    whom[wait["operation"]] += wait["cycles"]
            parts: dict[str, int] = apportion(cycles, whom) if whom else {"": cycles}
            causes += [
                {"cause": label, "cycles": part, "unit": unit or None, "operation": whose or None}
                for whose, part in parts.items()
            ]
        causes.sort(key=lambda cause: -cause["cycles"])
        gap = sum(cause["cycles"] for cause in causes)
        bound = operation.bounds.total()
        free = operation.causes[OVERLAP, ""]
        return {
            "name": name,
            "times": operation.times,
            "share": operation.exclusive / max(self.cycles, 1),
            "exclusive": operation.exclusive,
            "simulated": operation.simulated,
            "bound": max(operation.bounds, key=lambda kind: operation.bounds[kind])
            if bound
            else None,
            "bound_cycles": bound,
            "gap": gap,
            "loss": gap - free,
            "causes": causes,
            "waits": waited,
            "advice": _advice(causes),
        }


def _labelled(cause: str, bound: str) -> tuple[str, str]:
    """A path's cause as a reader finds it, and the unit that was waited for."""
    if cause in LABELS:
        return LABELS[cause], ""
    unit = _UNIT_OF.get(cause)
    if unit is None:
        return cause, ""
    return (BEYOND, unit) if cause in USEFUL[bound] else (WAIT, unit)


def _advice(causes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What would move the largest causes."""
    labels = list(dict.fromkeys(cause["cause"] for cause in causes if cause["cause"] in ADVICE))
    return [{"cause": label, "text": ADVICE[label]} for label in labels[:_ADVISED]]
