"""Who moves next: control processors issue, units serve their queues, until nothing moves.

Source: docs/isa/machine.md (issue, execution, end, faults).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

# Importing a module of semantics registers its instructions.
from emulator.reference import dma, mxu, scalars, semaphores, vector, vector_rows
from emulator.reference.check import resolve
from emulator.reference.faults import ArchitectedFault, require
from emulator.reference.registry import CONTROL, SYNC, TENSOR
from emulator.reference.state import Op, Tile
from isa.codec import Decoded, IllegalInstruction, decode
from isa.faults import CTL, DMA0, NUM_UNITS, Fault, FaultReport

if TYPE_CHECKING:
    from emulator.reference.machine import ReferenceMachine

SEMANTICS: Final = (dma, mxu, scalars, semaphores, vector, vector_rows)
_BURST: Final = 1000  # instructions of one unit before others have their turn


class Scheduler:
    """Runs the tiles of a machine; in a random order if there is a seed."""

    def __init__(self, machine: ReferenceMachine, seed: int | None) -> None:
        self._machine = machine
        self._random = None if seed is None else random.Random(seed)
        self._decoded: dict[int, Decoded | IllegalInstruction] = {}
        self._faults: list[FaultReport] = []

    def run(self) -> list[FaultReport]:
        """Run to quiescence; the faults, or none if the entry completed."""
        self._faults = []
        while self._turn():
            pass
        return self._faults or list(self._deadlocks())

    def _turn(self) -> bool:
        """Let every control processor and unit do what it can; whether anything moved."""
        actors = [(tile, unit) for tile in self._machine.tiles for unit in range(NUM_UNITS)]
        limits = [_BURST] * len(actors)
        if self._random is not None:
            self._random.shuffle(actors)
            limits = self._random.choices((1, 2, 5, 40), k=len(actors))
        moved = False
        for (tile, unit), limit in zip(actors, limits, strict=True):
            moved |= self._burst(tile, unit, limit)
        return moved

    def _burst(self, tile: Tile, unit: int, limit: int) -> bool:
        """Up to `limit` instructions of one unit; whether there was any."""
        for done in range(limit):
            if not (self._step_control(tile) if unit == CTL else self._step_unit(tile, unit)):
                return done > 0
        return True

    # ---- the control processor

    def _step_control(self, tile: Tile) -> bool:
        """One instruction of the control processor, or False if it cannot move."""
        control = tile.control
        if control.halted or control.stopped:
            return False
        try:
            op = tile.capture(self._fetch(control.pc))
            control.next_pc = control.pc + 1
            if not self._act(tile, op):
                return False
        except ArchitectedFault as fault:
            control.stopped = True
            self._report(tile, CTL, control.pc, fault)
            return True
        control.advance()
        return True

    def _fetch(self, pc: int) -> Decoded:
        code = self._machine.program.code
        require(0 <= pc < len(code), Fault.BAD_PC, f"{pc} of {len(code)}")
        if pc not in self._decoded:
            try:
                self._decoded[pc] = decode(int(code[pc, 0]), int(code[pc, 1]))
            except IllegalInstruction as error:
                self._decoded[pc] = error
        decoded = self._decoded[pc]
        if isinstance(decoded, IllegalInstruction):
            raise ArchitectedFault(Fault.ILLEGAL_INSTRUCTION, str(decoded))
        return decoded

    def _act(self, tile: Tile, op: Op) -> bool:
        """Carry out a control instruction, or queue another's; False if it must wait."""
        name = op.entry.mnemonic
        if op.unit != CTL:
            return self._issue(tile, op)
        if name in SYNC:
            if not SYNC[name](tile, op):
                return False
            self._machine.retire(tile.number(op), None)
        elif name in ("ld", "halt"):
            CONTROL[name](tile, tile.number(op))
        else:
            tile.control.gap_scalars += 1
            CONTROL[name](tile, op)
        return True

    def _issue(self, tile: Tile, op: Op) -> bool:
        """Append to the unit's queue unless it is full."""
        channels = self._machine.chip.tile.dma.channels
        require(op.unit < DMA0 + channels, Fault.ILLEGAL_INSTRUCTION, f"{channels} DMA channels")
        queue = tile.units[op.unit].queue
        if len(queue) >= self._machine.chip.tile.queue_depth:
            return False
        queue.append(tile.number(op))
        return True

    # ---- the other units

    def _step_unit(self, tile: Tile, unit: int) -> bool:
        """The instruction at the head of a unit's queue, or False if it cannot move."""
        state = tile.units[unit]
        if state.stopped or not state.queue:
            return False
        op = state.queue[0]
        try:
            if not self._execute(tile, op):
                return False
        except ArchitectedFault as fault:
            state.stopped = True
            self._report(tile, unit, op.pc, fault)
        state.queue.popleft()
        return True

    def _execute(self, tile: Tile, op: Op) -> bool:
        """Carry out a unit's instruction; False if it must wait."""
        name = op.entry.mnemonic
        if name in SYNC:
            done = SYNC[name](tile, op)
            if done:
                self._machine.retire(op, None)
            return done
        run = resolve(tile, op, TENSOR[name])
        if run.acts(TENSOR[name].rules):
            TENSOR[name].run(run)
        self._machine.retire(op, run)
        return True

    # ---- faults

    def _report(self, tile: Tile, unit: int, pc: int, fault: ArchitectedFault) -> None:
        self._faults.append(FaultReport(tile.index, unit, pc, fault.fault, fault.detail))

    def _deadlocks(self) -> Iterator[FaultReport]:
        """A report for everything that has work left although nothing can move."""
        for tile in self._machine.tiles:
            if not tile.control.halted:
                yield FaultReport(tile.index, CTL, tile.control.pc, Fault.DEADLOCK)
            for number, unit in enumerate(tile.units):
                if unit.queue:
                    yield FaultReport(tile.index, number, unit.queue[0].pc, Fault.DEADLOCK)
