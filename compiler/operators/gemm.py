"""The matrix product of three matrices in HBM.

The tiles form a grid over the result. For every block of rows and columns that a tile's
accumulator holds, chunks of K stream into a ring of slots, and the array takes them column block by
column block (as wide as it is); behind the last chunk each is read out and sent while the next is
multiplied.

Tiles in a row of the grid need the same rows of a, tiles in a column the same rows of w: each
brings a part of them and writes it to all. Semaphores are of a slot: they count parts that have
arrived, and tiles that have done with it; no tile can be a turn of the ring ahead of another.

With `ksplit` there is such a grid for every range of K (`gemm_ranges.py`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compiler.emit import Code, Desc, Reg, Scaled, Sem, Value
from compiler.errors import CompileError
from compiler.operators import gemm_ranges
from compiler.operators.gemm_out import Block, Out, make_out, send, staged, wait_for_room
from compiler.operators.gemm_plan import (
    BLOCK,
    Cutting,
    Shape,
    cycles,
    longest_range,
    plan,
    range_edges,
)
from compiler.operators.gemm_ranges import Ranges, make_ranges
from compiler.operators.gemm_stream import Stream, bring, make_stream, tell
from compiler.operators.workspace import (
    Workspace,
    check_format,
    check_shape,
    does_not_fit,
    split_channels,
    width,
)
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format
from isa.program import Program, Role

OPERANDS = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2)
RESULTS = (Format.FP32, *OPERANDS)
MXU, VPU = "mxu", "vpu"
Layout = Literal["rows", "blocks"]


SKINNY = 32  # rows below which sub-arrays' shorter drain is worth more than long streams (estimate)


@dataclass(frozen=True)
class GemmFormats:
    """Formats of the two operands and of the result, all without scales."""

    a: Format = Format.BF16
    w: Format = Format.BF16
    out: Format = Format.BF16


@dataclass(frozen=True)
class _Gemm:
    """Where everything lies, and who guards it."""

    work: Workspace
    cut: Cutting
    sub: int  # columns of one read-out
    a: Stream
    w: Stream
    full: tuple[Sem, ...]  # by slot: all parts of both operands are there
    out: Out
    ranges: Ranges | None  # of K; None: one


Chunk = tuple[Reg, Reg]  #: where along K as it is stored, and how long
Span = tuple[Value, Value]  #: this tile's [begin, end) of K as it is stored


def gemm(
    chip: Chip,
    m: int,
    n: int,
    k: int,
    formats: GemmFormats | None = None,
    slots: int | None = None,
    layout: Layout = "rows",
    ksplit: int = 1,
) -> Program:
    """c[m, n] = a[m, k] * w[n, k]^T. `slots`: 1 loads between products, None as many as fit.

    `layout` is how the three lie in HBM: row by row; or in blocks of columns, each row by row, the
    last filled up, so that what is moved at a time is contiguous (`blocked` makes it of an array).
    In blocks, the result may lie transposed, if a is better held still than w: the program's
    metadata say so. `ksplit` is a numeric option: into how many ranges K is cut.
    """
    formats = formats or GemmFormats()
    check_shape("gemm", m=m, n=n, k=k)
    check_format("gemm", "a", formats.a, OPERANDS)
    check_format("gemm", "w", formats.w, OPERANDS)
    check_format("gemm", "the result", formats.out, RESULTS)
    _check_ranges(chip, k, ksplit)
    task = _Task(("a", "w"), m, n, k, formats, ksplit)
    cut = plan(chip, task.shape, slots)
    if layout == "blocks":
        other = task.transposed
        turned = plan(chip, other.shape, slots)
        if turned and (not cut or _shorter(chip, (other.shape, turned), (task.shape, cut))):
            task, cut = other, turned
    if cut is None:
        raise does_not_fit("gemm", chip, "one row by one block of columns in a tile's memories")
    state = _prepare(Workspace("gemm", chip), cut, task, layout)
    _lower(state, task.m, task.n, k, layout)
    return state.work.program(
        {"ksplit": ksplit} if ksplit > 1 else None,
        tiles=[cut.grid_m, cut.grid_n],
        block=[cut.rows, cut.columns],
        chunk=cut.chunk,
        slots=cut.slots,
        layout=layout,
        transposed=task.names[0] == "w",
    )


def _check_ranges(chip: Chip, k: int, ksplit: int) -> None:
    """Every range has a block of K at least, and tiles of its own."""
    check_shape("gemm", ksplit=ksplit)
    blocks = -(-k // BLOCK)
    if ksplit > blocks:
        raise CompileError(f"gemm: ksplit is {ksplit}; k of {k} has {blocks} blocks of {BLOCK}")
    if ksplit > chip.num_tiles:
        raise does_not_fit("gemm", chip, f"ksplit {ksplit} on {chip.num_tiles} tiles")


@dataclass(frozen=True)
class _Task:
    """A product: what streams and what is held still, by name, and their shapes."""

    names: tuple[str, str]
    m: int
    n: int
    k: int
    formats: GemmFormats
    ksplit: int

    @property
    def shape(self) -> Shape:
        """What the plan needs of it."""
        f = self.formats
        return Shape(self.m, self.n, self.k, width(f.a), width(f.w), width(f.out), self.ksplit)

    @property
    def transposed(self) -> _Task:
        """The same product the other way round: its result is the transpose."""
        formats = GemmFormats(self.formats.w, self.formats.a, self.formats.out)
        return _Task(self.names[::-1], self.n, self.m, self.k, formats, self.ksplit)


def _shorter(chip: Chip, one: tuple[Shape, Cutting], other: tuple[Shape, Cutting]) -> bool:
    return cycles(chip, *one) < cycles(chip, *other)


def blocked(matrix: NDArray[Any], columns: int, ksplit: int = 1) -> NDArray[Any]:
    """A matrix in blocks of so many columns: [blocks, rows, columns], zeros at the end.

    An operand of a product with `ksplit` has as many blocks for each range of K.
    """
    rows, width = matrix.shape
    most = -(-longest_range(width, ksplit) // columns) * columns
    edges = itertools.pairwise(range_edges(width, ksplit))
    ranges = [np.pad(matrix[:, b:e], ((0, 0), (0, most - (e - b)))) for b, e in edges]
    padded = np.concatenate(ranges, axis=1)
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
    stages, stage = min(cut.slots, 2), (cut.rows, sub)
    a_names, w_names, senders = split_channels("gemm", work.chip, 3, 3, 2)
    deep, wide = (cut.chunk, sub) if layout == "blocks" else (None, None)
    stored = k if deep is None else cut.ranges * _stored(cut, k)
    a = _matrix(work, streamed, (m, stored), (formats.a, Role.IN), deep)
    w = _matrix(work, still, (n, stored), (formats.w, Role.IN), deep)
    out = _matrix(work, "c", (m, n), (formats.out, Role.OUT), wide)
    place = (cut.sharing_a, 1), (cut.sharing_w, cut.grid_n)
    ranged = cut.ranges > 1
    state = _Gemm(
        work,
        cut,
        sub,
        make_stream(work, cut, (streamed, *a, cut.rows), place[0], a_names),
        make_stream(work, cut, (still, *w, cut.columns), place[1], w_names),
        tuple(code.sem() for _ in range(cut.slots)),
        make_out(work, VPU if ranged else MXU, out, (stage, stages), senders),
        make_ranges(work, cut, stage, stages, senders[0]) if ranged else None,
    )
    work.hand_out()
    return state


def _stored(cut: Cutting, k: int) -> int:
    """What a range of K takes in blocks: as much for each, whole chunks."""
    return -(-longest_range(k, cut.ranges) // cut.chunk) * cut.chunk


def _lower(g: _Gemm, m: int, n: int, k: int, layout: Layout) -> None:
    work, cut, code = g.work, g.cut, g.work.code
    array = work.chip.tile.mxu.columns
    end = code.label("end")
    with code.op("gemm"), code.scope():
        code.emit("bge", ra=work.tile, b=cut.tiles, target=end)
        across = code.calc("remu", work.tile, cut.grid_n)
        down = code.calc("divu", work.tile, cut.grid_n)
        along: Span = (0, k)
        if g.ranges is not None:
            code.alu("remu", down, down, cut.grid_m)
            stored = _stored(cut, k) if layout == "blocks" else None
            along = gemm_ranges.span(work, g.ranges, k, stored)
        row, row_end = work.share(m, down, cut.grid_m)
        begin, column_end = work.share(n, across, cut.grid_n, array)
        rows, column, columns = down, across, code.reg()
        most = -(-(-(-n // array)) // cut.grid_n) * array  # noqa: B002
        turns = -(-longest_range(k, cut.ranges) // (cut.chunk * cut.slots))
        # Tiles that share rows do the same turns, even those with nothing left to do.
        with code.loop(-(-m // (cut.grid_m * cut.rows))):
            _extent(code, rows, row, row_end, cut.rows)
            code.set(column, begin)
            with code.loop(-(-most // cut.columns)):
                _extent(code, columns, column, column_end, cut.columns)
                _block(g, Block(row, rows, column, columns), along, turns)
                code.alu("add", column, column, cut.columns)
            code.alu("add", row, row, cut.rows)
        code.place(end)


def _extent(code: Code, dst: Reg, first: Reg, end: Reg, most: int) -> None:
    """dst = how much is left from `first` to `end`, at most `most`, at least nothing."""
    code.alu("sub", dst, end, first)
    code.alu("min", dst, dst, most)
    code.alu("max", dst, dst, 0)


def _block(g: _Gemm, block: Block, along: Span, turns: int) -> None:
    """All of this tile's K for a block of the result: chunk by chunk, each into the next slot."""
    work, cut, code = g.work, g.cut, g.work.code
    begin, end = along
    with code.scope():
        at, depth = code.reg(begin), code.reg()
        with code.loop(turns):
            for slot in range(cut.slots):
                with code.unless("ge", at, end):
                    code.set(depth, end)
                    code.alu("sub", depth, depth, at)
                    code.alu("min", depth, depth, cut.chunk)
                    place, chunk = (slot, g.full[slot]), (at, depth)
                    bring(work, g.a, place, (block.row, block.rows), chunk)
                    bring(work, g.w, place, (block.column, block.columns), chunk)
                    _multiply(g, block, slot, chunk, along)
                    code.alu("add", at, at, cut.chunk)


def _multiply(g: _Gemm, block: Block, slot: int, chunk: Chunk, along: Span) -> None:
    """Queue the products of a chunk, column block by column block; read out behind the last."""
    code = g.work.code
    at, depth = chunk
    code.wait(MXU, g.full[slot], g.a.parts + g.w.parts)
    with code.unless("eq", block.rows, 0), code.stepping(0, block.columns, g.sub) as place:
        column, columns = place
        with code.scope():
            sums = _sums(g, block, column, columns)
            a = code.tensor(g.a.slots[slot], dim0=block.rows, dim1=depth)
            rows = g.w.slots[slot]
            skip = Scaled(column, rows.strides[0] * width(rows.format))
            w = code.tensor(rows, ("base", skip), dim0=columns, dim1=depth)
            _product(g, at, along[0], acc=sums, a=a, w=w)
        with code.scope():
            last = code.calc("add", at, g.cut.chunk)
            with code.unless("lt", last, along[1]):
                _read_out(g, block, place)
    for stream in (g.a, g.w):
        for sem in stream.free[slot]:
            tell(g.work, MXU, sem, stream)


def _product(g: _Gemm, at: Reg, begin: Value, **operands: Desc) -> None:
    """Start the accumulator at the first chunk of K, and add to it later."""
    code, ways = g.work.code, max(g.work.chip.tile.mxu.splits)
    split = f".split{ways}" if ways > 1 and g.cut.rows < SKINNY else ""
    later, done = code.label("later"), code.label("done")
    code.emit("bne", ra=at, b=begin, target=later)
    code.emit(f"gemm{split}", **operands)
    code.emit("jmp", target=done)
    code.place(later)
    code.emit(f"gemm.acc{split}", **operands)
    code.place(done)


def _sums(g: _Gemm, block: Block, column: Reg, columns: Reg) -> Desc:
    """A column block of the accumulator."""
    cut = g.cut
    whole = Descriptor(Space.ACC, Format.FP32, (cut.rows, cut.columns), (cut.columns, 1), 0)
    return g.work.code.tensor(whole, ("base", Scaled(column, 4)), dim0=block.rows, dim1=columns)


def _read_out(g: _Gemm, block: Block, place: tuple[Reg, Reg]) -> None:
    """Queue the read-out of a column block, and send it; of ranges of K, their sum."""
    if g.ranges is not None:
        _read_out_ranges(g, g.ranges, block, place)
        return
    code = g.work.code
    wait_for_room(g.work, g.out, MXU)
    with code.scope():
        sums = _sums(g, block, *place)
        dst = staged(g.work, g.out, block.rows, place[1])
        code.emit("readout", dst=dst, acc=sums)
    send(g.work, g.out, MXU, block, place)


def _read_out_ranges(g: _Gemm, ranges: Ranges, block: Block, place: tuple[Reg, Reg]) -> None:
    """Queue the read-out of partial sums; range 0 adds all up, and sends the sum."""
    work, code, extent = g.work, g.work.code, (block.rows, place[1])
    with code.scope():
        gemm_ranges.read_out(work, ranges, _sums(g, block, *place), extent)
    with code.unless("ne", ranges.number, 0):
        wait_for_room(work, g.out, VPU)
        with code.scope():
            dst = staged(work, g.out, *extent)
            gemm_ranges.add_up(work, ranges, dst, g.out.stage.format, extent)
        send(work, g.out, VPU, block, place)
    gemm_ranges.next_slot(work, ranges)
