"""Descriptors resolved to operands: the architected checks of one operand, and its addresses.

A check that fails is a *class* 1..8, in the order of docs/isa/machine.md; of all
operands and relations of an instruction, the lowest class is the fault that is raised. Nothing
here touches tensor memory, and no sum can overflow: what does not fit is out of bounds.
"""

from __future__ import annotations

import numpy as np

from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.words import get, put
from emulator.jit import helper, njit
from isa.descriptor import (
    MAX_RANK,
    PANEL_COLUMNS,
    W_BASE,
    W_CHIP,
    W_DIM,
    W_FAN,
    W_FANSTEP,
    W_META,
    W_OWNER,
    W_SCALE,
    W_SSTRIDE,
    W_STRIDE,
    Space,
)
from isa.faults import Fault
from isa.formats import FORMATS, Format, Layout, ScaleKind

PASSED = 99
BAD_DESCRIPTOR, BAD_SPACE, FORMAT, SHAPE, MISALIGNED, BAD_TILE, OUT_OF_BOUNDS, READ_ONLY = range(
    1, 9
)

#: Fault of a class.
FAULT_OF_CLASS = (
    int(Fault.NONE),
    int(Fault.BAD_DESCRIPTOR),
    int(Fault.BAD_SPACE),
    int(Fault.FORMAT_MISMATCH),
    int(Fault.SHAPE_MISMATCH),
    int(Fault.MISALIGNED),
    int(Fault.BAD_TILE),
    int(Fault.OUT_OF_BOUNDS),
    int(Fault.READ_ONLY),
)

HBM, CSRAM, TSRAM, ACC = (int(space) for space in Space)
E2M1, I32, NUM_FORMATS = int(Format.E2M1), int(Format.I32), len(Format)
BITS = tuple(FORMATS[fmt].bits for fmt in Format)
PANEL = int(Layout.PANEL)
NO_SCALE, MX32, NV16 = (int(kind) for kind in ScaleKind)
PANEL_FORMATS = sum(
    1 << int(f) for f in (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1)
)
MX_FORMATS = sum(1 << int(f) for f in (Format.E4M3FN, Format.E5M2, Format.E2M1))

MAX_EXTENT = np.uint64(1 << 40)
MAX_ADDRESS = np.uint64(1 << 48)
BEYOND = 1 << 52  # elements or bytes: more than any memory has
_BEYOND_FLOAT = float(BEYOND)
_LOW40 = (1 << 40) - 1


@helper
def element_bits(fmt):
    """Bits of one element."""
    return BITS[fmt]


@helper
def block_of(scale_kind):
    """Elements under one scale."""
    return 16 if scale_kind == NV16 else 32


@helper
def _span(count, stride):
    """(count - 1) * stride for count >= 1, at most BEYOND."""
    if float(count - 1) * float(stride) >= _BEYOND_FLOAT:
        return BEYOND
    return (count - 1) * stride


@njit
def resolve(m, t, desc, rule, record, info):
    """Fill an operand's argument record and info; the class of its first failing check."""
    kind, rank = _enumerations(desc)
    if kind == BAD_DESCRIPTOR:
        return BAD_DESCRIPTOR
    meta = get(desc, W_META)
    space, fmt = meta & 0xFF, meta >> 8 & 0xFF
    flags = get(rule, rules.OPERAND_FLAGS)
    put(record, at.A_FORMAT, fmt)
    put(record, at.A_LAYOUT, meta >> 16 & 0xFF)
    scales = meta >> 24 & 0xFF
    put(record, at.A_SCALE, NO_SCALE if flags & rules.UNSCALED else scales)
    put(info, at.I_SPACE, space)
    elements = _shape(desc, rank, record, info, flags & rules.WRITTEN != 0)
    if elements < 0:
        return BAD_DESCRIPTOR
    fan = get(desc, W_FAN)
    if np.uint64(fan - 1) >= np.uint64(get(m, at.M_TILES)):
        return BAD_DESCRIPTOR
    if fan > 1 and (flags & rules.MULTICAST == 0 or (space != CSRAM and space != TSRAM)):
        return BAD_DESCRIPTOR
    put(info, at.I_FAN, fan)
    failed = _accepts(t, desc, rule, record, space, rank)
    if failed != PASSED:
        return failed
    aligned = _alignment(desc, record, rank, elements)
    if aligned != PASSED:
        return aligned
    return _place(m, t, desc, record, info, flags & rules.WRITTEN != 0, elements)


@helper
def _enumerations(desc):
    """BAD_DESCRIPTOR unless every code and number is in its range; the rank."""
    meta = get(desc, W_META)
    rank = meta >> 32 & 0xFF
    bad = meta >> 40 != 0 or meta & 0xFF > ACC or meta >> 8 & 0xFF >= NUM_FORMATS
    bad |= meta >> 16 & 0xFF > PANEL or meta >> 24 & 0xFF > NV16 or rank > MAX_RANK
    bad |= get(desc, W_CHIP) != 0
    bad |= np.uint64(get(desc, W_BASE)) > MAX_ADDRESS
    bad |= np.uint64(get(desc, W_SCALE)) > MAX_ADDRESS
    return (BAD_DESCRIPTOR if bad else PASSED), rank


@helper
def _shape(desc, rank, record, info, written):
    """Shape and strides, right-aligned; the number of elements (wraps), 0 if empty, -1 if bad."""
    for axis in range(MAX_RANK):
        put(record, at.A_SHAPE + axis, 1)
        put(record, at.A_STRIDES + axis, 0)
    elements, empty = 1, False
    for axis in range(rank):
        extent, stride = get(desc, W_DIM + axis), get(desc, W_STRIDE + axis)
        if np.uint64(extent) > MAX_EXTENT or np.uint64(stride) > MAX_EXTENT:
            return -1
        if written and stride == 0 and extent > 1:
            return -1
        put(record, at.A_SHAPE + MAX_RANK - rank + axis, extent)
        put(record, at.A_STRIDES + MAX_RANK - rank + axis, stride)
        empty |= extent == 0
        elements = elements * extent & 0x7FFFFFFFFFFFFFFF
    put(record, at.A_RANK, rank)
    elements = 0 if empty else max(elements, 1)
    put(info, at.I_ELEMENTS, elements)
    return elements


@helper
def _accepts(t, desc, rule, record, space, rank):
    """What the instruction demands of space, format, layout, scales and rank."""
    flags = get(rule, rules.OPERAND_FLAGS)
    if get(rule, rules.OPERAND_SPACES) >> space & 1 == 0:
        return BAD_SPACE
    owner = get(desc, W_OWNER)
    if flags & rules.ANYWHERE == 0 and owner != -1 and owner != get(t, at.T_ID) and space != HBM:
        return BAD_SPACE
    fmt, scales = get(record, at.A_FORMAT), get(record, at.A_SCALE)
    if get(rule, rules.OPERAND_FORMATS) >> fmt & 1 == 0:
        return FORMAT
    panel = get(record, at.A_LAYOUT) == PANEL
    if panel and (flags & rules.PANEL == 0 or PANEL_FORMATS >> fmt & 1 == 0):
        return FORMAT
    if scales == NO_SCALE:
        if flags & rules.MUST_SCALE:
            return FORMAT
    else:
        suitable = MX_FORMATS >> fmt & 1 == 1 if scales == MX32 else fmt == E2M1
        if flags & rules.SCALED == 0 or not suitable:
            return FORMAT
    wanted = get(rule, rules.OPERAND_RANK)
    if wanted == rules.SOME_RANK:
        return SHAPE if rank == 0 else PASSED
    if (wanted >= 0 and rank != wanted) or (scales != NO_SCALE and rank != 2):
        return SHAPE
    return PASSED


@helper
def _alignment(desc, record, rank, elements):
    """Alignment of base and strides. An empty tensor has no addresses to align."""
    if elements == 0:
        return PASSED
    fmt, base = get(record, at.A_FORMAT), get(desc, W_BASE)
    if get(record, at.A_LAYOUT) == PANEL:
        group = 32 // element_bits(fmt)
        odd = base & 3 | get(desc, W_STRIDE) & (PANEL_COLUMNS * group - 1)
        odd |= get(desc, W_STRIDE + 1) ^ 1
        if get(record, at.A_SCALE) != NO_SCALE:
            odd |= get(desc, W_SSTRIDE) >> 40 & 0xFFFFFF ^ PANEL_COLUMNS
        return PASSED if odd == 0 else MISALIGNED
    if fmt != E2M1:
        return PASSED if base & ((element_bits(fmt) >> 3) - 1) == 0 else MISALIGNED
    if rank > 0 and get(record, at.A_SHAPE + 3) > 1 and get(record, at.A_STRIDES + 3) != 1:
        return MISALIGNED
    outer = get(record, at.A_STRIDES) | get(record, at.A_STRIDES + 1)
    outer |= get(record, at.A_STRIDES + 2)
    return PASSED if outer & 1 == 0 else MISALIGNED


@helper
def _extent(desc, record):
    """Bytes from the base to the end of the last element of a tensor that is not empty."""
    bits = element_bits(get(record, at.A_FORMAT))
    if get(record, at.A_LAYOUT) == PANEL:
        rows, depth = get(record, at.A_SHAPE + 2), get(record, at.A_SHAPE + 3)
        panels = (rows + PANEL_COLUMNS - 1) // PANEL_COLUMNS
        words = (depth * bits + 31) // 32
        return _span(panels, get(desc, W_STRIDE)) * bits // 8 + words * 4 * PANEL_COLUMNS
    last = 0
    for axis in range(MAX_RANK):
        last += _span(get(record, at.A_SHAPE + axis), get(record, at.A_STRIDES + axis))
    return (last * bits + bits + 7) >> 3


@helper
def _scale_extent(record, stride0, stride1):
    """Bytes from the first to the last scale."""
    blocks = block_of(get(record, at.A_SCALE))
    rows = get(record, at.A_SHAPE + 2)
    count = (get(record, at.A_SHAPE + 3) + blocks - 1) // blocks
    if get(record, at.A_LAYOUT) == PANEL:
        panels = (rows + PANEL_COLUMNS - 1) // PANEL_COLUMNS
        return _span(panels, stride0) + count * PANEL_COLUMNS
    return _span(rows, stride0) + _span(count, stride1) + 1


@helper
def find_region(m, address, nbytes):
    """Address of the region row that holds all of [address, address + nbytes), or 0."""
    first, beyond = 0, get(m, at.M_REGION_ROWS)
    rows = get(m, at.M_REGIONS)
    while first < beyond:
        middle = (first + beyond) >> 1
        if get(rows + 8 * at.REGION_WORDS * middle, at.REGION_BASE) <= address:
            first = middle + 1
        else:
            beyond = middle
    if first == 0:
        return 0
    row = rows + 8 * at.REGION_WORDS * (first - 1)
    return row if address + nbytes <= get(row, at.REGION_END) else 0


@helper
def _place(m, t, desc, record, info, written, elements):
    """Owner, bounds, and host addresses."""
    space, base = get(info, at.I_SPACE), get(desc, W_BASE)
    put(info, at.I_ADDRESS, base)
    put(info, at.I_CONTROL, 0)
    put(info, at.I_STRIDE, 0)
    put(info, at.I_OWNER, 0)
    put(info, at.I_FANSTEP, 0)
    put(info, at.I_FIXED, 0)
    put(record, at.A_ADDRESS, 0)
    put(record, at.A_SCALE_ADDRESS, 0)
    sstride0, sstride1 = get(desc, W_SSTRIDE) & _LOW40, get(desc, W_SSTRIDE) >> 40 & 0xFFFFFF
    put(record, at.A_SCALE_STRIDE0, sstride0)
    put(record, at.A_SCALE_STRIDE1, sstride1)
    owner = 0
    if space != HBM:
        owner = _owner(m, t, desc, info, space)
        if owner < 0:
            return BAD_TILE
    if elements == 0:
        put(info, at.I_BYTES, 0)
        return PASSED
    scales = get(record, at.A_SCALE)
    length = _extent(desc, record)
    scale_length = 0 if scales == NO_SCALE else _scale_extent(record, sstride0, sstride1)
    nbytes = (elements * element_bits(get(record, at.A_FORMAT)) + 7) >> 3
    if scales != NO_SCALE:
        block = block_of(scales)
        blocks = (get(record, at.A_SHAPE + 3) + block - 1) // block
        nbytes += get(record, at.A_SHAPE + 2) * blocks
    put(info, at.I_BYTES, nbytes)
    put(info, at.I_LENGTH, length)
    put(info, at.I_SCALE_LENGTH, scale_length)
    if space == HBM:
        return _place_hbm(m, desc, record, info, written, length, scale_length)
    pair = at.M_TSRAM if space == TSRAM else (at.M_CSRAM if space == CSRAM else at.M_ACC)
    size = get(m, pair + 1)
    if base + length > size:
        return OUT_OF_BOUNDS
    if scale_length > 0 and get(desc, W_SCALE) + scale_length > size:
        return OUT_OF_BOUNDS
    host = get(m, pair) + owner * size
    put(record, at.A_ADDRESS, host + base)
    if scale_length > 0:
        put(record, at.A_SCALE_ADDRESS, host + get(desc, W_SCALE))
    put(info, at.I_STRIDE, get(info, at.I_FANSTEP) * size)
    return PASSED


@helper
def _owner(m, t, desc, info, space):
    """The tile or cluster whose memory it is, -1 if it or one of the fan is beyond the chip."""
    owner = get(desc, W_OWNER)
    own = get(t, at.T_CLUSTER) if space == CSRAM else get(t, at.T_ID)
    owner = own if owner == -1 else owner
    count = get(m, at.M_CLUSTERS) if space == CSRAM else get(m, at.M_TILES)
    if np.uint64(owner) >= np.uint64(count):
        return -1
    fan = get(info, at.I_FAN)
    if fan > 1:
        step = get(desc, W_FANSTEP)
        if step >= count or step <= -count:
            return -1
        if np.uint64(owner + (fan - 1) * step) >= np.uint64(count):
            return -1
        put(info, at.I_FANSTEP, step)
    put(info, at.I_OWNER, owner)
    return owner


@helper
def _place_hbm(m, desc, record, info, written, length, scale_length):
    base, scale = get(desc, W_BASE), get(desc, W_SCALE)
    row = find_region(m, base, length)
    if row == 0:
        return OUT_OF_BOUNDS
    put(info, at.I_OWNER, (row - get(m, at.M_REGIONS)) // (8 * at.REGION_WORDS))
    put(info, at.I_CONTROL, get(row, at.REGION_CONTROL))
    host = get(row, at.REGION_HOST)
    if host != 0:
        put(record, at.A_ADDRESS, host + base - get(row, at.REGION_BASE))
    writable = get(row, at.REGION_WRITABLE)
    put(info, at.I_FIXED, 1 - writable)
    if scale_length > 0:
        second = find_region(m, scale, scale_length)
        if second == 0:
            return OUT_OF_BOUNDS
        writable &= get(second, at.REGION_WRITABLE)
        host = get(second, at.REGION_HOST)
        if host != 0:
            put(record, at.A_SCALE_ADDRESS, host + scale - get(second, at.REGION_BASE))
    return READ_ONLY if written and writable == 0 else PASSED
