"""What the units call to have a slice made, if their tile is watched (slices.py)."""

from emulator.timing import layout as at
from emulator.timing.compiled import helper, inlined
from emulator.timing.slices import SIGNAL, WAIT, WORK, compute_slice, own_slice, put_slice


@inlined
def trace_own(s, u, record, kind, end):
    """A slice of what the control processor does itself."""
    what = WAIT if kind == at.OP_WAIT else SIGNAL if kind == at.OP_SIGNAL else WORK
    line = u * s.p[at.P_DEPTH]
    own_slice(s.slices, s.marks, s.g, s.p, s.pool, s.units, line, u, record, what, end)


@inlined
def trace_entry(s, u, line, record, kind, begin, end):
    """A slice of an entry of a unit's queue."""
    issued = s.queue[line, at.Q_TIME]
    put_slice(s.slices, s.marks, s.g, s.pool, line, u, record, kind, begin, end, issued)


@inlined
def trace_wait(s, u, line, record, before):
    """A slice of a `wait` of MXU or VPU, whose time had been entered up to `before`."""
    end = s.queue[line, at.Q_TO]
    begin = max(before, s.queue[line, at.Q_FROM], min(s.units[u, at.U_DRAIN], end))
    trace_entry(s, u, line, record, WAIT, begin, end)


@helper
def work_begin(units, u, kind, time):
    """When a computation that a unit takes up at a time begins: some wait for the array."""
    if kind in (at.OP_READOUT, at.OP_SEED):
        return max(time, units[u, at.U_DONE])
    return time


@inlined
def trace_work(s, u, line, record, kind, begin):
    """A slice of a computation that has been entered in the ledger."""
    end, issued = s.units[u, at.U_PTR], s.queue[line, at.Q_TIME]
    compute_slice(
        s.slices,
        s.marks,
        s.meters,
        s.g,
        s.p,
        s.pool,
        line,
        u,
        record,
        kind,
        begin,
        end,
        issued,
    )
