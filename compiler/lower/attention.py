"""Attention, split by (sequence, query chunk, KV head): online softmax over pages of 128 keys.

Scores never leave the tile. A tile takes its items' pages one after the other, the array a page
ahead of the vector unit, and the channels as many ahead of the array as there are slots. Steps with
fewer items than tiles may spread the pages instead (`attention_split`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.emit import Reg
from compiler.lower.attention_fold import finish, fold
from compiler.lower.attention_items import (
    POSITION,
    Item,
    group_of,
    load_queries,
    pages_of,
    place_item,
    segment_word,
    segments_end,
)
from compiler.lower.attention_pages import (
    Own,
    advance,
    load_ahead,
    load_full,
    load_new,
    load_old,
    own_in_place,
)
from compiler.lower.attention_places import Place, first_place, next_place
from compiler.lower.attention_products import (
    multiply_keys,
    multiply_values,
    read_scores,
    read_values,
    softmax,
)
from compiler.lower.attention_row import CARRIED, Row, RowPages, takes_rows
from compiler.lower.attention_split import choose, first_page, split_pages
from compiler.lower.context import Lowering
from compiler.lower.kv import early, page_bytes, write_cache
from compiler.lower.stream import bring_owed
from compiler.lower.tokens import IN, KEYS, MXU, OUT, VALUES, VPU


@dataclass(frozen=True)
class _State:
    """Registers of the whole phase.

    ``place`` is the item at hand; ``used`` is the offset of the slot to multiply next. Pages are
    loaded as many ahead as there are slots, whatever items they belong to: ``coming`` and ``block``
    say which is next, into the slot that was given back last. ``full`` is four times the pages of
    its sequence that were full before the step, plus CARRIED.
    """

    place: Place
    used: Reg
    coming: Place
    block: Reg
    full: Reg


def attend(lo: Lowering, name: str, quantised: bool) -> None:
    """o = attention(q, k_cache, v_cache), quantised if scales stay within a head group."""
    code, tokens = lo.code, lo.tokens
    with lo.phase(name):
        for unit, sem in ((KEYS, tokens.to_keys), (OUT, tokens.order)):
            code.signal(IN, sem)
            code.wait(unit, sem)
        code.wait(VALUES, tokens.to_values)
        if lo.most_groups == 1:
            code.signal(IN, tokens.to_values)
        else:
            with code.unless("ne", lo.groups, 1):
                code.signal(IN, tokens.to_values)
        split, end = code.label("split"), code.label("attended")
        splits = choose(lo, split)
        with code.scope():
            _in_place(lo, quantised)
        if splits:
            code.emit("jmp", target=end)
            code.place(split)
            with code.scope():
                split_pages(lo, quantised)
            code.place(end)
        bring_owed(lo)


def leave_pages(lo: Lowering) -> None:
    """A layer's last product is queued: the slots of pages are free for the next layer's."""
    if early(lo):
        lo.code.signal(MXU, lo.tokens.k_over)
        lo.code.signal(MXU, lo.tokens.v_over)


def read_ahead(lo: Lowering, name: str) -> None:
    """Before this step's keys are known: the pages that this tile needs first, as slots allow.

    In steps of several row groups, activations lie in the slots until the barrier before attention;
    then `_begin_pages` reads them.
    """
    if not early(lo):
        return
    code = lo.code
    with code.op(name):
        if lo.most_groups == 1:
            _read_ahead(lo)
            return
        with code.unless("ne", lo.groups, 1):
            _read_ahead(lo)


def _read_ahead(lo: Lowering) -> None:
    code = lo.code
    code.wait(KEYS, lo.tokens.k_over)
    code.wait(VALUES, lo.tokens.v_over)
    split, end = code.label("split"), code.label("ahead")
    splits = choose(lo, split)
    with code.scope():
        _first_pages(lo, _start(lo), (load_ahead,))
    if splits:
        code.emit("jmp", target=end)
        code.place(split)
        with code.scope():
            first_page(lo)
        code.place(end)


Loader = Callable[[Lowering, Item, Reg, Reg, Own], None]


def _start(lo: Lowering) -> _State:
    """The tile's first item, and its first page."""
    code = lo.code
    place = first_place(lo)
    coming = Place(code.reg(place.segment), code.reg(place.index))
    state = _State(place, code.reg(0), coming, code.reg(), code.reg(0))
    _first_block(lo, state)
    return state


def _first_block(lo: Lowering, state: _State) -> None:
    """The item to load from has changed: begin with its first page."""
    code = lo.code
    done = code.label("no_page")
    with code.scope():
        code.emit("bge", ra=state.coming.segment, b=segments_end(lo), target=done)
    if not any(lo.plan.config.windows):
        code.set(state.block, 0)
    else:
        with code.scope():
            item = place_item(lo, state.coming.segment, state.coming.index)
            pages_of(lo, item.position, item.count, (state.block, code.reg()))
    with code.scope():
        position = segment_word(lo, state.coming.segment, POSITION)
        code.alu("shr", position, position, 7)
        code.alu("shl", position, position, 2)
        code.alu("and", state.full, state.full, CARRIED)
        code.alu("or", state.full, state.full, position)
    code.place(done)


def _load_next(lo: Lowering, state: _State, slot: Reg, loaders: tuple[Loader, ...]) -> None:
    """Queue the next page to load, if there is one, and move on."""
    code, coming = lo.code, state.coming
    done, partial = code.label("loaded"), code.label("partial_page")
    with code.scope():
        code.emit("bge", ra=coming.segment, b=segments_end(lo), target=done)
    if load_old in loaders:  # where pages are many: there is always another behind a full one
        with code.scope():
            code.emit("bge", ra=state.block, b=code.calc("shr", state.full, 2), target=partial)
        with code.scope():
            head = code.calc("shr", coming.index, 2)
            code.alu("remu", head, head, lo.plan.config.kv_heads)
            load_full(lo, coming.segment, head, state.block, slot)
        code.alu("add", state.block, state.block, 1)
        code.emit("jmp", target=done)
        code.place(partial)
    with code.scope():
        item = place_item(lo, coming.segment, coming.index)
        for load in loaders:
            load(lo, item, state.block, slot, own_in_place(lo))
        code.alu("add", state.block, state.block, 1)
        _, end = pages_of(lo, item.position, item.count)
        code.emit("blt", ra=state.block, b=end, target=done)
    next_place(lo, coming)
    _first_block(lo, state)
    code.place(done)


def _first_pages(lo: Lowering, state: _State, loaders: tuple[Loader, ...]) -> None:
    """Load the first pages, as many as there are slots."""
    code = lo.code
    with code.stepping(0, lo.plan.tile.page_slots * page_bytes(lo), page_bytes(lo)) as (slot, _):
        _load_next(lo, state, slot, loaders)


def _in_place(lo: Lowering, quantised: bool) -> None:
    """Every item by one tile, which folds its pages as they come."""
    code = lo.code
    state = _start(lo)
    place = state.place
    top, out = code.label("item"), code.label("items_end")
    begun = code.label("first_queries")
    with code.scope():
        code.emit("bge", ra=place.segment, b=segments_end(lo), target=begun)
    with code.scope():
        load_queries(lo, place_item(lo, place.segment, place.index))
    code.place(begun)
    _begin_pages(lo, state)
    with code.scope():
        code.emit("bge", ra=place.segment, b=segments_end(lo), target=out)
    code.place(top)
    _load_next_queries(lo, place)
    with code.scope():
        item = place_item(lo, place.segment, place.index)
        _pages(lo, item, state)
        _move_on(lo, state)
        finish(lo, item, quantised)
    with code.scope():
        code.emit("blt", ra=place.segment, b=segments_end(lo), target=top)
    code.place(out)
    _write_cache(lo)


def _begin_pages(lo: Lowering, state: _State) -> None:
    """Load the first pages, or (if their old rows have been read early) what is new of them.

    In steps of several row groups values wait for the first queries, which all tiles bring now.
    """
    code, tokens, begun = lo.code, lo.tokens, lo.code.label("first_pages")
    if not early(lo):
        if lo.most_groups > 1:
            with code.unless("eq", lo.groups, 1):
                code.signal(IN, tokens.to_values)
        _first_pages(lo, state, (load_old,))
        return
    if lo.most_groups > 1:
        several = code.label("several_groups")
        code.emit("bne", ra=lo.groups, b=1, target=several)
    _first_pages(lo, state, (load_new,))
    if lo.most_groups > 1:
        code.emit("jmp", target=begun)
        code.place(several)
        code.signal(IN, tokens.to_values)
        code.wait(KEYS, tokens.k_over)
        code.wait(VALUES, tokens.v_over)
        _first_pages(lo, state, (load_ahead, load_new))
        code.place(begun)


def _move_on(lo: Lowering, state: _State) -> None:
    """To the next item, unless that is begun."""
    code, begun = lo.code, lo.code.label("moved_on")
    if takes_rows(lo.plan):
        with code.scope():
            code.emit("bne", ra=code.calc("and", state.full, CARRIED), b=0, target=begun)
    next_place(lo, state.place)
    code.place(begun)


def _load_next_queries(lo: Lowering, place: Place) -> None:
    """Queue on dma4 the queries of the item behind the one at hand, in front of most of its pages.

    Behind all of them they would come when the slots of pages are full, and HBM would be idle.
    """
    code, none = lo.code, lo.code.label("no_queries")
    with code.scope():
        after = Place(code.reg(place.segment), code.reg(place.index))
        next_place(lo, after)
        with code.scope():
            code.emit("bge", ra=after.segment, b=segments_end(lo), target=none)
        load_queries(lo, place_item(lo, after.segment, after.index))
    code.place(none)


def _write_cache(lo: Lowering) -> None:
    if early(lo):
        write_cache(lo)


def _pages(lo: Lowering, item: Item, state: _State) -> None:
    """All pages of an item: scores of one are computed before the values of the one before it."""
    code = lo.code
    with code.scope():
        block, end = code.reg(), code.reg()
        pages_of(lo, item.position, item.count, (block, end))
        several, done = code.label("several_rows"), code.label("pages_end")
        if takes_rows(lo.plan):
            code.emit("bne", ra=item.count, b=1, target=several)

            def load() -> None:
                _load_next(lo, state, state.used, (load_old, load_new))
                advance(lo, state.used)

            row = RowPages(lo, Row(item.position, item.turn), state.used, block)
            row.write(end, load, state.place, state.full)
            code.emit("jmp", target=done)
            code.place(several)
        code.wait(MXU, lo.tokens.q_full)
        code.wait(VPU, lo.tokens.bounds_full)
        _each_page(lo, item, state, block, end)
        code.place(done)


#: Score rows from which an item's softmax takes longer than the array drains (estimate).
MANY_ROWS = 64


def _each_page(lo: Lowering, item: Item, state: _State, block: Reg, end: Reg) -> None:
    """All pages from `block` to `end`, which it becomes."""
    code, used, own = lo.code, state.used, own_in_place(lo)
    top, last, read = code.label("page"), code.label("last_page"), code.label("page_read")
    with code.scope():
        found = multiply_keys(lo, item, block, used, own)
        read_scores(lo, found, own)
        softmax(lo, found, block)
    code.place(top)
    _load_next(lo, state, used, (load_old, load_new))
    code.alu("add", block, block, 1)
    code.emit("bge", ra=block, b=end, target=last)
    with code.scope():
        _two_products(lo, item, block, used)
    code.emit("jmp", target=read)
    code.place(last)
    code.alu("add", block, block, -1)
    with code.scope():
        read_values(lo, multiply_values(lo, item, block, used, own), own)
    code.place(read)
    fold(lo, item, block)
    advance(lo, used)
    code.alu("add", block, block, 1)
    code.emit("blt", ra=block, b=end, target=top)


def _two_products(lo: Lowering, item: Item, block: Reg, used: Reg) -> None:
    """Scores of a page, and the values of the one before it, which `block` becomes.

    What is read out waits until all products are out of the array. So of few rows both are queued
    first; of many the vector unit would have to wait for its next scores.
    """
    code, own, few = lo.code, own_in_place(lo), MANY_ROWS // group_of(lo)
    with code.scalars():
        slot = code.reg(used)
        advance(lo, slot)
        found = multiply_keys(lo, item, block, slot, own)
    with code.unless("lt", item.count, few):
        read_scores(lo, found, own)
    code.alu("add", block, block, -1)
    results = multiply_values(lo, item, block, used, own)
    code.alu("add", block, block, 1)
    with code.unless("ge", item.count, few):
        read_scores(lo, found, own)
    softmax(lo, found, block)
    code.alu("add", block, block, -1)
    read_values(lo, results, own)
