"""The matrix product of three matrices in HBM.

The tiles form a grid over the result. For every block of rows and columns that a tile's
accumulator holds, chunks of K stream into a ring of slots, and the array takes them column block by
column block (as wide as it is); behind the last chunk each is read out and sent while the next is
multiplied.

Tiles in a row of the grid need the same rows of a, tiles in a column the same rows of w: each
brings a part of them and writes it to all. Semaphores are of a slot: they count parts that have
arrived, and tiles that have done with it; no tile can be a turn of the ring ahead of another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compiler.emit import Code, Desc, Reg, Scaled, Sem
from compiler.operators.gemm_plan import Cutting, Shape, cycles, plan
from compiler.operators.workspace import (
    Workspace,
    check_format,
    check_shape,
    does_not_fit,
    slot_bytes,
    split_channels,
    width,
)
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format
from isa.program import Program, Role

OPERANDS = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2)
RESULTS = (Format.FP32, *OPERANDS)
MXU = "mxu"
Layout = Literal["rows", "blocks"]


SKINNY = 32  # rows below which sub-arrays' shorter drain is worth more than long streams (estimate)


@dataclass(frozen=True)
class GemmFormats:
    """Formats of the two operands and of the result, all without scales."""

    a: Format = Format.BF16
    w: Format = Format.BF16
    out: Format = Format.BF16


@dataclass(frozen=True)
class _Stream:
    """An operand's way: from HBM into one of the slots of several tiles at once.

    `sharing` tiles, `step` apart from the tile `owner` on, get the same rows; each brings its part
    of them, in `channels`, and this tile is the `index`-th. A slot is free when all of them have
    signalled so to each channel of each of them.
    """

    matrix: Descriptor
    strides: tuple[int, int]  # in elements, from row to row, and per element along K
    slots: tuple[Descriptor, ...]
    sharing: int
    step: int
    owner: Reg
    index: Reg
    channels: tuple[str, ...]
    free: tuple[tuple[Sem, ...], ...]  # by slot and channel


@dataclass(frozen=True)
class _Gemm:
    """Where everything lies, and who guards it."""

    work: Workspace
    cut: Cutting
    sub: int  # columns of one read-out
    a: _Stream
    w: _Stream
    full: tuple[Sem, ...]  # by slot: all parts of both operands are there
    out: Descriptor
    out_strides: tuple[int, int]  # from row to row, and per column from one read-out to the next
    stage: Descriptor
    stages: int
    senders: tuple[str, ...]
    staged: tuple[Sem, ...]  # full: mxu -> each sender
    sent: tuple[Sem, ...]  # free: each sender -> mxu
    stage_at: Reg


@dataclass(frozen=True)
class _Block:
    """A block at run time."""

    row: Reg
    rows: Reg
    column: Reg
    columns: Reg


def gemm(
    chip: Chip,
    m: int,
    n: int,
    k: int,
    formats: GemmFormats | None = None,
    slots: int | None = None,
    layout: Layout = "rows",
) -> Program:
    """c[m, n] = a[m, k] * w[n, k]^T. `slots`: 1 loads between products, None as many as fit.

    `layout` is how the three lie in HBM: row by row; or in blocks of columns, each row by row, the
    last filled up, so that what is moved at a time is contiguous (`blocked` makes it of an array).
    In blocks, the result may lie transposed, if a is better held still than w: the program's
    metadata say so.
    """
    formats = formats or GemmFormats()
    check_shape("gemm", m=m, n=n, k=k)
    check_format("gemm", "a", formats.a, OPERANDS)
    check_format("gemm", "w", formats.w, OPERANDS)
    check_format("gemm", "the result", formats.out, RESULTS)
    task = _Task(("a", "w"), m, n, k, formats)
    cut = plan(chip, task.shape, slots)
    if layout == "blocks":
        other = task.transposed
        turned = plan(chip, other.shape, slots)
        if turned and (not cut or _shorter(chip, (other.shape, turned), (task.shape, cut))):
            task, cut = other, turned
    if cut is None:
        raise does_not_fit("gemm", chip, "one row by one block of columns in a tile's memories")
    state = _prepare(Workspace("gemm", chip), cut, task, layout)
    _lower(state, task.m, task.n, k)
    return state.work.program(
        tiles=[cut.grid_m, cut.grid_n],
        block=[cut.rows, cut.columns],
        chunk=cut.chunk,
        slots=cut.slots,
        layout=layout,
        transposed=task.names[0] == "w",
    )


@dataclass(frozen=True)
class _Task:
    """A product: what streams and what is held still, by name, and their shapes."""

    names: tuple[str, str]
    m: int
    n: int
    k: int
    formats: GemmFormats

    @property
    def shape(self) -> Shape:
        """What the plan needs of it."""
        f = self.formats
        return Shape(self.m, self.n, self.k, width(f.a), width(f.w), width(f.out))

    @property
    def transposed(self) -> _Task:
        """The same product the other way round: its result is the transpose."""
        formats = GemmFormats(self.formats.w, self.formats.a, self.formats.out)
        return _Task(self.names[::-1], self.n, self.m, self.k, formats)


def _shorter(chip: Chip, one: tuple[Shape, Cutting], other: tuple[Shape, Cutting]) -> bool:
    return cycles(chip, *one) < cycles(chip, *other)


def blocked(matrix: NDArray[Any], columns: int) -> NDArray[Any]:
    """A matrix in blocks of so many columns: [blocks, rows, columns], zeros at the end."""
    rows, width = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -width % columns)))
    return np.ascontiguousarray(padded.reshape(rows, -1, columns).swapaxes(0, 1))


def _matrix(
    work: Workspace,
    name: str,
    shape: tuple[int, int],
    form: tuple[Format, Role],
    block: int | None,
) -> tuple[Descriptor, tuple[int, int]]:
    """A matrix in HBM, row by row or in blocks of columns: its bytes and its strides."""
    rows, columns = shape
    if block is None:
        return work.tensor(name, shape, *form), (columns, 1)
    return work.tensor(name, (-(-columns // block), rows, block), *form), (block, rows)


def _prepare(work: Workspace, cut: Cutting, task: _Task, layout: Layout) -> _Gemm:
    m, n, k, formats = task.m, task.n, task.k, task.formats
    streamed, still = task.names
    code, sub = work.code, min(cut.columns, work.chip.tile.mxu.columns)
    stages = min(cut.slots, 2)
    a_names, w_names, senders = split_channels("gemm", work.chip, 3, 3, 2)
    deep, wide = (cut.chunk, sub) if layout == "blocks" else (None, None)
    a = _matrix(work, streamed, (m, k), (formats.a, Role.IN), deep)
    w = _matrix(work, still, (n, k), (formats.w, Role.IN), deep)
    out, out_strides = _matrix(work, "c", (m, n), (formats.out, Role.OUT), wide)
    place = (cut.sharing_a, 1), (cut.sharing_w, cut.grid_n)
    state = _Gemm(
        work,
        cut,
        sub,
        _stream(work, cut, (streamed, *a, cut.rows), place[0], a_names),
        _stream(work, cut, (still, *w, cut.columns), place[1], w_names),
        tuple(code.sem() for _ in range(cut.slots)),
        out,
        out_strides,
        work.local("stage", formats.out, (cut.rows, sub), stages),
        stages,
        senders,
        tuple(code.sem() for _ in senders),
        tuple(work.credit(MXU, stages) for _ in senders),
        code.reg(0),
    )
    work.hand_out()
    return state


def _stream(
    work: Workspace,
    cut: Cutting,
    matrix: tuple[str, Descriptor, tuple[int, int], int],
    place: tuple[int, int],
    channels: tuple[str, ...],
) -> _Stream:
    """The stream of a matrix, `rows` of it at a time, shared by tiles as `place` says."""
    name, tensor, strides, rows = matrix
    sharing, step = place
    used = channels[: max(1, -(-len(channels) // sharing))]
    first = work.local(name, tensor.format, (rows, cut.chunk), cut.slots)
    size = slot_bytes(first.format, first.shape)
    free = tuple(tuple(work.credit(c, sharing) for c in used) for _ in range(cut.slots))
    owner, index = _group(work, sharing, step)
    slots = tuple(first.at(first.base + size * i) for i in range(cut.slots))
    return _Stream(tensor, strides, slots, sharing, step, owner, index, used, free)


def _group(work: Workspace, sharing: int, step: int) -> tuple[Reg, Reg]:
    """(first tile of the group, this tile's number in it); its tiles are `step` apart."""
    code = work.code
    index = code.calc("divu", work.tile, step)
    code.alu("remu", index, index, sharing)
    owner = code.calc("mul", index, step)
    return code.alu("sub", owner, work.tile, owner), index


def _lower(g: _Gemm, m: int, n: int, k: int) -> None:
    work, cut, code = g.work, g.cut, g.work.code
    array = work.chip.tile.mxu.columns
    end = code.label("end")
    with code.op("gemm"), code.scope():
        code.emit("bge", ra=work.tile, b=cut.tiles, target=end)
        across = code.calc("remu", work.tile, cut.grid_n)
        down = code.calc("divu", work.tile, cut.grid_n)
        row, row_end = work.share(m, down, cut.grid_m)
        begin, column_end = work.share(n, across, cut.grid_n, array)
        rows, column, columns = down, across, code.reg()
        most = -(-(-(-n // array)) // cut.grid_n) * array  # noqa: B002
        # Tiles that share rows do the same turns, even those with nothing left to do.
        with code.loop(-(-m // (cut.grid_m * cut.rows))):
            _extent(code, rows, row, row_end, cut.rows)
            code.set(column, begin)
            with code.loop(-(-most // cut.columns)):
                _extent(code, columns, column, column_end, cut.columns)
                _block(g, _Block(row, rows, column, columns), k)
                code.alu("add", column, column, cut.columns)
            code.alu("add", row, row, cut.rows)
        code.place(end)


def _extent(code: Code, dst: Reg, first: Reg, end: Reg, most: int) -> None:
    """dst = how much is left from `first` to `end`, at most `most`, at least nothing."""
    code.alu("sub", dst, end, first)
    code.alu("min", dst, dst, most)
    code.alu("max", dst, dst, 0)


def _block(g: _Gemm, block: _Block, k: int) -> None:
    """All of K for a block of the result, chunk by chunk, each into the next slot."""
    cut, code = g.cut, g.work.code
    with code.scope():
        at, depth = code.reg(0), code.reg()
        with code.loop(-(-k // (cut.chunk * cut.slots))):
            for slot in range(cut.slots):
                with code.unless("ge", at, k):
                    code.set(depth, k)
                    code.alu("sub", depth, depth, at)
                    code.alu("min", depth, depth, cut.chunk)
                    _bring(g, g.a, slot, (block.row, block.rows), (at, depth))
                    _bring(g, g.w, slot, (block.column, block.columns), (at, depth))
                    _multiply(g, block, slot, (at, depth), k)
                    code.alu("add", at, at, cut.chunk)


def _bring(
    g: _Gemm, stream: _Stream, slot: int, span: tuple[Reg, Reg], chunk: tuple[Reg, Reg]
) -> None:
    """Queue this tile's part of the next chunk of an operand, for all tiles that share it."""
    code, matrix, target = g.work.code, stream.matrix, stream.slots[slot]
    first, rows = span
    at, depth = chunk
    element, ways = width(matrix.format), stream.sharing * len(stream.channels)
    for number, channel in enumerate(stream.channels):
        code.wait(channel, stream.free[slot][number], stream.sharing)
        with code.scope():
            part = code.calc("mul", stream.index, len(stream.channels))
            code.alu("add", part, part, number)
            skip, count = g.work.part(rows, part, ways)
            with code.unless("eq", count, 0):
                src_at = code.alu("add", part, skip, first)
                code.alu("mul", src_at, src_at, stream.strides[0] * element)
                along = Scaled(at, stream.strides[1] * element)
                code.alu("mul", skip, skip, target.strides[0] * element)
                whole = _rows(matrix, stream.strides[0])
                src = code.tensor(whole, ("base", src_at), ("base", along), dim0=count, dim1=depth)
                fans = {"owner": stream.owner} if stream.sharing > 1 else {}
                dst = code.tensor(
                    replace(target, fan=stream.sharing, fanstep=stream.step),
                    ("base", skip),
                    dim0=count,
                    dim1=depth,
                    **fans,
                )
                code.emit("dma", channel=channel, dst=dst, src=src)
        _tell(g, channel, g.full[slot], stream)


def _rows(matrix: Descriptor, stride: int) -> Descriptor:
    """Rows of a matrix in HBM, `stride` elements apart."""
    return Descriptor(matrix.space, matrix.format, (1, 1), (stride, 1), matrix.base)


def _tell(g: _Gemm, unit: str, sem: Sem, stream: _Stream) -> None:
    """Queue on a unit: a signal to all tiles that share a stream."""
    code = g.work.code
    if stream.sharing == 1:
        code.signal(unit, sem)
        return
    with code.scope():
        tile = code.reg(stream.owner)
        with code.loop(stream.sharing):
            code.signal_tile(unit, sem, tile)
            code.alu("add", tile, tile, stream.step)


def _multiply(g: _Gemm, block: _Block, slot: int, chunk: tuple[Reg, Reg], k: int) -> None:
    """Queue the products of a chunk, column block by column block; read out behind the last."""
    code = g.work.code
    at, depth = chunk
    parts = sum(stream.sharing * len(stream.channels) for stream in (g.a, g.w))
    code.wait(MXU, g.full[slot], parts)
    with code.unless("eq", block.rows, 0), code.stepping(0, block.columns, g.sub) as place:
        column, columns = place
        with code.scope():
            sums = _sums(g, block, column, columns)
            a = code.tensor(g.a.slots[slot], dim0=block.rows, dim1=depth)
            rows = g.w.slots[slot]
            skip = Scaled(column, rows.strides[0] * width(rows.format))
            w = code.tensor(rows, ("base", skip), dim0=columns, dim1=depth)
            _product(g, at, acc=sums, a=a, w=w)
        with code.scope():
            last = code.calc("add", at, g.cut.chunk)
            with code.unless("lt", last, k):
                _read_out(g, block, column, columns)
    for stream in (g.a, g.w):
        for sem in stream.free[slot]:
            _tell(g, MXU, sem, stream)


def _product(g: _Gemm, at: Reg, **operands: Desc) -> None:
    """Start the accumulator at the first chunk of K, and add to it later."""
    code, ways = g.work.code, max(g.work.chip.tile.mxu.splits)
    split = f".split{ways}" if ways > 1 and g.cut.rows < SKINNY else ""
    later, done = code.label("later"), code.label("done")
    code.emit("bne", ra=at, b=0, target=later)
    code.emit(f"gemm{split}", **operands)
    code.emit("jmp", target=done)
    code.place(later)
    code.emit(f"gemm.acc{split}", **operands)
    code.place(done)


def _sums(g: _Gemm, block: _Block, column: Reg, columns: Reg) -> Desc:
    """A column block of the accumulator."""
    cut = g.cut
    whole = Descriptor(Space.ACC, Format.FP32, (cut.rows, cut.columns), (cut.columns, 1), 0)
    return g.work.code.tensor(whole, ("base", Scaled(column, 4)), dim0=block.rows, dim1=columns)


def _read_out(g: _Gemm, block: _Block, column: Reg, columns: Reg) -> None:
    """Queue the read-out of a column block, and send it, each sender its share of the rows."""
    code, work = g.work.code, g.work
    element = width(g.out.format)
    for sem in g.sent:
        code.wait(MXU, sem)
    with code.scope():
        sums = _sums(g, block, column, columns)
        dst = code.tensor(g.stage, ("base", g.stage_at), dim0=block.rows, dim1=columns)
        code.emit("readout", dst=dst, acc=sums)
    for number, sender in enumerate(g.senders):
        code.signal(MXU, g.staged[number])
        code.wait(sender, g.staged[number])
        with code.scope():
            skip, count = work.part(block.rows, number, len(g.senders))
            with code.unless("eq", count, 0):
                dst_at = code.calc("add", block.row, skip)
                code.alu("mul", dst_at, dst_at, g.out_strides[0] * element)
                across = code.calc("add", block.column, column)
                code.alu("mul", across, across, g.out_strides[1] * element)
                code.alu("add", dst_at, dst_at, across)
                code.alu("mul", skip, skip, g.stage.strides[0] * element)
                code.alu("add", skip, skip, g.stage_at)
                out = _rows(g.out, g.out_strides[0])
                work.transfer(sender, (out, dst_at), (g.stage, skip), count, columns)
        code.signal(sender, g.sent[number])
    work.next_slot(g.stage_at, slot_bytes(g.stage.format, g.stage.shape), g.stages)
