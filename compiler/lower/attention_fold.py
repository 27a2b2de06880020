"""The left fold of attention's pages, ascending; and what follows it: o / l, quantised, sent."""

from __future__ import annotations

from compiler.buffers import partial_bytes
from compiler.emit import Desc, Reg, Scaled, Value
from compiler.lower.attention_items import Item, Part, group_of, parity_offset, rows_that_see
from compiler.lower.attention_products import partial
from compiler.lower.context import Lowering
from compiler.lower.groups import write_rows
from compiler.lower.tokens import OUT, VPU
from isa.formats import Format


def fold(lo: Lowering, item: Item, block: Reg) -> None:
    """Rows whose first page this is copy its m, l and o; the others take them in."""
    code = lo.code
    with code.scope():
        low, middle, high = code.reg(), code.reg(), code.reg()
        rows_that_see(lo, item, block, low, middle, high)
        code.alu("sub", high, high, middle)
        folded = code.calc("sub", middle, low)
        with code.unless("eq", folded, 0):
            _take_in(lo, Part(low, folded), block)
        with code.unless("eq", high, 0), code.scope():
            first = Part(middle, high)
            columns = lo.plan.config.head_dim + 2
            src = partial(lo, first, block, 0, columns)
            code.emit("vcopy", dst=partial(lo, first, None, 0, columns), a=src)


def _pair(lo: Lowering, name: str, part: Part, stride: int) -> Desc:
    """[2, rows, 1] of FP32 vectors in TSRAM, the second (or the same again) `stride` rows on."""
    vector = lo.tsram(name, Format.FP32, (2, 1, 1), (stride, 1, 1))
    return lo.code.tensor(vector, ("base", Scaled(part.offset, 4)), dim1=part.count)


def _take_in(lo: Lowering, part: Part, block: Reg) -> None:
    """m, l, o of the pages so far take in this page: one factor for either side of each row."""
    code, dim = lo.code, lo.plan.config.head_dim
    rows, stride = lo.plan.tile.attend_rows, partial_bytes(lo.plan.config)
    with code.scope():
        old, new = partial(lo, part, None, dim + 1, 1), partial(lo, part, block, dim + 1, 1)
        peak = code.tensor(
            lo.tsram("m_new", Format.FP32, (1, 1)),
            ("base", Scaled(part.offset, 4)),
            dim0=part.count,
        )
        code.emit("vmax", dst=peak, a=old, b=new)
        sums = lo.tsram("partial", Format.FP32, (2, 1, 1), (0, stride // 4, 1))
        both = code.tensor(
            sums, ("base", Scaled(part.offset, stride)), ("base", 4 * (dim + 1)), dim1=part.count
        )
        with code.scope():
            apart = parity_offset(lo, block, rows * stride // 4)
            code.alu("add", apart, apart, rows * stride // 4)
            code.emit("dset", dst=both, field="stride0", b=apart)
        factors = _pair(lo, "rescale", part, rows)
        code.emit("vsub", dst=factors, a=both, b=_pair(lo, "m_new", part, 0))
        code.emit("vexp2", dst=factors, a=factors)
        code.emit("vcopy", dst=old, a=peak)
    with code.scope():
        total, page = partial(lo, part, None, 0, dim + 1), partial(lo, part, block, 0, dim + 1)
        spread = lo.tsram("rescale", Format.FP32, (1, dim + 1), (1, 0))
        offset = ("base", Scaled(part.offset, 4))
        c, c_b = (
            code.tensor(spread, offset, ("base", at), dim0=part.count) for at in (0, 4 * rows)
        )
        code.emit("vmuladd2", dst=total, a=total, b=c, c=page, e=c_b)


def finish(lo: Lowering, item: Item, quantised: bool) -> None:
    """o / l, quantised if it may be, to the output buffer.

    Quotients take the second of two places of pages' results, which nothing else uses now.
    """
    code, tokens, dim = lo.code, lo.tokens, lo.plan.config.head_dim
    group = group_of(lo)
    code.wait(VPU, tokens.out_free)
    with code.scope():
        part = Part(code.reg(0), code.calc("mul", item.count, group))
        total, sums = partial(lo, part, None, 0, dim), partial(lo, part, None, dim, 1, dim)
        if not quantised:
            dst = code.tensor(lo.tsram("att_out", Format.FP32, (1, dim)), dim0=part.count)
            code.emit("vdiv", dst=dst, a=total, b=sums)
        else:
            side = 2 * lo.plan.tile.attend_rows * partial_bytes(lo.plan.config)
            with code.scope():
                place = lo.tsram("partial", Format.FP32, (1, dim))
                dense = code.tensor(place, ("base", side), dim0=part.count)
                code.emit("vdiv", dst=dense, a=total, b=sums)
                place = lo.tsram("partial", Format.FP32, (1, group * dim))
                src = code.tensor(place, ("base", side), dim0=item.count)
                out = lo.quantised("att_out", "att_scale", 1, group * dim)
                lo.quantise(code.tensor(out, dim0=item.count), src, None)
    code.signal(VPU, tokens.q_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    send(lo, ("att_out", "att_scale"), item.row, item.count, item.head, group * dim)
    code.signal(OUT, tokens.out_free)


def send(
    lo: Lowering, places: tuple[str, str], row: Reg, count: Value, number: Reg, width: int
) -> None:
    """Queue on dma5: `count` rows of the `number`-th run of columns, `width` wide, of o."""
    o, code = lo.plan.buffers.rows["o"], lo.code
    parts = [(places[0], o.precision.data_bytes(width), o.data)]
    if o.scales is not None:
        parts.append((places[1], o.precision.scale_bytes(width), o.scales))
    for place, nbytes, buffer in parts:
        with code.scope():
            view = buffer.view(Format.U8, 1, nbytes)
            dst = write_rows(lo, buffer, view, row, ("base", Scaled(number, nbytes)), dim0=count)
            src = code.tensor(lo.tsram(place, Format.U8, (1, nbytes)), dim0=count)
            code.emit("dma", channel=OUT, dst=dst, src=src)
