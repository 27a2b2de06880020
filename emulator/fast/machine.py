"""The fast executor's face: docs/architecture.md, section 4.

    machine = FastMachine(program, chip, threads=2)
    machine.write("tokens", array)
    machine.ring("step", [1], sink=timing.consume)
    machine.read("logits")

All work is in compiled code (supersteps.py); this is what the host sees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import retire
from emulator.errors import ProgramFault
from emulator.fast import layout as at
from emulator.fast.access_log import AccessLog
from emulator.fast.blocks import Blocks, address
from emulator.fast.chunks import Chunks
from emulator.fast.dispatch import connect, connect_log, connect_postponed, kernel_table
from emulator.fast.execute import OP_DMA
from emulator.fast.postponed import make_copies
from emulator.fast.supersteps import AGAIN, FINISHED, HELP, LEAVE, WAKE, advance, drain
from emulator.fast.workers import Workers, check_float_mode
from emulator.memory import Memory
from isa.chip import Chip
from isa.errors import ProgramError
from isa.faults import NUM_UNITS, Fault, FaultReport
from isa.formats import FORMATS, Format, pack_nibbles, unpack_nibbles
from isa.program import Program
from isa.spec.model import NUM_ARGUMENTS

Sink = Callable[[NDArray[np.int64]], None]

CHUNK_ROWS = 4096
_SUPERSTEPS = 16  # at most, between two looks at the keyboard


class FastMachine:
    """A chip with a program in it. Memory and semaphores persist from entry to entry.

    The result does not depend on `threads`, nor do retire records; `chunk_rows` is how many of
    them the sink gets at a time. With several threads the sink is called from one that is not the
    caller's, beside the supersteps: in order, one call at a time, the last before `ring` returns.
    `seed` is for the choice sites of a timing-only run, whose distributions are in the program's
    metadata: {"choice_sites": {"3": {"low": 0, "high": 8}}}. With `log_accesses`, `access_log` has
    what the tensor instructions of the last ringing that had a sink have read and written.
    """

    def __init__(
        self,
        program: Program,
        chip: Chip,
        threads: int = 1,
        timing_only: bool = False,
        *,
        chunk_rows: int = CHUNK_ROWS,
        seed: int = 0,
        log_accesses: bool = False,
    ) -> None:
        if log_accesses and timing_only:
            raise ValueError("without data there are no accesses to log")
        program.check_chip(chip)
        self.program = program
        self.chip = chip
        self.memory = Memory.for_program(program, chip, timing_only)
        self._blocks = Blocks(program, chip, self.memory, timing_only)
        self._blocks.machine[at.M_SEED] = _wrapped(seed)
        connect(self._blocks.machine)
        used = np.unique(self._blocks.rows[:, at.ROW_OP])
        self._blocks.kernels[:] = kernel_table(used[used >= OP_DMA] if timing_only else used)
        self._workers = Workers(max(1, min(threads, chip.num_tiles)))
        self._blocks.machine[at.M_WORKERS] = len(self._workers)
        self._blocks.machine[at.M_BOARD] = address(self._workers.board)
        self._chunk_rows = chunk_rows
        self._chunks = Chunks(chunk_rows)
        self._chunk = self._chunks.new()
        self._filled = 0
        self._lane = 0  # of the workers' deferred calls: where the entry's records go
        self.access_log: AccessLog | None = None
        if log_accesses:
            self.access_log = AccessLog(self._blocks.tiles)
            connect_log(self._blocks.machine)
        elif not timing_only:
            connect_postponed(self._blocks.machine, self._blocks.postponed)

    # ---- what the host does

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a symbol's elements: codes of its format, in its shape, one per array element."""
        symbol = self.program.symbol(name)
        info = FORMATS[symbol.format]
        if array.shape != symbol.shape or array.dtype.itemsize != info.dtype.itemsize:
            expected = f"expected {list(symbol.shape)} of {info.dtype}"
            raise ProgramError(f"{name}: {expected}, got {list(array.shape)} of {array.dtype}")
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        packed = pack_nibbles(data) if symbol.format is Format.E2M1 else data
        region = self.memory.find(symbol.address, packed.size)
        if region >= 0 and not self.memory.regions[region].writable:
            self._make_copies()  # of what it was
        self.memory.write(symbol.address, packed)

    def read(self, name: str) -> NDArray[Any]:
        """Read a symbol's elements, as `write` takes them."""
        symbol = self.program.symbol(name)
        data = self.memory.read(symbol.address, symbol.size)
        if symbol.format is Format.E2M1:
            data = unpack_nibbles(data, symbol.elements)
        return data.view(FORMATS[symbol.format].dtype).reshape(symbol.shape)

    def ring(
        self,
        entry: str,
        arguments: Sequence[int] = (),
        sink: Sink | None = None,
        done: Callable[[], object] | None = None,
    ) -> None:
        """Run an entry to its end; raises ProgramFault once everything has come to rest.

        With `done`, calls of the sink may still be ahead when `ring` returns, and the last is
        followed by one of `done`; those of a few rings may go side by side.
        `settle` waits for them, and raises what they do; so may the next `ring`. Until then tiles'
        memory may lack copies that nobody has asked for (postponed.py).
        """
        if len(arguments) > NUM_ARGUMENTS:
            raise ProgramError(f"{entry}: {len(arguments)} arguments; at most {NUM_ARGUMENTS}")
        pc = self.program.entry(entry)
        check_float_mode()
        self._leave()  # a superstep that an interrupt may have left behind
        self._blocks.start(pc, [_wrapped(value) for value in arguments], sink is not None)
        self._filled = 0
        self._lane = 0 if done is None else (self._lane + 1) % self._workers.lanes
        if self.access_log is not None:
            self.access_log.restart()
        try:
            if done is not None:
                self._workers.settle([self._lane])
            self._run(sink)
            if sink is not None:
                self._hand_on(sink, last=True)
            if done is None:
                self._workers.settle()
        except BaseException:
            self._leave()
            self._workers.settle(abandon=True)
            self._make_copies()
            raise
        self._raise_faults()
        if done is None:
            self._make_copies()
        else:
            self._workers.defer(done, self._lane)

    def settle(self) -> None:
        """Wait for what earlier calls of `ring` have left to be done."""
        self._make_copies()
        self._workers.settle()

    def _leave(self) -> None:
        """From here on no worker is in a tile."""
        advance(address(self._blocks.machine), self._workers.block(0), LEAVE)

    def _make_copies(self) -> None:
        if self._blocks.machine[at.M_POSTPONED]:
            make_copies(address(self._blocks.machine))

    def _raise_faults(self) -> None:
        """ProgramFault if the entry has not come to its end."""
        faults = self._faults() or self._deadlocks()
        if faults:
            self.settle()
            raise ProgramFault(sorted(faults))

    def beside(self, call: Callable[[], object]) -> None:
        """Have a worker make a call beside the next `ring`, which returns when it is made, too.

        The other workers run the supersteps, and that one joins them when it is done: so two
        threads are never three. Without another worker the call is made at once.
        """
        self._workers.defer(call)

    @property
    def kernels(self) -> NDArray[np.int64]:
        """Addresses of the kernels by opcode; 0: none. What is put there is called instead."""
        return self._blocks.kernels

    @property
    def sticky(self) -> list[bool]:
        """Each tile's sticky status bit: whether a conversion to E2M1 met a NaN since the ring."""
        return [bool(word) for word in self._blocks.tiles[:, at.T_STICKY]]

    @property
    def semaphores(self) -> NDArray[np.int64]:
        """Counts of all semaphores, a copy: int64 [tiles, 64]."""
        return self._blocks.tiles[:, at.T_SEMAPHORES : at.T_WAITERS].copy()

    @property
    def registers(self) -> NDArray[np.int64]:
        """The control processors' scalar registers, a copy: int64 [tiles, 32]."""
        return self._blocks.tiles[:, at.T_REGISTERS : at.T_DESCRIPTORS].copy()

    def queue_head(self, tile: int, unit: int) -> tuple[int, int]:
        """The pc at the head of a unit's queue that is not empty, and its rb + immediate."""
        head = int(self._units()[tile, unit, at.U_HEAD])
        pc, number = self._blocks.queue_head(tile, unit, head)
        return pc, number

    # ---- supersteps

    def _run(self, sink: Sink | None) -> None:
        """Supersteps until nothing moves, with the records handed on in between.

        Others are woken once there is more to do than that takes; then they help with all.
        """
        blocks, outcome = self._blocks, AGAIN
        m = address(blocks.machine)
        with self._workers.helping(lambda block: advance(address(blocks.machine), block, HELP)):
            while outcome != FINISHED:
                outcome = advance(m, self._workers.block(0), _SUPERSTEPS)
                if outcome == WAKE:
                    self._workers.wake()
                elif sink is not None:
                    self._hand_on(sink, last=False)
                    blocks.grow_rings()

    def _hand_on(self, sink: Sink, last: bool) -> None:
        """Give the sink every full chunk of final records; at the `last` also what remains."""
        m, rows = address(self._blocks.machine), self._chunk_rows
        while True:
            target = address(self._chunk) + 8 * retire.WORDS * self._filled
            self._filled += drain(m, target, rows - self._filled, int(last))
            if self._filled < rows:
                break
            self._give(sink)
        if last and self._filled:
            self._give(sink)

    def _give(self, sink: Sink) -> None:
        """Give the sink what the chunk holds, beside the supersteps that follow."""
        call = partial(sink, self._chunk[: self._filled])
        self._chunk, self._filled = self._chunks.new(), 0
        if self.access_log is None:
            self._workers.defer(call, self._lane)
        else:  # what is logged and what is checked are measured apart
            call()

    # ---- how it ended

    def _units(self) -> NDArray[np.int64]:
        """The words of every unit, [tiles, units, 8]."""
        tiles = self._blocks.tiles
        return tiles[:, at.T_UNITS : at.T_SENT].reshape(len(tiles), NUM_UNITS, 8)

    def _faults(self) -> list[FaultReport]:
        units = self._units()
        faults = units[:, :, at.U_FAULT]
        return [
            FaultReport(
                int(tile),
                int(unit),
                int(units[tile, unit, at.U_FAULT_PC]),
                Fault(faults[tile, unit]),
            )
            for tile, unit in zip(*np.nonzero(faults != int(Fault.NONE)), strict=True)
        ]

    def _deadlocks(self) -> list[FaultReport]:
        """A report for everything that has work left although nothing can move."""
        blocks, units = self._blocks, self._units()
        reports = [
            FaultReport(int(tile), 0, int(blocks.tiles[tile, at.T_PC]), Fault.DEADLOCK)
            for tile in np.flatnonzero(blocks.tiles[:, at.T_CONTROL] == at.RUNNING)
        ]
        for tile, unit in zip(*np.nonzero(units[:, :, at.U_COUNT]), strict=True):
            pc, _ = self.queue_head(int(tile), int(unit))
            reports.append(FaultReport(int(tile), int(unit), pc, Fault.DEADLOCK))
        return reports


def _wrapped(value: int) -> int:
    """A value as a 64-bit two's complement integer."""
    return (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)
