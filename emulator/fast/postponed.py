"""Copies that are not made until somebody looks: weights on their way from HBM to a tile's memory.

In decode, each weight is copied to a tile's memory, multiplied once and overwritten. The copy
costs as much as the product, and no program can tell whether it is made. So a DMA from a region
that programs cannot write to a dense range of its own tile's TSRAM is only noted: the range and
where its bytes are. A note is an alias, and whatever touches the range afterwards sees to it:

- GEMM reads its panels of W, and their scales, where they are (`redirect`), if its panels lie in
  the source as regularly as in the range;
- a DMA that writes a dense range makes the part of the note below it void: the note is cut;
- any other operand that touches the range, of whatever tile, has the copy made first (`touch`);
- before the host looks, or writes a source, all copies are made (`make_copies`): at the end of an
  entry, or of several that run ahead of their timing.

Sources do not change while an entry runs: programs cannot write them, and the host does not.

A tile's notes are in a block of their own: a lock, the number of notes, the range that covers all
of them, and the notes. Tiles may touch each other's memory from other threads, hence the lock. The
covering range is looked at without it: if a note that matters were missing from it, the program
would have a race.
"""

from __future__ import annotations

from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.operands import HBM, PANEL, TSRAM, element_bits
from emulator.fast.records import operand_info, operand_record
from emulator.fast.words import exchange, get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import copy_bytes
from isa.spec import BY_MNEMONIC

LEAST = 4096  #: bytes of a copy that is worth a note; estimate: a smaller one is made as quickly
NOTES = 32  #: of one tile; with more, copies are made at once

# A tile's block, in words.
P_LOCK, P_COUNT, P_LOW, P_HIGH = range(4)
P_NOTES = 8
#: A note: TSRAM offsets [low, high) of what is left of it; the offset of its first byte when it was
#: made, and that byte's host address; bytes of its rows, which lie behind one another in the range;
#: bytes from row to row in the source.
N_LOW, N_HIGH, N_ORIGIN, N_SOURCE, N_ROW, N_STEP = range(6)
N_WORDS = 8
P_WORDS = P_NOTES + N_WORDS * NOTES

DMA, GEMM = (BY_MNEMONIC[name].opcode for name in ("dma", "gemm"))
W = 2  # the operand of GEMM


@helper
def _block(m, tile):
    return get(m, at.M_POSTPONED) + 8 * P_WORDS * tile


@helper
def _note(block, index):
    return block + 8 * (P_NOTES + N_WORDS * index)


@helper
def _lock(block):
    while exchange(block + 8 * P_LOCK, 1) != 0:
        pass


@helper
def _unlock(block):
    exchange(block + 8 * P_LOCK, 0)


# ---- a locked block


@helper
def _make(m, tile, note):
    """Make the copy of what is left of a note."""
    low, high, row = get(note, N_LOW), get(note, N_HIGH), get(note, N_ROW)
    to = get(m, at.M_TSRAM) + tile * get(m, at.M_TSRAM_BYTES)
    while low < high:
        before = low - get(note, N_ORIGIN)
        size = min(high - low, row - before % row)
        source = get(note, N_SOURCE) + before // row * get(note, N_STEP) + before % row
        copy_bytes(to + low, source, size)
        low += size


@helper
def _drop(block, index):
    """Forget a note; the last takes its place."""
    last = get(block, P_COUNT) - 1
    put(block, P_COUNT, last)
    if index != last:
        copy_bytes(_note(block, index), _note(block, last), 8 * N_WORDS)


@helper
def _make_all(m, tile, block, low, high):
    """Make the copies that touch [low, high)."""
    index = get(block, P_COUNT) - 1
    while index >= 0:
        note = _note(block, index)
        if get(note, N_LOW) < high and low < get(note, N_HIGH):
            _make(m, tile, note)
            _drop(block, index)
        index -= 1


@helper
def _cut_all(m, tile, block, low, high):
    """[low, high) is about to be written: nothing need be known of it any more."""
    index = get(block, P_COUNT) - 1
    while index >= 0:
        note = _note(block, index)
        first, beyond = get(note, N_LOW), get(note, N_HIGH)
        if first < high and low < beyond:
            if low <= first and beyond <= high:
                _drop(block, index)
            elif low <= first:
                put(note, N_LOW, high)
            elif beyond <= high:
                put(note, N_HIGH, low)
            else:  # a hole
                _make(m, tile, note)
                _drop(block, index)
        index -= 1


# ---- what operands touch


@helper
def _overlaps(block, low, high):
    """Whether there may be a note within [low, high)."""
    return get(block, P_COUNT) != 0 and low < get(block, P_HIGH) and get(block, P_LOW) < high


@helper
def _touch_range(m, tile, low, high, overwritten):
    block = _block(m, tile)
    if _overlaps(block, low, high):
        _lock(block)
        if overwritten:
            _cut_all(m, tile, block, low, high)
        else:
            _make_all(m, tile, block, low, high)
        _unlock(block)


@helper
def touch_operand(m, info, record, overwritten):
    """Have copies made, or made void if all bytes are `overwritten`, below an operand in TSRAM."""
    owner = get(info, at.I_OWNER)
    low = get(info, at.I_ADDRESS)
    high = low + get(info, at.I_LENGTH)
    for number in range(get(info, at.I_FAN)):
        tile = owner + number * get(info, at.I_FANSTEP)
        _touch_range(m, tile, low, high, overwritten)
    length = get(info, at.I_SCALE_LENGTH)
    if length > 0:
        low += get(record, at.A_SCALE_ADDRESS) - get(record, at.A_ADDRESS)
        _touch_range(m, owner, low, low + length, False)


@helper
def _dense(record):
    """Whether an operand's elements lie behind one another, each once."""
    run = 1
    for axis in (3, 2, 1, 0):
        extent = get(record, at.A_SHAPE + axis)
        if extent != 1:
            if get(record, at.A_STRIDES + axis) != run:
                return False
            run *= extent
    return True


# ---- making notes


@helper
def _can_wait(m, t, w):
    """Whether a DMA is one that need not be made now."""
    to, source = operand_info(w, 0), operand_info(w, 1)
    if get(to, at.I_SPACE) != TSRAM or get(source, at.I_SPACE) != HBM:
        return False
    if get(source, at.I_FIXED) == 0 or get(to, at.I_FAN) != 1:
        return False
    if get(to, at.I_OWNER) != get(t, at.T_ID) or get(to, at.I_LENGTH) < get(m, at.M_LEAST_COPY):
        return False
    record = operand_record(w, 1)
    if get(record, at.A_SHAPE) != 1 or get(record, at.A_SHAPE + 1) != 1:
        return False
    if get(record, at.A_SHAPE + 3) != 1 and get(record, at.A_STRIDES + 3) != 1:
        return False
    return _dense(operand_record(w, 0))


@helper
def _postpone(m, t, w):
    """Note a copy; False without room for it."""
    tile, info = get(t, at.T_ID), operand_info(w, 0)
    block, record = _block(m, tile), operand_record(w, 1)
    low = get(info, at.I_ADDRESS)
    high = low + get(info, at.I_LENGTH)
    bits = element_bits(get(record, at.A_FORMAT))
    _lock(block)
    _cut_all(m, tile, block, low, high)
    count = get(block, P_COUNT)
    if count < NOTES:
        note = _note(block, count)
        put(note, N_LOW, low)
        put(note, N_HIGH, high)
        put(note, N_ORIGIN, low)
        put(note, N_SOURCE, get(record, at.A_ADDRESS))
        put(note, N_ROW, get(record, at.A_SHAPE + 3) * bits >> 3)
        put(note, N_STEP, get(record, at.A_STRIDES + 2) * bits >> 3)
        put(block, P_LOW, low if count == 0 else min(low, get(block, P_LOW)))
        put(block, P_HIGH, high if count == 0 else max(high, get(block, P_HIGH)))
        put(block, P_COUNT, count + 1)
    _unlock(block)
    return count < NOTES


# ---- GEMM's panels


@helper
def _find(block, low, high):
    """The note that has all of [low, high), or 0."""
    for index in range(get(block, P_COUNT)):
        note = _note(block, index)
        if get(note, N_LOW) <= low and high <= get(note, N_HIGH):
            return note
    return 0


@helper
def _source_of(block, low, high, pitch, run):
    """Where in a source the runs of [low, high) are, and how far apart; address 0 if irregular.

    `run` bytes are read every `pitch` bytes.
    """
    note = _find(block, low, high)
    if note == 0:
        return 0, 0
    row, step = get(note, N_ROW), get(note, N_STEP)
    before = low - get(note, N_ORIGIN)
    if step == row or before // row == (high - 1 - get(note, N_ORIGIN)) // row:
        return get(note, N_SOURCE) + before // row * step + before % row, pitch
    if pitch % row != 0 or before % row + run > row:
        return 0, 0
    return get(note, N_SOURCE) + before // row * step + before % row, pitch // row * step


@helper
def _redirect(m, t, w):
    """Let GEMM read its panels and their scales at their sources, or have the copies made."""
    info, record = operand_info(w, W), operand_record(w, W)
    tile = get(t, at.T_ID)
    block = _block(m, tile)
    if get(record, at.A_LAYOUT) != PANEL:
        touch_operand(m, info, record, False)
        return
    bits = element_bits(get(record, at.A_FORMAT))
    low = get(info, at.I_ADDRESS)
    scales = low + get(record, at.A_SCALE_ADDRESS) - get(record, at.A_ADDRESS)
    panels = (get(record, at.A_SHAPE + 2) + 15) // 16
    _lock(block)
    high = low + get(info, at.I_LENGTH)
    if _overlaps(block, low, high):
        pitch = get(record, at.A_STRIDES + 2) * bits >> 3
        run = high - low - (panels - 1) * pitch
        source, apart = _source_of(block, low, high, pitch, run)
        if source != 0:
            put(record, at.A_ADDRESS, source)
            put(record, at.A_STRIDES + 2, (apart << 3) // bits)
        else:
            _make_all(m, tile, block, low, high)
    high = scales + get(info, at.I_SCALE_LENGTH)
    if scales < high and _overlaps(block, scales, high):
        pitch = get(record, at.A_SCALE_STRIDE0)
        run = high - scales - (panels - 1) * pitch
        source, apart = _source_of(block, scales, high, pitch, run)
        if source != 0:
            put(record, at.A_SCALE_ADDRESS, source)
            put(record, at.A_SCALE_STRIDE0, apart)
        else:
            _make_all(m, tile, block, scales, high)
    _unlock(block)


# ---- the loop's side


@njit
def prepare(m, t, w, rule, op):
    """Before a tensor instruction changes memory; 1 if it is a copy that can wait, and is done."""
    if op == DMA and _can_wait(m, t, w) and _postpone(m, t, w):
        return 1
    for operand in range(get(rule, rules.RULE_OPERANDS) - 1, -1, -1):  # sources first
        info, record = operand_info(w, operand), operand_record(w, operand)
        if get(record, at.A_RANK) < 0 or get(info, at.I_ELEMENTS) == 0:
            continue
        if get(info, at.I_SPACE) != TSRAM:
            continue
        if op == GEMM and operand == W:
            _redirect(m, t, w)
        else:
            touch_operand(m, info, record, op == DMA and operand == 0 and _dense(record))
    return 0


@njit
def make_copies(m):
    """Make all copies that have been postponed."""
    for tile in range(get(m, at.M_TILES)):
        block = _block(m, tile)
        while get(block, P_COUNT) > 0:
            _make(m, tile, _note(block, get(block, P_COUNT) - 1))
            put(block, P_COUNT, get(block, P_COUNT) - 1)
    return 0
