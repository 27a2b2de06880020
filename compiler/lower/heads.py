"""The phase between QKV and attention: head norm, RoPE, and the KV cache.

Heads of q, k and v are split over the tiles; a tile takes its run of them some rows at a time, and
all its heads of a kind at once. Keys and values go to the cache; but where attention reads pages
early (see `kv.early`) to CSRAM, from where attention takes them and brings them to the cache.

What is done with a block of heads is the same where QKV finishes them itself (`whole_heads`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.config import ModelConfig
from compiler.emit import Desc, Reg, Scaled, Sem
from compiler.hbm import PAGE, rope_columns
from compiler.lower.context import Lowering
from compiler.lower.groups import fill_written_rows, read_rows
from compiler.lower.kv import (
    cache_bytes,
    cache_offset,
    cache_view,
    early,
    kv_format,
    new_row_bytes,
    new_view,
)
from compiler.lower.rowwise import load_gains, rms_norm
from compiler.lower.tokens import IN, OUT, VPU
from compiler.tile_memory import PART_SLOTS
from isa.descriptor import Descriptor
from isa.formats import Format

QUERY, KEY, VALUE = "q", "k", "v"


Shift = Callable[[Desc], None]  # queues what moves an address on


def _stay(desc: Desc) -> None:
    """No shift."""


@dataclass(frozen=True)
class Room:
    """Places in TSRAM: `source`, the results of norm and of RoPE (dense), sums, RoPE's rows, `out`.

    ``stride`` elements lie between rows of the source, if it is not dense. The shifts are from
    places to what of them is at hand.
    """

    source: str
    normed: str
    turned: str
    sums: str
    rope: str
    out: str
    stride: Reg | None = None
    in_source: Shift = _stay
    in_rope: Shift = _stay
    in_out: Shift = _stay


@dataclass(frozen=True)
class Block:
    """Rows of some heads of one kind at run time.

    ``head`` is the first of them among its kind, ``heads`` how many; ``row`` is the step's,
    ``rows`` how many.
    """

    part: str
    head: Reg
    heads: Reg
    row: Reg
    rows: Reg
    room: Room


def wide(lo: Lowering, block: Block) -> Reg:
    """A new register: elements of a row of the block."""
    return lo.code.calc("mul", block.heads, lo.plan.config.head_dim)


def kinds(config: ModelConfig) -> tuple[tuple[str, int], ...]:
    """The kinds of heads in the order of QKV's columns, and how many there are of each."""
    return (QUERY, config.heads), (KEY, config.kv_heads), (VALUE, config.kv_heads)


def heads(lo: Lowering, name: str) -> None:
    """Every tile takes its run of the heads of q, k and v, some of the rows of it."""
    code, config, tokens = lo.code, lo.plan.config, lo.tokens
    with lo.phase(name):
        begin, end, first, last = _place(lo)
        with code.unless("ge", begin, end):
            if config.qk_norm:
                load_head_gains(lo)
            most = code.calc("sub", end, begin)
            code.alu("min", most, most, lo.plan.tile.head_rows)
            step = code.reg(lo.plan.tile.head_rows)
            code.alu("divu", step, step, most)
            with code.stepping(first, last, step) as (row, rows):
                _load_rope(lo, row, rows)
                _kinds(lo, (begin, end), most, row, rows)
                code.signal(VPU, tokens.old_free, PART_SLOTS)
            if config.qk_norm:
                code.signal(VPU, tokens.const_free)


ROOM = Room("head_in", "head_tmp", "head_rot", "head_sum", "head_rope", "head_out")
PART_ROWS = 16  # rows for which tiles share a head; fewer are not worth the transfers (estimate)
PART_TILES = 8  # tiles that divide the heads, at least


def _place(lo: Lowering) -> tuple[Reg, Reg, Reg, Reg]:
    """New registers: this tile's heads [begin, end), and its rows [first, last) in the step.

    The rows are of the tile's group. Many are divided among tiles, so that each needs few rows'
    cosines.
    """
    code, config = lo.code, lo.plan.config
    total = config.heads + 2 * config.kv_heads
    begin, end, first, last = (code.reg() for _ in range(4))
    with code.scope():
        group, lane = lo.place()
        start, rows = lo.group_rows(group)
        ways = lo.lanes()
        parts = code.calc("divu", rows, lo.plan.options.tiling.of("head_part", PART_ROWS))
        with code.scope():
            code.alu("min", parts, parts, code.calc("divu", ways, PART_TILES))
        code.alu("max", parts, parts, 1)
        part = code.calc("remu", lane, parts)
        code.alu("mul", first, part, rows)
        code.alu("add", last, first, rows)
        for edge in (first, last):
            code.alu("divu", edge, edge, parts)
            code.alu("add", edge, edge, start)
        code.alu("divu", ways, ways, parts)
        code.alu("divu", part, lane, parts)
        code.alu("mul", begin, part, total)
        code.alu("add", end, begin, total)
        code.alu("divu", begin, begin, ways)
        code.alu("divu", end, end, ways)
    code.alu("min", end, end, total)
    return begin, end, first, last


def _kinds(lo: Lowering, span: tuple[Reg, Reg], most: Reg, row: Reg, rows: Reg) -> None:
    """The tile's heads of each kind, at most so many at once."""
    code, config = lo.code, lo.plan.config
    first = 0
    for part, count in kinds(config):
        with code.scope():
            last = code.calc("min", span[1], first + count)
            start = code.calc("max", span[0], first)
            with code.stepping(start, last, most) as (column, number), code.scope():
                head = code.calc("sub", column, first)
                _block(lo, Block(part, head, number, row, rows, ROOM), column)
        first += count


def load_head_gains(lo: Lowering) -> None:
    """The q and k head norms of this layer, which lie side by side."""
    code, config = lo.code, lo.plan.config
    load_gains(lo, 8 * config.hidden, "head_gains", 2 * config.head_dim, lo.layer)
    code.wait(VPU, lo.tokens.const_full)


def _load_rope(lo: Lowering, row: Reg, rows: Reg) -> None:
    """Queue on dma4: cos, -sin, sin of these rows."""
    code, width, tokens = lo.code, rope_columns(lo.plan.config), lo.tokens
    source = lo.plan.buffers.rows["rope"].data
    code.wait(IN, tokens.old_free, PART_SLOTS)
    with code.scope():
        view = source.view(Format.FP32, 4, width)
        src = code.tensor(view, ("base", Scaled(row, source.row_bytes)), dim0=rows)
        dst = code.tensor(lo.tsram("head_rope", Format.FP32, (1, width)), dim0=rows)
        code.emit("dma", channel=IN, dst=dst, src=src)


def _block(lo: Lowering, block: Block, column: Reg) -> None:
    """Columns of qkv through norm, RoPE and conversion to where they belong."""
    code, tokens = lo.code, lo.tokens
    _load(lo, block, column)
    code.wait(VPU, tokens.in_full)
    if lo.plan.config.qk_norm and block.part != VALUE:
        norm_heads(lo, block, block.room.source)
    turn_heads(lo, block, tokens.out_free)
    code.signal(VPU, tokens.in_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    send_heads(lo, block)
    code.signal(OUT, tokens.out_free)


def _load(lo: Lowering, block: Block, first: Reg) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    source = lo.plan.buffers.rows["qkv"].data
    code.wait(IN, lo.tokens.in_free)
    with code.scope():
        column = ("base", Scaled(first, 4 * dim))
        view = source.view(Format.FP32, 4, dim)
        columns = wide(lo, block)
        sizes = {"dim0": block.rows, "dim1": columns}
        src = read_rows(lo, source, view, block.row, column, **sizes)
        place = lo.tsram("head_in", Format.FP32, (1, dim))
        dst = code.tensor(place, stride0=columns, **sizes)
        code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, lo.tokens.in_full)


def gather_heads(lo: Lowering, block: Block) -> None:
    """Queue on the VPU: the heads of the source, dense, where RoPE's result will be."""
    room, dim = block.room, lo.plan.config.head_dim
    with lo.code.scope():
        source = Matrix(room.source, room.stride, room.in_source)
        src = _heads(lo, block, source, Format.FP32, dim)
        dst = _heads(lo, block, Matrix(room.turned), Format.FP32, dim)
        lo.code.emit("vcopy", dst=dst, a=src)


def norm_heads(lo: Lowering, block: Block, source: str) -> None:
    """Queue on the VPU: normed = RMSNorm of each head of `source`, which is dense, * gains."""
    config, room = lo.plan.config, block.room
    offset = 4 * config.head_dim if block.part == KEY else 0
    places = (source, room.normed, room.sums, "head_gains")
    with lo.code.scope():
        lines = lo.code.calc("mul", block.rows, block.heads)
        rms_norm(lo, places, config.head_dim, config.rms_eps, lines, offset)


def turn_heads(lo: Lowering, block: Block, free: Sem) -> None:
    """Queue on the VPU: out = RoPE of the (normed) heads, or the values as they are, converted.

    `free` says that the place they go to is.
    """
    code, dim, room = lo.code, lo.plan.config.head_dim, block.room
    source = Matrix(room.source, room.stride, room.in_source)
    if lo.plan.config.qk_norm and block.part != VALUE:
        source = Matrix(room.normed)
    if block.part != VALUE:
        _rope(lo, block, source)
        source = Matrix(room.turned)
    code.wait(VPU, free)
    with code.scope():
        src = _heads(lo, block, source, Format.FP32, dim)
        dst = _heads(lo, block, Matrix(room.out, shift=room.in_out), _format(lo, block.part), dim)
        code.emit("vcvt", dst=dst, a=src)


@dataclass(frozen=True)
class Matrix:
    """Rows of heads in TSRAM: dense without a stride."""

    place: str
    stride: Reg | None = None
    shift: Shift = _stay


def _heads(
    lo: Lowering, block: Block, matrix: Matrix, fmt: Format, columns: int, first: int = 0
) -> Desc:
    """[rows, heads, columns] of a matrix of heads: columns of each head, from `first` on."""
    code, dim = lo.code, lo.plan.config.head_dim
    view = lo.tsram(matrix.place, fmt, (1, 1, columns), (dim, dim, 1))
    desc = code.tensor(view, ("base", 4 * first), dim0=block.rows, dim1=block.heads)
    with code.scope():
        stride = matrix.stride or wide(lo, block)
        code.emit("dset", dst=desc, field="stride0", b=stride)
    matrix.shift(desc)
    return desc


def _rope(lo: Lowering, block: Block, source: Matrix) -> None:
    """turned = x * cos + rotate_half(x) * sin; the table holds cos, -sin, sin of half a head."""
    code, room, half = lo.code, block.room, lo.plan.config.head_dim // 2

    def part_of(matrix: Matrix, first: int) -> Desc:
        return _heads(lo, block, matrix, Format.FP32, half, first)

    with code.scope():
        low, high = part_of(source, 0), part_of(source, half)
        table = lo.tsram(room.rope, Format.FP32, (1, 1, half), (3 * half, 0, 1))
        sizes = {"dim0": block.rows, "dim1": block.heads}
        cos, minus, plus = (
            code.tensor(table, ("base", 4 * half * part), **sizes) for part in range(3)
        )
        for desc in (cos, minus, plus):
            room.in_rope(desc)
        out = Matrix(room.turned)
        code.emit("vmuladd2", dst=part_of(out, 0), a=low, b=cos, c=high, e=minus)
        code.emit("vmuladd2", dst=part_of(out, half), a=high, b=cos, c=low, e=plus)


def _format(lo: Lowering, part: str) -> Format:
    return Format.BF16 if part == QUERY else kv_format(lo)


def send_heads(lo: Lowering, block: Block) -> None:
    """Queue on dma5: the heads to q, to the copies of k or v, or to their places in the cache."""
    if block.part == QUERY or early(lo):
        _send(lo, block)
    else:
        _send_cache(lo, block)


def _send(lo: Lowering, block: Block) -> None:
    """Queue on dma5: the heads to their columns of q, or of the copies of k or v."""
    code, dim = lo.code, lo.plan.config.head_dim
    fmt = _format(lo, block.part)
    size = 2 if fmt is Format.BF16 else 1
    with code.scope():
        out = code.desc()
        with code.scope():
            column = ("base", Scaled(block.head, size * dim))
            if block.part == QUERY:
                buffer = lo.plan.buffers.rows["q"].data
                view = buffer.view(fmt, 2, dim)
                fill_written_rows(lo, out, buffer, view, block.row, column, dim0=block.rows)
            else:
                view = new_view(lo, block.part, dim, written=True)
                offset = ("base", Scaled(block.row, new_row_bytes(lo)))
                code.fill(out, view, column, offset, dim0=block.rows)
        src = code.tensor(lo.tsram(block.room.out, fmt, (1, dim)), dim0=block.rows)
        with code.scope():
            columns = wide(lo, block)
            for desc, field in ((out, "dim1"), (src, "dim1"), (src, "stride0")):
                code.emit("dset", dst=desc, field=field, b=columns)
        block.room.in_out(src)
        code.emit("dma", channel=OUT, dst=out, src=src)


def _send_cache(lo: Lowering, block: Block) -> None:
    """Scatter the rows to their places in the cache: kv_rows holds page * 128 + slot."""
    code, dim = lo.code, lo.plan.config.head_dim
    fmt, rows = kv_format(lo), lo.plan.capacity.pages * PAGE
    with code.scope():
        stored = cache_view(lo, block.part, rows)
        between = cache_bytes(lo) // (2 if fmt is Format.BF16 else 1)
        view = Descriptor(stored.space, fmt, (rows, 1, dim), (dim, between, 1), stored.base)
        dst = code.tensor(view, dim1=block.heads)
        with code.scope():
            code.emit("dadd", dst=dst, field="base", b=cache_offset(lo, block.head))
        entries = lo.tsram("kv_rows", Format.I32, (1,))
        index = code.tensor(entries, ("base", Scaled(block.row, 4)), dim0=block.rows)
        src = _heads(lo, block, Matrix(block.room.out, shift=block.room.in_out), fmt, dim)
        code.emit("dmas", channel=OUT, dst=dst, src=src, index=index)
