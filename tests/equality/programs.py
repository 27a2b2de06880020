"""Random race-free programs: every instruction, every unit, loops, branches, calls, many tiles.

A program is straight code on all tiles, with what differs from tile to tile computed from TILE_ID.
`_Order` knows which unit last wrote and read each piece of memory, and puts a signal and a wait
wherever an instruction must come after work of another unit. Control flow that may differ
between tiles begins and ends with a barrier among a tile's units; tiles meet only in `_exchange`
and `_meet`, which all tiles reach alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equality.operations import MAKERS, Operation, Places
from equality.tensors import Place, Rng, TooBig
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
from isa.formats import Format
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


class _Order:
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
    order: _Order
    mnemonics: tuple[str, ...] = TENSOR
    alone: bool = False  # one tile only comes here
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
        if self.chance(0.2):
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
    d = Draft(rng, [], [], [], _Order())
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


# ---- pieces of programs


def scalar(d: Draft) -> None:
    """A few scalar instructions on random registers."""
    rng = d.rng
    for _ in range(int(rng.integers(1, 5))):
        rd, ra, rb = (int(r) for r in rng.choice(SCALARS, 3))
        if d.chance(0.15):
            d.emit("or", rd=rb, ra=rb, b=1)
            d.emit(str(rng.choice(["divu", "remu"])), rd=rd, ra=ra, b=(rb, 0))
        elif d.chance(0.1):
            d.emit("mark", context=(rb, int(rng.integers(0, 99))))
        elif d.chance(0.1):
            d.emit("nop")
        else:
            immediate = int(rng.integers(-99, 99))
            if d.chance(0.3):
                immediate = int(rng.integers(-(1 << 63), (1 << 63) - 1))
            d.emit(str(rng.choice(ALU)), rd=rd, ra=ra, b=(rb if d.chance(0.5) else 0, immediate))


def load_scalar(d: Draft) -> None:
    """`ld` from the lists or from a slot of TSRAM."""
    slot = int(d.rng.integers(SLOTS))
    place, names = (LISTS, set()) if d.chance(0.5) else (_tsram(slot), {_name(slot)})
    fmt, size = (Format.I32, 4) if d.chance(0.5) else (Format.U8, 1)
    words = Descriptor(place.space, fmt, (40,), (int(d.rng.integers(1, 6)),), place.start).words()
    d.sync(0, names, set())
    d.dld(words, 31)
    index = int(d.rng.integers(40))
    fields = {"site": int(d.rng.integers(1, 9))} if d.chance(0.3) else {}
    d.emit("ld", rd=int(d.rng.choice(SCALARS)), src=31, index=index, **fields)
    assert size


def _tsram(slot: int) -> Place:
    return Place(Space.TSRAM, slot * SLOT, (slot + 1) * SLOT)


def _name(slot: int) -> str:
    return f"tsram {slot}"


def _draw(d: Draft, mnemonic: str) -> tuple[Operation, dict[str, str]]:
    """An operation, and the name of the memory of each of its operands."""
    names: dict[tuple[Space, int], str] = {}
    while True:
        free = [int(slot) for slot in d.rng.permutation(SLOTS)]
        outside = d.chance(0.7)

        def take() -> Place:
            if mnemonic.startswith("dma") and outside and not names:
                chosen = (Space.HBM, DATA) if d.chance(0.5) else (Space.CSRAM, 0)
                names[chosen] = chosen[0].name
                return Place(chosen[0], chosen[1], chosen[1] + SLOT)
            place = _tsram(free.pop())
            names[place.space, place.start] = _name(place.start // SLOT)
            return place

        half = 4096 * int(d.rng.integers(2))
        accumulator = Place(Space.ACC, half, half + 4096)
        names.clear()
        try:
            operation = MAKERS[mnemonic](d.rng, Places(take, accumulator, LISTS))
        except TooBig:
            continue
        return operation, {
            name: _memory_of(descriptor) for name, descriptor in operation.descriptors.items()
        }


def _memory_of(descriptor: Descriptor) -> str:
    if descriptor.space is Space.TSRAM:
        slot = descriptor.base // SLOT
        return _name(slot) if slot < SLOTS else "lists"
    if descriptor.space is Space.ACC:
        return f"acc {descriptor.base // 4096}"
    return descriptor.space.name


def tensor(d: Draft, mnemonic: str | None = None) -> None:
    """One instruction of MXU, VPU or a DMA channel, ordered after what it depends on."""
    mnemonic = mnemonic or str(d.rng.choice(d.mnemonics))
    operation, memory = _draw(d, mnemonic)
    if mnemonic == "dma" and d.chance(0.15):
        descriptors = operation.descriptors
        source = replace(descriptors["src"], space=Space.HBM)
        fixed = FIXED + source.base % SLOT
        if descriptors["dst"].space is Space.TSRAM:
            descriptors["src"] = source.at(fixed)
            memory["src"] = "fixed"
    unit = {Unit.MXU: 1, Unit.VPU: 2}.get(BY_MNEMONIC[mnemonic].unit)
    unit = int(d.rng.choice(CHANNELS)) if unit is None else unit
    written = {memory[name] for name in operation.outputs} - {"lists"}
    read = set(memory.values()) - {"lists", "fixed"}
    d.sync(unit, read, written)
    issue(d, operation, unit)


def issue(d: Draft, operation: Operation, unit: int) -> None:
    """Load an operation's descriptors into random registers, and issue it."""
    fields: dict[str, Any] = dict(operation.fields)
    registers = [int(r) for r in d.rng.permutation(31)[: len(operation.descriptors)]]
    # In this order: loading one may use the register after it for a moment.
    for register in sorted(registers):
        name = list(operation.descriptors)[registers.index(register)]
        descriptor, offset = operation.descriptors[name], 0
        if descriptor.space is Space.HBM and descriptor.base < FIXED:
            offset = HBM_OFFSET
        elif descriptor.space is Space.CSRAM:
            offset = CSRAM_OFFSET
        d.load(descriptor, register, offset)
        fields[name] = register
    if unit in CHANNELS:
        fields["channel"] = unit
        if operation.mnemonic != "dma" and d.chance(0.2):
            fields["site"] = 3
    d.emit(operation.mnemonic, **fields)


def loop(d: Draft, depth: int) -> None:
    """A hardware loop; its count may differ from tile to tile, or be 0."""
    d.barrier()
    end = Label()
    if d.chance(0.5):
        d.emit("loop", count=int(d.rng.integers(-1, 4)), target=end)
    else:
        d.emit("and", rd=COUNTER - depth, ra=int(d.rng.choice(SCALARS)), b=3)
        d.emit("loop", count=(COUNTER - depth, int(d.rng.integers(-1, 2))), target=end)
    block(d, depth + 1)
    d.barrier()
    if d.chance(0.3):  # skip the rest of some turns
        d.emit(str(d.rng.choice(BRANCHES)), ra=int(d.rng.choice(SCALARS)), b=3, target=end)
        scalar(d)
    if d.chance(0.2):  # an inner loop that ends where this one does
        d.emit("loop", count=2, target=end)
        scalar(d)
    d.place(end)


def branch(d: Draft, depth: int) -> None:
    """An `if`, perhaps with an `else`."""
    d.barrier()
    other, end = Label(), Label()
    operand = (0, int(d.rng.integers(-3, 5))) if d.chance(0.5) else (int(d.rng.choice(SCALARS)), 0)
    ra = TILE if d.chance(0.5) else int(d.rng.choice(SCALARS))
    d.emit(str(d.rng.choice(BRANCHES)), ra=ra, b=operand, target=other)
    block(d, depth + 1)
    d.barrier()
    if d.chance(0.5):
        d.emit("jmp", target=end)
        d.place(other)
        block(d, depth + 1)
        d.barrier()
        d.place(end)
    else:
        d.place(other)


def call(d: Draft, depth: int) -> None:
    """A subroutine, written after the program's end."""
    d.barrier()
    label = Label()
    d.emit("call", target=label)
    d.subroutines.append((label, lambda: block(d, depth + 1)))


def exchange(d: Draft) -> None:
    """Every tile writes into the next one's memory, which says when it is free."""
    d.barrier()
    slot, fan = int(d.rng.integers(SLOTS)), d.chance(0.3)
    d.emit("signal", unit=0, sem=FREE, count=1, scope="tile", tile=PREVIOUS)
    d.emit("wait", unit=3, sem=FREE, count=1)
    source = Place(Space.TSRAM, (slot + 1) % SLOTS * SLOT, (slot + 1) % SLOTS * SLOT + SLOT)
    count = int(d.rng.integers(1, 100))
    words = Descriptor(Space.TSRAM, Format.I32, (count,), (1,), source.start).words()
    d.dld(words, 5)
    d.dld(Descriptor(Space.TSRAM, Format.I32, (count,), (2,), slot * SLOT).words(), 7)
    d.emit("dset", dst=7, field="owner", b=(NEXT, 0))
    if fan:  # a multicast to one owner more than once is one to it
        d.emit("dset", dst=7, field="fan", b=2)
        d.emit("dset", dst=7, field="fanstep", b=0)
    d.emit("dma", channel=3, dst=7, src=5)
    d.emit("signal", unit=3, sem=ARRIVED, count=3, scope="tile", tile=NEXT)
    d.emit("wait", unit=0, sem=ARRIVED, count=3)
    d.order.note(3, {_name((slot + 1) % SLOTS)}, {_name(slot)})
    d.barrier()


def multicast(d: Draft) -> None:
    """Tile 0 writes into all tiles' memory at once."""
    d.meet()
    after, slot = Label(), int(d.rng.integers(SLOTS))
    d.emit("bne", ra=TILE, b=0, target=after)
    target = Descriptor(
        Space.TSRAM, Format.U8, (100,), (1,), slot * SLOT, owner=0, fan=CHIP.num_tiles, fanstep=1
    )
    d.dld(target.words(), 1)
    d.dld(Descriptor(Space.HBM, Format.U8, (100,), (1,), FIXED).words(), 2)
    d.emit("dma", channel=4, dst=1, src=2)
    d.place(after)
    d.meet()


def block(d: Draft, depth: int) -> None:
    """A few pieces. Only the outermost block has pieces that concern several tiles."""
    for _ in range(int(d.rng.integers(1, 5 if depth else 9))):
        kind = d.rng.random()
        if kind < 0.1 and depth < 3:
            loop(d, depth)
        elif kind < 0.18 and depth < 3:
            branch(d, depth)
        elif kind < 0.22 and depth < 3:
            call(d, depth)
        elif kind < 0.3 and depth == 0:
            (exchange, multicast, lambda x: x.meet("cluster"))[int(d.rng.integers(3))](d)
        elif kind < 0.4 and d.loads:
            load_scalar(d)
        elif kind < 0.55:
            scalar(d)
        else:
            tensor(d)


def finish(d: Draft) -> Program:
    """Show all scalars in memory, halt, and append the subroutines."""
    d.barrier()
    target = Descriptor(Space.TSRAM, Format.I32, (2,), (1,), LISTS.stop)
    for index, register in enumerate(SCALARS):
        d.dld(target.at(LISTS.stop + 8 * index).words(), 3)
        d.emit("viota", dst=3, start=(register, 0))
    d.emit("halt")
    while d.subroutines:
        label, write = d.subroutines.pop(0)
        d.place(label)
        d.order.settle()
        write()
        d.barrier()
        d.emit("ret")
    return assemble(d)


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


def random_program(seed: int, mnemonics: tuple[str, ...] = TENSOR, loads: bool = True) -> Program:
    """A legal program without races, the same for the same seed."""
    d = draft(np.random.default_rng(seed))
    d.mnemonics, d.loads = mnemonics, loads
    block(d, 0)
    return finish(d)
