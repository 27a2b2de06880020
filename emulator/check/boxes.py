"""Operands as runs of bytes: boxes of elements, packed panels, and scales.

The order in which bytes are visited does not matter, so the axes of a box are sorted by their steps
and merged where they lie together: a transposed view is one run.
"""

from __future__ import annotations

import numpy as np

from emulator.check import layout as at
from emulator.check.shadow import touch
from emulator.fast.words import call, get, put
from emulator.jit import helper, njit
from isa.descriptor import PANEL_COLUMNS


@helper
def set_axis(c, axis, count, step):
    """An axis of the box at hand: how many, and bits from one to the next."""
    put(c, at.C_BOX + axis, count)
    put(c, at.C_BOX + 4 + axis, step)


@helper
def _sort_axes(c):
    """Axes that move, the largest step first; how many."""
    axes = 0
    for axis in range(4):
        count, step = get(c, at.C_BOX + axis), get(c, at.C_BOX + 4 + axis)
        if count == 1 or step == 0:
            continue
        place = axes
        while place > 0 and get(c, at.C_SORTED + 4 + place - 1) < step:
            put(c, at.C_SORTED + place, get(c, at.C_SORTED + place - 1))
            put(c, at.C_SORTED + 4 + place, get(c, at.C_SORTED + 4 + place - 1))
            place -= 1
        put(c, at.C_SORTED + place, count)
        put(c, at.C_SORTED + 4 + place, step)
        axes += 1
    return axes


@helper
def _merge_axes(c, width):
    """Sort the box; the bits that lie together, the rest right-aligned in C_SORTED."""
    axes = _sort_axes(c)
    while axes > 0 and get(c, at.C_SORTED + 4 + axes - 1) == width:
        width *= get(c, at.C_SORTED + axes - 1)
        axes -= 1
    for axis in range(3, -1, -1):
        source = axis - (4 - axes)
        put(c, at.C_SORTED + axis, get(c, at.C_SORTED + source) if source >= 0 else 1)
        put(c, at.C_SORTED + 4 + axis, get(c, at.C_SORTED + 4 + source) if source >= 0 else 0)
    return width


@njit
def walk_box(c, start, width):
    """Read or write every element of the box at hand; start and width in bits. Returns 0."""
    for axis in range(4):
        if get(c, at.C_BOX + axis) <= 0:
            return np.int64(0)
    width = _merge_axes(c, width)
    for i0 in range(get(c, at.C_SORTED)):
        for i1 in range(get(c, at.C_SORTED + 1)):
            for i2 in range(get(c, at.C_SORTED + 2)):
                bit = start + i0 * get(c, at.C_SORTED + 4) + i1 * get(c, at.C_SORTED + 5)
                bit += i2 * get(c, at.C_SORTED + 6)
                for _ in range(get(c, at.C_SORTED + 3)):
                    touch(c, bit >> 3, (bit + width + 7) >> 3)
                    bit += get(c, at.C_SORTED + 7)
    return np.int64(0)


@helper
def touch_box(c, start, width):
    """`walk_box`, by its address: compiled once, and not into all its callers."""
    call(get(c, at.C_WALK_BOX), (c, start, width))


@helper
def touch_matrix(c, start, width, rows, row_step, columns, column_step):
    """A box of two axes."""
    set_axis(c, 0, 1, 0)
    set_axis(c, 1, 1, 0)
    set_axis(c, 2, rows, row_step)
    set_axis(c, 3, columns, column_step)
    touch_box(c, start, width)


@helper
def touch_panels(c, base, width, rows, row_stride, first, beyond):
    """Values k of [first, beyond) of a packed matrix with so many rows; not its padding."""
    group = 32 // width
    low, high = first // group, (beyond + group - 1) // group
    for panel in range((rows + PANEL_COLUMNS - 1) // PANEL_COLUMNS):
        columns = min(PANEL_COLUMNS, rows - panel * PANEL_COLUMNS)
        at_byte = base + panel * row_stride * width // 8
        for word in range(low, high):
            inside = max(first - word * group, 0) * width
            outside = min(beyond - word * group, group) * width
            start = 8 * (at_byte + word * 64) + inside
            if columns == PANEL_COLUMNS and inside == 0 and outside == 32:
                # Whole words of a whole panel lie together.
                whole = beyond // group
                touch_matrix(c, start, 32, whole - word, 512, columns, 32)
                if whole < high:
                    start = 8 * (at_byte + whole * 64)
                    left = (beyond - whole * group) * width
                    touch_matrix(c, start, left, 1, 0, columns, 32)
                break
            touch_matrix(c, start, outside - inside, 1, 0, columns, 32)
