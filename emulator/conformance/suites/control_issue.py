"""What is captured at issue, full queues, tiles that halt early, and what an entry begins with."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import DMA0, VPU, Make, Script, ints, pattern, u8
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format

_GO: Final = 7  #: the semaphore that holds units back until everything has been changed
_ROOM: Final = 0x100


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "dset/after-issue": _descriptors_change,
        "dmov/after-issue": _registers_change,
        "li/after-issue": _scalars_change,
        "li/after-issue-sync": _counts_change,
        "dma/index-list-late": _list_changes,
        "dma/full-queue": _full_queue,
        "nop/full-queues": _full_queues,
        "halt/early": _halt_early,
        "halt/some": _halt_some,
        "halt/in-loops": _halt_in_loops,
        "halt/empty": _halt_empty,
        "halt/entry-clears": _entry_clears,
        "halt/entry-keeps-memory": _entry_keeps,
    }
    return [Maker(f"control/{name}", make) for name, make in cases.items()]


def _out_of_tsram(s: Script, base: int, content: bytes) -> None:
    """Bytes of TSRAM to the host, by dma0, and wait for it."""
    s.move(0, u8(Space.HBM, s.result(content), len(content)), u8(Space.TSRAM, base, len(content)))
    s.fence(DMA0)


def _release(s: Script, unit: str, count: int = 1) -> None:
    s.emit("signal", unit="ctl", sem=_GO, count=count)
    s.fence({"vpu": VPU, "dma1": DMA0 + 1, "mxu": 1}[unit])


def _descriptors_change(chip: Chip, name: str) -> Case:
    """Descriptor registers change while what was issued with them still waits."""
    s = Script(chip, name, "base, dim0 and stride0 of issued operands change; they stay as issued")
    s.only(0)
    s.load(1, ints(_ROOM, 2))
    s.emit("wait", unit="vpu", sem=_GO, count=1)
    for number in range(4):
        s.emit("viota", dst=1, start=10 * number)
        s.test("dadd", dst=1, field="base", b=8)
    s.test("dset", dst=1, field="dim0", b=0)
    s.load(1, ints(0x800, 50))
    _release(s, "vpu")
    expected = [10 * number + i for number in range(4) for i in range(2)]
    _out_of_tsram(s, _ROOM, struct.pack("<10i", *expected, 0, 0))
    _out_of_tsram(s, 0x800, bytes(16))
    s.emit("halt")
    return s.case(["rule:issue-capture"])


def _registers_change(chip: Chip, name: str) -> Case:
    """Whole registers are overwritten after the issue of copies."""
    s = Script(chip, name, "both operands' registers are exchanged and reloaded after each issue")
    s.only(0)
    rows = [pattern(32, seed) for seed in range(5)]
    address = s.data(b"".join(rows))
    slot = s.result(b"".join(reversed(rows)))
    s.emit("wait", unit="dma1", sem=_GO, count=2)
    for number in range(5):
        s.load(2, u8(Space.HBM, slot + 32 * (4 - number), 32))
        s.load(3, u8(Space.HBM, address + 32 * number, 32))
        s.emit("dma", channel="dma1", dst=2, src=3)
        s.test("dmov", dst=2, src=3)
        s.test("dld", dst=3, index=s.row(u8(Space.HBM, 0, 1)))
    _release(s, "dma1", 2)
    s.emit("halt")
    return s.case(["rule:issue-capture"])


def _scalars_change(chip: Chip, name: str) -> Case:
    """Scalars named by issued instructions change."""
    s = Script(chip, name, "the start of a count changes while it waits")
    s.only(0)
    s.emit("wait", unit="vpu", sem=_GO, count=1)
    for number in range(6):
        s.load(1, ints(_ROOM + 4 * number, 1))
        s.test("li", rd=5, imm=-number * 1001)
        s.emit("viota", dst=1, start=(5, 3))
        s.test("li", rd=5, imm=99)
    _release(s, "vpu")
    _out_of_tsram(s, _ROOM, struct.pack("<6i", *(3 - 1001 * number for number in range(6))))
    s.emit("halt")
    return s.case(["rule:issue-capture"])


def _counts_change(chip: Chip, name: str) -> Case:
    """Counts and the tile of queued waits and signals change."""
    s = Script(chip, name, "registers of queued waits and signals are overwritten at once")
    last = chip.num_tiles - 1
    with s.on(0):
        s.emit("li", rd=1, imm=2)
        s.emit("wait", unit="dma1", sem=_GO, count=(1, 0))
        s.emit("li", rd=1, imm=30000)
        s.emit("li", rd=2, imm=last)
        s.emit("li", rd=3, imm=5)
        s.emit("signal", unit="dma1", sem=3, count=(3, 2), scope="tile", tile=2)
        s.test("li", rd=2, imm=0)
        s.test("li", rd=3, imm=0)
        _release(s, "dma1", 2)
    with s.on(last):
        s.emit("wait", unit="ctl", sem=3, count=7)
        s.emit("li", rd=9, imm=1)
    s.keep(9, *[0] * last, 1)
    s.deliver(last)
    s.emit("halt")
    return s.case(["rule:issue-capture"])


def _list_changes(chip: Chip, name: str) -> Case:
    """An index list and data are read when the gather is executed."""
    s = Script(chip, name, "the list changes after the issue of a gather that still waits")
    s.only(0)
    rows = pattern(8 * 16, 3)
    dst = Descriptor(Space.HBM, Format.U8, (2, 16), (16, 1), s.result(rows[80:112]))
    s.load(1, dst)
    s.load(2, replace(dst, shape=(8, 16), base=s.data(rows)))
    s.load(3, ints(_ROOM, 2))
    s.emit("wait", unit="dma1", sem=_GO, count=1)
    s.emit("dmag", channel="dma1", dst=1, src=2, index=3)
    s.emit("viota", dst=3, start=5)  # before that, the list is two zeros
    s.fence(VPU)
    _release(s, "dma1")
    s.emit("halt")
    return s.case(["rule:issue-late"])


def _full_queue(chip: Chip, name: str) -> Case:
    """More copies than a queue holds, while the channel waits for another unit."""
    s = Script(chip, name, "twice as many instructions as a queue has room for")
    depth = 2 * chip.tile.queue_depth + 3
    content = pattern(8 * depth, 8)
    address, slot = s.data(content), s.result(content)
    s.only(0)
    s.emit("wait", unit="dma1", sem=_GO, count=1)
    s.emit("wait", unit="vpu", sem=8, count=1)
    s.emit("signal", unit="vpu", sem=_GO, count=1)
    s.emit("signal", unit="ctl", sem=8, count=1)
    s.load(1, u8(Space.HBM, slot, 8))
    s.load(2, u8(Space.HBM, address, 8))
    s.emit("loop", count=depth, target="end")
    s.emit("dma", channel="dma1", dst=1, src=2)
    s.emit("dadd", dst=1, field="base", b=8)
    s.emit("dadd", dst=2, field="base", b=8)
    s.label("end")
    s.fence(DMA0 + 1)
    s.emit("halt")
    return s.case(["rule:issue-depth", "rule:issue-capture"])


def _full_queues(chip: Chip, name: str) -> Case:
    """The control processor is held up by one unit's queue until another unit frees that one."""
    s = Script(chip, name, "a full queue behind a wait; the other unit's work is queued already")
    depth = chip.tile.queue_depth
    s.only(0)
    content = pattern(64, 2)
    s.load(1, u8(Space.TSRAM, 0x400, 64))
    s.load(2, u8(Space.HBM, s.data(content), 64))
    s.emit("dma", channel="dma2", dst=1, src=2)
    s.emit("signal", unit="dma2", sem=_GO, count=1)
    s.emit("wait", unit="vpu", sem=_GO, count=1)
    s.load(3, ints(_ROOM, 1))
    s.emit("li", rd=1, imm=0)
    s.emit("loop", count=3 * depth, target="end")
    s.emit("viota", dst=3, start=(1, 0))
    s.emit("dadd", dst=3, field="base", b=4)
    s.test("nop")
    s.emit("add", rd=1, ra=1, b=1)
    s.label("end")
    s.fence(VPU)
    _out_of_tsram(s, _ROOM, struct.pack(f"<{3 * depth}i", *range(3 * depth)))
    _out_of_tsram(s, 0x400, content)
    s.emit("halt")
    return s.case(["rule:issue-depth"])


def _halt_early(chip: Chip, name: str) -> Case:
    """Units finish what is queued after their control processor has halted."""
    s = Script(chip, name, "halt right behind a chain of work that nobody waits for")
    s.only(0)
    content = pattern(256, 4)
    s.move(1, u8(Space.TSRAM, _ROOM, 256), u8(Space.HBM, s.data(content), 256))
    s.emit("signal", unit="dma1", sem=1, count=1)
    s.emit("wait", unit="vpu", sem=1, count=1)
    s.load(1, ints(_ROOM + 16, 8))
    s.emit("viota", dst=1, start=500)
    s.emit("signal", unit="vpu", sem=2, count=1)
    s.emit("wait", unit="dma2", sem=2, count=1)
    expected = content[:16] + struct.pack("<8i", *range(500, 508)) + content[48:]
    s.move(2, u8(Space.HBM, s.result(expected), 256), u8(Space.TSRAM, _ROOM, 256))
    s.test("halt")
    s.emit("jmp", target="out")  # what follows a halt is not run
    s.label("out")
    return s.case(["rule:halt-queues"])


def _halt_some(chip: Chip, name: str) -> Case:
    """Tiles that halt at once take part in nothing more, but can still be signalled."""
    s = Script(chip, name, "the other tiles halt; signals to them and writes into them still work")
    last = chip.num_tiles - 1
    with s.on(*range(1, chip.num_tiles)):
        s.test("halt")
    content = pattern(64, 6)
    there = u8(Space.TSRAM, _ROOM, 64, last)
    s.emit("signal", unit="ctl", sem=5, count=3, scope="all")
    s.emit("wait", unit="ctl", sem=5, count=3)
    s.move(0, there, u8(Space.HBM, s.data(content), 64))
    s.move(0, u8(Space.HBM, s.result(content), 64), there)
    s.fence(DMA0)
    s.emit("halt")
    return s.case(["rule:halt-queues"])


def _halt_in_loops(chip: Chip, name: str) -> Case:
    """A tile may halt within loops and calls; the next entry can nest to 8 again."""
    s = Script(chip, name, "halt eight loops and eight calls deep, then the same in `check`")
    s.only(0)
    for entry in range(2):
        if entry:
            s.entry("check")
            s.only(0)
        for _ in range(8):
            s.emit("loop", count=2, target=f"far{entry}")
        for depth in range(8):
            s.emit("call", target=f"f{entry}.{depth}")
            s.label(f"f{entry}.{depth}")
        content = pattern(16, entry)
        s.move(0, u8(Space.HBM, s.result(content), 16), u8(Space.HBM, s.data(content), 16))
        s.fence(DMA0)
        s.test("halt")
        s.label(f"far{entry}")
        s.emit("halt")
    return s.case(["rule:entry-clear"], check=False)


def _halt_empty(chip: Chip, name: str) -> Case:
    """Every tile halts at once."""
    s = Script(chip, name, "nothing but a halt: memory is as it was")
    s.test("halt")
    return s.case()


def _entry_clears(chip: Chip, name: str) -> Case:
    """Scalars are 0 in `check` though `main` left values; pc is the entry's."""
    s = Script(chip, name, "`main` fills all registers; `check` finds them 0")
    for register in range(1, 32):
        s.emit("li", rd=register, imm=-register)
    s.emit("wait", unit="ctl", sem=9, count=0)
    s.emit("halt")
    s.entry("check")
    for register in range(30):
        s.keep(register, 0)
    s.emit("wait", unit="vpu", sem=9, count=0)  # the waiter is cleared as well
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.keep(1, *range(chip.num_tiles))
    s.deliver(*range(chip.num_tiles))
    s.emit("halt")
    return s.case(["rule:entry-clear"], check=False)


def _entry_keeps(chip: Chip, name: str) -> Case:
    """All memories keep what `main` left."""
    s = Script(chip, name, "`check` reads what `main` wrote into TSRAM, CSRAM and HBM")
    last, content = chip.num_tiles - 1, pattern(96, 7)
    places = [u8(Space.TSRAM, 0x200, 96, last), u8(Space.CSRAM, 0x40, 96, chip.clusters - 1)]
    s.only(0)
    source = u8(Space.HBM, s.data(content), 96)
    for place in places:
        s.move(0, place, source)
    s.move(0, u8(Space.HBM, s.result(content), 96), source)
    s.fence(DMA0)
    s.emit("halt")
    s.entry("check")
    s.only(last)
    for place in places:
        s.move(0, u8(Space.HBM, s.result(content), 96), place)
    s.fence(DMA0)
    s.emit("halt")
    return s.case(["rule:entry-clear"], check=False)
