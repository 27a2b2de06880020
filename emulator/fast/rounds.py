"""How workers share a superstep: all in compiled code, so that even a short one is worth sharing.

The first worker opens a *round* for each superstep, takes part in it, and closes it: then nobody
may begin, and it waits for those who have. The others look for rounds until they have found none
for a while. Each worker has a share of the tiles, the same in every round, since its caches hold
what these work on; who is done with its own takes from the others'.

What they tell each other is on a *board*, with a cache line for each word that several of them
change. A worker says that it is inside and then looks whether the round is still open; the first
one closes it and then looks whether anybody is inside: so one of the two sees the other.
"""

from __future__ import annotations

import numpy as np

from emulator.fast import layout as at
from emulator.fast.words import call, exchange, fetch_add, get, peek, put
from emulator.jit import helper
from emulator.kernels.scratch import LINE

_WORDS = LINE // 8
B_ROUND = 0  # the number of the open round; 0: there is none
B_LATEST = 1  # the number of the latest
B_INSIDE = _WORDS  # workers beside the first that take part
B_CALLED = 2 * _WORDS  # set: there is something else to do for those beside the first (workers.py)
B_ASLEEP = 3 * _WORDS  # set: there may be somebody who would have to be woken (workers.py)
B_FULL = 4 * _WORDS  # set: some tile stopped for want of room in its ring
B_SHARES = 5 * _WORDS  # the first word of worker 0's share; each of the others is a line further
#: A share: the next of its tiles, and the end of them.
S_NEXT, S_END = range(2)

#: Looks at the board before the processor is offered to whoever else could use it: as long as an
#: offer takes (estimate).
LOOKS = 256
#: So many times it is offered until somebody gives up: some 300 us (estimate).
PATIENCE = 400


def board_words(workers: int) -> int:
    """Words of the board of so many workers."""
    return B_SHARES + _WORDS * workers


@helper
def on_board(m, word):
    """Address of a word of the board."""
    return get(m, at.M_BOARD) + 8 * word


@helper
def _share(m, worker):
    return on_board(m, B_SHARES + _WORDS * worker)


@helper
def _offer_processor(m):
    function = get(m, at.M_YIELD)
    if function != 0:
        call(function, (m,))  # it takes nothing, and C's callers may pass more


# ---- the first worker's side


@helper
def open_round(m):
    """All tiles are to be taken, unless a round is open already."""
    if peek(on_board(m, B_ROUND)) != 0:
        return
    tiles, workers = get(m, at.M_TILES), get(m, at.M_WORKERS)
    for worker in range(workers):
        put(_share(m, worker), S_NEXT, tiles * worker // workers)
        put(_share(m, worker), S_END, tiles * (worker + 1) // workers)
    number = get(on_board(m, B_LATEST), 0) + 1
    put(on_board(m, B_LATEST), 0, number)
    exchange(on_board(m, B_ROUND), number)


@helper
def close_round(m):
    """Wait for those who are inside."""
    exchange(on_board(m, B_ROUND), 0)
    looks = 0
    while peek(on_board(m, B_INSIDE)) != 0:
        looks += 1
        if looks % LOOKS == 0:
            _offer_processor(m)


# ---- everybody's


@helper
def next_tile(m, worker):
    """A tile that nobody has taken, of the worker's own share first; -1: there is none."""
    workers, owner = get(m, at.M_WORKERS), worker
    for _ in range(workers):
        share = _share(m, owner)
        if peek(share) < get(share, S_END):
            index = fetch_add(share, 1)
            if index < get(share, S_END):
                return index
        owner = owner + 1 if owner + 1 < workers else np.int64(0)
    return np.int64(-1)


# ---- the others'


@helper
def join_round(m, seen):
    """Wait for a round later than number `seen`, and be inside: its number.

    0 if there is none for a while, or something else to do.
    """
    for _ in range(PATIENCE):
        for _ in range(LOOKS):
            if peek(on_board(m, B_CALLED)) != 0:
                return np.int64(0)
            number = peek(on_board(m, B_ROUND))
            if number != 0 and number != seen:
                fetch_add(on_board(m, B_INSIDE), 1)
                if peek(on_board(m, B_ROUND)) == number:
                    return number
                leave_round(m)
        _offer_processor(m)
    return np.int64(0)


@helper
def leave_round(m):
    """The worker does nothing more for it."""
    fetch_add(on_board(m, B_INSIDE), -1)
