"""Pages of earlier steps in CSRAM: brought to every cluster once, where many items read them.

In a step of several row groups the rows of a long prompt are many items for each KV head, and each
of them would read the same pages from HBM. So these are copied while QKV's product runs. A segment
has an equal share of the room, and fills it with the last pages that were full before the step,
the latest first.
"""

from __future__ import annotations

from compiler.copies import Staged
from compiler.emit import Label, Reg
from compiler.hbm import PAGE
from compiler.lower.attention_items import COUNT, POSITION, chunk_rows, segment_word
from compiler.lower.context import Lowering
from compiler.lower.kv import (
    FAR,
    OWN,
    PARTS,
    cache_page,
    cache_view,
    copy_view,
    page_bytes,
    page_number,
)
from compiler.lower.tokens import IN, KEYS, OUT


def stage_pages(lo: Lowering) -> None:
    """Queue on dma6, behind the barrier that dma4 has passed: this tile's share of the copies."""
    code, tokens, plan, staged = lo.code, lo.tokens, lo.plan, lo.plan.buffers.staged
    if staged is None:
        return
    heads = plan.config.kv_heads
    with code.scope(), code.unless("eq", lo.groups, 1):
        code.signal(IN, tokens.to_keys)
        code.wait(KEYS, tokens.to_keys)
        index = code.reg(lo.tile)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            pages = _count(lo, staged, segment)
            code.alu("mul", pages, pages, heads)
            top, out = code.label("stage"), code.label("staged")
            code.place(top)
            code.emit("bge", ra=index, b=pages, target=out)
            with code.scope():
                block = _full(lo, segment)
                with code.scope():
                    code.alu("sub", block, block, code.calc("divu", index, heads))
                code.alu("add", block, block, -1)
                _copy(lo, staged, segment, code.calc("remu", index, heads), block)
            code.alu("add", index, index, plan.chip.num_tiles)
            code.emit("jmp", target=top)
            code.place(out)
            code.alu("sub", index, index, pages)
        code.signal(KEYS, tokens.k_cached)


def pages_are_staged(lo: Lowering) -> None:
    """Queue on dma5, in front of the next barrier: the copies are there."""
    if lo.plan.buffers.staged is not None:
        with lo.code.unless("eq", lo.groups, 1):
            lo.code.wait(OUT, lo.tokens.k_cached)


def staged_address(
    lo: Lowering, staged: Staged, place: tuple[Reg, Reg, Reg], page: Reg, none: Label
) -> None:
    """`page` becomes the address of a segment's, head's and block's page; to `none` without one."""
    code, (segment, head, block) = lo.code, place
    with code.scope():
        code.alu("sub", page, _full(lo, segment, page), block)
        code.emit("blt", ra=page, b=1, target=none)
    with code.scope():
        share = _share(lo, staged)
        code.emit("blt", ra=share, b=page, target=none)
        _unless_long(lo, segment, none)
        _place(lo, segment, share)
        code.alu("add", page, page, share)
    code.alu("add", page, page, -1)
    code.alu("mul", page, page, lo.plan.config.kv_heads)
    code.alu("add", page, page, head)
    code.alu("mul", page, page, len(PARTS) * page_bytes(lo))
    code.alu("add", page, page, staged.base + OWN - FAR)


def _full(lo: Lowering, segment: Reg, dst: Reg | None = None) -> Reg:
    """Pages that are full before the step, in a new register or `dst`."""
    first = segment_word(lo, segment, POSITION, dst)
    return lo.code.alu("shr", first, first, 7)


def _count(lo: Lowering, staged: Staged, segment: Reg) -> Reg:
    """A new register: pages of a segment that are copied."""
    code, count, short = lo.code, lo.code.reg(0), lo.code.label("short")
    with code.scope():
        _unless_long(lo, segment, short)
        code.alu("min", count, _full(lo, segment, count), _share(lo, staged))
    code.place(short)
    return count


def _unless_long(lo: Lowering, segment: Reg, target: Label) -> None:
    """Branch if the segment is one item for each head: copies would cost as much as they save."""
    with lo.code.scope():
        count = segment_word(lo, segment, COUNT)
        lo.code.emit("blt", ra=count, b=chunk_rows(lo) + 1, target=target)


def _share(lo: Lowering, staged: Staged) -> Reg:
    """A new register: pages that each segment has room for."""
    share = lo.code.reg(staged.pages)
    return lo.code.alu("divu", share, share, lo.segments)


def _place(lo: Lowering, segment: Reg, share: Reg) -> None:
    """`share` becomes the number of pages in front of those of a segment."""
    with lo.code.scope():
        lo.code.alu("mul", share, share, lo.code.calc("remu", segment, lo.segments))


def _copy(lo: Lowering, staged: Staged, segment: Reg, head: Reg, block: Reg) -> None:
    """Queue on dma6: a page's keys and values, from HBM to every cluster."""
    code, none = lo.code, lo.code.label("not_staged")
    with code.scope():
        place = code.reg()
        staged_address(lo, staged, (segment, head, block), place, none)
        code.alu("add", place, place, FAR - OWN)
        page = cache_page(lo, head, page_number(lo, segment, block))
        for part in PARTS:
            with code.scope():
                src = code.tensor(cache_view(lo, part, PAGE), ("base", page))
                every = {"owner": 0, "fan": lo.plan.chip.clusters, "fanstep": 1}
                view = copy_view(lo, part, PAGE)
                dst = code.tensor(view, ("base", place), **every)
                code.emit("dma", channel=KEYS, dst=dst, src=src)
    code.place(none)
