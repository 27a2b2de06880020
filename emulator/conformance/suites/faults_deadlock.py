"""Deadlocks: nothing can move and the entry has not completed."""

from __future__ import annotations

from functools import partial
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import CTL, DMA0, MXU, VPU, Make, Script, ints
from emulator.conformance.suites.faults_rest import finish, never, proof
from isa.chip import Chip
from isa.faults import unit_name

DEADLOCK: Final = "fault:*:deadlock"


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "deadlock/all-units": _all_stuck,
        "deadlock/full-queue": _queue_stuck,
        "deadlock/each-other": _each_other,
        "deadlock/one-too-few": _one_too_few,
        "deadlock/behind": _behind,
        "deadlock/never-with-faults": _no_deadlock,
    }
    for unit in (CTL, MXU, VPU, DMA0, DMA0 + 7):
        cases[f"deadlock/{unit_name(unit)}"] = partial(_stuck, unit)
    return [Maker(f"faults/{name}", make) for name, make in cases.items()]


def _channel(unit: int) -> int:
    """A channel that is not this unit."""
    return 6 if unit == DMA0 + 7 else 7


def _stuck(unit: int, chip: Chip, name: str) -> Case:
    """One unit of one tile waits for ever; all others finish."""
    s = Script(chip, name, f"{unit_name(unit)} of tile 1 waits for what nobody gives")
    for tile in range(chip.num_tiles):
        with s.on(tile):
            proof(s, tile, _channel(unit))
    with s.on(1):
        s.fault(1, unit, s.emit("wait", unit=unit_name(unit), sem=3, count=1), "deadlock")
        if unit >= DMA0:
            never(s, unit - DMA0)
        if unit == CTL:
            never(s)
    return finish(s, DEADLOCK)


def _all_stuck(chip: Chip, name: str) -> Case:
    """All units of a tile at once, each with a semaphore of its own."""
    s = Script(chip, name, "every unit of the last tile waits; the others report nothing")
    last = chip.num_tiles - 1
    with s.on(last):
        for unit in (*range(MXU, DMA0 + chip.tile.dma.channels), CTL):
            at = s.emit("wait", unit=unit_name(unit), sem=unit, count=65535)
            s.fault(last, unit, at, "deadlock")
            if unit == VPU:
                s.emit("wait", unit="vpu", sem=40, count=0)  # behind the head of its queue
    return finish(s, DEADLOCK)


def _queue_stuck(chip: Chip, name: str) -> Case:
    """The control processor is stuck at an instruction that a full queue does not take."""
    s = Script(chip, name, "a unit waits for ever; its queue fills; the issuer is stuck as well")
    s.only(0)
    depth = chip.tile.queue_depth
    s.load(1, ints(0x40, 1))
    s.fault(0, VPU, s.emit("wait", unit="vpu", sem=3, count=1), "deadlock")
    for _ in range(depth - 1):
        s.emit("viota", dst=1, start=1)
    proof(s, 0)
    s.fault(0, CTL, s.emit("viota", dst=1, start=2), "deadlock")
    never(s)
    return finish(s, DEADLOCK)


def _each_other(chip: Chip, name: str) -> Case:
    """Two tiles that wait for each other, and two units of one tile."""
    s = Script(chip, name, "each waits before it signals the other")
    third = chip.num_tiles > 2
    if not third:  # before its control processor is stuck, and with semaphores of their own
        _units_each_other(s, 0, (11, 12))
    for tile, other in ((0, 1), (1, 0)):
        with s.on(tile):
            s.emit("li", rd=1, imm=other)
            s.fault(tile, CTL, s.emit("wait", unit="ctl", sem=1, count=1), "deadlock")
            s.emit("signal", unit="ctl", sem=1, count=1, scope="tile", tile=1)
    if third:
        _units_each_other(s, 2, (1, 2))
    return finish(s, DEADLOCK)


def _units_each_other(s: Script, tile: int, sems: tuple[int, int]) -> None:
    with s.on(tile):
        for unit, mine, its in ((VPU, *sems), (DMA0, *reversed(sems))):
            at = s.emit("wait", unit=unit_name(unit), sem=mine, count=1)
            s.fault(tile, unit, at, "deadlock")
            s.emit("signal", unit=unit_name(unit), sem=its, count=1)
        proof(s, 0)


def _one_too_few(chip: Chip, name: str) -> Case:
    """A count that is one short; what was there before was taken in order."""
    s = Script(chip, name, "five are given, four are taken, two are waited for")
    s.only(0)
    s.emit("signal", unit="ctl", sem=1, count=5)
    s.emit("wait", unit="dma1", sem=1, count=4)
    proof(s, 0, 1)
    s.fault(0, DMA0 + 1, s.emit("wait", unit="dma1", sem=1, count=2), "deadlock")
    never(s, 1)
    proof(s, 1)
    return finish(s, DEADLOCK)


def _behind(chip: Chip, name: str) -> Case:
    """Units that wait for one that is stuck are stuck as well; each at its own pc."""
    s = Script(
        chip, name, "a chain: dma1 waits for nobody, vpu for dma1, dma2 for vpu, ctl for dma2"
    )
    s.only(0)
    chain = ((DMA0 + 1, 1), (VPU, 2), (DMA0 + 2, 3))
    for unit, sem in chain:
        s.fault(0, unit, s.emit("wait", unit=unit_name(unit), sem=sem, count=1), "deadlock")
        s.emit("signal", unit=unit_name(unit), sem=sem + 1, count=1)
    s.fault(0, CTL, s.emit("wait", unit="ctl", sem=4, count=1), "deadlock")
    never(s)
    return finish(s, DEADLOCK)


def _no_deadlock(chip: Chip, name: str) -> Case:
    """Where another fault was raised, nothing that is stuck is reported."""
    s = Script(chip, name, "tile 0 divides by zero; units of all tiles wait for ever")
    for sem, unit in enumerate(("vpu", "dma3")):
        s.emit("wait", unit=unit, sem=sem, count=1)
    with s.on(0):
        s.fault(0, CTL, s.emit("divu", rd=1, ra=1, b=0), "divide_by_zero")
    s.emit("wait", unit="ctl", sem=6, count=1)
    return finish(s, "rule:fault-alone", "fault:divu:divide_by_zero")
