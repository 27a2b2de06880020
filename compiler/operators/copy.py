"""Copying memory: every channel of every tile takes an equal, contiguous part."""

from __future__ import annotations

from typing import Literal

from compiler.emit import Value
from compiler.operators.workspace import Workspace, check_shape
from isa.chip import Chip
from isa.descriptor import Descriptor
from isa.formats import Format
from isa.program import Program, Role

LINE = 64  #: parts are multiples of it


def copy(chip: Chip, nbytes: int, to: Literal["hbm", "sram"] = "hbm") -> Program:
    """dst = src, `nbytes` of HBM; or into the tiles' SRAM, which keeps the last of it."""
    check_shape("copy", bytes=nbytes)
    work = Workspace("copy", chip)
    src = work.tensor("src", (nbytes,), Format.U8, Role.IN)
    ways = chip.tile.dma.channels
    dst = work.tensor("dst", (nbytes,), Format.U8, Role.OUT) if to == "hbm" else None
    room = chip.tile.tsram.bytes // ways // LINE * LINE
    parts = chip.num_tiles * ways
    code = work.code
    with code.op("copy"):
        for number in range(ways):
            with code.scope():
                share = code.calc("mul", work.tile, ways)
                code.alu("add", share, share, number)
                begin, end = work.share(nbytes, share, parts, LINE)
                length = code.calc("sub", end, begin)
                channel = f"dma{number}"
                if dst is not None:
                    with code.unless("eq", length, 0):
                        _bytes(work, channel, (dst, begin), (src, begin), length)
                else:
                    slot = work.local(f"dma{number}", Format.U8, (room,))
                    with code.stepping(begin, end, room) as (at, size):
                        _bytes(work, channel, (slot, 0), (src, at), size)
    return work.program(to=to, channels=ways)


def _bytes(
    work: Workspace,
    channel: str,
    dst: tuple[Descriptor, Value],
    src: tuple[Descriptor, Value],
    size: Value,
) -> None:
    code = work.code
    with code.scope():
        to = code.tensor(dst[0], ("base", dst[1]), dim0=size)
        source = code.tensor(src[0], ("base", src[1]), dim0=size)
        code.emit("dma", channel=channel, dst=to, src=source)
