"""The control processor: scalars, branches, hardware loops, descriptors, and issue."""

from __future__ import annotations

import numpy as np

from emulator import retire
from emulator.fast import layout as at
from emulator.fast.execute import DONE, OP_SIGNAL, OP_WAIT, SENT, complete, perform
from emulator.fast.loads import load
from emulator.fast.queues import (
    BLOCKED,
    ISSUED,
    NO_ROOM,
    has_room,
    issue,
    open_record,
    stop_unit,
    unit_of,
)
from emulator.fast.words import get, put
from emulator.jit import helper
from emulator.kernels.memory import copy_bytes, load_i64, load_u8, load_u32
from isa.descriptor import (
    MAX_RANK,
    W_BASE,
    W_DIM,
    W_FAN,
    W_FANSTEP,
    W_OWNER,
    W_SCALE,
    W_SSTRIDE,
    W_STRIDE,
)
from isa.faults import Fault
from isa.spec import BY_MNEMONIC
from isa.spec.control import DESCRIPTOR_FIELDS as FIELDS
from isa.spec.control import SPECIAL_REGISTERS as SPECIAL
from isa.spec.model import CALL_DEPTH, LOOP_DEPTH

#: Why the control processor hands back: it cannot go on, it used up its share, it halted or
#: faulted, or it gave some other unit something to do.
STUCK, YIELDED, ENDED, WOKE = range(4)

#: What came of `_hand_over`, beside what may come of `issue`: a signal of its own is under way.
STOPPED, SENT_ON = 3, 4

_op = {name: entry.opcode for name, entry in BY_MNEMONIC.items()}
NOP, HALT, LI, RDSR = _op["nop"], _op["halt"], _op["li"], _op["rdsr"]
ADD, SUB, MUL, DIVU, REMU = _op["add"], _op["sub"], _op["mul"], _op["divu"], _op["remu"]
AND, OR, XOR, SHL, SHR = _op["and"], _op["or"], _op["xor"], _op["shl"], _op["shr"]
MIN, MAX, BEQ, BNE, BLT, BGE = (_op[n] for n in ("min", "max", "beq", "bne", "blt", "bge"))
JMP, CALL, RET, LOOP, MARK = (_op[n] for n in ("jmp", "call", "ret", "loop", "mark"))
LD, DLD, DMOV, DSET, DADD = (_op[n] for n in ("ld", "dld", "dmov", "dset", "dadd"))
LAST_SCALAR = 0x1F  # opcodes beyond belong to units and semaphores

TILE_ID, CLUSTER_ID, NUM_TILES = (SPECIAL[n] for n in ("TILE_ID", "CLUSTER_ID", "NUM_TILES"))
NUM_CLUSTERS, NUM_CHIPS = SPECIAL["NUM_CLUSTERS"], SPECIAL["NUM_CHIPS"]

ILLEGAL = int(Fault.ILLEGAL_INSTRUCTION)
OUT_OF_BOUNDS = int(Fault.OUT_OF_BOUNDS)
DIVIDE_BY_ZERO = int(Fault.DIVIDE_BY_ZERO)
CALL_FAULT, LOOP_FAULT = int(Fault.CALL_DEPTH), int(Fault.LOOP_DEPTH)
BAD_PC = int(Fault.BAD_PC)

SSTRIDE0, SSTRIDE1 = FIELDS["sstride0"], FIELDS["sstride1"]
_FIELD_WORD = {
    "base": W_BASE,
    "owner": W_OWNER,
    "fan": W_FAN,
    "fanstep": W_FANSTEP,
    "scale": W_SCALE,
    **{f"dim{axis}": W_DIM + axis for axis in range(MAX_RANK)},
    **{f"stride{axis}": W_STRIDE + axis for axis in range(MAX_RANK)},
    "sstride0": W_SSTRIDE,
    "sstride1": W_SSTRIDE,
}
#: Word of a descriptor that each field is, or lies in.
FIELD_WORDS = tuple(_FIELD_WORD[name] for name in sorted(FIELDS, key=FIELDS.__getitem__))
_LOW40, _LOW24 = (1 << 40) - 1, (1 << 24) - 1


@helper
def stop(t, pc, fault):
    """The control processor has faulted."""
    put(t, at.T_CONTROL, at.FAULTED)
    put(t, at.T_PC, pc)
    stop_unit(t, 0, fault, pc)
    return ENDED


@helper
def _loop_end(t):
    """Where the innermost hardware loop ends; -1 without loops."""
    depth = get(t, at.T_LOOPS)
    return get(t, at.T_LOOP_STACK + 3 * (depth - 1) + 1) if depth > 0 else -1


@helper
def _turn_loops(t, pc):
    """The next pc when the innermost loop ends at `pc`."""
    depth = get(t, at.T_LOOPS)
    while depth > 0:
        loop = t + 8 * (at.T_LOOP_STACK + 3 * (depth - 1))
        if get(loop, 1) != pc:
            break
        left = get(loop, 2) - 1
        put(loop, 2, left)
        # An empty body turns without moving: its remaining turns change nothing.
        if left > 0 and get(loop, 0) != pc:
            pc = get(loop, 0)
            break
        depth -= 1
    put(t, at.T_LOOPS, depth)
    return pc


@helper
def _special(m, t, which):
    if which == TILE_ID:
        return get(t, at.T_ID)
    if which == CLUSTER_ID:
        return get(t, at.T_CLUSTER)
    if which == NUM_TILES:
        return get(m, at.M_TILES)
    if which == NUM_CLUSTERS:
        return get(m, at.M_CLUSTERS)
    return 1 if which == NUM_CHIPS else 0


@helper
def _set_field(t, row, value, add):
    """dset and dadd: one field of a descriptor register."""
    desc = t + 8 * at.T_DESCRIPTORS + 128 * load_u8(row + at.ROW_D)
    field = load_u8(row + at.ROW_SEL)
    if field == SSTRIDE0:
        word = get(desc, W_SSTRIDE)
        value += word if add else 0
        put(desc, W_SSTRIDE, word & ~_LOW40 | value & _LOW40)
    elif field == SSTRIDE1:
        word = get(desc, W_SSTRIDE)
        value += word >> 40 if add else 0
        put(desc, W_SSTRIDE, word & _LOW40 | (value & _LOW24) << 40)
    else:
        where = FIELD_WORDS[field]
        put(desc, where, value + (get(desc, where) if add else 0))


@helper
def _hand_over(m, t, w, row, op, pc):
    """An instruction that is not scalar: to a unit's queue, or carried out here and now."""
    if load_u8(row + at.ROW_UNIT) != 0:
        return issue(m, t, w, row, pc)
    if not has_room(m, t):
        return NO_ROOM
    registers = t + 8 * at.T_REGISTERS
    number = get(registers, load_u8(row + at.ROW_RB)) + load_i64(row + at.ROW_IMM)
    ra = get(registers, load_u8(row + at.ROW_RA))
    # A wait that does not pass is tried again from its pc, so its record comes last.
    record = open_record(m, t, row, pc, 0) if op == OP_SIGNAL else 0
    outcome = perform(m, t, w, row, pc, 0, number, ra, record)
    if outcome < 0:
        stop(t, pc, -outcome)
        return STOPPED
    if outcome == SENT:
        put(unit_of(t, 0), at.U_STATE, at.SENDING)
        return SENT_ON
    if outcome != DONE:
        return BLOCKED
    if op == OP_WAIT:
        record = open_record(m, t, row, pc, 0)
        if record != 0:
            put(record, retire.SEM, load_u8(row + at.ROW_SEM))
            put(record, retire.COUNT, number)
        complete(t, record)
    return ISSUED


# The loop below is long on purpose: pc, gap and the end of the innermost loop stay in registers,
# and LLVM turns the chain of comparisons into one jump table.


@helper
def run(m, t, w):
    """Run until the control processor must stop for something; says for what.

    What is left of the tile's share goes back to the worker, but for faults.
    """
    pc, gap = get(t, at.T_PC), get(t, at.T_GAP)
    left = get(w, at.W_BUDGET) - get(w, at.W_SPENT)
    put(w, at.W_SPENT, 0)
    code, rows = get(m, at.M_CODE), np.uint64(get(m, at.M_CODE_ROWS))
    registers = t + 8 * at.T_REGISTERS
    loop_end = _loop_end(t)
    while left > 0:
        if np.uint64(pc) >= rows:
            return stop(t, pc, BAD_PC)
        row = code + at.ROW_BYTES * pc
        op = load_u8(row)
        following = pc + 1
        left -= 1
        if op <= LAST_SCALAR:
            gap += 1
            a = get(registers, load_u8(row + at.ROW_RA))
            b = get(registers, load_u8(row + at.ROW_RB)) + load_i64(row + at.ROW_IMM)
            if op == ADD:
                value, writes = a + b, True
            elif op == LI:
                value, writes = b, True
            elif op == SUB:
                value, writes = a - b, True
            elif op == MUL:
                value, writes = a * b, True
            elif op == AND:
                value, writes = a & b, True
            elif op == OR:
                value, writes = a | b, True
            elif op == XOR:
                value, writes = a ^ b, True
            elif op == SHL:
                value, writes = a << (b & 63), True
            elif op == SHR:
                value, writes = np.int64(np.uint64(a) >> np.uint64(b & 63)), True
            elif op == MIN:
                value, writes = min(a, b), True
            elif op == MAX:
                value, writes = max(a, b), True
            elif op == RDSR:
                value, writes = _special(m, t, load_u8(row + at.ROW_SEL)), True
            elif op == DIVU:
                if b == 0:
                    return stop(t, pc, DIVIDE_BY_ZERO)
                value, writes = np.int64(np.uint64(a) // np.uint64(b)), True
            elif op == REMU:
                if b == 0:
                    return stop(t, pc, DIVIDE_BY_ZERO)
                value, writes = np.int64(np.uint64(a) % np.uint64(b)), True
            else:
                value, writes = 0, False
                taken = False
                if op == BEQ:
                    taken = a == b
                elif op == BNE:
                    taken = a != b
                elif op == BLT:
                    taken = a < b
                elif op == BGE:
                    taken = a >= b
                elif op == JMP:
                    taken = True
                elif op == DADD:
                    _set_field(t, row, b, True)
                elif op == DSET:
                    _set_field(t, row, b, False)
                elif op == LOOP:
                    if b > 0:
                        depth = get(t, at.T_LOOPS)
                        if depth == LOOP_DEPTH:
                            return stop(t, pc, LOOP_FAULT)
                        loop = t + 8 * (at.T_LOOP_STACK + 3 * depth)
                        put(loop, 0, following)
                        put(loop, 1, load_u32(row + at.ROW_TARGET))
                        put(loop, 2, b)
                        put(t, at.T_LOOPS, depth + 1)
                    else:
                        following = np.int64(load_u32(row + at.ROW_TARGET))
                    loop_end = _loop_end(t)
                elif op == CALL:
                    depth = get(t, at.T_CALLS)
                    if depth == CALL_DEPTH:
                        return stop(t, pc, CALL_FAULT)
                    put(t, at.T_CALL_STACK + depth, following)
                    put(t, at.T_CALLS, depth + 1)
                    taken = True
                elif op == RET:
                    depth = get(t, at.T_CALLS) - 1
                    if depth < 0:
                        return stop(t, pc, CALL_FAULT)
                    following = get(t, at.T_CALL_STACK + depth)
                    put(t, at.T_CALLS, depth)
                    put(t, at.T_TAKEN, get(t, at.T_TAKEN) + 1)
                elif op == MARK:
                    put(t, at.T_CONTEXT, b)
                elif op == DLD:
                    if np.uint64(b) >= np.uint64(get(m, at.M_TABLE_ROWS)):
                        return stop(t, pc, OUT_OF_BOUNDS)
                    desc = t + 8 * at.T_DESCRIPTORS + 128 * load_u8(row + at.ROW_D)
                    copy_bytes(desc, get(m, at.M_TABLE) + 128 * b, 128)
                elif op == DMOV:
                    desc = t + 8 * at.T_DESCRIPTORS
                    source = desc + 128 * load_u8(row + at.ROW_D + 1)
                    copy_bytes(desc + 128 * load_u8(row + at.ROW_D), source, 128)
                elif op == LD:
                    put(t, at.T_GAP, gap - 1)
                    if not has_room(m, t):
                        put(t, at.T_PC, pc)
                        return YIELDED
                    fault = load(m, t, w, row, pc, b)
                    if fault != 0:
                        return stop(t, pc, fault)
                    gap = 0
                elif op == HALT:
                    put(t, at.T_GAP, gap - 1)
                    if not has_room(m, t):
                        put(t, at.T_PC, pc)
                        return YIELDED
                    complete(t, open_record(m, t, row, pc, 0))
                    put(t, at.T_CONTROL, at.HALTED)
                    put(w, at.W_BUDGET, left)
                    return ENDED
                elif op != NOP:
                    return stop(t, pc, ILLEGAL)
                if taken:
                    following = np.int64(load_u32(row + at.ROW_TARGET))
                    put(t, at.T_TAKEN, get(t, at.T_TAKEN) + 1)
            if writes:
                put(registers, load_u8(row + at.ROW_RD), value)
                put(registers, 0, 0)
        else:
            put(t, at.T_GAP, gap)
            outcome = _hand_over(m, t, w, row, op, pc)
            if outcome != ISSUED and outcome != SENT_ON:
                put(t, at.T_PC, pc)
                put(w, at.W_BUDGET, left)
                if outcome == STOPPED:
                    return ENDED
                return YIELDED if outcome == NO_ROOM else STUCK
            gap = 0
            left -= get(w, at.W_SPENT)
            put(w, at.W_SPENT, 0)
            if get(t, at.T_READY) != 0 or outcome == SENT_ON:
                if following == loop_end:
                    following = _turn_loops(t, following)
                put(t, at.T_PC, following)
                put(w, at.W_BUDGET, left)
                return WOKE if outcome == ISSUED else STUCK
        if following == loop_end:
            following = _turn_loops(t, following)
            loop_end = _loop_end(t)
        pc = following
    put(t, at.T_PC, pc)
    put(t, at.T_GAP, gap)
    put(w, at.W_BUDGET, left)
    return YIELDED
