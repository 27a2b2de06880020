"""What a wait guarantees: what has come before it in every schedule.

An instruction is certain if the wait could not have been satisfied without it: if the signals that
do not come after it are not enough for all waits up to this one. Clocks make this a question for
each thread: how far it must have come before signals that know no more of it were enough. The
signals are those that have arrived in this replay, which takes waits as late as it can; so none
that could have taken another's place is missing.
"""

from __future__ import annotations

from emulator.check import layout as at
from emulator.check.clocks import clock_of, join, slot_clock, use_less, use_more
from emulator.fast.words import get, put
from emulator.jit import helper
from emulator.kernels.memory import load_u32, store_u32


@helper
def _signal(c, number):
    return get(c, at.C_SIGNALS) + 8 * at.G_WORDS * number


@helper
def _drop(c, semaphore, number, previous):
    """Take a signal off its semaphore's list; the one behind it."""
    signal = _signal(c, number)
    following = get(signal, at.G_NEXT)
    put(semaphore, at.S_KNOWN, get(semaphore, at.S_KNOWN) + get(signal, at.G_COUNT))
    if previous < 0:
        put(semaphore, at.S_FIRST, following)
    else:
        put(_signal(c, previous), at.G_NEXT, following)
    if following < 0:
        put(semaphore, at.S_LAST, previous)
    use_less(c, get(signal, at.G_SLOT))
    put(signal, at.G_NEXT, get(c, at.C_SIGNAL_FREE))
    put(c, at.C_SIGNAL_FREE, number)
    return following


@helper
def arrive(c, semaphore, thread, time, count, slot):
    """A signal reaches a semaphore. One of 0 says nothing that another does not say."""
    put(semaphore, at.S_HAVE, get(semaphore, at.S_HAVE) + count)
    put(semaphore, at.S_ARRIVED, get(semaphore, at.S_ARRIVED) + count)
    if get(semaphore, at.S_WAITER) == thread:
        put(semaphore, at.S_OWN_ARRIVED, get(semaphore, at.S_OWN_ARRIVED) + count)
    if count == 0:
        return
    number = get(c, at.C_SIGNAL_FREE)
    if number >= 0:
        put(c, at.C_SIGNAL_FREE, get(_signal(c, number), at.G_NEXT))
    else:
        number = get(c, at.C_SIGNAL_COUNT)
        if number == at.MOST_SIGNALS:
            put(c, at.C_PROBLEM, at.NO_SIGNALS)
            return
        put(c, at.C_SIGNAL_COUNT, number + 1)
    signal = _signal(c, number)
    put(signal, at.G_NEXT, -1)
    put(signal, at.G_SLOT, slot)
    put(signal, at.G_THREAD, thread)
    put(signal, at.G_TIME, time)
    put(signal, at.G_COUNT, count)
    use_more(c, slot)
    last = get(semaphore, at.S_LAST)
    if last < 0:
        put(semaphore, at.S_FIRST, number)
    else:
        put(_signal(c, last), at.G_NEXT, number)
    put(semaphore, at.S_LAST, number)


@helper
def _take_in_order(c, semaphore, clock, demand):
    """Signals of one thread: as many as are needed, of which the last one knows the others."""
    walk, slot = get(semaphore, at.S_FIRST), -1
    while walk >= 0 and get(semaphore, at.S_KNOWN) < demand:
        signal = _signal(c, walk)
        if slot >= 0:
            use_less(c, slot)
        slot = get(signal, at.G_SLOT)
        use_more(c, slot)
        walk = _drop(c, semaphore, walk, -1)
    if slot >= 0:
        join(c, clock, slot_clock(c, slot))
        use_less(c, slot)


@helper
def _count_up_to(c, semaphore, place, time):
    """The sum of the signals that know no more of a thread than a time; `place`: 4 * thread."""
    count, walk = get(semaphore, at.S_KNOWN), get(semaphore, at.S_FIRST)
    while walk >= 0:
        signal = _signal(c, walk)
        if load_u32(slot_clock(c, get(signal, at.G_SLOT)) + place) <= time:
            count += get(signal, at.G_COUNT)
        walk = get(signal, at.G_NEXT)
    return count


@helper
def _latest(c, semaphore, place):
    """The most that a signal knows of a thread."""
    latest, walk = 0, get(semaphore, at.S_FIRST)
    while walk >= 0:
        signal = _signal(c, walk)
        latest = max(latest, load_u32(slot_clock(c, get(signal, at.G_SLOT)) + place))
        walk = get(signal, at.G_NEXT)
    return latest


@helper
def _learn_certain(c, semaphore, clock, demand):
    """What is certain of every thread: the earliest time up to which signals are enough.

    Had the thread not come so far, fewer signals than that could have been there.
    """
    for place in range(0, 4 * get(c, at.C_THREADS), 4):
        low, high = load_u32(clock + place), _latest(c, semaphore, place)
        if high <= low or _count_up_to(c, semaphore, place, low) >= demand:
            continue
        while low + 1 < high:
            middle = (low + high) >> 1
            if _count_up_to(c, semaphore, place, middle) >= demand:
                high = middle
            else:
                low = middle
        store_u32(clock + place, high)


@helper
def _drop_known(c, semaphore, clock):
    """Take those signals off the list that the waiter knows all of."""
    walk, previous = get(semaphore, at.S_FIRST), -1
    while walk >= 0:
        signal = _signal(c, walk)
        if load_u32(clock + 4 * get(signal, at.G_THREAD)) >= get(signal, at.G_TIME):
            walk = _drop(c, semaphore, walk, previous)
        else:
            previous, walk = walk, get(signal, at.G_NEXT)


@helper
def _learn_all(c, semaphore, clock):
    """All signals are needed."""
    walk = get(semaphore, at.S_FIRST)
    while walk >= 0:
        signal = _signal(c, walk)
        join(c, clock, slot_clock(c, get(signal, at.G_SLOT)))
        walk = get(signal, at.G_NEXT)


@helper
def take(c, semaphore, thread, count):
    """A wait has its turn: its thread learns all that is certain now."""
    put(semaphore, at.S_HAVE, get(semaphore, at.S_HAVE) - count)
    demand = get(semaphore, at.S_DEMAND) + count
    put(semaphore, at.S_DEMAND, demand)
    clock = clock_of(c, thread)
    if get(semaphore, at.S_SOURCE) >= 0:
        _take_in_order(c, semaphore, clock, demand)
        return
    if get(semaphore, at.S_HAVE) == 0:
        _learn_all(c, semaphore, clock)
    else:
        _learn_certain(c, semaphore, clock, demand)
    _drop_known(c, semaphore, clock)
