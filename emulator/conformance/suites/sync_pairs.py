"""Every unit signals every unit, and what it wrote before is there after the wait."""

from __future__ import annotations

import struct
from functools import partial

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import CTL, DMA0, MXU, VPU, Script, pattern, some_tiles, u8
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.faults import NUM_UNITS, unit_name
from isa.formats import Format

#: What is written, what is read back, constants.
_MADE, _TAKEN, _SOURCE = 0x400, 0x600, 0x800
_READY = 9  #: the semaphore by which the last tile says that it has started


def makers() -> list[Maker]:
    """The cases of this module."""
    fast = (CTL, MXU, VPU, DMA0, NUM_UNITS - 1)
    out = []
    for unit in range(NUM_UNITS):
        full = unit not in fast
        name = f"sync/signal/{unit_name(unit)}-to-all"
        out.append(Maker(name, partial(_from, unit, full), full))
    for unit in fast:
        out.append(Maker(f"sync/wait/{unit_name(unit)}-after-remote", partial(_remote, unit)))
    return out


def word(base: int, fmt: Format = Format.FP32, owner: int = -1) -> Descriptor:
    """One 32-bit element."""
    return Descriptor(Space.TSRAM, fmt, (1, 1), (1, 1), base, owner=owner)


def acc(number: int) -> Descriptor:
    """One element of the accumulator."""
    return Descriptor(Space.ACC, Format.FP32, (1, 1), (1, 1), 64 * number)


def copy_word(s: Script, unit: int, dst: int, src: int, number: int) -> None:
    """A unit copies 32 bits from place to place; the control processor keeps them in a register."""
    if unit == CTL:
        s.load(10, Descriptor(Space.TSRAM, Format.I32, (1,), (1,), src))
        s.emit("ld", rd=3, src=10, index=0)
        return
    s.load(10, word(dst))
    s.load(11, word(src))
    if unit == MXU:
        s.load(12, acc(number))
        s.emit("seed", acc=12, src=11)
        s.emit("readout", dst=10, acc=12)
    elif unit == VPU:
        s.emit("vcopy", dst=10, a=11)
    else:
        s.emit("dma", channel=unit_name(unit), dst=10, src=11)


def _value(unit: int, number: int) -> bytes:
    return struct.pack("<i", 0x3F000000 + 0x10001 * unit + 0x1000 * number)


def _units(chip: Chip) -> list[int]:
    return list(range(DMA0 + chip.tile.dma.channels))


def _from(unit: int, full: bool, chip: Chip, name: str) -> Case:
    """One unit writes a word for each unit and signals it; each then reads its word."""
    s = Script(chip, name, f"{unit_name(unit)} writes and signals; consumers were issued before")
    s.only(0)
    units = _units(chip)
    if unit >= DMA0 + chip.tile.dma.channels:  # a channel that this chip lacks
        unit = units[-1]
    values = [_value(unit, number) for number in units]
    constants = b"".join(values)
    s.move(
        0,
        u8(Space.TSRAM, _SOURCE, len(constants)),
        u8(Space.HBM, s.data(constants), len(constants)),
    )
    s.fence(DMA0)
    consumers = [other for other in units if other not in (CTL, unit)]
    for other in consumers:
        s.test("wait", unit=unit_name(other), sem=other, count=1)
        copy_word(s, other, _TAKEN + 4 * other, _MADE + 4 * other, 2 * other)
    # The unit itself comes last: it must not wait before it has signalled the others.
    for other in [*consumers, CTL, *([unit] if unit != CTL else [])]:
        if unit != CTL:
            copy_word(s, unit, _MADE + 4 * other, _SOURCE + 4 * other, 1)
        s.test("signal", unit=unit_name(unit), sem=other, count=1)
        if other in (CTL, unit):
            s.test("wait", unit=unit_name(other), sem=other, count=1)
            copy_word(s, other, _TAKEN + 4 * other, _MADE + 4 * other, 2 * other)
    made = bytes(len(constants)) if unit == CTL else constants
    s.keep(3, struct.unpack("<i", made[:4])[0])
    for other in units[1:]:
        s.fence(other)
    taken = bytes(4) + made[4:]
    s.move(0, u8(Space.HBM, s.result(taken), len(taken)), u8(Space.TSRAM, _TAKEN, len(taken)))
    s.deliver()
    s.emit("halt")
    return s.case(["rule:sync-pairs", "rule:sync-after-work", "rule:sync-blocks"], full)


def _remote(unit: int, chip: Chip, name: str) -> Case:
    """A unit waits for other tiles' DMA, each of which writes into this tile's memory."""
    s = Script(chip, name, f"{unit_name(unit)} of the last tile reads what the others sent")
    last = chip.num_tiles - 1
    unit = min(unit, DMA0 + chip.tile.dma.channels - 1)
    others = some_tiles(chip, 10)[:-1]  # each has a semaphore of its own below _READY
    values = [_value(tile, 3) for tile in others]
    with s.on(last):
        s.emit("signal", unit="ctl", sem=_READY, count=1, scope="all")
        s.emit("wait", unit="ctl", sem=_READY, count=1)
        for sem, value in enumerate(values):
            s.test("wait", unit=unit_name(unit), sem=sem, count=1)
            copy_word(s, unit, _TAKEN + 4 * sem, _MADE + 4 * sem, sem)
            if unit == CTL:
                s.keep(3, *[None] * last, struct.unpack("<i", value)[0])
        if unit != CTL:
            s.fence(unit)
            size, content = 4 * len(others), b"".join(values)
            s.move(0, u8(Space.HBM, s.result(content), size), u8(Space.TSRAM, _TAKEN, size))
            s.fence(DMA0)
    for sem, tile in enumerate(others):
        with s.on(tile):
            s.emit("wait", unit="ctl", sem=_READY, count=1)
            s.emit("li", rd=4, imm=last)
            filler = u8(Space.TSRAM, 0x1000 + 0x400 * sem, 777, last)
            s.move(1, filler, u8(Space.HBM, s.data(pattern(777, tile)), 777))
            s.move(
                1,
                u8(Space.TSRAM, _MADE + 4 * sem, 4, last),
                u8(Space.HBM, s.data(values[sem]), 4),
            )
            s.test("signal", unit="dma1", sem=sem, count=1, scope="tile", tile=4)
    if unit == CTL:
        s.deliver(last)
    s.emit("halt")
    return s.case(["rule:sync-tiles", "rule:sync-after-work"])
