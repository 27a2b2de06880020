"""What an instruction reads and writes, from its entry in the access log."""

from __future__ import annotations

import numpy as np

from emulator.check import layout as at
from emulator.check.boxes import set_axis, touch_box, touch_matrix, touch_panels
from emulator.fast import access_log as log
from emulator.fast.operands import HBM, NO_SCALE, PANEL, block_of, element_bits
from emulator.fast.records import OP_GATHER, OP_SCATTER
from emulator.fast.words import get, put
from emulator.jit import helper, njit
from isa.descriptor import PANEL_COLUMNS
from isa.spec import BY_MNEMONIC

GEMM = BY_MNEMONIC["gemm"].opcode
FLAG_ACCUMULATE = 1
ACC, A, W = 0, 1, 2  # a gemm's operands
INDEX = 2  # a gather's and a scatter's


@helper
def go_to(c, space, owner):
    """Turn to a memory; whether anything in it can go wrong."""
    number = at.REGIONS + owner if space == HBM else space - 1
    place = get(c, at.C_PLACES) + 8 * at.P_WORDS * number
    cells = get(place, at.P_CELLS)
    put(c, at.C_NOW_PLACE, place)
    put(c, at.C_NOW_OWNER, owner)
    origin = get(place, at.P_ORIGIN) if space == HBM else -owner * get(place, at.P_BYTES)
    put(c, at.C_NOW_ORIGIN, cells - 8 * origin)
    return cells != 0


@helper
def _format(operand):
    return get(operand, log.O_KIND) >> 8 & 0xFF


@helper
def _layout(operand):
    return get(operand, log.O_KIND) >> 16 & 0xFF


@helper
def _scales(operand):
    return get(operand, log.O_KIND) >> 24 & 0xFF


# ---- data and scales of an operand, in the memory at hand


@helper
def _data(c, operand, rows, first, beyond):
    """Values k of [first, beyond) of a matrix's rows, beginning at row 0."""
    bits = element_bits(_format(operand))
    base = get(operand, log.O_ADDRESS)
    if _layout(operand) == PANEL:
        touch_panels(c, base, bits, rows, get(operand, log.O_STRIDES + 2), first, beyond)
        return
    down, across = get(operand, log.O_STRIDES + 2), get(operand, log.O_STRIDES + 3)
    start = 8 * base + first * across * bits
    touch_matrix(c, start, bits, rows, down * bits, beyond - first, across * bits)


@helper
def _block_scales(c, operand, row, rows, first, beyond):
    """The scales of values k of [first, beyond) of rows [row, row + rows); panels: row is 0."""
    if _scales(operand) == NO_SCALE:
        return
    block = block_of(_scales(operand))
    low, high = first // block, (beyond + block - 1) // block
    base, down = get(operand, log.O_SCALE), get(operand, log.O_SCALE_STRIDE0)
    across = get(operand, log.O_SCALE_STRIDE1)
    if _layout(operand) == PANEL:
        for panel in range((rows + PANEL_COLUMNS - 1) // PANEL_COLUMNS):
            columns = min(PANEL_COLUMNS, rows - panel * PANEL_COLUMNS)
            start = 8 * (base + panel * down + low * PANEL_COLUMNS)
            touch_matrix(c, start, 8, high - low, 8 * PANEL_COLUMNS, columns, 8)
        return
    start = 8 * (base + row * down + low * across)
    touch_matrix(c, start, 8, rows, 8 * down, high - low, 8 * across)


@helper
def _whole(c, operand):
    """All of an operand, in the memory at hand."""
    rows, depth = get(operand, log.O_SHAPE + 2), get(operand, log.O_SHAPE + 3)
    if _layout(operand) == PANEL:
        _data(c, operand, rows, 0, depth)
    else:
        bits = element_bits(_format(operand))
        for axis in range(4):
            step = get(operand, log.O_STRIDES + axis) * bits
            set_axis(c, axis, get(operand, log.O_SHAPE + axis), step)
        touch_box(c, 8 * get(operand, log.O_ADDRESS), bits)
    _block_scales(c, operand, 0, rows, 0, depth)


@helper
def _listed(c, operand, list_at, count):
    """The rows of an index list, in the memory at hand."""
    bits, first = element_bits(_format(operand)), 4 - (get(operand, log.O_KIND) >> 40 & 0xFF)
    step = get(operand, log.O_STRIDES + first) * bits
    for i in range(count):
        for axis in range(4):
            inside = axis > first
            extent = get(operand, log.O_SHAPE + axis) if inside else 1
            set_axis(c, axis, extent, get(operand, log.O_STRIDES + axis) * bits)
        touch_box(c, 8 * get(operand, log.O_ADDRESS) + get(list_at, i) * step, bits)


@helper
def _bounded(c, operand, bounds, rows):
    """Each row from its begin to its end, in the memory at hand."""
    bits = element_bits(_format(operand))
    down = get(operand, log.O_STRIDES + 2) * bits
    across = get(operand, log.O_STRIDES + 3) * bits
    for row in range(rows):
        first, beyond = get(bounds, 2 * row), get(bounds, 2 * row + 1)
        if first < beyond:
            start = 8 * get(operand, log.O_ADDRESS) + row * down + first * across
            touch_matrix(c, start, bits, 1, 0, beyond - first, across)
            _block_scales(c, operand, row, 1, first, beyond)


@helper
def _united(c, operand, bounds, rows):
    """The values k that any row executes, of all rows of a gemm's w; in the memory at hand."""
    ranges, count = get(c, at.C_RANGES), 0
    for row in range(rows):
        first, beyond = get(bounds, 2 * row), get(bounds, 2 * row + 1)
        if first >= beyond:
            continue
        i = 0
        while i < count:
            low, high = get(ranges, 2 * i), get(ranges, 2 * i + 1)
            if low <= beyond and first <= high:
                first, beyond = min(first, low), max(beyond, high)
                count -= 1
                put(ranges, 2 * i, get(ranges, 2 * count))
                put(ranges, 2 * i + 1, get(ranges, 2 * count + 1))
                i = 0
            else:
                i += 1
        put(ranges, 2 * count, first)
        put(ranges, 2 * count + 1, beyond)
        count += 1
    columns = get(operand, log.O_SHAPE + 2)
    for i in range(count):
        first, beyond = get(ranges, 2 * i), get(ranges, 2 * i + 1)
        _data(c, operand, columns, first, beyond)
        _block_scales(c, operand, 0, columns, first, beyond)


# ---- instructions


@helper
def _part(c, op, number, operand, side, count):
    """What is touched of one operand, in the memory at hand."""
    if count > 0 and number == A and op != OP_GATHER and op != OP_SCATTER:
        _bounded(c, operand, side, count >> 1)
    elif count > 0 and number == W and op == GEMM:
        _united(c, operand, side, count >> 1)
    elif (op == OP_GATHER and number == 1) or (op == OP_SCATTER and number == 0):
        _listed(c, operand, side, count)
    else:
        _whole(c, operand)


@njit
def instruct(c, entry):
    """All that the instruction of a log entry reads, then all that it writes; returns 0."""
    head, side_words = get(entry, log.E_HEAD), get(entry, log.E_SIDE)
    op, flags, operands = head >> 8 & 0xFF, head >> 16 & 0xFF, head >> 24 & 0xFF
    first = entry + 8 * log.E_OPERANDS
    side = first + 8 * log.O_WORDS * operands
    for writes in range(2):
        put(c, at.C_NOW_WRITES, writes)
        for number in range(operands):
            operand = first + 8 * log.O_WORDS * number
            kind, owner = get(operand, log.O_KIND), get(operand, log.O_OWNER)
            also = op == GEMM and number == ACC and flags & FLAG_ACCUMULATE != 0
            if kind < 0 or (kind >> 32 & 1 != writes and not also):
                continue
            if head & log.FAULTED != 0 and number != INDEX:
                continue
            for _ in range(get(operand, log.O_FAN)):
                if go_to(c, kind & 0xFF, owner):
                    _part(c, op, number, operand, side, side_words)
                owner += get(operand, log.O_FANSTEP)
    return np.int64(0)


@helper
def load(c, event):
    """What an `ld` reads."""
    put(c, at.C_NOW_WRITES, 0)
    if go_to(c, get(event, at.E_A), get(event, at.E_B)):
        touch_matrix(c, 8 * get(event, at.E_C), 8, 1, 0, get(event, at.E_D), 8)
