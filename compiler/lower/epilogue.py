"""How a linear phase's blocks end: bias, then store, residual add, or SwiGLU with quantise.

The VPU finishes the block that the array read out to `stage`, and dma5 sends it.
"""

from __future__ import annotations

from compiler.buffers import Bytes, Rows
from compiler.emit import Desc, Reg, Value
from compiler.lower.context import Lowering
from compiler.lower.readout import add_slot, stage, work_space
from compiler.lower.rowwise import layer_base, load_constant
from compiler.lower.tokens import IN, OUT, VPU
from compiler.lower.turns import Block, Epilogue, Linear, blocks_of, bytes_of
from compiler.tile_memory import PART_SLOTS
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format

LOG2E = 1.4426950216293335  # FP32 3FB8AA3B, the arithmetic contract's L


def add_bias(lo: Lowering, work: Linear, block: Block) -> None:
    """Queue on the VPU: stage += bias, if there is one: it comes with a region's first part."""
    matrix, code, tokens = work.matrix, lo.code, lo.tokens
    if matrix.bias < 0:
        return
    with code.unless("ne", block.row, 0), code.scope():
        address = layer_base(code, matrix.bias, work.layer, matrix.vector_bytes)
        offset = code.calc("mul", block.first, PANEL_COLUMNS * 4)
        code.alu("add", address, address, offset)
        columns = code.alu("mul", offset, block.panels, PANEL_COLUMNS)
        load_constant(lo, address, "bias", columns)
        code.wait(VPU, tokens.const_full)
    with code.scope():
        columns = code.calc("mul", block.panels, PANEL_COLUMNS)
        block_stage = stage(lo, block, columns)
        row = lo.tsram("bias", Format.FP32, (1, 1), (0, 1))
        bias = code.tensor(row, dim0=block.rows, dim1=columns)
        code.emit("vadd", dst=block_stage, a=block_stage, b=bias)


def _begin(lo: Lowering, work: Linear, block: Block) -> None:
    add_bias(lo, work, block)
    lo.code.wait(VPU, lo.tokens.part_free)


def _end(lo: Lowering) -> None:
    code, tokens = lo.code, lo.tokens
    code.signal(VPU, tokens.part_full)
    code.wait(OUT, tokens.part_full)


def _out(lo: Lowering, block: Block, columns: Value) -> Desc:
    return work_space(lo, block, columns, "lin_out")


def _send_fp32(
    lo: Lowering, dst: Bytes, block: Block, columns: tuple[Reg, Value], src: Desc
) -> None:
    """Queue on dma5: the block, FP32, from where it was made to a buffer.

    `columns`: the first of the buffer's, and how many.
    """
    code = lo.code
    with code.scope():
        at = ("base", _column(lo, dst, columns[0]))
        dims = {"dim0": block.rows, "dim1": columns[1]}
        out = lo.target(dst, dst.view(Format.FP32, 4, 1), block.row, at, **dims)
        code.emit("dma", channel=OUT, dst=out, src=src)
    code.signal(OUT, lo.tokens.part_free)


def _column(lo: Lowering, part: Bytes, column: Reg) -> Reg:
    """A new register: how far a column of a buffer of FP32 is from its row's begin."""
    code = lo.code
    if part.pieces == 1:
        return code.calc("mul", column, 4)
    wide, between = lo.plan.config.hidden // part.pieces, part.row_bytes // part.pieces
    offset = code.calc("divu", column, wide)
    code.alu("mul", offset, offset, between - 4 * wide)
    with code.scope():
        code.alu("add", offset, offset, code.calc("mul", column, 4))
    return offset


def _valid(lo: Lowering, work: Linear, block: Block) -> tuple[Reg, Reg]:
    """First output column of the block, and how many columns mean something."""
    code = lo.code
    first = code.calc("mul", block.first, PANEL_COLUMNS)
    columns = code.calc("mul", block.panels, PANEL_COLUMNS)
    with code.scope():
        left = code.reg(work.matrix.n)
        code.alu("sub", left, left, first)
        code.alu("min", columns, columns, left)
    return first, columns


def store(dst: str) -> Epilogue:
    """The block goes to a buffer as it is."""

    def run(lo: Lowering, work: Linear, block: Block) -> None:
        code = lo.code
        with code.scope():
            first, columns = _valid(lo, work, block)
            _begin(lo, work, block)
            with code.scope():
                code.emit("vcopy", dst=_out(lo, block, columns), a=stage(lo, block, columns))
            _end(lo)
            out = _out(lo, block, columns)
            _send_fp32(lo, lo.plan.buffers.rows[dst].data, block, (first, columns), out)

    return run


def residual(lo: Lowering, work: Linear, block: Block) -> None:
    """x += the block."""
    code, tokens, x = lo.code, lo.tokens, lo.plan.buffers.rows["x"].data
    with code.scope():
        first, columns = _valid(lo, work, block)
        code.wait(IN, tokens.old_free)
        old = work_space(lo, block, columns, "extra")
        with code.scope():
            at = ("base", _column(lo, x, first))
            dims = {"dim0": block.rows, "dim1": columns}
            src = lo.source(x, x.view(Format.FP32, 4, 1), block.row, at, **dims)
            code.emit("dma", channel=IN, dst=old, src=src)
        code.signal(IN, tokens.old_full)
        _begin(lo, work, block)
        code.wait(VPU, tokens.old_full)
        with code.scope():
            new = stage(lo, block, columns)
            code.emit("vadd", dst=_out(lo, block, columns), a=old, b=new)
        code.signal(VPU, tokens.old_free)
        _end(lo)
        _send_fp32(lo, x, block, (first, columns), _out(lo, block, columns))


def swiglu(quantised: bool) -> Epilogue:
    """f = SiLU(gate) * up of the block's panel pairs, quantised if its scales stay within."""

    def run(lo: Lowering, work: Linear, block: Block) -> None:
        code, f = lo.code, lo.plan.buffers.rows["f"]
        with code.scope():
            first = code.calc("mul", block.first, PANEL_COLUMNS // 2)
            columns = code.reg(work.matrix.n)
            code.alu("sub", columns, columns, first)
            with code.scope():
                half = code.calc("mul", block.panels, PANEL_COLUMNS // 2)
                code.alu("min", columns, columns, half)
            _begin(lo, work, block)
            with code.scope():
                _silu_mul(lo, block)
            if not quantised:
                _end(lo)
                _send_fp32(lo, f.data, block, (first, columns), _half(lo, block, columns))
                return
            with code.scope():
                _quantise_block(lo, block, columns)
            _end(lo)
            _send_quantised(lo, f, block, first, columns)

    return run


def _silu_mul(lo: Lowering, block: Block) -> None:
    """lin_out (or extra, where a quantise follows) = SiLU(gate) * up, [rows, pairs, 16]."""
    code = lo.code
    pairs, half = code.calc("shr", block.panels, 1), code.calc("shr", block.stride, 1)
    dims = {"dim0": block.rows, "dim1": pairs, "stride0": block.stride}
    paired = lo.tsram("stage", Format.FP32, (1, 1, PANEL_COLUMNS), (1, 2 * PANEL_COLUMNS, 1))
    gate, up = code.desc(), code.desc()
    with code.scope():
        down = code.calc("mul", block.row, block.stride)
        code.alu("mul", down, down, 4)
        code.fill(gate, paired, ("base", down), **dims)
        code.fill(up, paired, ("base", down), ("base", 4 * PANEL_COLUMNS), **dims)
    place = "extra" if lo.plan.buffers.rows["f"].precision.name != "fp32" else "lin_out"
    out = lo.tsram(place, Format.FP32, (1, 1, PANEL_COLUMNS), (1, PANEL_COLUMNS, 1))
    dst = code.tensor(out, **(dims | {"stride0": half}))
    add_slot(lo, block, dst)
    code.emit("vmul", dst=dst, a=gate, b=-LOG2E)
    code.emit("vexp2", dst=dst, a=dst)
    code.emit("vadd", dst=dst, a=dst, b=1.0)
    code.emit("vrcp", dst=dst, a=dst)
    code.emit("vmul", dst=dst, a=gate, b=dst)
    code.emit("vmul", dst=dst, a=dst, b=up)


def _half(lo: Lowering, block: Block, columns: Value, name: str = "lin_out") -> Desc:
    """What SwiGLU has made of the part: rows are half as long as the stage's."""
    code = lo.code
    result = work_space(lo, block, columns, name)
    with code.scope():
        code.emit("dset", dst=result, field="stride0", b=code.calc("shr", block.stride, 1))
    return result


def _quantise_block(lo: Lowering, block: Block, columns: Reg) -> None:
    code, p = lo.code, lo.plan.activations
    sets: dict[str, Value] = {"stride0": code.calc("shr", block.stride, 1)}
    if p.block:
        sets["sstride0"] = code.calc("divu", block.stride, 2 * p.block)
    out = code.tensor(
        lo.quantised("lin_out", "lin_scale", 1, PANEL_COLUMNS),
        dim0=block.rows,
        dim1=columns,
        **sets,
    )
    add_slot(lo, block, out)
    if p.block:
        add_slot(lo, block, out, scales=True)
    lo.quantise(out, _half(lo, block, columns, "extra"), None)


def _send_quantised(lo: Lowering, dst: Rows, block: Block, first: Reg, columns: Reg) -> None:
    """Queue on dma5: a quantised block and its scales, from column `first` of a buffer."""
    code, p = lo.code, dst.precision
    with code.scope():
        start, nbytes = bytes_of(code, first, p), bytes_of(code, columns, p)
        stride = bytes_of(code, block.stride, p)
        code.alu("shr", stride, stride, 1)
        _send_bytes(lo, dst.data, block, ("lin_out", stride), (start, nbytes))
    if dst.scales is not None:
        with code.scope():
            start, nbytes = code.calc("divu", first, p.block), blocks_of(code, columns, p.block)
            stride = code.calc("divu", block.stride, 2 * p.block)
            _send_bytes(lo, dst.scales, block, ("lin_scale", stride), (start, nbytes))
    code.signal(OUT, lo.tokens.part_free)


def _send_bytes(
    lo: Lowering, dst: Bytes, block: Block, source: tuple[str, Reg], span: tuple[Reg, Reg]
) -> None:
    code, (place, stride), (start, nbytes) = lo.code, source, span
    dims = {"dim0": block.rows, "dim1": nbytes}
    out = lo.target(dst, dst.raw(), block.row, ("base", start), **dims)
    src = code.tensor(lo.tsram(place, Format.U8, (1, 1)), stride0=stride, **dims)
    with code.scope():
        size = lo.plan.tile.stage // PART_SLOTS
        slot = code.calc("mul", block.side, size // 16 if place == "lin_scale" else 4 * size)
        code.emit("dadd", dst=src, field="base", b=slot)
    code.emit("dma", channel=OUT, dst=out, src=src)
