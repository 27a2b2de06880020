"""What a unit does with one instruction: semaphore operations, and tensor instructions."""

from __future__ import annotations

import numpy as np

from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.operands import (
    BAD_SPACE,
    E2M1,
    FAULT_OF_CLASS,
    FORMAT,
    PASSED,
    SHAPE,
)
from emulator.fast.records import operand_info, operand_record
from emulator.fast.relations import formats_agree, shapes_agree
from emulator.fast.words import call, get, put
from emulator.jit import helper, njit
from emulator.kernels.copy import STATUS_BAD_INDEX
from emulator.kernels.memory import load_u8
from emulator.kernels.operand import STATUS_NAN_TO_E2M1
from isa.faults import Fault
from isa.spec import BY_MNEMONIC
from isa.spec.model import SEMAPHORE_MAX
from isa.spec.sync import SCOPES

#: How an instruction's turn at its unit ends; other values are faults, negated.
DONE, WAITING, SENT = range(3)

OP_WAIT, OP_SIGNAL = (BY_MNEMONIC[name].opcode for name in ("wait", "signal"))
OP_DMA = BY_MNEMONIC["dma"].opcode
SELF, ONE_TILE, CLUSTER = (SCOPES[name] for name in ("self", "tile", "cluster"))
NONE = int(Fault.NONE)
OUT_OF_BOUNDS = int(Fault.OUT_OF_BOUNDS)
BAD_COUNT = int(Fault.BAD_COUNT)
BAD_TILE = int(Fault.BAD_TILE)
SEMAPHORE_WAITER = int(Fault.SEMAPHORE_WAITER)
SEMAPHORE_OVERFLOW = int(Fault.SEMAPHORE_OVERFLOW)
MAX_COUNT = np.uint64(SEMAPHORE_MAX)


@helper
def perform(m, t, w, row, pc, unit, number, ra, record):
    """Do one instruction whose turn it is; its descriptors' addresses are in W_OPERAND."""
    op = load_u8(row + at.ROW_OP)
    if op == OP_WAIT:
        return _wait(t, row, unit, number, record)
    if op == OP_SIGNAL:
        return _signal(m, t, row, pc, unit, number, ra, record)
    fault = call(get(m, at.M_TENSOR), (m, t, w, row, np.int64(op), number, record))
    if fault != NONE:
        return -fault
    complete(t, record)
    return DONE


@helper
def complete(t, record):
    """Mark a retire record as final."""
    if record != 0:
        put(record, 0, get(t, at.T_ID))


@helper
def _wait(t, row, unit, number, record):
    sem = load_u8(row + at.ROW_SEM)
    if np.uint64(number) > MAX_COUNT:
        return -BAD_COUNT
    waiter = get(t, at.T_WAITERS + sem)
    if waiter == 0:
        put(t, at.T_WAITERS + sem, unit + 1)
    elif waiter != unit + 1:
        return -SEMAPHORE_WAITER
    have = get(t, at.T_SEMAPHORES + sem)
    if have < number:
        return WAITING
    put(t, at.T_SEMAPHORES + sem, have - number)
    if record != 0:
        put(record, 7, sem)
        put(record, 8, number)
    complete(t, record)
    return DONE


@helper
def add_to_semaphore(t, sem, count):
    """Add to a tile's semaphore and wake its waiter; False, and nothing, if that overflows."""
    have = get(t, at.T_SEMAPHORES + sem) + count
    if have > SEMAPHORE_MAX:
        return False
    put(t, at.T_SEMAPHORES + sem, have)
    waiter = get(t, at.T_WAITERS + sem)
    if waiter != 0:
        put(t, at.T_READY, get(t, at.T_READY) | 1 << (waiter - 1))
        put(t, at.T_RUNNABLE, 1)
    return True


@helper
def _signal(m, t, row, pc, unit, number, ra, record):
    sem, scope = load_u8(row + at.ROW_SEM), load_u8(row + at.ROW_SCOPE)
    if np.uint64(number) > MAX_COUNT:
        return -BAD_COUNT
    tiles = get(m, at.M_TILES)
    if scope == ONE_TILE and np.uint64(ra) >= np.uint64(tiles):
        return -BAD_TILE
    if record != 0:
        put(record, 7, sem)
        put(record, 8, number)
        put(record, 9, scope)
        put(record, 10, ra if scope == ONE_TILE else 0)
    if scope == SELF:
        if not add_to_semaphore(t, sem, number):
            return -SEMAPHORE_OVERFLOW
        complete(t, record)
        return DONE
    first, last = 0, tiles - 1
    if scope == ONE_TILE:
        first = last = ra
    elif scope == CLUSTER:
        first = get(t, at.T_CLUSTER) * get(m, at.M_TILES_PER_CLUSTER)
        last = first + get(m, at.M_TILES_PER_CLUSTER) - 1
    _send(t, unit, pc, sem, number, first, last, record)
    return SENT


@helper
def _send(t, unit, pc, sem, number, first, last, record):
    """Leave a signal for the end of the superstep; the unit stands still until then."""
    letters = get(t, at.T_OUTBOX)
    letter = t + 8 * (at.T_SENT + 8 * letters)
    put(letter, at.S_UNIT, unit)
    put(letter, at.S_SEM, sem)
    put(letter, at.S_COUNT, number)
    put(letter, at.S_FIRST, first)
    put(letter, at.S_LAST, last)
    put(letter, at.S_PC, pc)
    put(letter, at.S_RECORD, record)
    put(t, at.T_OUTBOX, letters + 1)


# ---- tensor instructions


@njit
def tensor(m, t, w, row, op, number, record):
    """Check, execute and record a tensor instruction; its fault."""
    rule = get(m, at.M_RULES) + 8 * rules.RULE_WORDS * op
    operands = get(rule, rules.RULE_OPERANDS)
    flags = load_u8(row + at.ROW_FLAGS)
    shapes = get(rule, rules.RULE_SHAPES)
    failed = _resolve_all(m, t, w, rule, operands)
    if failed > BAD_SPACE:
        if not formats_agree(w, get(rule, rules.RULE_FORMATS), flags):
            failed = min(failed, FORMAT)
        if not shapes_agree(w, shapes, operands):
            failed = min(failed, SHAPE)
        if op >= OP_DMA and _splits_bytes(w, shapes):
            failed = min(failed, SHAPE)
    if failed != PASSED:
        return FAULT_OF_CLASS[failed]
    args = w + 8 * at.W_ARGS
    put(args, at.A_OPCODE, op)
    put(args, at.A_FLAGS, flags)
    put(args, at.A_NUMBER, number)
    put(args, at.A_K0, number)
    put(args, at.A_SCRATCH, get(w, at.W_SCRATCH))
    put(args, at.A_STATUS, 0)
    fault = _compute(m, t, w, rule, op, shapes)
    if record != 0:
        if fault == NONE:
            call(get(m, at.M_RECORD), (w, record, get(rule, rules.RULE_RECORD), operands))
        if get(m, at.M_LOG) != 0:
            call(get(m, at.M_LOG), (m, t, w, row, rule, record, fault))
    return fault


@helper
def _resolve_all(m, t, w, rule, operands):
    """Resolve every operand; the lowest class of the checks that failed."""
    failed = PASSED
    for operand in range(operands):
        desc, record = get(w, at.W_OPERAND + operand), operand_record(w, operand)
        if desc == 0:
            for word in range(15):
                put(record, word, 0)
            put(record, at.A_RANK, -1)
            continue
        demands = rule + 8 * (rules.RULE_HEADER + rules.RULE_OPERAND * operand)
        info = operand_info(w, operand)
        failed = min(failed, call(get(m, at.M_RESOLVE), (m, t, desc, demands, record, info)))
    return failed


@helper
def _splits_bytes(w, shapes):
    """Whether a DMA of E2M1 would copy half bytes, or rows of half a byte."""
    src = operand_record(w, 1)
    least = 1 if shapes == rules.SHAPES_EQUAL else 2
    odd = get(src, at.A_SHAPE + 3) & 1 == 1 or get(src, at.A_RANK) < least
    return get(src, at.A_FORMAT) == E2M1 and odd


@helper
def _compute(m, t, w, rule, op, shapes):
    """Change memory as a checked instruction says; its fault."""
    if get(m, at.M_TIMING_ONLY) != 0 and (op < OP_DMA or not _is_real(w)):
        return NONE
    # An index list is checked even if its rows are empty.
    if shapes < rules.SHAPES_GATHER and not writes(w, rule):
        return NONE
    if get(m, at.M_POSTPONED) != 0 and call(get(m, at.M_PREPARE), (m, t, w, rule, np.int64(op))):
        return NONE
    info, destination = operand_info(w, 0), operand_record(w, 0)
    kernel, status = get(get(m, at.M_KERNELS), op), 0
    for _ in range(get(info, at.I_FAN)):
        status |= call(kernel, (w + 8 * at.W_ARGS,))
        put(destination, at.A_ADDRESS, get(destination, at.A_ADDRESS) + get(info, at.I_STRIDE))
    put(w, at.W_SPENT, get(w, at.W_SPENT) + _cost(w, rule))
    if status & STATUS_BAD_INDEX:
        return OUT_OF_BOUNDS
    put(t, at.T_STICKY, get(t, at.T_STICKY) | status & STATUS_NAN_TO_E2M1)
    return NONE


@helper
def _cost(w, rule):
    """Roughly how many scalar instructions would take as long: only for fair supersteps."""
    if get(rule, rules.RULE_RECORD) == rules.RECORD_GEMM:
        depth = get(operand_record(w, 1), at.A_SHAPE + 3)
        return get(operand_info(w, 0), at.I_ELEMENTS) * depth >> 10
    moved = get(operand_info(w, 0), at.I_BYTES)
    if get(rule, rules.RULE_OPERANDS) > 1:
        moved += get(operand_info(w, 1), at.I_BYTES)
    return moved >> 6


@helper
def writes(w, rule):
    """Whether a destination has elements."""
    if get(operand_info(w, 0), at.I_ELEMENTS) > 0:
        return True
    second = rule + 8 * (rules.RULE_HEADER + rules.RULE_OPERAND)
    if get(second, rules.OPERAND_FLAGS) & rules.WRITTEN == 0:
        return False
    return get(operand_info(w, 1), at.I_ELEMENTS) > 0


@helper
def _is_real(w):
    """Whether a DMA is carried out even when only timing is wanted: from a control region."""
    src = operand_record(w, 1)
    if get(operand_info(w, 1), at.I_CONTROL) == 0 or get(src, at.A_ADDRESS) == 0:
        return False
    return get(operand_record(w, 0), at.A_ADDRESS) != 0
