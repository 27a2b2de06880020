"""Operators on rows: softmax and layer normalisation, block of rows by block of rows.

Each tile has a run of rows. A block comes in on one group of channels, the vector unit works on it
in FP32, and another group takes it out; with two slots a side, blocks overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from compiler.emit import Desc, Reg, Sem, Value
from compiler.operators.workspace import (
    ELEMENTS,
    Channels,
    Workspace,
    check_format,
    check_shape,
    does_not_fit,
    slot_bytes,
    split_channels,
    width,
)
from isa.chip import Chip
from isa.descriptor import Descriptor
from isa.formats import Format
from isa.program import Program, Role

VPU = "vpu"
LOG2E = math.log2(math.e)
BLOCKS = 4  #: a tile's rows are at least so many blocks, so that transfers hide behind the work


@dataclass(frozen=True)
class _Rows:
    """The state of a row-wise operator."""

    work: Workspace
    width: int
    block: int  # rows
    slots: int
    src: Descriptor
    dst: Descriptor
    x: Descriptor
    y: Descriptor
    full: Descriptor  # FP32 [block, width], between steps
    column: Descriptor  # FP32 [block, 1]
    ring: Channels
    senders: tuple[str, ...]
    done: tuple[Sem, ...]  # full: vpu -> each sender
    sent: tuple[Sem, ...]  # free: each sender -> vpu


Body = Callable[[_Rows, Desc, Desc, Reg], None]


def softmax(
    chip: Chip, rows: int, width: int, fmt: Format = Format.BF16, slots: int = 2
) -> Program:
    """y = softmax(x) along rows: [rows, width]."""
    state = _prepare("softmax", chip, (rows, width), fmt, slots, Workspace("softmax", chip))
    return _lower(state, rows, _softmax)


def layernorm(
    chip: Chip,
    rows: int,
    width: int,
    fmt: Format = Format.BF16,
    slots: int = 2,
    epsilon: float = 1e-5,
) -> Program:
    """y = (x - mean) / sqrt(variance + epsilon) * gain + bias along rows: [rows, width]."""
    check_shape("layernorm", rows=rows, width=width)
    work = Workspace("layernorm", chip)
    names = ("gain", "bias")
    hbm = {name: work.tensor(name, (width,), Format.FP32, Role.IN) for name in names}
    local = {name: work.local(name, Format.FP32, (width,)) for name in names}
    state = _prepare("layernorm", chip, (rows, width), fmt, slots, work)
    code, loaded = work.code, work.code.sem()
    with code.op("constants"):
        channel = state.ring.names[0]
        for name in names:
            with code.scope():
                dst, src = code.tensor(local[name]), code.tensor(hbm[name])
                code.emit("dma", channel=channel, dst=dst, src=src)
        code.signal(channel, loaded)
        code.wait(VPU, loaded)

    def body(state: _Rows, y: Desc, x: Desc, rows: Reg) -> None:
        gain, bias = (_along(state, local[name], rows) for name in names)
        _layernorm(state, y, x, rows, (gain, bias), epsilon)

    return _lower(state, rows, body)


# -- the two bodies ------------------------------------------------------------------------------


def _softmax(s: _Rows, y: Desc, x: Desc, rows: Reg) -> None:
    """y = exp2((x - max) * log2(e)) / sum."""
    code = s.work.code
    work = code.tensor(s.full, dim0=rows)
    column, each = _column(s, rows)
    code.emit("vrmax", dst=column, src=x)
    code.emit("vsub", dst=work, a=x, b=each)
    code.emit("vmul", dst=work, a=work, b=LOG2E)
    code.emit("vexp2", dst=work, a=work)
    code.emit("vrsum", dst=column, src=work)
    code.emit("vrcp", dst=column, a=column)
    code.emit("vmul", dst=y, a=work, b=each)


def _layernorm(
    s: _Rows, y: Desc, x: Desc, rows: Reg, affine: tuple[Desc, Desc], epsilon: float
) -> None:
    """Mean, then the variance of what is left, then scale and shift."""
    code = s.work.code
    work, square = code.tensor(s.full, dim0=rows), code.tensor(_second(s), dim0=rows)
    column, each = _column(s, rows)
    code.emit("vrsum", dst=column, src=x)
    code.emit("vmul", dst=column, a=column, b=1 / s.width)
    code.emit("vsub", dst=work, a=x, b=each)
    code.emit("vmul", dst=square, a=work, b=work)
    code.emit("vrsum", dst=column, src=square)
    code.emit("vmul", dst=column, a=column, b=1 / s.width)
    code.emit("vadd", dst=column, a=column, b=epsilon)
    code.emit("vrsqrt", dst=column, a=column)
    code.emit("vmul", dst=work, a=work, b=each)
    code.emit("vmul", dst=work, a=work, b=affine[0])
    code.emit("vadd", dst=y, a=work, b=affine[1])


def _column(s: _Rows, rows: Reg) -> tuple[Desc, Desc]:
    """One number for each row, as [rows, 1] and spread over [rows, width]."""
    code, one = s.work.code, s.column
    spread = Descriptor(one.space, one.format, (s.block, s.width), (1, 0), one.base)
    return code.tensor(one, dim0=rows), code.tensor(spread, dim0=rows)


def _along(s: _Rows, vector: Descriptor, rows: Reg) -> Desc:
    """A vector repeated for every row."""
    spread = Descriptor(vector.space, vector.format, (s.block, s.width), (0, 1), vector.base)
    return s.work.code.tensor(spread, dim0=rows)


def _second(s: _Rows) -> Descriptor:
    """The second of the two work spaces."""
    return s.full.at(s.full.base + slot_bytes(s.full.format, s.full.shape))


# -- what they share -----------------------------------------------------------------------------


def _prepare(
    name: str, chip: Chip, shape: tuple[int, int], fmt: Format, slots: int, work: Workspace
) -> _Rows:
    rows, columns = shape
    check_shape(name, rows=rows, width=columns, slots=slots)
    check_format(name, "the format", fmt, ELEMENTS)
    block = _block_rows(name, chip, shape, fmt, slots, work)
    inputs, senders = split_channels(name, chip, 1, 1)
    src = work.tensor("x", (rows, columns), fmt, Role.IN)
    dst = work.tensor("y", (rows, columns), fmt, Role.OUT)
    state = _Rows(
        work,
        columns,
        block,
        slots,
        src,
        dst,
        work.local("x", fmt, (block, columns), slots),
        work.local("y", fmt, (block, columns), slots),
        work.local("work", Format.FP32, (block, columns), 2),
        work.local("column", Format.FP32, (block, 1)),
        work.channels(inputs, slots),
        senders,
        tuple(work.code.sem() for _ in senders),
        tuple(work.credit(VPU, slots) for _ in senders),
    )
    work.hand_out()
    return state


def _block_rows(
    name: str, chip: Chip, shape: tuple[int, int], fmt: Format, slots: int, work: Workspace
) -> int:
    """Rows of a block: what fits the tile, and at most a share of the tile's rows."""
    rows, columns = shape
    each = 2 * slots * columns * width(fmt) + 2 * columns * 4 + 4
    room = work.tsram.size - work.tsram.top - 64 * (2 * slots + 4)
    if room < each:
        raise does_not_fit(name, chip, f"a row of {columns} in a tile's SRAM")
    share = -(-rows // chip.num_tiles)
    return min(room // each, max(1, -(-share // BLOCKS)))


def _lower(s: _Rows, rows: int, body: Body) -> Program:
    work, code = s.work, s.work.code
    with code.op(work.name), code.scope():
        begin, end = work.share(rows, work.tile, work.chip.num_tiles)
        x_at, y_at = code.reg(0), code.reg(0)
        with code.stepping(begin, end, s.block) as (row, count):
            _bring(s, row, count, x_at)
            for sem in (*s.ring.full, *s.sent):
                code.wait(VPU, sem)
            with code.scope():
                x = code.tensor(s.x, ("base", x_at), dim0=count)
                y = code.tensor(s.y, ("base", y_at), dim0=count)
                body(s, y, x, count)
            for sem in (*s.ring.free, *s.done):
                code.signal(VPU, sem)
            _send(s, row, count, y_at)
            for offset, slot in ((x_at, s.x), (y_at, s.y)):
                work.next_slot(offset, slot_bytes(slot.format, slot.shape), s.slots)
    return work.program(block=s.block, slots=s.slots)


def _bring(s: _Rows, row: Reg, count: Reg, x_at: Reg) -> None:
    """Queue a block's rows, each channel its share."""
    code = s.work.code
    for number, channel in enumerate(s.ring.names):
        code.wait(channel, s.ring.free[number])
        _rows(s, channel, (number, len(s.ring.names)), row, count, (x_at, True))
        code.signal(channel, s.ring.full[number])


def _send(s: _Rows, row: Reg, count: Reg, y_at: Reg) -> None:
    """Queue a block's way out, each channel its share."""
    code = s.work.code
    for number, channel in enumerate(s.senders):
        code.wait(channel, s.done[number])
        _rows(s, channel, (number, len(s.senders)), row, count, (y_at, False))
        code.signal(channel, s.sent[number])


def _rows(
    s: _Rows, channel: str, part: tuple[int, int], row: Reg, count: Reg, slot: tuple[Value, bool]
) -> None:
    """One channel's share of a block, in or out."""
    work, code = s.work, s.work.code
    at, inwards = slot
    row_bytes = s.width * width(s.src.format)
    with code.scope():
        skip, rows = work.part(count, *part)
        with code.unless("eq", rows, 0):
            place = code.calc("add", skip, row)
            code.alu("mul", place, place, row_bytes)
            code.alu("mul", skip, skip, row_bytes)
            code.alu("add", skip, skip, at)
            if inwards:
                work.transfer(channel, (s.x, skip), (s.src, place), rows, s.width)
            else:
                work.transfer(channel, (s.dst, place), (s.y, skip), rows, s.width)
