"""The phase between QKV and attention, split by heads: head norm, RoPE, and the KV cache."""

from __future__ import annotations

from compiler.emit import Reg, Value
from compiler.hbm import PAGE, rope_columns
from compiler.lower.context import IN, OUT, VPU, Lowering
from compiler.lower.rowwise import load_gains, rms_norm
from compiler.precision import KV_FORMATS
from isa.descriptor import Descriptor, Space
from isa.formats import Format

QUERY, KEY, VALUE = "q", "k", "v"


def heads(lo: Lowering, name: str) -> None:
    """Every tile takes every so-manieth head of q, k and v, all rows of it."""
    code, config, tokens = lo.code, lo.plan.config, lo.tokens
    last_query = config.heads
    last_key = last_query + config.kv_heads
    total = last_key + config.kv_heads
    with lo.phase(name), code.scope():
        if config.qk_norm:
            _load_gains(lo)
        head = lo.lanes()
        code.alu("remu", head, lo.tile, head)
        top, out = code.label("head"), code.label("heads_end")
        code.place(top)
        code.emit("bge", ra=head, b=total, target=out)
        with code.scope():
            key, value, done = code.label("key"), code.label("value"), code.label("done")
            code.emit("bge", ra=head, b=last_query, target=key)
            _head(lo, QUERY, head, head)
            code.emit("jmp", target=done)
            code.place(key)
            code.emit("bge", ra=head, b=last_key, target=value)
            with code.scope():
                _head(lo, KEY, head, code.calc("sub", head, last_query))
            code.emit("jmp", target=done)
            code.place(value)
            with code.scope():
                _head(lo, VALUE, head, code.calc("sub", head, last_key))
            code.place(done)
        with code.scope():
            code.alu("add", head, head, lo.lanes())
        code.emit("jmp", target=top)
        code.place(out)
        if config.qk_norm:
            code.signal(VPU, tokens.const_free)


def _load_gains(lo: Lowering) -> None:
    """The q and k head norms of this layer, which lie side by side."""
    code, config = lo.code, lo.plan.config
    load_gains(lo, 8 * config.hidden, "head_gains", 2 * config.head_dim, lo.layer)
    code.wait(VPU, lo.tokens.const_full)


def _head(lo: Lowering, part: str, column_head: Reg, head: Reg) -> None:
    """One head: its columns of qkv through norm, RoPE and conversion to where it belongs."""
    code, tokens = lo.code, lo.tokens
    with code.stepping(0, lo.own_rows(), lo.plan.tile.head_rows) as (row, count):
        _load(lo, column_head, row, count)
        code.wait(VPU, tokens.in_full)
        place = "head_in"
        if part != VALUE:
            if lo.plan.config.qk_norm:
                place = _norm(lo, part, count)
            place = _rope(lo, place, row, count)
        code.wait(VPU, tokens.out_free)
        _convert(lo, part, place, count)
        code.signal(VPU, tokens.in_free)
        code.signal(VPU, tokens.out_full)
        code.wait(OUT, tokens.out_full)
        if part == QUERY:
            _send_query(lo, head, row, count)
        else:
            _send_cache(lo, part, head, row, count)
        code.signal(OUT, tokens.out_free)


def _load(lo: Lowering, head: Reg, row: Reg, count: Value) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    source = lo.plan.buffers.rows["qkv"].data
    code.wait(IN, lo.tokens.in_free)
    with code.scope():
        column = code.calc("mul", head, 4 * dim)
        view = source.view(Format.FP32, 4, dim)
        src = lo.buffer(source, view, row, ("base", column), dim0=count)
        dst = code.tensor(lo.tsram("head_in", Format.FP32, (1, dim)), dim0=count)
        code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, lo.tokens.in_full)


def _norm(lo: Lowering, part: str, count: Value) -> str:
    config = lo.plan.config
    offset = 4 * config.head_dim if part == KEY else 0
    places = ("head_in", "head_tmp", "head_sum", "head_gains")
    with lo.code.scope():
        rms_norm(lo, places, config.head_dim, config.rms_eps, count, offset)
    return "head_tmp"


def _rope(lo: Lowering, place: str, row: Reg, count: Value) -> str:
    """head_rot = x * cos + rotate_half(x) * sin; the table holds cos, -sin, sin of half a head."""
    code, dim = lo.code, lo.plan.config.head_dim
    half = dim // 2
    width = rope_columns(lo.plan.config)
    with code.scope():
        offset = code.calc("mul", row, 4 * width)
        shape = (1, half)
        src, rot = (lo.tsram(name, Format.FP32, shape, (dim, 1)) for name in (place, "head_rot"))
        low = code.tensor(src, dim0=count)
        high = code.tensor(src, ("base", 4 * half), dim0=count)
        table = lo.tsram("rope", Format.FP32, shape, (width, 1))
        cos, minus, plus = (
            code.tensor(table, ("base", offset), ("base", 4 * half * part), dim0=count)
            for part in range(3)
        )
        code.emit("vmuladd2", dst=code.tensor(rot, dim0=count), a=low, b=cos, c=high, e=minus)
        second = code.tensor(rot, ("base", 4 * half), dim0=count)
        code.emit("vmuladd2", dst=second, a=high, b=cos, c=low, e=plus)
    return "head_rot"


def _format(lo: Lowering, part: str) -> Format:
    return Format.BF16 if part == QUERY else KV_FORMATS[lo.plan.options.kv]


def _convert(lo: Lowering, part: str, place: str, count: Value) -> None:
    code, dim = lo.code, lo.plan.config.head_dim
    with code.scope():
        src = code.tensor(lo.tsram(place, Format.FP32, (1, dim)), dim0=count)
        out = code.tensor(lo.tsram("head_out", _format(lo, part), (1, dim)), dim0=count)
        code.emit("vcvt", dst=out, a=src)


def _send_query(lo: Lowering, head: Reg, row: Reg, count: Value) -> None:
    code, dim, dst = lo.code, lo.plan.config.head_dim, lo.plan.buffers.rows["q"].data
    with code.scope():
        column = code.calc("mul", head, 2 * dim)
        view = dst.view(Format.BF16, 2, dim)
        out = lo.buffer(dst, view, row, ("base", column), dst=True, dim0=count)
        src = code.tensor(lo.tsram("head_out", Format.BF16, (1, dim)), dim0=count)
        code.emit("dma", channel=OUT, dst=out, src=src)


def cache_view(lo: Lowering, part: str, rows: int) -> Descriptor:
    """[rows, head_dim] of the cache: by default the first pages of layer 0, head 0."""
    dim, fmt = lo.plan.config.head_dim, KV_FORMATS[lo.plan.options.kv]
    base = lo.plan.hbm.base[f"{part}_cache"]
    return Descriptor(Space.HBM, fmt, (rows, dim), (dim, 1), base)


def cache_offset(lo: Lowering, head: Reg) -> Reg:
    """A new register: bytes from the cache's start to this layer's pages of a KV head."""
    code, config = lo.code, lo.plan.config
    index = code.calc("mul", lo.layer, config.kv_heads)
    code.alu("add", index, index, head)
    element = 2 if KV_FORMATS[lo.plan.options.kv] is Format.BF16 else 1
    return code.alu("mul", index, index, lo.plan.capacity.pages * PAGE * config.head_dim * element)


def _send_cache(lo: Lowering, part: str, head: Reg, row: Reg, count: Value) -> None:
    """Scatter the rows to their places in the cache: kv_rows holds page * 128 + slot."""
    code, dim = lo.code, lo.plan.config.head_dim
    with code.scope():
        view = cache_view(lo, part, lo.plan.capacity.pages * PAGE)
        dst = code.tensor(view, ("base", cache_offset(lo, head)))
        out = lo.tsram("head_out", _format(lo, part), (1, dim))
        offset = lo.first_row()
        code.alu("add", offset, offset, row)
        code.alu("mul", offset, offset, 4)
        entries = lo.tsram("kv_rows", Format.I32, (1,))
        index = code.tensor(entries, ("base", offset), dim0=count)
        src = code.tensor(out, dim0=count)
        code.emit("dmas", channel=OUT, dst=dst, src=src, index=index)
