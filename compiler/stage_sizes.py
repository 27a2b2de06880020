"""How much of a product is read out at a time, and finished by the vector unit: the stage."""

from __future__ import annotations

from compiler.tile_phases import KnobDoesNotFit, Sizing
from compiler.tiling import Tiling

STAGE_SHARE = 40  # of a tile's memory: the least that is read out at a time has no more for that
STAGE_PASSES = 64  # of the vector unit over the stage, so that starts count for little: estimate
STAGE_PANELS = 4  # panels that can be read out at a time, whatever the rows; more with fewer


def stage_elements(sizing: Sizing, panel: int) -> int:
    """Elements that are read out at a time: those of all rows, and enough for the vector unit.

    `panel`: of all rows, elements.
    """
    tile, given = sizing.chip.tile, sizing.tiling.stage
    if given is not None:
        return given * panel
    enough = min(tile.vpu.lanes * STAGE_PASSES, tile.tsram.bytes // STAGE_SHARE // 4)
    enough = 1 << enough.bit_length() - 1
    return max(STAGE_PANELS, enough // panel // STAGE_PANELS * STAGE_PANELS) * panel


def wide_stage_elements(tiling: Tiling, panel: int, stage: int, spare: bool, slot: int) -> int:
    """Elements read out at a time by several row groups, which may use a slot of the ring.

    `panel`: of all rows, elements; `spare`: whether the ring can do without one, of `slot` bytes.
    """
    if tiling.wide_stage is None:
        wide = stage
        while spare and wide * 8 <= stage * 4 + slot:
            wide *= 2
        return wide
    wide = tiling.wide_stage * panel
    if wide < stage:
        raise KnobDoesNotFit("wide_stage: less than the stage of one row group")
    if wide > stage and (not spare or wide * 4 > stage * 4 + slot):
        raise KnobDoesNotFit("wide_stage: beyond the stage and a slot of the weight ring")
    return wide
