"""Time on shared resources: links, ports, memories.

A resource serves one transfer at a time at its full rate. Its future is a short list of busy
intervals; a request takes the first free time from its arrival on, in several pieces if gaps are
small (requests are packets, so they interleave). So no resource is ever above its capacity, and
no gap is left that a later request could have used, in whatever order requests are computed.

TSRAM is different, because MXU and VPU use a part of its banks for a long time. Its time is cut
into windows; a window's bank accesses never exceed what its banks can do in it.
"""

from emulator.timing.compiled import helper

# ---- interval lists: columns of a resource's row
COUNT, BUSY = 0, 1  #: intervals now; time reserved in all
_FIRST = 2
INTERVALS = 64
FIELDS = _FIRST + 2 * INTERVALS
_MANY = 16  # intervals from which on those of the past are dropped; before, moving costs more

# ---- TSRAM windows: column 0 is the first window kept, then a ring of accesses
WINDOW = 32  #: cycles
WINDOWS = 2048  #: kept; beyond this much future (65,536 cycles) TSRAM is taken to be free
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


@helper
def reserve(res, r, arrival, length, now):
    """Reserve `length` of resource r's time from `arrival` (>= now) on: (start, end)."""
    if length <= 0:
        return arrival, arrival
    res[r, BUSY] += length
    if res[r, COUNT] >= _MANY:
        _drop_past(res, r, now)
    count = res[r, COUNT]
    last = _FIRST + 2 * count - 1  # column of the last interval's end
    if count == 0 or arrival > res[r, last]:
        if count == INTERVALS:
            _forget_smallest_gap(res, r)
            last -= 2
        res[r, last + 1], res[r, last + 2] = arrival, arrival + length
        res[r, COUNT] += 1
        return arrival, arrival + length
    if arrival >= res[r, last - 1]:  # within the last interval: queue behind it
        start = res[r, last]
        res[r, last] = start + length
        return start, start + length
    return _reserve_between(res, r, arrival, length)


@helper
def _reserve_between(res, r, arrival, length):
    """`reserve` where later intervals exist."""
    if res[r, COUNT] == INTERVALS:
        _forget_smallest_gap(res, r)
    count = res[r, COUNT]
    first = count - 1  # the first interval that ends at or after the arrival
    while first > 0 and res[r, _FIRST + 2 * first - 1] >= arrival:
        first -= 1
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
    window = now // WINDOW
    if window <= base:
        return
    if window - base >= WINDOWS:
        for i in range(1, WINDOW_FIELDS):
            ts[tile, i] = 0
    else:
        for i in range(base, window):
            ts[tile, 1 + i % WINDOWS] = 0
    ts[tile, 0] = window


@helper
def reserve_banks(ts, tile, begin, length, accesses, banks, now):
    """Spread `accesses` of a tile's banks evenly over [begin, begin + length): the end.

    The end is later than begin + length where the windows have not that many accesses left.
    """
    _advance(ts, tile, now)
    nominal = begin + length
    limit = ts[tile, 0] + WINDOWS
    window = begin // WINDOW
    granted = 0
    end = nominal
    while window < limit:
        low = max(begin, window * WINDOW)
        high = min(nominal, (window + 1) * WINDOW)
        due = accesses - granted
        if high < nominal:
            due = (accesses * (high - begin) + length - 1) // length - granted
        column = 1 + window % WINDOWS
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
