"""How the result of a product leaves a tile: by a stage of one or two slots, column by column."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Desc, Reg, Sem
from compiler.operators.gemm_stream import rows_of
from compiler.operators.workspace import Workspace, slot_bytes, width
from isa.descriptor import Descriptor


@dataclass(frozen=True)
class Block:
    """A block at run time."""

    row: Reg
    rows: Reg
    column: Reg
    columns: Reg


@dataclass(frozen=True)
class Out:
    """The result's way: the stage, filled by one unit, and the channels that empty it."""

    matrix: Descriptor
    strides: tuple[int, int]  # from row to row, and per column from one read-out to the next
    stage: Descriptor
    stages: int
    senders: tuple[str, ...]
    staged: tuple[Sem, ...]  # full: the unit -> each sender
    sent: tuple[Sem, ...]  # free: each sender -> the unit
    at: Reg


def make_out(
    work: Workspace,
    unit: str,
    matrix: tuple[Descriptor, tuple[int, int]],
    stage: tuple[tuple[int, int], int],
    senders: tuple[str, ...],
) -> Out:
    """The way of a matrix; `unit` fills the stage, of which there are (shape, slots)."""
    code, (tensor, strides), (shape, stages) = work.code, matrix, stage
    return Out(
        tensor,
        strides,
        work.local("stage", tensor.format, shape, stages),
        stages,
        senders,
        tuple(code.sem() for _ in senders),
        tuple(work.credit(unit, stages) for _ in senders),
        code.reg(0),
    )


def wait_for_room(work: Workspace, out: Out, unit: str) -> None:
    """Queue on a unit: a wait for the next slot of the stage."""
    for sem in out.sent:
        work.code.wait(unit, sem)


def staged(work: Workspace, out: Out, rows: Reg, columns: Reg) -> Desc:
    """The next slot of the stage."""
    return work.code.tensor(out.stage, ("base", out.at), dim0=rows, dim1=columns)


def send(work: Workspace, out: Out, unit: str, block: Block, place: tuple[Reg, Reg]) -> None:
    """Send what a unit has put in the stage, each sender its share of the rows.

    `place`: (first column within the block, columns).
    """
    code, (column, columns), element = work.code, place, width(out.matrix.format)
    for number, sender in enumerate(out.senders):
        code.signal(unit, out.staged[number])
        code.wait(sender, out.staged[number])
        with code.scope():
            skip, count = work.part(block.rows, number, len(out.senders))
            with code.unless("eq", count, 0):
                dst_at = code.calc("add", block.row, skip)
                code.alu("mul", dst_at, dst_at, out.strides[0] * element)
                across = code.calc("add", block.column, column)
                code.alu("mul", across, across, out.strides[1] * element)
                code.alu("add", dst_at, dst_at, across)
                code.alu("mul", skip, skip, out.stage.strides[0] * element)
                code.alu("add", skip, skip, out.at)
                whole = rows_of(out.matrix, out.strides[0])
                work.transfer(sender, (whole, dst_at), (out.stage, skip), count, columns)
        code.signal(sender, out.sent[number])
    work.next_slot(out.at, slot_bytes(out.stage.format, out.stage.shape), out.stages)
