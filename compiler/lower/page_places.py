"""Where a page is read from: the cache in HBM, or a copy in CSRAM, staged or resident.

Staged pages are read in steps of several row groups, resident ones in steps of one: with several,
tiles of all clusters attend to the same head at once, and would queue for the links to the one
cluster that has its pages.
"""

from __future__ import annotations

from compiler.emit import Desc, Reg
from compiler.lower.context import Lowering
from compiler.lower.kept import resident_address, to_copy
from compiler.lower.kv import cache_page, cache_view, copy_view, page_bytes, page_number
from compiler.lower.staged import staged_address


def page_address(lo: Lowering, segment: Reg, head: Reg, block: Reg) -> Reg:
    """A new register: the address of a page (see `kv`)."""
    code, staged, resident = lo.code, lo.plan.buffers.staged, lo.plan.buffers.resident
    far, done, one_group = code.label("in_cache"), code.label("page"), code.label("one_group")
    page = code.reg()
    if lo.most_groups > 1:
        code.emit("beq", ra=lo.groups, b=1, target=one_group)
        if staged is not None:
            none = code.label("not_staged")
            staged_address(lo, staged, (segment, head, block), page, none)
            code.emit("jmp", target=done)
            code.place(none)
        page_number(lo, segment, block, page)
        code.emit("jmp", target=far)
        code.place(one_group)
    page_number(lo, segment, block, page)
    if resident is not None:
        code.emit("bge", ra=page, b=resident.pages, target=far)
        resident_address(lo, resident, head, page)
        code.emit("jmp", target=done)
    code.place(far)
    cache_page(lo, head, page)
    code.place(done)
    return page


def page_rows(lo: Lowering, part: str, page: Reg, rows: int) -> Desc:
    """So many rows of a page's keys or values, by its address."""
    code, src, view = lo.code, lo.code.desc(), cache_view(lo, part, rows)
    if not has_copies(lo):
        return code.fill(src, view, ("base", page))
    far, done = code.label("in_hbm"), code.label("page_rows")
    code.emit("bge", ra=page, b=0, target=far)
    to_copy(lo, code.fill(src, copy_view(lo, part, rows)), page)
    code.emit("jmp", target=done)
    code.place(far)
    code.fill(src, view, ("base", page))
    code.place(done)
    return src


def to_values(lo: Lowering, keys: Desc, page: Reg, offset: int) -> None:
    """Move rows of a page's keys to those of its values, and so many bytes on.

    It takes fewer instructions than to start from the page.
    """
    code, base, done = lo.code, lo.plan.hbm.base, lo.code.label("to_values")
    far = code.label("values_in_hbm")
    if has_copies(lo):
        code.emit("bge", ra=page, b=0, target=far)
        code.emit("dadd", dst=keys, field="base", b=page_bytes(lo) + offset)
        code.emit("jmp", target=done)
        code.place(far)
    code.emit("dadd", dst=keys, field="base", b=base["v_cache"] - base["k_cache"] + offset)
    code.place(done)


def has_copies(lo: Lowering) -> bool:
    """Whether any page is in CSRAM."""
    return lo.plan.buffers.staged is not None or lo.plan.buffers.resident is not None
