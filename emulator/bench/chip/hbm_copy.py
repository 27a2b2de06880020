"""What the chip's HBM gives at best: every tile copies pieces of 64 KiB to its SRAM, for long.

bytes_per_cycle(load_chip("t1"))        # 2,706 of the peak's 2,917
"""

from __future__ import annotations

from typing import Final

from compiler.errors import CompileError
from compiler.operators.workspace import Workspace
from emulator.validate.predict import cycles
from isa.chip import Chip
from isa.formats import Format
from isa.program import Program, Role

PIECE: Final = 65536  #: bytes of one transfer
#: Bytes for each HBM channel: so long that the start (some 1,000 cycles) is below one per cent.
_EACH_CHANNEL: Final = 160 * PIECE


def hbm_copy(chip: Chip, turns: int) -> Program:
    """Every tile brings `turns` pieces over each of its channels: neighbours in HBM, in turns.

    Raises CompileError if a tile's SRAM has no room for a piece.
    """
    ways = min(chip.tile.dma.channels, chip.tile.tsram.bytes // PIECE)
    if not ways:
        raise CompileError(f"{chip.name}: tile.tsram.bytes: {PIECE} bytes of a copy do not fit")
    row = chip.num_tiles * ways * PIECE
    work = Workspace("hbm_copy", chip)
    source = work.tensor("source", (turns * row,), Format.U8, Role.IN)
    code = work.code
    with code.op("copy"):
        place = code.calc("mul", work.tile, ways * PIECE)
        slots = [work.local(f"slot{way}", Format.U8, (PIECE,)) for way in range(ways)]
        with code.loop(turns):
            for way, slot in enumerate(slots):
                with code.scope():
                    offset = code.calc("add", place, way * PIECE)
                    src = code.tensor(source, ("base", offset), dim0=code.reg(PIECE))
                    dst = code.tensor(slot)
                    code.emit("dma", channel=f"dma{way}", dst=dst, src=src)
            code.alu("add", place, place, row)
    return work.program(turns=turns, channels=ways)


def bytes_per_cycle(chip: Chip) -> float:
    """Bytes a cycle of a long copy, its start included."""
    ways = min(chip.tile.dma.channels, chip.tile.tsram.bytes // PIECE)
    row = chip.num_tiles * max(ways, 1) * PIECE
    turns = max(2, _EACH_CHANNEL * chip.hbm.stacks * chip.hbm.channels // row)
    return turns * row / cycles(hbm_copy(chip, turns), chip)


def peak(chip: Chip) -> float:
    """Bytes a cycle that the chip's HBM is rated at."""
    return chip.hbm.bytes_per_second / chip.clock_hz
