"""Every cycle of every unit has one cause: the ledger in which kernels enter them.

A unit's time is entered once, from 0 on, without holes: `charge` moves the unit's pointer. The
same causes are kept along the path that led to the unit's present state: when a unit starts to
work because a signal (or the control processor) released it, it takes over the releaser's path.
A path therefore always sums to the pointer, and the path of the unit that completes last is the
entry's critical path.
"""

from emulator.timing import layout as at
from emulator.timing.compiled import always, helper


@always
def _path_cause(cause, kind):
    """A cause as a path names it: whose work, whose start."""
    if cause == at.EXECUTE and kind > at.CTL:
        return at.W_ARRAY - at.MXU + kind
    if cause == at.START and kind < at.DMA:
        return at.W_UNIT_START
    if cause <= at.LATENCY:
        return cause
    # Paths of the others are replaced at once, but that of an empty queue.
    return at.W_SCALAR_LOAD if cause == at.SCALAR_LOAD else at.W_ISSUE


@always
def _enter(units, rows, u, kind, pointer, upto, cause, row):
    """Enter a cause from the unit's pointer up to a moment."""
    units[u, at.U_PTR] = upto
    units[u, at.U_CAUSES + cause] += upto - pointer
    units[u, at.U_PATH + _path_cause(cause, kind)] += upto - pointer
    if row >= 0:  # a row's time begins with its first instruction
        begin = max(pointer, rows[row, at.ROW_FIRST])
        if begin < upto:
            rows[row, at.ROW_CAUSES + at.NC * kind + cause] += upto - begin


@always
def charge(units, rows, u, kind, upto, cause, row):
    """Account for the time of unit u, which is of a kind, up to a moment.

    Nothing if it has been accounted for.
    """
    pointer = units[u, at.U_PTR]
    if upto <= pointer:
        return
    if kind == at.MXU:
        drain = min(units[u, at.U_DRAIN], upto)
        if drain > pointer:
            _enter(units, rows, u, kind, pointer, drain, at.DRAIN, units[u, at.U_ROW])
            pointer = drain
    if upto > pointer:
        _enter(units, rows, u, kind, pointer, upto, cause, row)


@always
def wait_for(units, rows, u, kind, upto, cause, row, paths, line, column):
    """`charge`, where what ended the wait has a path; the unit takes that path over."""
    if upto > units[u, at.U_PTR]:
        charge(units, rows, u, kind, upto, cause, row)
        for i in range(at.NP):
            units[u, at.U_PATH + i] = paths[line, column + i]


@helper
def copy_path(units, u, time, paths, line, column):
    """Store unit u's path at a moment that need not be its pointer.

    Later than the pointer, the array drains or the unit has nothing to do. Earlier, the unit has
    been accounted for ahead of time (up to the end of what it has begun): the causes are then cut
    to the moment, those of work first.
    """
    for i in range(at.NP):
        paths[line, column + i] = units[u, at.U_PATH + i]
    rest = time - units[u, at.U_PTR]
    if rest >= 0:
        drain = min(max(units[u, at.U_DRAIN] - units[u, at.U_PTR], 0), rest)
        paths[line, column + at.DRAIN] += drain
        paths[line, column + at.W_ISSUE] += rest - drain
        return
    for i in range(at.NP - 1, -1, -1):
        cut = min(paths[line, column + i], -rest)
        paths[line, column + i] -= cut
        rest += cut


@helper
def begin_row(rows, row, time):
    """An instruction of a row starts."""
    if time < rows[row, at.ROW_FIRST]:
        rows[row, at.ROW_FIRST] = time


@helper
def end_row(units, rows, u, row, time):
    """An instruction of a row is complete; the last one's path is kept."""
    if time > rows[row, at.ROW_LAST]:
        rows[row, at.ROW_LAST] = time
        copy_path(units, u, time, rows, row, at.ROW_PATH)


@helper
def complete(g, u, time):
    """Unit u has something complete at a moment: the entry ends with the latest of these."""
    if time > g[at.G_END]:
        g[at.G_END] = time
        g[at.G_LAST_UNIT] = u
