"""Faults of the control processor and of semaphores, one for each tile of a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from emulator.conformance.case import Case, Maker, of_part
from emulator.conformance.script import CTL, DMA0, MXU, VPU, Script, pattern, u8
from isa.chip import Chip
from isa.descriptor import Space
from isa.faults import unit_name

_LANES: Final = 4
_LEAST: Final = -(1 << 63)

#: Writes one faulting sequence for a tile; returns the unit that faults, and where.
Write = Callable[[Script, int], tuple[int, int]]


@dataclass(frozen=True)
class Group:
    """Sequences that raise one fault of one instruction."""

    mnemonic: str
    fault: str
    writes: Sequence[Write]


def makers() -> list[Maker]:
    """The cases."""
    out = []
    for group in _groups():
        for i in range(0, len(group.writes), _LANES):
            name = f"faults/{group.mnemonic.replace('*', 'any')}/{group.fault}-{i // _LANES}"
            ways = len(group.writes[i : i + _LANES])
            out.append(Maker(name, partial(_case, group, i), tiles=ways))
    return out


def _case(group: Group, start: int, chip: Chip, name: str) -> Case:
    s = Script(chip, name, f"{group.fault} by {group.mnemonic}, another way on each tile")
    proof, never = [pattern(16, 50 + i) for i in range(_LANES)], pattern(16, 60)
    endings = []
    ways = of_part(group.writes[start : start + _LANES], 1, chip, name)
    for tile, write in enumerate(ways):
        with s.on(tile):
            s.move(
                7, u8(Space.HBM, s.result(proof[tile]), 16), u8(Space.HBM, s.data(proof[tile]), 16)
            )
            unit, pc = write(s, tile)
            s.fault(tile, unit, pc, group.fault)
            endings.append(unit)
            if unit == CTL:
                s.move(6, u8(Space.HBM, s.slot(16), 16), u8(Space.HBM, s.data(never), 16))
            elif unit >= DMA0:
                s.move(unit - DMA0, u8(Space.HBM, s.slot(16), 16), u8(Space.HBM, s.data(never), 16))
            else:
                s.emit("signal", unit=unit_name(unit), sem=49, count=1)
                s.emit("wait", unit="dma5", sem=49, count=1)
                s.move(5, u8(Space.HBM, s.slot(16), 16), u8(Space.HBM, s.data(never), 16))
    s.emit("halt")
    return s.case([f"fault:{group.mnemonic}:{group.fault}"])


def _groups() -> list[Group]:
    return [
        Group("divu", "divide_by_zero", [partial(_divide, "divu", i) for i in range(4)]),
        Group("remu", "divide_by_zero", [partial(_divide, "remu", i) for i in range(4)]),
        Group("dld", "out_of_bounds", [partial(_table, i) for i in range(8)]),
        Group("loop", "loop_depth", [partial(_loops, i) for i in range(4)]),
        Group("call", "call_depth", [partial(_calls, i) for i in range(4)]),
        Group("ret", "call_depth", [partial(_returns, i) for i in range(4)]),
        Group("*", "bad_pc", [partial(_outside, i) for i in range(12)]),
        Group("wait", "bad_count", [partial(_count, "wait", i) for i in range(12)]),
        Group("signal", "bad_count", [partial(_count, "signal", i) for i in range(14)]),
        Group("signal", "bad_tile", [partial(_tile, i) for i in range(8)]),
        Group("signal", "semaphore_overflow", [partial(_overflow, i) for i in range(8)]),
        Group("wait", "semaphore_waiter", [partial(_waiter, i) for i in range(12)]),
    ]


# ---- scalars, loops and calls


def _divide(mnemonic: str, way: int, s: Script, tile: int) -> tuple[int, int]:
    s.emit("li", rd=1, imm=(17, 0, -1, _LEAST)[way])
    s.emit("li", rd=2, imm=(0, 0, 5, _LEAST)[way])
    b = ((0, 0), (2, 0), (2, -5), (2, _LEAST))[way]
    return CTL, s.emit(mnemonic, rd=(3, 1, 0, 2)[way], ra=1, b=b)


def _table(way: int, s: Script, tile: int) -> tuple[int, int]:
    """Beyond the table, which has fewer entries than 10000."""
    registers = (0, 0, 0, 0, 1, -1, 1 << 32, _LEAST)
    immediates = (-1, -(1 << 31), 0x7FFFFFFF, 10000, -2, 0, 0, 0)
    s.emit("li", rd=1, imm=registers[way])
    return CTL, s.emit("dld", dst=4, index=(1, immediates[way]))


def _loops(way: int, s: Script, tile: int) -> tuple[int, int]:
    """A ninth loop: of any positive count, wherever it ends, also if loops were left by jumps."""
    end = s.fresh("end")
    for depth in range(8):
        if way == 2:
            after = s.fresh("after")
            s.emit("loop", count=2, target=end)
            s.emit("jmp", target=after)
            s.label(after)
        else:
            s.emit("loop", count=1 + depth if way else 1, target=end)
    s.emit("loop", count=0, target=s.here + 1)  # none: it does not count
    at = s.emit("loop", count=(1, 0x7FFFFFFF, 1, 2)[way], target=s.here + 1 if way == 3 else end)
    s.emit("nop")
    s.label(end)
    return CTL, at


def _calls(way: int, s: Script, tile: int) -> tuple[int, int]:
    """A ninth call: by recursion, down a chain, of itself."""
    name = s.fresh("f")
    if way == 0:
        s.label(name)
        return CTL, s.emit("call", target=name)
    for depth in range(8):
        s.emit("call", target=f"{name}.{depth}")
        s.label(f"{name}.{depth}")
        if way == 3:  # a call that has returned does not count
            s.emit("call", target=f"{name}.r{depth}") if depth < 7 else None
            s.emit("jmp", target=f"{name}.j{depth}")
            if depth < 7:
                s.label(f"{name}.r{depth}")
                s.emit("ret")
            s.label(f"{name}.j{depth}")
    at = s.emit("call", target=f"{name}.8" if way == 1 else 1 << 31)
    s.label(f"{name}.8")
    return CTL, at


def _returns(way: int, s: Script, tile: int) -> tuple[int, int]:
    """A return without a call: at once, after all calls, within a loop, after a jump."""
    name = s.fresh("f")
    if way == 1:
        s.emit("call", target=name)
        s.label(name)
        # Reached by the call and again by its return: the second time there is nothing left.
        return CTL, s.emit("ret")
    if way == 2:
        s.emit("loop", count=3, target=name)
        at = s.emit("ret")
        s.label(name)
        return CTL, at
    if way == 3:
        s.emit("jmp", target=name)
        s.emit("call", target=name)
        s.label(name)
    return CTL, s.emit("ret")


def _outside(way: int, s: Script, tile: int) -> tuple[int, int]:
    """The next pc outside of the code: by each instruction that can bring it about."""
    far = (1 << 32) - 1
    writes: list[tuple[str, dict[str, object], int]] = [
        ("jmp", {"target": far}, far),
        ("jmp", {"target": 1 << 31}, 1 << 31),
        ("beq", {"ra": 0, "b": 0, "target": 60000}, 60000),
        ("bne", {"ra": 0, "b": 1, "target": 60001}, 60001),
        ("blt", {"ra": 0, "b": 1, "target": 60002}, 60002),
        ("bge", {"ra": 0, "b": -1, "target": 60003}, 60003),
        ("call", {"target": 60004}, 60004),
        ("loop", {"count": 0, "target": 60005}, 60005),
        ("loop", {"count": -3, "target": far}, far),
        ("jmp", {"target": 60006}, 60006),
        ("jmp", {"target": 60007}, 60007),
        ("jmp", {"target": 60008}, 60008),
    ]
    mnemonic, fields, pc = writes[way]
    if way >= 9:  # an end that lies outside: a turn is made before there is a fault
        s.emit("loop", count=2, target=pc)
        s.emit("add", rd=1, ra=1, b=1)
        if way == 10:
            s.emit("beq", ra=1, b=1, target=pc)
            s.emit("add", rd=1, ra=1, b=1)
    s.emit(mnemonic, **fields)
    return CTL, pc


# ---- semaphores

_UNITS: Final = (CTL, VPU, MXU, DMA0, DMA0 + 1, DMA0 + 7)


def _count(mnemonic: str, way: int, s: Script, tile: int) -> tuple[int, int]:
    """Below 0 and above 65535: by immediates, registers and sums, in every kind of unit."""
    unit = _UNITS[way % len(_UNITS)]
    registers = (0, 0, -1, 65536, _LEAST, 1 << 32, 0, 0, 65535, -2, 1 << 16, 7, -1, 65536)
    immediates = (-1, 65536, 0, 0, 0, 0, -(1 << 31), 0x7FFFFFFF, 1, 1, 0, -8, 0, 0)
    s.emit("li", rd=1, imm=registers[way])
    fields: dict[str, object] = {"sem": way, "count": (1, immediates[way])}
    if mnemonic == "signal" and way % 3:
        fields |= {"scope": ("self", "all", "cluster")[way % 3]}
    if way >= 12:  # the tile is bad as well: the count is looked at first
        s.emit("li", rd=2, imm=s.chip.num_tiles)
        fields |= {"scope": "tile", "tile": 2}
    if mnemonic == "wait" and way >= 6:  # another unit waits for it: the count is looked at first
        s.emit("wait", unit="dma2", sem=way, count=0)
        s.fence(DMA0 + 2)
    return unit, s.emit(mnemonic, unit=unit_name(unit), **fields)


def _tile(way: int, s: Script, tile: int) -> tuple[int, int]:
    unit = _UNITS[way % len(_UNITS)]
    tiles = s.chip.num_tiles
    beyond = max(tiles, 255)
    value = (tiles, -1, 1 << 40, _LEAST, (1 << 32) + tile, tiles + 1, -tiles, beyond)[way]
    s.emit("li", rd=2, imm=value)
    count = 0 if way == 5 else 1
    fields = {"sem": 3, "count": count, "scope": "tile", "tile": 2}
    return unit, s.emit("signal", unit=unit_name(unit), **fields)


def _overflow(way: int, s: Script, tile: int) -> tuple[int, int]:
    """One above 65535: at once, in steps, by a signal of each scope that reaches this tile."""
    unit = _UNITS[way % len(_UNITS)]
    name = unit_name(unit)
    sem = 10 + way
    s.emit("li", rd=2, imm=tile)
    for count in ((65535,), (1, 65534), (65530, 4), (32768, 32767))[way % 4]:
        s.emit("signal", unit=name, sem=sem, count=count)
    scope = ("self", "tile", "self", "self", "cluster", "all", "tile", "self")[way]
    count = 2 if way % 4 == 2 else 1
    fields: dict[str, object] = {"scope": scope, **({"tile": 2} if scope == "tile" else {})}
    return unit, s.emit("signal", unit=name, sem=sem, count=count, **fields)


def _waiter(way: int, s: Script, tile: int) -> tuple[int, int]:
    """A second unit waits for a semaphore, whether or not there is enough in it."""
    first = _UNITS[way % 6]
    second = _UNITS[(way + 1 + way // 6) % 6]
    sem = 20 + way
    s.emit("signal", unit="ctl", sem=sem, count=3)
    s.emit("wait", unit=unit_name(first), sem=sem, count=way % 2 + 1)
    if first != CTL:
        s.fence(first)
    count = (1, 500, 0)[way % 3]
    return second, s.emit("wait", unit=unit_name(second), sem=sem, count=count)
