"""Scalar arithmetic, immediates, special registers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import Script, ints
from isa.chip import Chip
from isa.descriptor import Space

_TWO64: Final = 1 << 64
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1


def _unsigned(value: int) -> int:
    return value % _TWO64


def wrap(value: int) -> int:
    """Two's complement of 64 bits."""
    return (value + (1 << 63)) % _TWO64 - (1 << 63)


#: What docs/isa/control.md says, on signed integers.
MEANING: Final[dict[str, Callable[[int, int], int]]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "divu": lambda a, b: _unsigned(a) // _unsigned(b),
    "remu": lambda a, b: _unsigned(a) % _unsigned(b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b & 63),
    "shr": lambda a, b: _unsigned(a) >> (b & 63),
    "min": lambda a, b: min(a, b),
    "max": lambda a, b: max(a, b),
}
_VALUES: Final = (
    0, 1, -1, 2, -2, 7, 1 << 31, (1 << 31) - 1, -(1 << 31), (1 << 32) - 1, 1 << 32, -(1 << 32),
    _MOST, _LEAST, _LEAST + 1, 0x0123456789ABCDEF, -0x0123456789ABCDF0,
)  # fmt: skip
_SHIFTS: Final = (0, 1, 7, 31, 32, 33, 62, 63, 64, 65, 127, 128, -1, -63, -64, 1 << 32, _LEAST)
_RULES: Final = {
    "divu": "rule:scalar-unsigned",
    "remu": "rule:scalar-unsigned",
    "min": "rule:scalar-unsigned",
    "max": "rule:scalar-unsigned",
    "shl": "rule:scalar-shift",
    "shr": "rule:scalar-shift",
}
_EDGES: Final = (0, 1, -1, _MOST, _LEAST, 1 << 47, -(1 << 47), 0x5555555555555555)


def makers() -> list[Maker]:
    """The cases of this module."""
    out = []
    for mnemonic in MEANING:
        out.append(Maker(f"control/{mnemonic}/values", partial(_values, mnemonic, False)))
        out.append(Maker(f"control/{mnemonic}/pairs", partial(_values, mnemonic, True), True))
    out += [
        Maker("control/add/immediates", _immediates),
        Maker("control/add/names", _names),
        Maker("control/add/r0", _zero),
        Maker("control/li/values", _li),
        Maker("control/li/registers", _registers),
        Maker("control/rdsr/specials", _specials),
        Maker("control/nop/nothing", _nop),
        Maker("control/mark/nothing", _mark),
    ]
    return out


def _pairs(mnemonic: str, full: bool) -> list[tuple[int, int]]:
    """Operands: every value on the left with a few on the right, or all with all."""
    rights = _SHIFTS if mnemonic in ("shl", "shr") else _VALUES
    pairs = [(a, b) for i, a in enumerate(_VALUES) for j, b in enumerate(rights)
             if full or (i + 5 * j) % 7 == 0 or i == j]  # fmt: skip
    return [(a, b) for a, b in pairs if b or mnemonic not in ("divu", "remu")]


def _values(mnemonic: str, full: bool, chip: Chip, name: str) -> Case:
    """Edge values; the second operand as a register, an immediate, or half of each."""
    s = Script(chip, name, f"{mnemonic} of values at the edges of 32 and 64 bits")
    s.only(0)
    for number, (a, b) in enumerate(_pairs(mnemonic, full)):
        s.emit("li", rd=1, imm=a)
        s.emit("li", rd=2, imm=wrap(b - 1000) if number % 3 == 2 else b)
        operand = ((2, 0), (0, b), (2, 1000))[number % 3]
        s.test(mnemonic, rd=3, ra=1, b=operand)
        s.keep(3, wrap(MEANING[mnemonic](a, b)))
    s.deliver()
    s.emit("halt")
    return s.case(["rule:scalar-wrap", _RULES.get(mnemonic, "rule:scalar-wrap")], full)


def _immediates(chip: Chip, name: str) -> Case:
    """Register plus 64-bit immediate, with the sum wrapping."""
    s = Script(chip, name, "rb + immediate wraps before the operation")
    s.only(0)
    for number, register in enumerate(_EDGES):
        for immediate in _EDGES[number % 2 :: 2]:
            b = wrap(register + immediate)
            s.emit("li", rd=1, imm=register)
            s.test("add", rd=2, ra=0, b=(1, immediate))
            s.keep(2, b)
            s.emit("li", rd=3, imm=-3)
            s.test("max", rd=2, ra=3, b=(1, immediate))
            s.keep(2, max(-3, b))
    s.deliver()
    s.emit("halt")
    return s.case(["rule:scalar-immediate"])


def _names(chip: Chip, name: str) -> Case:
    """Destination and sources of one name."""
    s = Script(chip, name, "rd = ra, rd = rb, ra = rb, all three")
    s.only(0)
    for number, mnemonic in enumerate(MEANING):
        for rd, ra, rb in ((1, 1, 2), (2, 1, 2), (3, 1, 1), (1, 1, 1)):
            values = {1: 1000 + number, 2: 3 + number, 3: 0}
            for register, value in values.items():
                s.emit("li", rd=register, imm=value)
            s.test(mnemonic, rd=rd, ra=ra, b=(rb, 5))
            s.keep(rd, wrap(MEANING[mnemonic](values[ra], values[rb] + 5)))
    s.deliver()
    s.emit("halt")
    return s.case(["rule:scalar-names"])


def _zero(chip: Chip, name: str) -> Case:
    """r0 as destination, as source, as the register of an immediate."""
    s = Script(chip, name, "every instruction that writes a register writes r0: nothing happens")
    s.only(0)
    source = s.data((77).to_bytes(4, "little"))
    s.load(1, ints(source, 1, Space.HBM))
    s.emit("li", rd=1, imm=41)
    writes: list[tuple[str, dict[str, Any]]] = [
        ("li", {"imm": 5}), ("rdsr", {"special": "NUM_TILES"}), ("ld", {"src": 1, "index": 0})
    ]  # fmt: skip
    writes += [(mnemonic, {"ra": 1, "b": (1, 1)}) for mnemonic in MEANING]
    for mnemonic, fields in writes:
        s.test(mnemonic, rd=0, **fields)
        s.emit("add", rd=2, ra=0, b=(0, 0))
        s.keep(2, 0)
    s.emit("sub", rd=2, ra=0, b=(1, 0))
    s.keep(2, -41)
    s.deliver()
    s.emit("halt")
    return s.case(["rule:scalar-r0"])


def _li(chip: Chip, name: str) -> Case:
    """64-bit patterns."""
    s = Script(chip, name, "every single bit, and edges")
    s.only(0)
    for value in (*_VALUES, *(wrap(1 << bit) for bit in range(64))):
        s.test("li", rd=9, imm=value)
        s.keep(9, value)
    s.deliver()
    s.emit("halt")
    return s.case()


def _registers(chip: Chip, name: str) -> Case:
    """All registers hold values of their own at once; they begin as 0."""
    s = Script(chip, name, "31 registers at once; before that, all of them 0")
    s.only(0)
    for register in range(30):
        s.keep(register, 0)
    value = [-(register << 40) - register for register in range(32)]
    for register in range(32):
        s.test("li", rd=register, imm=value[register])
    s.emit("add", rd=1, ra=30, b=(31, 0))  # `keep` uses these two
    expected = [0, value[30] + value[31], *value[2:30]]
    for register in range(30):
        s.keep(register, expected[register])
    s.deliver()
    s.emit("halt")
    return s.case(["rule:entry-clear"])


def _specials(chip: Chip, name: str) -> Case:
    """Every special register on every tile."""
    s = Script(chip, name, "special registers, which differ from tile to tile")
    tiles = range(chip.num_tiles)
    values: dict[str, list[int]] = {
        "TILE_ID": list(tiles),
        "CLUSTER_ID": [tile // chip.tiles_per_cluster for tile in tiles],
        "NUM_TILES": [chip.num_tiles] * chip.num_tiles,
        "NUM_CLUSTERS": [chip.clusters] * chip.num_tiles,
        "CHIP_ID": [0] * chip.num_tiles,
        "NUM_CHIPS": [1] * chip.num_tiles,
    }
    for special, expected in values.items():
        s.emit("li", rd=5, imm=-1)
        s.test("rdsr", rd=5, special=special)
        s.keep(5, *expected)
    s.deliver(*tiles)
    s.emit("halt")
    return s.case()


def _nop(chip: Chip, name: str) -> Case:
    """Nothing changes."""
    s = Script(chip, name, "registers are the same before and after")
    s.only(0)
    for register in range(1, 30):
        s.emit("li", rd=register, imm=register * 0x0101010101)
    for _ in range(3):
        s.test("nop")
    for register in range(1, 30):
        s.keep(register, register * 0x0101010101)
    s.deliver()
    s.emit("halt")
    return s.case()


def _mark(chip: Chip, name: str) -> Case:
    """A context has no architectural effect, whatever its value."""
    s = Script(chip, name, "contexts of every sort, between instructions and within a loop")
    s.only(0)
    s.emit("li", rd=1, imm=-5)
    s.emit("li", rd=2, imm=0)
    for context in (0, 7, -1, (1, 0), (1, 1 << 30), 0x7FFFFFFF):
        s.test("mark", context=context)
        s.emit("add", rd=2, ra=2, b=1)
    s.emit("loop", count=3, target="end")
    s.emit("mark", context=(2, 0))
    s.emit("add", rd=2, ra=2, b=1)
    s.label("end")
    s.keep(1, -5)
    s.keep(2, 9)
    s.deliver()
    s.emit("halt")
    return s.case()
