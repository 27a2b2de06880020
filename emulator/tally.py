"""Sums of entries' timings, operation by operation; what the report and the JSON result show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import CLASS_NAMES, ProgramInfo
from emulator.accounting_columns import HBM_COLUMNS, MAC_COLUMNS, ROW_COLUMNS
from emulator.timing import layout as at
from emulator.timing.result import BOUNDS, EntryTiming
from isa.chip import Chip

Ints = NDArray[np.int64]

#: Units as the report groups them: a tile's DMA channels are one line.
UNIT_GROUPS = {"ctl": slice(0, 1), "mxu": slice(1, 2), "vpu": slice(2, 3), "dma": slice(3, None)}


@dataclass
class Operation:
    """An operation's sums over contexts (layers) and steps, in cycles."""

    times: int = 0
    span: int = 0  #: first instruction to last, prefetch included
    exclusive: int = 0  #: by how much it moved the end of its step
    bounds: Ints = field(default_factory=lambda: np.zeros(len(BOUNDS), np.int64))
    gap: int = 0  #: span beyond the largest bound, row by row
    causes: dict[str, int] = field(default_factory=dict)
    macs: int = 0

    def take(self, other: Operation) -> None:
        """Add another's sums."""
        self.times += other.times
        self.span += other.span
        self.exclusive += other.exclusive
        self.bounds = self.bounds + other.bounds
        self.gap += other.gap
        self.macs += other.macs
        for name, cycles in other.causes.items():
            self.causes[name] = self.causes.get(name, 0) + cycles


class Tally:
    """Sums over steps."""

    def __init__(self, chip: Chip, info: ProgramInfo) -> None:
        self.chip, self.info = chip, info
        self.steps = 0
        self.cycles = 0
        self.rest = 0
        self.by_op: dict[str, Operation] = {}
        self._units = np.zeros((at.UNITS, len(at.CAUSES)), np.int64)
        self._hbm = np.zeros((len(CLASS_NAMES), len(HBM_COLUMNS)), np.int64)
        self._rows = np.zeros(len(ROW_COLUMNS), np.int64)
        self._bounds = np.zeros(len(BOUNDS), np.int64)
        self._critical = 0

    def add(self, found: EntryTiming) -> None:
        """Add one entry."""
        self.steps += 1
        self.cycles += found.cycles
        self.rest += found.rest
        self._critical += found.critical_cycles
        self._units += found.units.sum(axis=0)
        self._hbm += found.traffic.hbm
        self._rows += found.traffic.rows.sum(axis=0)
        self._bounds += found.bounds.sum(axis=0)
        macs = found.traffic.row("macs").tolist()
        spans, exclusive = found.spans.tolist(), found.exclusive.tolist()
        seen = (found.first >= 0).tolist()
        reasons = _Reasons(found)
        for row, op in enumerate(found.keys[:, 0].tolist()):
            if not seen[row] and not exclusive[row]:
                continue
            name = self.info.op_name(op)
            operation = self.by_op.get(name)
            if operation is None:
                operation = self.by_op[name] = Operation()
            gap, causes = reasons.of(row)
            operation.take(
                Operation(1, spans[row], exclusive[row], found.bounds[row], gap, causes, macs[row])
            )

    def merged(self, other: Tally) -> Tally:
        """A new tally with the sums of both."""
        both = Tally(self.chip, self.info)
        for tally in (self, other):
            both.steps += tally.steps
            both.cycles += tally.cycles
            both.rest += tally.rest
            both._critical += tally._critical
            both._units += tally._units
            both._hbm += tally._hbm
            both._rows += tally._rows
            both._bounds += tally._bounds
            for name, operation in tally.by_op.items():
                both.by_op.setdefault(name, Operation()).take(operation)
        return both

    # -- what is shown -----------------------------------------------------------------------------

    def row_total(self, name: str) -> int:
        """A sum over all operations, by the accounting's name."""
        return int(self._rows[ROW_COLUMNS.index(name)])

    def traffic(self) -> dict[str, Any]:
        """Bytes by space; of HBM by class too, useful and padded to bursts."""
        hbm: dict[str, Any] = {
            name.replace(" ", "_"): int(self._hbm[:, column].sum())
            for column, name in enumerate(HBM_COLUMNS)
        }
        hbm["classes"] = {
            kind: {name.replace(" ", "_"): int(v) for name, v in zip(HBM_COLUMNS, row, strict=True)}
            for kind, row in zip(CLASS_NAMES, self._hbm, strict=True)
            if row.any()
        }
        return {
            "hbm": hbm,
            "csram": {"bytes": self.row_total("csram")},
            "tsram": {"bytes": self.row_total("tsram")},
            "acc": {"bytes": self.row_total("acc")},
            "noc": {"bytes": self.row_total("noc"), "byte_hops": self.row_total("noc byte hops")},
        }

    def work(self) -> dict[str, Any]:
        """What these steps did: what energy is spent on (docs/economics.md)."""
        macs = {name.removeprefix("macs "): self.row_total(name) for name in MAC_COLUMNS}
        return {
            "steps": self.steps,
            "cycles": self.cycles,
            "macs": {pair: count for pair, count in macs.items() if count},
            "vector_elements": self.row_total("elements"),
            "instructions": self.row_total("instructions"),
            "traffic": self.traffic(),
        }

    def units(self) -> dict[str, dict[str, float]]:
        """Shares of time by cause, of each kind of unit over all tiles and steps; sum to 1."""
        return {name: _shares(self._units[part].sum(axis=0)) for name, part in UNIT_GROUPS.items()}

    def bounds(self) -> dict[str, Any]:
        """Cycles no schedule can beat, summed over operations, and the ratio to what was taken."""
        most = int(self._bounds.max(initial=0))
        return {
            "steps": self.steps,
            "cycles": self.cycles,
            "critical_path": self._critical,
            **{name: int(value) for name, value in zip(BOUNDS, self._bounds, strict=True)},
            "largest": BOUNDS[int(np.argmax(self._bounds))],
            "cycles_over_largest": self.cycles / most if most else None,
            "macs": self.row_total("macs"),
            "array_utilisation": int(self._bounds[0]) / self.cycles if self.cycles else 0.0,
        }

    def operations(self) -> list[dict[str, Any]]:
        """One entry per operation, in the order of first appearance; cycles are sums."""
        found = [_shown(name, op) for name, op in self.by_op.items()]
        if self.rest:
            rest = Operation(times=self.steps, span=self.rest, exclusive=self.rest)
            found.append(_shown("(control at end)", rest))
        return found


class _Reasons:
    """Gaps and causes of an entry's rows; those of rows that are alike are found once.

    Most are: a layer that stands for others (unfold.py) has its rows as often as it has copies.
    """

    def __init__(self, found: EntryTiming) -> None:
        self._found = found
        facts = (found.spans[:, None], found.exclusive[:, None], found.bounds)
        table = np.concatenate([*facts, found.exclusive_causes], axis=1)
        self._keys = [line.tobytes() for line in table]
        self._known: dict[bytes, tuple[int, dict[str, int]]] = {}

    def of(self, row: int) -> tuple[int, dict[str, int]]:
        """Gap and causes of a row."""
        key = self._keys[row]
        if key not in self._known:
            _, gap, causes = self._found.reasons(row)
            self._known[key] = gap, causes
        return self._known[key]


def _shown(name: str, op: Operation) -> dict[str, Any]:
    limit = int(np.argmax(op.bounds))
    return {
        "name": name,
        "times": op.times,
        "span": op.span,
        "exclusive": op.exclusive,
        "bounds": {kind: int(v) for kind, v in zip(BOUNDS, op.bounds, strict=True) if v},
        "bound": BOUNDS[limit] if op.bounds[limit] else None,
        "gap": op.gap,
        "causes": dict(sorted(op.causes.items(), key=lambda item: -item[1])),
        "macs": op.macs,
    }


def _shares(cycles: Ints) -> dict[str, float]:
    total = int(cycles.sum())
    if total == 0:
        return {}
    return {name: int(v) / total for name, v in zip(at.CAUSES, cycles, strict=False) if v}
