"""Programs whose operands lie flush with the beginning or the end of a memory.

One tile works, one instruction at a time: the first tile at the beginnings, the last at the ends.
Legal, and one byte further would be outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from equality.draft import (
    CHIP,
    DATA,
    FIXED,
    LISTS,
    PART,
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
from isa.descriptor import Space
from isa.program import Program
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

_TSRAM_END = Place(Space.TSRAM, LISTS.stop, CHIP.tile.tsram.bytes, flush=1)
_DATA_END = DATA + PART * CHIP.num_tiles


def edge_program(seed: int) -> Program:
    """One to three instructions at the edge of memories."""
    d = draft(np.random.default_rng([seed, 17]))
    d.mends = False
    flush = 1 if d.chance(0.5) else -1
    end = Label()
    d.emit("bne", ra=TILE, b=CHIP.num_tiles - 1 if flush > 0 else 0, target=end)
    for _ in range(int(d.rng.integers(1, 4))):
        _instruction(d, str(d.rng.choice(TENSOR)), flush)
        d.barrier()
    d.place(end)
    d.emit("halt")
    return assemble(d)


def _instruction(d: Draft, mnemonic: str, flush: int) -> None:
    operation = _operation(d, mnemonic, flush)
    fields: dict[str, Any] = dict(operation.fields)
    for register, (name, descriptor) in enumerate(operation.descriptors.items()):
        d.dld(descriptor.words(), 2 * register)
        fields[name] = 2 * register
    if BY_MNEMONIC[mnemonic].unit is Unit.DMA:
        fields["channel"] = 3
    d.emit(mnemonic, **fields)


def _operation(d: Draft, mnemonic: str, flush: int) -> Operation:
    """An operation one of whose operands, at least, is at an edge."""
    accumulator = Place(Space.ACC, 0, CHIP.tile.acc.bytes, flush)
    while True:
        places = _places(d, flush, mnemonic.startswith("dma"))
        try:
            return MAKERS[mnemonic](d.rng, Places(places.pop, accumulator, LISTS))
        except TooBig:
            continue


def _places(d: Draft, flush: int, moves: bool) -> list[Place]:
    """Places to be taken from the end: an edge comes first, second or third."""
    inner = [Place(Space.TSRAM, s * SLOT, s * SLOT + SLOT) for s in d.rng.permutation(SLOTS - 1)]
    places = [Place(p.space, int(p.start) + SLOT, int(p.stop) + SLOT) for p in inner]
    places.insert(len(places) - int(d.rng.integers(3)), _edge(d, flush, moves and d.chance(0.7)))
    return places


def _edge(d: Draft, flush: int, outside: bool) -> Place:
    if not outside:
        return _TSRAM_END if flush > 0 else Place(Space.TSRAM, 0, SLOT, flush)
    if d.chance(0.4):
        start = CHIP.cluster.csram.bytes - SLOT if flush > 0 else 0
        return Place(Space.CSRAM, start, start + SLOT, flush)
    if d.chance(0.2):  # a write to it faults
        return Place(Space.HBM, FIXED, FIXED + 4096, flush)
    start = _DATA_END - SLOT if flush > 0 else DATA
    return Place(Space.HBM, start, start + SLOT, flush)
