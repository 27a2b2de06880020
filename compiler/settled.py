"""What a plan's tiling is, knob by knob: given, or made by the rules of the model and the chip."""

from __future__ import annotations

from compiler.lower.activations import SHARED_ROWS
from compiler.lower.attention_items import LEAST_ROWS
from compiler.lower.attention_split import WORTH
from compiler.lower.context import Plan
from compiler.lower.heads import PART_ROWS
from compiler.lower.linear import PARTS_A_CHUNK
from compiler.lower.multiply import SKINNY
from compiler.tile_memory import PART_SLOTS
from compiler.tiling import Tiling
from isa.descriptor import PANEL_COLUMNS


def settled(plan: Plan) -> Tiling:
    """The tiling with nothing left to a rule: compiled with it, a program is the same.

    But for `skinny`, where --split is given and so nothing is left to say.
    """
    tile, capacity, given = plan.tile, plan.capacity, plan.options.tiling
    panel = max(capacity.group_rows, capacity.wanted, PART_SLOTS) * PANEL_COLUMNS
    return Tiling(
        chunk=tile.w_slot,
        slots=tile.w_depth,
        lent=tile.lent_slots,
        block=tile.block_panels,
        group_rows=capacity.group_rows,
        stage=tile.stage // panel,
        wide_stage=tile.wide_stage // panel,
        parts=given.of("parts", PARTS_A_CHUNK),
        skinny=given.of("skinny", SKINNY) if plan.options.split is None else None,
        shared_rows=given.of("shared_rows", SHARED_ROWS),
        head_part=given.of("head_part", PART_ROWS),
        page_slots=tile.page_slots,
        attend_rows=tile.attend_rows,
        item_rows=given.of("item_rows", LEAST_ROWS),
        spread=given.of("spread", WORTH),
    )
