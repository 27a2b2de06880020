"""How a linear phase's blocks end: bias, then store, residual add, or SwiGLU with quantise.

The VPU finishes the block that the array read out to `stage`, and dma5 sends it.
"""

from __future__ import annotations

from compiler.buffers import Bytes, Rows
from compiler.emit import Desc, Reg, Value
from compiler.lower.context import IN, OUT, VPU, Lowering
from compiler.lower.linear import (
    Block,
    Epilogue,
    Linear,
    blocks_of,
    bytes_of,
    layer_base,
    stage,
)
from compiler.lower.rowwise import load_constant
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format

LOG2E = 1.4426950216293335  # FP32 3FB8AA3B, the arithmetic contract's L


def _add_bias(lo: Lowering, work: Linear, block: Block) -> None:
    """stage += bias, where the matrix has one."""
    matrix, code, tokens = work.matrix, lo.code, lo.tokens
    if matrix.bias < 0:
        return
    with code.scope():
        address = layer_base(code, matrix.bias, work.layer, matrix.vector_bytes)
        offset = code.calc("mul", block.first, PANEL_COLUMNS * 4)
        code.alu("add", address, address, offset)
        load_constant(lo, address, "bias", block.columns)
        code.wait(VPU, tokens.const_full)
        block_stage = stage(lo, block, block.columns)
        row = lo.tsram("bias", Format.FP32, (1, 1), (0, 1))
        bias = code.tensor(row, dim0=block.rows, dim1=block.columns)
        code.emit("vadd", dst=block_stage, a=block_stage, b=bias)
    code.signal(VPU, tokens.const_free)


def _begin(lo: Lowering, work: Linear, block: Block) -> None:
    code, tokens = lo.code, lo.tokens
    code.wait(VPU, tokens.stage_full)
    _add_bias(lo, work, block)
    code.wait(VPU, tokens.out_free)


def _end(lo: Lowering) -> None:
    code, tokens = lo.code, lo.tokens
    code.signal(VPU, tokens.stage_free)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)


def _out(lo: Lowering, block: Block, columns: Value) -> Desc:
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    place = lo.tsram("lin_out", Format.FP32, (1, width))
    return lo.code.tensor(place, dim0=block.rows, dim1=columns)


def _send_fp32(lo: Lowering, dst: Bytes, first: Reg, rows: Value, columns: Value) -> None:
    """Queue on dma5: FP32 [rows, columns] from lin_out to a buffer, from column `first`."""
    code = lo.code
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    with code.scope():
        offset = code.calc("mul", first, 4)
        target = dst.view(Format.FP32, 4, 1, written=True)
        out = code.tensor(target, ("base", offset), dim0=rows, dim1=columns)
        place = lo.tsram("lin_out", Format.FP32, (1, width))
        code.emit("dma", channel=OUT, dst=out, src=code.tensor(place, dim0=rows, dim1=columns))
    code.signal(OUT, lo.tokens.out_free)


def _valid(lo: Lowering, work: Linear, block: Block) -> tuple[Reg, Reg]:
    """First output column of the block, and how many columns mean something."""
    code = lo.code
    first = code.calc("mul", block.first, PANEL_COLUMNS)
    left = code.reg(work.matrix.n)
    code.alu("sub", left, left, first)
    return first, code.alu("min", left, left, block.columns)


def store(dst: str) -> Epilogue:
    """The block goes to a buffer as it is."""

    def run(lo: Lowering, work: Linear, block: Block) -> None:
        code = lo.code
        with code.scope():
            first, columns = _valid(lo, work, block)
            _begin(lo, work, block)
            with code.scope():
                code.emit(
                    "vcopy", dst=_out(lo, block, block.columns), a=stage(lo, block, block.columns)
                )
            _end(lo)
            _send_fp32(lo, lo.plan.buffers.rows[dst].data, first, block.rows, columns)

    return run


def residual(lo: Lowering, work: Linear, block: Block) -> None:
    """x += the block."""
    code, tokens, x = lo.code, lo.tokens, lo.plan.buffers.rows["x"].data
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    with code.scope():
        first, columns = _valid(lo, work, block)
        code.wait(IN, tokens.in_free)
        extra = lo.tsram("extra", Format.FP32, (1, width))
        old = code.tensor(extra, dim0=block.rows, dim1=columns)
        with code.scope():
            offset = code.calc("mul", first, 4)
            view = x.view(Format.FP32, 4, 1)
            src = code.tensor(view, ("base", offset), dim0=block.rows, dim1=columns)
            code.emit("dma", channel=IN, dst=old, src=src)
        code.signal(IN, tokens.in_full)
        _begin(lo, work, block)
        code.wait(VPU, tokens.in_full)
        with code.scope():
            new = stage(lo, block, columns)
            code.emit("vadd", dst=_out(lo, block, columns), a=old, b=new)
        code.signal(VPU, tokens.in_free)
        _end(lo)
        _send_fp32(lo, x, first, block.rows, columns)


def swiglu(quantised: bool) -> Epilogue:
    """f = SiLU(gate) * up of the block's panel pairs, quantised if its scales stay within."""

    def run(lo: Lowering, work: Linear, block: Block) -> None:
        code, f = lo.code, lo.plan.buffers.rows["f"]
        with code.scope():
            first = code.calc("mul", block.first, PANEL_COLUMNS // 2)
            columns = code.reg(work.matrix.n)
            code.alu("sub", columns, columns, first)
            half = code.calc("shr", block.columns, 1)
            code.alu("min", columns, columns, half)
            _begin(lo, work, block)
            with code.scope():
                _silu_mul(lo, block)
            if not quantised:
                _end(lo)
                _send_fp32(lo, f.data, first, block.rows, columns)
                return
            with code.scope():
                _quantise_block(lo, block, columns)
            _end(lo)
            _send_quantised(lo, f, first, block.rows, columns)

    return run


def _silu_mul(lo: Lowering, block: Block) -> None:
    """lin_out (or extra, where a quantise follows) = SiLU(gate) * up, [rows, pairs, 16]."""
    code, tile = lo.code, lo.plan.tile
    width = tile.block_panels * PANEL_COLUMNS
    pairs = code.calc("shr", block.panels, 1)
    shape = (1, 1, PANEL_COLUMNS)
    paired = lo.tsram("stage", Format.FP32, shape, (width, 2 * PANEL_COLUMNS, 1))
    gate = code.tensor(paired, dim0=block.rows, dim1=pairs)
    up = code.tensor(paired, ("base", 4 * PANEL_COLUMNS), dim0=block.rows, dim1=pairs)
    place = "extra" if lo.plan.buffers.rows["f"].precision.name != "fp32" else "lin_out"
    out = lo.tsram(place, Format.FP32, shape, (width, PANEL_COLUMNS, 1))
    dst = code.tensor(out, dim0=block.rows, dim1=pairs)
    code.emit("vmul", dst=dst, a=gate, b=-LOG2E)
    code.emit("vexp2", dst=dst, a=dst)
    code.emit("vadd", dst=dst, a=dst, b=1.0)
    code.emit("vrcp", dst=dst, a=dst)
    code.emit("vmul", dst=dst, a=gate, b=dst)
    code.emit("vmul", dst=dst, a=dst, b=up)


def _quantise_block(lo: Lowering, block: Block, columns: Reg) -> None:
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    place = lo.tsram("extra", Format.FP32, (1, width))
    src = lo.code.tensor(place, dim0=block.rows, dim1=columns)
    out = lo.quantised("lin_out", "lin_scale", 1, width // 2)
    lo.quantise(lo.code.tensor(out, dim0=block.rows, dim1=columns), src, None)


def _send_quantised(lo: Lowering, dst: Rows, first: Reg, rows: Value, columns: Reg) -> None:
    """Queue on dma5: a quantised block and its scales, from column `first` of a buffer."""
    code, p = lo.code, dst.precision
    width = lo.plan.tile.block_panels * PANEL_COLUMNS // 2
    with code.scope():
        start, nbytes = bytes_of(code, first, p), bytes_of(code, columns, p)
        _send_bytes(lo, dst.data, "lin_out", p.data_bytes(width), start, rows, nbytes)
    if dst.scales is not None:
        with code.scope():
            start, nbytes = code.calc("divu", first, p.block), blocks_of(code, columns, p.block)
            _send_bytes(lo, dst.scales, "lin_scale", p.scale_bytes(width), start, rows, nbytes)
    code.signal(OUT, lo.tokens.out_free)


def _send_bytes(
    lo: Lowering, dst: Bytes, place: str, stride: int, start: Reg, rows: Value, nbytes: Reg
) -> None:
    code = lo.code
    out = code.tensor(dst.raw(written=True), ("base", start), dim0=rows, dim1=nbytes)
    src = code.tensor(lo.tsram(place, Format.U8, (1, stride)), dim0=rows, dim1=nbytes)
    code.emit("dma", channel=OUT, dst=out, src=src)
