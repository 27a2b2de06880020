"""What the modules of linear phases share: what is multiplied, and the registers of a turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.buffers import Rows
from compiler.emit import Code, Reg, Value
from compiler.lower.context import Lowering
from compiler.matrices import Matrix
from compiler.precision import Precision


@dataclass(frozen=True)
class Block:
    """What is read out at a time, at run time.

    Panels from `first` on, and rows from `row` of the own group on; `stride` elements lie between
    two rows of the stage. `side` is its slot of what is brought for it, and of what it makes.
    """

    first: Reg
    panels: Reg
    row: Reg
    rows: Reg
    stride: Reg
    side: Reg


Epilogue = Callable[[Lowering, "Linear", Block], None]


@dataclass(frozen=True)
class Linear:
    """One linear phase: matrix, input rows, this layer's number; `alone`: not by row groups."""

    matrix: Matrix
    src: Rows
    layer: Reg | None

    @property
    def alone(self) -> bool:
        """Whether all tiles share the columns, and have the same rows."""
        return self.layer is None


@dataclass(frozen=True)
class Turn:
    """Registers of a phase that outlive the stream's subroutine.

    Panels [first, stop) are to come, `wide` at a time; K goes from `k` in steps of `depth`; `slot`
    is that of the activations' semaphores plus RING, ARRIVING or RESIDENT. `parts` is twice the
    number of parts of the block before that are still to be finished, plus the half of the
    accumulator that the block at hand uses; `side` is the slot of the part at hand.
    """

    rows: Reg
    first: Reg
    stop: Reg
    wide: Reg
    depth: Reg
    k: Reg
    slot: Reg
    parts: Reg
    side: Reg


def bytes_of(code: Code, elements: Value, precision: Precision) -> Reg:
    """A new register: bytes of packed elements, rounded up."""
    count = code.reg(elements)
    if precision.bits == 4:
        code.alu("add", count, count, 1)
        return code.alu("shr", count, count, 1)
    return code.alu("mul", count, count, precision.bits // 8)


def blocks_of(code: Code, elements: Value, block: int) -> Reg:
    """A new register: scale blocks that cover the elements."""
    count = code.reg(elements)
    code.alu("add", count, count, block - 1)
    return code.alu("divu", count, count, block)
