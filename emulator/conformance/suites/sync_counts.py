"""Counts, scopes, accumulation; semaphores between entries."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import (
    DMA0,
    MXU,
    VPU,
    Make,
    Script,
    ints,
    pattern,
    some_tiles,
    u8,
)
from isa.chip import Chip
from isa.descriptor import Space
from isa.faults import unit_name
from isa.spec.model import NUM_SEMAPHORES, SEMAPHORE_MAX

_UNITS: Final = ("ctl", "mxu", "vpu", "dma0", "dma1")


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        **{f"wait/counts-{unit}": partial(_counts, unit) for unit in _UNITS},
        "wait/zero": _zero,
        "wait/in-parts": _parts,
        "wait/registers": _registers,
        "wait/each-semaphore": _each,
        "wait/several": _several,
        "signal/add-up": _add_up,
        "signal/full-again": _full_again,
        "signal/tile-ignored": _tile_ignored,
        **{
            f"signal/scope-{scope}": partial(_scope, scope)
            for scope in ("self", "tile", "cluster", "all")
        },
        "signal/scope-tile-each": _scope_each,
        "wait/persist": _persist,
        "wait/persist-scopes": _persist_scopes,
        "wait/waiter-cleared": _waiter_cleared,
        "signal/halted-tile": _halted,
        "wait/halted-tile": _halted_waits,
    }
    return [Maker(f"sync/{name}", make) for name, make in cases.items()]


def exactly(s: Script, sem: int, count: int) -> None:
    """A semaphore holds this much, no more (it would overflow) and no less (it would deadlock).

    Empties it. The control processor must be its waiter.
    """
    s.emit("signal", unit="ctl", sem=sem, count=SEMAPHORE_MAX - count)
    s.emit("wait", unit="ctl", sem=sem, count=SEMAPHORE_MAX)


def _mark(s: Script, number: int = 0) -> None:
    """A proof that the code came to here."""
    content = pattern(8, 40 + number)
    s.move(0, u8(Space.HBM, s.result(content), 8), u8(Space.HBM, s.data(content), 8))
    s.fence(DMA0)


def _finish(s: Script, *rules: str, **options: Any) -> Case:
    s.emit("halt")
    return s.case([f"rule:{rule}" for rule in rules], **options)


def _counts(unit: str, chip: Chip, name: str) -> Case:
    """Counts from 0 to the most there is."""
    s = Script(chip, name, f"{unit} waits for 0, 1, 2, 255, 256, 32768 and 65535")
    s.only(0)
    for number, count in enumerate((0, 1, 2, 255, 256, 32768, SEMAPHORE_MAX)):
        s.test("signal", unit=unit, sem=10, count=count)
        s.test("wait", unit=unit, sem=10, count=count)
        s.test("signal", unit=unit, sem=20 + number, count=count)
    s.emit("signal", unit=unit, sem=11, count=1)
    s.emit("wait", unit="ctl", sem=11, count=1)
    for number, count in enumerate((0, 1, 2, 255, 256, 32768, SEMAPHORE_MAX)):
        exactly(s, 20 + number, count)
    _mark(s)
    return _finish(s, "sync-counts")


def _zero(chip: Chip, name: str) -> Case:
    """A count of 0 is there at once, and adding 0 changes nothing."""
    s = Script(chip, name, "waits and signals of 0, by immediate and by register, of every unit")
    s.only(0)
    s.emit("li", rd=1, imm=-4)
    for number, unit in enumerate(_UNITS):
        for count in (0, (1, 4), (0, 0)):
            s.test("wait", unit=unit, sem=number, count=count)
            s.test("signal", unit=unit, sem=30, count=count, scope="all")
        s.emit("signal", unit=unit, sem=31, count=1)
    s.emit("wait", unit="ctl", sem=31, count=len(_UNITS))
    exactly(s, 30, 0)
    _mark(s)
    return _finish(s, "sync-counts")


def _parts(chip: Chip, name: str) -> Case:
    """A semaphore is taken from in parts, and filled in parts."""
    s = Script(chip, name, "several waits take from one semaphore what one signal gave, and back")
    s.only(0)
    for count in (3, 2, 5, 1):
        s.test("wait", unit="vpu", sem=1, count=count)
    s.emit("signal", unit="vpu", sem=2, count=1)
    s.emit("signal", unit="ctl", sem=1, count=11)
    s.emit("wait", unit="ctl", sem=2, count=1)
    s.test("wait", unit="dma1", sem=3, count=40)
    s.emit("signal", unit="dma1", sem=2, count=2)
    for count in (7, 0, 13, 20):
        s.test("signal", unit="ctl", sem=3, count=count)
    s.emit("wait", unit="ctl", sem=2, count=2)
    s.emit("signal", unit="ctl", sem=4, count=9)
    s.emit("wait", unit="ctl", sem=4, count=4)
    exactly(s, 4, 5)
    exactly(s, 2, 0)
    _mark(s)
    return _finish(s, "sync-counts", "sync-add")


def _registers(chip: Chip, name: str) -> Case:
    """Counts are rb + immediate, of which either may be negative or large."""
    s = Script(chip, name, "sums that come to a legal count")
    s.only(0)
    plans = [(5, 0), (-5, 12), (1 << 31, -(1 << 31) + 0), (70000, -70000 + 65535)]
    for number, (register, immediate) in enumerate(plans):
        count = register + immediate
        s.emit("li", rd=1, imm=register)
        s.test("signal", unit="ctl", sem=number, count=(1, immediate))
        exactly(s, number, count)
        s.test("signal", unit="vpu", sem=number, count=(1, immediate))
        s.emit("signal", unit="vpu", sem=40, count=1)
        s.emit("wait", unit="ctl", sem=40, count=1)
        s.test("wait", unit="ctl", sem=number, count=(1, immediate))
        exactly(s, number, 0)
    _mark(s)
    return _finish(s, "sync-register", "sync-counts")


def _each(chip: Chip, name: str) -> Case:
    """All 64 semaphores hold counts of their own at once."""
    s = Script(chip, name, "64 counts at once")
    s.only(0)
    for sem in range(NUM_SEMAPHORES):
        s.test("signal", unit="ctl", sem=sem, count=1000 + 7 * sem)
    for sem in reversed(range(NUM_SEMAPHORES)):
        s.test("wait", unit="ctl", sem=sem, count=7 * sem)
    for sem in range(NUM_SEMAPHORES):
        exactly(s, sem, 1000)
    _mark(s)
    return _finish(s, "sync-each")


def _several(chip: Chip, name: str) -> Case:
    """A unit that waits for several semaphores one after the other."""
    s = Script(chip, name, "three waits before one piece of work, satisfied in another order")
    s.only(0)
    for sem in (1, 2, 3):
        s.test("wait", unit="vpu", sem=sem, count=sem)
    s.load(1, ints(0x40, 4))
    s.emit("viota", dst=1, start=7)
    for sem in (3, 1, 2):
        s.emit("signal", unit="ctl", sem=sem, count=sem)
    s.fence(VPU)
    expected = b"".join((7 + i).to_bytes(4, "little") for i in range(4))
    s.move(0, u8(Space.HBM, s.result(expected), 16), u8(Space.TSRAM, 0x40, 16))
    s.fence(DMA0)
    return _finish(s, "sync-order", "sync-blocks")


def _add_up(chip: Chip, name: str) -> Case:
    """Every unit of every tile adds to one semaphore."""
    s = Script(chip, name, "all units of all tiles signal tile 0")
    units = ["ctl", *(unit_name(u) for u in range(MXU, DMA0 + chip.tile.dma.channels))]
    s.emit("rdsr", rd=2, special="TILE_ID")
    for number, unit in enumerate(units):
        s.test("signal", unit=unit, sem=6, count=(2, number + 1), scope="tile", tile=0)
    total = sum(tile + n + 1 for tile in range(chip.num_tiles) for n in range(len(units)))
    with s.on(0):
        s.test("wait", unit="ctl", sem=6, count=total)
        exactly(s, 6, 0)
        _mark(s)
    return _finish(s, "sync-add", "sync-scope")


def _full_again(chip: Chip, name: str) -> Case:
    """65535 is reached, emptied and reached again."""
    s = Script(chip, name, "a semaphore at its most, by one signal and by many")
    s.only(0)
    for _ in range(3):
        s.test("signal", unit="ctl", sem=8, count=SEMAPHORE_MAX)
        s.test("signal", unit="ctl", sem=8, count=0)
        s.test("wait", unit="ctl", sem=8, count=SEMAPHORE_MAX)
    for count in (1, 65533, 1):
        s.test("signal", unit="dma1", sem=8, count=count)
    s.emit("signal", unit="dma1", sem=9, count=1)
    s.emit("wait", unit="ctl", sem=9, count=1)
    exactly(s, 8, SEMAPHORE_MAX)
    _mark(s)
    return _finish(s, "sync-counts")


def _tile_ignored(chip: Chip, name: str) -> Case:
    """The tile's register is of no concern but with scope tile."""
    s = Script(chip, name, "scopes self, cluster and all with a register that names no tile")
    s.only(0)
    s.emit("li", rd=1, imm=-99)
    for sem, scope in enumerate(("self", "cluster", "all")):
        s.test("signal", unit="ctl", sem=sem, count=2, scope=scope, tile=1)
        exactly(s, sem, 2)
    _mark(s)
    return _finish(s, "sync-scope")


def _reached(chip: Chip, scope: str, sender: int, target: int) -> list[int]:
    per = chip.tiles_per_cluster
    return {
        "self": [sender],
        "tile": [target],
        "cluster": [t for t in range(chip.num_tiles) if t // per == sender // per],
        "all": list(range(chip.num_tiles)),
    }[scope]


def _check_all(s: Script, counts: dict[int, list[int]]) -> None:
    """After a barrier: what each tile's semaphores must hold, exactly."""
    s.barrier()
    for tile in range(s.chip.num_tiles):
        with s.on(tile):
            for sem, values in counts.items():
                exactly(s, sem, values[tile])
            _mark(s, tile)


def _scope(scope: str, chip: Chip, name: str) -> Case:
    """Every tile signals with the scope, by counts that tell who it was."""
    s = Script(chip, name, f"three units of each tile signal with scope {scope}")
    units, values = ("ctl", "vpu", "dma1"), [0] * chip.num_tiles
    fields = {"scope": scope, **({"tile": 1} if scope == "tile" else {})}
    for sender in range(chip.num_tiles):
        target, count = (sender * 3 + 1) % chip.num_tiles, 1 << sender % 13
        with s.on(sender):
            s.emit("li", rd=1, imm=target)
            for sem, unit in enumerate(units):
                s.test("signal", unit=unit, sem=15 + sem, count=count, **fields)
                s.emit("signal", unit=unit, sem=18, count=1)
            s.emit("wait", unit="ctl", sem=18, count=len(units))
        for tile in _reached(chip, scope, sender, target):
            values[tile] += count
    _check_all(s, {15 + sem: values for sem in range(len(units))})
    return _finish(s, "sync-scope", "sync-add")


def _scope_each(chip: Chip, name: str) -> Case:
    """Every tile signals every tile by number, itself included; of many tiles some do."""
    s = Script(chip, name, "a loop over all tiles as targets; r0 as register is tile 0")
    crew = some_tiles(chip, 16)  # each needs a semaphore of its own
    for number, sender in enumerate(crew):
        sem = 20 + number
        with s.on(sender):
            for target in crew:
                s.emit("li", rd=1, imm=target)
                tile = 1 if target else 0
                s.test("signal", unit="ctl", sem=sem, count=1 + target, scope="tile", tile=tile)
    each = [1 + tile if tile in crew else 0 for tile in range(chip.num_tiles)]
    _check_all(s, {20 + number: each for number in range(len(crew))})
    return _finish(s, "sync-scope", "sync-register")


# ---- from entry to entry


def _persist(chip: Chip, name: str) -> Case:
    """What `main` left in semaphores is there in `check`."""
    s = Script(chip, name, "counts of 0, 1, 77 and 65535 are left over; `check` takes them")
    s.only(0)
    counts = {1: 0, 2: 1, 3: 77, 40: SEMAPHORE_MAX, 63: 5}
    for sem, count in counts.items():
        s.test("signal", unit="ctl", sem=sem, count=count)
    s.emit("wait", unit="ctl", sem=3, count=7)
    s.emit("halt")
    s.entry("check")
    s.only(0)
    for sem, count in {**counts, 3: 70}.items():
        s.test("wait", unit="ctl", sem=sem, count=count)
        exactly(s, sem, 0)
    _mark(s)
    return _finish(s, "sync-persist", check=False)


def _persist_scopes(chip: Chip, name: str) -> Case:
    """Counts that other tiles left; a unit other than the control processor takes them."""
    s = Script(
        chip, name, "every tile's vector unit waits in `check` for what tile 0 gave in `main`"
    )
    s.only(0)
    s.test("signal", unit="dma1", sem=5, count=3, scope="all")
    s.test("signal", unit="vpu", sem=6, count=2, scope="cluster")
    s.emit("halt")
    s.entry("check")
    s.test("wait", unit="vpu", sem=5, count=3)
    s.fence(VPU)
    for tile in range(chip.num_tiles):
        with s.on(tile):
            exactly(s, 6, 2 if tile < chip.tiles_per_cluster else 0)
            _mark(s, tile)
    return _finish(s, "sync-persist", "sync-scope", check=False)


def _waiter_cleared(chip: Chip, name: str) -> Case:
    """Another unit may wait for a semaphore in the next entry."""
    s = Script(chip, name, "waiters of `main` and of `check` are different units")
    units = ["ctl", "mxu", "vpu", "dma0", "dma1"]
    s.only(0)
    for sem, unit in enumerate(units):
        s.emit("signal", unit="ctl", sem=sem, count=1)
        s.test("wait", unit=unit, sem=sem, count=1)
    s.emit("halt")
    s.entry("check")
    s.only(0)
    for sem, unit in enumerate([*units[2:], *units[:2]]):
        s.test("signal", unit="ctl", sem=sem, count=1)
        s.test("wait", unit=unit, sem=sem, count=1)
        s.emit("signal", unit=unit, sem=30, count=1)
    s.emit("wait", unit="ctl", sem=30, count=len(units))
    _mark(s)
    return _finish(s, "sync-waiter-clear", check=False)


def _halted(chip: Chip, name: str) -> Case:
    """Signals to a tile whose control processor has halted reach its units."""
    s = Script(chip, name, "the last tile halts with a copy waiting; tile 0 sets it going")
    last = chip.num_tiles - 1
    content = pattern(64, 12)
    with s.on(last):
        s.test("wait", unit="dma1", sem=4, count=2)
        s.move(1, u8(Space.HBM, s.result(content), 64), u8(Space.HBM, s.data(content), 64))
        s.emit("signal", unit="dma1", sem=5, count=1, scope="all")
        s.emit("halt")
    with s.on(0):
        s.emit("li", rd=1, imm=last)
        s.test("signal", unit="ctl", sem=4, count=1, scope="tile", tile=1)
        s.test("signal", unit="vpu", sem=4, count=1, scope="tile", tile=1)
        s.emit("wait", unit="ctl", sem=5, count=1)
        _mark(s)
    return _finish(s, "sync-halted")


def _halted_waits(chip: Chip, name: str) -> Case:
    """Units of halted tiles signal one another in a ring."""
    s = Script(chip, name, "all control processors halt; the vector units pass a count around")
    tiles = chip.num_tiles
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("add", rd=2, ra=1, b=1)
    s.emit("remu", rd=2, ra=2, b=tiles)
    with s.on(0):
        s.emit("signal", unit="vpu", sem=3, count=1)
    s.load(1, ints(0x40, 1))
    for round_ in range(3):
        s.emit("wait", unit="vpu", sem=3, count=1)
        s.emit("viota", dst=1, start=(1, 100 * round_))
        s.emit("signal", unit="vpu", sem=3, count=1, scope="tile", tile=2)
    s.emit("signal", unit="vpu", sem=4, count=1)
    for tile in range(tiles):
        with s.on(tile):
            s.emit("wait", unit="dma0", sem=4, count=1)
            expected = (200 + tile).to_bytes(4, "little")
            s.move(0, u8(Space.HBM, s.result(expected), 4), u8(Space.TSRAM, 0x40, 4))
    return _finish(s, "sync-halted", "sync-order")
