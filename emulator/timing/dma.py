"""DMA channels.

A channel's front end goes through its queue ahead of the data: it starts the preparation of each
transfer (the doorbell) and stops at a `wait` that is not satisfied. The back end issues pieces in
order, as far as the requests under way allow, and carries out a `signal` when everything before
it is complete. A queue entry is held until its last piece has been issued.
"""

from emulator.retire import BYTES, DST_ADDRESS, DST_OWNER, SRC_ADDRESS, SRC_OWNER, STRIDE
from emulator.timing import layout as at
from emulator.timing import pieces
from emulator.timing.compiled import helper, inlined
from emulator.timing.costs import ceil_div, rest, up
from emulator.timing.events import SLOT_BITS, SLOTS
from emulator.timing.hbm import hbm_channel
from emulator.timing.ledger import begin_row, charge, complete, end_row
from emulator.timing.mesh import distance
from emulator.timing.network import move_piece
from emulator.timing.slices import M_BEGIN, ROOM, SIGNAL, WAIT, WORK, meter_piece
from emulator.timing.sync import (
    end_wait,
    fetch_next,
    fire,
    pop,
    try_wait,
    turn_to,
    wait_line,
    wake,
    wake_back,
)
from emulator.timing.traced import trace_entry
from emulator.timing.units import DEQUEUE

_NEAR = 8  #: pieces in flight; four large ones are all that a channel may have
_KIND = (1 << at.WHAT_BITS) - 1


@inlined
def front_step(s, tile, unit, time):
    """One event of a channel's front end: whether the back end goes on at the same moment."""
    u = tile * at.UNITS + unit
    depth = s.p[at.P_DEPTH]
    passed = s.units[u, at.U_PASSED]
    line = u * depth + rest(s.p, s.units[u, at.U_HEAD] + passed, at.P_DEPTH)
    if s.queue[line, at.Q_TIME] > time:  # still on its way from the control processor
        wake(s.events, s.p, tile, unit, s.queue[line, at.Q_TIME])
        return False
    if s.units[u, at.U_WAITING] == 2:
        s.units[u, at.U_WAITING] = 0
    else:
        s.queue[line, at.Q_FROM] = s.queue[line, at.Q_TO] = time
        if s.queue[line, at.Q_WHAT] & _KIND == at.OP_WAIT:
            sem, need = wait_line(s.queue, tile, line)
            if not try_wait(s.sems, s.units, tile, unit, sem, need):
                return False
            s.queue[line, at.Q_IDEAL] = max(s.queue[line, at.Q_IDEAL], s.sems[sem, at.S_IDEAL])
    # Nothing behind a wait starts before it: carry its place on the critical path along.
    ideal = max(s.units[u, at.U_WEIGHTS], s.queue[line, at.Q_IDEAL])
    s.units[u, at.U_WEIGHTS] = s.queue[line, at.Q_IDEAL] = ideal
    s.units[u, at.U_PASSED] = passed + 1
    idle = s.units[u, at.U_BLOCKED] == 0
    s.units[u, at.U_BLOCKED] = 1
    if passed + 1 < s.units[u, at.U_COUNT]:
        wake(s.events, s.p, tile, unit, time + DEQUEUE)
    else:
        s.units[u, at.U_ACTIVE] = 0
    return idle


@inlined
def back_step(s, tile, unit, time):
    """One event of a channel's back end: the next entry of its queue, or the next piece.

    Whether the next event is that of the next entry.
    """
    u = tile * at.UNITS + unit
    if s.chans[u, at.C_REC] >= 0:
        if _issue_piece(s, tile, unit, time):
            return False
    elif _take_up(s, tile, unit, u, time):
        return False
    return _leave(s, tile, unit, time)


@inlined
def _take_up(s, tile, unit, u, time):
    """Carry out the head of the queue: whether it is a transfer that has pieces to issue."""
    line = u * s.p[at.P_DEPTH] + s.units[u, at.U_HEAD]
    record, what = s.queue[line, at.Q_REC], s.queue[line, at.Q_WHAT]
    row, kind = what >> at.WHAT_BITS, what & _KIND
    ideal = s.queue[line, at.Q_IDEAL]
    fetch_next(s.p, s.queue, s.pool, u, s.units[u, at.U_HEAD], s.units[u, at.U_COUNT] - 1)
    if kind == at.OP_DMA:
        turn_to(s.units, s.rows, s.queue, u, at.DMA, line, row)
        first = _begin(s, tile, u, line, record, row, time)
        if s.chans[u, at.C_REC] >= 0:
            wake_back(s.events, s.p, tile, unit, first)
            return True
    elif kind == at.OP_WAIT:
        if tile < s.g[at.G_TRACED]:
            begin = max(s.units[u, at.U_PTR], s.queue[line, at.Q_FROM])
            trace_entry(s, u, line, record, WAIT, begin, s.queue[line, at.Q_TO])
        end_wait(s.units, s.rows, s.queue, u, at.DMA, line, row)
        s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal)
        complete(s.g, u, max(s.queue[line, at.Q_TO], s.chans[u, at.C_FINISH]))
    else:
        turn_to(s.units, s.rows, s.queue, u, at.DMA, line, row)
        done = max(time, s.chans[u, at.C_FINISH], s.queue[line, at.Q_FROM])
        if tile < s.g[at.G_TRACED]:
            trace_entry(s, u, line, record, SIGNAL, done, done)
        sync, count = s.queue[line, at.Q_SYNC], s.queue[line, at.Q_COUNTED]
        fire(s, u, done, sync, count, row, max(ideal, s.units[u, at.U_IDEAL]))
    return False


@inlined
def _leave(s, tile, unit, time):
    """The back end is done with the head of the queue: whether its next event is the very next.

    It is, at the same moment, unless this event has put another before it (the queue may still
    begin with this event itself), or there must be made room for what it may leave behind.
    """
    u = tile * at.UNITS + unit
    s.units[u, at.U_PASSED] -= 1
    pop(s, tile, unit, time)
    if s.units[u, at.U_PASSED] == 0:
        s.units[u, at.U_BLOCKED] = 0
        return False
    room = s.g[at.G_SIGNALS] >= s.p[at.P_TILES] and s.g[at.G_SLICES_LEFT] >= ROOM
    this = time << SLOT_BITS | SLOTS * tile + 2 * unit
    if s.events[1] < this or not room:
        wake_back(s.events, s.p, tile, unit, time)
        return False
    s.g[at.G_EVENTS] += 1
    return True


@inlined
def _begin(s, tile, u, line, record, row, time):
    """Take up a transfer: when its first piece may be issued."""
    doorbell = s.queue[line, at.Q_FROM]
    charge(s.units, s.rows, u, at.DMA, doorbell, at.ISSUE, row)
    begin_row(s.rows, row, doorbell)
    if tile < s.g[at.G_TRACED]:
        s.marks[line, M_BEGIN] = max(doorbell, s.units[u, at.U_PTR])
    start = start_cycles(s.p, s.pool, record)
    ideal = s.queue[line, at.Q_IDEAL] + start
    s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal)
    if s.pool[record, BYTES] <= 0:
        done = max(s.chans[u, at.C_FINISH], doorbell + start)
        charge(s.units, s.rows, u, at.DMA, done, at.START, row)
        if tile < s.g[at.G_TRACED]:
            trace_entry(s, u, line, record, WORK, s.marks[line, M_BEGIN], done)
        s.chans[u, at.C_FINISH] = done
        end_row(s.units, s.rows, u, row, done)
        complete(s.g, u, done)
        return time
    s.chans[u, at.C_REC] = record
    s.chans[u, at.C_OFFSET] = 0
    s.chans[u, at.C_FIRST] = 1
    _cut(s.p, s.pool, s.chans, u, record)
    lead = min(_lead(s, tile, u, record), start)
    _stream_ideal(s.p, s.pool, s.units, u, record, ideal - lead)
    ready = max(time, doorbell + start - lead, s.units[u, at.U_STREAM])
    if must_follow(s.chans, s.pool, u, record):
        ready = max(ready, s.chans[u, at.C_FINISH])
    remember(s.chans, s.pool, u, record)
    return max(ready, _window(s.p, s.chans, u, ready))


@helper
def _stream_ideal(p, pool, units, u, record, issue):
    """The critical path of a transfer whose first piece may be issued at a moment.

    Pieces are issued at the channel's rate, and each takes its own way: one that is issued later
    may be nearer. So what is certain is when the last is issued, and the shortest way from there.
    """
    rate = max(p[at.P_DMA_BYTES], p[at.P_LINK_BYTES])
    stream = max(units[u, at.U_IDEAL_STREAM], issue) + pool[record, BYTES] // rate
    units[u, at.U_IDEAL_STREAM] = stream
    if pieces.source_space(pool[record]) == pieces.HBM:
        stream += min(p[at.P_HBM_LATENCY] + 2 * p[at.P_INTERFACE], p[at.P_DMA_START])
    units[u, at.U_IDEAL] = max(units[u, at.U_IDEAL], stream)


@helper
def start_cycles(p, pool, record):
    """Cycles from doorbell to first byte of a transfer."""
    space = pieces.source_space(pool[record]), pieces.target_space(pool[record])
    if space[0] == pieces.HBM or space[1] == pieces.HBM:
        return p[at.P_DMA_START]
    return p[at.P_DMA_START_SRAM]


@inlined
def _lead(s, tile, u, record):
    """Cycles between the issue of the first piece and its first byte: part of the start cost.

    So the first byte leaves an idle HBM exactly at the end of the start cost.
    """
    space = pieces.source_space(s.pool[record])
    here = s.tile_node[tile]
    if space == pieces.HBM:
        there = s.port_node[s.channel_port[s.chans[u, at.C_CHANNEL]]]
        way = 2 * s.p[at.P_INTERFACE] + s.p[at.P_HOP] * distance(here, there)
        return s.p[at.P_HBM_LATENCY] + way
    return 0


@helper
def _cut(p, pool, chans, u, record):
    """Work out the channel's next piece."""
    size, runs, requests, address = pieces.next_piece(p, pool[record], chans[u, at.C_OFFSET])
    chans[u, at.C_PIECE], chans[u, at.C_PIECE_RUNS] = size, runs
    chans[u, at.C_PIECE_REQUESTS], chans[u, at.C_PIECE_ADDRESS] = requests, address
    if pieces.source_space(pool[record]) == pieces.HBM:
        chans[u, at.C_CHANNEL] = hbm_channel(p, address)


@helper
def must_follow(chans, pool, u, record):
    """Whether a transfer reads what the one before it on this channel writes."""
    if chans[u, at.C_LAST_SPACE] != pieces.source_space(pool[record]):
        return False
    same_owner = chans[u, at.C_LAST_OWNER] == pool[record, SRC_OWNER]
    if chans[u, at.C_LAST_SPACE] != pieces.HBM and not same_owner:
        return False
    low, high = extent(pool, record, True)
    return low < chans[u, at.C_LAST_HIGH] and chans[u, at.C_LAST_LOW] < high


@helper
def extent(pool, record, source):
    """(first, one past the last) address of one side of a transfer."""
    leads = pieces.leads_with_source(pool[record])
    low = pool[record, SRC_ADDRESS] if source else pool[record, DST_ADDRESS]
    size = pool[record, BYTES]
    if leads == source:
        size = max(size, ceil_div(size, pieces.leading_run(pool[record])) * pool[record, STRIDE])
    return low, low + size


@helper
def remember(chans, pool, u, record):
    """Keep what `must_follow` will ask for."""
    low, high = extent(pool, record, False)
    chans[u, at.C_LAST_SPACE] = pieces.target_space(pool[record])
    chans[u, at.C_LAST_OWNER] = pool[record, DST_OWNER]
    chans[u, at.C_LAST_LOW], chans[u, at.C_LAST_HIGH] = low, high


# ---- pieces


@helper
def _window(p, chans, u, time):
    """When the requests of the next piece fit beside those under way, from `time` on."""
    outstanding = p[at.P_OUTSTANDING]
    while chans[u, at.C_RING_COUNT] > 0:
        slot = at.C_RING + 2 * chans[u, at.C_RING_HEAD]
        fits = chans[u, at.C_FLYING] + chans[u, at.C_PIECE_REQUESTS] <= outstanding
        if chans[u, slot] > time:
            if fits:
                return time
            time = chans[u, slot]
        chans[u, at.C_FLYING] -= chans[u, slot + 1]
        chans[u, at.C_RING_HEAD] = rest(p, chans[u, at.C_RING_HEAD] + 1, at.P_OUTSTANDING)
        chans[u, at.C_RING_COUNT] -= 1
    return time


@helper
def _close_up(p, chans, u):
    """Let the ring begin at its place again now and then: a part of it is near, all of it not."""
    head, count = chans[u, at.C_RING_HEAD], chans[u, at.C_RING_COUNT]
    if head >= _NEAR and count <= _NEAR and head + count <= p[at.P_OUTSTANDING]:
        for i in range(at.C_RING, at.C_RING + 2 * count):
            chans[u, i] = chans[u, i + 2 * head]
        chans[u, at.C_RING_HEAD] = 0


@inlined
def _issue_piece(s, tile, unit, time):
    """Issue the channel's next piece, and work out the one after it: whether there is one."""
    u = tile * at.UNITS + unit
    record = s.chans[u, at.C_REC]
    row = s.pool[record, at.ROW]
    size, requests = s.chans[u, at.C_PIECE], s.chans[u, at.C_PIECE_REQUESTS]
    first, arrived, noc, banks, hbm, csram = move_piece(s, tile, u, record, time)
    own = up(s.p, size, at.P_DMA_BYTES)  # cycles at the channel's own rate
    pace = max(own, requests)
    finish = max(arrived, first + own, s.chans[u, at.C_FINISH])
    _account(s.units, s.rows, s.chans, u, row, finish, pace, noc, banks, hbm, csram)
    s.chans[u, at.C_FINISH] = finish
    _close_up(s.p, s.chans, u)
    slot = s.chans[u, at.C_RING_HEAD] + s.chans[u, at.C_RING_COUNT]
    slot = rest(s.p, slot, at.P_OUTSTANDING)
    s.chans[u, at.C_RING + 2 * slot] = finish
    s.chans[u, at.C_RING + 2 * slot + 1] = requests
    s.chans[u, at.C_RING_COUNT] += 1
    s.chans[u, at.C_FLYING] += requests
    s.chans[u, at.C_OFFSET] += size
    s.units[u, at.U_STREAM] = time + pace
    s.g[at.G_PIECES] += 1
    if s.g[at.G_TRACED] > 0:
        begin = max(finish - pace, 0)
        meter_piece(s.meters, s.g, s.pool[record], size, begin, finish)
    if s.chans[u, at.C_OFFSET] < s.pool[record, BYTES]:
        s.chans[u, at.C_FIRST] = 0
        _cut(s.p, s.pool, s.chans, u, record)
        following = _window(s.p, s.chans, u, time + pace)
        wake_back(s.events, s.p, tile, unit, following)
        return True
    if tile < s.g[at.G_TRACED]:
        line = u * s.p[at.P_DEPTH] + s.units[u, at.U_HEAD]
        trace_entry(s, u, line, record, WORK, s.marks[line, M_BEGIN], finish)
    end_row(s.units, s.rows, u, row, finish)
    complete(s.g, u, finish)
    s.chans[u, at.C_REC] = -1
    return False


@helper
def _account(units, rows, chans, u, row, finish, pace, noc, banks, hbm, csram):
    """Enter the channel's time up to the completion of a piece.

    The last `pace` cycles are what the channel needs at its own rate; before that, the delays the
    piece met, the one nearest to its end first; the rest is the start cost, or the latency that
    the requests under way did not hide.
    """
    before = finish - pace  # from here on back in time
    free = before - units[u, at.U_PTR]
    if free > 0:
        banks = min(banks, free)
        noc = min(noc, free - banks)
        csram = min(csram, free - banks - noc)
        hbm = min(hbm, free - banks - noc - csram)
        other = at.START if chans[u, at.C_FIRST] == 1 else at.LATENCY
        charge(units, rows, u, at.DMA, before - banks - noc - csram - hbm, other, row)
        charge(units, rows, u, at.DMA, before - banks - noc - csram, at.HBM_SLOW, row)
        charge(units, rows, u, at.DMA, before - banks - noc, at.CSRAM_BUSY, row)
        charge(units, rows, u, at.DMA, before - banks, at.NOC_BUSY, row)
        charge(units, rows, u, at.DMA, before, at.BANKS, row)
    charge(units, rows, u, at.DMA, finish, at.EXECUTE, row)
