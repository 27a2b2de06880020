"""Resident pages (`compiler.copies`): where they are, and this step's rows on their way there."""

from __future__ import annotations

from compiler.copies import Resident
from compiler.emit import Desc, Reg, Scaled
from compiler.hbm import PAGE
from compiler.lower.context import Lowering
from compiler.lower.kv import (
    CLUSTER,
    FAR,
    PARTS,
    copy_view,
    each_head,
    early,
    layer_head,
    new_row_bytes,
    new_view,
    page_bytes,
    row_bytes,
)
from compiler.lower.tokens import KEYS, OUT, VALUES
from isa.formats import Format

_CLUSTER_BITS = CLUSTER.bit_length() - 1


def resident_address(lo: Lowering, near: Resident, head: Reg, page: Reg) -> None:
    """`page`, a number, becomes the address of a head's page of this layer."""
    code, clusters = lo.code, lo.plan.chip.clusters
    code.alu("mul", page, page, len(PARTS) * page_bytes(lo))
    with code.scope():
        # Of run n, with few registers: with q = n / C it is (n - q C) clusters and q runs on.
        run = layer_head(lo, head)
        code.alu("shl", run, run, _CLUSTER_BITS)
        code.alu("add", page, page, run)
        code.alu("shr", run, run, _CLUSTER_BITS)
        code.alu("divu", run, run, clusters)
        code.alu("mul", run, run, near.run_bytes - clusters * CLUSTER)
        code.alu("add", page, page, run)
    code.alu("add", page, page, near.base - FAR)


def to_copy(lo: Lowering, view: Desc, page: Reg) -> None:
    """Move a `copy_view` to a page in CSRAM."""
    code = lo.code
    with code.scope():
        place = code.calc("and", page, CLUSTER - 1)
        code.emit("dadd", dst=view, field="base", b=place)
        code.alu("shr", place, page, _CLUSTER_BITS)
        first = (1 << 64 - _CLUSTER_BITS) - FAR // CLUSTER  # cluster 0's, of what is shifted
        code.emit("dset", dst=view, field="owner", b=place + (-first))


# -- writing -----------------------------------------------------------------------------------


def cache_is_written(lo: Lowering) -> None:
    """Queue on dma6, dma7 and dma5, behind o's product: resident rows; then all are in their place.

    At the end of attention, where rows are on their way to HBM, everything would wait for the
    control processor to look at each. dma5 waits in front of a barrier: the next layer's keys may
    take these ones' place, in CSRAM and some phases later.
    """
    if not early(lo):
        return
    code, tokens = lo.code, lo.tokens
    if lo.plan.buffers.resident is not None:
        each_head(lo, _keep)
    for unit, cached in ((KEYS, tokens.k_cached), (VALUES, tokens.v_cached)):
        code.signal(unit, cached)
        code.wait(OUT, cached)


def _keep(lo: Lowering, head: Reg, first: Reg, count: Reg) -> None:
    """Row by row of a head, or as many together as are of one page."""
    code, near = lo.code, lo.plan.buffers.resident
    assert near is not None
    top, keep, far, out = (code.label(name) for name in ("row", "keep", "not_kept", "kept"))
    with code.scope():
        table = code.tensor(lo.tsram("kv_rows", Format.I32, (lo.plan.capacity.rows,)))
        place, rows = code.reg(), code.reg()
        code.alu("add", count, count, first)
        code.place(top)
        code.emit("ld", rd=place, src=table, index=first)
        code.emit("blt", ra=place, b=near.pages * PAGE, target=keep)
        if lo.most_groups > 1:  # of few rows it takes longer to see which are of one page
            code.emit("bne", ra=lo.groups, b=1, target=far)
        code.alu("add", first, first, 1)
        code.emit("blt", ra=first, b=count, target=top)
        code.emit("jmp", target=out)
        code.place(keep)
        _together(lo, table, (first, count), place, rows)
        _keep_rows(lo, near, (head, first), place, rows)
        code.alu("add", first, first, rows)
        code.emit("blt", ra=first, b=count, target=top)
        if lo.most_groups > 1:
            code.emit("jmp", target=out)
            code.place(far)
            _together(lo, table, (first, count), place, rows)
            code.alu("add", first, first, rows)
            code.emit("blt", ra=first, b=count, target=top)
        code.place(out)


def _together(lo: Lowering, table: Desc, left: tuple[Reg, Reg], place: Reg, rows: Reg) -> None:
    """`rows` becomes how many of the rows from one to an end are of the first's page.

    `place` is the first's in the cache.
    All that may be, if the last of them is as many places behind the first in the cache as in the
    step, since a sequence's rows follow each other; else one.
    """
    code, (first, end) = lo.code, left
    code.alu("and", rows, place, PAGE - 1)
    code.alu("sub", rows, rows, PAGE)
    code.alu("mul", rows, rows, -1)
    with code.scope():
        code.alu("min", rows, rows, code.calc("sub", end, first))
    with code.scope():
        last, done = code.calc("add", first, rows), code.label("together")
        code.emit("ld", rd=last, src=table, index=last + (-1))
        code.alu("sub", last, last, place)
        code.alu("add", last, last, 1)
        code.emit("beq", ra=last, b=rows, target=done)
        code.set(rows, 1)
        code.place(done)


def _keep_rows(
    lo: Lowering, near: Resident, source: tuple[Reg, Reg], place: Reg, rows: Reg
) -> None:
    """Queue rows of one page, from a head and row of the copies on; `place` is used up."""
    code, (head, first) = lo.code, source
    column, row = Scaled(head, row_bytes(lo)), Scaled(first, new_row_bytes(lo))
    with code.scope():
        slot = code.calc("and", place, PAGE - 1)
        code.alu("mul", slot, slot, row_bytes(lo))
        code.alu("divu", place, place, PAGE)
        resident_address(lo, near, head, place)
        code.alu("add", place, place, slot)
    for unit, part in ((KEYS, "k"), (VALUES, "v")):
        with code.scope():
            copies = new_view(lo, part, lo.plan.config.head_dim)
            src = code.tensor(copies, ("base", column), ("base", row), dim0=rows)
            dst = code.tensor(copy_view(lo, part, 1), dim0=rows)
            to_copy(lo, dst, place)
            code.emit("dma", channel=unit, dst=dst, src=src)
