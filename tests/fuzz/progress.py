"""How far a run is, as one line that changes, and what came of it, as a table."""

from __future__ import annotations

import sys
import time
from collections import Counter

from fuzz.journal import Batch, Journal
from fuzz.kinds import KINDS, Kind

_EVERY = 0.5  # seconds between two lines on a terminal
_SELDOM = 30.0  # and elsewhere
_TELLING = 5.0  # seconds of processor time that tell how busy the machine is


class Progress:
    """What of the wanted items is done, and the time the rest will take."""

    def __init__(self, wanted: dict[str, int], journal: Journal, processes: int) -> None:
        self._wanted = wanted
        self._journal = journal
        self._processes = processes
        self._start = time.monotonic()
        self._before = self._seconds()
        self._terminal = sys.stderr.isatty()
        self._next = 0.0

    def tick(self) -> None:
        """Show the line if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_EVERY if self._terminal else _SELDOM)
        text = self.line()
        print(f"\r\033[K{text}" if self._terminal else text, end="" if self._terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """Time gone and left, items done, findings."""
        done = self._done()
        kinds = [KINDS[name] for name in self._wanted]
        counts = []
        for what, of_kind in (("programs", True), ("inputs", False)):
            chosen = [k for k in kinds if k.programs is of_kind]
            have = sum(min(done[k.name].count, self._wanted[k.name]) * k.weight for k in chosen)
            total = sum(self._wanted[k.name] * k.weight for k in chosen)
            if total:
                counts.append(f"{have:,}/{total:,} {what}")
        findings = sum(len(batch.findings) for batch in done.values())
        gone = time.monotonic() - self._start
        return (
            f"{_clock(gone)} gone, {_clock(self._left(done))} left: "
            f"{', '.join(counts)}, {findings} findings"
        )

    def _done(self) -> dict[str, Batch]:
        """Each kind's finished batches added up, but for what they met."""
        sums = {name: Batch(name, 0, 0) for name in self._wanted}
        for batch in self._journal.batches.values():
            if batch.kind in sums:
                _add(sums[batch.kind], batch)
        return sums

    def _left(self, done: dict[str, Batch]) -> float:
        """Seconds, from what an item of each kind has taken so far."""
        seconds = 0.0
        for name, count in self._wanted.items():
            batch = done[name]
            each = KINDS[name].milliseconds / 1000
            if batch.count:
                each = batch.seconds / batch.count
            seconds += max(count - batch.count, 0) * each
        return seconds / self._processes * self._slowness()

    def _slowness(self) -> float:
        """Time gone for each second of processor time: more than 1 on a busy machine."""
        spent = self._seconds() - self._before
        gone = time.monotonic() - self._start
        return max(gone * self._processes / spent, 1.0) if spent > _TELLING else 1.0

    def _seconds(self) -> float:
        return sum(b.seconds for b in self._journal.batches.values() if b.kind in self._wanted)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def totals(journal: Journal) -> dict[str, Batch]:
    """All batches of each kind as one."""
    sums: dict[str, Batch] = {}
    for batch in journal.batches.values():
        total = sums.setdefault(batch.kind, Batch(batch.kind, 0, 0))
        _add(total, batch)
        total.met = dict(Counter(total.met) + Counter(batch.met))
    return sums


def _add(total: Batch, batch: Batch) -> None:
    total.count += batch.count
    total.seconds += batch.seconds
    total.findings = total.findings + batch.findings


def table(journal: Journal) -> str:
    """Counts of every kind that was checked, and all findings."""
    sums = totals(journal)
    kinds = sorted((KINDS[name] for name in sums), key=lambda kind: not kind.programs)
    rows = [_row(kind, sums[kind.name]) for kind in kinds]
    heads = ("kind", "number", "outcome", "findings", "ms each")
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip()
             for r in [heads, *rows]]  # fmt: skip
    for what, of_kind in (("random programs", True), ("mutated inputs", False)):
        chosen = [k for k in KINDS.values() if k.name in sums and k.programs is of_kind]
        if chosen:
            lines.append(f"{sum(sums[k.name].count * k.weight for k in chosen):,} {what}")
    findings = [finding for batch in sums.values() for finding in batch.findings]
    lines.append(f"{len(findings)} findings")
    lines += [f"  --one {f.kind} {f.seed}: {f.what}" for f in findings]
    return "\n".join(lines)


def _row(kind: Kind, total: Batch) -> tuple[str, ...]:
    met = {k: n for k, n in total.met.items() if not k.startswith("op ")}
    outcome = ", ".join(f"{n:,} {name}" for name, n in sorted(met.items()))
    findings = len(total.findings) + total.met.get("more findings", 0)
    each = 1000 * total.seconds / max(total.count * kind.weight, 1)
    number = f"{total.count * kind.weight:,}"
    return kind.name, number, outcome, str(findings), f"{each:.2f}"
