"""Phases split by rows: embedding gather, RMSNorm with quantise, quantise alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from compiler.buffers import Rows
from compiler.emit import Code, Desc, Reg, Scaled, Value
from compiler.hbm import WANTED_WORDS, norm_floats, norm_stride, rope_columns
from compiler.lower.context import Lowering
from compiler.lower.tokens import CONST, IN, OUT, VPU
from compiler.tile_phases import NORM_SLOTS
from isa.descriptor import Descriptor, Space
from isa.formats import Format

#: Norms of x in a layer, by their place among its gains.
NORMS = {"attn_norm": 0, "mlp_norm": 1}


def embed(lo: Lowering) -> None:
    """x = embedding rows of the step's tokens, widened to FP32."""
    code, tokens, config = lo.code, lo.tokens, lo.plan.config
    hidden, dst = config.hidden, lo.plan.buffers.rows["x"]
    with lo.phase("embed", first=True):
        begin, end = lo.share(lo.own_rows())
        with code.unless("ge", begin, end):
            _share_rope_rows(lo, begin, end)
        with code.stepping(begin, end, lo.plan.tile.norm_rows) as (row, count):
            table = lo.hbm("embed", Format.BF16, (config.vocab, hidden))
            gathered = lo.tsram("norm_in", Format.BF16, (1, hidden))
            code.wait(IN, tokens.in_free)
            with code.scope():
                first = lo.first_row()
                code.alu("add", first, first, row)
                gather(lo, gathered, table, "tokens", first, count)
            code.signal(IN, tokens.in_full)
            code.wait(VPU, tokens.in_full)
            code.wait(VPU, tokens.out_free)
            with code.scope():
                wide = code.tensor(lo.tsram("norm_out", Format.FP32, (1, hidden)), dim0=count)
                code.emit("vcvt", dst=wide, a=code.tensor(gathered, dim0=count))
            code.signal(VPU, tokens.in_free)
            _hand_over(lo, dst, row, count, hidden)


def _share_rope_rows(lo: Lowering, begin: Reg, end: Reg) -> None:
    """Queue on dma5: cos, -sin, sin of this tile's rows, from HBM to every cluster at once."""
    code, width = lo.code, rope_columns(lo.plan.config)
    with code.scope():
        first, count = lo.first_row(), code.calc("sub", end, begin)
        code.alu("add", first, first, begin)
        table = lo.hbm("rope", Format.FP32, (lo.plan.capacity.context, width))
        rope = lo.plan.buffers.rows["rope"].data
        dst = lo.target(rope, rope.view(Format.FP32, 4, width), first, dim0=count)
        entries = lo.tsram("positions", Format.I32, (1,))
        index = code.tensor(entries, ("base", Scaled(first, 4)), dim0=count)
        code.emit("dmag", channel=OUT, dst=dst, src=code.tensor(table), index=index)


def norm(lo: Lowering, name: str, dst: str) -> None:
    """dst = quantise(RMSNorm(x) * gain), in a layer."""
    code = lo.code
    first, most = NORMS[name] * lo.plan.config.hidden, lo.plan.tile.norm_rows
    with lo.phase(name):
        begin, end = lo.share(lo.own_rows())
        with (
            code.unless("ge", begin, end),
            _gains(lo, first, lo.layer),
            code.stepping(begin, end, NORM_SLOTS * most) as (row, width),
        ):
            for slot in range(NORM_SLOTS):
                with code.unless("lt", width, slot * most + 1):
                    _norm_slot(lo, row, width, slot, dst)


def _norm_slot(lo: Lowering, row: Reg, width: Reg, slot: int, dst: str) -> None:
    """One slot's rows of the `width` ones from `row` on."""
    code, most = lo.code, lo.plan.tile.norm_rows
    with code.scope():
        first, count = code.calc("add", row, slot * most), code.calc("sub", width, slot * most)
        code.alu("min", count, count, most)
        _norm_rows(lo, first, first, count, dst, slot)


def norm_wanted(lo: Lowering, name: str, dst: str) -> None:
    """The same behind the layers, for rows that want logits, each on a tile of its row group."""
    code, words = lo.code, WANTED_WORDS * lo.plan.capacity.wanted
    last = lo.plan.config.layers * norm_stride(lo.plan.config)
    with lo.phase(name), _gains(lo, last, None), code.scope():
        lanes = lo.lanes()
        number = code.calc("remu", lo.tile, lanes)
        top, other, out = code.label("wanted"), code.label("not_here"), code.label("wanted_end")
        code.place(top)
        code.emit("bge", ra=number, b=lo.wanted, target=out)
        with code.scope():
            row, first = code.reg(), lo.first_row()
            with code.scope():
                table = code.tensor(lo.tsram("wanted", Format.I32, (words,)))
                code.emit("ld", rd=row, src=table, index=code.calc("mul", number, WANTED_WORDS))
                code.alu("sub", row, row, first)
                code.emit("blt", ra=row, b=0, target=other)
                code.set(first, lo.own_rows())
                code.emit("bge", ra=row, b=first, target=other)
            _norm_rows(lo, row, number, 1, dst)
        code.place(other)
        code.alu("add", number, number, lanes)
        code.emit("jmp", target=top)
        code.place(out)


@contextmanager
def _gains(lo: Lowering, first: int, layer: Reg | None) -> Iterator[None]:
    """The gains from `first` on are there for what is done inside."""
    load_gains(lo, 4 * first, "gain", lo.plan.config.hidden, layer)
    lo.code.wait(VPU, lo.tokens.const_full)
    yield
    lo.code.signal(VPU, lo.tokens.const_free)


def _norm_rows(
    lo: Lowering, row: Reg, to: Reg, count: Value, dst: str, slot: int | None = None
) -> None:
    """Rows of x from `row` on, normalised and quantised, to rows of `dst` from `to` on.

    They come into one of two slots in turn, or into the only one.
    """
    code, config, tokens = lo.code, lo.plan.config, lo.tokens
    offset = 4 * (slot or 0) * lo.plan.tile.norm_rows * config.hidden
    full, free = tokens.old_full, tokens.old_free
    if slot is None:
        full, free = tokens.in_full, tokens.in_free
    code.wait(IN, free)
    bring_rows(lo, "x", config.hidden, row, count, ("norm_in", offset))
    code.signal(IN, full)
    code.wait(VPU, full)
    with code.scope():
        places = ("norm_in", "norm_tmp", "norm_sum", "gain")
        rms_norm(lo, places, config.hidden, config.rms_eps, count, src_offset=offset)
    code.signal(VPU, free)
    _finish(lo, lo.plan.buffers.rows[dst], "norm_tmp", to, count, config.hidden)


def requantise(lo: Lowering, name: str, src: str, dst: str) -> None:
    """dst = quantise(src): for scales that span what several tiles made."""
    code, tokens = lo.code, lo.tokens
    columns = lo.plan.buffers.rows[src].columns
    with lo.phase(name):
        begin, end = lo.share(lo.own_rows())
        with code.stepping(begin, end, lo.plan.tile.norm_rows) as (row, width):
            load_rows(lo, src, columns, row, width, "norm_in")
            code.wait(VPU, tokens.in_full)
            _finish(lo, lo.plan.buffers.rows[dst], "norm_in", row, width, columns)
            code.signal(VPU, tokens.in_free)


def rms_norm(
    lo: Lowering,
    places: tuple[str, str, str, str],
    columns: int,
    eps: float,
    rows: Value,
    gain_offset: int = 0,
    src_offset: int = 0,
) -> None:
    """places[1] = RMSNorm(places[0]) * places[3], by way of sums in places[2] (FP32, dense)."""
    code = lo.code
    src_name, tmp_name, sum_name, gain_name = places
    src_rows = lo.tsram(src_name, Format.FP32, (1, columns))
    src = code.tensor(src_rows, ("base", src_offset), dim0=rows)
    tmp = code.tensor(lo.tsram(tmp_name, Format.FP32, (1, columns)), dim0=rows)
    total = code.tensor(lo.tsram(sum_name, Format.FP32, (1, 1)), dim0=rows)
    spread = code.tensor(lo.tsram(sum_name, Format.FP32, (1, columns), (1, 0)), dim0=rows)
    gain_rows = lo.tsram(gain_name, Format.FP32, (1, columns), (0, 1))
    gains = code.tensor(gain_rows, ("base", gain_offset), dim0=rows)
    code.emit("vmul", dst=tmp, a=src, b=src)
    code.emit("vrsum", dst=total, src=tmp)
    code.emit("vdiv", dst=total, a=total, b=float(columns))
    code.emit("vadd", dst=total, a=total, b=eps)
    code.emit("vrsqrt", dst=total, a=total)
    code.emit("vmul", dst=tmp, a=src, b=spread)
    code.emit("vmul", dst=tmp, a=tmp, b=gains)


def load_constant(
    lo: Lowering, address: Reg, place: str, columns: Value, space: Space = Space.HBM
) -> None:
    """Queue on dma7: FP32 constants for the VPU, which frees the place when done."""
    code, tokens = lo.code, lo.tokens
    code.wait(CONST, tokens.const_free)
    with code.scope():
        source = Descriptor(space, Format.FP32, (1,), (1,))
        src = code.tensor(source, base=address, dim0=columns)
        dst = code.tensor(lo.tsram(place, Format.FP32, (1,)), dim0=columns)
        code.emit("dma", channel=CONST, dst=dst, src=src)
    code.signal(CONST, tokens.const_full)


def load_gains(lo: Lowering, offset: int, place: str, columns: int, layer: Reg | None) -> None:
    """Queue on dma7: gains from `offset` in a layer's, or in all of them, for the VPU."""
    code, copy = lo.code, lo.plan.buffers.norms
    base, space = (lo.plan.hbm.base["norms"], Space.HBM) if copy < 0 else (copy, Space.CSRAM)
    with code.scope():
        address = layer_base(code, base + offset, layer, 4 * norm_stride(lo.plan.config))
        load_constant(lo, address, place, columns, space)


def copy_norms(lo: Lowering) -> None:
    """Queue on dma4: this tile's part of all gains, from HBM to every cluster's CSRAM.

    Tiles that read the same gains at the same time would all queue at one channel of HBM.
    """
    code, copy = lo.code, lo.plan.buffers.norms
    if copy < 0:
        return
    with code.scope():
        begin, end = lo.share(norm_floats(lo.plan.config), alone=True)
        code.alu("sub", end, end, begin)
        source = Descriptor(Space.HBM, Format.FP32, (1,), (1,), lo.plan.hbm.base["norms"])
        at = ("base", Scaled(begin, 4))
        clusters = lo.plan.chip.clusters
        everywhere = replace(source, space=Space.CSRAM, base=copy, owner=0, fan=clusters, fanstep=1)
        dst = code.tensor(everywhere, at, dim0=end)
        code.emit("dma", channel=IN, dst=dst, src=code.tensor(source, at, dim0=end))


def layer_base(code: Code, base: int, layer: Reg | None, stride: int) -> Reg:
    """A new register: base + layer * stride."""
    address = code.reg()
    if layer is None:
        code.set(address, base)
        return address
    code.emit("mul", rd=address, ra=layer, b=stride)
    return code.alu("add", address, address, base)


def load_rows(
    lo: Lowering, name: str, columns: int, row: Reg | None, count: Value, place: str
) -> None:
    """Queue on dma4: FP32 rows of a buffer into TSRAM, for the VPU, which frees the place."""
    lo.code.wait(IN, lo.tokens.in_free)
    bring_rows(lo, name, columns, row, count, (place, 0))
    lo.code.signal(IN, lo.tokens.in_full)


def bring_rows(
    lo: Lowering, name: str, columns: int, row: Reg | None, count: Value, place: tuple[str, int]
) -> None:
    """Queue on dma4: FP32 rows of a buffer into TSRAM, to an offset from a named place."""
    code, (where, offset) = lo.code, place
    source = lo.plan.buffers.rows[name].data
    with code.scope():
        view = source.whole(Format.FP32, 4, columns)
        src = lo.source(source, view, row, dim0=count)
        target = lo.tsram(where, Format.FP32, (1, *view.shape[1:]))
        dst = code.tensor(target, ("base", offset), dim0=count)
        code.emit("dma", channel=IN, dst=dst, src=src)


def gather(
    lo: Lowering,
    target: Descriptor,
    table: Descriptor,
    index: str,
    row: Reg,
    count: Reg,
) -> None:
    """Queue on dma4: target[i] = table[index[row + i]]."""
    code = lo.code
    with code.scope():
        offset = code.calc("mul", row, 4)
        entries = lo.tsram(index, Format.I32, (1,))
        idx = code.tensor(entries, ("base", offset), dim0=count)
        dst = code.tensor(target, dim0=count)
        code.emit("dmag", channel=IN, dst=dst, src=code.tensor(table), index=idx)


def _finish(lo: Lowering, dst: Rows, place: str, row: Reg, count: Value, columns: int) -> None:
    """Quantise `place` and hand the rows over to dma5."""
    code = lo.code
    code.wait(VPU, lo.tokens.out_free)
    with code.scope():
        src = code.tensor(lo.tsram(place, Format.FP32, (1, columns)), dim0=count)
        out = code.tensor(lo.quantised("norm_out", "norm_scale", 1, columns), dim0=count)
        lo.quantise(out, src, _row_scale(lo, "norm_scale", count))
    _hand_over(lo, dst, row, count, columns)


def _row_scale(lo: Lowering, place: str, count: Value) -> Desc | None:
    if not lo.plan.activations.row_scaled:
        return None
    return lo.code.tensor(lo.tsram(place, Format.E8M0, (1, 1)), dim0=count)


def _hand_over(lo: Lowering, dst: Rows, row: Reg, count: Value, columns: int) -> None:
    """The VPU is done, and dma5 sends the rows from norm_out."""
    code, tokens = lo.code, lo.tokens
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    lo.send(dst, "norm_out", "norm_scale", row, count, columns)
    code.signal(OUT, tokens.out_free)
