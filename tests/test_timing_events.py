"""The event queue against a sorted list."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator.jit import njit
from emulator.timing import events as model
from emulator.timing import layout as at
from emulator.timing.events import post, put, settle, slot_of, take_signal
from emulator.timing.tables import row, table

TILES = 3
LEAVES = model.leaves(TILES)


@njit
def put_one(address, constants, slot, time):  # type: ignore[no-untyped-def]
    """Put an event, and say which is first."""
    put(row(address, "events"), row(constants, "p"), slot, time)
    return row(address, "events")[1]


@njit
def drop(address, constants, event):  # type: ignore[no-untyped-def]
    """Drop an event, and say which is first."""
    settle(row(address, "events"), row(constants, "p")[at.P_LEAVES] + slot_of(event), model.NOTHING)
    return row(address, "events")[1]


@njit
def post_one(signals, tiles, signal, time):  # type: ignore[no-untyped-def]
    """Enter a signal for tile 0: the time of the first."""
    lists = table(signals, at.SIG_FIELDS, "signals"), table(tiles, at.T_FIELDS, "tiles")
    return post(*lists, 0, signal, time)


@njit
def take_one(signals, tiles):  # type: ignore[no-untyped-def]
    """Take tile 0's first signal."""
    lists = table(signals, at.SIG_FIELDS, "signals"), table(tiles, at.T_FIELDS, "tiles")
    return take_signal(*lists, 0)


Slots = st.integers(0, TILES * model.SLOTS - 1)


@given(st.lists(st.one_of(st.none(), st.tuples(Slots, st.integers(0, 20))), max_size=80))
def test_events_come_by_time_then_slot(moves: list[tuple[int, int] | None]) -> None:
    """Put at a time (again: moved), or None: the first is dropped."""
    events, constants = np.empty(2 * LEAVES, np.int64), np.zeros(at.P_COUNT, np.int64)
    constants[at.P_LEAVES] = LEAVES
    model.restart(events, TILES)
    pending = {tile * model.SLOTS: 0 for tile in range(TILES)}
    first = int(events[1])
    for move in moves:
        if move is not None:
            pending[move[0]] = move[1]
            first = put_one(events.ctypes.data, constants.ctypes.data, *move)
        elif pending:
            del pending[first & (1 << model.SLOT_BITS) - 1]
            first = drop(events.ctypes.data, constants.ctypes.data, first)
        least = min(((time, slot) for slot, time in pending.items()), default=None)
        found = (first >> model.SLOT_BITS, first & (1 << model.SLOT_BITS) - 1)
        assert found == least if least else first == model.NOTHING


@given(st.lists(st.integers(0, 9), max_size=30))
def test_signals_come_by_time_then_order(times: list[int]) -> None:
    """Those of one moment in the order in which they were sent."""
    signals = np.zeros((len(times), at.SIG_FIELDS), np.int64)
    tiles = np.full((1, at.T_FIELDS), -1, np.int64)
    for number, time in enumerate(times):
        first = post_one(signals.ctypes.data, tiles.ctypes.data, number, time)
        assert first == min(times[: number + 1])
    taken = [take_one(signals.ctypes.data, tiles.ctypes.data) for _ in times]
    assert taken == sorted(range(len(times)), key=lambda number: (times[number], number))
    assert tiles[0, at.T_SIGNAL] == tiles[0, at.T_LAST_SIGNAL] == -1
