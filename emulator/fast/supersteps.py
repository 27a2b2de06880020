"""Supersteps: every tile runs until it cannot go on, then signals cross from tile to tile.

Tiles do not see each other's signals within a superstep, so it is all the same which worker
runs a tile, and when. Signals are delivered in tile order.
"""

from __future__ import annotations

import numpy as np

from emulator import retire
from emulator.fast import layout as at
from emulator.fast.control import WOKE, YIELDED, run
from emulator.fast.execute import add_to_semaphore, complete
from emulator.fast.queues import (
    PENDING,
    pop,
    record_address,
    serve_ready,
    stop_unit,
    unit_of,
)
from emulator.fast.rounds import (
    B_ASLEEP,
    B_CALLED,
    B_FULL,
    close_round,
    join_round,
    leave_round,
    next_tile,
    on_board,
    open_round,
)
from emulator.fast.words import exchange, get, peek, prefetch, put
from emulator.jit import helper, njit
from emulator.kernels.memory import copy_bytes
from isa.faults import NUM_UNITS, Fault
from isa.spec.model import SEMAPHORE_MAX

SEMAPHORE_OVERFLOW = int(Fault.SEMAPHORE_OVERFLOW)

#: Whether there must be another superstep; WAKE: this one is under way, and for all workers.
FINISHED, AGAIN, WAKE = range(3)

#: What is asked of `advance` in the place of a number of supersteps.
HELP, LEAVE = 0, -1

NO_LIMIT = (1 << 63) - 1


@helper
def _tile(m, index):
    return get(m, at.M_TILE0) + 8 * at.T_WORDS * index


@helper
def _run_tile(m, t, w):
    """One tile's part of a superstep."""
    put(t, at.T_RUNNABLE, 0)
    put(w, at.W_BUDGET, get(m, at.M_BUDGET))
    put(w, at.W_SPENT, 0)
    while True:
        serve_ready(m, t, w)
        if get(t, at.T_CONTROL) != at.RUNNING or get(unit_of(t, 0), at.U_STATE) == at.SENDING:
            break
        why = run(m, t, w)
        if why != WOKE:
            if why == YIELDED:
                put(t, at.T_RUNNABLE, 1)
            break
    used = get(m, at.M_BUDGET) - get(w, at.W_BUDGET) + get(w, at.W_SPENT)
    put(w, at.W_WORK, get(w, at.W_WORK) + used)


@helper
def _ask_for(t):
    """Have the words that a tile needs first fetched, if there is a tile: nothing is read."""
    for word in range(0, at.T_DESCRIPTORS, 8):
        prefetch(t + 8 * word)
    for unit in range(NUM_UNITS):
        prefetch(unit_of(t, unit))


@helper
def _run_tiles(m, w, most):
    """Run the tiles that no other worker takes. WAKE instead, if that is more than `most`.

    Then there may be tiles left, and somebody to wake for them.
    """
    while True:
        if get(w, at.W_WORK) > most and peek(on_board(m, B_ASLEEP)) != 0:
            return WAKE
        index = next_tile(m, get(w, at.W_NUMBER))
        if index < 0:
            return AGAIN
        t = _tile(m, index)
        if get(t, at.T_RUNNABLE) != 0:
            _ask_for(t + 8 * at.T_WORDS)
            _run_tile(m, t, w)
            if get(t, at.T_RING_FULL) != 0:
                exchange(on_board(m, B_FULL), 1)


@helper
def _deliver(m):
    """Carry all signals to their tiles; whether any tile can go on."""
    runnable = 0
    for index in range(get(m, at.M_TILES)):
        t = _tile(m, index)
        letters = get(t, at.T_OUTBOX)
        for letter in range(letters):
            _deliver_one(m, t, t + 8 * (at.T_SENT + 8 * letter))
        if letters != 0:  # else its cache line may stay where it is
            put(t, at.T_OUTBOX, 0)
    for index in range(get(m, at.M_TILES)):
        runnable |= get(_tile(m, index), at.T_RUNNABLE)
    return runnable


@helper
def _deliver_one(m, t, letter):
    """Add to every tile's semaphore, or let the sender fault if one of them would overflow."""
    unit, sem, count = get(letter, at.S_UNIT), get(letter, at.S_SEM), get(letter, at.S_COUNT)
    first, beyond = get(letter, at.S_FIRST), get(letter, at.S_LAST) + 1
    delivered = True
    for target in range(first, beyond):
        delivered &= get(_tile(m, target), at.T_SEMAPHORES + sem) + count <= SEMAPHORE_MAX
    words = unit_of(t, unit)
    put(t, at.T_RUNNABLE, 1)
    if not delivered:
        stop_unit(t, unit, SEMAPHORE_OVERFLOW, get(letter, at.S_PC))
        if unit == 0:
            put(t, at.T_CONTROL, at.FAULTED)
        else:
            pop(m, words)
        return
    for target in range(first, beyond):
        add_to_semaphore(_tile(m, target), sem, count)
    put(words, at.U_STATE, at.SERVING)
    complete(t, get(letter, at.S_RECORD))
    if unit != 0:
        pop(m, words)
    put(t, at.T_READY, get(t, at.T_READY) | 1 << unit)


@njit
def advance(m, w, supersteps):
    """The first worker's part of at most so many supersteps; AGAIN if there must be more.

    FINISHED if nothing can go on. WAKE in the middle of one: others are asleep, and there has been
    enough to do to wake them; then the next call goes on with that one. Instead of a number:

    - HELP: another worker's part of supersteps, as long as they come one soon after the other;
      whether it has been called away.
    - LEAVE: there will be no more of the superstep that may be under way.

    All in one function, since the loop takes long to compile.
    """
    if supersteps == HELP:
        return _help(m, w)
    if supersteps == LEAVE:
        close_round(m)
        return np.int64(FINISHED)
    put(w, at.W_WORK, 0)
    for _ in range(supersteps):
        open_round(m)
        if _run_tiles(m, w, get(m, at.M_ALONE)) == WAKE:
            return np.int64(WAKE)
        close_round(m)
        if _deliver(m) == 0:
            return np.int64(FINISHED)
        if peek(on_board(m, B_FULL)) != 0:
            exchange(on_board(m, B_FULL), 0)
            return np.int64(AGAIN)
    return np.int64(AGAIN)


@helper
def _help(m, w):
    seen = join_round(m, 0)
    while seen != 0:
        _run_tiles(m, w, NO_LIMIT)
        leave_round(m)
        seen = join_round(m, seen)
    return peek(on_board(m, B_CALLED))


@njit
def drain(m, target, room, last):
    """Move final records, in tile order, to an array with `room` rows; how many.

    Records behind one that is not final stay, unless this is the `last` time.
    """
    count = 0
    for index in range(get(m, at.M_TILES)):
        t = _tile(m, index)
        head, tail = get(t, at.T_RING_HEAD), get(t, at.T_RING_TAIL)
        while head < tail and count < room:
            record = record_address(t, head)
            if get(record, retire.TILE) != PENDING:
                copy_bytes(target + 8 * retire.WORDS * count, record, 8 * retire.WORDS)
                count += 1
            elif last == 0:
                break
            head += 1
        if head == tail:  # begin again with rows that may still be in a cache
            head = 0
            put(t, at.T_RING_TAIL, 0)
        put(t, at.T_RING_HEAD, head)
        put(t, at.T_RING_FULL, 0)
    return count
