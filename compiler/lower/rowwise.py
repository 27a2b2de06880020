"""Phases split by rows: embedding gather, RMSNorm with quantise, quantise alone."""

from __future__ import annotations

from compiler.buffers import Rows
from compiler.emit import Desc, Reg, Scaled, Value
from compiler.hbm import rope_columns
from compiler.lower.context import CONST, IN, OUT, VPU, Lowering
from isa.descriptor import Descriptor, Space
from isa.formats import Format


def embed(lo: Lowering) -> None:
    """x = embedding rows of the step's tokens, widened to FP32."""
    code, tokens, config = lo.code, lo.tokens, lo.plan.config
    hidden, dst = config.hidden, lo.plan.buffers.rows["x"]
    with lo.phase("embed", first=True):
        begin, end = lo.share(lo.rows)
        with code.unless("ge", begin, end):
            _share_rope_rows(lo, begin, end)
        with code.stepping(begin, end, lo.plan.tile.norm_rows) as (row, count):
            table = lo.hbm("embed", Format.BF16, (config.vocab, hidden))
            gathered = lo.tsram("norm_in", Format.BF16, (1, hidden))
            code.wait(IN, tokens.in_free)
            gather(lo, gathered, table, "tokens", 1, row, count)
            code.signal(IN, tokens.in_full)
            code.wait(VPU, tokens.in_full)
            code.wait(VPU, tokens.out_free)
            with code.scope():
                wide = code.tensor(lo.tsram("norm_out", Format.FP32, (1, hidden)), dim0=count)
                code.emit("vcvt", dst=wide, a=code.tensor(gathered, dim0=count))
            _hand_over(lo, dst, row, count, hidden)


def _share_rope_rows(lo: Lowering, begin: Reg, end: Reg) -> None:
    """Queue on dma5: cos, -sin, sin of this tile's rows, from HBM to every cluster at once."""
    code, width = lo.code, rope_columns(lo.plan.config)
    with code.scope():
        count = code.calc("sub", end, begin)
        table = lo.hbm("rope", Format.FP32, (lo.plan.capacity.context, width))
        rope = lo.plan.buffers.rows["rope"].data
        everywhere = rope.view(Format.FP32, 4, width, written=True)
        dst = code.tensor(everywhere, ("base", Scaled(begin, rope.row_bytes)), dim0=count)
        entries = lo.tsram("positions", Format.I32, (1,))
        index = code.tensor(entries, ("base", Scaled(begin, 4)), dim0=count)
        code.emit("dmag", channel=OUT, dst=dst, src=code.tensor(table), index=index)


def norm(lo: Lowering, name: str, count: Value, dst: str, gain: Reg, selected: bool) -> None:
    """dst = quantise(RMSNorm(x) * gain); `gain` is the gains' address; wanted rows if selected."""
    code, tokens, config = lo.code, lo.tokens, lo.plan.config
    hidden, eps = config.hidden, config.rms_eps
    with lo.phase(name):
        begin, end = lo.share(count)
        with code.unless("ge", begin, end):
            load_constant(lo, gain, "gain", hidden)
            code.wait(VPU, tokens.const_full)
            with code.stepping(begin, end, lo.plan.tile.norm_rows) as (row, width):
                _load_rows(lo, "x", hidden, row, width, selected)
                code.wait(VPU, tokens.in_full)
                with code.scope():
                    rms_norm(lo, ("norm_in", "norm_tmp", "norm_sum", "gain"), hidden, eps, width)
                _finish(lo, lo.plan.buffers.rows[dst], "norm_tmp", row, width, hidden)
            code.signal(VPU, tokens.const_free)


def requantise(lo: Lowering, name: str, src: str, dst: str) -> None:
    """dst = quantise(src): for scales that span what several tiles made."""
    code, tokens = lo.code, lo.tokens
    columns = lo.plan.buffers.rows[src].columns
    with lo.phase(name):
        begin, end = lo.share(lo.rows)
        with code.stepping(begin, end, lo.plan.tile.norm_rows) as (row, width):
            _load_rows(lo, src, columns, row, width, selected=False)
            code.wait(VPU, tokens.in_full)
            _finish(lo, lo.plan.buffers.rows[dst], "norm_in", row, width, columns)


def rms_norm(
    lo: Lowering,
    places: tuple[str, str, str, str],
    columns: int,
    eps: float,
    rows: Value,
    gain_offset: int = 0,
) -> None:
    """places[1] = RMSNorm(places[0]) * places[3], by way of sums in places[2] (FP32, dense)."""
    code = lo.code
    src_name, tmp_name, sum_name, gain_name = places
    src = code.tensor(lo.tsram(src_name, Format.FP32, (1, columns)), dim0=rows)
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


def load_constant(lo: Lowering, address: Reg, place: str, columns: Value) -> None:
    """Queue on dma7: FP32 constants from HBM for the VPU, which frees the place when done."""
    code, tokens = lo.code, lo.tokens
    code.wait(CONST, tokens.const_free)
    with code.scope():
        source = Descriptor(Space.HBM, Format.FP32, (1,), (1,))
        src = code.tensor(source, base=address, dim0=columns)
        dst = code.tensor(lo.tsram(place, Format.FP32, (1,)), dim0=columns)
        code.emit("dma", channel=CONST, dst=dst, src=src)
    code.signal(CONST, tokens.const_full)


def _load_rows(lo: Lowering, name: str, columns: int, row: Reg, count: Reg, selected: bool) -> None:
    """Queue on dma4: FP32 rows of a buffer, or those the wanted list names, into norm_in."""
    code, tokens = lo.code, lo.tokens
    source = lo.plan.buffers.rows[name].data
    target = lo.tsram("norm_in", Format.FP32, (1, columns))
    code.wait(IN, tokens.in_free)
    if selected:
        gather(lo, target, source.view(Format.FP32, 4, columns), "wanted", 4, row, count)
    else:
        with code.scope():
            offset = code.calc("mul", row, source.row_bytes)
            view = source.view(Format.FP32, 4, columns)
            src = code.tensor(view, ("base", offset), dim0=count)
            dst = code.tensor(target, dim0=count)
            code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, tokens.in_full)


def gather(
    lo: Lowering,
    target: Descriptor,
    table: Descriptor,
    index: str,
    stride: int,
    row: Reg,
    count: Reg,
) -> None:
    """Queue on dma4: target[i] = table[index[row + i]], the index every `stride` words."""
    code = lo.code
    with code.scope():
        offset = code.calc("mul", row, 4 * stride)
        entries = lo.tsram(index, Format.I32, (1,), (stride,))
        idx = code.tensor(entries, ("base", offset), dim0=count)
        dst = code.tensor(target, dim0=count)
        code.emit("dmag", channel=IN, dst=dst, src=code.tensor(table), index=idx)


def _finish(lo: Lowering, dst: Rows, place: str, row: Reg, count: Reg, columns: int) -> None:
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


def _hand_over(lo: Lowering, dst: Rows, row: Reg, count: Reg, columns: int) -> None:
    """The VPU is done: its input is free, and dma5 sends the rows from norm_out."""
    code, tokens = lo.code, lo.tokens
    code.signal(VPU, tokens.in_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    lo.send(dst, "norm_out", "norm_scale", row, count, columns)
    code.signal(OUT, tokens.out_free)
