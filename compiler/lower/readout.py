"""The end of a block: read out of the accumulator part by part, for the VPU to finish.

A region of the block (all rows of some columns) is read out to the stage at a time; its rows are
finished and sent in parts that take turns in two slots.
"""

from __future__ import annotations

from compiler.emit import Desc, Reg, Scaled, Value
from compiler.hbm import rope_columns
from compiler.lower.context import Lowering
from compiler.lower.cutting import region_panels, takes_heads
from compiler.lower.rowwise import layer_base
from compiler.lower.stream import Stream
from compiler.lower.tokens import CONST, MXU, OUT, VPU
from compiler.lower.turns import Block, Epilogue, Linear, Turn
from compiler.matrices import Matrix
from compiler.tile_memory import PART_SLOTS
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format


def block_panels(lo: Lowering, turn: Turn) -> Reg:
    """A new register: panels of the current block."""
    panels = lo.code.calc("sub", turn.stop, turn.first)
    return lo.code.alu("min", panels, panels, turn.wide)


def empty_part(lo: Lowering) -> None:
    """Queue what a part goes through, but nothing is moved: the barrier comes behind the array."""
    code, tokens = lo.code, lo.tokens
    code.wait(MXU, tokens.stage_free)
    code.signal(MXU, tokens.stage_full)
    code.wait(VPU, tokens.stage_full)
    code.signal(VPU, tokens.stage_free)
    code.wait(VPU, tokens.part_free)
    code.signal(VPU, tokens.part_full)
    code.wait(OUT, tokens.part_full)
    code.signal(OUT, tokens.part_free)


def sums_of(lo: Lowering) -> Descriptor:
    """Half of the accumulator, as wide as the widest block."""
    return lo.acc(1, lo.plan.tile.block_panels * PANEL_COLUMNS)


def half_bytes(lo: Lowering) -> int:
    """Bytes of half of the accumulator, as far as a step of most rows uses it."""
    capacity = lo.plan.capacity
    rows = max(capacity.group_rows, capacity.wanted)
    return 4 * rows * lo.plan.tile.block_panels * PANEL_COLUMNS


def block_is_done(lo: Lowering, work: Linear, turn: Turn) -> None:
    """The block at hand becomes the one before: all its parts are to be finished."""
    code = lo.code
    with code.scope():
        parts, regions = _parts(lo, work.matrix, turn, block_panels(lo, turn))
        code.alu("mul", parts, parts, regions)
        code.alu("mul", parts, parts, 2)
        code.alu("xor", turn.parts, turn.parts, 1)
        code.alu("add", turn.parts, turn.parts, parts)
    code.alu("add", turn.first, turn.first, turn.wide)


def _parts(lo: Lowering, matrix: Matrix, turn: Turn, panels: Reg) -> tuple[Reg, Reg]:
    """New registers: parts of a region that is read out at a time, and regions of a block."""
    code = lo.code
    parts, regions = code.reg(), code.reg()
    with code.scope():
        across = region_panels(lo, turn.rows)
        code.alu("add", regions, panels, across)
        code.alu("add", regions, regions, -1)
        code.alu("divu", regions, regions, across)
        rows = _part_rows(lo, matrix, turn.rows)
        code.alu("add", parts, turn.rows, rows)
        code.alu("add", parts, parts, -1)
        code.alu("divu", parts, parts, rows)
    return parts, regions


def _part_rows(lo: Lowering, matrix: Matrix, rows: Reg) -> Reg:
    """A new register: rows of a region that the VPU finishes at a time.

    What it makes of them fits a slot of `extra` and `lin_out`: SwiGLU makes half of it, and heads
    have all of `extra` in turn, but their rows of RoPE have to be there.
    """
    code, tile = lo.code, lo.plan.tile
    whole, half = tile.stage // PANEL_COLUMNS, tile.stage // PART_SLOTS // PANEL_COLUMNS
    part = code.reg(whole if matrix.name == "gate_up" else half)
    heads = matrix.name == "qkv" and takes_heads(lo.plan)
    few = code.label("heads_apart")
    if heads:
        code.emit("beq", ra=lo.groups, b=1, target=few)
        code.set(part, half if lo.plan.config.qk_norm else whole)
        code.place(few)
    with code.scope():
        code.alu("divu", part, part, region_panels(lo, rows))
    if heads:
        rope = tile.sizes["part_rope"] // PART_SLOTS // (4 * rope_columns(lo.plan.config))
        with code.unless("eq", lo.groups, 1):
            code.alu("min", part, part, rope)
    return part


def finish_all(lo: Lowering, turn: Turn, finish: Stream) -> None:
    """Finish what is left of the block before."""
    code = lo.code
    top, out = code.label("part"), code.label("parts_end")
    code.place(top)
    code.emit("blt", ra=turn.parts, b=2, target=out)
    code.call(finish.label, finish.taken)
    code.emit("jmp", target=top)
    code.place(out)


def write_finish(lo: Lowering, work: Linear, turn: Turn, end: Epilogue) -> Stream:
    """Write the subroutine: finish the next part of the block before.

    With a region's first part, the region is read out to the stage; with its last, that is free.
    """
    code = lo.code
    over, label = code.label("over"), code.label("finish")
    code.emit("jmp", target=over)
    with code.subroutine(label) as taken:
        first, panels, row = (code.reg() for _ in range(3))
        code.alu("sub", first, turn.first, turn.wide)
        code.alu("sub", panels, turn.stop, first)
        code.alu("min", panels, panels, turn.wide)
        count, stride = code.reg(), region_panels(lo, turn.rows)
        with code.scope():
            parts, index = _parts(lo, work.matrix, turn, panels)
            code.alu("mul", index, index, parts)
            left = code.calc("shr", turn.parts, 1)
            _load_columns(lo, work, (first, panels), (left, index))
            code.alu("sub", index, index, left)
            code.alu("divu", left, index, parts)  # the region, and then its first panel
            code.alu("mul", left, left, stride)
            code.alu("add", first, first, left)
            code.alu("sub", panels, panels, left)
            code.alu("min", panels, panels, stride)
            code.alu("remu", row, index, parts)
            code.set(count, _part_rows(lo, work.matrix, turn.rows))
            code.alu("mul", row, row, count)
        with code.scope():
            left = code.calc("sub", turn.rows, row)
            code.alu("min", count, count, left)
        code.alu("mul", stride, stride, PANEL_COLUMNS)
        block = Block(first, panels, row, count, stride, turn.side)
        with code.unless("ne", row, 0):
            _read_out(lo, work, turn, block)
            code.wait(VPU, lo.tokens.stage_full)
        code.alu("add", turn.parts, turn.parts, -2)
        if work.matrix.precision.column_scaled:
            with code.unless("ge", turn.parts, 2):
                code.signal(MXU, lo.tokens.column_free)
        end(lo, work, block)
        code.alu("add", turn.side, turn.side, 1)
        code.alu("and", turn.side, turn.side, PART_SLOTS - 1)
        code.alu("add", row, row, count)
        with code.unless("lt", row, turn.rows):
            code.signal(VPU, lo.tokens.stage_free)
            if work.matrix.bias >= 0:
                code.signal(VPU, lo.tokens.const_free)
            if work.matrix.name == "qkv" and takes_heads(lo.plan) and lo.plan.config.qk_norm:
                with code.unless("eq", lo.groups, 1):
                    code.signal(VPU, lo.tokens.const_free)  # the gains, which came as a bias does
    code.place(over)
    return Stream(label, taken)


def _load_columns(
    lo: Lowering, work: Linear, block: tuple[Reg, Reg], parts: tuple[Reg, Reg]
) -> None:
    """Queue on dma7, with a block's first part: its column factors, for the read-out."""
    matrix, code, tokens = work.matrix, lo.code, lo.tokens
    if not matrix.precision.column_scaled:
        return
    first, panels = block
    with code.unless("ne", *parts), code.scope():
        code.wait(CONST, tokens.column_free)
        address = layer_base(code, matrix.columns, work.layer, matrix.vector_bytes)
        columns = code.calc("mul", panels, PANEL_COLUMNS)
        source = Descriptor(Space.HBM, Format.FP32, (1,), (1,))
        at = ("base", Scaled(first, 4 * PANEL_COLUMNS))
        src = code.tensor(source, ("base", address), at, dim0=columns)
        dst = code.tensor(lo.tsram("columns", Format.FP32, (1,)), dim0=columns)
        code.emit("dma", channel=CONST, dst=dst, src=src)
        code.signal(CONST, tokens.column_full)
        code.wait(MXU, tokens.column_full)


def _read_out(lo: Lowering, work: Linear, turn: Turn, block: Block) -> None:
    """Queue on the MXU: stage = acc, times row and column factors where the formats have them."""
    code, tokens = lo.code, lo.tokens
    code.wait(MXU, tokens.stage_free)
    with code.scope():
        factors: dict[str, Desc] = {}
        columns, across = code.calc("mul", block.panels, PANEL_COLUMNS), code.reg()
        code.alu("sub", across, block.first, turn.first)
        code.alu("add", across, across, turn.wide)
        code.alu("mul", across, across, PANEL_COLUMNS * 4)
        if work.src.row_scale is not None:
            row = lo.tsram("row_scale", Format.E8M0, (1, 1))
            factors["row"] = code.tensor(row, dim0=turn.rows)
        if work.matrix.precision.column_scaled:
            vector = lo.tsram("columns", Format.FP32, (1, 1))
            factors["col"] = code.tensor(vector, ("base", across), dim1=columns)
        sums = code.tensor(sums_of(lo), ("base", across), dim0=turn.rows, dim1=columns)
        code.alu("and", across, turn.parts, 1)
        code.alu("xor", across, across, 1)  # the half that is not at hand
        code.alu("mul", across, across, half_bytes(lo))
        code.emit("dadd", dst=sums, field="base", b=across)
        place = lo.tsram("stage", Format.FP32, (1, 1))
        dst = code.tensor(place, dim0=turn.rows, dim1=columns, stride0=block.stride)
        code.emit("readout", dst=dst, acc=sums, **factors)
    code.signal(MXU, tokens.stage_full)


def stage(lo: Lowering, block: Block, columns: Value) -> Desc:
    """The first columns of the part, as the array has read it out, FP32 in TSRAM."""
    code = lo.code
    place = lo.tsram("stage", Format.FP32, (1, 1))
    result = code.tensor(place, dim0=block.rows, dim1=columns, stride0=block.stride)
    with code.scope():
        down = code.calc("mul", block.row, block.stride)
        code.alu("mul", down, down, 4)
        code.emit("dadd", dst=result, field="base", b=down)
    return result


def work_space(lo: Lowering, block: Block, columns: Value, name: str) -> Desc:
    """The first columns of the part's slot of a place, FP32 in TSRAM."""
    code, place = lo.code, lo.tsram(name, Format.FP32, (1, 1))
    result = code.tensor(place, dim0=block.rows, dim1=columns, stride0=block.stride)
    add_slot(lo, block, result)
    return result


def add_slot(lo: Lowering, block: Block, place: Desc, scales: bool = False) -> None:
    """Move an address to the part's slot: that of its elements, or of their scales."""
    code, size = lo.code, lo.plan.tile.stage // PART_SLOTS
    with code.scope():
        slot = code.calc("mul", block.side, size // 16 if scales else 4 * size)
        code.emit("dadd", dst=place, field="scale" if scales else "base", b=slot)
