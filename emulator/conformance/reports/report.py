"""What there is to say about a run, for every kind of report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from emulator.conformance.case import PROFILES
from emulator.conformance.entry import Entry
from emulator.conformance.judge import Status, Verdict
from emulator.conformance.running.runner import Run


@dataclass(frozen=True)
class Report:
    """A run of some cases of a kit on a device."""

    device: str
    facts: dict[str, Any]  # of the kit: its manifest without the cases
    entries: tuple[Entry, ...]  # all that was asked for
    run: Run

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By name; an interrupted run has none for some cases."""
        return self.run.verdicts

    @property
    def profiles(self) -> list[str]:
        """Those of the cases, in the usual order."""
        there = {entry.profile for entry in self.entries}
        return [profile for profile in PROFILES if profile in there] + sorted(there - {*PROFILES})

    def counts(self, profile: str | None = None) -> Counter[Status]:
        """How many cases ended how."""
        return Counter(
            self.verdicts[entry.name].status
            for entry in self.entries
            if profile in (None, entry.profile) and entry.name in self.verdicts
        )

    def asked(self, profile: str | None = None) -> int:
        """How many cases were asked for."""
        return sum(profile in (None, entry.profile) for entry in self.entries)

    def of(self, *statuses: Status) -> list[Verdict]:
        """The verdicts of some kinds."""
        return [verdict for verdict in self.verdicts.values() if verdict.status in statuses]

    def failures(self) -> list[Verdict]:
        """Whatever is wrong."""
        return self.of(Status.FAIL, Status.CRASHED, Status.TIMED_OUT)

    def passes(self, allow_unsupported: bool) -> bool:
        """Whether the device may say that it conforms, as far as it was asked."""
        fine = {Status.PASS, Status.UNSUPPORTED} if allow_unsupported else {Status.PASS}
        counts = self.counts()
        return sum(counts[status] for status in fine) == len(self.entries)

    def kit_line(self) -> str:
        """Which kit it was."""
        isa, chip = self.facts.get("isa", {}), self.facts.get("chip", {})
        version = ".".join(map(str, isa.get("version", "?")))
        return f"kit {self.facts.get('kit', '?')}, ISA {version}, chip {chip.get('name', '?')}"
