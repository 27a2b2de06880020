"""What attention works on: which rows, which head, which pages. Scalar arithmetic at run time."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Reg, Scaled, Value
from compiler.hbm import PAGE
from compiler.lower.context import Lowering
from compiler.lower.groups import read_rows
from compiler.lower.tokens import IN
from isa.descriptor import Descriptor, Space
from isa.formats import Format

UNLIMITED = 1 << 30  # a window no position reaches: full attention
FIRST_ROW, COUNT, POSITION, PAGE_ROW = range(4)  # words of a segment's entry


@dataclass(frozen=True)
class Item:
    """Rows of a sequence for one KV head.

    ``segment`` is the sequence's number in the step (plus so many times their count for the row
    group), ``row`` the first row in the step, ``count`` rows, ``position`` of the first. Memory of
    two items takes turns by the parity of ``turn``.
    """

    segment: Reg
    row: Reg
    count: Reg
    position: Reg
    head: Reg
    turn: Reg


@dataclass(frozen=True)
class Part:
    """Rows of the tile's score matrix (row * group + head of the group): offset and count."""

    offset: Reg
    count: Reg


def group_of(lo: Lowering) -> int:
    """Query heads of a KV head."""
    return lo.plan.config.heads // lo.plan.config.kv_heads


def chunk_rows(lo: Lowering) -> int:
    """Query rows of one head that a tile can take at once."""
    return lo.plan.tile.attend_rows // group_of(lo)


LEAST_ROWS = 8  # query rows of an item, or every page is read too often (estimate)


def item_rows(lo: Lowering) -> Reg:
    """A new register: query rows of an item in this step; fewer where items would not go round."""
    code, plan = lo.code, lo.plan
    rows = code.calc("mul", lo.rows, plan.config.kv_heads)
    code.alu("add", rows, rows, plan.chip.num_tiles - 1)
    code.alu("divu", rows, rows, plan.chip.num_tiles)
    code.alu("max", rows, rows, plan.options.tiling.of("item_rows", LEAST_ROWS))
    return code.alu("min", rows, rows, chunk_rows(lo))


def segment_word(lo: Lowering, segment: Reg, word: int, dst: Reg | None = None) -> Reg:
    """A word of a segment's entry, in a new register or `dst`."""
    code = lo.code
    dst = dst or code.reg()
    with code.scope():
        entry = code.calc("remu", segment, lo.segments)
        code.alu("mul", entry, entry, 4)
        table = code.tensor(lo.tsram("segments", Format.I32, (4 * lo.plan.capacity.sequences,)))
        code.emit("ld", rd=dst, src=table, index=entry + word)
    return dst


def window_of(lo: Lowering) -> Reg:
    """A new register: this layer's window, or more than any position."""
    code = lo.code
    window = code.reg()
    if not any(lo.plan.config.windows):
        code.set(window, UNLIMITED)
        return window
    with code.scope():
        table = code.tensor(lo.tsram("windows", Format.I32, (lo.plan.config.layers,)))
        code.emit("ld", rd=window, src=table, index=lo.layer)
    with code.unless("ne", window, 0):
        code.set(window, UNLIMITED)
    return window


def pages_of(
    lo: Lowering, position: Reg, count: Value, into: tuple[Reg, Reg] | None = None
) -> tuple[Reg, Reg]:
    """The first block that these rows see, and one past the last; in new registers or `into`."""
    code = lo.code
    begin, end = into or (code.reg(), code.reg())
    with code.scope():
        window = window_of(lo)
        code.alu("sub", begin, position, window)
    code.alu("add", begin, begin, 1)
    code.alu("max", begin, begin, 0)
    code.alu("shr", begin, begin, 7)
    code.alu("add", end, position, count)
    code.alu("add", end, end, PAGE - 1)
    code.alu("shr", end, end, 7)
    return begin, end


def rows_that_see(lo: Lowering, item: Item, block: Reg, low: Reg, middle: Reg, high: Reg) -> None:
    """Rows [low, high) see a page; from `middle` it is their first.

    A row r of position p sees keys (p - window, p]. Its first page is this one if p - window + 1
    lies in it (or, for page 0, below it). Score rows: query rows times the group.
    """
    code, group = lo.code, group_of(lo)
    code.alu("shl", low, block, 7)
    code.alu("sub", low, low, item.position)
    with code.scope():
        code.alu("add", middle, low, window_of(lo))
    code.alu("add", middle, middle, -1)
    code.alu("add", high, middle, PAGE)
    code.alu("min", high, high, item.count)
    code.alu("max", low, low, 0)
    code.alu("min", middle, middle, high)
    code.alu("max", middle, middle, low)
    with code.unless("ne", block, 0):
        code.set(middle, low)
    for reg in (low, middle, high):
        code.alu("mul", reg, reg, group)


def seen(lo: Lowering, item: Item, block: Reg) -> Part:
    """New registers: the score rows that see a page."""
    low, high = lo.code.reg(), lo.code.reg()
    with lo.code.scope():
        rows_that_see(lo, item, block, low, lo.code.reg(), high)
    return Part(low, lo.code.alu("sub", high, high, low))


def seen_keys(lo: Lowering, item: Item, block: Reg) -> Reg:
    """A new register: keys of a page up to the item's last row."""
    code = lo.code
    keys = code.calc("shl", block, 7)
    code.alu("sub", keys, item.position, keys)
    code.alu("add", keys, keys, item.count)
    return code.alu("min", keys, keys, PAGE)


def segments_end(lo: Lowering) -> Reg:
    """A new register: segments times row groups, one past the last that an item may name."""
    return lo.code.calc("mul", lo.segments, lo.groups)


def rows_of(lo: Lowering, segment: Reg) -> tuple[Reg, Reg]:
    """New registers: first row in the step and number of rows of a segment in its row group."""
    code = lo.code
    first, count = segment_word(lo, segment, FIRST_ROW), segment_word(lo, segment, COUNT)
    with code.scope():
        begin, number = lo.group_rows(code.calc("divu", segment, lo.segments))
        code.alu("add", number, number, begin)
        code.alu("add", count, count, first)
        code.alu("min", count, count, number)
        code.alu("max", first, first, begin)
    code.alu("sub", count, count, first)
    return first, code.alu("max", count, count, 0)


def place_item(lo: Lowering, segment: Reg, index: Reg) -> Item:
    """New registers: the item of a quarter of the index in its segment, chunk * kv_heads + head.

    Its turn is the index, whose lowest bit every next item changes.
    """
    code, kv_heads = lo.code, lo.plan.config.kv_heads
    first, count = rows_of(lo, segment)
    head = code.calc("shr", index, 2)
    row = code.calc("divu", head, kv_heads)
    code.alu("remu", head, head, kv_heads)
    with code.scope():
        most = item_rows(lo)
        code.alu("mul", row, row, most)
        code.alu("sub", count, count, row)
        code.alu("min", count, count, most)
    code.alu("add", row, row, first)
    position = first  # the same register
    segment_word(lo, segment, POSITION, position)
    code.alu("add", position, position, row)
    with code.scope():
        code.alu("sub", position, position, segment_word(lo, segment, FIRST_ROW))
    return Item(segment, row, count, position, head, index)


def parity_offset(lo: Lowering, number: Reg, nbytes: int) -> Reg:
    """A new register: offset of one of two places that take turns."""
    code = lo.code
    offset = code.calc("and", number, 1)
    return code.alu("mul", offset, offset, nbytes)


def load_queries(lo: Lowering, item: Item) -> None:
    """Queue on dma4: q[rows, group of heads] -> [rows * group, head_dim]; and the rows' bounds."""
    code, config, source = lo.code, lo.plan.config, lo.plan.buffers.rows["q"].data
    width = group_of(lo) * config.head_dim
    code.wait(IN, lo.tokens.q_free)
    with code.scope():
        view = source.view(Format.BF16, 2, width)
        src = read_rows(
            lo, source, view, item.row, ("base", Scaled(item.head, 2 * width)), dim0=item.count
        )
        place = lo.tsram("q", Format.BF16, (1, width))
        side = parity_offset(lo, item.turn, lo.plan.tile.attend_rows * config.head_dim * 2)
        dst = code.tensor(place, ("base", side), dim0=item.count)
        code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, lo.tokens.q_full)
    _load_bounds(lo, item)
    code.signal(IN, lo.tokens.bounds_full)


def _load_bounds(lo: Lowering, item: Item) -> None:
    """Each row's visible positions, once for every head of the group."""
    code, at, group = lo.code, lo.plan.tile.at, group_of(lo)
    with code.scope():
        base = code.reg(at["bounds_full"])
        with code.scope(), code.unless("ge", window_of(lo), UNLIMITED):
            code.set(base, at["bounds_window"])
        offset = code.calc("mul", item.row, 8)
        table = Descriptor(Space.TSRAM, Format.I32, (1, group, 2), (2, 0, 1))
        src = code.tensor(table, ("base", base), ("base", offset), dim0=item.count)
        side = parity_offset(lo, item.turn, lo.plan.tile.attend_rows * 8)
        place = lo.tsram("bounds", Format.I32, (1, group, 2))
        dst = code.tensor(place, ("base", side), dim0=item.count)
        code.emit("dma", channel=IN, dst=dst, src=src)
