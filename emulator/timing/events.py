"""The event queue: what happens next, on the whole chip.

Every unit has at most one event under way at each of its slots, so the queue is a tournament: a
complete binary tree whose leaves are the slots of all tiles and whose inner nodes hold the least
of their two children. A node's value is `time << SLOT_BITS | tile * 32 + slot`, so events are
taken in the order of their time, then tile, then slot, whatever the order they were put in. Moving
an event costs one way from its leaf to the root, without a branch that depends on data.

Signals on their way to a tile share one slot: they are a list in the order of their arrival.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.timing import layout as at
from emulator.timing.compiled import helper

Ints = NDArray[np.int64]

SLOTS = 32  #: of a tile
SLOT_BITS = 20  #: so up to 32,768 tiles, and 2^43 cycles: an hour of the chip's time
NOTHING = (1 << 63) - 1
_SLOT_MASK = (1 << SLOT_BITS) - 1


def leaves(tiles: int) -> int:
    """Leaves of the tree: a power of two with a place for every slot."""
    if tiles * SLOTS > 1 << SLOT_BITS:
        raise ValueError(f"{tiles} tiles are more than the event queue takes")
    return 1 << (tiles * SLOTS - 1).bit_length()


def restart(events: Ints, tiles: int) -> None:
    """Only the control processors have an event, at time 0."""
    first = len(events) // 2
    events.fill(NOTHING)
    slots = np.arange(tiles) * SLOTS
    events[first + slots] = slots
    while first > 1:
        pairs = events[first : 2 * first].reshape(-1, 2)
        first //= 2
        events[first : 2 * first] = pairs.min(axis=1)


@helper
def settle(events, node, value):
    """Give a leaf a value and mend its way to the root."""
    while node > 1:
        events[node] = value
        value = min(value, events[node ^ 1])
        node >>= 1
    events[1] = value


@helper
def put(events, p, slot, time):
    """Let the event of a slot (tile * 32 + slot) be at a time."""
    settle(events, p[at.P_LEAVES] + slot, time << SLOT_BITS | slot)


@helper
def slot_of(event):
    """The slot of a node's value: tile * 32 + slot."""
    return event & _SLOT_MASK


@helper
def post(signals, tiles, tile, signal, time):
    """Enter a signal that arrives at a time into its tile's list: the time of the list's first."""
    signals[signal, at.SIG_TIME] = time
    tail = tiles[tile, at.T_LAST_SIGNAL]
    if tail < 0 or signals[tail, at.SIG_TIME] <= time:
        before, after = tail, -1
    else:
        before, after = -1, tiles[tile, at.T_SIGNAL]
        while signals[after, at.SIG_TIME] <= time:
            before, after = after, signals[after, at.SIG_NEXT]
    signals[signal, at.SIG_NEXT] = after
    if before < 0:
        tiles[tile, at.T_SIGNAL] = signal
    else:
        signals[before, at.SIG_NEXT] = signal
    if after < 0:
        tiles[tile, at.T_LAST_SIGNAL] = signal
    return signals[tiles[tile, at.T_SIGNAL], at.SIG_TIME]


@helper
def take_signal(signals, tiles, tile):
    """Take the first signal from a tile's list."""
    signal = tiles[tile, at.T_SIGNAL]
    following = signals[signal, at.SIG_NEXT]
    tiles[tile, at.T_SIGNAL] = following
    if following < 0:
        tiles[tile, at.T_LAST_SIGNAL] = -1
    return signal
