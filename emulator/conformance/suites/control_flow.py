"""Branches, jumps and calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import Make, Script
from emulator.conformance.suites.control_scalar import wrap
from isa.chip import Chip

RELATION: Final[dict[str, Callable[[int, int], bool]]] = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": lambda a, b: a < b,
    "bge": lambda a, b: a >= b,
}
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_VALUES: Final = (0, 1, -1, 1 << 31, -(1 << 31), 1 << 32, _MOST, _LEAST)


def makers() -> list[Maker]:
    """The cases of this module."""
    out = []
    for mnemonic in RELATION:
        out.append(Maker(f"control/{mnemonic}/values", partial(_branch_values, mnemonic)))
        out.append(Maker(f"control/{mnemonic}/immediates", partial(_branch_sums, mnemonic)))
    flows: dict[str, Make] = {
        "jmp/chain": _jump_chain,
        "call/nest": _call_nest,
        "call/again": _call_again,
    }
    return out + [Maker(f"control/{name}", make) for name, make in flows.items()]


def begin(chip: Chip, name: str, note: str) -> Script:
    """A script that tile 0 alone runs."""
    s = Script(chip, name, note)
    s.only(0)
    return s


def done(s: Script, expected: dict[int, int], *rules: str, full: bool = False) -> Case:
    """Registers that must be so at the end."""
    for register, value in expected.items():
        s.keep(register, value)
    s.deliver()
    s.emit("halt")
    return s.case([f"rule:{rule}" for rule in rules], full)


def count_up(s: Script, register: int, step: int = 1) -> None:
    """Count in a register."""
    s.emit("add", rd=register, ra=register, b=step)


# ---- branches


def _branch_values(mnemonic: str, chip: Chip, name: str) -> Case:
    """All pairs, forwards and backwards in turn; r10 and r11 collect which were taken."""
    s = begin(chip, name, "a bit of r10 (forwards) or r11 (backwards) for each branch taken")
    taken = {10: 0, 11: 0}
    pairs = [(a, b) for a in _VALUES for b in _VALUES]
    for number, (a, b) in enumerate(pairs):
        register, bit = 10 + number % 2, number // 2
        if RELATION[mnemonic](a, b):
            taken[register] |= 1 << bit
        s.emit("li", rd=1, imm=a)
        s.emit("li", rd=2, imm=b)
        (_forwards if number % 2 == 0 else _backwards)(s, mnemonic, (2, 0), register, bit)
    expected = {register: wrap(value) for register, value in taken.items()}
    return done(s, expected, "branch-target", "scalar-unsigned")


def _forwards(s: Script, mnemonic: str, b: tuple[int, int], register: int, bit: int) -> None:
    yes, after = s.fresh("yes"), s.fresh("after")
    s.test(mnemonic, ra=1, b=b, target=yes)
    s.emit("jmp", target=after)
    s.label(yes)
    s.emit("or", rd=register, ra=register, b=wrap(1 << bit))
    s.label(after)


def _backwards(s: Script, mnemonic: str, b: tuple[int, int], register: int, bit: int) -> None:
    yes, here, after = s.fresh("yes"), s.fresh("here"), s.fresh("after")
    s.emit("jmp", target=here)
    s.label(yes)
    s.emit("or", rd=register, ra=register, b=wrap(1 << bit))
    s.emit("jmp", target=after)
    s.label(here)
    s.test(mnemonic, ra=1, b=b, target=yes)
    s.label(after)


def _branch_sums(mnemonic: str, chip: Chip, name: str) -> Case:
    """rb + 32-bit immediate: the sign is extended, the sum wraps at 64 bits."""
    s = begin(chip, name, "a bit of r10 for each branch taken against rb + immediate")
    plans = [
        (-1, 0, -1), (0xFFFFFFFF, 0, -1), (-(1 << 31), 0, -(1 << 31)), (1 << 31, 0, -(1 << 31)),
        (0x7FFFFFFF, 0, 0x7FFFFFFF), (5, 6, -1), (6, 6, -1), (_LEAST, _MOST, 1),
        (_MOST, _LEAST, -1), (0, 0, 0), (-1, 1, -2), (1 << 32, 1 << 32, 0),
        ((1 << 32) - 1, 1 << 32, -1), (0, -9, 9),
        (-2, _MOST, 0x7FFFFFFF), (0, 0x100000000, -(1 << 31)),
    ]  # fmt: skip
    taken = 0
    for bit, (a, register, immediate) in enumerate(plans):
        if RELATION[mnemonic](a, wrap(register + immediate)):
            taken |= 1 << bit
        s.emit("li", rd=1, imm=a)
        s.emit("li", rd=2, imm=register)
        (_forwards, _backwards)[bit % 2](s, mnemonic, (2 if register else 0, immediate), 10, bit)
    return done(s, {10: taken}, "scalar-immediate", "branch-target")


def _jump_chain(chip: Chip, name: str) -> Case:
    """Jumps forwards, backwards, to the next instruction."""
    s = begin(chip, name, "blocks in another order than they are written")
    order = (2, 0, 3, 1)
    s.test("jmp", target="b2")
    for block in range(4):
        s.label(f"b{block}")
        s.emit("mul", rd=1, ra=1, b=10)
        count_up(s, 1, block + 1)
        step = order.index(block) + 1
        s.test("jmp", target=f"b{order[step]}" if step < 4 else "end")
        count_up(s, 1, 1 << 40)
    s.label("end")
    s.test("jmp", target="next")
    s.label("next")
    return done(s, {1: 3142}, "branch-target")


def _call_nest(chip: Chip, name: str) -> Case:
    """Eight calls deep, and back."""
    s = begin(chip, name, "calls nested to 8; what follows each call runs on the way back")
    s.test("call", target="f1")
    s.emit("jmp", target="end")
    for depth in range(1, 9):
        s.label(f"f{depth}")
        s.emit("mul", rd=1, ra=1, b=10)
        count_up(s, 1, depth)
        if depth < 8:
            s.test("call", target=f"f{depth + 1}")
            s.emit("mul", rd=2, ra=2, b=10)
            count_up(s, 2, depth)
        s.test("ret")
    s.label("end")
    return done(s, {1: 12345678, 2: 7654321}, "call-stack")


def _call_again(chip: Chip, name: str) -> Case:
    """One subroutine from many places: forwards, backwards, more often than 8 times."""
    s = begin(chip, name, "twenty calls one after the other; a call of what follows it")
    s.emit("jmp", target="start")
    s.label("f")
    count_up(s, 1)
    s.emit("ret")
    s.label("start")
    for number in range(20):
        s.test("call", target="f" if number % 2 else "g")
    s.test("call", target="inline")  # runs what follows, and then again
    s.label("inline")
    count_up(s, 3)
    s.emit("bne", ra=3, b=1, target="end")
    s.test("ret")
    s.label("g")
    count_up(s, 2)
    s.emit("ret")
    s.label("end")
    return done(s, {1: 10, 2: 10, 3: 2}, "call-stack")
