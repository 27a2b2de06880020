"""The reference executor: one instruction at a time, checked and carried out by plain functions.

    machine = ReferenceMachine(program, chip)
    machine.write("tokens", array)
    machine.ring("step", [1])
    machine.read("logits")

Source: docs/architecture.md, section 4. A schedule seed makes the order of tiles and units random;
a program without races has the same result under every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emulator.errors import ProgramFault
from emulator.memory import Memory
from emulator.reference.arith import self_test
from emulator.reference.records import record
from emulator.reference.registry import Run
from emulator.reference.scheduler import Scheduler
from emulator.reference.state import Op, Tile
from isa.errors import ProgramError
from isa.formats import FORMATS, Format, pack_nibbles, unpack_nibbles
from isa.spec.model import NUM_ARGUMENTS

if TYPE_CHECKING:
    from isa.chip import Chip
    from isa.program import Program

Sink = Callable[[npt.NDArray[np.int64]], None]


class ReferenceMachine:
    """A chip with a program in it. Memory and semaphores persist from entry to entry."""

    def __init__(self, program: Program, chip: Chip, *, schedule_seed: int | None = None) -> None:
        self_test()
        program.check_chip(chip)
        if program.timing_only:
            raise ProgramError(
                f"{program.path}: some of its data are omitted: it can only be timed"
            )
        self.program = program
        self.chip = chip
        self.memory = Memory.for_program(program, chip)
        self.tiles = [Tile(self, t, t // chip.tiles_per_cluster) for t in range(chip.num_tiles)]
        self._scheduler = Scheduler(self, schedule_seed)
        self._records: list[tuple[int, int, list[int]]] | None = None

    @property
    def sticky(self) -> list[bool]:
        """Each tile's sticky status bit: whether a conversion to E2M1 met a NaN since the ring."""
        return [tile.sticky for tile in self.tiles]

    def write(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write a symbol's elements: codes of its format, in its shape, one per array element."""
        symbol = self.program.symbol(name)
        info = FORMATS[symbol.format]
        if array.shape != symbol.shape or array.dtype.itemsize != info.dtype.itemsize:
            expected = f"expected {list(symbol.shape)} of {info.dtype}"
            raise ProgramError(f"{name}: {expected}, got {list(array.shape)} of {array.dtype}")
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        packed = pack_nibbles(data) if symbol.format is Format.E2M1 else data
        self.memory.write(symbol.address, packed)

    def read(self, name: str) -> npt.NDArray[Any]:
        """Read a symbol's elements, as `write` takes them."""
        symbol = self.program.symbol(name)
        data = self.memory.read(symbol.address, symbol.size)
        if symbol.format is Format.E2M1:
            data = unpack_nibbles(data, symbol.elements)
        return data.view(FORMATS[symbol.format].dtype).reshape(symbol.shape)

    def ring(self, entry: str, arguments: Sequence[int] = (), sink: Sink | None = None) -> None:
        """Run an entry to its end; raises ProgramFault once everything has come to rest."""
        if len(arguments) > NUM_ARGUMENTS:
            raise ProgramError(f"{entry}: {len(arguments)} arguments; at most {NUM_ARGUMENTS}")
        self._records = None if sink is None else []
        for tile in self.tiles:
            tile.ring(self.program.entry(entry), arguments)
        faults = self._scheduler.run()
        if sink is not None and self._records:
            sink(np.array([words for *_, words in sorted(self._records)], np.int64))
        if faults:
            raise ProgramFault(faults, self.program)

    def retire(self, op: Op, run: Run | None) -> None:
        """Note that an instruction has retired, if anybody listens."""
        if self._records is not None:
            self._records.append((op.tile, op.order, record(op, run)))
