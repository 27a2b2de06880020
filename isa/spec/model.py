"""The vocabulary in which instructions are specified.

An instruction is one :class:`Instruction` entry. Its operands say where their bits lie in the
128-bit word, how they are written in assembly and what they mean; encoder, decoder, assembler,
disassembler and the reference document are all derived from these entries.
"""

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True)
class Slot:
    """A bit field of the 128-bit instruction word (bit 0 is the least significant)."""

    name: str
    lsb: int
    width: int
    signed: bool = False

    @property
    def lo(self) -> int:
        """Smallest value the slot can hold."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest value the slot can hold."""
        return (1 << (self.width - (1 if self.signed else 0))) - 1


def _slots(*slots: Slot) -> dict[str, Slot]:
    return {slot.name: slot for slot in slots}


#: Every field any instruction may use. Two slots may overlap; an instruction never uses both.
SLOTS = _slots(
    Slot("op", 0, 8),
    Slot("flags", 8, 8),
    Slot("d0", 16, 6),
    Slot("d1", 22, 6),
    Slot("d2", 28, 6),
    Slot("d3", 34, 6),
    Slot("d4", 40, 6),
    Slot("rd", 46, 5),
    Slot("ra", 51, 5),
    Slot("rb", 56, 5),
    Slot("imm64", 64, 64, signed=True),
    Slot("imm48", 64, 48, signed=True),
    Slot("imm32", 64, 32, signed=True),
    Slot("sel", 112, 8),  # which field of a descriptor, which special register
    Slot("target", 96, 32),  # instruction index of a branch or loop end
    Slot("unit", 96, 4),
    Slot("sem", 100, 6),
    Slot("scope", 106, 2),
    Slot("site", 108, 12),
)

WORD_BITS = 128
NUM_SCALARS = 32
NUM_DESCRIPTORS = 32
NO_DESCRIPTOR = 32  # written in a descriptor slot: the optional operand is absent
NUM_SEMAPHORES = 64
SEMAPHORE_MAX = 65535
LOOP_DEPTH = 8
CALL_DEPTH = 8
NUM_ARGUMENTS = 8  # an entry's 64-bit arguments arrive in r1..r8


class Unit(Enum):
    """Who executes an instruction. The value is its number; DMA channel c is DMA.value + c."""

    CTL = 0
    MXU = 1
    VPU = 2
    DMA = 3


class Kind(Enum):
    """What an operand is, and so how it is written."""

    RD = "rd"  #: scalar register, written
    RA = "ra"  #: scalar register, read
    B64 = "b64"  #: rb + 64-bit immediate: `r3`, `-5`, `r3+16`, a named constant
    B48 = "b48"  #: rb + 48-bit immediate
    B32 = "b32"  #: rb + 32-bit immediate
    NUM = "num"  #: rb + 32-bit immediate, whose low 32 bits are a number's pattern: `1.5`, `0x7f`
    IMM64 = "imm64"  #: a 64-bit immediate alone
    D = "d"  #: descriptor register
    D_OR_NUM = "d|num"  #: a descriptor, or a NUM after `#`; the flag `scalar` tells which
    UNIT = "unit"  #: mxu, vpu, ctl, dma0..dma7
    CHANNEL = "channel"  #: dma0..dma7
    SEM = "sem"  #: s0..s63
    SCOPE = "scope"  #: whom a signal reaches
    LABEL = "label"  #: an instruction's index
    FIELD = "field"  #: a descriptor's field
    SPECIAL = "special"  #: a special register
    SITE = "site"  #: choice site of a data-dependent value (0: none)


@dataclass(frozen=True)
class Operand:
    """One operand: its name in prose, what it is, and the slot it lies in.

    ``role`` documents it; ``optional`` operands are written `name=value` and may be absent.
    """

    name: str
    kind: Kind
    slot: str
    role: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Flag:
    """A modifier in the flags byte, written as a suffix: `.acc`, `.lt`.

    ``choices`` maps suffix to value; the value 0 may be written as nothing if it is named "".
    """

    name: str
    lsb: int
    width: int
    choices: dict[str, int]
    role: str = ""


@dataclass(frozen=True)
class Instruction:
    """One instruction of the ISA.

    ``meaning`` is the normative pseudo-code; ``faults`` the architected faults it can raise
    beyond those of decoding; ``timing`` the class by which a timing model prices it.
    """

    mnemonic: str
    opcode: int
    unit: Unit
    summary: str
    operands: tuple[Operand, ...] = ()
    flags: tuple[Flag, ...] = ()
    meaning: str = ""
    faults: tuple[str, ...] = ()
    timing: str = "scalar"
    since: str = "1.0"
    notes: str = field(default="", compare=False)


def rd(role: str = "destination") -> Operand:
    """A scalar destination register."""
    return Operand("rd", Kind.RD, "rd", role)


def ra(role: str = "first operand") -> Operand:
    """A scalar source register."""
    return Operand("ra", Kind.RA, "ra", role)


def b64(role: str = "second operand: rb + immediate") -> Operand:
    """Register plus 64-bit immediate."""
    return Operand("b", Kind.B64, "imm64", role)


def b48(role: str) -> Operand:
    """Register plus 48-bit immediate."""
    return Operand("b", Kind.B48, "imm48", role)


def b32(name: str, role: str, optional: bool = False) -> Operand:
    """Register plus 32-bit immediate."""
    return Operand(name, Kind.B32, "imm32", role, optional)


def num(name: str, role: str, optional: bool = False) -> Operand:
    """A 32-bit number pattern: register plus 32-bit immediate."""
    return Operand(name, Kind.NUM, "imm32", role, optional)


def d(index: int, name: str, role: str, optional: bool = False) -> Operand:
    """A descriptor register in slot d<index>."""
    return Operand(name, Kind.D, f"d{index}", role, optional)


def d_or_num(index: int, name: str, role: str) -> Operand:
    """A descriptor, or a scalar after `#`."""
    return Operand(name, Kind.D_OR_NUM, f"d{index}", role)


def label(role: str) -> Operand:
    """A branch target."""
    return Operand("target", Kind.LABEL, "target", role)
