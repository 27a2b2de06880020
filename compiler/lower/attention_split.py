"""Attention with the pages of a sequence spread over tiles, for steps of few rows.

Each tile attends to single pages and sends their o, l and m to the CSRAM of the cluster that folds
the KV head. Behind a barrier a tile of that cluster takes a row of one query head (or of the head
group, where scale blocks span it), and folds its pages left to right, as the contract has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.buffers import partial_bytes, split_rows
from compiler.emit import Desc, Label, Reg, Scaled
from compiler.lower.attention_fold import send
from compiler.lower.attention_items import (
    COUNT,
    FIRST_ROW,
    POSITION,
    Item,
    chunk_rows,
    group_of,
    load_queries,
    pages_of,
    seen,
    segment_word,
)
from compiler.lower.attention_pages import advance, load_new, load_old, partial, scores, values
from compiler.lower.context import IN, MXU, OUT, VPU, Lowering
from compiler.lower.kv import early
from isa.descriptor import Descriptor, Space
from isa.formats import Format

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


def choose(lo: Lowering, split: Label) -> bool:
    """Branch to `split` if this step's pages are to be spread; False if no step's ever are."""
    code, plan = lo.code, lo.plan
    config, capacity = plan.config, plan.buffers.raw.get("partials")
    rows = min(split_rows(config, plan.chip), chunk_rows(lo))
    segments = (plan.chip.num_tiles - 1) // config.kv_heads
    if "page-split" in plan.options.without or capacity is None or not plan.tile.fold_pages:
        return False
    if not rows or not segments:
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
            code.alu("add", nbytes, nbytes, _spread_bytes(lo, number, count))
        code.emit("bge", ra=nbytes, b=capacity.row_bytes + 1, target=whole)
        least = code.calc("mul", lo.segments, WORTH)
        code.emit("bge", ra=pages, b=least, target=split)
    code.place(whole)
    return True


def _slot_bytes(lo: Lowering, count: Reg) -> Reg:
    """A new register: bytes of one page's results for a sequence's rows of one KV head."""
    return lo.code.calc("mul", count, group_of(lo) * partial_bytes(lo.plan.config))


def _spread_bytes(lo: Lowering, pages: Reg, count: Reg) -> Reg:
    """A new register: bytes of a sequence's results in the CSRAM of one cluster."""
    code, plan = lo.code, lo.plan
    nbytes = _slot_bytes(lo, count)
    code.alu("mul", nbytes, nbytes, pages)
    return code.alu("mul", nbytes, nbytes, -(-plan.config.kv_heads // plan.chip.clusters))


# -- pages -------------------------------------------------------------------------------------


def first_page(lo: Lowering) -> None:
    """Queue on dma6 and dma7 what is old of the tile's first page."""
    code = lo.code
    slot, turn, index = code.reg(0), code.reg(0), code.reg(lo.tile)
    done = code.label("first_page")
    with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
        item, spread = _sequence(lo, segment, turn)
        works = code.calc("mul", spread.pages, lo.plan.config.kv_heads)
        with code.unless("ge", index, works):
            load_old(lo, item, _work(lo, item, spread, index), slot)
            code.emit("jmp", target=done)
        code.alu("sub", index, index, works)
    code.place(done)


def split_pages(lo: Lowering, quantised: bool) -> None:
    """Attend to single pages; then fold them."""
    code = lo.code
    with code.scope():
        turn, slot, index = code.reg(0), code.reg(0), code.reg(lo.tile)
        offset = code.reg(0)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            item, spread = _sequence(lo, segment, turn, offset)
            works = code.calc("mul", spread.pages, lo.plan.config.kv_heads)
            top, out = code.label("work"), code.label("works_end")
            code.place(top)
            code.emit("bge", ra=index, b=works, target=out)
            with code.scope():
                _attend_to(lo, item, spread, _work(lo, item, spread, index), slot)
            code.alu("add", index, index, lo.plan.chip.num_tiles)
            code.emit("jmp", target=top)
            code.place(out)
            code.alu("sub", index, index, works)
            code.alu("add", offset, offset, _spread_bytes(lo, spread.pages, item.count))
    lo.halfway()
    _fold_all(lo, quantised)


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
    """A new register: the block of a piece of work, head * pages + page; sets the item's head."""
    code = lo.code
    code.alu("divu", item.head, index, spread.pages)
    block = code.calc("remu", index, spread.pages)
    return code.alu("add", block, block, spread.begin)


def _attend_to(lo: Lowering, item: Item, spread: Spread, block: Reg, slot: Reg) -> None:
    """One page of one head: its m, l, o on their way to the cluster that folds the head."""
    code, tokens = lo.code, lo.tokens
    if early(lo):  # the first page's old rows have been on their way since `first_page`
        with code.unless("eq", item.turn, 0):
            load_old(lo, item, block, slot)
    else:
        load_old(lo, item, block, slot)
    load_queries(lo, item)
    load_new(lo, item, block, slot)
    code.wait(MXU, tokens.q_full)
    code.wait(VPU, tokens.bounds_full)
    code.wait(VPU, tokens.part_free)
    scores(lo, item, block, slot)
    values(lo, item, block, slot)
    code.signal(MXU, tokens.o_full)
    code.wait(VPU, tokens.o_full)
    code.signal(VPU, tokens.part_full)
    code.signal(VPU, tokens.q_free)
    code.wait(OUT, tokens.part_full)
    _send_partial(lo, item, spread, block)
    code.signal(OUT, tokens.part_free)
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
            code.alu("mul", place, place, _slot_bytes(lo, item.count))
        code.alu("add", place, place, spread.offset)
        rows = Scaled(part.offset, partial_bytes(plan.config))
        view = _partials(lo, 1, columns)
        dst = code.tensor(view, ("base", place), ("base", rows), dim0=part.count)
        with code.scope():
            cluster = code.calc("remu", item.head, plan.chip.clusters)
            code.emit("dset", dst=dst, field="owner", b=cluster)
        src = partial(lo, part, block, 0, columns)
        code.emit("dma", channel=OUT, dst=dst, src=src)


def _partials(lo: Lowering, rows: int, columns: int) -> Descriptor:
    """[rows, columns] at the head of the buffer of pages' results."""
    base = lo.plan.buffers.raw["partials"].base
    return Descriptor(Space.CSRAM, Format.FP32, (rows, columns), (columns, 1), base)


# -- fold --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """A row of one query head, or of a head group, to fold at run time.

    ``row`` is the step's, ``number`` counts its runs of columns of o, ``at`` is the offset of its
    first page's result, ``between`` from one to the next (bytes), ``pages`` how many.
    """

    row: Reg
    number: Reg
    at: Reg
    between: Reg
    pages: Reg


def _lines(lo: Lowering, quantised: bool) -> int:
    """Query heads that are folded together: those that share scale blocks."""
    p = lo.plan.activations
    alone = not quantised or not p.block or lo.plan.config.head_dim % p.block == 0
    return 1 if alone else group_of(lo)


def _fold_all(lo: Lowering, quantised: bool) -> None:
    """Every row of the heads of this cluster, in turn over its tiles."""
    code, plan = lo.code, lo.plan
    lines = _lines(lo, quantised)
    clusters, tiles = plan.chip.clusters, plan.chip.tiles_per_cluster
    with code.scope():
        index, offset = code.calc("remu", lo.tile, tiles), code.reg(0)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            runs = segment_word(lo, segment, COUNT)  # of columns, in all rows of a KV head
            code.alu("mul", runs, runs, group_of(lo) // lines)
            units = code.rdsr("CLUSTER_ID")
            code.alu("sub", units, units, plan.config.kv_heads + clusters - 1)
            code.alu("mul", units, units, -1)
            code.alu("divu", units, units, clusters)
            code.alu("mul", units, units, runs)
            top, out = code.label("unit"), code.label("units_end")
            code.place(top)
            code.emit("bge", ra=index, b=units, target=out)
            with code.scope():
                unit = _place_unit(lo, segment, offset, index, runs, lines)
                _fold_unit(lo, unit, lines, quantised)
            code.alu("add", index, index, tiles)
            code.emit("jmp", target=top)
            code.place(out)
            code.alu("sub", index, index, units)
            with code.scope():
                count = segment_word(lo, segment, COUNT)
                begin, pages = pages_of(lo, segment_word(lo, segment, POSITION), count)
                code.alu("sub", pages, pages, begin)
                code.alu("add", offset, offset, _spread_bytes(lo, pages, count))


def _place_unit(lo: Lowering, segment: Reg, offset: Reg, index: Reg, runs: Reg, lines: int) -> Unit:
    """New registers: unit = (head of the cluster * rows + row) * runs of a row + run."""
    code, plan = lo.code, lo.plan
    per_row = group_of(lo) // lines
    row, number, at, between, pages = (code.reg() for _ in range(5))
    with code.scope():
        head = code.calc("divu", index, runs)  # among the cluster's
        run = code.calc("remu", index, runs)
        code.alu("divu", row, run, per_row)
        code.alu("remu", number, run, per_row)
        with code.scope():
            count = segment_word(lo, segment, COUNT)
            code.alu("mul", between, count, group_of(lo) * partial_bytes(plan.config))
            position = segment_word(lo, segment, POSITION)
            first, whole = pages_of(lo, position, count)
            code.alu("sub", whole, whole, first)
            code.alu("mul", at, head, whole)
            code.alu("sub", at, at, first)
            code.alu("add", position, position, row)
            code.set(count, 1)
            begin, end = pages_of(lo, position, count)
            code.alu("sub", pages, end, begin)
            code.alu("add", at, at, begin)
        code.alu("mul", at, at, between)
        code.alu("add", at, at, offset)
        code.alu("mul", run, run, lines * partial_bytes(plan.config))
        code.alu("add", at, at, run)
        code.alu("mul", head, head, plan.chip.clusters)
        with code.scope():
            code.alu("add", head, head, code.rdsr("CLUSTER_ID"))
        code.alu("mul", head, head, per_row)
        code.alu("add", number, number, head)
    with code.scope():
        code.alu("add", row, row, segment_word(lo, segment, FIRST_ROW))
    return Unit(row, number, at, between, pages)


def _fold_unit(lo: Lowering, unit: Unit, lines: int, quantised: bool) -> None:
    """Fold a unit's pages, as many at once as there is room for; the sum is the first of them."""
    code, tokens, room = lo.code, lo.tokens, lo.plan.tile.fold_pages
    with code.scope():
        held = code.reg(0)  # 1 once there is a sum
        top = code.label("pages")
        code.place(top)
        with code.scope():
            count = code.reg(room)
            code.alu("sub", count, count, held)
            code.alu("min", count, count, unit.pages)
            _load_partials(lo, unit, held, count, lines)
            code.alu("sub", unit.pages, unit.pages, count)
            code.alu("add", count, count, held)
            code.wait(VPU, tokens.in_full)
            _fold_pages(lo, count, lines)
        code.set(held, 1)
        with code.unless("eq", unit.pages, 0):
            code.signal(VPU, tokens.in_free)
            code.emit("jmp", target=top)
    code.wait(VPU, tokens.out_free)
    _divide(lo, lines, quantised)
    code.signal(VPU, tokens.in_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    width = lines * lo.plan.config.head_dim
    send(lo, ("fold_out", "fold_scale"), unit.row, 1, unit.number, width)
    code.signal(OUT, tokens.out_free)


def _load_partials(lo: Lowering, unit: Unit, held: Reg, count: Reg, lines: int) -> None:
    """Queue on dma4: the results of the unit's next pages, behind the sum."""
    code, columns = lo.code, lo.plan.config.head_dim + 2
    page = lines * columns
    code.wait(IN, lo.tokens.in_free)
    with code.scope():
        base = _partials(lo, 1, columns).base
        source = Descriptor(Space.CSRAM, Format.FP32, (1, page), (page, 1), base)
        src = code.tensor(source, ("base", unit.at), dim0=count)
        with code.scope():
            stride = code.calc("divu", unit.between, 4)
            code.emit("dset", dst=src, field="stride0", b=stride)
        place = lo.tsram("fold", Format.FP32, (1, page))
        dst = code.tensor(place, ("base", Scaled(held, 4 * page)), dim0=count)
        code.emit("dma", channel=IN, dst=dst, src=src)
        code.alu("add", unit.at, unit.at, code.calc("mul", count, unit.between))
    code.signal(IN, lo.tokens.in_full)


def _fold_pages(lo: Lowering, count: Reg, lines: int) -> None:
    """The first of `count` results takes in the others: all maxima, all factors, then the sums."""
    code, dim, room = lo.code, lo.plan.config.head_dim, lo.plan.tile.fold_pages
    page = lines * (dim + 2)
    more = code.calc("add", count, -1)
    done = code.label("folded")
    code.emit("beq", ra=more, b=0, target=done)
    with code.scope():
        m = lo.tsram("fold", Format.FP32, (1, lines), (page, dim + 2))
        peaks = lo.tsram("fold_peak", Format.FP32, (1, lines))
        first, last = code.tensor(m, ("base", 4 * (dim + 1))), code.tensor(peaks)
        code.emit("vcopy", dst=last, a=first)
        _running_maxima(lo, more, lines)
        both = lo.tsram("fold_rescale", Format.FP32, (2, 1, lines), (room * lines, lines, 1))
        factors = lo.tsram("fold_rescale", Format.FP32, (1, lines))
        later = code.tensor(peaks, ("base", 4 * lines), dim0=more)
        before = code.tensor(peaks, dim0=more)
        c, c_b = (code.tensor(factors, ("base", at), dim0=more) for at in (0, 4 * room * lines))
        own = code.tensor(m, ("base", 4 * (page + dim + 1)), dim0=more)
        code.emit("vsub", dst=c, a=before, b=later)
        code.emit("vsub", dst=c_b, a=own, b=later)
        exponents = code.tensor(both, dim1=more)
        code.emit("vexp2", dst=exponents, a=exponents)
    _running_sums(lo, more, lines)
    with code.scope():
        m = lo.tsram("fold", Format.FP32, (1, lines), (page, dim + 2))
        peaks = lo.tsram("fold_peak", Format.FP32, (1, lines))
        latest = code.tensor(peaks, ("base", Scaled(more, 4 * lines)))
        code.emit("vcopy", dst=code.tensor(m, ("base", 4 * (dim + 1))), a=latest)
    code.place(done)


def _running_maxima(lo: Lowering, more: Reg, lines: int) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    page = lines * (dim + 2)
    with code.scope():
        m = lo.tsram("fold", Format.FP32, (1, lines), (page, dim + 2))
        peaks = lo.tsram("fold_peak", Format.FP32, (1, lines))
        old, new = code.tensor(peaks), code.tensor(peaks, ("base", 4 * lines))
        own = code.tensor(m, ("base", 4 * (page + dim + 1)))
        with code.loop(more):
            code.emit("vmax", dst=new, a=old, b=own)
            for tensor, step in ((old, 4 * lines), (new, 4 * lines), (own, 4 * page)):
                code.emit("dadd", dst=tensor, field="base", b=step)


def _running_sums(lo: Lowering, more: Reg, lines: int) -> None:
    code, dim, room = lo.code, lo.plan.config.head_dim, lo.plan.tile.fold_pages
    page = lines * (dim + 2)
    with code.scope():
        sums = lo.tsram("fold", Format.FP32, (lines, dim + 1), (dim + 2, 1))
        total, own = code.tensor(sums), code.tensor(sums, ("base", 4 * page))
        spread = lo.tsram("fold_rescale", Format.FP32, (lines, dim + 1), (1, 0))
        c, c_b = (code.tensor(spread, ("base", at)) for at in (0, 4 * room * lines))
        with code.loop(more):
            code.emit("vmuladd2", dst=total, a=total, b=c, c=own, e=c_b)
            for tensor, step in ((own, 4 * page), (c, 4 * lines), (c_b, 4 * lines)):
                code.emit("dadd", dst=tensor, field="base", b=step)


def _divide(lo: Lowering, lines: int, quantised: bool) -> None:
    """o / l of the sum, quantised if it may be."""
    code, dim = lo.code, lo.plan.config.head_dim
    with code.scope():
        total = code.tensor(lo.tsram("fold", Format.FP32, (lines, dim), (dim + 2, 1)))
        sums: Desc = code.tensor(
            lo.tsram("fold", Format.FP32, (lines, dim), (dim + 2, 0)), ("base", 4 * dim)
        )
        place = "fold_dense" if quantised else "fold_out"
        code.emit(
            "vdiv", dst=code.tensor(lo.tsram(place, Format.FP32, (lines, dim))), a=total, b=sums
        )
        if quantised:
            src = code.tensor(lo.tsram("fold_dense", Format.FP32, (1, lines * dim)))
            out = code.tensor(lo.quantised("fold_out", "fold_scale", 1, lines * dim))
            lo.quantise(out, src, None)
