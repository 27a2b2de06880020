"""A program being written: lines, labels, descriptors, and the order between units.

`Order` knows which unit last wrote and read each piece of memory, and a draft puts a signal and a
wait wherever an instruction must come after work of another unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from equality.tensors import Place, Rng
from isa.chip import Chip, load_chip
from isa.codec import encode, pack_words
from isa.descriptor import (
    W_BASE,
    W_DIM,
    W_FAN,
    W_FANSTEP,
    W_OWNER,
    W_SCALE,
    W_STRIDE,
    Descriptor,
    Space,
)
from isa.program import Program, Region, RegionClass, require
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

CHIP = load_chip("t1-mini").with_(
    **{
        "tile.tsram.bytes": 16384,
        "tile.acc.bytes": 8192,
        "cluster.csram.bytes": 4096,
        "tile.queue_depth": 4,
        "tile.dma.channels": 4,
    }
)
SLOT = 2048
SLOTS = 7  # of TSRAM; then the lists
LISTS = Place(Space.TSRAM, SLOTS * SLOT, SLOTS * SLOT + 1024)
DATA, FIXED = 0x10000, 0x40000  # regions of HBM: one part for each tile, and read-only
PART = 4096
REGIONS = (
    Region("data", DATA, PART * CHIP.num_tiles, RegionClass.ACTIVATIONS, writable=True),
    Region("fixed", FIXED, 4096, RegionClass.WEIGHTS),
)
UNITS = (0, 1, 2, 3, 4, 5, 6)  # ctl, mxu, vpu, dma0..dma3
CHANNELS = (3, 4, 5, 6)
MEETING, CLUSTER, FREE, ARRIVED = 49, 50, 51, 52  # semaphores beyond those of pairs of units
SCALARS = range(9, 20)  # registers with random values
TILE, HBM_OFFSET, CSRAM_OFFSET, NEXT, PREVIOUS, COUNTER = 20, 29, 28, 27, 26, 25
ALU = ("add", "sub", "mul", "and", "or", "xor", "shl", "shr", "min", "max")
BRANCHES = ("beq", "bne", "blt", "bge")
_FIELDS = {
    "base": W_BASE,
    "scale": W_SCALE,
    "owner": W_OWNER,
    "fan": W_FAN,
    "fanstep": W_FANSTEP,
    **{f"dim{i}": W_DIM + i for i in range(4)},
    **{f"stride{i}": W_STRIDE + i for i in range(4)},
}
TENSOR = tuple(
    name for name, entry in BY_MNEMONIC.items() if entry.unit in (Unit.MXU, Unit.VPU, Unit.DMA)
)


class Label:
    """A place in the code."""

    index = -1


class Order:
    """Who did what to which memory since when, as far as each unit knows."""

    def __init__(self) -> None:
        self.done = dict.fromkeys(UNITS, 0)  # work issued to each unit
        self.known = {u: dict.fromkeys(UNITS, 0) for u in UNITS}
        self.writer: dict[str, tuple[int, int]] = {}
        self.readers: dict[str, dict[int, int]] = {}

    def settle(self) -> None:
        """Everything issued so far is done, and every unit knows."""
        for unit in UNITS:
            self.known[unit] = dict(self.done)

    def before(self, unit: int, read: set[str], written: set[str]) -> list[int]:
        """Units whose work an instruction must wait for."""
        wanted: dict[int, int] = {}
        for name in read | written:
            touches = [self.writer[name]] if name in self.writer else []
            if name in written:
                touches += list(self.readers.get(name, {}).items())
            for other, moment in touches:
                wanted[other] = max(wanted.get(other, 0), moment)
        return [v for v, moment in wanted.items() if v != unit and self.known[unit][v] < moment]

    def learn(self, unit: int, other: int) -> None:
        """`unit` has waited for all that `other` did."""
        for v in UNITS:
            self.known[unit][v] = max(self.known[unit][v], self.known[other][v])
        self.known[unit][other] = self.done[other]

    def note(self, unit: int, read: set[str], written: set[str]) -> None:
        """An instruction of a unit."""
        self.done[unit] += 1
        moment = self.done[unit]
        for name in written:
            self.writer[name] = (unit, moment)
            self.readers[name] = {}
        for name in read - written:
            self.readers.setdefault(name, {})[unit] = moment


@dataclass
class Draft:
    """A program being written."""

    rng: Rng
    lines: list[tuple[str, dict[str, Any]] | tuple[int, int]]
    table: list[np.ndarray]
    subroutines: list[tuple[Label, Callable[[], None]]]
    order: Order
    mnemonics: tuple[str, ...] = TENSOR
    alone: bool = False  # one tile only comes here
    mends: bool = True  # descriptors may be loaded wrong first
    loads: bool = True  # scalars may come from tensor memory

    # ---- lines

    def emit(self, mnemonic: str, **fields: Any) -> None:
        self.lines.append((mnemonic, fields))

    def place(self, label: Label) -> None:
        label.index = len(self.lines)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    # ---- order

    def sync(self, unit: int, read: set[str], written: set[str]) -> None:
        """Make an instruction of a unit come after all that it depends on."""
        for other in self.order.before(unit, read, written):
            if other == 0:
                continue  # the control processor's own loads come before what it issues later
            semaphore = 7 * other + unit
            self.emit("signal", unit=other, sem=semaphore, count=1)
            self.emit("wait", unit=unit, sem=semaphore, count=1)
            self.order.learn(unit, other)
        self.order.note(unit, read, written)

    def barrier(self) -> None:
        """All units of the tile have done all their work."""
        for unit in UNITS[1:]:
            self.emit("signal", unit=unit, sem=7 * unit, count=2)
            self.emit("wait", unit=0, sem=7 * unit, count=2)
        self.order.settle()

    def meet(self, scope: str = "all") -> None:
        """All tiles (of the chip, of the cluster) have come here, and their units are idle."""
        self.barrier()
        semaphore = MEETING if scope == "all" else CLUSTER
        count = CHIP.num_tiles if scope == "all" else CHIP.tiles_per_cluster
        self.emit("signal", unit=0, sem=semaphore, count=1, scope=scope)
        self.emit("wait", unit=0, sem=semaphore, count=count)

    # ---- descriptors

    def load(self, descriptor: Descriptor, register: int, offset: int = 0) -> None:
        """Load a descriptor; some are mended after a wrong one was loaded. offset: a register."""
        words = descriptor.words()
        if self.mends and self.chance(0.2):
            name = str(self.rng.choice(list(_FIELDS)))
            right, wrong = int(words[_FIELDS[name]]), int(self.rng.integers(-9, 1 << 20))
            words[_FIELDS[name]] = wrong
            self.dld(words, register)
            if self.chance(0.5):
                self.emit("dset", dst=register, field=name, b=right)
            else:
                self.emit("dadd", dst=register, field=name, b=right - wrong)
        else:
            self.dld(words, register)
        if offset:
            self.emit("dadd", dst=register, field="base", b=(offset, 0))
        if self.chance(0.1):
            self.emit("dset", dst=register, field="sstride0", b=descriptor.scale_strides[0])
            self.emit("dset", dst=register, field="sstride1", b=descriptor.scale_strides[1])

    def dld(self, words: np.ndarray, register: int) -> None:
        self.table.append(words)
        if self.chance(0.1):
            other = (register + 1) % 32
            self.emit("dld", dst=other, index=len(self.table) - 1)
            self.emit("dmov", dst=register, src=other)
        else:
            self.emit("dld", dst=register, index=len(self.table) - 1)


def draft(rng: Rng) -> Draft:
    """An empty program with its prologue."""
    d = Draft(rng, [], [], [], Order())
    d.emit("rdsr", rd=TILE, special="TILE_ID")
    d.emit("mul", rd=HBM_OFFSET, ra=TILE, b=PART)
    d.emit("and", rd=CSRAM_OFFSET, ra=TILE, b=CHIP.tiles_per_cluster - 1)
    d.emit("mul", rd=CSRAM_OFFSET, ra=CSRAM_OFFSET, b=SLOT)
    d.emit("rdsr", rd=24, special="NUM_TILES")
    for register, step in ((NEXT, 1), (PREVIOUS, CHIP.num_tiles - 1)):
        d.emit("add", rd=register, ra=TILE, b=step)
        d.emit("remu", rd=register, ra=register, b=(24, 0))
    specials = ("TILE_ID", "CLUSTER_ID", "NUM_CLUSTERS", "CHIP_ID", "NUM_CHIPS")
    for register in SCALARS:
        if register % 2:
            d.emit("li", rd=register, imm=int(rng.integers(-(1 << 63), (1 << 63) - 1)))
        else:
            d.emit("rdsr", rd=register, special=str(rng.choice(specials)))
    return d


def assemble(d: Draft, chip: Chip = CHIP) -> Program:
    """The program of a draft."""
    words = []
    for line in d.lines:
        if isinstance(line[0], int):
            words.append(line)
            continue
        mnemonic, fields = line
        known = {k: v.index if isinstance(v, Label) else v for k, v in fields.items()}
        words.append(encode(mnemonic, **known))
    table = np.array(d.table, np.int64).reshape(-1, 16)
    return Program(pack_words(words), table, {"main": 0}, REGIONS, (), require(chip))
