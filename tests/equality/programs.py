"""Random race-free programs: every instruction, every unit, loops, branches, calls, many tiles.

A program is straight code on all tiles, with what differs from tile to tile computed from TILE_ID.
Control flow that may differ between tiles begins and ends with a barrier among a tile's units;
tiles meet only in `exchange`, `multicast` and `meet`, which all tiles reach alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from equality.draft import (
    ALU,
    ARRIVED,
    BRANCHES,
    CHANNELS,
    CHIP,
    COUNTER,
    CSRAM_OFFSET,
    DATA,
    FIXED,
    FREE,
    HBM_OFFSET,
    LISTS,
    NEXT,
    PART,
    PREVIOUS,
    SCALARS,
    SLOT,
    SLOTS,
    TENSOR,
    TILE,
    Draft,
    Label,
    assemble,
    draft,
)
from equality.operations import MAKERS, Operation, Places
from equality.tensors import Place, TooBig
from isa.descriptor import Descriptor, Space
from isa.formats import Format
from isa.program import Program
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

Body = Callable[[], None]  # writes what a loop, a branch or a subroutine holds

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


def draw(d: Draft, mnemonic: str) -> tuple[Operation, dict[str, str]]:
    """An operation, and the name of the memory of each of its operands."""
    while True:
        half = 4096 * int(d.rng.integers(2))
        accumulator = Place(Space.ACC, half, half + 4096)
        places = _places(d, mnemonic.startswith("dma") and d.chance(0.7))
        try:
            operation = MAKERS[mnemonic](d.rng, Places(places.pop, accumulator, LISTS))
        except TooBig:
            continue
        memory = {name: _memory_of(tensor) for name, tensor in operation.descriptors.items()}
        return operation, memory


def _places(d: Draft, outside: bool) -> list[Place]:
    """Disjoint places, to be taken from the end; the first one or two may be outside TSRAM."""
    places = [_tsram(int(slot)) for slot in d.rng.permutation(SLOTS)]
    if outside:
        half = SLOT // 2
        others = [Place(Space.HBM, DATA, DATA + SLOT), Place(Space.CSRAM, 0, half)]
        others += [Place(Space.HBM, DATA + SLOT, DATA + PART), Place(Space.CSRAM, half, SLOT)]
        chosen = d.rng.permutation(len(others))[: 2 if d.chance(0.4) else 1]
        places += [others[int(index)] for index in chosen]
    return places


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
    operation, memory = draw(d, mnemonic)
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


def loop(d: Draft, depth: int, body: Body) -> None:
    """A hardware loop; its count may differ from tile to tile, or be 0."""
    d.barrier()
    end = Label()
    if d.chance(0.5):
        d.emit("loop", count=int(d.rng.integers(-1, 4)), target=end)
    else:
        d.emit("and", rd=COUNTER - depth, ra=int(d.rng.choice(SCALARS)), b=3)
        d.emit("loop", count=(COUNTER - depth, int(d.rng.integers(-1, 2))), target=end)
    body()
    d.barrier()
    if d.chance(0.3):  # skip the rest of some turns
        d.emit(str(d.rng.choice(BRANCHES)), ra=int(d.rng.choice(SCALARS)), b=3, target=end)
        scalar(d)
    if d.chance(0.2):  # an inner loop that ends where this one does
        d.emit("loop", count=2, target=end)
        scalar(d)
    d.place(end)


def branch(d: Draft, body: Body, otherwise: Body) -> None:
    """An `if`, perhaps with an `else`."""
    d.barrier()
    other, end = Label(), Label()
    operand = (0, int(d.rng.integers(-3, 5))) if d.chance(0.5) else (int(d.rng.choice(SCALARS)), 0)
    ra = TILE if d.chance(0.5) else int(d.rng.choice(SCALARS))
    d.emit(str(d.rng.choice(BRANCHES)), ra=ra, b=operand, target=other)
    body()
    d.barrier()
    if d.chance(0.5):
        d.emit("jmp", target=end)
        d.place(other)
        otherwise()
        d.barrier()
        d.place(end)
    else:
        d.place(other)


def call(d: Draft, body: Body) -> None:
    """A subroutine, written after the program's end."""
    d.barrier()
    label = Label()
    d.emit("call", target=label)
    d.subroutines.append((label, body))


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
        piece(d, depth)


def piece(d: Draft, depth: int) -> None:
    """One piece of a block."""
    kind = d.rng.random()

    def body() -> None:
        block(d, depth + 1)

    if kind < 0.1 and depth < 3:
        loop(d, depth, body)
    elif kind < 0.18 and depth < 3:
        branch(d, body, body)
    elif kind < 0.22 and depth < 3:
        call(d, body)
    elif kind < 0.3 and depth == 0:
        (exchange, multicast, meet_cluster)[int(d.rng.integers(3))](d)
    else:
        plain(d)


def plain(d: Draft) -> None:
    """A piece without pieces in it."""
    kind = d.rng.random()
    if kind < 0.13 and d.loads:
        load_scalar(d)
    elif kind < 0.33:
        scalar(d)
    else:
        tensor(d)


def meet_cluster(d: Draft) -> None:
    """The tiles of a cluster meet."""
    d.meet("cluster")


def finish(d: Draft, shown: tuple[int, ...] = tuple(SCALARS)) -> Program:
    """Show scalars in memory, halt, and append the subroutines."""
    d.barrier()
    target = Descriptor(Space.TSRAM, Format.I32, (2,), (1,), LISTS.stop)
    for index, register in enumerate(shown):
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


def random_program(seed: int, mnemonics: tuple[str, ...] = TENSOR, loads: bool = True) -> Program:
    """A legal program without races, the same for the same seed."""
    d = draft(np.random.default_rng(seed))
    d.mnemonics, d.loads = mnemonics, loads
    block(d, 0)
    return finish(d)


def short_program(seed: int) -> Program:
    """A legal program of one or two pieces: a third of the work of a `random_program`."""
    d = draft(np.random.default_rng([seed, 7]))
    for _ in range(int(d.rng.integers(1, 3))):
        piece(d, 0 if d.chance(0.1) else 2)
    return finish(d, tuple(int(r) for r in d.rng.choice(SCALARS, 2)))
