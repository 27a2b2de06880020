"""Phases split by output columns: matrix products with what follows them column by column.

Each tile owns a run of panels. For a block of panels it streams the matching weights from HBM
(four channels, a panel subset each) and the activations from CSRAM, chunk by chunk of K, into the
array; reads the block out; and lets the VPU finish it (bias, residual, SwiGLU, quantise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.buffers import Bytes, Rows
from compiler.emit import Code, Desc, Reg, Value
from compiler.lower.context import CONST, IN, MXU, W_CHANNELS, Lowering
from compiler.matrices import Matrix
from compiler.precision import Precision
from compiler.tile_memory import A_DEPTH
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format, Layout, ScaleKind


@dataclass(frozen=True)
class Block:
    """A block of panels at run time: first panel, number of panels, rows."""

    first: Reg
    panels: Reg
    columns: Reg
    rows: Value


Epilogue = Callable[[Lowering, "Linear", Block], None]


@dataclass(frozen=True)
class Linear:
    """One linear phase: matrix, input rows, and this layer's offsets in registers."""

    matrix: Matrix
    src: Rows
    layer: Reg | None


def linear(
    lo: Lowering, name: str, matrix: Matrix, src: str, rows: Reg, layer: Reg | None, end: Epilogue
) -> None:
    """Lower one linear phase; `end` finishes each block on the VPU and sends it."""
    code = lo.code
    work = Linear(matrix, lo.plan.buffers.rows[src], layer)
    with lo.phase(name):
        begin, stop = lo.share(matrix.units)
        code.alu("mul", begin, begin, matrix.unit)
        code.alu("mul", stop, stop, matrix.unit)
        code.alu("min", stop, stop, matrix.panels)
        load_row_scales(lo, work.src, rows)
        with code.stepping(begin, stop, lo.plan.tile.block_panels) as (first, panels):
            columns = code.calc("mul", panels, PANEL_COLUMNS)
            block = Block(first, panels, columns, rows)
            load_columns(lo, work, block)
            products(lo, work, block)
            read_out(lo, work, block)
            end(lo, work, block)


def layer_base(code: Code, base: int, layer: Reg | None, stride: int) -> Reg:
    """A new register: base + layer * stride."""
    address = code.reg()
    if layer is None:
        code.set(address, base)
        return address
    code.emit("mul", rd=address, ra=layer, b=stride)
    return code.alu("add", address, address, base)


def load_row_scales(lo: Lowering, src: Rows, rows: Value) -> None:
    """Queue on dma4: the activations' row scales, for the read-out."""
    if src.row_scale is None:
        return
    code = lo.code
    with code.scope():
        source = code.tensor(src.row_scale.view(Format.U8, 1, 1), dim1=rows)
        dst = code.tensor(lo.tsram("row_scale", Format.U8, (1, 1)), dim1=rows)
        code.emit("dma", channel=IN, dst=dst, src=source)
    code.signal(IN, lo.tokens.row_full)
    code.wait(MXU, lo.tokens.row_full)


def load_columns(lo: Lowering, work: Linear, block: Block) -> None:
    """Queue on dma7: the block's column factors, for the read-out."""
    matrix, code, tokens = work.matrix, lo.code, lo.tokens
    if not matrix.precision.column_scaled:
        return
    code.wait(CONST, tokens.column_free)
    with code.scope():
        address = layer_base(code, matrix.columns, work.layer, matrix.vector_bytes)
        offset = code.calc("mul", block.first, PANEL_COLUMNS * 4)
        source = Descriptor(Space.HBM, Format.FP32, (1,), (1,))
        src = code.tensor(source, ("base", address), ("base", offset), dim0=block.columns)
        dst = code.tensor(lo.tsram("columns", Format.FP32, (1,)), dim0=block.columns)
        code.emit("dma", channel=CONST, dst=dst, src=src)
    code.signal(CONST, tokens.column_full)
    code.wait(MXU, tokens.column_full)


# -- products ----------------------------------------------------------------------------------


def products(lo: Lowering, work: Linear, block: Block) -> None:
    """acc = a * w^T over all chunks of K."""
    code, tile = lo.code, lo.plan.tile
    with code.stepping(0, work.matrix.k, tile.chunk) as (k, depth):
        _load_activations(lo, work, block, k, depth)
        _load_weights(lo, work, block, k)
        _multiply(lo, work, block, k, depth)
        _advance(code, lo.w_at, tile.w_slot, tile.w_depth)
        _advance(code, lo.a_at, tile.a_slot, A_DEPTH)


def _scale_at(code: Code, at: Reg, slot: int, scale_slot: int) -> Reg:
    """A new register: offset of a slot's scales."""
    number = code.calc("divu", at, slot)
    return code.alu("mul", number, number, scale_slot)


def _advance(code: Code, offset: Reg, slot: int, depth: int) -> None:
    """Move a ring's offset to its next slot."""
    if slot == 0:
        return
    code.alu("add", offset, offset, slot)
    with code.unless("lt", offset, slot * depth):
        code.set(offset, 0)


def bytes_of(code: Code, elements: Value, precision: Precision) -> Reg:
    """A new register: bytes of packed elements, rounded up."""
    count = code.reg(elements)
    if precision.bits == 4:
        code.alu("add", count, count, 1)
        return code.alu("shr", count, count, 1)
    return code.alu("mul", count, count, precision.bits // 8)


def blocks_of(code: Code, elements: Value, block: int) -> Reg:
    """A new register: scale blocks that cover the elements."""
    count = code.reg(elements)
    code.alu("add", count, count, block - 1)
    return code.alu("divu", count, count, block)


def _load_activations(lo: Lowering, work: Linear, block: Block, k: Reg, depth: Reg) -> None:
    """Queue on dma4: a[:, k : k + depth] into the next slot."""
    code, tokens, tile, src = lo.code, lo.tokens, lo.plan.tile, work.src
    p = src.precision
    code.wait(IN, tokens.a_free)
    with code.scope():
        start = bytes_of(code, k, p)
        nbytes = bytes_of(code, depth, p)
        stride = p.data_bytes(tile.chunk)
        _copy_chunk(lo, src.data, start, nbytes, block.rows, ("a_data", lo.a_at, stride))
    if src.scales is not None:
        with code.scope():
            start = code.calc("divu", k, p.block)
            nbytes = blocks_of(code, depth, p.block)
            stride = p.scale_bytes(tile.chunk)
            at = _scale_at(code, lo.a_at, tile.a_slot, tile.a_scale_slot)
            _copy_chunk(lo, src.scales, start, nbytes, block.rows, ("a_scale", at, stride))
    code.signal(IN, tokens.a_full)


def _copy_chunk(
    lo: Lowering,
    source: Bytes,
    start: Reg,
    nbytes: Reg,
    rows: Value,
    slot: tuple[str, Reg, int],
) -> None:
    code = lo.code
    place, offset, stride = slot
    src = code.tensor(source.raw(), ("base", start), dim0=rows, dim1=nbytes)
    target = lo.tsram(place, Format.U8, (1, stride))
    dst = code.tensor(target, ("base", offset), dim0=rows, dim1=nbytes)
    code.emit("dma", channel=IN, dst=dst, src=src)


def _load_weights(lo: Lowering, work: Linear, block: Block, k: Reg) -> None:
    """Queue on dma0..dma3: w[panels, k : k + chunk], each channel its share of the panels."""
    code, matrix, tile = lo.code, work.matrix, lo.plan.tile
    p = matrix.precision
    with code.scope():
        depth = code.reg(matrix.k_stored)
        code.alu("sub", depth, depth, k)
        code.alu("min", depth, depth, tile.chunk)
        data = _stream(lo, matrix.data, matrix.data_bytes, matrix.panel_bytes, work.layer, block)
        start = code.calc("mul", k, p.bits * PANEL_COLUMNS // 8)
        code.alu("add", data, data, start)
        width = code.calc("mul", depth, p.bits * PANEL_COLUMNS // 8)
        slot = p.data_bytes(tile.chunk) * PANEL_COLUMNS
        parts = [("w_data", lo.w_at, data, width, matrix.panel_bytes, slot)]
        if p.block:
            scales = _stream(
                lo, matrix.scales, matrix.scales_bytes, matrix.panel_scale_bytes, work.layer, block
            )
            start = code.alu("divu", start, k, p.block)
            code.alu("mul", start, start, PANEL_COLUMNS)
            code.alu("add", scales, scales, start)
            width = blocks_of(code, depth, p.block)
            code.alu("mul", width, width, PANEL_COLUMNS)
            slot = p.scale_bytes(tile.chunk) * PANEL_COLUMNS
            at = _scale_at(code, lo.w_at, tile.w_slot, tile.w_scale_slot)
            parts.append(("w_scale", at, scales, width, matrix.panel_scale_bytes, slot))
        for number in range(len(W_CHANNELS)):
            _channel_share(lo, number, block, parts)


def _stream(
    lo: Lowering, base: int, layer_bytes: int, panel_bytes: int, layer: Reg | None, block: Block
) -> Reg:
    """A new register: HBM address of the block's first panel."""
    code = lo.code
    address = layer_base(code, base, layer, layer_bytes)
    with code.scope():
        offset = code.calc("mul", block.first, panel_bytes)
        code.alu("add", address, address, offset)
    return address


def _channel_share(
    lo: Lowering,
    number: int,
    block: Block,
    parts: list[tuple[str, Reg, Reg, Reg, int, int]],
) -> None:
    """One channel's panels: number*panels/4 up to (number+1)*panels/4."""
    code, tokens, channel = lo.code, lo.tokens, W_CHANNELS[number]
    ways = len(W_CHANNELS)
    code.wait(channel, tokens.w_free[number])
    with code.scope():
        first = code.calc("mul", block.panels, number)
        code.alu("divu", first, first, ways)
        count = code.calc("mul", block.panels, number + 1)
        code.alu("divu", count, count, ways)
        code.alu("sub", count, count, first)
        with code.unless("eq", count, 0):
            for place, at, address, width, stride, slot in parts:
                with code.scope():
                    offset = code.calc("mul", first, stride)
                    source = Descriptor(Space.HBM, Format.U8, (1, 1), (stride, 1))
                    src = code.tensor(
                        source, ("base", address), ("base", offset), dim0=count, dim1=width
                    )
                    code.alu("mul", offset, first, slot)
                    target = lo.tsram(place, Format.U8, (1, slot))
                    dst = code.tensor(
                        target, ("base", at), ("base", offset), dim0=count, dim1=width
                    )
                    code.emit("dma", channel=channel, dst=dst, src=src)
    code.signal(channel, tokens.w_full[number])


def _multiply(lo: Lowering, work: Linear, block: Block, k: Reg, depth: Reg) -> None:
    """Queue on the MXU: the chunk's product, then free both slots."""
    code, tokens = lo.code, lo.tokens
    code.wait(MXU, tokens.a_full)
    for sem in tokens.w_full:  # each channel's own: one may be chunks ahead of another
        code.wait(MXU, sem)
    with code.scope():
        sums = acc(lo, block)
        a = _activation_slot(lo, work, block, depth)
        w = _weight_slot(lo, work, block, depth)
        with _by_rows(lo, block.rows) as variants:
            for split in variants:
                _gemm(code, k, split, acc=sums, a=a, w=w)
    code.signal(MXU, tokens.a_free)
    for sem in tokens.w_free:
        code.signal(MXU, sem)


SKINNY = 32  # rows below which sub-arrays' shorter drain is worth more than long streams (estimate)


@contextmanager
def _by_rows(lo: Lowering, rows: Value) -> Iterator[Iterator[int]]:
    """The array's split to emit code for: the option's, or for many and for few rows in turn."""
    code, option = lo.code, lo.plan.options.split
    widest = max(lo.plan.chip.tile.mxu.splits)
    if option is not None or widest == 1:
        yield iter((option or 1,))
        return
    few, done = code.label("few_rows"), code.label("gemm_done")

    def variants() -> Iterator[int]:
        with code.scope():
            code.emit("blt", ra=code.reg(rows), b=SKINNY, target=few)
        yield 1
        code.emit("jmp", target=done)
        code.place(few)
        yield widest
        code.place(done)

    yield variants()


def _gemm(code: Code, k: Reg, split: int, **operands: Desc) -> None:
    """A product that starts the accumulator at the first chunk of K and adds to it later."""
    suffix = "" if split == 1 else f".split{split}"
    later, done = code.label("later"), code.label("done")
    code.emit("bne", ra=k, b=0, target=later)
    code.emit("gemm" + suffix, **operands)
    code.emit("jmp", target=done)
    code.place(later)
    code.emit("gemm.acc" + suffix, **operands)
    code.place(done)


def acc(lo: Lowering, block: Block) -> Desc:
    """The block's sums in the accumulator."""
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    return lo.code.tensor(lo.acc(1, width), dim0=block.rows, dim1=block.columns)


def _activation_slot(lo: Lowering, work: Linear, block: Block, depth: Reg) -> Desc:
    p, tile = work.src.precision, lo.plan.tile
    stride = p.data_bytes(tile.chunk) * 8 // p.bits
    scaled = p.scale_kind is not ScaleKind.NONE
    slot = Descriptor(
        Space.TSRAM,
        p.element,
        (1, 1),
        (stride, 1),
        tile.at["a_data"],
        scale_kind=p.scale_kind,
        scale=tile.at["a_scale"] if scaled else 0,
        scale_strides=(p.scale_bytes(tile.chunk), 1) if scaled else (0, 0),
    )
    adds: list[tuple[str, Value]] = [("base", lo.a_at)]
    if scaled:
        adds.append(("scale", _scale_at(lo.code, lo.a_at, tile.a_slot, tile.a_scale_slot)))
    return lo.code.tensor(slot, *adds, dim0=block.rows, dim1=depth)


def _weight_slot(lo: Lowering, work: Linear, block: Block, depth: Reg) -> Desc:
    p, tile = work.matrix.precision, lo.plan.tile
    scaled = p.scale_kind is not ScaleKind.NONE
    slot = Descriptor(
        Space.TSRAM,
        p.element,
        (1, 1),
        (tile.chunk * PANEL_COLUMNS, 1),
        tile.at["w_data"],
        layout=Layout.PANEL,
        scale_kind=p.scale_kind,
        scale=tile.at["w_scale"] if scaled else 0,
        scale_strides=(p.scale_bytes(tile.chunk) * PANEL_COLUMNS, PANEL_COLUMNS)
        if scaled
        else (0, 0),
    )
    adds: list[tuple[str, Value]] = [("base", lo.w_at)]
    if scaled:
        adds.append(("scale", _scale_at(lo.code, lo.w_at, tile.w_slot, tile.w_scale_slot)))
    return lo.code.tensor(slot, *adds, dim0=block.columns, dim1=depth)


def read_out(lo: Lowering, work: Linear, block: Block) -> None:
    """Queue on the MXU: stage = acc, times row and column factors where the formats have them."""
    code, tokens = lo.code, lo.tokens
    column_scaled = work.matrix.precision.column_scaled
    code.wait(MXU, tokens.stage_free)
    with code.scope():
        factors: dict[str, Desc] = {}
        if work.src.row_scale is not None:
            row = lo.tsram("row_scale", Format.E8M0, (1, 1))
            factors["row"] = code.tensor(row, dim0=block.rows)
        if column_scaled:
            columns = lo.tsram("columns", Format.FP32, (1, 1))
            factors["col"] = code.tensor(columns, dim1=block.columns)
        dst = stage(lo, block, block.columns)
        code.emit("readout", dst=dst, acc=acc(lo, block), **factors)
    if column_scaled:
        code.signal(MXU, tokens.column_free)
    code.signal(MXU, tokens.stage_full)


def stage(lo: Lowering, block: Block, columns: Value) -> Desc:
    """The first columns of the block that the array has just read out, FP32 in TSRAM."""
    width = lo.plan.tile.block_panels * PANEL_COLUMNS
    place = lo.tsram("stage", Format.FP32, (1, width))
    return lo.code.tensor(place, dim0=block.rows, dim1=columns)
