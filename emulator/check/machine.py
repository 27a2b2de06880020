"""A machine that is checked while it runs: what `emu run --check` uses.

machine = CheckedMachine(FastMachine(program, chip, log_accesses=True))
Decoder(machine); ...                       # anything that takes a machine
machine.findings(); machine.result()
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.check import layout as at
from emulator.check.balance import entries_with_credits, unbalanced
from emulator.check.checker import Checker
from emulator.check.deadlock import explain_deadlock
from emulator.check.findings import MOST, Finding, memory_findings
from emulator.errors import ProgramFault
from emulator.fast.machine import FastMachine, Sink
from isa.faults import NUM_UNITS


class CheckedMachine:
    """A fast executor with its checker; see `emulator.decoder.Machine`."""

    def __init__(self, machine: FastMachine) -> None:
        """`machine` logs its accesses. Raises ProgramError for bad metadata."""
        assert machine.access_log is not None
        self.machine, self.program = machine, machine.program
        self.checker = Checker(machine.program, machine.chip)
        self.executor_seconds = 0.0  #: in entries, without the sink
        self.seconds = 0.0  #: of checking
        self._log = machine.access_log
        self._credits = entries_with_credits(machine.program)
        self._others: dict[tuple[str, str], Finding] = {}

    # ---- a machine

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a symbol."""
        self.machine.write(name, array)
        symbol = self.program.symbol(name)
        self.checker.shadows.host_writes(symbol.address, symbol.size)

    def read(self, name: str) -> NDArray[Any]:
        """Read a symbol."""
        return self.machine.read(name)

    def ring(self, entry: str, arguments: Sequence[int] = (), sink: Sink | None = None) -> None:
        """Run an entry and check it, whatever comes of it."""
        elsewhere = 0.0

        def feed(chunk: NDArray[np.int64]) -> None:
            nonlocal elsewhere
            start = time.perf_counter()
            self.checker.feed(chunk)
            if sink is not None:
                sink(chunk)
            elsewhere += time.perf_counter() - start

        self.checker.begin()
        start = time.perf_counter()
        try:
            self.machine.ring(entry, arguments, feed)
            fault = None
        except ProgramFault as error:
            fault = error
        self.executor_seconds += time.perf_counter() - start - elsewhere
        self._check(entry, fault)
        if fault is not None:
            raise fault

    def _check(self, entry: str, fault: ProgramFault | None) -> None:
        start = time.perf_counter()
        checker = self.checker
        checker.end(self._log, fault is not None)
        if fault is not None:
            last = _last(checker.stored)
            self._add(explain_deadlock(self.program, self.machine, fault.reports, last))
        elif entry not in self._credits:
            self._add(unbalanced(entry, checker.semaphores, checker.stored, self.program))
        self.seconds += time.perf_counter() - start

    def _add(self, findings: list[Finding]) -> None:
        for finding in findings:
            known = self._others.setdefault((finding.kind, finding.title), finding)
            known.times += finding.times if known is not finding else 0

    # ---- results

    def findings(self) -> list[Finding]:
        """What was found so far."""
        memory = memory_findings(self.checker.rows(), self.program)
        return [*self._others.values(), *memory]

    def result(self) -> dict[str, Any]:
        """The member `check` of the JSON result (docs/report.md)."""
        work = self.checker.work
        return {
            "findings": [finding.json(self.program) for finding in self.findings()],
            "lost": self.checker.lost,
            "entries": work.entries,
            "instructions": work.instructions,
            "accesses": work.accesses,
            "waits": work.waits,
            "seconds": {"executor": self.executor_seconds, "checking": self.seconds},
        }

    def text(self) -> str:
        """The findings, or that there are none, as lines for people."""
        findings = self.findings()
        lines = []
        for finding in findings[:MOST]:
            first, *rest = finding.lines(self.program)
            lines += [f"emu: check: {first}", *rest]
        if len(findings) > MOST:
            lines.append(f"emu: check: and {len(findings) - MOST + self.checker.lost} more")
        return "\n".join([*lines, f"emu: check: {self._summary(len(findings))}"])

    def _summary(self, count: int) -> str:
        work = self.checker.work
        found = f"{count} finding{'s' if count != 1 else ''}" if count else "no findings"
        return (
            f"{found}; {work.instructions:,} instructions, {work.accesses:,} of them accesses, "
            f"{work.waits:,} waits, in {work.entries:,} entries; "
            f"executor {self.executor_seconds:.2f} s, checking {self.seconds:.2f} s"
        )


def _last(events: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """The pc of the instruction that each unit did last."""
    low = 0xFFFFFFFF
    pairs = np.stack([events[:, at.E_HEAD] & low, events[:, at.E_PC] & low], axis=1).tolist()
    return {divmod(thread, NUM_UNITS): pc for thread, pc in pairs}
