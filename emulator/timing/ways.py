"""Time on links and ports, a bit for each cycle: what `reserve` does with lists, and the same.

Pieces reach a link in another order than that in which they were issued, since some come from
further away. In a list of intervals one would have to look for the place of each, and to move the
rest. Here a request takes the first free cycles in one or two words of 64.

A resource's row has a ring of words for the cycles from now on. What lies beyond its end has no
bits: the resource is then kept as a list until it is idle. There are never more intervals than a
list has room for, so it is of no importance which of the two it is.
"""

from emulator.timing import layout as at
from emulator.timing import reserve as lists
from emulator.timing.bits import down, lowest, nth, ones
from emulator.timing.compiled import always, helper
from emulator.timing.reserve import BUSY, COUNT, FIRST, INTERVALS, LAST, LAST_END

# ---- columns of a resource's row, beside those of a list. LAST..LAST_END is taken without a gap,
# and nothing is behind it; the last interval may begin before.
_RUNS = 4  # as many intervals that are not past, or more
_LISTED = 5  # whether it is kept as a list
_BASE = 6  # number of the first line of words; all before it are zero
_RING = lists.LIST_END
_WORDS = 256  # a power of two
_WORD_BITS = 6
_LOW = (1 << _WORD_BITS) - 1
_CYCLES = _WORDS << _WORD_BITS
_LINES = _WORDS // at.LINE
_LINE_BITS = _WORD_BITS + at.LINE.bit_length() - 1  # words are cleared by the line: not too often
FIELDS = at.lines(_RING + _WORDS)


@helper
def reserve_way(res, r, arrival, length, now):
    """`reserve` of a resource whose unit of time is a cycle."""
    return reserve_here(res, r, arrival, length, now)


@always
def reserve_here(res, r, arrival, length, now):
    """`reserve_way` as a part of its caller."""
    if length <= 0:
        return arrival, arrival
    res[r, BUSY] += length
    end = res[r, LAST_END]
    line = now >> _LINE_BITS
    if res[r, _LISTED] != 0 and end <= now:
        res[r, _LISTED], res[r, _BASE] = 0, line
    if res[r, _LISTED] != 0 or max(arrival, end) + length > (line << _LINE_BITS) + _CYCLES:
        _keep_list(res, r, now)
        return lists.reserve_listed(res, r, arrival, length, now)
    if end <= now:
        res[r, _RUNS] = 0
    if line != res[r, _BASE]:
        _clear(res, r, line)
    if arrival < res[r, LAST] or arrival > end:  # it may be an interval of its own
        if res[r, _RUNS] >= INTERVALS:
            _make_room(res, r, arrival, now)
        res[r, _RUNS] += 1
        if arrival < res[r, LAST]:
            return _take_first_free(res, r, arrival, length)
        if arrival > end:
            end = arrival
            res[r, LAST] = end
    _take(res, r, end, length)
    res[r, LAST_END] = end + length
    return end, end + length


@helper
def _clear(res, r, line):
    """Let the ring begin with a later line of words."""
    base = res[r, _BASE]
    for i in range(base, min(line, base + _LINES)):
        first = _RING + (i & _LINES - 1) * at.LINE
        for word in range(at.LINE):
            res[r, first + word] = 0
    res[r, _BASE] = line


@always
def _column(word):
    """Column of a word of the ring."""
    return _RING + (word & _WORDS - 1)


@always
def _take(res, r, begin, length):
    """Set the bits of cycles that are all free."""
    word, bit = begin >> _WORD_BITS, begin & _LOW
    while length > 0:
        bits = down(-1, _LOW + 1 - min(length, _LOW + 1))
        res[r, _column(word)] |= bits << bit
        res[r, _column(word + 1)] |= down(down(bits, 1), _LOW - bit)
        word += 1
        length -= _LOW + 1


@always
def _take_first_free(res, r, arrival, length):
    """Set the bits of the first free cycles from the arrival on: (the first, behind the last)."""
    word = arrival >> _WORD_BITS
    free = ~res[r, _column(word)] & -1 << (arrival & _LOW)
    start, count = -1, ones(free)
    while count < length:
        if start < 0 and count > 0:
            start = (word << _WORD_BITS) + lowest(free)
        res[r, _column(word)] |= free
        length -= count
        word += 1
        free = ~res[r, _column(word)]
        count = ones(free)
    if start < 0:
        start = (word << _WORD_BITS) + lowest(free)
    last = nth(free, length - 1)
    res[r, _column(word)] |= free & down(-1, _LOW - last)
    end = (word << _WORD_BITS) + last + 1
    if end >= res[r, LAST]:  # it has filled the gap before the last
        res[r, LAST] = start
        res[r, LAST_END] = max(res[r, LAST_END], end)
    return start, end


# ---- what happens rarely


@helper
def _list(res, r, now):
    """Write the intervals that are not past into the columns of a list: how many."""
    count, busy = 0, False
    word, behind = now >> _WORD_BITS, (res[r, LAST_END] + _LOW) >> _WORD_BITS
    mask = -1 << (now & _LOW)
    while word <= behind:  # the last of these words is free, so that the last interval ends
        bits = res[r, _column(word)] & mask if word < behind else 0
        mask = -1
        change = bits ^ (bits << 1 | int(busy))  # where it begins or ends to be busy
        while change != 0:
            res[r, FIRST + 2 * count + int(busy)] = (word << _WORD_BITS) + lowest(change)
            count += int(busy)
            busy = not busy
            change &= change - 1
        word += 1
    return count


@helper
def _keep_list(res, r, now):
    """Keep a resource as a list from now on."""
    if res[r, _LISTED] != 0:
        return
    count = _list(res, r, now)
    _clear(res, r, res[r, _BASE] + _LINES)
    res[r, _LISTED], res[r, COUNT] = 1, 0
    if count > 0:
        last = FIRST + 2 * (count - 1)
        res[r, COUNT] = count - 1
        res[r, LAST], res[r, LAST_END] = res[r, last], res[r, last + 1]


@helper
def _count(res, r, now):
    """How many intervals are not past."""
    word, behind = now >> _WORD_BITS, (res[r, LAST_END] + _LOW) >> _WORD_BITS
    mask, count, before = -1 << (now & _LOW), 0, 0
    while word < behind:
        bits = res[r, _column(word)] & mask
        count += ones(bits & ~(bits << 1 | before))  # where one begins
        before = down(bits, _LOW)
        mask = -1
        word += 1
    return count


@helper
def _make_room(res, r, arrival, now):
    """Count the intervals; join two if there is no room for one more, which may be needed."""
    count = _count(res, r, now)
    if count == INTERVALS:
        count = _list(res, r, now)
        last = FIRST + 2 * (count - 1)
        res[r, LAST] = res[r, last]
        if not res[r, LAST] <= arrival <= res[r, LAST_END]:
            _join(res, r, count)
            count -= 1
    res[r, _RUNS] = count


@helper
def _join(res, r, count):
    """Join the two nearest of so many intervals, which the columns of a list have."""
    nearest = lists.smallest_gap(res, r, count)
    end, begin = res[r, FIRST + 2 * nearest + 1], res[r, FIRST + 2 * nearest + 2]
    _take(res, r, end, begin - end)
    if nearest + 2 == count:
        res[r, LAST] = res[r, FIRST + 2 * nearest]
