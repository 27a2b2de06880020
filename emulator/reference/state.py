"""The state of the machine: tiles, their control processors, units and semaphores.

Source: docs/isa/machine.md. Memories are in emulator/memory.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isa.codec import Decoded
from isa.descriptor import WORDS
from isa.faults import NUM_UNITS
from isa.spec.model import (
    NO_DESCRIPTOR,
    NUM_DESCRIPTORS,
    NUM_SCALARS,
    NUM_SEMAPHORES,
    Instruction,
    Kind,
)

if TYPE_CHECKING:
    from emulator.reference.machine import ReferenceMachine

Words = npt.NDArray[np.int64]


def wrap(value: int, bits: int = 64) -> int:
    """value as a two's complement integer of so many bits."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


@dataclass(frozen=True)
class Op:
    """One instruction with everything it needs, captured when it was issued."""

    tile: int
    unit: int
    pc: int
    decoded: Decoded
    a: int  # value of ra
    b: int  # rb + immediate; 0 if the instruction has none
    descriptors: dict[str, Words]  # by operand name; absent ones are missing
    context: int = 0
    gap: int = 0
    order: int = 0  # position in the tile's issue order

    @property
    def entry(self) -> Instruction:
        """The instruction's specification."""
        return self.decoded.entry

    def field(self, slot: str) -> int:
        """A slot of the instruction word."""
        return self.decoded.fields[slot]

    def flag(self, name: str) -> int:
        """The value of a modifier."""
        flag = next(f for f in self.entry.flags if f.name == name)
        return self.field("flags") >> flag.lsb & ((1 << flag.width) - 1)

    def pattern(self) -> int:
        """Low 32 bits of rb + immediate: the pattern of a number."""
        return self.b & 0xFFFFFFFF


@dataclass
class Loop:
    """A running hardware loop."""

    start: int
    end: int
    left: int


@dataclass
class UnitState:
    """A unit's queue; a stopped unit has faulted and is never served again."""

    queue: deque[Op] = field(default_factory=deque)
    stopped: bool = False


@dataclass
class Control:
    """The control processor: cleared whenever an entry is rung."""

    pc: int = 0
    next_pc: int = 0
    halted: bool = False
    stopped: bool = False
    scalars: list[int] = field(default_factory=lambda: [0] * NUM_SCALARS)
    descriptors: Words = field(default_factory=lambda: np.zeros((NUM_DESCRIPTORS, WORDS), np.int64))
    loops: list[Loop] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    context: int = 0
    gap_scalars: int = 0
    gap_taken: int = 0
    issued: int = 0

    def set(self, register: int, value: int) -> None:
        """Write a scalar register; r0 stays 0."""
        if register != 0:
            self.scalars[register] = wrap(value)

    def jump(self, target: int) -> None:
        """Take a branch."""
        self.next_pc = target
        self.gap_taken += 1

    def advance(self) -> None:
        """Move to the next pc, turning hardware loops that end there."""
        while self.loops and self.loops[-1].end == self.next_pc:
            loop = self.loops[-1]
            loop.left -= 1
            # An empty body turns without moving: its remaining turns change nothing.
            if loop.left > 0 and loop.start != loop.end:
                self.next_pc = loop.start
            else:
                self.loops.pop()
        self.pc = self.next_pc

    def take_gap(self) -> int:
        """The gap word of a record, and a fresh start for the next one."""
        gap = self.gap_scalars | self.gap_taken << 32
        self.gap_scalars = self.gap_taken = 0
        return gap


@dataclass
class Tile:
    """One tile. Semaphore counts persist from entry to entry; the rest is cleared by `ring`."""

    machine: ReferenceMachine
    index: int
    cluster: int
    semaphores: list[int] = field(default_factory=lambda: [0] * NUM_SEMAPHORES)
    waiters: dict[int, int] = field(default_factory=dict)
    control: Control = field(default_factory=Control)
    units: list[UnitState] = field(default_factory=list)
    sticky: bool = False  # some conversion to E2M1 met a NaN

    def ring(self, pc: int, arguments: Sequence[int]) -> None:
        """Start an entry: arguments in r1, r2, ..."""
        self.control = Control(pc=pc)
        for register, value in enumerate(arguments, start=1):
            self.control.set(register, value)
        self.waiters, self.sticky = {}, False
        self.units = [UnitState() for _ in range(NUM_UNITS)]

    def capture(self, decoded: Decoded) -> Op:
        """An instruction at the current pc, with the registers it reads."""
        fields, scalars = decoded.fields, self.control.scalars
        immediates = [fields[s] for s in ("imm64", "imm48", "imm32") if s in fields]
        base = scalars[fields["rb"]] if "rb" in fields else 0
        return Op(
            tile=self.index,
            unit=decoded.exec_unit,
            pc=self.control.pc,
            decoded=decoded,
            a=scalars[fields["ra"]] if "ra" in fields else 0,
            b=wrap(base + sum(immediates)),
            descriptors=self._capture_descriptors(decoded),
            context=self.control.context,
        )

    def number(self, op: Op) -> Op:
        """An instruction that has now been issued, with its place in the retire stream."""
        self.control.issued += 1
        return replace(op, order=self.control.issued, gap=self.control.take_gap())

    def _capture_descriptors(self, decoded: Decoded) -> dict[str, Words]:
        captured = {}
        for operand in decoded.entry.operands:
            if operand.kind not in (Kind.D, Kind.D_OR_NUM):
                continue
            register = decoded.fields[operand.slot]
            if register != NO_DESCRIPTOR:
                captured[operand.name] = self.control.descriptors[register].copy()
        return captured
