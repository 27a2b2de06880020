"""Time on shared resources: links, ports, memories.

A resource serves one transfer at a time at its full rate. Its future is a short list of busy
intervals; a request takes the first free time from its arrival on, in several pieces if gaps are
small (requests are packets, so they interleave). So no resource is ever above its capacity, and
no gap is left that a later request could have used, in whatever order requests are computed.

TSRAM is different, because MXU and VPU use a part of its banks for a long time. Its time is cut
into windows; a window's bank accesses never exceed what its banks can do in it.
"""

from emulator.timing import layout as at
from emulator.timing.compiled import always, helper

# ---- interval lists: columns of a resource's row
COUNT, BUSY = 0, 1  #: intervals now; time reserved in all
_FIRST = 2
INTERVALS = 64
FIELDS = at.lines(_FIRST + 2 * INTERVALS)
# Intervals of the past are dropped so many at a time, since the others move; and not much later,
# since a short list lies in few cache lines.
_DROPPED = 4
_PROBE = _FIRST + 2 * _DROPPED - 1  # column of the end of the last of these

# ---- TSRAM windows: column 0 is the first window kept, then a ring of accesses
_WINDOW_BITS = 5
WINDOW = 1 << _WINDOW_BITS  #: cycles
WINDOWS = (
    2048  #: a power of two: kept; beyond this much future (65,536 cycles) TSRAM is taken to be free
)
WINDOW_FIELDS = 1 + WINDOWS


@helper
def _drop_past(res, r, now):
    """Forget intervals that ended before now; no request can arrive there any more."""
    count = res[r, COUNT]
    past = 0
    while past < count and res[r, _FIRST + 2 * past + 1] <= now:
        past += 1
    if past > 0:
        for i in range(_FIRST, _FIRST + 2 * (count - past)):
            res[r, i] = res[r, i + 2 * past]
        res[r, COUNT] = count - past


@helper
def _forget_smallest_gap(res, r):
    """Make room for an interval by joining the two that are nearest: a little capacity is lost."""
    count = res[r, COUNT]
    nearest, smallest = 0, res[r, _FIRST + 2] - res[r, _FIRST + 1]
    for i in range(1, count - 1):
        gap = res[r, _FIRST + 2 * i + 2] - res[r, _FIRST + 2 * i + 1]
        if gap < smallest:
            nearest, smallest = i, gap
    _replace(res, r, nearest, nearest + 2, res[r, _FIRST + 2 * nearest], _end(res, r, nearest + 1))


@helper
def _end(res, r, i):
    """End of an interval."""
    return res[r, _FIRST + 2 * i + 1]


@always
def reserve(res, r, arrival, length, now):
    """Reserve `length` of resource r's time from `arrival` (>= now) on: (start, end).

    What is usual is part of the caller: behind the last interval, or as long as it waits there.
    """
    if length <= 0:
        return arrival, arrival
    res[r, BUSY] += length
    count = res[r, COUNT]
    if count > _DROPPED and res[r, _PROBE] <= now:
        _drop_past(res, r, now)
        count = res[r, COUNT]
    last = _FIRST + 2 * count - 1  # column of the last interval's end
    if count > 0 and arrival <= res[r, last]:
        if arrival < res[r, last - 1]:
            return _reserve_between(res, r, arrival, length, now)
        start = res[r, last]  # within the last interval: queue behind it
        res[r, last] = start + length
        return start, start + length
    if count == INTERVALS:
        _make_room(res, r, now)
        count = res[r, COUNT]
        last = _FIRST + 2 * count - 1
    res[r, last + 1], res[r, last + 2] = arrival, arrival + length
    res[r, COUNT] = count + 1
    return arrival, arrival + length


@helper
def _make_room(res, r, now):
    """Let a full list have a free place."""
    _drop_past(res, r, now)
    if res[r, COUNT] == INTERVALS:
        _forget_smallest_gap(res, r)


@helper
def _reserve_between(res, r, arrival, length, now):
    """`reserve` where later intervals exist."""
    if res[r, COUNT] == INTERVALS:
        _make_room(res, r, now)
    count = res[r, COUNT]
    first = count - 1  # the first interval that ends at or after the arrival
    while first > 0 and res[r, _FIRST + 2 * first - 1] >= arrival:
        first -= 1
    column = _FIRST + 2 * first
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
    for i in range(_FIRST + 2 * res[r, COUNT] - 1, column - 1, -1):
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
        gap = res[r, _FIRST + 2 * after] - time if after < count else left
        if gap > 0:
            if start < 0:
                start = time
            if gap > left:
                gap = left
            time += gap
            left -= gap
        if left == 0:
            break
        begin = min(begin, res[r, _FIRST + 2 * after])
        time = res[r, _FIRST + 2 * after + 1]
        after += 1
    end = time
    if after < count and res[r, _FIRST + 2 * after] == end:
        time = res[r, _FIRST + 2 * after + 1]
        after += 1
    _replace(res, r, first, after, begin, time)
    return start, end


@helper
def _replace(res, r, first, after, begin, end):
    """Put one interval in the place of intervals first..after-1 (possibly none)."""
    count = res[r, COUNT]
    shift = 1 - (after - first)
    if shift > 0:
        for i in range(_FIRST + 2 * count - 1, _FIRST + 2 * after - 1, -1):
            res[r, i + 2] = res[r, i]
    elif shift < 0:
        for i in range(_FIRST + 2 * after, _FIRST + 2 * count):
            res[r, i + 2 * shift] = res[r, i]
    res[r, _FIRST + 2 * first], res[r, _FIRST + 2 * first + 1] = begin, end
    res[r, COUNT] = count + shift


@helper
def _advance(ts, tile, now):
    """Forget windows that lie before now."""
    base = ts[tile, 0]
    window = now >> _WINDOW_BITS
    if window <= base:
        return
    if window - base >= WINDOWS:
        for i in range(1, WINDOW_FIELDS):
            ts[tile, i] = 0
    else:
        for i in range(base, window):
            ts[tile, 1 + (i & WINDOWS - 1)] = 0
    ts[tile, 0] = window


@helper
def reserve_banks(ts, tile, begin, length, accesses, banks, now):
    """Spread `accesses` of a tile's banks evenly over [begin, begin + length): the end.

    The end is later than begin + length where the windows have not that many accesses left.
    """
    _advance(ts, tile, now)
    nominal = begin + length
    limit = ts[tile, 0] + WINDOWS
    window = begin >> _WINDOW_BITS
    granted = 0
    end = nominal
    while window < limit:
        low = max(begin, window * WINDOW)
        high = min(nominal, (window + 1) * WINDOW)
        due = accesses - granted
        if high < nominal:
            due = (accesses * (high - begin) + length - 1) // length - granted
        column = 1 + (window & WINDOWS - 1)
        used = ts[tile, column]
        room = min(WINDOW * banks - used, ((window + 1) * WINDOW - low) * banks)
        take = min(due, room)
        ts[tile, column] = used + take
        granted += take
        if granted == accesses and high >= nominal:
            if low >= nominal:  # late: the window is served from its beginning
                end = window * WINDOW + (used + take + banks - 1) // banks
            end = max(end, low + (take + banks - 1) // banks)
            return max(nominal, end)
        window += 1
    return max(nominal, begin + (accesses + banks - 1) // banks)
