"""Time on shared resources: links, ports, memories.

A resource serves one transfer at a time at its full rate. Its future is a short list of busy
intervals; a request takes the first free time from its arrival on, in several pieces if gaps are
small (requests are packets, so they interleave). So no resource is ever above its capacity, and
no gap is left that a later request could have used, in whatever order requests are computed.

Links and ports, of which most requests are, have the same as bits (ways.py); the banks of TSRAM
something else (windows.py).
"""

from emulator.timing.compiled import always, helper

# ---- interval lists: columns of a resource's row. The last interval has columns of its own, since
# most requests concern no other: so they find all they need in one cache line.
COUNT, BUSY = 0, 1  #: intervals before the last; time reserved in all
LAST, LAST_END = 2, 3
READ, WRITTEN = 4, 5  #: of a bus of HBM (hbm.py): read since its last batch of writes; bytes of it
FIRST = 8  #: begins and ends of the intervals before the last
INTERVALS = 64
LIST_END = FIRST + 2 * INTERVALS  #: of the columns that a list takes
_PROBE = FIRST + 1  # column of the first interval's end


@helper
def _drop_past(res, r, now):
    """Forget intervals that ended before now; no request can arrive there any more."""
    count = res[r, COUNT]
    past = 0
    while past < count and res[r, FIRST + 2 * past + 1] <= now:
        past += 1
    if past > 0:
        for i in range(FIRST, FIRST + 2 * (count - past)):
            res[r, i] = res[r, i + 2 * past]
        res[r, COUNT] = count - past


@helper
def smallest_gap(res, r, count):
    """Which of so many intervals in the columns of a list has the smallest gap behind it."""
    nearest, smallest = 0, res[r, FIRST + 2] - res[r, FIRST + 1]
    for i in range(1, count - 1):
        gap = res[r, FIRST + 2 * i + 2] - res[r, FIRST + 2 * i + 1]
        if gap < smallest:
            nearest, smallest = i, gap
    return nearest


@helper
def _forget_smallest_gap(res, r):
    """Make room for an interval by joining the two that are nearest: a little capacity is lost."""
    i = smallest_gap(res, r, res[r, COUNT])
    _replace(res, r, i, i + 2, res[r, FIRST + 2 * i], res[r, FIRST + 2 * i + 3])


@always
def reserve(res, r, arrival, length, now):
    """Reserve `length` of resource r's time from `arrival` (>= now) on: (start, end).

    What is usual is part of the caller: behind the last interval, or as long as it waits there.
    """
    if length <= 0:
        return arrival, arrival
    res[r, BUSY] += length
    return reserve_listed(res, r, arrival, length, now)


@always
def reserve_listed(res, r, arrival, length, now):
    """`reserve` of some time, which is not yet counted."""
    start = res[r, LAST_END]
    if arrival > start:
        if start > now:
            _push_last(res, r, now)
        else:  # all intervals are past
            res[r, COUNT] = 0
        start = arrival
        res[r, LAST] = start
    elif arrival < res[r, LAST]:
        return _reserve_between(res, r, arrival, length, now)
    end = start + length  # here or within the last interval, which it makes longer
    res[r, LAST_END] = end
    return start, end


@helper
def _push_last(res, r, now):
    """Put the last interval behind those before it: there will be another one."""
    count = res[r, COUNT]
    if count > 1 and res[r, _PROBE] <= now:  # a short list lies in few cache lines
        _drop_past(res, r, now)
        count = res[r, COUNT]
    column = FIRST + 2 * count
    res[r, column], res[r, column + 1] = res[r, LAST], res[r, LAST_END]
    res[r, COUNT] = count + 1
    if count + 1 == INTERVALS:
        _make_room(res, r, now)


@helper
def _pull_last(res, r):
    """Take the last of the intervals from behind the others."""
    count = res[r, COUNT] - 1
    column = FIRST + 2 * count
    res[r, LAST], res[r, LAST_END] = res[r, column], res[r, column + 1]
    res[r, COUNT] = count


@helper
def _make_room(res, r, now):
    """Let a full list have a free place."""
    _drop_past(res, r, now)
    if res[r, COUNT] == INTERVALS:
        _forget_smallest_gap(res, r)


@helper
def _reserve_between(res, r, arrival, length, now):
    """`reserve` before the last interval."""
    count = res[r, COUNT]
    column = FIRST + 2 * count
    if count < INTERVALS - 1 and (count == 0 or res[r, column - 1] < arrival):
        last, end = res[r, LAST], res[r, LAST_END]
        if arrival + length < last:  # an interval of its own
            res[r, column], res[r, column + 1] = arrival, arrival + length
            res[r, COUNT] = count + 1
            return arrival, arrival + length
        left = arrival + length - last
        res[r, LAST], res[r, LAST_END] = arrival, end + left
        return arrival, end + left if left > 0 else last
    _push_last(res, r, now)
    start, end = _reserve_among(res, r, arrival, length)
    _pull_last(res, r)
    return start, end


@helper
def _reserve_among(res, r, arrival, length):
    """`reserve` somewhere among the intervals, with the last one behind the others."""
    count = res[r, COUNT]
    first = count - 1  # the first interval that ends at or after the arrival
    while first > 0 and res[r, FIRST + 2 * first - 1] >= arrival:
        first -= 1
    column = FIRST + 2 * first
    if arrival >= res[r, column]:
        start = res[r, column + 1]
        if first + 1 == count or start + length < res[r, column + 2]:  # behind it is room
            res[r, column + 1] = start + length
            return start, start + length
    elif arrival + length < res[r, column]:  # before it is room
        _insert(res, r, column, arrival, arrival + length)
        return arrival, arrival + length
    return _reserve_in_parts(res, r, first, arrival, length)


@always
def _insert(res, r, column, begin, end):
    """Put an interval before that of a column."""
    for i in range(FIRST + 2 * res[r, COUNT] - 1, column - 1, -1):
        res[r, i + 2] = res[r, i]
    res[r, column], res[r, column + 1] = begin, end
    res[r, COUNT] += 1


@helper
def _reserve_in_parts(res, r, first, arrival, length):
    """`reserve` from interval `first` on, where all that is known of the gaps is their order."""
    count = res[r, COUNT]
    begin = arrival
    time = arrival
    start = -1
    left = length
    after = first  # the first interval not joined with the new one
    while True:
        gap = res[r, FIRST + 2 * after] - time if after < count else left
        if gap > 0:
            if start < 0:
                start = time
            if gap > left:
                gap = left
            time += gap
            left -= gap
        if left == 0:
            break
        begin = min(begin, res[r, FIRST + 2 * after])
        time = res[r, FIRST + 2 * after + 1]
        after += 1
    end = time
    if after < count and res[r, FIRST + 2 * after] == end:
        time = res[r, FIRST + 2 * after + 1]
        after += 1
    _replace(res, r, first, after, begin, time)
    return start, end


@helper
def _replace(res, r, first, after, begin, end):
    """Put one interval in the place of intervals first..after-1 (possibly none)."""
    count = res[r, COUNT]
    shift = 1 - (after - first)
    if shift > 0:
        for i in range(FIRST + 2 * count - 1, FIRST + 2 * after - 1, -1):
            res[r, i + 2] = res[r, i]
    elif shift < 0:
        for i in range(FIRST + 2 * after, FIRST + 2 * count):
            res[r, i + 2 * shift] = res[r, i]
    res[r, FIRST + 2 * first], res[r, FIRST + 2 * first + 1] = begin, end
    res[r, COUNT] = count + shift
