"""Pages of earlier steps in CSRAM: brought to every cluster once, where many items read them.

In a step of several row groups the rows of a long prompt are many items for each KV head, and each
of them would read the same pages from HBM. So these are copied while QKV's product runs. A segment
has an equal share of the room, and fills it with the last pages that were full before the step,
the latest first.
"""

from __future__ import annotations

from compiler.emit import Label, Reg
from compiler.hbm import PAGE
from compiler.lower.attention_items import COUNT, POSITION, chunk_rows, segment_word
from compiler.lower.context import IN, KEYS, OUT, Lowering, Plan
from compiler.lower.kv import PARTS, cache_page, cache_view, kv_format, page_bytes
from isa.descriptor import Descriptor, Space

FAR = 1 << 40  #: more than any offset: page addresses below 0 are such of CSRAM, less this


def staged_pages(plan: Plan) -> int:
    """Pages (of all KV heads) that CSRAM has room for; 0 if the program brings none."""
    room = plan.buffers.raw.get("kv_staged")
    if room is None or "staged-pages" in plan.options.without or plan.groups[-1] == 1:
        return 0
    return room.rows


def stage_pages(lo: Lowering) -> None:
    """Queue on dma6, behind the barrier that dma4 has passed: this tile's share of the copies."""
    if not staged_pages(lo.plan):
        return
    code, tokens, plan = lo.code, lo.tokens, lo.plan
    heads = plan.config.kv_heads
    with code.scope(), code.unless("eq", lo.groups, 1):
        code.signal(IN, tokens.to_keys)
        code.wait(KEYS, tokens.to_keys)
        index = code.reg(lo.tile)
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            pages = _count(lo, segment)
            code.alu("mul", pages, pages, heads)
            top, out = code.label("stage"), code.label("staged")
            code.place(top)
            code.emit("bge", ra=index, b=pages, target=out)
            with code.scope():
                block = _full(lo, segment)
                with code.scope():
                    code.alu("sub", block, block, code.calc("divu", index, heads))
                code.alu("add", block, block, -1)
                _copy(lo, segment, code.calc("remu", index, heads), block)
            code.alu("add", index, index, plan.chip.num_tiles)
            code.emit("jmp", target=top)
            code.place(out)
            code.alu("sub", index, index, pages)
        code.signal(KEYS, tokens.k_cached)


def pages_are_staged(lo: Lowering) -> None:
    """Queue on dma5, in front of the next barrier: the copies are there."""
    if staged_pages(lo.plan):
        with lo.code.unless("eq", lo.groups, 1):
            lo.code.wait(OUT, lo.tokens.k_cached)


def staged_view(lo: Lowering, part: str, rows: int) -> Descriptor:
    """[rows, head_dim] at the head of the copies in the own cluster's CSRAM."""
    dim = lo.plan.config.head_dim
    base = lo.plan.buffers.raw["kv_staged"].base + PARTS.index(part) * page_bytes(lo)
    return Descriptor(Space.CSRAM, kv_format(lo), (rows, dim), (dim, 1), base)


def page_address(lo: Lowering, segment: Reg, head: Reg, block: Reg) -> Reg:
    """A new register: bytes from the cache's start to a page; of a copy in CSRAM, less FAR."""
    if not staged_pages(lo.plan):
        return cache_page(lo, segment, head, block)
    code = lo.code
    page, none, done = code.reg(), code.label("not_staged"), code.label("page")
    code.emit("beq", ra=lo.groups, b=1, target=none)
    with code.scope():
        code.alu("sub", page, _full(lo, segment, page), block)
        code.emit("blt", ra=page, b=1, target=none)
    with code.scope():
        share = _share(lo)
        code.emit("blt", ra=share, b=page, target=none)
        _unless_long(lo, segment, none)
        _place(lo, segment, share)
        code.alu("add", page, page, share)
    code.alu("add", page, page, -1)
    code.alu("mul", page, page, lo.plan.config.kv_heads)
    code.alu("add", page, page, head)
    code.alu("mul", page, page, len(PARTS) * page_bytes(lo))
    code.alu("add", page, page, -FAR)
    code.emit("jmp", target=done)
    code.place(none)
    with code.scope():
        code.set(page, cache_page(lo, segment, head, block))
    code.place(done)
    return page


def _full(lo: Lowering, segment: Reg, dst: Reg | None = None) -> Reg:
    """Pages that are full before the step, in a new register or `dst`."""
    first = segment_word(lo, segment, POSITION, dst)
    return lo.code.alu("shr", first, first, 7)


def _count(lo: Lowering, segment: Reg) -> Reg:
    """A new register: pages of a segment that are copied."""
    code, count, short = lo.code, lo.code.reg(0), lo.code.label("short")
    with code.scope():
        _unless_long(lo, segment, short)
        code.alu("min", count, _full(lo, segment, count), _share(lo))
    code.place(short)
    return count


def _unless_long(lo: Lowering, segment: Reg, target: Label) -> None:
    """Branch if the segment is one item for each head: copies would cost as much as they save."""
    with lo.code.scope():
        count = segment_word(lo, segment, COUNT)
        lo.code.emit("blt", ra=count, b=chunk_rows(lo) + 1, target=target)


def _share(lo: Lowering) -> Reg:
    """A new register: pages that each segment has room for."""
    share = lo.code.reg(staged_pages(lo.plan))
    return lo.code.alu("divu", share, share, lo.segments)


def _place(lo: Lowering, segment: Reg, share: Reg) -> None:
    """`share` becomes the number of pages in front of those of a segment."""
    with lo.code.scope():
        lo.code.alu("mul", share, share, lo.code.calc("remu", segment, lo.segments))


def _copy(lo: Lowering, segment: Reg, head: Reg, block: Reg) -> None:
    """Queue on dma6: a page's keys and values, from HBM to every cluster."""
    code = lo.code
    with code.scope():
        place = page_address(lo, segment, head, block)
        page = cache_page(lo, segment, head, block)
        for part in PARTS:
            with code.scope():
                src = code.tensor(cache_view(lo, part, PAGE), ("base", page))
                every = {"owner": 0, "fan": lo.plan.chip.clusters, "fanstep": 1}
                view = staged_view(lo, part, PAGE)
                dst = code.tensor(view, ("base", place + FAR), **every)
                code.emit("dma", channel=KEYS, dst=dst, src=src)
