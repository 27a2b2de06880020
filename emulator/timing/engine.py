"""The event loop.

A conservative simulation: events are taken in the order of their time, and the loop stops where
the earliest event is a control processor that needs a record which has not arrived. What happens
therefore depends only on each tile's own sequence of records, never on how they were interleaved
or cut into chunks. Records that arrived early wait in their tile's FIFO, which is all the memory
that the stream needs.
"""

from emulator.jit import njit
from emulator.retire import TILE, WORDS
from emulator.timing import layout as at
from emulator.timing.compiled import helper, inlined
from emulator.timing.dma import back_step, front_step
from emulator.timing.events import NOTHING, SLOT_BITS, SLOTS, settle, slot_of
from emulator.timing.ledger import charge
from emulator.timing.slices import M_FIELDS, METERS, ROOM, S_FIELDS
from emulator.timing.state import FIELD_NAMES, State
from emulator.timing.sync import arrive, wake
from emulator.timing.tables import float_row, row, table
from emulator.timing.units import compute_step, control_step, fetch
from emulator.timing.ways import FIELDS
from emulator.timing.windows import WINDOW_FIELDS

#: Why `run` returned: records wanted, no room for signals or slices, no event.
STARVED, FULL, IDLE = range(3)
_VPU = 2


@helper
def _open(at_address):
    """The state, from the (address, row length) of each of its arrays."""
    _ = FIELD_NAMES  # their order is in nothing else that the key of the cache is made from
    return State(
        row(at_address[0, 0], "p"),
        float_row(at_address[1, 0], "f"),
        table(at_address[2, 0], 2, "opcodes"),
        row(at_address[3, 0], "tile_node"),
        row(at_address[4, 0], "csram_node"),
        row(at_address[5, 0], "port_node"),
        row(at_address[6, 0], "port_order"),
        row(at_address[7, 0], "channel_port"),
        row(at_address[8, 0], "g"),
        table(at_address[9, 0], at.T_FIELDS, "tiles"),
        table(at_address[10, 0], at.U_FIELDS, "units"),
        table(at_address[11, 0], at.Q_FIELDS, "queue"),
        table(at_address[12, 0], at.S_FIELDS, "sems"),
        table(at_address[13, 0], at_address[13, 1], "chans"),
        row(at_address[14, 0], "events"),
        table(at_address[15, 0], at.SIG_FIELDS, "signals"),
        table(at_address[16, 0], 16, "pool"),
        row(at_address[17, 0], "free"),
        table(at_address[18, 0], FIELDS, "res"),
        table(at_address[19, 0], at.SEEN_FIELDS, "seen"),
        table(at_address[20, 0], WINDOW_FIELDS, "ts"),
        table(at_address[21, 0], at.B_FIELDS, "banks"),
        table(at_address[22, 0], at.HQ_FIELDS, "hbm_queues"),
        table(at_address[23, 0], at.ROW_FIELDS, "rows"),
        table(at_address[24, 0], S_FIELDS, "slices"),
        table(at_address[25, 0], M_FIELDS, "marks"),
        table(at_address[26, 0], len(METERS), "meters"),
    )


@njit
def store(addresses, chunk_address, rows_address, first, count):
    """Append records first..count-1 to their tiles' FIFOs while there is room: the next one."""
    s = _open(addresses)
    chunk, rows = table(chunk_address, WORDS, "chunk"), row(rows_address, "chunk rows")
    for i in range(first, count):
        left = s.g[at.G_FREE] - 1
        if left < 0:
            return i
        s.g[at.G_FREE] = left
        record = s.free[left]
        for word in range(WORDS):
            s.pool[record, word] = chunk[i, word]
        s.pool[record, at.ROW] = rows[i]
        s.pool[record, at.NEXT] = -1
        tile = chunk[i, TILE]
        tail = s.tiles[tile, at.T_TAIL]
        if tail < 0:
            s.tiles[tile, at.T_HEAD] = record
        else:
            s.pool[tail, at.NEXT] = record
        s.tiles[tile, at.T_TAIL] = record
    return count


@inlined
def _channel_step(s, leaf, tile, slot, time):
    """One event of a DMA channel and those that follow at once: the leaf to be mended.

    These events need not go through the queue, where each would be the very next.
    """
    follows = True
    if slot & 1 == 0:
        follows = front_step(s, tile, slot >> 1, time)
        if follows:  # the back end's leaf is this one's pair, so mending that mends both
            leaf += 1
            s.g[at.G_EVENTS] += 1
    while follows:
        follows = back_step(s, tile, slot >> 1, time)
    return leaf


@njit
def run(addresses):
    """Handle events until one needs what is not there: STARVED, FULL or IDLE."""
    s = _open(addresses)
    spare = s.p[at.P_TILES]  # signals that one event can send
    while s.events[1] != NOTHING:
        if s.g[at.G_SIGNALS] < spare or s.g[at.G_SLICES_LEFT] < ROOM:
            return FULL
        event = s.events[1]
        time, leaf = event >> SLOT_BITS, s.p[at.P_LEAVES] + slot_of(event)
        tile, slot = slot_of(event) // SLOTS, event & (SLOTS - 1)
        if slot == 0 and s.units[tile * at.UNITS, at.U_FETCHED] == 0:
            record = s.tiles[tile, at.T_HEAD]
            if record < 0:
                if s.g[at.G_CLOSED] == 0:
                    return STARVED
                settle(s.events, leaf, NOTHING)
                continue
            gap = fetch(s.p, s.pool, s.units, tile, record)
            if gap > 0:
                wake(s.events, s.p, tile, 0, time + gap)
                continue
        s.events[leaf] = NOTHING  # the way to the root is mended below, or by a new event here
        s.g[at.G_EVENTS] += 1
        if slot == at.SLOT_SIGNAL:
            arrive(s, tile, time)
        elif slot == 0:
            control_step(s, tile, time)
        elif slot <= 2 * _VPU:
            compute_step(s, tile, slot >> 1, time)
        else:
            leaf = _channel_step(s, leaf, tile, slot, time)
        if s.events[leaf] == NOTHING:
            settle(s.events, leaf, NOTHING)
    return IDLE


@njit
def finish(addresses):
    """Account for every unit's time up to the end of the entry, which is returned."""
    s = _open(addresses)
    end = s.g[at.G_END]
    for u in range(s.p[at.P_TILES] * at.UNITS):
        kind = min(u % at.UNITS, at.DMA)
        charge(s.units, s.rows, u, kind, end, at.AFTER_END, -1)
    return end
