"""The architected faults: what can go wrong in a program, by name.

A faulting unit stops; the rest of the machine runs on until nothing moves; then all faults are
reported, sorted by tile, unit and pc. The destination of a faulting instruction is undefined.
"""

from dataclasses import dataclass
from enum import IntEnum


class Fault(IntEnum):
    """Fault codes; 0 is no fault. The order is part of the ISA."""

    NONE = 0
    ILLEGAL_INSTRUCTION = 1
    OUT_OF_BOUNDS = 2
    MISALIGNED = 3
    FORMAT_MISMATCH = 4
    SHAPE_MISMATCH = 5
    BAD_SPACE = 6
    BAD_DESCRIPTOR = 7
    BAD_TILE = 8
    READ_ONLY = 9
    SEMAPHORE_OVERFLOW = 10
    SEMAPHORE_WAITER = 11
    BAD_COUNT = 12
    DIVIDE_BY_ZERO = 13
    LOOP_DEPTH = 14
    CALL_DEPTH = 15
    BAD_PC = 16
    DEADLOCK = 17


#: One line each, for the reference document and for error messages.
MEANING: dict[Fault, str] = {
    Fault.ILLEGAL_INSTRUCTION: "unknown opcode, reserved bits set, or a modifier that is not legal",
    Fault.OUT_OF_BOUNDS: "an access outside a memory, an HBM region, a tensor or a table",
    Fault.MISALIGNED: "an address or stride that does not suit the format",
    Fault.FORMAT_MISMATCH: "a format the instruction does not take, or formats that do not agree",
    Fault.SHAPE_MISMATCH: "shapes that do not agree, or a rank the instruction does not take",
    Fault.BAD_SPACE: "an operand in a memory space its unit cannot reach",
    Fault.BAD_DESCRIPTOR: "a descriptor field out of its range",
    Fault.BAD_TILE: "a tile or cluster number beyond the chip",
    Fault.READ_ONLY: "a write to a read-only HBM region",
    Fault.SEMAPHORE_OVERFLOW: "a semaphore above 65535",
    Fault.SEMAPHORE_WAITER: "a second unit waiting for one semaphore",
    Fault.BAD_COUNT: "a semaphore count below 0 or above 65535",
    Fault.DIVIDE_BY_ZERO: "scalar division by zero",
    Fault.LOOP_DEPTH: "hardware loops nested deeper than 8",
    Fault.CALL_DEPTH: "calls nested deeper than 8, or a return without a call",
    Fault.BAD_PC: "control ran outside the code",
    Fault.DEADLOCK: "nothing can move and the entry has not completed",
}


@dataclass(frozen=True, order=True)
class FaultReport:
    """One fault: where it happened (unit as in :func:`unit_name`) and what it was."""

    tile: int
    unit: int
    pc: int
    fault: Fault
    detail: str = ""


CTL, MXU, VPU, DMA0 = 0, 1, 2, 3
NUM_DMA = 8
NUM_UNITS = DMA0 + NUM_DMA


def unit_name(unit: int) -> str:
    """Name of a unit number: ctl, mxu, vpu, dma0..dma7."""
    return ("ctl", "mxu", "vpu")[unit] if unit < DMA0 else f"dma{unit - DMA0}"
