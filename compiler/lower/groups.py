"""Buffers of row groups: where the copies of a row's activations lie.

In CSRAM a buffer holds the rows of one group, in each of the group's clusters; in HBM all rows.
"""

from __future__ import annotations

from compiler.buffers import Bytes
from compiler.emit import Desc, Reg, Scaled, Value
from compiler.lower.context import Lowering
from isa.descriptor import Descriptor, Space

Add = tuple[str, Value | Scaled]  # a field of a descriptor, and what to add to it


def read_rows(
    lo: Lowering, buffer: Bytes, view: Descriptor, row: Reg, *adds: Add, **sets: Value
) -> Desc:
    """A descriptor register: a view of a buffer from a row on, in a copy of the row's group."""
    code = lo.code
    desc = code.tensor(view, *adds, **sets)
    with code.scope():
        _add_row(lo, desc, buffer, row, spread=True)
    return desc


def write_rows(
    lo: Lowering, buffer: Bytes, view: Descriptor, row: Reg, *adds: Add, **sets: Value
) -> Desc:
    """A descriptor register: a view of a buffer from a row on, in all copies of its group."""
    return fill_written_rows(lo, lo.code.desc(), buffer, view, row, *adds, **sets)


def fill_written_rows(
    lo: Lowering, desc: Desc, buffer: Bytes, view: Descriptor, row: Reg, *adds: Add, **sets: Value
) -> Desc:
    """The same in a register at hand."""
    code = lo.code
    code.fill(desc, view, *adds, **sets)
    with code.scope():
        _add_row(lo, desc, buffer, row, spread=False)
        if buffer.space is Space.CSRAM:
            code.emit("dset", dst=desc, field="fan", b=lo.group_clusters())
            code.emit("dset", dst=desc, field="fanstep", b=1)
    return desc


def _add_row(lo: Lowering, desc: Desc, buffer: Bytes, row: Reg, spread: bool) -> None:
    """Move to a row: of the group in CSRAM, whose owner is one of its clusters; else of all."""
    code = lo.code
    if buffer.space is Space.CSRAM:
        with code.scope():
            owner = lo.rows_each()
            code.alu("divu", owner, row, owner)
            clusters = lo.group_clusters()
            code.alu("mul", owner, owner, clusters)
            if spread:  # a tile's own cluster, if that is one of them
                lane = code.rdsr("CLUSTER_ID")
                code.alu("remu", lane, lane, clusters)
                code.alu("add", owner, owner, lane)
            code.emit("dset", dst=desc, field="owner", b=owner)
        offset = lo.rows_each()
        code.alu("remu", offset, row, offset)
    else:
        offset = code.reg(row)
    code.alu("mul", offset, offset, buffer.row_bytes)
    code.emit("dadd", dst=desc, field="base", b=offset)
