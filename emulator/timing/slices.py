"""Slices: what each unit did when, instruction by instruction, kept only if somebody watches.

A slice is the part of a unit's time that the ledger has entered for one record, so a unit's slices
never overlap. They are put into a buffer that `emulator.timing.watch` empties; nothing else in the
model depends on them. While nobody watches, `G_TRACED` is 0 and all that this costs is asking.

What a record's earlier life was is kept until its slice is made: in `marks`, which has a line for
each queue entry (a control processor, which has no queue, uses its first), and in a signal.

The meters are bytes moved in windows of the entry's time. There are so many windows; when time
goes on beyond them, they become twice as long.
"""

from emulator.retire import BYTES, DST_OWNER, FLAGS, OPCODE, PC, SEM, SRC_OWNER
from emulator.timing import layout as at
from emulator.timing import pieces
from emulator.timing.compiled import helper
from emulator.timing.costs import ceil_div, gap_cycles

ROW = at.ROW
UNWATCHED = 1 << 62  #: free places in the buffer while nobody watches
ROOM = 4  #: slices that one event can make

# ---- a slice
(
    S_UNIT,  # tile * UNITS + unit
    S_KIND,
    S_BEGIN,
    S_END,
    S_TURNED,  # when the control processor turned to the record
    S_REACHED,  # when it had done the scalar instructions before
    S_ISSUED,  # when it was in the unit's queue
    S_SERIAL,  # of the record, in the order in which control processors issued them
    S_PC,
    S_OPCODE,
    S_ROW,  # of the report
    S_BYTES,
    S_SEM,
    S_FROM,  # a wait: who released it, as _SENDERS * row + unit; -1: it did not have to wait
    S_SENT,  # when that left
    S_SENDER,  # serial of that signal
    S_FIELDS,
) = range(17)
KINDS = ("work", "wait", "signal", "issue", "queue full")
WORK, WAIT, SIGNAL, ISSUE, BLOCKED = range(len(KINDS))
SENDERS = 1 << 20  #: more than there are units

# ---- a line of marks
M_TURNED, M_REACHED, M_SERIAL, M_BEGIN, M_FROM, M_SENT, M_SENDER, M_FIELDS = range(8)

# ---- meters
METERS = ("HBM read", "HBM write", "NoC", "TSRAM", "CSRAM")
HBM_READ, HBM_WRITE, NOC, TSRAM, CSRAM = range(len(METERS))
LINES = 1 << 14  #: windows
FIRST_WINDOW = 256  #: cycles of a window at first


# ---- records


@helper
def turn(units, u):
    """The control processor has turned to its next record: once its last one was complete."""
    if units[u, at.U_TURNED] == 0:
        units[u, at.U_TURNED] = units[u, at.U_PTR] + 1


@helper
def _next_serial(g, u):
    """The serial of a record; -1 if its tile is not watched."""
    if u < g[at.G_TRACED_FROM] * at.UNITS:
        return -1
    g[at.G_SERIAL] += 1
    return g[at.G_SERIAL] - 1


@helper
def own_slice(slices, marks, g, p, pool, units, line, u, record, kind, end):
    """A record that the control processor u carries out itself."""
    turned = units[u, at.U_TURNED] - 1
    units[u, at.U_TURNED] = 0
    marks[line, M_TURNED] = turned
    marks[line, M_REACHED] = turned + gap_cycles(p, pool[record])
    marks[line, M_SERIAL] = _next_serial(g, u)
    begin = marks[line, M_REACHED] if kind == WAIT else turned
    put_slice(slices, marks, g, pool, line, u, record, kind, begin, end, begin)
    marks[line, M_FROM] = -1


@helper
def issue_slice(slices, marks, g, p, pool, units, line, u, record, begin, end):
    """A record that the control processor u puts into a queue, at a line of marks."""
    turned = units[u, at.U_TURNED] - 1
    units[u, at.U_TURNED] = 0
    marks[line, M_TURNED] = turned
    marks[line, M_REACHED] = turned + gap_cycles(p, pool[record])
    marks[line, M_SERIAL] = _next_serial(g, u)
    marks[line, M_FROM] = -1
    if marks[line, M_REACHED] < begin:
        put_slice(
            slices, marks, g, pool, line, u, record, BLOCKED, marks[line, M_REACHED], begin, end
        )
        turned = begin
    put_slice(slices, marks, g, pool, line, u, record, ISSUE, turned, end, end)


@helper
def put_slice(slices, marks, g, pool, line, u, record, kind, begin, end, issued):
    """Put a slice into the buffer, if its tile is watched."""
    if u < g[at.G_TRACED_FROM] * at.UNITS or u >= g[at.G_TRACED] * at.UNITS:
        return
    g[at.G_SLICES_LEFT] -= 1
    i = g[at.G_SLICES]
    g[at.G_SLICES] += 1
    opcode = pool[record, OPCODE]
    slices[i, S_UNIT], slices[i, S_KIND] = u, kind
    slices[i, S_BEGIN], slices[i, S_END] = begin, max(begin, end)
    slices[i, S_TURNED], slices[i, S_REACHED] = marks[line, M_TURNED], marks[line, M_REACHED]
    slices[i, S_ISSUED], slices[i, S_SERIAL] = issued, marks[line, M_SERIAL]
    slices[i, S_PC], slices[i, S_OPCODE] = pool[record, PC], opcode | pool[record, FLAGS] << 8
    slices[i, S_ROW] = pool[record, ROW]
    if kind == WORK:
        more = 0 if u % at.UNITS > 2 or u % at.UNITS == 0 else pool[record, BYTES + 1]
        slices[i, S_BYTES], slices[i, S_SEM] = pool[record, BYTES] + more, -1
    else:
        slices[i, S_BYTES], slices[i, S_SEM] = 0, pool[record, SEM]
    slices[i, S_FROM] = -1
    if kind == WAIT:
        slices[i, S_FROM], slices[i, S_SENT] = marks[line, M_FROM], marks[line, M_SENT]
        slices[i, S_SENDER] = marks[line, M_SENDER]
    elif kind == SIGNAL:
        g[at.G_SIGNALLER] = marks[line, M_SERIAL]


# ---- who releases whom


@helper
def mark_signal(signals, g, signal, row, u, time):
    """A signal leaves: it carries who sent it."""
    tile = u // at.UNITS
    signals[signal, at.SIG_FROM] = -1
    if g[at.G_TRACED_FROM] <= tile and tile < g[at.G_TRACED]:
        signals[signal, at.SIG_FROM] = row * SENDERS + u
        signals[signal, at.SIG_SENT] = time
        signals[signal, at.SIG_SENDER] = g[at.G_SIGNALLER]


@helper
def mark_release(marks, signals, line, signal):
    """A signal has ended a wait: the wait's line keeps who sent it."""
    marks[line, M_FROM] = signals[signal, at.SIG_FROM]
    marks[line, M_SENT] = signals[signal, at.SIG_SENT]
    marks[line, M_SENDER] = signals[signal, at.SIG_SENDER]


# ---- bytes


@helper
def _fold(meters, g):
    """Make every window twice as long."""
    g[at.G_WINDOW] *= 2
    for line in range(LINES // 2):
        for kind in range(len(METERS)):
            meters[line, kind] = meters[2 * line, kind] + meters[2 * line + 1, kind]
    for line in range(LINES // 2, LINES):
        for kind in range(len(METERS)):
            meters[line, kind] = 0


@helper
def meter(meters, g, kind, size, begin, end):
    """Bytes that move evenly over [begin, end)."""
    end = max(end, begin + 1)
    while end > LINES * g[at.G_WINDOW]:
        _fold(meters, g)
    window, done, length = g[at.G_WINDOW], 0, end - begin
    for line in range(begin // window, (end - 1) // window + 1):
        upto = min(end, (line + 1) * window) - begin
        due = int(size * (upto / length)) if upto < length else size
        meters[line, kind] += due - done
        done = due


@helper
def meter_piece(meters, g, record, size, begin, end):
    """Bytes of a piece of a transfer, in every memory that it concerns and on the network."""
    source, target = pieces.source_space(record), pieces.target_space(record)
    fan = pieces.fan_out(record)
    if source == pieces.HBM:
        meter(meters, g, HBM_READ, size, begin, end)
    if target == pieces.HBM:
        meter(meters, g, HBM_WRITE, size, begin, end)
    tsram = size * (int(source == pieces.TSRAM) + fan * int(target == pieces.TSRAM))
    if tsram > 0:
        meter(meters, g, TSRAM, tsram, begin, end)
    csram = size * (int(source == pieces.CSRAM) + fan * int(target == pieces.CSRAM))
    if csram > 0:
        meter(meters, g, CSRAM, csram, begin, end)
    local = source == pieces.TSRAM and target == pieces.TSRAM and fan == 1
    if not local or record[SRC_OWNER] != record[DST_OWNER]:
        meter(meters, g, NOC, size, begin, end)


@helper
def local_bytes(record, kind, columns):
    """Bytes that an instruction of MXU or VPU reads and writes in TSRAM, as the accounting has it.

    `columns` is how many blocks of the array's columns a GEMM's weights are.
    """
    read, written = record[BYTES], record[BYTES + 1]
    if kind == at.OP_GEMM:
        return read * columns + written
    if kind == at.OP_SEED:
        return read
    if kind == at.OP_READOUT:
        return max(read - 4 * record[7] * record[8], 0) + written
    return read + written


@helper
def compute_slice(slices, marks, meters, g, p, pool, line, u, record, kind, begin, end, issued):
    """An instruction of MXU or VPU has been entered; its bytes count on every tile."""
    put_slice(slices, marks, g, pool, line, u, record, WORK, begin, end, issued)
    columns = ceil_div(pool[record, 8], p[at.P_MXU_COLUMNS])
    size = local_bytes(pool[record], kind, columns)
    empty = pool[record, 7] == 0 or pool[record, 8] == 0 or pool[record, 9] == 0
    if size > 0 and not (kind == at.OP_GEMM and empty):
        meter(meters, g, TSRAM, size, begin, max(begin, end))
