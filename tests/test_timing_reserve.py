"""Shared resources: reservations against a model that keeps every single cycle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases

from emulator.jit import njit
from emulator.timing import reserve as lists
from emulator.timing import ways
from emulator.timing import windows as model
from emulator.timing.reserve import reserve
from emulator.timing.tables import table
from emulator.timing.ways import reserve_way
from emulator.timing.windows import reserve_banks


@njit
def by_list(address, arrival, length, now):
    """`reserve` on the only resource of a table."""
    return reserve(table(address, ways.FIELDS, "res"), 0, arrival, length, now)


@njit
def by_bits(address, arrival, length, now):
    """`reserve_way` on the only resource of a table."""
    return reserve_way(table(address, ways.FIELDS, "res"), 0, arrival, length, now)


@njit
def banks_one(address, begin, length, accesses, banks, now):
    """`reserve_banks` on the only tile of a table."""
    windows = table(address, model.WINDOW_FIELDS, "ts")
    return reserve_banks(windows, 0, begin, length, accesses, banks, now)


EITHER = pytest.mark.parametrize("reserve_one", [by_list, by_bits])


Seeds = st.integers(0, 2**32 - 1)
Requests = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 150), st.integers(0, 20)), max_size=60
)


Reserve = Callable[[int, int, int, int], tuple[int, int]]


@EITHER
@settings(max_examples=cases(100))
@given(requests=Requests)
def test_a_reservation_takes_the_first_free_cycles(
    reserve_one: Reserve, requests: list[tuple[int, int, int]]
) -> None:
    """(time passed, arrival after now, length): as if every cycle were looked at one by one."""
    row = np.zeros((1, ways.FIELDS), np.int64)
    taken: set[int] = set()
    now = 0
    for passed, ahead, length in requests:
        now += passed
        arrival = now + ahead
        free = [cycle for cycle in range(arrival, arrival + 4000) if cycle not in taken][:length]
        taken.update(free)
        expected = (free[0], free[-1] + 1) if free else (arrival, arrival)
        assert reserve_one(row.ctypes.data, arrival, length, now) == expected
    assert row[0, lists.BUSY] == len(taken)


Scattered = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9)), min_size=200, max_size=300)


@EITHER
@settings(max_examples=cases(100))
@given(requests=Scattered)
def test_more_intervals_than_there_is_room_for_never_overlap(
    reserve_one: Reserve, requests: list[tuple[int, int]]
) -> None:
    """Joining intervals may lose a gap; it never gives a cycle twice, nor one too early."""
    row = np.zeros((1, ways.FIELDS), np.int64)
    taken = np.zeros(20_000, np.int64)
    for arrival, length in requests:
        begin, end = reserve_one(row.ctypes.data, arrival, length, 0)
        assert arrival <= begin and end >= begin + length
        if end == begin + length:
            taken[begin:end] += 1
        assert row[0, lists.COUNT] < lists.INTERVALS
    assert taken.max() <= 1
    intervals = row[0, lists.FIRST : lists.FIRST + 2 * row[0, lists.COUNT]]
    assert (np.diff(intervals) >= 0).all()
    assert row[0, lists.BUSY] == sum(length for _, length in requests)


Moments = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 100), st.integers(0, 30_000)),
        st.one_of(st.integers(0, 300), st.integers(0, 4000), st.integers(0, 40_000)),
        st.one_of(st.integers(0, 70), st.integers(0, 1000)),
    ),
    max_size=150,
)


@settings(max_examples=cases(200))
@given(Moments)
def test_bits_and_lists_are_the_same(requests: list[tuple[int, int, int]]) -> None:
    """(time passed, arrival after now, length), also beyond what has bits."""
    bits, listed = (np.zeros((1, ways.FIELDS), np.int64) for _ in range(2))
    now = 0
    for passed, ahead, length in requests:
        now += passed
        expected = by_list(listed.ctypes.data, now + ahead, length, now)
        assert by_bits(bits.ctypes.data, now + ahead, length, now) == expected


@settings(max_examples=cases(50))
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2500), st.integers(1, 9))), Seeds)
def test_bits_and_lists_forget_the_same_gaps(more: list[tuple[int, int, int]], seed: int) -> None:
    """So many short requests at once that a list is full."""
    bits, listed = (np.zeros((1, ways.FIELDS), np.int64) for _ in range(2))
    rng = np.random.default_rng(seed)
    now = 0
    many = np.stack([rng.integers(0, 3, 300), rng.integers(0, 2500, 300), rng.integers(1, 9, 300)])
    for passed, ahead, length in [*map(tuple, many.T.tolist()), *more]:
        now += passed
        expected = by_list(listed.ctypes.data, now + ahead, length, now)
        assert by_bits(bits.ctypes.data, now + ahead, length, now) == expected


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
