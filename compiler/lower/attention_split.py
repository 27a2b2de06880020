"""Attention with the pages of a sequence spread over tiles, for steps of few rows.

Each tile attends to single pages and sends their o, l and m to the CSRAM of the cluster that folds
the KV head. Behind a barrier a tile of that cluster takes a row of one query head (or of the head
group, where scale blocks span it), and folds its pages left to right, as the contract has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.buffers import partial_bytes, split_rows
from compiler.emit import Label, Reg, Scaled
from compiler.lower.attention_gather import fold_all, partials, slot_bytes, spread_bytes
from compiler.lower.attention_items import (
    COUNT,
    FIRST_ROW,
    POSITION,
    Item,
    chunk_rows,
    load_queries,
    pages_of,
    seen,
    segment_word,
)
from compiler.lower.attention_pages import advance, load_ahead, load_new, load_old, own_of_split
from compiler.lower.attention_products import (
    multiply_keys,
    multiply_values,
    partial,
    read_scores,
    read_values,
    softmax,
)
from compiler.lower.context import Lowering, Plan
from compiler.lower.kv import crosswise, early, write_cache
from compiler.lower.tokens import IN, KEYS, MXU, OUT, VALUES, VPU

WORTH = 2  # pages a sequence must have on average to be spread (estimate)


@dataclass(frozen=True)
class Spread:
    """A sequence's pages at run time: the first block, how many, and where their results begin.

    ``offset`` is in the buffer of every cluster, behind those of the sequences before.
    """

    begin: Reg
    pages: Reg
    offset: Reg


# -- whether -----------------------------------------------------------------------------------


def split_bytes(plan: Plan) -> int:
    """Room in CSRAM for the results of pages; 0 if no step's are ever spread."""
    room = plan.buffers.raw.get("partials")
    if "page-split" in plan.options.without or room is None or not plan.tile.fold_pages:
        return 0
    return room.row_bytes


def choose(lo: Lowering, split: Label) -> bool:
    """Branch to `split` if this step's pages are to be spread; False if no step's ever are."""
    code, plan = lo.code, lo.plan
    config, room = plan.config, split_bytes(plan)
    rows = min(split_rows(config, plan.chip), chunk_rows(lo))
    segments = (plan.chip.num_tiles - 1) // config.kv_heads
    if not room or not rows or not segments:
        return False
    whole = code.label("whole")
    with code.scope():
        code.emit("bge", ra=lo.rows, b=rows + 1, target=whole)
        code.emit("bge", ra=lo.groups, b=2, target=whole)
        code.emit("bge", ra=lo.segments, b=segments + 1, target=whole)
        pages, nbytes = code.reg(0), code.reg(0)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            count = segment_word(lo, segment, COUNT)
            begin, number = pages_of(lo, segment_word(lo, segment, POSITION), count)
            code.alu("sub", number, number, begin)
            code.alu("add", pages, pages, number)
            code.alu("add", nbytes, nbytes, spread_bytes(lo, number, count))
        code.emit("bge", ra=nbytes, b=room + 1, target=whole)
        least = code.calc("mul", lo.segments, plan.options.tiling.of("spread", WORTH))
        code.emit("bge", ra=pages, b=least, target=split)
    code.place(whole)
    return True


# -- pages -------------------------------------------------------------------------------------


def first_page(lo: Lowering) -> None:
    """Queue on dma6 and dma7 what is old of the tile's first page."""
    code = lo.code
    slot, turn, index = code.reg(0), code.reg(0), crosswise(lo)
    done = code.label("first_page")
    with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
        item, spread = _sequence(lo, segment, turn)
        works = code.calc("mul", spread.pages, lo.plan.config.kv_heads)
        with code.unless("ge", index, works):
            load_ahead(lo, item, _work(lo, item, spread, index), slot, own_of_split(lo))
            code.emit("jmp", target=done)
        code.alu("sub", index, index, works)
    code.place(done)


def split_pages(lo: Lowering, quantised: bool) -> None:
    """Attend to single pages; then fold them."""
    code = lo.code
    with code.scope():
        turn, slot, index = code.reg(0), code.reg(0), crosswise(lo)
        offset = code.reg(0)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            item, spread = _sequence(lo, segment, turn, offset)
            works = code.calc("mul", spread.pages, lo.plan.config.kv_heads)
            top, out = code.label("work"), code.label("works_end")
            code.emit("bge", ra=index, b=works, target=out)
            _load_first(lo, item, spread, index, slot)
            code.place(top)
            _load_next(lo, item, spread, (index, works), slot)
            with code.scope():
                _attend_to(lo, item, spread, _work(lo, item, spread, index), slot)
            code.alu("add", index, index, lo.plan.chip.num_tiles)
            code.emit("blt", ra=index, b=works, target=top)
            code.place(out)
            code.alu("sub", index, index, works)
            code.alu("add", offset, offset, spread_bytes(lo, spread.pages, item.count))
    lo.halfway()
    _write_cache(lo)
    fold_all(lo, quantised)


def _write_cache(lo: Lowering) -> None:
    """Queue this step's rows to the cache: behind the barrier, when all tiles have read its pages.

    They have read the places of these rows too, since they bring whole blocks of keys.
    """
    if not early(lo):
        return
    code, tokens = lo.code, lo.tokens
    for unit, sem in ((KEYS, tokens.to_keys), (VALUES, tokens.to_values)):
        code.signal(IN, sem)
        code.wait(unit, sem)
    write_cache(lo)


def _sequence(
    lo: Lowering, segment: Reg, turn: Reg, offset: Reg | None = None
) -> tuple[Item, Spread]:
    """New registers: a sequence's rows as an item without a head, and its pages."""
    code = lo.code
    row, count = segment_word(lo, segment, FIRST_ROW), segment_word(lo, segment, COUNT)
    position = segment_word(lo, segment, POSITION)
    begin, pages = pages_of(lo, position, count)
    code.alu("sub", pages, pages, begin)
    item = Item(segment, row, count, position, code.reg(), turn)
    return item, Spread(begin, pages, offset or turn)


def _work(lo: Lowering, item: Item, spread: Spread, index: Reg) -> Reg:
    """A new register: the block of a piece of work, page * heads + head; sets the item's head.

    Numbers go crosswise, so that a head's are near its resident pages, and where it is folded.
    """
    code, heads = lo.code, lo.plan.config.kv_heads
    code.alu("remu", item.head, index, heads)
    block = code.calc("divu", index, heads)
    return code.alu("add", block, block, spread.begin)


def _load_first(lo: Lowering, item: Item, spread: Spread, index: Reg, slot: Reg) -> None:
    """Load the first page of a sequence; that of the step is on its way since `first_page`."""
    code, loaded = lo.code, lo.code.label("loaded")
    if early(lo):
        code.emit("beq", ra=item.turn, b=0, target=loaded)
    with code.scope():
        load_old(lo, item, _work(lo, item, spread, index), slot, own_of_split(lo))
    code.place(loaded)


def _load_next(lo: Lowering, item: Item, spread: Spread, works: tuple[Reg, Reg], slot: Reg) -> None:
    """Load the page behind the one at hand, if there is one: before what is done with that.

    `works`: the number at hand, and how many there are. Queued behind the work on a page, its
    successor would be asked for only when the queues of the units have room for that work.
    """
    code, none = lo.code, lo.code.label("no_next")
    index, end = works
    with code.scope():
        following, place = code.calc("add", index, lo.plan.chip.num_tiles), code.reg(slot)
        code.emit("bge", ra=following, b=end, target=none)
        advance(lo, place)
        load_old(lo, item, _work(lo, item, spread, following), place, own_of_split(lo))
    code.place(none)


def _attend_to(lo: Lowering, item: Item, spread: Spread, block: Reg, slot: Reg) -> None:
    """One page of one head: its m, l, o on their way to the cluster that folds the head."""
    code, tokens, own = lo.code, lo.tokens, own_of_split(lo)
    load_queries(lo, item)
    load_new(lo, item, block, slot, own)
    code.wait(MXU, tokens.q_full)
    code.wait(VPU, tokens.bounds_full)
    code.wait(VPU, tokens.partial_free)
    with code.scope():
        found = multiply_keys(lo, item, block, slot, own)
        read_scores(lo, found, own)
        softmax(lo, found, block)
    with code.scope():
        read_values(lo, multiply_values(lo, item, block, slot, own), own)
    code.signal(VPU, tokens.partial_full)
    code.signal(VPU, tokens.q_free)
    code.wait(OUT, tokens.partial_full)
    _send_partial(lo, item, spread, block)
    code.signal(OUT, tokens.partial_free)
    advance(lo, slot)
    code.alu("add", item.turn, item.turn, 1)


def _send_partial(lo: Lowering, item: Item, spread: Spread, block: Reg) -> None:
    """Queue on dma5: the rows that see the page, to their place in one cluster's CSRAM."""
    code, plan = lo.code, lo.plan
    columns = plan.config.head_dim + 2
    with code.scope():
        part = seen(lo, item, block)
        place = code.calc("divu", item.head, plan.chip.clusters)
        code.alu("mul", place, place, spread.pages)
        code.alu("add", place, place, block)
        code.alu("sub", place, place, spread.begin)
        with code.scope():
            code.alu("mul", place, place, slot_bytes(lo, item.count))
        code.alu("add", place, place, spread.offset)
        rows = Scaled(part.offset, partial_bytes(plan.config))
        view = partials(lo, 1, columns)
        dst = code.tensor(view, ("base", place), ("base", rows), dim0=part.count)
        with code.scope():
            cluster = code.calc("remu", item.head, plan.chip.clusters)
            code.emit("dset", dst=dst, field="owner", b=cluster)
        src = partial(lo, part, block, 0, columns)
        code.emit("dma", channel=OUT, dst=dst, src=src)
