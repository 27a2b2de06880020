"""The vector unit's elementwise instructions.

Source: the arithmetic contract, section 2; isa/spec/vector.py. The operations are in
vector_loops.py; every format but fp32 and I32 is converted on the way in and out.
"""

from __future__ import annotations

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.convert import encode_run
from emulator.kernels.inner import inner
from emulator.kernels.memory import load_u32, store_u32
from emulator.kernels.operand import (
    COLUMN_STRIDE,
    FORMAT,
    FP32,
    H_FLAGS,
    H_NUMBER,
    H_OPCODE,
    H_SCRATCH,
    STATUS_OK,
    field,
    header,
)
from emulator.kernels.operand import I32 as FORMAT_I32
from emulator.kernels.rows import (
    deliver,
    fetch,
    make_nest,
    nest_rows,
    next_run,
    result_place,
    row_address,
    row_length,
)
from emulator.kernels.vector_loops import (
    RELATIONS,
    add_i32_loop,
    add_loop,
    compare_i32_loop,
    compare_loop,
    div_loop,
    exp2_loop,
    max_i32_loop,
    max_loop,
    min_i32_loop,
    min_loop,
    mul_i32_loop,
    mul_loop,
    muladd2_loop,
    rcp_loop,
    rsqrt_loop,
    select_loop,
    sqrt_loop,
    sub_i32_loop,
    sub_loop,
)
from isa.spec import BY_MNEMONIC

VADD, VSUB, VMUL, VDIV, VMIN, VMAX = (
    BY_MNEMONIC[name].opcode for name in ("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax")
)
VSQRT, VRCP, VRSQRT, VEXP2 = (
    BY_MNEMONIC[name].opcode for name in ("vsqrt", "vrcp", "vrsqrt", "vexp2")
)
FLAG_NOSAT = 2


@inner
def _binary_loop(op, integer, to, a, a_step, b, b_step, blocks):
    if integer:
        if op == VADD:
            add_i32_loop(to, a, a_step, b, b_step, blocks)
        elif op == VSUB:
            sub_i32_loop(to, a, a_step, b, b_step, blocks)
        elif op == VMUL:
            mul_i32_loop(to, a, a_step, b, b_step, blocks)
        elif op == VMIN:
            min_i32_loop(to, a, a_step, b, b_step, blocks)
        else:
            max_i32_loop(to, a, a_step, b, b_step, blocks)
    elif op == VADD:
        add_loop(to, a, a_step, b, b_step, blocks)
    elif op == VSUB:
        sub_loop(to, a, a_step, b, b_step, blocks)
    elif op == VMUL:
        mul_loop(to, a, a_step, b, b_step, blocks)
    elif op == VDIV:
        div_loop(to, a, a_step, b, b_step, blocks)
    elif op == VMIN:
        min_loop(to, a, a_step, b, b_step, blocks)
    else:
        max_loop(to, a, a_step, b, b_step, blocks)


@njit
def k_binary(args):
    """vadd, vsub, vmul, vdiv, vmin, vmax: operands dst, a, b (absent: the header's number)."""
    base = at.aligned(header(args, H_SCRATCH))
    op = header(args, H_OPCODE)
    integer = field(args, 0, FORMAT) == FORMAT_I32
    make_nest(args, 3, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, integer, base)
            b, b_step = fetch(args, 2, row, start, count, integer, base)
            place = result_place(row, start, count, base)
            _binary_loop(op, integer, place, a, a_step, b, b_step, (count + 15) >> 4)
            deliver(place, row, start, count, True, integer, base)
            start += count
    return STATUS_OK


@njit
def k_muladd2(args):
    """vmuladd2: dst = RNE(RNE(a * b) + RNE(c * e)); operands dst, a, b, c, e."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 5, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            b, b_step = fetch(args, 2, row, start, count, False, base)
            c, c_step = fetch(args, 3, row, start, count, False, base)
            e, e_step = fetch(args, 4, row, start, count, False, base)
            place = result_place(row, start, count, base)
            blocks = (count + 15) >> 4
            muladd2_loop(place, a, a_step, b, b_step, c, c_step, e, e_step, blocks)
            deliver(place, row, start, count, True, False, base)
            start += count
    return STATUS_OK


@njit
def k_unary(args):
    """vsqrt, vrcp, vrsqrt, vexp2: operands dst, a."""
    base = at.aligned(header(args, H_SCRATCH))
    op = header(args, H_OPCODE)
    make_nest(args, 2, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            place = result_place(row, start, count, base)
            blocks = (count + 15) >> 4
            if op == VSQRT:
                sqrt_loop(place, a, a_step, blocks)
            elif op == VRCP:
                rcp_loop(place, a, a_step, blocks)
            elif op == VRSQRT:
                rsqrt_loop(place, a, a_step, blocks)
            else:
                exp2_loop(place, a, a_step, blocks)
            deliver(place, row, start, count, True, False, base)
            start += count
    return STATUS_OK


@inner
def _spread(place, blocks, base):
    """A number as a run of its own in the result's buffer."""
    out = base + at.OUT_AT
    for block in range(blocks):
        for lane in range(16):
            store_u32(out + 64 * block + 4 * lane, load_u32(place + 4 * lane))
    return out


@njit
def k_convert(args):
    """vcvt by way of fp32: operands dst, a; the status bit of E2M1."""
    base = at.aligned(header(args, H_SCRATCH))
    saturate = header(args, H_FLAGS) & FLAG_NOSAT == 0
    make_nest(args, 2, base, True)
    length = row_length(base)
    status = 0
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, False, base)
            if a_step == 0:
                a = _spread(a, (count + 15) >> 4, base)
            elif a == result_place(row, start, count, base):  # fp32 to fp32, in place
                encode_run(FP32, True, a, a, count)
            status |= deliver(a, row, start, count, saturate, False, base)
            start += count
    return status


@njit
def k_compare(args):
    """vcmp: operands dst (U8), a, b (absent: the header's number)."""
    base = at.aligned(header(args, H_SCRATCH))
    integer = field(args, 1, FORMAT) == FORMAT_I32
    holds = base + at.HOLDS_AT
    for lane in range(16):
        store_u32(holds + 4 * lane, RELATIONS[header(args, H_FLAGS) >> 1 & 7])
    make_nest(args, 3, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            a, a_step = fetch(args, 1, row, start, count, integer, base)
            b, b_step = fetch(args, 2, row, start, count, integer, base)
            place, blocks = base + at.OUT_AT, (count + 15) >> 4
            if integer:
                compare_i32_loop(place, a, a_step, b, b_step, holds, 0, blocks)
            else:
                compare_loop(place, a, a_step, b, b_step, holds, 0, blocks)
            deliver(place, row, start, count, True, True, base)
            start += count
    return STATUS_OK


@njit
def k_select(args):
    """vsel: dst = a where mask is not 0, else b, bits; operands dst, mask, a, b."""
    base = at.aligned(header(args, H_SCRATCH))
    make_nest(args, 4, base, True)
    length = row_length(base)
    for row in range(nest_rows(base)):
        start = 0
        while start < length:
            count = next_run(start, length)
            mask, mask_step = fetch(args, 1, row, start, count, True, base)
            a, a_step = fetch(args, 2, row, start, count, True, base)
            b, b_step = fetch(args, 3, row, start, count, True, base)
            place, blocks = result_place(row, start, count, base), (count + 15) >> 4
            select_loop(place, mask, mask_step, a, a_step, b, b_step, blocks)
            deliver(place, row, start, count, True, True, base)
            start += count
    return STATUS_OK


@njit
def k_iota(args):
    """viota: dst[..., j] = start + j, wrapping; operand dst."""
    base = at.aligned(header(args, H_SCRATCH))
    first = header(args, H_NUMBER)
    make_nest(args, 1, base, False)
    step = 4 * field(args, 0, COLUMN_STRIDE)
    for row in range(nest_rows(base)):
        target = row_address(base, 0, row)
        for j in range(row_length(base)):
            store_u32(target + j * step, first + j)
    return STATUS_OK
