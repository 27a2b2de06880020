"""The ring of slots that chunks of weights go through, and the slots that pages lend it.

A ring's slots are filled and used in turn; `lo.slot` is the one to be used next. From the end of
attention on, the memory of its pages is free until the next layer's: it is LENT to the ring. Behind
the chunks that are in the ring by then come those in lent slots, once; after that the ring is what
it was. `lo.due` counts up to 0 while there are some: -n for n chunks up to the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from compiler.emit import Reg
from compiler.lower.context import Lowering, Plan
from compiler.lower.kv import reads_early
from compiler.lower.tokens import MXU, W_CHANNELS

LENT = 16  # what the number of the first lent slot is in `lo.slot`, and between two of them


def shares_weights(lo: Lowering, alone: bool) -> bool:
    """Whether row groups bring weights for one another, where there are several."""
    return lo.most_groups > 1 and not alone and "multicast" not in lo.plan.options.without


def tell(lo: Lowering, unit: str, sems: object, slot: int, alone: bool) -> None:
    """Queue on a unit: a signal of a slot to every tile that shares its weights.

    A tile that shares with nobody signals to itself as often, so that counts are always the same.
    """
    code, sem = lo.code, sems[slot]  # type: ignore[index]
    if not shares_weights(lo, alone):
        code.signal(unit, sem, lo.groups)
        return
    several, done = code.label("several"), code.label("told")
    code.emit("bne", ra=lo.groups, b=1, target=several)
    code.signal(unit, sem)
    code.emit("jmp", target=done)
    code.place(several)
    with code.scope():
        lanes = lo.lanes()
        peer = code.calc("remu", lo.tile, lanes)
        with code.loop(lo.groups):
            code.signal_tile(unit, sem, peer)
            code.alu("add", peer, peer, lanes)
    code.place(done)


def lent_slots(plan: Plan) -> int:
    """How many slots pages lend, in steps that do not need the memory otherwise."""
    without = {"prefetch", "lent-pages"} & set(plan.options.without)
    return 0 if without or not reads_early(plan) else plan.tile.lent_slots


def each_lent(lo: Lowering) -> Iterator[tuple[int, Callable[[], None]]]:
    """Code for each slot that is lent, which must not run on; call what comes along at its end.

    A lent slot has the channel and the semaphores of the ring's slot of its number: what is in that
    one is used before, and what comes into it is behind.
    """
    code, lent = lo.code, lent_slots(lo.plan)
    for number in range(lent):
        other = code.label("other_lent")
        if number < lent - 1:
            code.emit("bge", ra=lo.slot, b=(number + 2) * LENT, target=other)
        yield number, partial(code.place, other)


def slot_offset(lo: Lowering, dst: Reg, scales: bool = False) -> None:
    """dst = where the current slot lies, or its scales: the ring's first slot is last in memory."""
    code, tile, done = lo.code, lo.plan.tile, lo.code.label("slot_offset")
    size = tile.w_slot + tile.w_scale_slot
    if lent_slots(lo.plan):
        begin = tile.at["k_block"] - tile.at["weights"] - tile.lent_bytes
        code.alu("shr", dst, lo.slot, LENT.bit_length() - 1)
        code.alu("mul", dst, dst, tile.lent_bytes)
        code.alu("add", dst, dst, begin + (tile.lent_bytes - tile.w_scale_slot) * scales)
        code.emit("bge", ra=lo.slot, b=LENT, target=done)
    code.set(dst, tile.w_depth - 1)
    code.alu("sub", dst, dst, lo.slot)
    code.alu("mul", dst, dst, size)
    if scales:
        code.alu("add", dst, dst, tile.w_slot)
    code.place(done)


def ring_slots(lo: Lowering) -> Reg:
    """A new register: slots of the ring in this step."""
    code, tile = lo.code, lo.plan.tile
    slots = code.reg(tile.w_depth)
    if tile.wide_stage > tile.stage and lo.most_groups > 1:
        with code.unless("eq", lo.groups, 1):
            code.set(slots, tile.w_depth - 1)
    return slots


def advance(lo: Lowering) -> None:
    """The next slot of the ring is the current one."""
    code = lo.code
    code.alu("add", lo.slot, lo.slot, 1)
    with code.scope(), code.unless("lt", lo.slot, ring_slots(lo)):
        code.set(lo.slot, 0)


def next_slot(lo: Lowering) -> None:
    """The same for a chunk that was used: the next may be in a slot that is lent."""
    code, lent = lo.code, lent_slots(lo.plan)
    lending, done = code.label("lent_next"), code.label("next_slot")
    if lent:
        code.emit("bge", ra=lo.slot, b=LENT, target=lending)
    advance(lo)
    if not lent:
        return
    code.emit("bge", ra=lo.due, b=0, target=done)
    code.alu("add", lo.due, lo.due, 1)
    code.emit("bne", ra=lo.due, b=-lent, target=done)
    code.alu("add", lo.slot, lo.slot, LENT)
    code.emit("jmp", target=done)
    code.place(lending)
    code.alu("add", lo.due, lo.due, 1)
    code.alu("add", lo.slot, lo.slot, LENT)
    code.emit("bne", ra=lo.due, b=0, target=done)
    code.alu("sub", lo.slot, lo.slot, LENT * (lent + 1))
    code.place(done)


def open_ring(lo: Lowering) -> None:
    """At the start of a step: every slot is free, for as many tiles as there are row groups."""
    for slot in range(lo.plan.tile.w_depth):
        lo.code.signal("ctl", lo.tokens.w_free[slot], lo.groups)


def close_ring(lo: Lowering) -> None:
    """At the end of a step: take the freedom of every slot back."""
    for slot in range(lo.plan.tile.w_depth):
        lo.code.wait(W_CHANNELS[slot], lo.tokens.w_free[slot], lo.groups)


def take(lo: Lowering) -> None:
    """Queue on the MXU: wait for the current slot's chunk."""
    code, done = lo.code, lo.code.label("taken")
    if lent_slots(lo.plan):
        with code.unless("lt", lo.slot, LENT):
            for number, end in each_lent(lo):
                code.wait(MXU, lo.tokens.w_full[number])
                code.emit("jmp", target=done)
                end()
    last = lo.plan.tile.w_depth - 1
    for slot in range(last + 1):
        other = code.label("other_slot")
        if slot < last:
            code.emit("bne", ra=lo.slot, b=slot, target=other)
        code.wait(MXU, lo.tokens.w_full[slot], lo.groups)
        if slot < last:
            code.emit("jmp", target=done)
        code.place(other)
    code.place(done)


def give(lo: Lowering, alone: bool) -> None:
    """Queue on the MXU: the current slot's chunk is used; what is lent goes back when all is."""
    code, done = lo.code, lo.code.label("given")
    if lent_slots(lo.plan):
        code.emit("bge", ra=lo.slot, b=LENT, target=done)
    last = lo.plan.tile.w_depth - 1
    for slot in range(last + 1):
        other = code.label("other_slot")
        if slot < last:
            code.emit("bne", ra=lo.slot, b=slot, target=other)
        tell(lo, MXU, lo.tokens.w_free, slot, alone)
        if slot < last:
            code.emit("jmp", target=done)
        code.place(other)
    code.place(done)
