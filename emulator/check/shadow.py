"""Shadow memory: who wrote each byte last, who has read it since, and whether that is in order."""

from __future__ import annotations

from emulator.check import layout as at
from emulator.fast.words import get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import load_i64, load_u32, store_i64
from isa.faults import NUM_UNITS

_LOW = 0xFFFFFFFF
_ROWS_MASK = at.MOST_FINDINGS - 1


@helper
def _access(c, number):
    """Address of an access's row."""
    return get(c, at.C_ACCESSES) + 8 * at.A_WORDS * (number - get(c, at.C_FIRST))


@helper
def _is_before(c, access):
    """Whether an access happens before the one at hand."""
    if access < get(c, at.C_FIRST):
        return True
    who = get(_access(c, access), at.A_WHO)
    return load_u32(get(c, at.C_NOW_CLOCK) + 4 * (who & _LOW)) >= who >> 32


# ---- findings


@helper
def _finding_row(c, kind, pc, other_pc):
    """The row of a finding, new or not; 0 if the table is full."""
    place = (pc * 31 + other_pc) * 8 + kind
    while True:
        row = get(c, at.C_FINDINGS) + 8 * at.F_WORDS * (place & _ROWS_MASK)
        known = get(row, at.F_KIND)
        if known == kind and get(row, at.F_PC) == pc and get(row, at.F_OTHER_PC) == other_pc:
            return row
        if known == 0:
            if 2 * get(c, at.C_FINDING_COUNT) >= at.MOST_FINDINGS:
                put(c, at.C_LOST, get(c, at.C_LOST) + 1)
                return 0
            put(c, at.C_FINDING_COUNT, get(c, at.C_FINDING_COUNT) + 1)
            put(row, at.F_NUMBER, get(c, at.C_FINDING_COUNT))
            put(row, at.F_KIND, kind)
            put(row, at.F_PC, pc)
            put(row, at.F_OTHER_PC, other_pc)
            return row
        place += 1


@helper
def _told(c, kind, access, now):
    """The kind and the two in the order in which they were issued, if one tile issued both.

    A reader that came first here only because the writer had to wait for something was meant to
    come second.
    """
    one, two = _access(c, access), _access(c, now)
    same = (get(one, at.A_WHO) & _LOW) // NUM_UNITS == (get(two, at.A_WHO) & _LOW) // NUM_UNITS
    if not same or get(one, at.A_WHAT) >> 32 <= get(two, at.A_WHAT) >> 32:
        return kind, access, now
    if kind == at.READ_OF_WRITE:
        kind = at.WRITE_OVER_READ
    elif kind == at.WRITE_OVER_READ:
        kind = at.READ_OF_WRITE
    return kind, now, access


@njit
def _report(c, kind, access, first, beyond):
    """Something is wrong with cells [first, beyond) between an access (0: none) and this one."""
    one, two = get(c, at.C_NOW_ID), 0
    if access != 0:
        kind, one, two = _told(c, kind, access, one)
    pc, other_pc = get(_access(c, one), at.A_WHAT) & _LOW, -1
    if two != 0:
        other_pc = get(_access(c, two), at.A_WHAT) & _LOW
    row = _finding_row(c, kind, pc, other_pc)
    if row == 0:
        return
    low = (first - get(c, at.C_NOW_ORIGIN)) // 8
    high = low + (beyond - first) // 8
    ids, count = one << 32 | two, get(row, at.F_COUNT)
    if count > 0 and get(row, at.F_IDS) == ids:
        if count == 1:  # more of the first example
            put(row, at.F_LOW, min(low, get(row, at.F_LOW)))
            put(row, at.F_HIGH, max(high, get(row, at.F_HIGH)))
        return
    put(row, at.F_COUNT, count + 1)
    put(row, at.F_IDS, ids)
    if count == 0:
        put(row, at.F_THREAD, get(_access(c, one), at.A_WHO) & _LOW)
        put(row, at.F_OTHER_THREAD, -1 if two == 0 else get(_access(c, two), at.A_WHO) & _LOW)
        place = get(c, at.C_NOW_PLACE) - get(c, at.C_PLACES)
        put(row, at.F_PLACE, place // (8 * at.P_WORDS))
        put(row, at.F_OWNER, get(c, at.C_NOW_OWNER))
        put(row, at.F_LOW, low)
        put(row, at.F_HIGH, high)


# ---- sets of readers


@helper
def _new_node(c, access, following):
    """A set: an access, and those of another set (0: none)."""
    number = get(c, at.C_NEXT_NODE)
    index = number - get(c, at.C_FIRST_NODE)
    if index == at.MOST_NODES:
        put(c, at.C_PROBLEM, at.NO_NODES)
        return 0
    put(c, at.C_NEXT_NODE, number + 1)
    put(get(c, at.C_NODES), index, access | following << 32)
    return number


@njit
def _extended(c, node):
    """A set with the access at hand, without those that happen before it."""
    now, first_node = get(c, at.C_NOW_ID), get(c, at.C_FIRST_NODE)
    memo = get(c, at.C_MEMO) + 8 * at.MEMO_WORDS * (node & at.MEMO_ROWS - 1)
    if get(memo, 0) == node and get(memo, 1) == now:
        return get(memo, 2)
    alive, others, walk = 0, 0, node
    while walk >= first_node:
        pair = get(get(c, at.C_NODES), walk - first_node)
        if _is_before(c, pair & _LOW):
            others += 1
        else:
            alive += 1
        walk = pair >> 32
    kept, walk = node if alive > 0 and others == 0 else 0, node
    while alive > 0 and others > 0 and walk >= first_node:
        pair = get(get(c, at.C_NODES), walk - first_node)
        if not _is_before(c, pair & _LOW):
            kept = _new_node(c, pair & _LOW, kept)
        walk = pair >> 32
    made = _new_node(c, now, kept)
    put(memo, 0, node)
    put(memo, 1, now)
    put(memo, 2, made)
    return made


# ---- runs of bytes


@helper
def _same_until(cell, beyond, value):
    """The first cell of [cell, beyond) that does not hold a value."""
    while cell + 64 <= beyond:
        other = (load_i64(cell) ^ value) | (load_i64(cell + 8) ^ value)
        other |= (load_i64(cell + 16) ^ value) | (load_i64(cell + 24) ^ value)
        other |= (load_i64(cell + 32) ^ value) | (load_i64(cell + 40) ^ value)
        other |= (load_i64(cell + 48) ^ value) | (load_i64(cell + 56) ^ value)
        if other != 0:
            break
        cell += 64
    while cell < beyond and load_i64(cell) == value:
        cell += 8
    return cell


@helper
def _fill(cell, beyond, value):
    for here in range(cell, beyond, 8):
        store_i64(here, value)


@helper
def _may_be_unwritten(c, first, beyond):
    """Whether cells [first, beyond) count as written, or the program says they need not be."""
    place, origin = get(c, at.C_NOW_PLACE), get(c, at.C_NOW_ORIGIN)
    if get(place, at.P_KNOWN) != 0:
        return True
    if first < origin + 8 * get(place, at.P_PADDING):
        return False
    return beyond <= origin + 8 * get(place, at.P_BEYOND)


@njit
def check_read(c, value, first, beyond):
    """The access at hand reads cells that all hold a value; what they shall hold."""
    writer = value & _LOW
    if writer == at.NEVER and not _may_be_unwritten(c, first, beyond):
        _report(c, at.UNWRITTEN, 0, first, beyond)
    elif not _is_before(c, writer):
        _report(c, at.READ_OF_WRITE, writer, first, beyond)
    if get(get(c, at.C_NOW_PLACE), at.P_READS) == 0:
        return value
    return writer | _extended(c, value >> 32) << 32


@njit
def check_write(c, value, first, beyond):
    """The access at hand writes cells that all hold a value; what they shall hold."""
    writer, walk = value & _LOW, value >> 32
    if not _is_before(c, writer):
        _report(c, at.WRITE_OVER_WRITE, writer, first, beyond)
    while walk >= get(c, at.C_FIRST_NODE):
        pair = get(get(c, at.C_NODES), walk - get(c, at.C_FIRST_NODE))
        if not _is_before(c, pair & _LOW):
            _report(c, at.WRITE_OVER_READ, pair & _LOW, first, beyond)
        walk = pair >> 32
    return get(c, at.C_NOW_ID)


@helper
def touch(c, first, beyond):
    """The access at hand reads or writes bytes [first, beyond) of the owner's memory."""
    origin, writes = get(c, at.C_NOW_ORIGIN), get(c, at.C_NOW_WRITES)
    cell, end = origin + 8 * first, origin + 8 * beyond
    while cell < end:
        value = load_i64(cell)
        following = _same_until(cell + 8, end, value)
        if writes != 0:
            wanted = check_write(c, value, cell, following)
        else:
            wanted = check_read(c, value, cell, following)
        if wanted != value:
            _fill(cell, following, wanted)
        cell = following
