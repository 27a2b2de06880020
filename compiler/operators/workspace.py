"""What all operators share: memory, tokens between units, sharing over tiles, the program.

As in a decoder's step, a buffer of slots is guarded by a pair of semaphores: `full` counts filled
slots and is waited for by the consumer, `free` counts empty ones and is waited for by the producer.
The entry hands out the free tokens and takes them back at its end, so that it can be rung again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from compiler.arena import Arena, DoesNotFit
from compiler.emit import Code, Reg, Sem, Value
from compiler.errors import CompileError
from compiler.verify import verify_code
from isa.chip import Chip
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import FORMATS, Format
from isa.program import Debug, Program, Region, RegionClass, Role, Symbol, require

ENTRY = "run"
REGION_ALIGN = 65536
ELEMENTS = (Format.BF16, Format.FP16, Format.FP32)  #: what the vector unit reads and writes


@dataclass(frozen=True)
class Channels:
    """DMA channels that share the rows of one transfer, each with its own tokens."""

    names: tuple[str, ...]
    full: tuple[Sem, ...]
    free: tuple[Sem, ...]


class Workspace:
    """The program of one operator while it is written."""

    def __init__(self, name: str, chip: Chip) -> None:
        self.name, self.chip = name, chip
        self.code = Code()
        self.hbm = Arena(f"{name}: {chip.name}: HBM", chip.hbm.bytes, REGION_ALIGN)
        self.tsram = Arena(f"{name}: {chip.name}: a tile's SRAM", chip.tile.tsram.bytes)
        self._regions: list[Region] = []
        self._symbols: list[Symbol] = []
        self._credits: list[tuple[str, Sem, int]] = []
        if chip.hbm.bytes == 0:
            raise CompileError(f"{name}: {chip.name} has no HBM")
        self.tile = self.code.rdsr("TILE_ID")

    # -- memory --------------------------------------------------------------------------------

    def tensor(self, name: str, shape: tuple[int, ...], fmt: Format, role: Role) -> Descriptor:
        """A tensor of HBM, row by row, that the host may name."""
        size = -(-int(np.prod(shape)) * FORMATS[fmt].bits // 8)
        base = self.hbm.take(name, size)
        kind = RegionClass.IO if role is Role.OUT else RegionClass.ACTIVATIONS
        self._regions.append(Region(name, base, size, kind, role is not Role.IN))
        self._symbols.append(Symbol(name, base, shape, fmt, role))
        return Descriptor(Space.HBM, fmt, shape, contiguous(shape), base)

    def local(self, name: str, fmt: Format, shape: tuple[int, ...], slots: int = 1) -> Descriptor:
        """A dense tensor in the tile's SRAM; the first of `slots`, `slot_bytes` apart."""
        base = self.tsram.take(name, slots * slot_bytes(fmt, shape))
        return Descriptor(Space.TSRAM, fmt, shape, contiguous(shape), base)

    # -- tokens --------------------------------------------------------------------------------

    def credit(self, unit: str, slots: int) -> Sem:
        """A semaphore of empty slots that `unit` waits for, `slots` of them at the start."""
        sem = self.code.sem()
        self._credits.append((unit, sem, slots))
        return sem

    def channels(self, names: tuple[str, ...], slots: int) -> Channels:
        """Channels that fill a ring of slots together."""
        free = tuple(self.credit(name, slots) for name in names)
        return Channels(names, tuple(self.code.sem() for _ in names), free)

    def hand_out(self) -> None:
        """All slots are empty. Call when every credit is known, before the first is used."""
        for _, sem, slots in self._credits:
            self.code.signal("ctl", sem, slots)

    # -- sharing work --------------------------------------------------------------------------

    def share(self, count: int, tile: Reg, tiles: int, unit: int = 1) -> tuple[Reg, Reg]:
        """This tile's part [begin, end) of `count` things, in multiples of `unit`."""
        code, units = self.code, -(-count // unit)
        begin, end = code.calc("mul", tile, units), code.calc("add", tile, 1)
        code.alu("mul", end, end, units)
        for edge in (begin, end):
            code.alu("divu", edge, edge, tiles)
            code.alu("mul", edge, edge, unit)
            code.alu("min", edge, edge, count)
        return begin, end

    def next_slot(self, offset: Reg, size: int, slots: int) -> None:
        """Move a ring's offset to its next slot."""
        if slots == 1:
            return
        self.code.alu("add", offset, offset, size)
        with self.code.unless("lt", offset, size * slots):
            self.code.set(offset, 0)

    # -- transfers -----------------------------------------------------------------------------

    def transfer(
        self,
        channel: str,
        dst: tuple[Descriptor, Value],
        src: tuple[Descriptor, Value],
        rows: Value,
        columns: Value,
    ) -> None:
        """Queue a copy of [rows, columns]; each side a descriptor and an offset in bytes."""
        code = self.code
        with code.scope():
            ends = {
                name: code.tensor(end, ("base", offset), dim0=rows, dim1=columns)
                for name, (end, offset) in (("dst", dst), ("src", src))
            }
            code.emit("dma", channel=channel, **ends)

    def part(self, rows: Reg, number: int | Reg, ways: int) -> tuple[Reg, Reg]:
        """(first row, rows) of one of `ways` parts: new registers."""
        code = self.code
        first = code.calc("mul", rows, number)
        count = code.calc("add", first, rows)
        code.alu("divu", first, first, ways)
        code.alu("divu", count, count, ways)
        return first, code.alu("sub", count, count, first)

    # -- the result ----------------------------------------------------------------------------

    def program(self, numeric: dict[str, int] | None = None, **facts: object) -> Program:
        """Take the tokens back, end, and give the program; `facts` go to its metadata.

        So do `numeric` options: those that are not at their default.
        """
        code = self.code
        for unit, sem, slots in self._credits:
            code.wait(unit, sem, slots)
        code.emit("halt")
        verify_code(code)
        return Program(
            code.words(),
            code.descriptors(),
            {ENTRY: 0},
            tuple(self._regions),
            tuple(self._symbols),
            require(self.chip),
            Debug(tuple(code.op_names), code.op_index().astype(np.int32)),
            {"kind": "operator", "operator": self.name, "plan": dict(facts)}
            | ({"numeric": numeric} if numeric else {}),
            path=self.name,
        )


def slot_bytes(fmt: Format, shape: tuple[int, ...]) -> int:
    """Bytes between two slots: a multiple of 64."""
    size = int(np.prod(shape)) * FORMATS[fmt].bits // 8
    return -(-size // 64) * 64


def width(fmt: Format) -> int:
    """Bytes of an element."""
    return FORMATS[fmt].bits // 8


def check_shape(operator: str, **dimensions: int) -> None:
    """Raise CompileError if a dimension is not positive."""
    for name, value in dimensions.items():
        if value < 1:
            raise CompileError(f"{operator}: {name} is {value}; it must be at least 1")


def check_format(operator: str, what: str, fmt: Format, allowed: tuple[Format, ...]) -> None:
    """Raise CompileError if a format is none of those allowed."""
    if fmt not in allowed:
        names = ", ".join(one.name for one in allowed)
        raise CompileError(f"{operator}: {what} is {fmt.name}; it must be one of {names}")


def split_channels(operator: str, chip: Chip, *shares: int) -> list[tuple[str, ...]]:
    """Names of the chip's DMA channels in groups, in the proportion of `shares`."""
    have = chip.tile.dma.channels
    if have < len(shares):
        raise CompileError(
            f"{operator}: {chip.name}: tile.dma.channels: {have}; at least {len(shares)} are needed"
        )
    edges = [0]
    for number in range(1, len(shares) + 1):
        wanted = have * sum(shares[:number]) // sum(shares)
        edges.append(min(max(wanted, edges[-1] + 1), have - (len(shares) - number)))
    names = [f"dma{i}" for i in range(have)]
    return [tuple(names[a:b]) for a, b in itertools.pairwise(edges)]


def does_not_fit(operator: str, chip: Chip, what: str) -> DoesNotFit:
    """The refusal of something no cutting can make fit."""
    return DoesNotFit(f"{operator}: does not fit {chip.name}: {what}")
