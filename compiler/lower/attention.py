"""Attention, split by (sequence, query chunk, KV head): online softmax over pages of 128 keys.

Scores never leave the tile. For each page: scores on the array, their softmax on the VPU, the
product with the values on the array, and the left fold of the arithmetic contract. Which rows of
the chunk a page touches, and for which of them it is the first, is scalar arithmetic: the rows'
positions are consecutive.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Desc, Reg, Scaled, Value
from compiler.hbm import PAGE
from compiler.lower.context import IN, KEYS, MXU, OUT, VALUES, VPU, Lowering
from compiler.lower.heads import cache_offset, cache_view
from compiler.precision import KV_FORMATS
from isa.descriptor import Descriptor, Space
from isa.formats import Format


@dataclass(frozen=True)
class Item:
    """One unit of work at run time: rows of a sequence for one KV head.

    ``row`` is the first row in the step, ``count`` rows, ``position`` of the first,
    ``pages`` the sequence's first entry in the page table; ``window`` of this layer.
    """

    row: Reg
    count: Reg
    position: Reg
    pages: Reg
    head: Reg
    window: Reg


@dataclass(frozen=True)
class Part:
    """Rows of the tile's score matrix (row * group + head of the group): offset and count."""

    offset: Reg
    count: Reg


@dataclass(frozen=True)
class _State:
    """Registers of the whole phase: offset of the next page slot, next item, window."""

    slot: Reg
    index: Reg
    window: Reg


def attend(lo: Lowering, name: str, quantised: bool) -> None:
    """o = attention(q, k_cache, v_cache), quantised if scales stay within a head group."""
    code, tokens = lo.code, lo.tokens
    with lo.phase(name):
        for unit, sem in ((KEYS, tokens.to_keys), (VALUES, tokens.to_values)):
            code.signal(IN, sem)
            code.wait(unit, sem)
        state = _State(code.reg(0), _lane(lo), _window(lo))
        with code.stepping(0, lo.segments, 1) as (segment, _), code.scope():
            _segment(lo, segment, state, quantised)


def _lane(lo: Lowering) -> Reg:
    lane = lo.lanes()
    return lo.code.alu("remu", lane, lo.tile, lane)


def _window(lo: Lowering) -> Reg:
    """A new register: this layer's window, or more than any position."""
    code = lo.code
    window = code.reg()
    with code.scope():
        table = code.tensor(lo.tsram("windows", Format.I32, (lo.plan.config.layers,)))
        code.emit("ld", rd=window, src=table, index=lo.layer)
    with code.unless("ne", window, 0):
        code.set(window, UNLIMITED)
    return window


def _segment(lo: Lowering, segment: Reg, state: _State, quantised: bool) -> None:
    """This tile's items of one sequence: item = chunk * kv_heads + head; index carries over."""
    code, config, tile, index = lo.code, lo.plan.config, lo.plan.tile, state.index
    group = config.heads // config.kv_heads
    chunk_rows = tile.attend_rows // group
    count, items = code.reg(), code.reg()
    with code.scope():
        _, begin, end = _here(lo, segment)
        code.alu("sub", count, end, begin)
        code.alu("max", count, count, 0)
    code.alu("add", items, count, chunk_rows - 1)
    code.alu("divu", items, items, chunk_rows)
    code.alu("mul", items, items, config.kv_heads)
    top, out = code.label("item"), code.label("items_end")
    code.place(top)
    code.emit("bge", ra=index, b=items, target=out)
    with code.scope():
        item = _place_item(lo, segment, state, count, chunk_rows)
        _item(lo, item, state.slot, quantised)
    with code.scope():
        code.alu("add", index, index, lo.lanes())
    code.emit("jmp", target=top)
    code.place(out)
    code.alu("sub", index, index, items)


def _here(lo: Lowering, segment: Reg) -> tuple[Reg, Reg, Reg]:
    """New registers: a segment's first row, and [begin, end) of those of the own group."""
    code = lo.code
    first, begin, end = code.reg(), lo.first_row(), lo.own_rows()
    code.alu("add", end, end, begin)
    with code.scope():
        entry = code.calc("mul", segment, 4)
        table = code.tensor(lo.tsram("segments", Format.I32, (4 * lo.plan.capacity.sequences,)))
        code.emit("ld", rd=first, src=table, index=entry)
        code.emit("ld", rd=entry, src=table, index=entry + 1)
        code.alu("add", entry, entry, first)
        code.alu("min", end, end, entry)
    code.alu("max", begin, begin, first)
    return first, begin, end


def _place_item(lo: Lowering, segment: Reg, state: _State, total: Reg, chunk_rows: int) -> Item:
    code, config, index = lo.code, lo.plan.config, state.index
    head = code.calc("remu", index, config.kv_heads)
    row = code.calc("divu", index, config.kv_heads)
    code.alu("mul", row, row, chunk_rows)
    count = code.calc("sub", total, row)
    code.alu("min", count, count, chunk_rows)
    position, pages = code.reg(), code.reg()
    with code.scope():
        first, begin, _ = _here(lo, segment)
        code.alu("add", row, row, begin)
        entry = code.calc("mul", segment, 4)
        table = code.tensor(lo.tsram("segments", Format.I32, (4 * lo.plan.capacity.sequences,)))
        code.emit("ld", rd=position, src=table, index=entry + 2)
        code.alu("add", position, position, row)
        code.alu("sub", position, position, first)
        code.emit("ld", rd=pages, src=table, index=entry + 3)
        code.alu("mul", pages, pages, lo.plan.capacity.blocks)
    with code.scope():
        code.alu("sub", row, row, lo.first_row())
    return Item(row, count, position, pages, head, state.window)


def _item(lo: Lowering, item: Item, slot: Reg, quantised: bool) -> None:
    code, tokens = lo.code, lo.tokens
    code.wait(IN, tokens.q_free)
    _load_queries(lo, item)
    _load_bounds(lo, item)
    code.signal(IN, tokens.q_full)
    code.wait(MXU, tokens.q_full)
    begin, end = code.reg(), code.reg()
    code.alu("sub", begin, item.position, item.window)
    code.alu("add", begin, begin, 1)
    code.alu("max", begin, begin, 0)
    code.alu("shr", begin, begin, 7)
    code.alu("add", end, item.position, item.count)
    code.alu("add", end, end, PAGE - 1)
    code.alu("shr", end, end, 7)
    top, out = code.label("page"), code.label("pages_end")
    code.place(top)
    code.emit("bge", ra=begin, b=end, target=out)
    _load_page(lo, item, begin, slot)
    _block(lo, item, begin, slot)
    code.alu("xor", slot, slot, _page_bytes(lo))
    code.alu("add", begin, begin, 1)
    code.emit("jmp", target=top)
    code.place(out)
    _finish(lo, item, quantised)


def _page_bytes(lo: Lowering) -> int:
    element = 2 if KV_FORMATS[lo.plan.options.kv] is Format.BF16 else 1
    return PAGE * lo.plan.config.head_dim * element


def _load_queries(lo: Lowering, item: Item) -> None:
    """q[rows, group of heads] -> [rows * group, head_dim] in TSRAM."""
    code, config, source = lo.code, lo.plan.config, lo.plan.buffers.rows["q"].data
    width = config.heads // config.kv_heads * config.head_dim
    with code.scope():
        column = code.calc("mul", item.head, 2 * width)
        view = source.view(Format.BF16, 2, width)
        src = lo.buffer(source, view, item.row, ("base", column), dim0=item.count)
        dst = code.tensor(lo.tsram("q", Format.BF16, (1, width)), dim0=item.count)
        code.emit("dma", channel=IN, dst=dst, src=src)


def _load_bounds(lo: Lowering, item: Item) -> None:
    """Each row's visible positions, once for every head of the group."""
    code, config, at = lo.code, lo.plan.config, lo.plan.tile.at
    group = config.heads // config.kv_heads
    with code.scope():
        base = code.reg(at["bounds_full"])
        with code.unless("ge", item.window, UNLIMITED):
            code.set(base, at["bounds_window"])
        offset = lo.first_row()
        code.alu("add", offset, offset, item.row)
        code.alu("mul", offset, offset, 8)
        table = Descriptor(Space.TSRAM, Format.I32, (1, group, 2), (2, 0, 1))
        src = code.tensor(table, ("base", base), ("base", offset), dim0=item.count)
        dst = code.tensor(lo.tsram("bounds", Format.I32, (1, group, 2)), dim0=item.count)
        code.emit("dma", channel=IN, dst=dst, src=src)


UNLIMITED = 1 << 30  # a window no position reaches: full attention


def _load_page(lo: Lowering, item: Item, block: Reg, slot: Reg) -> None:
    """Queue on dma6 and dma7: this block's page of keys and of values."""
    code, tokens = lo.code, lo.tokens
    with code.scope():
        page = code.calc("add", item.pages, block)
        table = code.tensor(lo.tsram("pages", Format.I32, (lo.plan.capacity.pages,)))
        code.emit("ld", rd=page, src=table, index=page)
        code.alu("mul", page, page, _page_bytes(lo))
        code.alu("add", page, page, cache_offset(lo, item.head))
        for unit, part, full, free in (
            (KEYS, "k", tokens.k_full, tokens.k_free),
            (VALUES, "v", tokens.v_full, tokens.v_free),
        ):
            code.wait(unit, free)
            with code.scope():
                src = code.tensor(cache_view(lo, part, PAGE), ("base", page))
                dst = code.tensor(_page(lo, part), ("base", slot))
                code.emit("dma", channel=unit, dst=dst, src=src)
            code.signal(unit, full)


def _page(lo: Lowering, part: str) -> Descriptor:
    shape = (PAGE, lo.plan.config.head_dim)
    return lo.tsram(f"{part}_block", KV_FORMATS[lo.plan.options.kv], shape)


def _block(lo: Lowering, item: Item, block: Reg, slot: Reg) -> None:
    """One page: rows [low, high) see it; before `middle` it is folded in, from there it is first.

    A row r of position p sees keys (p - window, p]. Its first page is this one if p - window + 1
    lies in it (or, for page 0, below it).
    """
    code = lo.code
    group = lo.plan.config.heads // lo.plan.config.kv_heads
    with code.scope():
        start = code.calc("shl", block, 7)
        low = code.calc("sub", start, item.position)
        middle = code.calc("add", low, item.window)
        code.alu("add", middle, middle, -1)
        high = code.calc("add", middle, PAGE)
        code.alu("min", high, high, item.count)
        code.alu("max", low, low, 0)
        code.alu("min", middle, middle, high)
        code.alu("max", middle, middle, low)
        with code.unless("ne", block, 0):
            code.set(middle, low)
        for reg in (low, middle, high):
            code.alu("mul", reg, reg, group)
        code.alu("sub", high, high, low)
        seen = Part(low, high)
        _scores(lo, seen, slot)
        _softmax(lo, seen, start)
        _values(lo, seen, slot, start)
        # From here on: `middle` rows are folded, then `high` rows copied.
        code.alu("add", high, high, low)
        code.alu("sub", high, high, middle)
        folded = code.reg()
        code.alu("sub", folded, middle, low)
        code.wait(VPU, lo.tokens.o_full)
        with code.unless("eq", folded, 0):
            _fold(lo, Part(low, folded))
        with code.unless("eq", high, 0):
            _copy(lo, Part(middle, high))


def _matrix(lo: Lowering, name: str, fmt: Format, size: int, columns: int, part: Part) -> Desc:
    """Rows of a dense [rows, columns] matrix in TSRAM."""
    offset = Scaled(part.offset, size * columns)
    return lo.code.tensor(lo.tsram(name, fmt, (1, columns)), ("base", offset), dim0=part.count)


def _spread(lo: Lowering, name: str, columns: int, part: Part) -> Desc:
    """A vector's rows, each repeated along `columns`."""
    vector = lo.tsram(name, Format.FP32, (1, columns), (1, 0))
    return lo.code.tensor(vector, ("base", Scaled(part.offset, 4)), dim0=part.count)


def _vector(lo: Lowering, name: str, part: Part) -> Desc:
    return _matrix(lo, name, Format.FP32, 4, 1, part)


def _bounds(lo: Lowering, part: Part) -> Desc:
    return _matrix(lo, "bounds", Format.I32, 4, 2, part)


def _scores(lo: Lowering, part: Part, slot: Reg) -> None:
    """scores = q * k^T * L/sqrt(d), on the array."""
    code, tokens, dim = lo.code, lo.tokens, lo.plan.config.head_dim
    code.wait(MXU, tokens.k_full)
    with code.scope():
        acc = code.tensor(lo.acc(1, PAGE), dim0=part.count)
        keys = code.tensor(_page(lo, "k"), ("base", slot))
        code.emit("gemm", acc=acc, a=_matrix(lo, "q", Format.BF16, 2, dim, part), w=keys)
        code.signal(MXU, tokens.k_free)
        scale = lo.tsram("score_scale", Format.FP32, (1, 1), (0, 0))
        scores = _matrix(lo, "scores", Format.FP32, 4, PAGE, part)
        code.emit("readout", dst=scores, acc=acc, row=code.tensor(scale, dim0=part.count))
    code.signal(MXU, tokens.s_full)


def _softmax(lo: Lowering, part: Part, start: Reg) -> None:
    """m, p = exp2(s - m) and l of this page, on the VPU; p goes back in BF16."""
    code, tokens = lo.code, lo.tokens
    code.wait(VPU, tokens.s_full)
    with code.scope():
        scores = _matrix(lo, "scores", Format.FP32, 4, PAGE, part)
        bounds = _bounds(lo, part)
        peak, total = _vector(lo, "m_block", part), _vector(lo, "l_block", part)
        code.emit("vrmax", dst=peak, src=scores, bounds=bounds, k0=start)
        code.emit("vsub", dst=scores, a=scores, b=_spread(lo, "m_block", PAGE, part))
        code.emit("vexp2", dst=scores, a=scores)
        code.emit("vrsum", dst=total, src=scores, bounds=bounds, k0=start)
        code.emit("vcvt", dst=_matrix(lo, "probs", Format.BF16, 2, PAGE, part), a=scores)
    code.signal(VPU, tokens.p_full)


def _values(lo: Lowering, part: Part, slot: Reg, start: Reg) -> None:
    """o of this page = p * v, on the array."""
    code, tokens, dim = lo.code, lo.tokens, lo.plan.config.head_dim
    code.wait(MXU, tokens.v_full)
    code.wait(MXU, tokens.p_full)
    with code.scope():
        acc = code.tensor(lo.acc(1, dim), dim0=part.count)
        stored = _page(lo, "v")
        transposed = Descriptor(stored.space, stored.format, (dim, PAGE), (1, dim), stored.base)
        code.emit(
            "gemm",
            acc=acc,
            a=_matrix(lo, "probs", Format.BF16, 2, PAGE, part),
            w=code.tensor(transposed, ("base", slot)),
            bounds=_bounds(lo, part),
            k0=start,
        )
        code.signal(MXU, tokens.v_free)
        code.emit("readout", dst=_matrix(lo, "o_block", Format.FP32, 4, dim, part), acc=acc)
    code.signal(MXU, tokens.o_full)


def _fold(lo: Lowering, part: Part) -> None:
    """m, l, o of the pages so far take in this page."""
    code, dim = lo.code, lo.plan.config.head_dim
    with code.scope():
        names = ("m_sum", "m_block", "m_new", "l_sum", "l_block", "c_sum", "c_block")
        m, m_b, m_new, l_sum, l_b, c, c_b = (_vector(lo, name, part) for name in names)
        code.emit("vmax", dst=m_new, a=m, b=m_b)
        for scale, old in ((c, m), (c_b, m_b)):
            code.emit("vsub", dst=scale, a=old, b=m_new)
            code.emit("vexp2", dst=scale, a=scale)
        code.emit("vmuladd2", dst=l_sum, a=l_sum, b=c, c=l_b, e=c_b)
        code.emit("vcopy", dst=m, a=m_new)
    with code.scope():
        total, block = (_matrix(lo, n, Format.FP32, 4, dim, part) for n in ("o_sum", "o_block"))
        c, c_b = (_spread(lo, name, dim, part) for name in ("c_sum", "c_block"))
        code.emit("vmuladd2", dst=total, a=total, b=c, c=block, e=c_b)


def _copy(lo: Lowering, part: Part) -> None:
    """The first page of these rows: m, l, o are its own."""
    code, dim = lo.code, lo.plan.config.head_dim
    for dst, src, columns in (
        ("m_sum", "m_block", 1),
        ("l_sum", "l_block", 1),
        ("o_sum", "o_block", dim),
    ):
        with code.scope():
            a = _matrix(lo, src, Format.FP32, 4, columns, part)
            code.emit("vcopy", dst=_matrix(lo, dst, Format.FP32, 4, columns, part), a=a)


def _finish(lo: Lowering, item: Item, quantised: bool) -> None:
    """o / l, quantised if it may be, to the output buffer."""
    code, tokens, config = lo.code, lo.tokens, lo.plan.config
    group, dim = config.heads // config.kv_heads, config.head_dim
    code.wait(VPU, tokens.out_free)
    with code.scope():
        count = code.calc("mul", item.count, group)
        rows = Part(code.reg(0), count)
        total = _matrix(lo, "o_sum", Format.FP32, 4, dim, rows)
        dst = total if quantised else _matrix(lo, "att_out", Format.FP32, 4, dim, rows)
        code.emit("vdiv", dst=dst, a=total, b=_spread(lo, "l_sum", dim, rows))
        if quantised:
            place = lo.tsram("o_sum", Format.FP32, (1, group * dim))
            out = lo.quantised("att_out", "att_scale", 1, group * dim)
            src = code.tensor(place, dim0=item.count)
            lo.quantise(code.tensor(out, dim0=item.count), src, None)
    code.signal(VPU, tokens.q_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    _send(lo, item, group * dim)
    code.signal(OUT, tokens.out_free)


def _send(lo: Lowering, item: Item, width: int) -> None:
    """Queue on dma5: [rows, group * head_dim] to its columns of the output buffer."""
    o = lo.plan.buffers.rows["o"]
    p, code = o.precision, lo.code
    parts: list[tuple[str, int, object]] = [("att_out", p.data_bytes(width), o.data)]
    if o.scales is not None:
        parts.append(("att_scale", p.scale_bytes(width), o.scales))
    for place, nbytes, _ in parts:
        buffer = o.data if place == "att_out" else o.scales
        assert buffer is not None
        with code.scope():
            column = code.calc("mul", item.head, nbytes)
            view = buffer.view(Format.U8, 1, nbytes)
            dst = lo.buffer(buffer, view, item.row, ("base", column), dst=True, dim0=item.count)
            src = code.tensor(lo.tsram(place, Format.U8, (1, nbytes)), dim0=item.count)
            code.emit("dma", channel=OUT, dst=dst, src=src)
