"""What goes on after a fault, and several faults in one program."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import (
    CTL,
    DMA0,
    MXU,
    SCRATCH,
    VPU,
    Make,
    Script,
    ints,
    pattern,
    u8,
)
from emulator.conformance.suites.faults_bases import BASES, Base
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.faults import unit_name
from isa.formats import Format

_BAD: Final = Descriptor(Space.TSRAM, Format.I32, (4,), (1,), 0x40, fan=0)


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "rest/other-tiles": _other_tiles,
        "rest/other-units": _other_units,
        "rest/queued-before": _queued_before,
        "rest/full-queue": _blocked,
        "rest/sorted": _sorted,
        "rest/first-in-unit": _first_in_unit,
        "rest/signal-nowhere": _signal_nowhere,
        "rest/signal-of-stopped": _signal_of_stopped,
        "rest/into-stopped": _into_stopped,
        "rest/falls-off": _falls_off,
        "rest/destination": _destination,
        "rest/cleared-descriptor": _cleared,
        "rest/cleared-by-entry": _cleared_by_entry,
    }
    return [Maker(f"faults/{name}", make) for name, make in cases.items()]


def proof(s: Script, number: int, channel: int = 7) -> None:
    """A copy that must come out."""
    content = pattern(32, 70 + number)
    s.move(channel, u8(Space.HBM, s.result(content), 32), u8(Space.HBM, s.data(content), 32))


def never(s: Script, channel: int = 7) -> None:
    """A copy that must not be made."""
    s.move(channel, u8(Space.HBM, s.slot(32), 32), u8(Space.HBM, s.data(pattern(32, 1)), 32))


def finish(s: Script, *points: str) -> Case:
    """The end of the code and the case."""
    s.emit("halt")
    return s.case(points)


def _other_tiles(chip: Chip, name: str) -> Case:
    """One tile stops at once; the others exchange data over many steps."""
    s = Script(chip, name, "tile 0 faults; the others hand a word on ten times")
    tiles = chip.num_tiles
    with s.on(0):
        s.fault(0, CTL, s.emit("ret"), "call_depth")
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("add", rd=2, ra=1, b=1)
    s.load(1, ints(0x100, 1))
    s.load(2, ints(0x140, 1))
    for tile in range(1, tiles):
        with s.on(tile):
            following = tile % (tiles - 1) + 1
            s.load(3, replace(ints(0x100, 1), owner=following))
            s.emit("li", rd=3, imm=following)
            if tile == 1:
                s.emit("signal", unit="ctl", sem=1, count=1)
            end = s.fresh("end")
            s.emit("loop", count=10, target=end)
            s.emit("wait", unit="vpu", sem=1, count=1)
            s.emit("vadd", dst=2, a=1, b=(1, 0), scalar=1)
            s.emit("signal", unit="vpu", sem=2, count=1)
            s.emit("wait", unit="dma1", sem=2, count=1)
            s.emit("dma", channel="dma1", dst=3, src=2)
            s.emit("signal", unit="dma1", sem=1, count=1, scope="tile", tile=3)
            s.label(end)
            s.fence(DMA0 + 1)
            value = 9 * sum(range(1, tiles)) + sum(range(1, tile + 1))
            s.move(
                0, u8(Space.HBM, s.result(struct.pack("<i", value)), 4), u8(Space.TSRAM, 0x140, 4)
            )
    return finish(s, "rule:fault-rest")


def _other_units(chip: Chip, name: str) -> Case:
    """A unit stops; the control processor goes on to give others work, and those do it."""
    s = Script(chip, name, "the vector unit stops; channels and scalars of its tile go on")
    s.only(0)
    s.load(0, _BAD)
    s.fault(0, VPU, s.emit("viota", dst=0, start=1), "bad_descriptor")
    s.emit("li", rd=1, imm=0)
    s.emit("loop", count=50, target="end")
    s.emit("add", rd=1, ra=1, b=3)
    s.label("end")
    content = pattern(64, 5)
    s.move(1, u8(Space.TSRAM, 0x800, 64), u8(Space.HBM, s.data(content), 64))
    s.fence(DMA0 + 1)
    s.load(1, ints(0x800, 16))
    s.emit("ld", rd=2, src=1, index=3)
    s.emit("signal", unit="dma1", sem=1, count=1)
    s.emit("wait", unit="dma2", sem=1, count=1)
    s.move(2, u8(Space.HBM, s.result(content), 64), u8(Space.TSRAM, 0x800, 64))
    s.fence(DMA0 + 2)
    s.emit("bne", ra=1, b=150, target="wrong")
    s.emit("bne", ra=2, b=struct.unpack("<16i", content)[3], target="wrong")
    proof(s, 0)
    s.label("wrong")
    return finish(s, "rule:fault-rest")


def _queued_before(chip: Chip, name: str) -> Case:
    """The control processor stops; what it has queued is done, also what waits for other tiles."""
    s = Script(chip, name, "units finish their queues after their control processor has faulted")
    with s.on(1):
        s.emit("wait", unit="dma1", sem=1, count=1)
        proof(s, 0, 1)
        s.emit("signal", unit="dma1", sem=2, count=1)
        s.emit("wait", unit="dma2", sem=2, count=1)
        proof(s, 1, 2)
        s.fault(1, CTL, s.word(0xEE, 0), "illegal_instruction")
        never(s)
    with s.on(0):
        s.emit("li", rd=1, imm=1)
        s.emit("loop", count=200, target="end")
        s.emit("nop")
        s.label("end")
        s.emit("signal", unit="ctl", sem=1, count=1, scope="tile", tile=1)
    return finish(s, "rule:fault-rest", "fault:*:illegal_instruction")


def _blocked(chip: Chip, name: str) -> Case:
    """A stopped unit's queue is never served; who fills it is blocked, which is no fault."""
    s = Script(chip, name, "more work for a stopped unit than its queue takes; then nothing")
    s.only(0)
    s.load(0, _BAD)
    s.load(1, ints(0x40, 1))
    s.fault(0, VPU, s.emit("viota", dst=0, start=1), "bad_descriptor")
    proof(s, 0)
    for _ in range(chip.tile.queue_depth + 2):
        s.emit("viota", dst=1, start=1)
    never(s)
    return finish(s, "rule:fault-rest", "rule:fault-alone")


def _sorted(chip: Chip, name: str) -> Case:
    """Faults of many units of all tiles: sorted by tile, unit and pc."""
    s = Script(chip, name, "units fault in another order than they are reported in")
    s.load(0, _BAD)
    s.load(1, ints(0x40, 4))
    pcs = {}
    order = [DMA0 + 5, VPU, DMA0, MXU, DMA0 + 2]
    for unit in order:
        if unit >= DMA0:
            pcs[unit] = s.emit("dma", channel=unit_name(unit), dst=0, src=1)
        elif unit == VPU:
            pcs[unit] = s.emit("viota", dst=0, start=1)
        else:
            pcs[unit] = s.emit("seed", acc=0, src=1)
    pcs[CTL] = s.emit("call", target=1 << 31)
    for tile in range(chip.num_tiles):
        for unit in order:
            s.fault(tile, unit, pcs[unit], "bad_descriptor")
        s.fault(tile, CTL, 1 << 31, "bad_pc")
    return finish(s, "rule:fault-sorted", "fault:*:bad_pc")


def _first_in_unit(chip: Chip, name: str) -> Case:
    """A unit reports its first fault only."""
    s = Script(chip, name, "three bad instructions for one channel, one for another")
    s.only(0)
    s.load(0, _BAD)
    s.load(1, ints(0x40, 4))
    s.load(2, ints(1, 4))
    s.load(3, replace(ints(0x80, 4), owner=chip.num_tiles))
    s.fault(0, DMA0 + 1, s.emit("dma", channel="dma1", dst=2, src=1), "misaligned")
    s.emit("dma", channel="dma1", dst=0, src=1)
    s.emit("wait", unit="dma1", sem=1, count=-1)
    s.fault(0, DMA0 + 3, s.emit("dma", channel="dma3", dst=3, src=1), "bad_tile")
    s.emit("dma", channel="dma3", dst=2, src=1)
    proof(s, 0)
    return finish(s, "rule:fault-first")


def _signal_nowhere(chip: Chip, name: str) -> Case:
    """A signal to all that one tile cannot take adds nothing on the others either."""
    s = Script(
        chip, name, "one tile's semaphore is full; a signal of scope all faults; nobody gets it"
    )
    last = chip.num_tiles - 1
    with s.on(last):
        s.emit("signal", unit="ctl", sem=4, count=65535)
        s.emit("signal", unit="ctl", sem=5, count=1, scope="tile", tile=0)
    for tile in range(1, last):
        with s.on(tile):
            s.emit("wait", unit="dma1", sem=4, count=1)
            never(s, 1)
            proof(s, tile)
    with s.on(0):
        s.emit("wait", unit="dma2", sem=5, count=1)
        s.emit("wait", unit="dma1", sem=4, count=1)
        never(s, 1)
        at = s.emit("signal", unit="dma2", sem=4, count=1, scope="all")
        s.fault(0, DMA0 + 2, at, "semaphore_overflow")
        proof(s, 0)
    return finish(s, "rule:fault-signal", "fault:signal:semaphore_overflow")


def _signal_of_stopped(chip: Chip, name: str) -> Case:
    """Signals behind a fault are not given; who waits for them does not go on."""
    s = Script(chip, name, "a unit faults before it signals all tiles")
    for tile in range(chip.num_tiles):
        with s.on(tile):
            s.emit("wait", unit="dma1", sem=1, count=1)
            never(s, 1)
            proof(s, tile)
    with s.on(0):
        s.load(0, _BAD)
        s.emit("signal", unit="vpu", sem=2, count=1, scope="all")
        s.fault(0, VPU, s.emit("viota", dst=0, start=1), "bad_descriptor")
        s.emit("signal", unit="vpu", sem=1, count=1, scope="all")
    s.emit("wait", unit="dma3", sem=2, count=1)  # what was signalled before has come
    for tile in range(chip.num_tiles):
        with s.on(tile):
            proof(s, 10 + tile, 3)
    return finish(s, "rule:fault-rest")


def _into_stopped(chip: Chip, name: str) -> Case:
    """Memory and semaphores of a tile whose units have stopped can still be written."""
    s = Script(chip, name, "tile 1 faults in ctl and vpu; tile 0 copies into it and out of it")
    content = pattern(64, 14)
    with s.on(1):
        s.load(0, _BAD)
        s.fault(1, VPU, s.emit("viota", dst=0, start=1), "bad_descriptor")
        s.emit("wait", unit="dma4", sem=1, count=1)
        s.move(4, u8(Space.HBM, s.result(content), 64), u8(Space.TSRAM, 0x300, 64))
        s.fault(1, CTL, s.emit("remu", rd=1, ra=1, b=0), "divide_by_zero")
    with s.on(0):
        s.emit("li", rd=1, imm=1)
        s.move(1, u8(Space.TSRAM, 0x300, 64, 1), u8(Space.HBM, s.data(content), 64))
        s.emit("signal", unit="dma1", sem=1, count=1, scope="tile", tile=1)
    return finish(s, "rule:fault-rest", "fault:remu:divide_by_zero")


def _falls_off(chip: Chip, name: str) -> Case:
    """Control runs over the end of the code; one tile comes back there from a call."""
    s = Script(chip, name, "the last instruction is no halt; a return goes behind the last call")
    with s.on(1):
        s.emit("jmp", target="last")
    with s.on(0):
        s.emit("jmp", target="nops")
    s.emit("halt")
    s.label("f")
    s.emit("ret")
    s.label("nops")
    s.emit("nop")
    s.emit("beq", ra=0, b=1, target=0)
    s.label("last")
    s.emit("call", target="f")
    for tile in (0, 1):
        s.fault(tile, CTL, s.here, "bad_pc")
    return s.case(["fault:*:bad_pc"])


def _destination(chip: Chip, name: str) -> Case:
    """A gather with one bad index: its destination is undefined, its surroundings are not."""
    s = Script(chip, name, "everything but the destination keeps its bytes")
    s.only(0)
    base: Base = next(base for base in BASES if base.name == "dmag")
    table = pattern(9 * 32, 4)
    before, behind = s.result(pattern(32, 8)), s.result(pattern(32, 9))
    for slot, seed in ((before, 8), (behind, 9)):
        s.move(0, u8(Space.HBM, slot, 32), u8(Space.HBM, s.data(pattern(32, seed)), 32))
    s.fence(DMA0)
    dst = replace(base.operands["dst"], space=Space.HBM, base=SCRATCH + 0x100)
    s.move(0, u8(Space.TSRAM, 0x600, 12), u8(Space.HBM, s.data(struct.pack("<3i", 1, 9, 2)), 12))
    s.fence(DMA0)
    s.load(0, dst)
    s.load(1, replace(base.operands["src"], base=s.data(table)))
    s.load(2, ints(0x600, 3))
    at = s.emit("dmag", channel="dma1", dst=0, src=1, index=2)
    s.fault(0, DMA0 + 1, at, "out_of_bounds")
    proof(s, 0)
    return finish(s, "fault:dmag:out_of_bounds")


def _cleared(chip: Chip, name: str) -> Case:
    """Descriptor registers begin as zeros, which no instruction takes."""
    s = Script(chip, name, "registers that nobody has loaded, by a load, a channel and both units")
    s.only(0)
    s.fault(0, VPU, s.emit("viota", dst=31, start=1), "bad_descriptor")
    s.fault(0, MXU, s.emit("seed", acc=0, src=0), "bad_descriptor")
    s.fault(0, DMA0, s.emit("dma", channel="dma0", dst=5, src=6), "bad_descriptor")
    proof(s, 0)
    s.fault(0, CTL, s.emit("ld", rd=1, src=9, index=0), "bad_descriptor")
    return finish(s, "rule:entry-clear", "fault:ld:bad_descriptor")


def _cleared_by_entry(chip: Chip, name: str) -> Case:
    """What `main` loaded is gone in `check`; what it wrote is not."""
    s = Script(chip, name, "`main` loads registers and ends well; `check` uses them and faults")
    s.only(0)
    s.load(2, ints(0x100, 4))
    s.load(3, replace(ints(s.result(struct.pack("<4i", 5, 6, 7, 8)), 4), space=Space.HBM))
    s.emit("viota", dst=2, start=5)
    s.fence(VPU)
    s.emit("dma", channel="dma1", dst=3, src=2)
    s.fence(DMA0 + 1)
    s.emit("halt")
    s.entry("check")
    with s.on(0):
        s.fault(0, VPU, s.emit("viota", dst=2, start=9), "bad_descriptor")
        s.fault(0, DMA0 + 1, s.emit("dma", channel="dma1", dst=3, src=2), "bad_descriptor")
        proof(s, 0)
    return finish(s, "rule:entry-clear")
