"""A page of attention on its way in: its keys and values, from HBM, CSRAM and this step's rows."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Reg, Sem, Value
from compiler.hbm import PAGE
from compiler.lower.attention_items import (
    POSITION,
    Item,
    seen_keys,
    segment_word,
)
from compiler.lower.context import Lowering
from compiler.lower.kv import (
    PARTS,
    early,
    in_halves,
    kv_format,
    new_view,
    page_bytes,
    row_bytes,
)
from compiler.lower.page_places import page_address, page_rows, to_values
from compiler.lower.tokens import IN, KEYS, MXU, OUT, VALUES
from isa.descriptor import Descriptor

# -- keys and values in ------------------------------------------------------------------------


def advance(lo: Lowering, slot: Reg) -> None:
    """Move to the next slot of pages."""
    code, end = lo.code, lo.plan.tile.page_slots * page_bytes(lo)
    code.alu("add", slot, slot, page_bytes(lo))
    with code.unless("lt", slot, end):
        code.set(slot, 0)


@dataclass(frozen=True)
class Own:
    """Who brings a page's rows that are of this step: of keys, and of values.

    ``full``: the semaphore that says so to the array, of every page if ``always``; ``old``: that
    which says to the channel that older rows are there, unless it brings these itself. ``count``:
    channels that bring older rows.
    """

    channels: tuple[str, str]
    old: tuple[Sem | None, Sem | None]
    full: tuple[Sem, Sem]
    always: bool
    count: int


STREAM, SINGLE = 4, 2  #: pages that should be under way: of a stream, and where each is awaited
BLOCK_OF_KEYS = 16  #: keys that are brought and multiplied together where pages are spread


def own_in_place(lo: Lowering) -> Own:
    """The channels that bring a page bring all of it."""
    tokens, count = lo.tokens, 2 if in_halves(lo.plan, STREAM) else 1
    return Own((KEYS, VALUES), (None, None), (tokens.k_own, tokens.v_own), True, count)


def own_of_split(lo: Lowering) -> Own:
    """Where few pages come before the barrier, dma4 is behind it first."""
    tokens = lo.tokens
    old, new = (tokens.k_old, tokens.v_old), (tokens.k_new, tokens.v_new)
    # A signal of every page would wait for queries.
    return Own((IN, IN), old, new, False, 2 if in_halves(lo.plan, SINGLE) else 1)


def load_old(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own) -> None:
    """Queue a page's keys and values, but for rows that come from CSRAM: on two channels each.

    One alone has not as many requests under way as it takes to keep HBM busy. Where blocks of keys
    are brought, the places of such rows get what the cache has there; then the rows follow.
    """
    _load(lo, item, block, slot, own, halves=True)


def load_ahead(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own) -> None:
    """The same before a barrier, on dma6 and dma7: the other two have results to move first."""
    _load(lo, item, block, slot, own, halves=False)


def _load(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own, halves: bool) -> None:
    code = lo.code
    with code.scope():
        page = page_address(lo, item.segment, item.head, block)
        old = _old_keys(lo, item, block) if early(lo) else seen_keys(lo, item, block)
        brought = old if own.always else block_keys(lo, item, block, own)
        share = _half if own.always else _blocks
        for (part, units), mixed in zip(_channels(lo, own), own.old, strict=True):
            several = halves and len(units) > 1
            for number, (unit, full, free) in enumerate(units):
                code.wait(unit, free)
                if number == 0 or several:
                    with code.scope():
                        src = page_rows(lo, part, page, 1)
                        dst = code.tensor(page_view(lo, part), ("base", slot))
                        offset, count = share(lo, brought, old, number if several else None)
                        with code.unless("eq", count, 0):
                            for side in (src, dst):
                                code.emit("dset", dst=side, field="dim0", b=count)
                                if offset != 0:
                                    code.emit("dadd", dst=side, field="base", b=offset)
                            code.emit("dma", channel=unit, dst=dst, src=src)
                code.signal(unit, full)
            if early(lo) and mixed is not None:
                with code.scope(), code.unless("ge", old, seen_keys(lo, item, block)):
                    code.signal(units[0][0], mixed)


def block_keys(lo: Lowering, item: Item, block: Reg, own: Own) -> Reg:
    """A new register: keys of a page to multiply, in whole blocks where pages are spread.

    So most steps do the work of the step before. A page is whole blocks, so there is room for all;
    each row's bounds leave out what is behind its own key.
    """
    code, keys = lo.code, seen_keys(lo, item, block)
    if not own.always:
        code.alu("add", keys, keys, BLOCK_OF_KEYS - 1)
        code.alu("and", keys, keys, -BLOCK_OF_KEYS)
    return keys


def load_full(lo: Lowering, segment: Reg, head: Reg, block: Reg, slot: Reg) -> None:
    """`load_old` and `load_new` of a page all of whose rows are older than the step."""
    code, own, at = lo.code, own_in_place(lo), lo.plan.tile.at
    rows = PAGE // own.count
    half, whole = rows * row_bytes(lo), (own.count - 1) * rows * row_bytes(lo)
    with code.scope():
        page = page_address(lo, segment, head, block)
        src = page_rows(lo, "k", page, rows)
        dst = code.tensor(page_view(lo, "k", rows), ("base", slot))
        for part, units in _channels(lo, own):
            if part == "v":
                to_values(lo, src, page, -whole)
                code.emit("dadd", dst=dst, field="base", b=at["v_block"] - at["k_block"] - whole)
            for number, (unit, full, free) in enumerate(units):
                for side in (src, dst) if number else ():
                    code.emit("dadd", dst=side, field="base", b=half)
                code.wait(unit, free)
                code.emit("dma", channel=unit, dst=dst, src=src)
                code.signal(unit, full)
    if early(lo):
        _say_new(lo, own)


_Channel = tuple[str, Sem, Sem]


def _channels(lo: Lowering, own: Own) -> tuple[tuple[str, tuple[_Channel, ...]], ...]:
    """Of keys and of values: the channels that bring a page, with the semaphores of its slots."""
    tokens, count = lo.tokens, own.count
    keys = (KEYS, tokens.k_full, tokens.k_free), (IN, tokens.k_rest, tokens.k_room)
    values = (VALUES, tokens.v_full, tokens.v_free), (OUT, tokens.v_rest, tokens.v_room)
    return ("k", keys[:count]), ("v", values[:count])


def await_pages(lo: Lowering, part: str, own: Own, pages: int = 1) -> None:
    """Queue on the MXU: wait for all of some pages' keys or values."""
    number = PARTS.index(part)
    for _, full, _ in _channels(lo, own)[number][1]:
        lo.code.wait(MXU, full, pages)
    if early(lo) and own.always:
        lo.code.wait(MXU, own.full[number], pages)


def await_new(lo: Lowering, item: Item, block: Reg, part: str, own: Own) -> None:
    """The same of those of a page's rows that are of this step, where only they are signalled."""
    code = lo.code
    if early(lo) and not own.always:
        with code.scope():
            old, keys = _old_keys(lo, item, block), seen_keys(lo, item, block)
            with code.unless("ge", old, keys):
                code.wait(MXU, own.full[PARTS.index(part)])


def free_pages(lo: Lowering, part: str, own: Own, pages: int = 1) -> None:
    """Queue on the MXU: pages' keys or values have been multiplied."""
    for _, _, free in _channels(lo, own)[PARTS.index(part)][1]:
        lo.code.signal(MXU, free, pages)


def _half(lo: Lowering, rows: Reg, _old: Reg, number: int | None) -> tuple[Value, Reg]:
    """Offset in bytes, and number in a new register, of a half of the rows, or of all."""
    code = lo.code
    if number is None:
        return 0, rows
    most = code.calc("add", rows, 1)
    code.alu("shr", most, most, 1)
    if number == 0:
        return 0, most
    rest = code.calc("sub", rows, most)
    return code.alu("mul", most, most, row_bytes(lo)), rest


def _blocks(lo: Lowering, rows: Reg, old: Reg, number: int | None) -> tuple[Value, Reg]:
    """The same of rows in whole blocks, the first of which are old.

    The second channel has the front, old rows only. What comes where new rows belong is brought by
    the first channel, which says when these may follow (`Own.old`).
    """
    code = lo.code
    if number is None:
        return 0, rows
    first = code.calc("divu", rows, 2 * BLOCK_OF_KEYS)
    code.alu("mul", first, first, BLOCK_OF_KEYS)
    code.alu("min", first, first, old)
    if number == 1:
        return 0, first
    rest = code.calc("sub", rows, first)
    return code.alu("mul", first, first, row_bytes(lo)), rest


def load_new(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own) -> None:
    """Queue the rows of a page that are of this step, if any, and say that they are there."""
    if not early(lo):
        return
    code, config = lo.code, lo.plan.config
    with code.scope():
        old, new = _old_keys(lo, item, block), seen_keys(lo, item, block)
        code.alu("sub", new, new, old)
        with code.unless("eq", new, 0), code.scope():
            # the position's distance from the item's first row is its row's
            source = code.calc("shl", block, 7)
            code.alu("add", source, source, old)
            code.alu("sub", source, source, item.position)
            code.alu("add", source, source, item.row)
            code.alu("mul", source, source, config.kv_heads)
            code.alu("add", source, source, item.head)
            code.alu("mul", source, source, row_bytes(lo))
            code.alu("mul", old, old, row_bytes(lo))
            code.alu("add", old, old, slot)
            for part, unit, mixed in zip(PARTS, own.channels, own.old, strict=True):
                if mixed is not None:
                    code.wait(unit, mixed)
                with code.scope():
                    view = new_view(lo, part, config.head_dim)
                    src = code.tensor(view, ("base", source), dim0=new)
                    dst = code.tensor(page_view(lo, part), ("base", old), dim0=new)
                    code.emit("dma", channel=unit, dst=dst, src=src)
            if not own.always:
                _say_new(lo, own)
        if own.always:
            _say_new(lo, own)


def _say_new(lo: Lowering, own: Own) -> None:
    for unit, full in zip(own.channels, own.full, strict=True):
        lo.code.signal(unit, full)


def _old_keys(lo: Lowering, item: Item, block: Reg) -> Reg:
    """A new register: keys of a page that are older than this step."""
    code = lo.code
    old = segment_word(lo, item.segment, POSITION)
    with code.scope():
        code.alu("sub", old, old, code.calc("shl", block, 7))
    code.alu("max", old, old, 0)
    return code.alu("min", old, old, PAGE)


def page_view(lo: Lowering, part: str, rows: int = 1) -> Descriptor:
    """[rows, head_dim] at the slots of pages."""
    return lo.tsram(f"{part}_block", kv_format(lo), (rows, lo.plan.config.head_dim))
