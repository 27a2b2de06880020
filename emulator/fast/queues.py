"""Issue to units, and their queues.

An instruction issued to a unit that has nothing to do is executed at once, from the descriptor
registers: no race-free program can tell. Only where the unit is behind (it waits for a semaphore,
its signal is under way, or it has stopped) is the instruction put into the queue, with the
descriptors and scalars it captured.
"""

from __future__ import annotations

from emulator import retire
from emulator.fast import layout as at
from emulator.fast.execute import DONE, SENT, perform
from emulator.fast.words import get, prefetch, put
from emulator.jit import helper
from emulator.kernels.memory import copy_bytes, load_i64, load_u8
from emulator.kernels.scratch import LINE
from isa.faults import NUM_UNITS
from isa.spec.model import NO_DESCRIPTOR

#: What came of an attempt to issue.
ISSUED, BLOCKED, NO_ROOM = range(3)

#: Cache lines of the next slot that are asked for: its first words and two descriptors.
LINES_AHEAD = 5

PENDING = -1  # word 0 of a record that is not final


@helper
def record_address(t, number):
    """Where a tile's retire record of a number lies, counted from the entry's start."""
    return get(t, at.T_RING) + 8 * retire.WORDS * (number & get(t, at.T_RING_ROWS) - 1)


@helper
def open_record(m, t, row, pc, unit):
    """Reserve the next retire record of a tile, in issue order; 0 if nothing is recorded."""
    gap = get(t, at.T_GAP) | get(t, at.T_TAKEN) << 32
    put(t, at.T_GAP, 0)
    put(t, at.T_TAKEN, 0)
    if get(m, at.M_RECORDING) == 0:
        return 0
    tail = get(t, at.T_RING_TAIL)
    put(t, at.T_RING_TAIL, tail + 1)
    record = record_address(t, tail)
    put(record, retire.TILE, PENDING)
    put(record, retire.UNIT, unit)
    put(record, retire.PC, pc)
    put(record, retire.CONTEXT, get(t, at.T_CONTEXT))
    put(record, retire.GAP, gap)
    put(record, retire.OPCODE, load_u8(row + at.ROW_OP))
    put(record, retire.FLAGS, load_u8(row + at.ROW_FLAGS))
    for word in range(7, retire.WORDS):
        put(record, word, 0)
    return record


@helper
def has_room(m, t):
    """Whether the ring can take another record."""
    if get(m, at.M_RECORDING) == 0:
        return True
    if get(t, at.T_RING_TAIL) - get(t, at.T_RING_HEAD) < get(t, at.T_RING_ROWS):
        return True
    put(t, at.T_RING_FULL, 1)
    return False


@helper
def unit_of(t, unit):
    """Address of a unit's words."""
    return t + 8 * (at.T_UNITS + 8 * unit)


@helper
def stop_unit(t, unit, fault, pc):
    """The unit has faulted: it is never served again."""
    words = unit_of(t, unit)
    put(words, at.U_STATE, at.STOPPED)
    put(words, at.U_FAULT, fault)
    put(words, at.U_FAULT_PC, pc)


@helper
def _slot(m, t, unit, index):
    """Address of a queue slot; `index` counts from the unit's first slot, and may go round once."""
    depth = get(m, at.M_QUEUE_DEPTH)
    index -= depth if index >= depth else 0
    return get(t, at.T_QUEUES) + 8 * at.Q_WORDS * (unit * depth + index)


@helper
def issue(m, t, w, row, pc):
    """Hand an instruction to its unit."""
    unit = load_u8(row + at.ROW_UNIT)
    words = unit_of(t, unit)
    if get(words, at.U_COUNT) >= get(m, at.M_QUEUE_DEPTH):
        return BLOCKED
    if not has_room(m, t):
        return NO_ROOM
    registers = t + 8 * at.T_REGISTERS
    number = get(registers, load_u8(row + at.ROW_RB)) + load_i64(row + at.ROW_IMM)
    ra = get(registers, load_u8(row + at.ROW_RA))
    record = open_record(m, t, row, pc, unit)
    if get(words, at.U_COUNT) == 0 and get(words, at.U_STATE) == at.SERVING:
        _name_descriptors(w, row, t + 8 * at.T_DESCRIPTORS)
        outcome = _turn(m, t, w, row, pc, unit, number, ra, record)
        if outcome == DONE or outcome < 0:
            return ISSUED
    _enqueue(m, t, row, pc, unit, number, ra, record)
    return ISSUED


@helper
def _turn(m, t, w, row, pc, unit, number, ra, record):
    """Let a unit try an instruction, and keep its state."""
    outcome = perform(m, t, w, row, pc, unit, number, ra, record)
    if outcome == SENT:
        put(unit_of(t, unit), at.U_STATE, at.SENDING)
    elif outcome < 0:
        stop_unit(t, unit, -outcome, pc)
    return outcome


@helper
def _name_descriptors(w, row, registers):
    """Tell the worker where an instruction's descriptors lie: in the registers."""
    for operand in range(5):
        number = load_u8(row + at.ROW_D + operand)
        where = 0 if number == NO_DESCRIPTOR else registers + 128 * number
        put(w, at.W_OPERAND + operand, where)


@helper
def _enqueue(m, t, row, pc, unit, number, ra, record):
    words = unit_of(t, unit)
    count = get(words, at.U_COUNT)
    slot = _slot(m, t, unit, get(words, at.U_HEAD) + count)
    put(words, at.U_COUNT, count + 1)
    put(slot, at.Q_PC, pc)
    put(slot, at.Q_NUMBER, number)
    put(slot, at.Q_RA, ra)
    put(slot, at.Q_RECORD, -1 if record == 0 else get(t, at.T_RING_TAIL) - 1)
    if get(words, at.U_STATE) == at.STOPPED:
        return
    for operand in range(5):
        register = load_u8(row + at.ROW_D + operand)
        if register != NO_DESCRIPTOR:
            source = t + 8 * at.T_DESCRIPTORS + 128 * register
            copy_bytes(slot + 8 * (at.Q_DESCRIPTORS + 16 * operand), source, 128)


@helper
def _ask_for_slot(slot):
    """Have a slot's first cache lines fetched, while the one before it has its turn."""
    for line in range(LINES_AHEAD):
        prefetch(slot + LINE * line)


@helper
def serve(m, t, w, unit):
    """Let a unit take its queue as far as it can."""
    words = unit_of(t, unit)
    while get(words, at.U_COUNT) > 0 and get(words, at.U_STATE) == at.SERVING:
        slot = _slot(m, t, unit, get(words, at.U_HEAD))
        if get(words, at.U_COUNT) > 1:
            _ask_for_slot(_slot(m, t, unit, get(words, at.U_HEAD) + 1))
        pc = get(slot, at.Q_PC)
        row = get(m, at.M_CODE) + at.ROW_BYTES * pc
        for operand in range(5):
            absent = load_u8(row + at.ROW_D + operand) == NO_DESCRIPTOR
            captured = slot + 8 * (at.Q_DESCRIPTORS + 16 * operand)
            put(w, at.W_OPERAND + operand, 0 if absent else captured)
        number, ra = get(slot, at.Q_NUMBER), get(slot, at.Q_RA)
        record = get(slot, at.Q_RECORD)
        if record < 0:
            record = 0
        else:
            record = record_address(t, record)
        outcome = _turn(m, t, w, row, pc, unit, number, ra, record)
        if outcome > DONE:
            return
        pop(m, words)  # what has faulted leaves the queue, too


@helper
def pop(m, words):
    """Take the finished instruction from a unit's queue.

    An empty queue begins again with its first slots, which may still be in a cache.
    """
    count, head = get(words, at.U_COUNT) - 1, get(words, at.U_HEAD) + 1
    put(words, at.U_COUNT, count)
    put(words, at.U_HEAD, 0 if count == 0 or head == get(m, at.M_QUEUE_DEPTH) else head)


@helper
def serve_ready(m, t, w):
    """Serve the units that something has happened to, until nothing more happens."""
    while True:
        ready = get(t, at.T_READY)
        if ready == 0:
            return
        put(t, at.T_READY, 0)
        for unit in range(1, NUM_UNITS):  # their first slots, all at once
            if ready >> unit & 1:
                prefetch(_slot(m, t, unit, get(unit_of(t, unit), at.U_HEAD)))
        for unit in range(1, NUM_UNITS):
            if ready >> unit & 1:
                serve(m, t, w, unit)
