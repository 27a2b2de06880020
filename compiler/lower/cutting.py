"""How a matrix is cut: a lane's panels, the panels of a block, the depth of a chunk of K.

Both the weight stream and the phases that use its chunks work this out as they run, from the step's
rows; `compiler/schedule.py` does so once more for people to read.
"""

from __future__ import annotations

from compiler.emit import Label, Reg, Value
from compiler.lower.context import Lowering, Plan
from compiler.matrices import Matrix
from compiler.stage_sizes import STAGE_PANELS
from compiler.tile_memory import PART_SLOTS, a_slot
from isa.descriptor import PANEL_COLUMNS

LAYER_MATRICES = ("qkv", "o", "gate_up", "down")  #: of a layer, in the order of their use

HEAD = "lm_head"


def takes_heads(plan: Plan) -> bool:
    """Whether lanes take whole heads of q, k and v in steps of several row groups.

    They then finish them behind the product (see `whole_heads`).
    """
    return "part_rope" in plan.tile.at


def _units(lo: Lowering, matrix: Matrix) -> tuple[Value, Value]:
    """How many units of a matrix lanes share, and panels of one: in registers if steps differ."""
    code, config = lo.code, lo.plan.config
    if matrix.name != "qkv" or not takes_heads(lo.plan):
        return matrix.units, matrix.unit
    units, unit = code.reg(matrix.units), code.reg(matrix.unit)
    with code.unless("eq", lo.groups, 1):
        code.set(units, config.heads + 2 * config.kv_heads)
        code.set(unit, config.head_dim // PANEL_COLUMNS)
    return units, unit


def own_panels(lo: Lowering, matrix: Matrix, alone: bool) -> tuple[Reg, Reg]:
    """New registers: this tile's panels [begin, stop); `alone`: all tiles share, not the group."""
    code = lo.code
    begin, stop = code.reg(), code.reg()
    with code.scope():
        units, unit = _units(lo, matrix)
        first, last = lo.share(units, alone)
        for dst, edge in ((begin, first), (stop, last)):
            code.alu("mul", dst, edge, unit)
            code.alu("min", dst, dst, matrix.panels)
    return begin, stop


def rows_each(lo: Lowering, alone: bool) -> Reg:
    """A new register: rows of the largest row group, or those that want logits."""
    return lo.code.reg(lo.wanted) if alone else lo.rows_each()


def most_resident(
    plan: Plan, matrix: Matrix, several: bool = False, beside_pages: bool = False
) -> int:
    """The most rows whose activations, all K of them, fit a tile at once.

    `several`: in a step of several row groups. Where pages lie apart, theirs is free from attention
    up to the next QKV, and in such steps always; `beside_pages`: if that is not used.
    """
    p, tile = plan.activations, plan.tile
    free = several or matrix.name != "qkv"
    room = tile.wide_room if free and not beside_pages else tile.a_room
    if matrix.name == HEAD:
        room = tile.head_room
    most = room // p.data_bytes(matrix.k)
    return min(most, tile.a_scale_room // p.scale_bytes(matrix.k)) if p.block else most


def resident_rows(lo: Lowering, matrix: Matrix) -> Reg:
    """A new register: the most rows whose activations fit a tile at once in this step."""
    code, plan = lo.code, lo.plan
    rows, several = code.reg(most_resident(plan, matrix)), most_resident(plan, matrix, True)
    if lo.most_groups > 1 and matrix.name != HEAD:
        with code.unless("eq", lo.groups, 1):
            code.set(rows, several)
    return rows


def a_slot_bytes(plan: Plan, alone: bool) -> tuple[int, int]:
    """Bytes of a slot where activations come in chunks, and of its scales."""
    tile = plan.tile
    return a_slot(tile.head_room if alone else tile.a_room), a_slot(tile.a_scale_room)


def ring_elements(plan: Plan, alone: bool) -> int:
    """Activations that a slot holds where they come in chunks."""
    p, (data, scales) = plan.activations, a_slot_bytes(plan, alone)
    return min(data * 8 // p.bits, scales * p.block) if p.block else data * 8 // p.bits


def most_panels(lo: Lowering, matrix: Matrix, alone: bool) -> Reg:
    """A new register: panels of the lane that has most."""
    code = lo.code
    most = code.reg()
    with code.scope():
        units, unit = _units(lo, matrix)
        lanes = code.reg(lo.plan.chip.num_tiles) if alone else lo.lanes()
        code.alu("add", most, lanes, -1)
        code.alu("add", most, most, units)
        code.alu("divu", most, most, lanes)
        code.alu("mul", most, most, unit)
    return code.alu("min", most, most, matrix.panels)


def chunks_of(lo: Lowering, matrix: Matrix, most: int, larger: Label) -> Reg:
    """A new register: chunks of this tile's part of a layer's matrix; to `larger` if beyond `most`.

    That is bytes of a chunk's elements.
    """
    code, k = lo.code, matrix.k_stored
    count = code.reg()
    with code.scope():
        first, stop = own_panels(lo, matrix, alone=False)
        wide, depth = code.reg(), code.reg()
        cut(lo, matrix, wide, depth, alone=False)
        elements = most * 8 // matrix.precision.bits // PANEL_COLUMNS
        with code.scope():
            code.emit("bge", ra=code.calc("mul", wide, depth), b=elements + 1, target=larger)
        for total, piece in ((code.alu("sub", stop, stop, first), wide), (code.reg(k), depth)):
            code.alu("add", total, total, piece)
            code.alu("add", total, total, -1)
            code.alu("divu", piece, total, piece)
        code.alu("mul", count, wide, depth)
    return count


def region_panels(lo: Lowering, rows: Reg) -> Reg:
    """A new register: panels read out at a time, all rows of them; the more, the fewer rows."""
    code, tile = lo.code, lo.plan.tile
    panels = code.reg(tile.stage // PANEL_COLUMNS)
    if tile.wide_stage > tile.stage and lo.most_groups > 1:
        with code.unless("eq", lo.groups, 1):
            code.set(panels, tile.wide_stage // PANEL_COLUMNS)
    with code.scope():
        code.alu("divu", panels, panels, code.calc("max", rows, 1))
    code.alu("and", panels, panels, -STAGE_PANELS)  # those that stay together
    row = tile.stage // PART_SLOTS // PANEL_COLUMNS // STAGE_PANELS * STAGE_PANELS
    return code.alu("min", panels, panels, min(tile.block_panels, row))  # a part has a row


def _cut_regions(lo: Lowering, matrix: Matrix, wide: Reg) -> None:
    """Make blocks no wider than what is read out at once; and of whole heads, where they are."""
    code = lo.code
    whole = matrix.name == "qkv" and takes_heads(lo.plan)
    with code.scope():
        rows, end = rows_each(lo, alone=False), code.label("regions")
        with code.scope():
            if whole:
                code.emit("beq", ra=lo.groups, b=1, target=end)
            else:
                code.emit("blt", ra=resident_rows(lo, matrix), b=rows, target=end)
        region = region_panels(lo, rows)
        code.alu("min", wide, wide, region)
        if whole:
            _, unit = _units(lo, matrix)
            code.alu("divu", wide, wide, unit)
            code.alu("mul", wide, wide, unit)
        code.place(end)


def cut(lo: Lowering, matrix: Matrix, wide: Reg, depth: Reg, alone: bool) -> None:
    """Set the panels of a block and the depth of a chunk, the same for every lane.

    As many panels as the accumulator takes, and as much of K as the slot holds, in even chunks. But
    where all of K of the activations is in the tile, a block is read out at once: so its results
    are on their way while the next is worked on.
    """
    code, tile, k = lo.code, lo.plan.tile, matrix.k_stored
    with code.scope():
        code.alu("min", wide, most_panels(lo, matrix, alone), tile.block_panels)
    if lo.most_groups > 1 and not alone:
        _cut_regions(lo, matrix, wide)
    code.set(depth, tile.w_slot * 8 // matrix.precision.bits // PANEL_COLUMNS)
    code.alu("divu", depth, depth, wide)
    with code.scope():
        rows, most = rows_each(lo, alone), resident_rows(lo, matrix)
        with code.unless("ge", most, rows):
            limit = code.reg(ring_elements(lo.plan, alone))
            code.alu("divu", limit, limit, rows)
            code.alu("min", depth, depth, limit)
    code.alu("and", depth, depth, -tile.align)
    with code.scope():
        chunks = code.calc("add", depth, k - 1)
        code.alu("divu", chunks, chunks, depth)
        code.set(depth, k - 1)
        code.alu("add", depth, depth, chunks)
        code.alu("divu", depth, depth, chunks)
        code.alu("add", depth, depth, tile.align - 1)
        code.alu("and", depth, depth, -tile.align)
        code.alu("min", depth, depth, k)
