"""Retire records become events: arranged by thread and by tile, with their log entries."""

from __future__ import annotations

from emulator import retire
from emulator.check import layout as at
from emulator.fast import access_log as log
from emulator.fast.execute import CLUSTER, ONE_TILE, OP_SIGNAL, OP_WAIT, SELF
from emulator.fast.loads import LD
from emulator.fast.words import get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import load_i64
from isa.faults import NUM_UNITS
from isa.spec import BY_MNEMONIC
from isa.spec.model import NUM_SEMAPHORES

HALT = BY_MNEMONIC["halt"].opcode
_LOW = 0xFFFFFFFF


@njit
def store(c, records, count):
    """Append events for so many retire records, to a table that has room for them."""
    for i in range(count):
        record = records + 8 * retire.WORDS * i
        number = get(c, at.C_EVENT_COUNT)
        put(c, at.C_EVENT_COUNT, number + 1)
        event = get(c, at.C_EVENTS) + 8 * at.E_WORDS * number
        tile = get(record, retire.TILE)
        kind = _fill(c, event, record, tile, get(record, retire.OPCODE))
        put(event, at.E_HEAD, tile * NUM_UNITS + get(record, retire.UNIT) | kind << 32)
        put(event, at.E_PC, get(record, retire.PC))
        put(event, at.E_ISSUED, 0)
        put(event, at.E_SLOT, -1)


@helper
def _fill(c, event, record, tile, opcode):
    """Words A to D of an event; its kind."""
    if opcode == OP_WAIT:
        put(event, at.E_A, tile * NUM_SEMAPHORES + get(record, retire.SEM))
        put(event, at.E_B, get(record, retire.COUNT))
        return at.WAIT
    if opcode == OP_SIGNAL:
        put(event, at.E_A, get(record, retire.SEM))
        put(event, at.E_B, get(record, retire.COUNT))
        _fill_targets(c, event, record, tile)
        return at.SIGNAL
    if opcode == LD:
        put(event, at.E_A, get(record, retire.LD_SPACE))
        put(event, at.E_B, get(record, retire.LD_OWNER))
        put(event, at.E_C, get(record, retire.LD_ADDRESS))
        put(event, at.E_D, get(record, retire.BYTES))
        return at.LOAD
    put(event, at.E_A, 0)
    return at.OTHER if opcode == HALT else at.ACCESS


@helper
def _fill_targets(c, event, record, tile):
    """The first and the last tile that a signal reaches."""
    scope, cluster = get(record, retire.SCOPE), get(c, at.C_TILES_PER_CLUSTER)
    first, last = 0, get(c, at.C_TILES) - 1
    if scope == SELF:
        first = last = tile
    elif scope == ONE_TILE:
        first = last = get(record, retire.TARGET)
    elif scope == CLUSTER:
        first = tile // cluster * cluster
        last = first + cluster - 1
    put(event, at.E_C, first)
    put(event, at.E_D, last)


# ---- before the replay


@njit
def arrange(c):
    """Sort events by thread and by tile, and see who signals and waits for what; the accesses."""
    threads, tiles = get(c, at.C_THREADS), get(c, at.C_TILES)
    for thread in range(threads):
        _clear_thread(get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread)
    for tile in range(tiles):
        _clear_tile(get(c, at.C_TILE) + 8 * at.TI_WORDS * tile)
    for line in range(tiles * NUM_SEMAPHORES):
        _clear_semaphore(get(c, at.C_SEMAPHORES) + 8 * at.S_WORDS * line)
    count, accesses = get(c, at.C_EVENT_COUNT), 0
    for number in range(count):
        event = get(c, at.C_EVENTS) + 8 * at.E_WORDS * number
        thread, kind = get(event, at.E_HEAD) & _LOW, get(event, at.E_HEAD) >> 32
        accesses += 1 if kind == at.ACCESS or kind == at.LOAD else 0
        _look_at(c, event, thread, kind)
        row = get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread
        put(row, at.TH_END, get(row, at.TH_END) + 1)
        row = get(c, at.C_TILE) + 8 * at.TI_WORDS * (thread // NUM_UNITS)
        put(row, at.TI_END, get(row, at.TI_END) + 1)
    _make_room(c, threads, tiles)
    for number in range(count):
        _sort_in(c, number)
        _look_at_own(c, get(c, at.C_EVENTS) + 8 * at.E_WORDS * number)
    for thread in range(threads):
        row = get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread
        put(row, at.TH_AT, get(row, at.TH_LOGGED))
    for tile in range(tiles):
        row = get(c, at.C_TILE) + 8 * at.TI_WORDS * tile
        put(row, at.TI_AT, get(row, at.TI_BEGIN))
    return accesses


@helper
def _clear_thread(row):
    put(row, at.TH_END, 0)
    put(row, at.TH_SEMAPHORE, -1)
    put(row, at.TH_TURN, 0)
    put(row, at.TH_ISSUED, 0)


@helper
def _clear_tile(row):
    put(row, at.TI_END, 0)
    put(row, at.TI_VERSION, 0)
    put(row, at.TI_SLOT, -1)


@helper
def _clear_semaphore(row):
    have = get(row, at.S_HAVE)
    put(row, at.S_BEFORE, have)
    put(row, at.S_KNOWN, have)
    put(row, at.S_DEMAND, 0)
    put(row, at.S_SOURCE, at.NOBODY)
    put(row, at.S_WAITER, at.NOBODY)
    put(row, at.S_TOTAL, 0)
    put(row, at.S_ARRIVED, 0)
    put(row, at.S_OWN, 0)
    put(row, at.S_OWN_ARRIVED, 0)
    put(row, at.S_FIRST, -1)
    put(row, at.S_LAST, -1)


@helper
def _look_at(c, event, thread, kind):
    """Enter a wait or a signal into the rows of its semaphores."""
    if kind == at.WAIT:
        row = get(c, at.C_SEMAPHORES) + 8 * at.S_WORDS * get(event, at.E_A)
        put(row, at.S_WAITER, thread)
    elif kind == at.SIGNAL:
        for tile in range(get(event, at.E_C), get(event, at.E_D) + 1):
            line = tile * NUM_SEMAPHORES + get(event, at.E_A)
            row = get(c, at.C_SEMAPHORES) + 8 * at.S_WORDS * line
            known = get(row, at.S_SOURCE)
            source = thread if known == at.NOBODY or known == thread else at.SEVERAL
            put(row, at.S_SOURCE, source)
            put(row, at.S_TOTAL, get(row, at.S_TOTAL) + get(event, at.E_B))


@helper
def _look_at_own(c, event):
    """Enter a signal to a semaphore that its own unit waits for, all waiters being known."""
    thread = get(event, at.E_HEAD) & _LOW
    tile = thread // NUM_UNITS
    here = get(event, at.E_C) <= tile and tile <= get(event, at.E_D)
    if get(event, at.E_HEAD) >> 32 == at.SIGNAL and here:
        line = tile * NUM_SEMAPHORES + get(event, at.E_A)
        row = get(c, at.C_SEMAPHORES) + 8 * at.S_WORDS * line
        if get(row, at.S_WAITER) == thread:
            put(row, at.S_OWN, get(row, at.S_OWN) + get(event, at.E_B))


@helper
def _make_room(c, threads, tiles):
    """Turn counts into places: TH_LOGGED and TI_AT are where the next event goes."""
    place = 0
    for thread in range(threads):
        row = get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread
        put(row, at.TH_AT, place)
        put(row, at.TH_LOGGED, place)
        place += get(row, at.TH_END)
        put(row, at.TH_END, place)
    place = 0
    for tile in range(tiles):
        row = get(c, at.C_TILE) + 8 * at.TI_WORDS * tile
        put(row, at.TI_BEGIN, place)
        put(row, at.TI_AT, place)
        place += get(row, at.TI_END)
        put(row, at.TI_END, place)


@helper
def _sort_in(c, number):
    event = get(c, at.C_EVENTS) + 8 * at.E_WORDS * number
    thread = get(event, at.E_HEAD) & _LOW
    row = get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread
    place = get(row, at.TH_AT)
    put(get(c, at.C_BY_THREAD), place, number)
    put(row, at.TH_AT, place + 1)
    row = get(c, at.C_TILE) + 8 * at.TI_WORDS * (thread // NUM_UNITS)
    place = get(row, at.TI_AT)
    put(get(c, at.C_BY_TILE), place, number)
    put(row, at.TI_AT, place + 1)
    put(event, at.E_PC, get(event, at.E_PC) | (place - get(row, at.TI_BEGIN)) << 32)


# ---- log entries


@njit
def add_faulted(c, tile, first, last):
    """Append an event for every instruction of a tile that faulted over what it had read.

    It did not retire; it was the last that its unit did. There must be room for one a unit.
    """
    piece = first
    while piece != 0:
        entry = piece + log.FIRST
        while get(entry, log.E_WORDS) != 0:
            head = get(entry, log.E_HEAD)
            if head & log.FAULTED != 0:
                number = get(c, at.C_EVENT_COUNT)
                put(c, at.C_EVENT_COUNT, number + 1)
                event = get(c, at.C_EVENTS) + 8 * at.E_WORDS * number
                put(event, at.E_HEAD, tile * NUM_UNITS + (head & 0xFF) | at.ACCESS << 32)
                put(event, at.E_PC, get(entry, log.E_PC))
                put(event, at.E_ISSUED, 0)
                put(event, at.E_SLOT, -1)
            entry += 8 * get(entry, log.E_WORDS)
        piece = 0 if piece == last else load_i64(piece + log.NEXT)


@njit
def attach(c, tile, first, last):
    """Give the events of a tile their log entries, from the first to the last piece; how many.

    A unit executes in the order in which it retires. OK is not sure: MIXED_UP becomes the problem.
    """
    piece, attached = first, 0
    while piece != 0:
        entry = piece + log.FIRST
        while get(entry, log.E_WORDS) != 0:
            thread = tile * NUM_UNITS + (get(entry, log.E_HEAD) & 0xFF)
            _attach_one(c, get(c, at.C_THREAD) + 8 * at.TH_WORDS * thread, entry)
            entry += 8 * get(entry, log.E_WORDS)
            attached += 1
        piece = 0 if piece == last else load_i64(piece + log.NEXT)
    return attached


@helper
def _attach_one(c, row, entry):
    place = get(row, at.TH_LOGGED)
    while place < get(row, at.TH_END):
        event = get(c, at.C_EVENTS) + 8 * at.E_WORDS * get(get(c, at.C_BY_THREAD), place)
        place += 1
        if get(event, at.E_HEAD) >> 32 == at.ACCESS:
            if get(event, at.E_PC) & _LOW != get(entry, log.E_PC):
                put(c, at.C_PROBLEM, at.MIXED_UP)
            put(event, at.E_A, entry)
            put(row, at.TH_LOGGED, place)
            return
    put(c, at.C_PROBLEM, at.MIXED_UP)
