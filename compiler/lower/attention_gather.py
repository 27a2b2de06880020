"""The fold of pages that tiles attended to one by one: see `attention_split`.

Their results lie in the CSRAM of the cluster that folds the KV head: for each sequence, head by
head of the cluster, page by page, its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.buffers import partial_bytes
from compiler.emit import Desc, Reg, Scaled
from compiler.lower.attention_fold import send
from compiler.lower.attention_items import (
    COUNT,
    FIRST_ROW,
    POSITION,
    group_of,
    pages_of,
    segment_word,
)
from compiler.lower.context import Lowering
from compiler.lower.tokens import IN, OUT, VPU
from isa.descriptor import Descriptor, Space
from isa.formats import Format


def slot_bytes(lo: Lowering, count: Reg) -> Reg:
    """A new register: bytes of one page's results for a sequence's rows of one KV head."""
    return lo.code.calc("mul", count, group_of(lo) * partial_bytes(lo.plan.config))


def spread_bytes(lo: Lowering, pages: Reg, count: Reg) -> Reg:
    """A new register: bytes of a sequence's results in the CSRAM of one cluster."""
    code, plan = lo.code, lo.plan
    nbytes = slot_bytes(lo, count)
    code.alu("mul", nbytes, nbytes, pages)
    return code.alu("mul", nbytes, nbytes, -(-plan.config.kv_heads // plan.chip.clusters))


def partials(lo: Lowering, rows: int, columns: int) -> Descriptor:
    """[rows, columns] at the head of the buffer of pages' results."""
    base = lo.plan.buffers.raw["partials"].base
    return Descriptor(Space.CSRAM, Format.FP32, (rows, columns), (columns, 1), base)


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


def fold_all(lo: Lowering, quantised: bool) -> None:
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
                code.alu("add", offset, offset, spread_bytes(lo, pages, count))


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
            _load_results(lo, unit, held, count, lines)
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


def _load_results(lo: Lowering, unit: Unit, held: Reg, count: Reg, lines: int) -> None:
    """Queue on dma4: the results of the unit's next pages, behind the sum."""
    code, columns = lo.code, lo.plan.config.head_dim + 2
    page = lines * columns
    code.wait(IN, lo.tokens.in_free)
    with code.scope():
        base = partials(lo, 1, columns).base
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
