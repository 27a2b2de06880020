"""Vector clocks, and slots in which clocks are kept for later."""

from __future__ import annotations

from emulator.check import layout as at
from emulator.fast.words import get, put
from emulator.jit import helper
from emulator.kernels.memory import copy_bytes, load_i64, load_u32, store_u32


@helper
def clock_of(c, thread):
    """Address of a thread's clock."""
    return get(c, at.C_CLOCKS) + get(c, at.C_CLOCK_BYTES) * thread


@helper
def tick(c, thread):
    """Let a thread's own time go on by one; the new time."""
    own = clock_of(c, thread) + 4 * thread
    time = load_u32(own) + 1
    store_u32(own, time)
    return time


@helper
def join(c, clock, other):
    """A clock learns all that another knows."""
    for at_byte in range(0, get(c, at.C_CLOCK_BYTES), 4):
        mine, theirs = load_u32(clock + at_byte), load_u32(other + at_byte)
        store_u32(clock + at_byte, mine if mine > theirs else theirs)


@helper
def slot_clock(c, slot):
    """Address of the clock in a slot."""
    return get(c, at.C_SLOTS) + get(c, at.C_CLOCK_BYTES) * slot


@helper
def keep_clock(c, thread, users):
    """A slot with a copy of a thread's clock, for so many users; a problem if none is left."""
    slot = get(c, at.C_SLOT_FREE)
    if slot >= 0:
        put(c, at.C_SLOT_FREE, get(get(c, at.C_SLOT_USERS), slot))
    else:
        slot = get(c, at.C_SLOT_COUNT)
        if slot == at.MOST_SLOTS:
            put(c, at.C_PROBLEM, at.NO_SLOTS)
            return 0
        put(c, at.C_SLOT_COUNT, slot + 1)
    put(get(c, at.C_SLOT_USERS), slot, users)
    copy_bytes(slot_clock(c, slot), clock_of(c, thread), get(c, at.C_CLOCK_BYTES))
    return slot


@helper
def use_more(c, slot):
    """One more user of a slot."""
    users = get(c, at.C_SLOT_USERS) + 8 * slot
    put(users, 0, load_i64(users) + 1)


@helper
def use_less(c, slot):
    """A user is done with a slot; the last one frees it."""
    users = get(c, at.C_SLOT_USERS) + 8 * slot
    left = load_i64(users) - 1
    put(users, 0, left)
    if left == 0:
        put(users, 0, get(c, at.C_SLOT_FREE))
        put(c, at.C_SLOT_FREE, slot)
