"""The phase between QKV and attention: head norm, RoPE, and the KV cache.

Heads of q, k and v are split over the tiles; a tile takes its run of them some rows at a time, and
all its heads of a kind at once. Keys and values go to the cache; but where attention reads pages
early (see `kv.early`) to CSRAM, from where attention takes them and brings them to the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Desc, Reg, Scaled
from compiler.hbm import PAGE, rope_columns
from compiler.lower.context import IN, OUT, VPU, Lowering
from compiler.lower.groups import read_rows, write_rows
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
from isa.descriptor import Descriptor
from isa.formats import Format

QUERY, KEY, VALUE = "q", "k", "v"


@dataclass(frozen=True)
class Block:
    """Rows of some heads of one kind at run time, dense in TSRAM.

    ``head`` is the first of them among its kind, ``heads`` how many; ``row`` is the step's,
    ``rows`` how many. ``lines`` is rows times heads, ``wide`` the elements of a row.
    """

    part: str
    column: Reg
    head: Reg
    heads: Reg
    row: Reg
    rows: Reg
    lines: Reg
    wide: Reg


def heads(lo: Lowering, name: str) -> None:
    """Every tile takes its run of the heads of q, k and v, some of the rows of it."""
    code, config, tokens = lo.code, lo.plan.config, lo.tokens
    with lo.phase(name):
        begin, end, first, last = _place(lo)
        with code.unless("ge", begin, end):
            if config.qk_norm:
                _load_gains(lo)
            most = code.calc("sub", end, begin)
            code.alu("min", most, most, lo.plan.tile.head_rows)
            step = code.reg(lo.plan.tile.head_rows)
            code.alu("divu", step, step, most)
            with code.stepping(first, last, step) as (row, rows):
                _load_rope(lo, row, rows)
                _kinds(lo, (begin, end), most, row, rows)
                code.signal(VPU, tokens.rope_free)
            if config.qk_norm:
                code.signal(VPU, tokens.const_free)


PART_ROWS = 32  # rows for which tiles share a head; fewer are not worth the transfers (estimate)
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
        parts = code.calc("divu", rows, PART_ROWS)
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
    for part, count in ((QUERY, config.heads), (KEY, config.kv_heads), (VALUE, config.kv_heads)):
        with code.scope():
            last = code.calc("min", span[1], first + count)
            start = code.calc("max", span[0], first)
            with code.stepping(start, last, most) as (column, number), code.scope():
                head = code.calc("sub", column, first)
                lines = code.calc("mul", rows, number)
                wide = code.calc("mul", number, config.head_dim)
                _block(lo, Block(part, column, head, number, row, rows, lines, wide))
        first += count


def _load_gains(lo: Lowering) -> None:
    """The q and k head norms of this layer, which lie side by side."""
    code, config = lo.code, lo.plan.config
    load_gains(lo, 8 * config.hidden, "head_gains", 2 * config.head_dim, lo.layer)
    code.wait(VPU, lo.tokens.const_full)


def _load_rope(lo: Lowering, row: Reg, rows: Reg) -> None:
    """Queue on dma4: cos, -sin, sin of these rows."""
    code, width, tokens = lo.code, rope_columns(lo.plan.config), lo.tokens
    source = lo.plan.buffers.rows["rope"].data
    code.wait(IN, tokens.rope_free)
    with code.scope():
        view = source.view(Format.FP32, 4, width)
        src = code.tensor(view, ("base", Scaled(row, source.row_bytes)), dim0=rows)
        dst = code.tensor(lo.tsram("head_rope", Format.FP32, (1, width)), dim0=rows)
        code.emit("dma", channel=IN, dst=dst, src=src)


def _block(lo: Lowering, block: Block) -> None:
    """Columns of qkv through norm, RoPE and conversion to where they belong."""
    code, tokens = lo.code, lo.tokens
    _load(lo, block)
    code.wait(VPU, tokens.in_full)
    place = "head_in"
    if block.part != VALUE:
        if lo.plan.config.qk_norm:
            place = _norm(lo, block)
        place = _rope(lo, place, block)
    cached = block.part != QUERY and early(lo)
    code.wait(VPU, tokens.out_free)
    _convert(lo, place, block)
    code.signal(VPU, tokens.in_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    if block.part == QUERY or cached:
        _send(lo, block)
    else:
        _send_cache(lo, block)
    code.signal(OUT, tokens.out_free)


def _load(lo: Lowering, block: Block) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    source = lo.plan.buffers.rows["qkv"].data
    code.wait(IN, lo.tokens.in_free)
    with code.scope():
        column = ("base", Scaled(block.column, 4 * dim))
        view = source.view(Format.FP32, 4, dim)
        sizes = {"dim0": block.rows, "dim1": block.wide}
        src = read_rows(lo, source, view, block.row, column, **sizes)
        place = lo.tsram("head_in", Format.FP32, (1, dim))
        dst = code.tensor(place, dim0=block.rows, dim1=block.wide, stride0=block.wide)
        code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, lo.tokens.in_full)


def _norm(lo: Lowering, block: Block) -> str:
    config = lo.plan.config
    offset = 4 * config.head_dim if block.part == KEY else 0
    places = ("head_in", "head_tmp", "head_sum", "head_gains")
    with lo.code.scope():
        rms_norm(lo, places, config.head_dim, config.rms_eps, block.lines, offset)
    return "head_tmp"


def _rope(lo: Lowering, place: str, block: Block) -> str:
    """head_rot = x * cos + rotate_half(x) * sin; the table holds cos, -sin, sin of half a head."""
    code, dim = lo.code, lo.plan.config.head_dim
    half = dim // 2

    def halves(name: str, offset: int) -> Desc:
        matrix = lo.tsram(name, Format.FP32, (1, 1, half), (dim, dim, 1))
        sizes = {"dim0": block.rows, "dim1": block.heads, "stride0": block.wide}
        return code.tensor(matrix, ("base", offset), **sizes)

    with code.scope():
        low, high = halves(place, 0), halves(place, 4 * half)
        table = lo.tsram("head_rope", Format.FP32, (1, 1, half), (3 * half, 0, 1))
        cos, minus, plus = (
            code.tensor(table, ("base", 4 * half * part), dim0=block.rows, dim1=block.heads)
            for part in range(3)
        )
        code.emit("vmuladd2", dst=halves("head_rot", 0), a=low, b=cos, c=high, e=minus)
        code.emit("vmuladd2", dst=halves("head_rot", 4 * half), a=high, b=cos, c=low, e=plus)
    return "head_rot"


def _format(lo: Lowering, part: str) -> Format:
    return Format.BF16 if part == QUERY else kv_format(lo)


def _convert(lo: Lowering, place: str, block: Block) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    with code.scope():
        src = code.tensor(lo.tsram(place, Format.FP32, (1, dim)), dim0=block.lines)
        out = lo.tsram("head_out", _format(lo, block.part), (1, dim))
        code.emit("vcvt", dst=code.tensor(out, dim0=block.lines), a=src)


def _send(lo: Lowering, block: Block) -> None:
    """Queue on dma5: the heads to their columns of q, or of the copies of k or v."""
    code, dim = lo.code, lo.plan.config.head_dim
    fmt = _format(lo, block.part)
    size = 2 if fmt is Format.BF16 else 1
    with code.scope():
        column = ("base", Scaled(block.head, size * dim))
        sizes = {"dim0": block.rows, "dim1": block.wide}
        if block.part == QUERY:
            buffer = lo.plan.buffers.rows["q"].data
            view = buffer.view(fmt, 2, dim)
            out = write_rows(lo, buffer, view, block.row, column, **sizes)
        else:
            view = new_view(lo, block.part, dim, written=True)
            offset = ("base", Scaled(block.row, new_row_bytes(lo)))
            out = code.tensor(view, column, offset, **sizes)
        place = lo.tsram("head_out", fmt, (1, dim))
        src = code.tensor(place, dim0=block.rows, dim1=block.wide, stride0=block.wide)
        code.emit("dma", channel=OUT, dst=out, src=src)


def _send_cache(lo: Lowering, block: Block) -> None:
    """Scatter the rows to their places in the cache: kv_rows holds page * 128 + slot."""
    code, dim = lo.code, lo.plan.config.head_dim
    fmt, rows = kv_format(lo), lo.plan.capacity.pages * PAGE
    with code.scope():
        stored = cache_view(lo, block.part, rows)
        between = cache_bytes(lo) // (2 if fmt is Format.BF16 else 1)
        view = Descriptor(stored.space, fmt, (rows, 1, dim), (dim, between, 1), stored.base)
        offset = cache_offset(lo, block.head)
        dst = code.tensor(view, ("base", offset), dim1=block.heads)
        entries = lo.tsram("kv_rows", Format.I32, (1,))
        index = code.tensor(entries, ("base", Scaled(block.row, 4)), dim0=block.rows)
        place = lo.tsram("head_out", fmt, (1, 1, dim), (dim, dim, 1))
        src = code.tensor(place, dim0=block.rows, dim1=block.heads, stride0=block.wide)
        code.emit("dmas", channel=OUT, dst=dst, src=src, index=index)
