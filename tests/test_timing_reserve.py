"""Shared resources: reservations against a model that keeps every single cycle."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases

from emulator.jit import njit
from emulator.timing import reserve as model
from emulator.timing.reserve import reserve, reserve_banks
from emulator.timing.tables import table


@njit
def reserve_one(address, arrival, length, now):
    """`reserve` on the only resource of a table."""
    return reserve(table(address, model.FIELDS), 0, arrival, length, now)


@njit
def banks_one(address, begin, length, accesses, banks, now):
    """`reserve_banks` on the only tile of a table."""
    return reserve_banks(
        table(address, model.WINDOW_FIELDS), 0, begin, length, accesses, banks, now
    )


Requests = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 150), st.integers(0, 20)), max_size=60
)


@settings(max_examples=cases(100))
@given(Requests)
def test_a_reservation_takes_the_first_free_cycles(requests: list[tuple[int, int, int]]) -> None:
    """(time passed, arrival after now, length): as if every cycle were looked at one by one."""
    row = np.zeros((1, model.FIELDS), np.int64)
    taken: set[int] = set()
    now = 0
    for passed, ahead, length in requests:
        now += passed
        arrival = now + ahead
        free = [cycle for cycle in range(arrival, arrival + 4000) if cycle not in taken][:length]
        taken.update(free)
        expected = (free[0], free[-1] + 1) if free else (arrival, arrival)
        assert reserve_one(row.ctypes.data, arrival, length, now) == expected
    assert row[0, model.BUSY] == len(taken)


@settings(max_examples=cases(100))
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9)), min_size=200, max_size=300))
def test_more_intervals_than_there_is_room_for_never_overlap(
    requests: list[tuple[int, int]],
) -> None:
    """Joining intervals may lose a gap; it never gives a cycle twice, nor one too early."""
    row = np.zeros((1, model.FIELDS), np.int64)
    taken = np.zeros(20_000, np.int64)
    for arrival, length in requests:
        begin, end = reserve_one(row.ctypes.data, arrival, length, 0)
        assert arrival <= begin and end >= begin + length
        if end == begin + length:
            taken[begin:end] += 1
        assert row[0, model.COUNT] <= model.INTERVALS
    assert taken.max() <= 1
    intervals = row[0, 2 : 2 + 2 * row[0, model.COUNT]]
    assert (np.diff(intervals) >= 0).all()
    assert row[0, model.BUSY] == sum(length for _, length in requests)


Accesses = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 300), st.integers(0, 200), st.integers(0, 1500)),
    max_size=40,  # 60,000 accesses of one bank are still within the windows that are kept
)


@settings(max_examples=cases(100))
@given(Accesses, st.sampled_from([1, 8, 32]))
def test_banks_never_serve_more_than_they_can(
    requests: list[tuple[int, int, int, int]], banks: int
) -> None:
    row = np.zeros((1, model.WINDOW_FIELDS), np.int64)
    served = np.zeros(2 * model.WINDOWS, np.int64)
    now = total = 0
    for passed, ahead, length, accesses in requests:
        now += passed
        begin = now + ahead
        before = _windows(row)
        end = banks_one(row.ctypes.data, begin, length, accesses, banks, now)
        assert end >= begin + max(length, -(-accesses // banks))
        after = _windows(row)
        change = {window: after[window] - before.get(window, 0) for window in after}
        for window, count in change.items():
            served[window] += count
            assert count >= 0
            if count:
                assert begin // model.WINDOW <= window <= end // model.WINDOW
        total += accesses
    assert served.max() <= model.WINDOW * banks
    assert served.sum() == total


def _windows(row: np.ndarray) -> dict[int, int]:
    """Accesses by window number, of those kept."""
    base = int(row[0, 0])
    kept = range(base, base + model.WINDOWS)
    return {window: int(row[0, 1 + window % model.WINDOWS]) for window in kept}


def test_an_access_spreads_over_its_time() -> None:
    row = np.zeros((1, model.WINDOW_FIELDS), np.int64)
    assert banks_one(row.ctypes.data, 0, 320, 1000, 32, 0) == 320
    assert [row[0, 1 + w] for w in range(10)] == [100] * 10


def test_two_users_of_most_banks_slow_the_second_down() -> None:
    row = np.zeros((1, model.WINDOW_FIELDS), np.int64)
    assert banks_one(row.ctypes.data, 0, 320, 320 * 24, 32, 0) == 320
    end = banks_one(row.ctypes.data, 0, 320, 320 * 16, 32, 0)
    assert end == 320 + 320 * 8 // 32


def test_long_after_the_windows_kept_nothing_is_left_of_them() -> None:
    row = np.zeros((1, model.WINDOW_FIELDS), np.int64)
    banks_one(row.ctypes.data, 0, 3200, 3200 * 32, 32, 0)
    late = 10 * model.WINDOW * model.WINDOWS
    assert banks_one(row.ctypes.data, late, 32, 32 * 32, 32, late) == late + 32
