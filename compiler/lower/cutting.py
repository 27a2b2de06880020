"""How a matrix is cut: a lane's panels, the panels of a block, the depth of a chunk of K.

Both the weight stream and the phases that use its chunks work this out as they run, from the step's
rows; `compiler/schedule.py` does so once more for people to read.
"""

from __future__ import annotations

from compiler.emit import Reg
from compiler.lower.context import Lowering, Plan
from compiler.matrices import Matrix
from compiler.tile_memory import PART_SLOTS, STAGE_PANELS, a_slot
from isa.descriptor import PANEL_COLUMNS

LAYER_MATRICES = ("qkv", "o", "gate_up", "down")  #: of a layer, in the order of their use

HEAD = "lm_head"


def own_panels(lo: Lowering, matrix: Matrix, alone: bool) -> tuple[Reg, Reg]:
    """New registers: this tile's panels [begin, stop); `alone`: all tiles share, not the group."""
    code = lo.code
    begin, stop = lo.share(matrix.units, alone)
    if matrix.unit > 1:
        code.alu("mul", begin, begin, matrix.unit)
        code.alu("mul", stop, stop, matrix.unit)
    code.alu("min", begin, begin, matrix.panels)
    code.alu("min", stop, stop, matrix.panels)
    return begin, stop


def rows_each(lo: Lowering, alone: bool) -> Reg:
    """A new register: rows of the largest row group, or those that want logits."""
    return lo.code.reg(lo.wanted) if alone else lo.rows_each()


def most_resident(plan: Plan, matrix: Matrix, several: bool = False) -> int:
    """The most rows whose activations, all K of them, fit a tile at once.

    `several`: in a step of several row groups.
    """
    p, tile = plan.activations, plan.tile
    room = tile.wide_room if several else tile.a_room
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
    most = code.reg(matrix.units - 1)
    with code.scope():
        lanes = code.reg(lo.plan.chip.num_tiles) if alone else lo.lanes()
        code.alu("divu", most, most, lanes)
    code.alu("add", most, most, 1)
    code.alu("mul", most, most, matrix.unit)
    return code.alu("min", most, most, matrix.panels)


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
        with code.scope():
            rows, most = rows_each(lo, alone), resident_rows(lo, matrix)
            with code.unless("lt", most, rows), code.scope():
                code.alu("min", wide, wide, region_panels(lo, rows))
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
