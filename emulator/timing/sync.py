"""Semaphores, signals on their way, and the queues between control processor and units."""

from emulator.retire import SCOPE, SEM, TARGET
from emulator.timing import layout as at
from emulator.timing.compiled import helper, inlined
from emulator.timing.costs import rest
from emulator.timing.events import SLOTS, post, put, take_signal
from emulator.timing.ledger import charge, complete, copy_path, wait_for
from emulator.timing.mesh import distance
from emulator.timing.slices import mark_release, mark_signal
from emulator.timing.tables import prefetch

SELF, TILE, CLUSTER, ALL = range(4)  # isa.spec.sync.SCOPES
_SCOPE, _TARGET = 8, 12  # bits of a `sync_word`; below are 6 of the semaphore
_SEM_MASK, _SCOPE_MASK = (1 << _SCOPE) - 1, (1 << _TARGET - _SCOPE) - 1
LOCAL_SIGNAL = 1  #: cycles of a signal to the own tile: estimate


@helper
def wake(events, p, tile, unit, time):
    """Let the front end of a unit run at a moment."""
    put(events, p, SLOTS * tile + 2 * unit, time)


@helper
def wake_back(events, p, tile, unit, time):
    """Let the back end of a DMA channel run at a moment."""
    put(events, p, SLOTS * tile + 2 * unit + 1, time)


@helper
def free_record(free, g, record):
    """Give a record's place back."""
    free[g[at.G_FREE]] = record
    g[at.G_FREE] += 1


@helper
def sync_word(record):
    """Semaphore, scope and target of a `wait` or `signal` in one word."""
    return record[SEM] | record[SCOPE] << _SCOPE | record[TARGET] << _TARGET


@inlined
def pop(s, tile, unit, time):
    """Drop the head of a unit's queue; a control processor that waits for the place goes on.

    Its path is then that of the unit, whose slowness it waited for.
    """
    u = tile * at.UNITS + unit
    depth = s.p[at.P_DEPTH]
    line = u * depth + s.units[u, at.U_HEAD]
    if s.queue[line, at.Q_REC] >= 0:
        free_record(s.free, s.g, s.queue[line, at.Q_REC])
    left = s.units[u, at.U_COUNT] - 1
    s.units[u, at.U_COUNT] = left
    head = rest(s.p, s.units[u, at.U_HEAD] + 1, at.P_DEPTH)
    s.units[u, at.U_HEAD] = head if left > 0 else 0  # lines used lately are in the cache
    ctl = tile * at.UNITS
    if s.units[ctl, at.U_BLOCKED] == unit:
        s.units[ctl, at.U_BLOCKED] = 0
        row = s.pool[s.tiles[tile, at.T_HEAD], at.ROW]
        if time > s.units[ctl, at.U_PTR]:
            charge(s.units, s.rows, ctl, at.CTL, time, at.QUEUE_FULL, row)
            copy_path(s.units, u, time, s.units, ctl, at.U_PATH)
        wake(s.events, s.p, tile, 0, time)


@helper
def try_wait(sems, units, tile, unit, line, need):
    """Take from a semaphore if it has enough, else become its waiter: whether it was taken."""
    if sems[line, at.S_COUNT] >= need:
        sems[line, at.S_COUNT] -= need
        return True
    sems[line, at.S_WAITER], sems[line, at.S_NEED] = unit + 1, need
    units[tile * at.UNITS + unit, at.U_WAITING] = 1
    return False


@inlined
def _send(s, u, target, time, sem, count, row, ideal):
    """Put one signal on its way to one tile."""
    tile = u // at.UNITS
    way = LOCAL_SIGNAL
    if target != tile:
        hops = distance(s.tile_node[tile], s.tile_node[target])
        way = s.p[at.P_REMOTE_SIGNAL] + s.p[at.P_HOP] * hops
    signal = s.g[at.G_SIGNAL_FREE]
    s.g[at.G_SIGNAL_FREE] = s.signals[signal, at.SIG_NEXT]
    s.g[at.G_SIGNALS] -= 1
    s.signals[signal, at.SIG_SEM], s.signals[signal, at.SIG_COUNT] = sem, count
    s.signals[signal, at.SIG_IDEAL] = ideal + way
    if s.g[at.G_TRACED] > 0:
        mark_signal(s.signals, s.g, signal, row, u, time)
    copy_path(s.units, u, time, s.signals, signal, at.SIG_PATH)
    s.signals[signal, at.SIG_PATH + at.W_SIGNAL] += way
    arrival = post(s.signals, s.tiles, target, signal, time + way)
    if s.tiles[target, at.T_SIGNAL] == signal:  # else the event is there
        put(s.events, s.p, SLOTS * target + at.SLOT_SIGNAL, arrival)


@inlined
def fire(s, u, time, sync, count, row, ideal):
    """Carry out a `signal` whose unit has everything before it complete at `time`.

    `sync` is its `sync_word`.
    """
    tile = u // at.UNITS
    first, targets = tile, 1
    scope = sync >> _SCOPE & _SCOPE_MASK
    if scope == TILE:
        first = sync >> _TARGET
    elif scope == CLUSTER:
        targets = s.p[at.P_TILES_PER_CLUSTER]
        first = tile // targets * targets
    elif scope == ALL:
        first, targets = 0, s.p[at.P_TILES]
    for target in range(first, first + targets):
        _send(s, u, target, time, sync & _SEM_MASK, count, row, ideal)


@inlined
def arrive(s, tile, time):
    """A signal reaches its tile: count it, and release the waiter if it has enough."""
    signal = take_signal(s.signals, s.tiles, tile)
    following = s.tiles[tile, at.T_SIGNAL]
    if following >= 0:
        slot = SLOTS * tile + at.SLOT_SIGNAL
        put(s.events, s.p, slot, s.signals[following, at.SIG_TIME])
    line = tile * at.SEMAPHORES + s.signals[signal, at.SIG_SEM]
    s.sems[line, at.S_COUNT] += s.signals[signal, at.SIG_COUNT]
    ideal = max(s.sems[line, at.S_IDEAL], s.signals[signal, at.SIG_IDEAL])
    s.sems[line, at.S_IDEAL] = ideal
    unit = s.sems[line, at.S_WAITER] - 1
    if unit >= 0 and s.sems[line, at.S_COUNT] >= s.sems[line, at.S_NEED]:
        s.sems[line, at.S_COUNT] -= s.sems[line, at.S_NEED]
        s.sems[line, at.S_WAITER] = 0
        _release(s, tile, unit, signal, time, ideal)
    if time > s.g[at.G_END]:  # so far the entry's end: keep the path that led here
        last = s.p[at.P_TILES] * at.UNITS
        for i in range(at.NP):
            s.units[last, at.U_PATH + i] = s.signals[signal, at.SIG_PATH + i]
        complete(s.g, last, time)
    s.signals[signal, at.SIG_NEXT] = s.g[at.G_SIGNAL_FREE]
    s.g[at.G_SIGNAL_FREE] = signal
    s.g[at.G_SIGNALS] += 1


@inlined
def _release(s, tile, unit, signal, time, ideal):
    """A unit's wait has ended."""
    u = tile * at.UNITS + unit
    s.units[u, at.U_WAITING] = 2
    if unit == 0:
        row = s.pool[s.tiles[tile, at.T_HEAD], at.ROW]
        wait_for(
            s.units, s.rows, u, at.CTL, time, at.SEMAPHORE, row, s.signals, signal, at.SIG_PATH
        )
        s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal)
        if s.g[at.G_TRACED] > 0:
            mark_release(s.marks, s.signals, u * s.p[at.P_DEPTH], signal)
    else:
        depth = s.p[at.P_DEPTH]
        entry = rest(s.p, s.units[u, at.U_HEAD] + s.units[u, at.U_PASSED], at.P_DEPTH)
        line = u * depth + entry
        s.queue[line, at.Q_TO] = time
        s.queue[line, at.Q_IDEAL] = max(s.queue[line, at.Q_IDEAL], ideal)
        if s.g[at.G_TRACED] > 0:
            mark_release(s.marks, s.signals, line, signal)
        if time > s.units[u, at.U_PTR]:  # else the unit is behind already: nobody will ask
            for i in range(at.NP):
                s.queue[line, at.Q_WAIT_PATH + i] = s.signals[signal, at.SIG_PATH + i]
    wake(s.events, s.p, tile, unit, time)


@helper
def wait_line(queue, tile, line):
    """(line of its semaphore, what it takes) of a `wait` in a queue."""
    return tile * at.SEMAPHORES + (queue[line, at.Q_SYNC] & _SEM_MASK), queue[line, at.Q_COUNTED]


@helper
def fetch_next(p, queue, pool, u, head, left):
    """Bring what lies behind a queue's head, where `left` entries are, into the cache."""
    if left > 0:
        record = queue[u * p[at.P_DEPTH] + rest(p, head + 1, at.P_DEPTH), at.Q_REC]
        if record >= 0:
            prefetch(pool, record)
        if left > 1:
            prefetch(queue, u * p[at.P_DEPTH] + rest(p, head + 2, at.P_DEPTH))


@helper
def turn_to(units, rows, queue, u, kind, line, row):
    """A unit turns to a queue entry: before that was issued, it had nothing to do."""
    issued = queue[line, at.Q_TIME]
    wait_for(units, rows, u, kind, issued, at.ISSUE, row, queue, line, at.Q_PATH)


@helper
def end_wait(units, rows, queue, u, kind, line, row):
    """A unit is done with a `wait` entry of its queue: enter the time it took."""
    turn_to(units, rows, queue, u, kind, line, row)
    begin, end = queue[line, at.Q_FROM], queue[line, at.Q_TO]
    charge(units, rows, u, kind, begin, at.ISSUE, row)
    if end > begin:
        wait_for(units, rows, u, kind, end, at.SEMAPHORE, row, queue, line, at.Q_WAIT_PATH)
