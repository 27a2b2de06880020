"""Hardware loops."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import Make
from emulator.conformance.suites.control_flow import begin, count_up, done
from emulator.conformance.suites.control_scalar import wrap
from isa.chip import Chip

_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_COUNTS: Final = (0, 1, 2, 3, 5, 17, 100, -1, -(1 << 31))


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "loop/counts": _loop_counts,
        "loop/sums": _loop_sums,
        "loop/nest": _loop_nest,
        "loop/one-end": _loop_one_end,
        "loop/empty": _loop_empty,
        "loop/skipped": _loop_skipped,
        "loop/jump-to-end": _loop_jump_to_end,
        "loop/jump-out": _loop_jump_out,
        "loop/jump-in": _loop_jump_in,
        "loop/end-before": _loop_end_before,
        "loop/calls": _loop_calls,
        "loop/return-to-end": _loop_return_to_end,
        "loop/count-kept": _loop_count_kept,
        "loop/again": _loop_again,
        "loop/branches": _loop_branches,
        "loop/large": _loop_large,
    }
    return [Maker(f"control/{name}", make) for name, make in cases.items()]


def _loop_counts(chip: Chip, name: str) -> Case:
    """Counts as immediates."""
    s = begin(chip, name, "0, 1, many, and negative counts")
    for number, count in enumerate(_COUNTS):
        s.test("loop", count=count, target=f"end{number}")
        count_up(s, 1 + number)
        s.emit("nop")
        s.label(f"end{number}")
    expected = {1 + n: max(count, 0) for n, count in enumerate(_COUNTS)}
    return done(s, expected, "loop-count")


def _loop_sums(chip: Chip, name: str) -> Case:
    """Counts as registers, and sums that wrap."""
    s = begin(chip, name, "rb + immediate as count")
    plans = [(7, 0), (7, -3), (7, -7), (7, -8), (-3, 5), (_MOST, 1), (_LEAST, -1), (1 << 32, 0)]
    expected = {}
    for number, (register, immediate) in enumerate(plans):
        s.emit("li", rd=20, imm=register)
        s.test("loop", count=(20, immediate), target=f"end{number}")
        count_up(s, 1 + number)
        # More turns than a test can wait for: leave them, and the loop stays on the stack.
        s.emit("bge", ra=1 + number, b=50, target=f"out{number}")
        s.label(f"end{number}")
        s.emit("nop")
        s.label(f"out{number}")
        expected[1 + number] = min(max(wrap(register + immediate), 0), 50)
    return done(s, expected, "loop-count", "scalar-immediate", "loop-left")


def _loop_nest(chip: Chip, name: str) -> Case:
    """Eight loops in each other, with code before and behind each."""
    s = begin(chip, name, "loops nested to 8; r1 to r8 count the turns of each")
    for depth in range(8):
        s.test("loop", count=2 if depth % 2 else 3, target=f"end{depth}")
        count_up(s, 1 + depth)
    for depth in reversed(range(8)):
        count_up(s, 11 + depth)
        s.label(f"end{depth}")
    turns = 1
    expected: dict[int, int] = {}
    for depth in range(8):
        turns *= 2 if depth % 2 else 3
        expected |= {1 + depth: turns, 11 + depth: turns}
    return done(s, expected, "loop-nest")


def _loop_one_end(chip: Chip, name: str) -> Case:
    """Several loops that end at one place."""
    s = begin(chip, name, "three loops with one end, two of eight, and one inside of another")
    for depth, count in enumerate((2, 3, 4)):
        s.test("loop", count=count, target="end")
        count_up(s, 1 + depth)
    s.label("end")
    for _ in range(8):
        s.test("loop", count=2, target="all")
    count_up(s, 5)
    s.label("all")
    s.emit("loop", count=3, target="both")
    count_up(s, 6)
    s.emit("loop", count=1, target="both")
    count_up(s, 7)
    s.label("both")
    return done(s, {1: 2, 2: 6, 3: 24, 5: 256, 6: 3, 7: 3}, "loop-nest")


def _loop_empty(chip: Chip, name: str) -> Case:
    """A body of no instructions; of one; a loop in a loop with nothing else."""
    s = begin(chip, name, "an empty body ends at once, whatever its count")
    s.test("loop", count=5, target=s.here + 1)
    count_up(s, 1)
    s.test("loop", count=0x7FFFFFFF, target=s.here + 1)
    count_up(s, 1)
    s.test("loop", count=6, target="one")
    count_up(s, 2)
    s.label("one")
    s.emit("loop", count=3, target="outer")
    s.emit("loop", count=4, target="outer")
    s.label("outer")
    count_up(s, 3)
    s.emit("loop", count=3, target="around")
    count_up(s, 4)
    s.emit("loop", count=4, target=s.here + 1)
    s.label("around")
    return done(s, {1: 2, 2: 6, 3: 1, 4: 3}, "loop-end")


def _loop_skipped(chip: Chip, name: str) -> Case:
    """A skipped loop goes to its end, which may be the end of the one around it."""
    s = begin(chip, name, "count 0 inside other loops, with an end of its own and a shared one")
    s.emit("loop", count=4, target="outer")
    count_up(s, 1)
    s.test("loop", count=0, target="outer")
    count_up(s, 2)
    s.label("outer")
    s.emit("loop", count=3, target="second")
    s.test("loop", count=-7, target="inner")
    count_up(s, 2)
    s.label("inner")
    count_up(s, 3)
    s.label("second")
    s.emit("loop", count=0, target="far")  # over a place that is no end of anything
    s.emit("halt")
    s.label("far")
    return done(s, {1: 4, 2: 0, 3: 3}, "loop-end", "loop-count")


def _loop_jump_to_end(chip: Chip, name: str) -> Case:
    """A jump to the end makes a turn, from inside and from outside of the body."""
    s = begin(chip, name, "jumps to the end of a loop count as turns")
    s.emit("loop", count=5, target="end")
    count_up(s, 1)
    s.emit("beq", ra=1, b=2, target="end")
    s.emit("beq", ra=1, b=3, target="outside")
    count_up(s, 2)
    s.emit("jmp", target="end")
    count_up(s, 3)
    s.label("end")
    s.emit("jmp", target="over")
    s.label("outside")
    count_up(s, 4)
    s.emit("jmp", target="end")
    s.label("over")
    return done(s, {1: 5, 2: 3, 3: 0, 4: 1}, "loop-end")


def _loop_jump_out(chip: Chip, name: str) -> Case:
    """A loop that was left stays: its end, reached later, still makes a turn."""
    s = begin(chip, name, "jump out of a body, then run to its end from elsewhere")
    s.emit("loop", count=3, target="end")
    count_up(s, 1)
    s.emit("beq", ra=2, b=0, target="away")
    s.label("end")
    s.emit("jmp", target="over")
    s.label("away")
    s.emit("loop", count=4, target="inner")  # inside of the loop that was left
    count_up(s, 2)
    s.label("inner")
    s.emit("jmp", target="end")
    s.label("over")
    count_up(s, 3)
    return done(s, {1: 3, 2: 4, 3: 1}, "loop-left", "loop-end")


def _loop_jump_in(chip: Chip, name: str) -> Case:
    """Into a body without its loop: nothing begins, and its end is a place like any other."""
    s = begin(chip, name, "jump into a body; its end does not turn back")
    s.emit("jmp", target="inside")
    s.emit("loop", count=9, target="end")
    count_up(s, 1)
    s.label("inside")
    count_up(s, 2)
    s.label("end")
    count_up(s, 3)
    s.emit("loop", count=2, target="second")
    s.emit("beq", ra=4, b=0, target="middle")
    count_up(s, 5)
    s.label("middle")
    count_up(s, 4)
    s.label("second")
    return done(s, {1: 0, 2: 1, 3: 1, 4: 2, 5: 1}, "loop-left")


def _loop_end_before(chip: Chip, name: str) -> Case:
    """An end that lies before the loop itself."""
    s = begin(chip, name, "the end is an address like any other: here one above the loop")
    s.emit("jmp", target="start")
    s.label("end")
    count_up(s, 2)
    s.emit("jmp", target="over")
    s.label("start")
    s.test("loop", count=4, target="end")
    count_up(s, 1)
    s.emit("jmp", target="end")
    s.label("over")
    return done(s, {1: 4, 2: 1}, "loop-end")


def _loop_calls(chip: Chip, name: str) -> Case:
    """Subroutines called from bodies, with loops of their own; a call as last instruction."""
    s = begin(chip, name, "calls out of bodies; the return address may be the end")
    s.emit("jmp", target="start")
    s.label("f")
    s.emit("loop", count=3, target="f.end")
    count_up(s, 1)
    s.label("f.end")
    s.emit("ret")
    s.label("start")
    s.emit("loop", count=5, target="end")
    count_up(s, 2)
    s.emit("call", target="f")
    s.label("end")
    count_up(s, 3)
    s.emit("loop", count=2, target="second")
    s.emit("call", target="f")
    count_up(s, 4)
    s.label("second")
    return done(s, {1: 21, 2: 5, 3: 1, 4: 2}, "loop-end", "call-stack")


def _loop_return_to_end(chip: Chip, name: str) -> Case:
    """A call whose target is the end: the turn is made, and the return address stays."""
    s = begin(chip, name, "a call to the end of its loop makes a turn; the returns come later")
    s.emit("loop", count=3, target="end")
    count_up(s, 1)
    s.emit("call", target="end")
    s.emit("jmp", target="back")
    s.label("end")
    count_up(s, 2)
    s.emit("ret")  # behind the last call, then the one before, ...
    s.label("back")
    count_up(s, 3)
    s.emit("beq", ra=3, b=3, target="over")
    s.emit("ret")
    s.label("over")
    return done(s, {1: 3, 2: 1, 3: 3}, "loop-end", "call-stack")


def _loop_count_kept(chip: Chip, name: str) -> Case:
    """The count is read once."""
    s = begin(chip, name, "the body changes the register of the count")
    s.emit("li", rd=1, imm=4)
    s.test("loop", count=(1, 1), target="end")
    s.emit("li", rd=1, imm=100)
    count_up(s, 2)
    s.label("end")
    s.test("loop", count=(2, 0), target="second")
    s.emit("sub", rd=2, ra=2, b=1)
    count_up(s, 3)
    s.label("second")
    return done(s, {1: 100, 2: 0, 3: 5}, "loop-count")


def _loop_again(chip: Chip, name: str) -> Case:
    """More loops one after the other than can be nested, and the same one again and again."""
    s = begin(chip, name, "twelve loops in a row, within a loop: each is popped")
    s.emit("loop", count=3, target="end")
    for number in range(12):
        s.emit("loop", count=number, target=f"end{number}")
        count_up(s, 1)
        s.label(f"end{number}")
    s.label("end")
    return done(s, {1: 3 * 66}, "loop-nest", "loop-count")


def _loop_branches(chip: Chip, name: str) -> Case:
    """Branches within a body, back to its first instruction, do not make turns."""
    s = begin(chip, name, "a loop written with branches inside of a hardware loop")
    s.emit("loop", count=4, target="end")
    s.emit("li", rd=1, imm=3)
    s.label("again")
    count_up(s, 2)
    s.emit("sub", rd=1, ra=1, b=1)
    s.emit("bne", ra=1, b=0, target="again")
    count_up(s, 3)
    s.label("end")
    s.emit("loop", count=3, target="last")
    s.label("first")
    count_up(s, 4)
    s.emit("and", rd=5, ra=4, b=1)
    s.emit("beq", ra=5, b=1, target="first")  # to its first instruction: no turn
    s.label("last")
    return done(s, {2: 12, 3: 4, 4: 6}, "loop-end")


def _loop_large(chip: Chip, name: str) -> Case:
    """Thousands of turns."""
    s = begin(chip, name, "4000 turns of one loop, 30 * 40 of two")
    s.emit("loop", count=4000, target="end")
    count_up(s, 1, 3)
    s.label("end")
    s.emit("loop", count=30, target="second")
    s.emit("loop", count=40, target="second")
    s.emit("xor", rd=2, ra=2, b=(1, 5))
    count_up(s, 2)
    s.label("second")
    value = 0
    for _ in range(1200):
        value = (value ^ 12005) + 1
    return done(s, {1: 12000, 2: value}, "loop-count")
