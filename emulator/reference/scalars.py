"""Scalar, control-flow and descriptor instructions: what the control processor does by itself.

Source: isa/spec/control.py. A function moves the tile's state; the pc advances by one unless it
sets `next_pc`.
"""

from __future__ import annotations

from typing import Final

from emulator.reference.check import resolve
from emulator.reference.faults import require
from emulator.reference.registry import Rule, TensorInstruction, always, control
from emulator.reference.state import Loop, Op, Tile, wrap
from isa.descriptor import (
    W_BASE,
    W_DIM,
    W_FAN,
    W_FANSTEP,
    W_OWNER,
    W_SCALE,
    W_SSTRIDE,
    W_STRIDE,
    Space,
)
from isa.faults import Fault
from isa.formats import Format
from isa.spec.control import DESCRIPTOR_FIELDS, SPECIAL_REGISTERS
from isa.spec.model import CALL_DEPTH, LOOP_DEPTH

_TWO64: Final = 1 << 64


@control("nop")
def nop(tile: Tile, op: Op) -> None:
    """Nothing."""


@control("halt")
def halt(tile: Tile, op: Op) -> None:
    """Stop; the units finish what is queued."""
    tile.control.halted = True
    tile.machine.retire(op, None)


@control("li")
def li(tile: Tile, op: Op) -> None:
    """rd = imm."""
    tile.control.set(op.field("rd"), op.field("imm64"))


@control("rdsr")
def rdsr(tile: Tile, op: Op) -> None:
    """rd = special register."""
    chip = tile.machine.chip
    values = {
        "TILE_ID": tile.index,
        "CLUSTER_ID": tile.cluster,
        "NUM_TILES": chip.num_tiles,
        "NUM_CLUSTERS": chip.clusters,
        "CHIP_ID": 0,
        "NUM_CHIPS": 1,
    }
    name = next(n for n, number in SPECIAL_REGISTERS.items() if number == op.field("sel"))
    tile.control.set(op.field("rd"), values[name])


@control("mark")
def mark(tile: Tile, op: Op) -> None:
    """Name the context of what follows."""
    tile.control.context = op.b


# ---- arithmetic: rd = ra op b, two's complement


@control("add")
def add(tile: Tile, op: Op) -> None:
    """rd = ra + b."""
    tile.control.set(op.field("rd"), op.a + op.b)


@control("sub")
def sub(tile: Tile, op: Op) -> None:
    """rd = ra - b."""
    tile.control.set(op.field("rd"), op.a - op.b)


@control("mul")
def mul(tile: Tile, op: Op) -> None:
    """rd = ra * b."""
    tile.control.set(op.field("rd"), op.a * op.b)


@control("divu")
def divu(tile: Tile, op: Op) -> None:
    """rd = ra / b, unsigned, truncated."""
    require(op.b != 0, Fault.DIVIDE_BY_ZERO)
    tile.control.set(op.field("rd"), (op.a % _TWO64) // (op.b % _TWO64))


@control("remu")
def remu(tile: Tile, op: Op) -> None:
    """rd = ra mod b, unsigned."""
    require(op.b != 0, Fault.DIVIDE_BY_ZERO)
    tile.control.set(op.field("rd"), (op.a % _TWO64) % (op.b % _TWO64))


@control("and")
def and_(tile: Tile, op: Op) -> None:
    """rd = ra & b."""
    tile.control.set(op.field("rd"), op.a & op.b)


@control("or")
def or_(tile: Tile, op: Op) -> None:
    """rd = ra | b."""
    tile.control.set(op.field("rd"), op.a | op.b)


@control("xor")
def xor(tile: Tile, op: Op) -> None:
    """rd = ra ^ b."""
    tile.control.set(op.field("rd"), op.a ^ op.b)


@control("shl")
def shl(tile: Tile, op: Op) -> None:
    """rd = ra << (b & 63)."""
    tile.control.set(op.field("rd"), op.a << (op.b & 63))


@control("shr")
def shr(tile: Tile, op: Op) -> None:
    """rd = ra >> (b & 63), logical."""
    tile.control.set(op.field("rd"), (op.a % _TWO64) >> (op.b & 63))


@control("min")
def min_(tile: Tile, op: Op) -> None:
    """rd = min(ra, b), signed."""
    tile.control.set(op.field("rd"), min(op.a, op.b))


@control("max")
def max_(tile: Tile, op: Op) -> None:
    """rd = max(ra, b), signed."""
    tile.control.set(op.field("rd"), max(op.a, op.b))


# ---- control flow


def _branch(tile: Tile, op: Op, taken: bool) -> None:
    if taken:
        tile.control.jump(op.field("target"))


@control("beq")
def beq(tile: Tile, op: Op) -> None:
    """If ra == b, go to the target."""
    _branch(tile, op, op.a == op.b)


@control("bne")
def bne(tile: Tile, op: Op) -> None:
    """If ra != b, go to the target."""
    _branch(tile, op, op.a != op.b)


@control("blt")
def blt(tile: Tile, op: Op) -> None:
    """If ra < b, signed, go to the target."""
    _branch(tile, op, op.a < op.b)


@control("bge")
def bge(tile: Tile, op: Op) -> None:
    """If ra >= b, signed, go to the target."""
    _branch(tile, op, op.a >= op.b)


@control("jmp")
def jmp(tile: Tile, op: Op) -> None:
    """Go to the target."""
    _branch(tile, op, True)


@control("call")
def call(tile: Tile, op: Op) -> None:
    """Push the return address, and go to the target."""
    calls = tile.control.calls
    require(len(calls) < CALL_DEPTH, Fault.CALL_DEPTH, "too deep")
    calls.append(op.pc + 1)
    tile.control.jump(op.field("target"))


@control("ret")
def ret(tile: Tile, op: Op) -> None:
    """Go to the address on top of the call stack."""
    calls = tile.control.calls
    require(bool(calls), Fault.CALL_DEPTH, "return without a call")
    tile.control.jump(calls.pop())


@control("loop")
def loop(tile: Tile, op: Op) -> None:
    """Begin a hardware loop, or skip it if its count is not positive."""
    state, end = tile.control, op.field("target")
    if op.b <= 0:
        state.next_pc = end
        return
    require(len(state.loops) < LOOP_DEPTH, Fault.LOOP_DEPTH)
    state.loops.append(Loop(op.pc + 1, end, op.b))


# ---- descriptors

#: Word of each descriptor field, its lowest bit there and its width.
_FIELD_PLACES: Final[dict[str, tuple[int, int, int]]] = {
    "base": (W_BASE, 0, 64),
    "owner": (W_OWNER, 0, 64),
    "fan": (W_FAN, 0, 64),
    "fanstep": (W_FANSTEP, 0, 64),
    "scale": (W_SCALE, 0, 64),
    **{f"dim{i}": (W_DIM + i, 0, 64) for i in range(4)},
    **{f"stride{i}": (W_STRIDE + i, 0, 64) for i in range(4)},
    "sstride0": (W_SSTRIDE, 0, 40),
    "sstride1": (W_SSTRIDE, 40, 24),
}


def _write_field(tile: Tile, op: Op, relative: bool) -> None:
    """Set a field of a descriptor register, or add to it; a narrow field wraps at its width."""
    name = next(n for n, number in DESCRIPTOR_FIELDS.items() if number == op.field("sel"))
    word, lsb, width = _FIELD_PLACES[name]
    mask = (1 << width) - 1
    register = tile.control.descriptors[op.field("d0")]
    old = int(register[word]) % _TWO64
    value = op.b + (old >> lsb if relative else 0)  # masked below
    register[word] = wrap(old & ~(mask << lsb) | (value & mask) << lsb)


@control("dset")
def dset(tile: Tile, op: Op) -> None:
    """dst.field = b."""
    _write_field(tile, op, relative=False)


@control("dadd")
def dadd(tile: Tile, op: Op) -> None:
    """dst.field += b."""
    _write_field(tile, op, relative=True)


@control("dmov")
def dmov(tile: Tile, op: Op) -> None:
    """dst = src."""
    tile.control.descriptors[op.field("d0")] = op.descriptors["src"]


@control("dld")
def dld(tile: Tile, op: Op) -> None:
    """dst = entry b of the program's table."""
    table = tile.machine.program.descriptors
    require(0 <= op.b < len(table), Fault.OUT_OF_BOUNDS, f"descriptor {op.b} of {len(table)}")
    tile.control.descriptors[op.field("d0")] = table[op.b]


# ---- scalar loads

_LD: Final = TensorInstruction(
    rules={
        "src": Rule(
            frozenset({Format.I32, Format.U8}),
            rank=1,
            spaces=frozenset({Space.HBM, Space.TSRAM}),
        )
    },
    formats=always,
    shapes=always,
    run=lambda run: None,
)


@control("ld")
def ld(tile: Tile, op: Op) -> None:
    """rd = src[b], sign-extended (U8: zero-extended)."""
    run = resolve(tile, op, _LD)
    src = run["src"]
    require(0 <= op.b < src.count, Fault.OUT_OF_BOUNDS, f"element {op.b} of {src.count}")
    tile.control.set(op.field("rd"), src.integer(op.b))
    tile.machine.retire(op, run)
