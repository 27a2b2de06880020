"""DMA: strided copies, gather and scatter, between resolved operands."""

from __future__ import annotations

from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.operands import element_bits
from emulator.fast.records import operand_info, operand_record
from emulator.fast.words import get
from emulator.jit import helper
from emulator.kernels.memory import (
    copy_bytes,
    load_i32,
    load_u8,
    load_u16,
    load_u32,
    store_u8,
    store_u16,
    store_u32,
)


@helper
def indices_inside(w, shapes):
    """Whether every index of a gather's or scatter's list is a row of the other side."""
    index = operand_record(w, 2)
    other = operand_record(w, 1 if shapes == rules.SHAPES_GATHER else 0)
    rows = get(other, at.A_SHAPE + 4 - get(other, at.A_RANK))
    address, step = get(index, at.A_ADDRESS), 4 * get(index, at.A_STRIDES + 3)
    for i in range(get(index, at.A_SHAPE + 3)):
        row = load_i32(address + i * step)
        if row < 0 or row >= rows:
            return False
    return True


@helper
def move(w, shapes):
    """Carry out a DMA whose operands are checked, into every owner of the fan."""
    info, target = operand_info(w, 0), get(operand_record(w, 0), at.A_ADDRESS)
    for _ in range(get(info, at.I_FAN)):
        if shapes == rules.SHAPES_EQUAL:
            _copy(w, target, get(operand_record(w, 1), at.A_ADDRESS), 0)
        else:
            _rows(w, target, shapes)
        target += get(info, at.I_STRIDE)


@helper
def _rows(w, target, shapes):
    """Gather into, or scatter from, the listed side, row by row."""
    dst, src, index = operand_record(w, 0), operand_record(w, 1), operand_record(w, 2)
    axis = 4 - get(dst, at.A_RANK)
    bits = element_bits(get(dst, at.A_FORMAT))
    dst_step = get(dst, at.A_STRIDES + axis) * bits >> 3
    src_step = get(src, at.A_STRIDES + axis) * bits >> 3
    address, step = get(index, at.A_ADDRESS), 4 * get(index, at.A_STRIDES + 3)
    source = get(src, at.A_ADDRESS)
    for i in range(get(index, at.A_SHAPE + 3)):
        row = load_i32(address + i * step)
        if shapes == rules.SHAPES_GATHER:
            _copy(w, target + i * dst_step, source + row * src_step, axis + 1)
        else:
            _copy(w, target + row * dst_step, source + i * src_step, axis + 1)


@helper
def _copy(w, target, source, first_axis):
    """Copy the elements of the axes from first_axis on. E2M1 counts as bytes of two."""
    dst, src = operand_record(w, 0), operand_record(w, 1)
    bits = element_bits(get(dst, at.A_FORMAT))
    size = max(bits >> 3, 1)
    run, axis = size, 3
    while axis >= first_axis:
        count = get(dst, at.A_SHAPE + axis)
        if bits == 4 and axis == 3:
            count >>= 1
        elif count != 1:
            here = get(dst, at.A_STRIDES + axis) * bits >> 3
            if here != run or get(src, at.A_STRIDES + axis) * bits >> 3 != run:
                break
        run *= count
        axis -= 1
    _loops(w, target, source, first_axis, axis, run)


@helper
def _loops(w, target, source, first_axis, last_axis, run):
    """Copy runs of bytes over the axes first_axis..last_axis."""
    dst, src = operand_record(w, 0), operand_record(w, 1)
    bits = element_bits(get(dst, at.A_FORMAT))
    n0, d0, s0 = _axis(dst, src, 0, first_axis, last_axis, bits)
    n1, d1, s1 = _axis(dst, src, 1, first_axis, last_axis, bits)
    n2, d2, s2 = _axis(dst, src, 2, first_axis, last_axis, bits)
    n3, d3, s3 = _axis(dst, src, 3, first_axis, last_axis, bits)
    for i0 in range(n0):
        for i1 in range(n1):
            for i2 in range(n2):
                to = target + i0 * d0 + i1 * d1 + i2 * d2
                fro = source + i0 * s0 + i1 * s1 + i2 * s2
                _line(to, fro, n3, d3, s3, run)


@helper
def _axis(dst, src, axis, first_axis, last_axis, bits):
    """Extent and byte strides of one axis; once over nothing if it is not looped over."""
    if axis < first_axis or axis > last_axis:
        return 1, 0, 0
    to = get(dst, at.A_STRIDES + axis) * bits >> 3
    return get(dst, at.A_SHAPE + axis), to, get(src, at.A_STRIDES + axis) * bits >> 3


@helper
def _line(to, fro, count, to_step, fro_step, run):
    """Copy `count` runs of bytes."""
    if run == 4:
        for i in range(count):
            store_u32(to + i * to_step, load_u32(fro + i * fro_step))
    elif run == 2:
        for i in range(count):
            store_u16(to + i * to_step, load_u16(fro + i * fro_step))
    elif run == 1:
        for i in range(count):
            store_u8(to + i * to_step, load_u8(fro + i * fro_step))
    else:
        for i in range(count):
            copy_bytes(to + i * to_step, fro + i * fro_step, run)
