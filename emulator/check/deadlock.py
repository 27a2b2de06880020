"""Who waits for whom when nothing can move: deadlock faults explained.

explain_deadlock(program, machine, fault.reports, last)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emulator.check.findings import DEADLOCK, Finding, Site, instruction
from emulator.fast.machine import FastMachine
from isa.codec import decode_program
from isa.faults import CTL, Fault, FaultReport, unit_name
from isa.program import Program
from isa.spec import BY_MNEMONIC
from isa.spec.sync import SCOPES

Actor = tuple[int, int]  # tile, unit
_MOST_SIGNALS = 4  # that a finding names
_SIGNAL, _SELF, _CLUSTER = BY_MNEMONIC["signal"].opcode, SCOPES["self"], SCOPES["cluster"]


@dataclass(frozen=True)
class _Stuck:
    """A unit that cannot go on: it waits for a semaphore, or for room in another unit's queue."""

    actor: Actor
    pc: int
    semaphore: int = -1
    need: int = 0
    have: int = 0
    full: int = -1

    @property
    def wants(self) -> str:
        """What it waits for, in a sentence."""
        if self.full >= 0:
            return f"room in the queue of {unit_name(self.full)}"
        return f"s{self.semaphore}"


def explain_deadlock(
    program: Program, machine: FastMachine, reports: list[FaultReport], last: dict[Actor, int]
) -> list[Finding]:
    """A finding for each instruction at which units are stuck, the first tile's as the example.

    `last` has the pc of the instruction that each unit did last.
    """
    return _Explanation(program, machine, reports, last).findings()


class _Explanation:
    def __init__(
        self,
        program: Program,
        machine: FastMachine,
        reports: list[FaultReport],
        last: dict[Actor, int],
    ) -> None:
        self.program, self.machine, self.last = program, machine, last
        self.code = decode_program(program.code)
        deadlocks = [report for report in reports if report.fault is Fault.DEADLOCK]
        self.stuck = {(r.tile, r.unit): self._stuck(r) for r in deadlocks}

    def findings(self) -> list[Finding]:
        found: dict[tuple[int, int], Finding] = {}
        for stuck in self.stuck.values():
            key = (stuck.actor[1], stuck.pc)
            if key in found:
                found[key].times += 1
            else:
                site = Site(*stuck.actor, stuck.pc, "waits")
                title = self._title(stuck)
                found[key] = Finding(DEADLOCK, title, (site,), details=list(self._details(stuck)))
        return list(found.values())

    def _stuck(self, report: FaultReport) -> _Stuck:
        """What a unit is stuck at: what is in a queue can only be a wait."""
        tile, unit, line = report.tile, report.unit, self.code[report.pc]
        if unit == CTL and line["exec_unit"] != CTL:
            return _Stuck((tile, unit), report.pc, full=int(line["exec_unit"]))
        if unit == CTL:
            need = int(self.machine.registers[tile, line["rb"]] + line["imm"])
        else:
            _, need = self.machine.queue_head(tile, unit)
        number = int(line["sem"])
        have = int(self.machine.semaphores[tile, number])
        return _Stuck((tile, unit), report.pc, number, need, have)

    # ---- who could help

    def _signals(self, stuck: _Stuck) -> list[int]:
        """The pcs that signal what is waited for."""
        code = self.code
        found = (code["op"] == _SIGNAL) & (code["sem"] == stuck.semaphore) & (code["illegal"] == 0)
        return [int(pc) for pc in np.flatnonzero(found)]

    def _senders(self, stuck: _Stuck, pc: int) -> Iterator[Actor]:
        """The units that a signal could come from: the own tile's first."""
        line, (tile, _) = self.code[pc], stuck.actor
        unit, chip = int(line["exec_unit"]), self.machine.chip
        yield tile, unit
        if line["scope"] != _SELF:
            tiles = range(chip.num_tiles)
            if line["scope"] == _CLUSTER:
                first = tile // chip.tiles_per_cluster * chip.tiles_per_cluster
                tiles = range(first, first + chip.tiles_per_cluster)
            yield from ((other, unit) for other in tiles if other != tile)

    def _blocks(self, stuck: _Stuck) -> Iterator[Actor]:
        """Stuck units that would have to go on first."""
        tile, _ = stuck.actor
        if stuck.full >= 0:
            yield tile, stuck.full
            return
        for pc in self._signals(stuck):
            for sender in self._senders(stuck, pc):
                if sender in self.stuck:
                    yield sender
                elif (sender[0], CTL) in self.stuck:
                    yield sender[0], CTL  # which would have to issue it

    def _way(self, start: Actor) -> tuple[list[Actor], bool]:
        """From a stuck unit to those it waits for: up to one that is on the way already (True),
        else, if there is no circle, the longest way that was found to one nobody is stuck before.
        """
        ways, seen, longest = deque([[start]]), {start}, [start]
        while ways:
            way = ways.popleft()
            longest = max(longest, way, key=len)
            following = dict.fromkeys(self._blocks(self.stuck[way[-1]]))
            if len(following) > 1:  # that it would help itself as well explains nothing
                following.pop(way[-1], None)
            for actor in following:
                if actor in way:
                    return [*way, actor], True
                if actor not in seen:
                    seen.add(actor)
                    ways.append([*way, actor])
        return longest, False

    # ---- words

    def _title(self, stuck: _Stuck) -> str:
        way, circle = self._way(stuck.actor)
        text = f"{_name(stuck.actor)} waits for {stuck.wants}"
        for actor in way[1:-1] if circle else way[1:]:
            text += f" from {_name(actor)}, which waits for {self.stuck[actor].wants}"
        if circle:
            return f"{text} from {_name(way[-1])}"
        if self._signals(self.stuck[way[-1]]):
            return f"{text}, which is not signalled any more"
        return f"{text}, which no instruction signals"

    def _details(self, stuck: _Stuck) -> Iterator[str]:
        text = f"{_name(stuck.actor)}, pc {stuck.pc}: {instruction(self.program, stuck.pc)}"
        if stuck.full < 0:
            text += f"; s{stuck.semaphore} is {stuck.have}, it takes {stuck.need}"
        yield text
        if stuck.actor in self.last:
            pc = self.last[stuck.actor]
            yield f"since pc {pc}: {instruction(self.program, pc)}, the last thing it did"
        else:
            yield "since the start: it has done nothing"
        if stuck.full >= 0:
            return
        signals = self._signals(stuck)
        for pc in signals[:_MOST_SIGNALS]:
            yield from self._help(stuck, pc)
        if len(signals) > _MOST_SIGNALS:
            yield f"and {len(signals) - _MOST_SIGNALS} more signals"

    def _help(self, stuck: _Stuck, pc: int) -> Iterator[str]:
        """What became of those who could have sent a signal: the first one that is stuck."""
        senders = list(self._senders(stuck, pc))
        sender = next((s for s in senders if s in self.stuck), senders[0])
        text = f"{_name(sender)} could signal it at pc {pc}: {instruction(self.program, pc)}"
        control = (sender[0], CTL)
        if sender in self.stuck:
            there = self.stuck[sender]
            yield f"{text}; it waits for {there.wants} at pc {there.pc}"
        elif control in self.stuck:
            there = self.stuck[control]
            yield f"{text}; its control processor waits for {there.wants} at pc {there.pc}"
        else:
            yield f"{text}; it has done all that it was given"


def _name(actor: Actor) -> str:
    return f"tile {actor[0]} {unit_name(actor[1])}"
