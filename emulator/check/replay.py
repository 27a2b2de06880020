"""An entry's events once more, in an order that leaves every wait as many signals as it can have.

Every tile's events are issued in their order, and a unit does what it can as soon as it is issued.
A wait for a semaphore that one thread signals is taken when the count is there: what it guarantees
does not depend on what else there is. Other waits are taken when nothing else moves, one by one,
or when all signals of the entry are there. Docs/check.md says why.
"""

from __future__ import annotations

from emulator.check import layout as at
from emulator.check.clocks import clock_of, join, keep_clock, slot_clock, tick, use_less, use_more
from emulator.check.operands import load
from emulator.check.semaphores import arrive, take
from emulator.fast.words import call, get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import load_u32, store_u32
from isa.faults import NUM_UNITS
from isa.spec.model import NUM_SEMAPHORES

_LOW = 0xFFFFFFFF


@helper
def _event(c, table, index):
    """Address of the event that a table of numbers has at an index."""
    return get(c, at.C_EVENTS) + 8 * at.E_WORDS * get(get(c, table), index)


@helper
def _thread(c, thread):
    return get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread


@helper
def _tile(c, tile):
    return get(c, at.C_TILE) + 8 * at.TI_WORDS * tile


@helper
def _semaphore(c, line):
    return get(c, at.C_SEMAPHORES) + 8 * at.S_WORDS * line


# ---- turns


@helper
def _give_turn(c, thread):
    """A thread may be able to go on."""
    row = _thread(c, thread)
    if get(row, at.TH_TURN) != 0:
        return
    put(row, at.TH_TURN, 1)
    tail = get(c, at.C_TURN_TAIL)
    put(get(c, at.C_TURNS), tail % get(c, at.C_THREADS), thread)
    put(c, at.C_TURN_TAIL, tail + 1)


@helper
def _take_turns(c):
    """Let threads go on until none can, or something goes wrong."""
    while get(c, at.C_TURN_HEAD) < get(c, at.C_TURN_TAIL):
        head = get(c, at.C_TURN_HEAD)
        thread = get(get(c, at.C_TURNS), head % get(c, at.C_THREADS))
        put(c, at.C_TURN_HEAD, head + 1)
        put(_thread(c, thread), at.TH_TURN, 0)
        if thread % NUM_UNITS == 0:
            _issue(c, thread // NUM_UNITS)
        else:
            _run(c, thread)
        if get(c, at.C_PROBLEM) != at.OK:
            return


@helper
def _run(c, thread):
    """A unit does what has been issued to it, up to a wait that must wait."""
    row, tile = _thread(c, thread), _tile(c, thread // NUM_UNITS)
    issued = get(tile, at.TI_AT) - get(tile, at.TI_BEGIN)
    while get(row, at.TH_AT) < get(row, at.TH_END):
        event = _event(c, at.C_BY_THREAD, get(row, at.TH_AT))
        if get(event, at.E_PC) >> 32 >= issued or not _do(c, event, thread):
            return
        put(row, at.TH_AT, get(row, at.TH_AT) + 1)


@helper
def _issue(c, tile):
    """A control processor goes on until it waits, or until others can go on."""
    row, control = _tile(c, tile), tile * NUM_UNITS
    while get(row, at.TI_AT) < get(row, at.TI_END):
        event = _event(c, at.C_BY_TILE, get(row, at.TI_AT))
        thread = get(event, at.E_HEAD) & _LOW
        if thread == control:
            if not _do(c, event, thread):
                return
            put(_thread(c, thread), at.TH_AT, get(_thread(c, thread), at.TH_AT) + 1)
            put(row, at.TI_AT, get(row, at.TI_AT) + 1)
        else:
            _stamp(c, row, control, event, thread)
            put(row, at.TI_AT, get(row, at.TI_AT) + 1)
            if get(_thread(c, thread), at.TH_SEMAPHORE) < 0:
                _run(c, thread)
        if get(c, at.C_TURN_HEAD) < get(c, at.C_TURN_TAIL):
            _give_turn(c, control)
            return


@helper
def _stamp(c, row, control, event, thread):
    """An event is issued: with it comes what its control processor knows."""
    put(event, at.E_ISSUED, load_u32(clock_of(c, control) + 4 * control))
    known = _thread(c, thread)
    version = get(row, at.TI_VERSION)
    if version == get(known, at.TH_ISSUED):
        return
    put(known, at.TH_ISSUED, version)
    if get(row, at.TI_SLOT) < 0:
        put(row, at.TI_SLOT, keep_clock(c, control, 1))
    put(event, at.E_SLOT, get(row, at.TI_SLOT))
    use_more(c, get(row, at.TI_SLOT))


# ---- events


@helper
def _do(c, event, thread):
    """Carry out an event; False if it is a wait that must wait."""
    kind, tile = get(event, at.E_HEAD) >> 32, thread // NUM_UNITS
    if thread != tile * NUM_UNITS:
        _learn_issue(c, event, clock_of(c, thread), tile * NUM_UNITS)
    if kind == at.WAIT:
        return _wait(c, event, thread)
    if kind == at.SIGNAL:
        _send(c, event, thread, tile)
    elif kind == at.ACCESS or kind == at.LOAD:
        _access(c, event, thread)
        if kind == at.ACCESS:
            call(get(c, at.C_INSTRUCT), (c, get(event, at.E_A)))
        else:
            load(c, event)
    return True


@helper
def _learn_issue(c, event, clock, control):
    """A unit's instruction comes after its issue."""
    if load_u32(clock + 4 * control) < get(event, at.E_ISSUED):
        store_u32(clock + 4 * control, get(event, at.E_ISSUED))
    slot = get(event, at.E_SLOT)
    if slot >= 0:
        join(c, clock, slot_clock(c, slot))
        use_less(c, slot)
        put(event, at.E_SLOT, -1)


@helper
def _access(c, event, thread):
    """Begin an access."""
    time, number = tick(c, thread), get(c, at.C_NEXT)
    put(c, at.C_NEXT, number + 1)
    row = get(c, at.C_ACCESSES) + 8 * at.A_WORDS * (number - get(c, at.C_FIRST))
    put(row, at.A_WHO, thread | time << 32)
    put(row, at.A_WHAT, get(event, at.E_PC))
    put(c, at.C_NOW_ID, number)
    put(c, at.C_NOW_CLOCK, clock_of(c, thread))


@helper
def _send(c, event, thread, tile):
    """A signal arrives wherever it goes, and those it lets go on get a turn."""
    time, count, number = tick(c, thread), get(event, at.E_B), get(event, at.E_A)
    slot = keep_clock(c, thread, 1)
    for target in range(get(event, at.E_C), get(event, at.E_D) + 1):
        line = target * NUM_SEMAPHORES + number
        semaphore = _semaphore(c, line)
        arrive(c, semaphore, thread, time, count, slot)
        waiter = get(semaphore, at.S_WAITER)
        if waiter >= 0 and get(_thread(c, waiter), at.TH_SEMAPHORE) == line:
            need = get(_thread(c, waiter), at.TH_NEED)
            if get(semaphore, at.S_HAVE) >= need and _has_all(semaphore):
                _give_turn(c, waiter)
    use_less(c, slot)


@helper
def _has_all(semaphore):
    """Whether no signal that is still to come could change what a wait guarantees.

    Those of the waiter itself come after its wait.
    """
    if get(semaphore, at.S_SOURCE) != at.SEVERAL:
        return True
    missing = get(semaphore, at.S_TOTAL) - get(semaphore, at.S_ARRIVED)
    return missing == get(semaphore, at.S_OWN) - get(semaphore, at.S_OWN_ARRIVED)


@helper
def _wait(c, event, thread):
    line, count = get(event, at.E_A), get(event, at.E_B)
    semaphore, row = _semaphore(c, line), _thread(c, thread)
    ready = get(semaphore, at.S_HAVE) >= count
    if not ready or not (_has_all(semaphore) or get(c, at.C_FORCED) == thread):
        put(row, at.TH_SEMAPHORE, line)
        put(row, at.TH_NEED, count)
        return False
    put(c, at.C_FORCED, -1)
    put(row, at.TH_SEMAPHORE, -1)
    take(c, semaphore, thread, count)
    tile = thread // NUM_UNITS
    if thread == tile * NUM_UNITS:  # what it issues from now on knows more
        known = _tile(c, tile)
        put(known, at.TI_VERSION, get(known, at.TI_VERSION) + 1)
        if get(known, at.TI_SLOT) >= 0:
            use_less(c, get(known, at.TI_SLOT))
        put(known, at.TI_SLOT, -1)
    return True


# ---- the whole entry


@helper
def _force(c):
    """Nothing moves: choose a wait that has its count; whether there is one."""
    threads, start = get(c, at.C_THREADS), get(c, at.C_CURSOR)
    for step in range(threads):
        thread = (start + step) % threads
        row = _thread(c, thread)
        line = get(row, at.TH_SEMAPHORE)
        if line >= 0 and get(_semaphore(c, line), at.S_HAVE) >= get(row, at.TH_NEED):
            put(c, at.C_FORCED, thread)
            put(c, at.C_CURSOR, thread)
            _give_turn(c, thread)
            return True
    return False


@njit
def replay(c):
    """Check the events of an entry, arranged by thread and tile; OK or what went wrong."""
    for tile in range(get(c, at.C_TILES)):
        _give_turn(c, tile * NUM_UNITS)
    while True:
        _take_turns(c)
        if get(c, at.C_PROBLEM) != at.OK or not _force(c):
            return get(c, at.C_PROBLEM)
