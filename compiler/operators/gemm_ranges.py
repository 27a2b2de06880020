"""Ranges of K on different tiles (`ksplit`), and the sum of what they give.

K is cut into blocks of 32, and these among the ranges: of B blocks, range r of S has those from
r * B // S up to (r + 1) * B // S. No chip is asked; the tiles of a range form a grid over the
whole result, and are as many tiles apart from those that have the same block of it in the next.

Every tile reads its partial sums out in FP32. Those of range 0 add the others' to theirs on the
vector unit, in ascending order, convert the sum once, and send it; the others write theirs to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.emit import Desc, Reg, Scaled, Sem
from compiler.operators.gemm_plan import BLOCK, Cutting
from compiler.operators.workspace import ELEMENTS, Workspace, slot_bytes
from isa.descriptor import Descriptor
from isa.formats import Format

MXU, VPU = "mxu", "vpu"


@dataclass(frozen=True)
class Ranges:
    """This tile's range, and a ring of places for everyone's partial sums of a read-out.

    In each slot there is a place for every range. A tile reads out into the place of its own, and
    sends it from there to the same place of the tile `adder`.
    """

    count: int
    tiles: int  # of a range
    number: Reg
    adder: Reg
    place: Descriptor  # FP32: of range 0 in the first slot
    slots: int
    at: Reg  # of the slot, in bytes
    channel: str
    empty: Sem  # free: the own place, for the array
    ready: Sem  # full: the own place, for the vector unit of range 0
    leaving: Sem  # full: the own place, for the channel of the others
    room: Sem  # free: the place on the adder, for the channel of the others
    arrived: tuple[Sem, ...]  # by slot: so many other ranges' partial sums are there

    @property
    def size(self) -> int:
        """Bytes from one range's place to the next one's."""
        return slot_bytes(self.place.format, self.place.shape)


def make_ranges(
    work: Workspace, cut: Cutting, shape: tuple[int, int], slots: int, channel: str
) -> Ranges:
    """Places for partial sums of a shape, which one channel sends."""
    code = work.code
    number = code.calc("divu", work.tile, cut.grid)
    return Ranges(
        cut.ranges,
        cut.grid,
        number,
        code.calc("remu", work.tile, cut.grid),
        work.local("partial sums", Format.FP32, shape, slots * cut.ranges),
        slots,
        code.reg(0),
        channel,
        work.credit(MXU, slots),
        code.sem(),
        code.sem(),
        work.credit(channel, slots),
        tuple(code.sem() for _ in range(slots)),
    )


def span(work: Workspace, ranges: Ranges, k: int, stored: int | None) -> tuple[Reg, Reg]:
    """This tile's [begin, end) of K as it is stored: each range from a multiple of `stored` on."""
    code = work.code
    begin, end = work.share(k, ranges.number, ranges.count, BLOCK)
    if stored is not None:
        code.alu("sub", end, end, begin)
        code.alu("mul", begin, ranges.number, stored)
        code.alu("add", end, end, begin)
    return begin, end


def read_out(work: Workspace, ranges: Ranges, sums: Desc, extent: tuple[Reg, Reg]) -> None:
    """Queue the read-out of (rows, columns) to this tile's place; all but range 0 send it."""
    code = work.code
    code.wait(MXU, ranges.empty)
    with code.scope():
        own = _place(work, ranges, ranges.number, extent)
        code.emit("readout", dst=own, acc=sums)
        with code.unless("eq", ranges.number, 0):
            code.signal(MXU, ranges.leaving)
            code.wait(ranges.channel, ranges.leaving)
            code.wait(ranges.channel, ranges.room)
            there = _place(work, ranges, ranges.number, extent, owner=ranges.adder)
            code.emit("dma", channel=ranges.channel, dst=there, src=own)
            _by_slot(
                work,
                ranges,
                lambda slot: code.signal_tile(ranges.channel, ranges.arrived[slot], ranges.adder),
            )
            code.signal(ranges.channel, ranges.empty)


def add_up(
    work: Workspace, ranges: Ranges, dst: Desc, result: Format, extent: tuple[Reg, Reg]
) -> None:
    """Queue on range 0: all places' sum, in ascending order, converted once; they are free then."""
    code = work.code
    code.signal(MXU, ranges.ready)
    code.wait(VPU, ranges.ready)
    _by_slot(work, ranges, lambda slot: code.wait(VPU, ranges.arrived[slot], ranges.count - 1))
    total = _place(work, ranges, 0, extent)
    direct = result in ELEMENTS
    for number in range(1, ranges.count):
        last = direct and number == ranges.count - 1
        with code.scope():
            other = _place(work, ranges, number, extent)
            code.emit("vadd", dst=dst if last else total, a=total, b=other)
    if not direct:
        code.emit("vcvt", dst=dst, a=total)
    code.signal(VPU, ranges.empty)
    with code.scope():
        tile = code.reg(work.tile)
        with code.loop(ranges.count - 1):
            code.alu("add", tile, tile, ranges.tiles)
            code.signal_tile(VPU, ranges.room, tile)


def next_slot(work: Workspace, ranges: Ranges) -> None:
    """Go on to the next places."""
    work.next_slot(ranges.at, ranges.count * ranges.size, ranges.slots)


def _place(
    work: Workspace, ranges: Ranges, number: int | Reg, extent: tuple[Reg, Reg], **sets: Reg
) -> Desc:
    """A range's place in the present slot, on this tile or on its `owner`."""
    rows, columns = extent
    first, code = ranges.place, work.code
    if isinstance(number, int):
        first = first.at(first.base + number * ranges.size)
        return code.tensor(first, ("base", ranges.at), dim0=rows, dim1=columns, **sets)
    skip = Scaled(number, ranges.size)
    return code.tensor(first, ("base", ranges.at), ("base", skip), dim0=rows, dim1=columns, **sets)


def _by_slot(work: Workspace, ranges: Ranges, body: Callable[[int], None]) -> None:
    """What names the present slot's semaphore."""
    size = ranges.count * ranges.size
    for slot in range(ranges.slots):
        with work.code.unless("ne", ranges.at, slot * size):
            body(slot)
