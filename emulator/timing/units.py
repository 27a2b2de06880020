"""Control processors, MXU and VPU: what one event of each does.

An event of a unit takes the head of its queue. Instructions run in order; what a later one may
already do while an earlier one is under way is said at each.
"""

from emulator.retire import COUNT, OPCODE, SEM, UNIT
from emulator.timing import layout as at
from emulator.timing.compiled import helper, inlined
from emulator.timing.costs import (
    bank_accesses,
    ceil_div,
    gap_cycles,
    gemm_cost,
    rest,
    vector_cost,
)
from emulator.timing.ledger import begin_row, charge, complete, copy_path, end_row
from emulator.timing.slices import SIGNAL, issue_slice, turn
from emulator.timing.sync import (
    end_wait,
    fetch_next,
    fire,
    free_record,
    pop,
    sync_word,
    try_wait,
    turn_to,
    wait_line,
    wake,
)
from emulator.timing.tables import prefetch
from emulator.timing.traced import trace_entry, trace_own, trace_wait, trace_work, work_begin
from emulator.timing.windows import reserve_banks

DEQUEUE = 1  #: cycles a unit needs for a wait or signal of its queue: estimate


# ---- control processor


@inlined
def control_step(s, tile, time):
    """The control processor has reached the instruction of its next record."""
    u = tile * at.UNITS
    record = s.tiles[tile, at.T_HEAD]
    row, unit = s.pool[record, at.ROW], s.pool[record, UNIT]
    if tile < s.g[at.G_TRACED]:
        turn(s.units, u)
    charge(s.units, s.rows, u, at.CTL, time, at.EXECUTE, row)
    if unit != 0:
        _issue(s, tile, time, record, unit)
        return
    kind = s.opcodes[s.pool[record, OPCODE], 0]
    cycles, cause = s.p[at.P_SCALAR], at.EXECUTE
    if kind == at.OP_WAIT:
        if s.units[u, at.U_WAITING] == 0:
            line = tile * at.SEMAPHORES + s.pool[record, SEM]
            if not try_wait(s.sems, s.units, tile, 0, line, s.pool[record, COUNT]):
                return
            s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], s.sems[line, at.S_IDEAL])
        s.units[u, at.U_WAITING] = 0
    elif kind == at.OP_LOAD:
        cycles, cause = s.p[at.P_LOAD_HBM], at.SCALAR_LOAD
        if s.pool[record, 7] != 0:
            cycles = s.p[at.P_LOAD_SRAM]
        begin_row(s.rows, row, time)
    charge(s.units, s.rows, u, at.CTL, time + cycles, cause, row)
    if kind == at.OP_LOAD:
        end_row(s.units, s.rows, u, row, time + cycles)
    s.units[u, at.U_IDEAL] += cycles
    if tile < s.g[at.G_TRACED]:
        trace_own(s, u, record, kind, time + cycles)
    if kind == at.OP_SIGNAL:
        sync, count = sync_word(s.pool[record]), s.pool[record, COUNT]
        fire(s, u, time + cycles, sync, count, row, s.units[u, at.U_IDEAL])
    complete(s.g, u, time + cycles)
    gap = _next_record(s, tile, record)
    free_record(s.free, s.g, record)
    if kind != at.OP_HALT:
        wake(s.events, s.p, tile, 0, time + cycles + gap)


@helper
def fetch(p, pool, units, tile, record):
    """The control processor turns to its next record: the cycles until it has reached that."""
    gap = gap_cycles(p, pool[record])
    units[tile * at.UNITS, at.U_FETCHED] = 1
    units[tile * at.UNITS, at.U_IDEAL] += gap
    return gap


@inlined
def _next_record(s, tile, record):
    """The tile's FIFO moves on: cycles to the next record, 0 if it has not arrived."""
    following = s.pool[record, at.NEXT]
    s.tiles[tile, at.T_HEAD] = following
    s.units[tile * at.UNITS, at.U_FETCHED] = 0
    if following < 0:
        s.tiles[tile, at.T_TAIL] = -1
        return 0
    if s.pool[following, at.NEXT] >= 0:
        prefetch(s.pool, s.pool[following, at.NEXT])  # FIFOs of many tiles are larger than a cache
    return fetch(s.p, s.pool, s.units, tile, following)


@inlined
def _issue(s, tile, time, record, unit):
    """Append an instruction to its unit's queue, or wait for a place there."""
    ctl, u = tile * at.UNITS, tile * at.UNITS + unit
    depth = s.p[at.P_DEPTH]
    if s.units[u, at.U_COUNT] == depth:
        s.units[ctl, at.U_BLOCKED] = unit
        return
    done = time + s.p[at.P_ISSUE]
    row = s.pool[record, at.ROW]
    charge(s.units, s.rows, ctl, at.CTL, done, at.EXECUTE, row)
    s.units[ctl, at.U_IDEAL] += s.p[at.P_ISSUE]
    complete(s.g, ctl, done)
    line = u * depth + rest(s.p, s.units[u, at.U_HEAD] + s.units[u, at.U_COUNT], at.P_DEPTH)
    s.units[u, at.U_COUNT] += 1
    s.queue[line, at.Q_REC], s.queue[line, at.Q_TIME] = record, done
    s.queue[line, at.Q_IDEAL] = s.units[ctl, at.U_IDEAL]
    kind = s.opcodes[s.pool[record, OPCODE], 0]
    s.queue[line, at.Q_WHAT] = row << at.WHAT_BITS | kind
    s.queue[line, at.Q_SYNC] = sync_word(s.pool[record])
    s.queue[line, at.Q_COUNTED] = s.pool[record, COUNT]
    if tile < s.g[at.G_TRACED]:
        issue_slice(s.slices, s.marks, s.g, s.p, s.pool, s.units, line, ctl, record, time, done)
    if done > s.units[u, at.U_PTR]:  # else the unit is behind already: `turn_to` will not ask
        copy_path(s.units, ctl, done, s.queue, line, at.Q_PATH)
    if s.units[u, at.U_ACTIVE] == 0:
        s.units[u, at.U_ACTIVE] = 1
        wake(s.events, s.p, tile, unit, done)
    gap = _next_record(s, tile, record)
    if s.g[at.G_TRACED] == 0 and (kind == at.OP_WAIT or kind == at.OP_SIGNAL):
        s.queue[line, at.Q_REC] = -1
        free_record(s.free, s.g, record)
    wake(s.events, s.p, tile, 0, done + gap)


# ---- what MXU and VPU have in common


@inlined
def compute_step(s, tile, unit, time):
    """One event of MXU or VPU: take the head of the queue.

    Its place is free from then on; the record stays readable until the event is over.
    """
    u = tile * at.UNITS + unit
    if s.units[u, at.U_COUNT] == 0:
        s.units[u, at.U_ACTIVE] = 0
        return
    line = u * s.p[at.P_DEPTH] + s.units[u, at.U_HEAD]
    if s.queue[line, at.Q_TIME] > time:  # still on its way from the control processor
        wake(s.events, s.p, tile, unit, s.queue[line, at.Q_TIME])
        return
    record, what = s.queue[line, at.Q_REC], s.queue[line, at.Q_WHAT]
    row, kind = what >> at.WHAT_BITS, what & (1 << at.WHAT_BITS) - 1
    fetch_next(s.p, s.queue, s.pool, u, s.units[u, at.U_HEAD], s.units[u, at.U_COUNT] - 1)
    before = s.units[u, at.U_PTR]
    if kind == at.OP_WAIT:
        if not _wait(s, tile, unit, line, time):
            return
        if tile < s.g[at.G_TRACED]:
            trace_wait(s, u, line, record, before)
        end_wait(s.units, s.rows, s.queue, u, unit, line, row)
        pop(s, tile, unit, time)  # whoever waited for the place takes the unit's path
        s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], s.queue[line, at.Q_IDEAL])
        s.units[u, at.U_IDEAL_STREAM] = max(
            s.units[u, at.U_IDEAL_STREAM], s.queue[line, at.Q_IDEAL]
        )
        following = time + DEQUEUE
        complete(s.g, u, time)
    else:
        turn_to(s.units, s.rows, s.queue, u, unit, line, row)
        pop(s, tile, unit, time)
        ideal = s.queue[line, at.Q_IDEAL]
        if kind == at.OP_SIGNAL:
            at_time = max(time, s.units[u, at.U_DONE])
            if tile < s.g[at.G_TRACED]:
                trace_entry(s, u, line, record, SIGNAL, at_time, at_time)
            sync, count = s.queue[line, at.Q_SYNC], s.queue[line, at.Q_COUNTED]
            fire(s, u, at_time, sync, count, row, max(ideal, s.units[u, at.U_IDEAL]))
            following = time + DEQUEUE
        else:
            s.units[u, at.U_ROW] = row
            begin = work_begin(s.units, u, kind, max(before, time))
            if kind == at.OP_GEMM:
                following = _gemm(s, tile, u, row, record, time, ideal)
            elif kind == at.OP_VECTOR:
                following = _vector(s, tile, u, row, record, time, ideal)
            else:
                following = _readout(s, tile, u, row, record, time, ideal, kind)
            if s.g[at.G_TRACED] > 0:
                trace_work(s, u, line, record, kind, begin)
            end_row(s.units, s.rows, u, row, s.units[u, at.U_DONE])
            complete(s.g, u, s.units[u, at.U_DONE])
    wake(s.events, s.p, tile, unit, following)


@inlined
def _wait(s, tile, unit, line, time):
    """Whether a `wait` at the head of the queue is over; else the unit sleeps."""
    u = tile * at.UNITS + unit
    if s.units[u, at.U_WAITING] == 2:
        s.units[u, at.U_WAITING] = 0
        return True
    s.queue[line, at.Q_FROM] = s.queue[line, at.Q_TO] = time
    sem, need = wait_line(s.queue, tile, line)
    if not try_wait(s.sems, s.units, tile, unit, sem, need):
        return False
    s.queue[line, at.Q_IDEAL] = max(s.queue[line, at.Q_IDEAL], s.sems[sem, at.S_IDEAL])
    return True


# ---- MXU


@inlined
def _gemm(s, tile, u, row, record, time, ideal):
    """A GEMM starts; the end is when the MXU may look at its next instruction.

    With double-buffered weights that is when the last fold begins: the spare buffer is free, so
    the next GEMM's first weights can load, and it may stream right behind this one.
    """
    m, n, k = s.pool[record, 7], s.pool[record, 8], s.pool[record, 9]
    begin_row(s.rows, row, time)
    if m == 0 or n == 0 or k == 0:
        s.units[u, at.U_DONE] = max(s.units[u, at.U_DONE], time + DEQUEUE)
        return time + DEQUEUE
    split = 1 << (s.pool[record, 6] >> 1 & 3)
    formats = s.pool[record, 10]
    steps, stream, load, drain, columns, _ = gemm_cost(s.p, s.f, m, n, k, formats, split)
    traffic = s.pool[record, 13] * columns + s.pool[record, 14]
    accesses = ceil_div(traffic, s.p[at.P_BANK_BYTES])
    ready = time + s.p[at.P_MXU_START]
    if s.p[at.P_DOUBLE] == 0:
        load += s.p[at.P_LOAD_LATENCY]
        return _unpipelined(s, tile, u, row, ready, steps, stream, load, drain, accesses, ideal)
    load_begin = max(time, s.units[u, at.U_WEIGHTS])
    loaded = load_begin + load + s.p[at.P_LOAD_LATENCY]
    first = max(ready, loaded, s.units[u, at.U_STREAM])
    last = first + (steps - 1) * max(stream, load)
    nominal = last + stream
    end = reserve_banks(
        s.ts, tile, load_begin, nominal - load_begin, accesses, s.p[at.P_BANKS], time
    )
    slower = end - nominal
    charge(s.units, s.rows, u, at.MXU, time, at.ISSUE, row)
    charge(s.units, s.rows, u, at.MXU, min(first, ready), at.START, row)
    charge(s.units, s.rows, u, at.MXU, first, at.WEIGHT_LOAD, row)
    charge(s.units, s.rows, u, at.MXU, first + steps * stream, at.EXECUTE, row)
    charge(s.units, s.rows, u, at.MXU, nominal, at.WEIGHT_LOAD, row)
    charge(s.units, s.rows, u, at.MXU, end, at.BANKS, row)
    s.units[u, at.U_WEIGHTS], s.units[u, at.U_STREAM] = last + slower, end
    done = max(s.units[u, at.U_DONE], end + drain)
    s.units[u, at.U_DONE] = s.units[u, at.U_DRAIN] = done
    stream_ideal = max(s.units[u, at.U_IDEAL_STREAM], ideal) + steps * stream
    s.units[u, at.U_IDEAL_STREAM] = stream_ideal
    s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], stream_ideal + drain)
    return max(last + slower, time + DEQUEUE)


@inlined
def _unpipelined(s, tile, u, row, ready, steps, stream, load, drain, accesses, ideal):
    """A GEMM on an array with one weight buffer: load, stream and drain, fold after fold."""
    begin = max(ready, s.units[u, at.U_DONE])
    nominal = begin + steps * (load + stream + drain) - 1
    end = reserve_banks(s.ts, tile, begin, nominal - begin, accesses, s.p[at.P_BANKS], begin)
    charge(s.units, s.rows, u, at.MXU, begin, at.START, row)
    charge(s.units, s.rows, u, at.MXU, begin + steps * load, at.WEIGHT_LOAD, row)
    charge(s.units, s.rows, u, at.MXU, begin + steps * (load + stream), at.EXECUTE, row)
    charge(s.units, s.rows, u, at.MXU, nominal, at.DRAIN, row)
    charge(s.units, s.rows, u, at.MXU, end, at.BANKS, row)
    s.units[u, at.U_WEIGHTS] = s.units[u, at.U_STREAM] = s.units[u, at.U_DONE] = end
    s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal) + nominal - begin
    return end


@inlined
def _readout(s, tile, u, row, record, time, ideal, kind):
    """Read the accumulator out, or load it: once all multiplications before are complete."""
    begin = max(time, s.units[u, at.U_DONE])
    m, n = s.pool[record, 7], s.pool[record, 8]
    read, written = s.pool[record, 13], s.pool[record, 14]
    size = 4 * m * n
    traffic = read if kind == at.OP_SEED else written + max(read - size, 0)
    cycles = ceil_div(size, s.p[at.P_ACC_BYTES])
    run = begin + s.p[at.P_MXU_START]
    nominal = run + cycles
    begin_row(s.rows, row, begin)
    accesses = bank_accesses(s.p, traffic, 0)
    end = reserve_banks(s.ts, tile, run, cycles, accesses, s.p[at.P_BANKS], time)
    charge(s.units, s.rows, u, at.MXU, begin, at.ISSUE, row)
    charge(s.units, s.rows, u, at.MXU, run, at.START, row)
    charge(s.units, s.rows, u, at.MXU, nominal, at.EXECUTE, row)
    charge(s.units, s.rows, u, at.MXU, end, at.BANKS, row)
    s.units[u, at.U_STREAM] = max(s.units[u, at.U_STREAM], end)
    s.units[u, at.U_DONE], s.units[u, at.U_DRAIN] = end, 0
    s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal) + nominal - begin
    s.units[u, at.U_IDEAL_STREAM] = max(s.units[u, at.U_IDEAL_STREAM], s.units[u, at.U_IDEAL])
    return max(begin, time + DEQUEUE)


# ---- VPU


@inlined
def _vector(s, tile, u, row, record, time, ideal):
    """A vector instruction; the next one starts when it ends."""
    vector_class = s.opcodes[s.pool[record, OPCODE], 1]
    cycles, conflict, accesses = vector_cost(s.p, s.f, s.pool[record], vector_class)
    run = time + s.p[at.P_VPU_START]
    nominal = run + cycles + conflict
    begin_row(s.rows, row, time)
    end = reserve_banks(s.ts, tile, run, nominal - run, accesses, s.p[at.P_BANKS], time)
    charge(s.units, s.rows, u, at.VPU, time, at.ISSUE, row)
    charge(s.units, s.rows, u, at.VPU, run, at.START, row)
    charge(s.units, s.rows, u, at.VPU, run + cycles, at.EXECUTE, row)
    charge(s.units, s.rows, u, at.VPU, end, at.BANKS, row)
    s.units[u, at.U_DONE] = end
    s.units[u, at.U_IDEAL] = max(s.units[u, at.U_IDEAL], ideal) + nominal - time
    return max(end, time + DEQUEUE)
