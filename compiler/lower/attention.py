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
    COUNT,
    Item,
    chunk_rows,
    load_queries,
    pages_of,
    place_item,
    segment_word,
)
from compiler.lower.attention_pages import advance, load_new, load_old, scores, values
from compiler.lower.attention_split import choose, first_page, split_pages
from compiler.lower.context import IN, KEYS, MXU, VALUES, VPU, Lowering
from compiler.lower.kv import early, page_bytes


@dataclass(frozen=True)
class _State:
    """Registers of the whole phase: the next item, and the slots of pages.

    ``index`` is the item's number in ``segment``, ``turn`` counts items; ``filled`` is the offset
    of the slot to load next, ``used`` of the slot to multiply next.
    """

    segment: Reg
    index: Reg
    turn: Reg
    filled: Reg
    used: Reg


def attend(lo: Lowering, name: str, quantised: bool) -> None:
    """o = attention(q, k_cache, v_cache), quantised if scales stay within a head group."""
    code, tokens = lo.code, lo.tokens
    with lo.phase(name):
        if not early(lo):
            for unit, sem in ((KEYS, tokens.to_keys), (VALUES, tokens.to_values)):
                code.signal(IN, sem)
                code.wait(unit, sem)
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


def read_ahead(lo: Lowering, name: str) -> None:
    """Before this step's keys are known: the pages that this tile needs first, as slots allow."""
    if not early(lo):
        return
    code = lo.code
    with code.op(name):
        split, end = code.label("split"), code.label("ahead")
        splits = choose(lo, split)
        with code.scope():
            state = _start(lo)
            with code.unless("ge", state.segment, lo.segments), code.scope():
                item = place_item(lo, state.segment, state.index, state.turn)
                _first_pages(lo, item, state.filled, (load_old,))
        if splits:
            code.emit("jmp", target=end)
            code.place(split)
            with code.scope():
                first_page(lo)
            code.place(end)


Loader = Callable[[Lowering, Item, Reg, Reg], None]


def _start(lo: Lowering) -> _State:
    """The tile's first item."""
    code = lo.code
    state = _State(code.reg(0), code.reg(lo.tile), code.reg(0), code.reg(0), code.reg(0))
    _seek(lo, state)
    return state


def _seek(lo: Lowering, state: _State) -> None:
    """Move on to the segment that has the item; beyond the last if none has."""
    code, config = lo.code, lo.plan.config
    top, out = code.label("seek"), code.label("found")
    code.place(top)
    code.emit("bge", ra=state.segment, b=lo.segments, target=out)
    with code.scope():
        items = segment_word(lo, state.segment, COUNT)
        code.alu("add", items, items, chunk_rows(lo) - 1)
        code.alu("divu", items, items, chunk_rows(lo))
        code.alu("mul", items, items, config.kv_heads)
        code.emit("blt", ra=state.index, b=items, target=out)
        code.alu("sub", state.index, state.index, items)
    code.alu("add", state.segment, state.segment, 1)
    code.emit("jmp", target=top)
    code.place(out)


def _first_pages(lo: Lowering, item: Item, slot: Reg, loaders: tuple[Loader, ...]) -> None:
    """Load an item's first pages, as many as there are slots."""
    code = lo.code
    with code.scope():
        block, end = pages_of(lo, item.position, item.count)
        with code.scope():
            code.alu("min", end, end, code.calc("add", block, lo.plan.tile.page_slots))
        top = code.label("first")
        code.place(top)
        for load in loaders:
            load(lo, item, block, slot)
        advance(lo, slot)
        code.alu("add", block, block, 1)
        code.emit("blt", ra=block, b=end, target=top)


def _in_place(lo: Lowering, quantised: bool) -> None:
    """Every item by one tile, which folds its pages as they come."""
    code = lo.code
    state = _start(lo)
    top, out = code.label("item"), code.label("items_end")
    code.emit("bge", ra=state.segment, b=lo.segments, target=out)
    _prepare(lo, state, (load_new,) if early(lo) else (load_old,))
    code.place(top)
    with code.scope():
        item = place_item(lo, state.segment, state.index, state.turn)
        code.wait(MXU, lo.tokens.q_full)
        code.wait(VPU, lo.tokens.bounds_full)
        last = _pages(lo, item, state)
        code.alu("add", state.index, state.index, lo.plan.chip.num_tiles)
        code.alu("add", state.turn, state.turn, 1)
        _seek(lo, state)
        with code.unless("ge", state.segment, lo.segments):
            _prepare(lo, state, (load_old, load_new))
        finish(lo, item, last, quantised)
    code.emit("blt", ra=state.segment, b=lo.segments, target=top)
    code.place(out)


def _prepare(lo: Lowering, state: _State, loaders: tuple[Loader, ...]) -> None:
    """Queue what the next item needs first: its queries and its first pages."""
    with lo.code.scope():
        item = place_item(lo, state.segment, state.index, state.turn)
        load_queries(lo, item)
        _first_pages(lo, item, state.filled, loaders)


def _pages(lo: Lowering, item: Item, state: _State) -> Reg:
    """All pages of an item: scores of one are computed before the values of the one before it.

    A new register: the last block.
    """
    code, used = lo.code, state.used
    end = code.reg()
    with code.scope():
        begin, last = pages_of(lo, item.position, item.count)
        code.set(end, last)
        block = code.reg(begin)
        top, skip = code.label("page"), code.label("no_page")
        code.place(top)
        with code.unless("ge", block, end):
            scores(lo, item, block, used)
            advance(lo, used)
        code.emit("beq", ra=block, b=begin, target=skip)
        code.alu("sub", block, block, 1)
        with code.scope():
            _values(lo, item, block, end, used)
        with code.scope():
            coming = code.calc("add", block, lo.plan.tile.page_slots)
            with code.unless("ge", coming, end):
                load_old(lo, item, coming, state.filled)
                load_new(lo, item, coming, state.filled)
                advance(lo, state.filled)
        code.alu("add", block, block, 1)
        code.place(skip)
        code.alu("add", block, block, 1)
        code.emit("bge", ra=end, b=block, target=top)
    return code.alu("sub", end, end, 1)


def _values(lo: Lowering, item: Item, block: Reg, end: Reg, used: Reg) -> None:
    """The values and the fold of a page whose slot is one or (before the end) two behind `used`."""
    code, size = lo.code, page_bytes(lo)
    with code.scope():
        slot = code.calc("sub", end, block)
        code.alu("min", slot, slot, 2)  # 1 for the last block, else 2
        code.alu("mul", slot, slot, -size)
        code.alu("add", slot, slot, used)
        with code.unless("ge", slot, 0):
            code.alu("add", slot, slot, lo.plan.tile.page_slots * size)
        values(lo, item, block, slot)
    code.signal(MXU, lo.tokens.o_full)
    code.wait(VPU, lo.tokens.o_full)
    fold(lo, item, block)
