"""The parts of attention: what is queued on which unit for an item.

With all keys at a time the array's read-out divides by each row's sum. With blocks of keys the
vector unit folds them: the weights of a block are against the largest score so far, and what was
summed before is multiplied by how much that has grown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.emit import Desc, Reg, Sem
from compiler.operators.workspace import Channels, Workspace, slot_bytes, width
from isa.descriptor import Descriptor, Space
from isa.formats import Format

MXU, VPU = "mxu", "vpu"


@dataclass(frozen=True)
class Attention:
    """The state of the operator."""

    work: Workspace
    block: int  # query rows
    keys: int
    dim: int
    folded: bool  # the keys are fewer than the sequence
    slots: int
    hbm: dict[str, Descriptor]
    local: dict[str, Descriptor]
    rings: dict[str, Channels]
    senders: tuple[str, ...]
    staged: tuple[Sem, ...]  # full: who makes the results -> each sender
    sent: tuple[Sem, ...]  # free: each sender -> who makes the results
    scored: Sem  # mxu -> vpu
    weighed: Sem  # vpu -> mxu
    multiplied: Sem  # mxu -> vpu, when folding
    at: dict[str, Reg]  # offsets of the slots


# -- transfers -----------------------------------------------------------------------------------


def advance(s: Attention, name: str) -> None:
    """The next slot of a ring from here on."""
    slot = s.local[name]
    s.work.next_slot(s.at[name], slot_bytes(slot.format, slot.shape), s.slots)


def bring(s: Attention, name: str, first: Reg, count: Reg) -> None:
    """Queue rows of q, k or v into their slot, each channel its share."""
    code, ring = s.work.code, s.rings[name]
    for number, channel in enumerate(ring.names):
        code.wait(channel, ring.free[number])
        _move(s, channel, (number, len(ring.names)), name, (first, count))
        code.signal(channel, ring.full[number])


def send(s: Attention, row: Reg, rows: Reg) -> None:
    """Queue the block's way out, each channel its share."""
    code = s.work.code
    for number, channel in enumerate(s.senders):
        code.wait(channel, s.staged[number])
        _move(s, channel, (number, len(s.senders)), "o", (row, rows))
        code.signal(channel, s.sent[number])


def _move(
    s: Attention, channel: str, part: tuple[int, int], name: str, span: tuple[Reg, Reg]
) -> None:
    """One channel's share of rows: in, or out for the results."""
    work, code = s.work, s.work.code
    first, count = span
    row_bytes = s.dim * width(s.hbm[name].format)
    with code.scope():
        skip, rows = work.part(count, *part)
        with code.unless("eq", rows, 0):
            place = code.calc("add", skip, first)
            code.alu("mul", place, place, row_bytes)
            code.alu("mul", skip, skip, row_bytes)
            code.alu("add", skip, skip, s.at[name])
            memory = _flat(s.hbm[name], s.dim)
            sides = (s.local[name], skip), (memory, place)
            dst, src = sides if name != "o" else sides[::-1]
            work.transfer(channel, dst, src, rows, s.dim)


def _flat(tensor: Descriptor, dim: int) -> Descriptor:
    """All rows of all heads."""
    rows = tensor.shape[0] * tensor.shape[1]
    return Descriptor(tensor.space, tensor.format, (rows, dim), (dim, 1), tensor.base)


# -- operands ------------------------------------------------------------------------------------


def _acc(s: Attention, columns: int) -> Descriptor:
    return Descriptor(Space.ACC, Format.FP32, (s.block, columns), (columns, 1), 0)


def _slot(s: Attention, name: str, **sets: Reg) -> Desc:
    return s.work.code.tensor(s.local[name], ("base", s.at[name]), **sets)


def _one(s: Attention, name: str, rows: Reg) -> Desc:
    """One number for each row."""
    return s.work.code.tensor(s.local[name], dim0=rows)


def _each(s: Attention, name: str, columns: int) -> Descriptor:
    """One number for each row, spread over columns."""
    one = s.local[name]
    return Descriptor(one.space, one.format, (s.block, columns), (1, 0), one.base)


# -- steps ---------------------------------------------------------------------------------------


def _scores(s: Attention, rows: Reg, count: Reg) -> None:
    """Queue on the MXU: scores = q k^T * factor."""
    code = s.work.code
    for sem in s.rings["k"].full:
        code.wait(MXU, sem)
    with code.scope():
        sums = code.tensor(_acc(s, s.keys), dim0=rows, dim1=count)
        code.emit("gemm", acc=sums, a=_slot(s, "q", dim0=rows), w=_slot(s, "k", dim0=count))
        for sem in s.rings["k"].free:
            code.signal(MXU, sem)
        one = s.local["scale"]
        factor = Descriptor(one.space, one.format, (s.block, 1), (0, 1), one.base)
        dst = code.tensor(s.local["scores"], dim0=rows, dim1=count)
        code.emit("readout", dst=dst, acc=sums, row=code.tensor(factor, dim0=rows))
    code.signal(MXU, s.scored)


@contextmanager
def _product(s: Attention, rows: Reg, count: Reg) -> Iterator[Desc]:
    """Queue on the MXU: weights v, in the accumulator."""
    code = s.work.code
    for sem in (s.weighed, *s.rings["v"].full):
        code.wait(MXU, sem)
    with code.scope():
        sums = code.tensor(_acc(s, s.dim), dim0=rows)
        weights = code.tensor(s.local["weights"], dim0=rows, dim1=count)
        v = s.local["v"]
        across = Descriptor(v.space, v.format, (s.dim, s.keys), (1, s.dim), v.base)
        values = code.tensor(across, ("base", s.at["v"]), dim1=count)
        code.emit("gemm", acc=sums, a=weights, w=values)
        for sem in s.rings["v"].free:
            code.signal(MXU, sem)
        yield sums


def _weigh(s: Attention, rows: Reg, count: Reg, largest: str, total: str) -> None:
    """Queue on the VPU: weights = exp2(scores - largest), and their sum."""
    code = s.work.code
    scores = code.tensor(s.local["scores"], dim0=rows, dim1=count)
    weights = code.tensor(s.local["weights"], dim0=rows, dim1=count)
    each = code.tensor(_each(s, largest, s.keys), dim0=rows, dim1=count)
    code.emit("vsub", dst=scores, a=scores, b=each)
    code.emit("vexp2", dst=weights, a=scores)
    code.emit("vrsum", dst=_one(s, total, rows), src=weights)


def whole(s: Attention, head: Reg, rows: Reg, count: Reg) -> None:
    """All keys at a time: o = weights v / sum, divided on the way out of the array."""
    code = s.work.code
    for name in "kv":
        bring(s, name, head, count)
    _scores(s, rows, count)
    code.wait(VPU, s.scored)
    with code.scope():
        scores, total = code.tensor(s.local["scores"], dim0=rows), _one(s, "sum", rows)
        code.emit("vrmax", dst=total, src=scores)
        _weigh(s, rows, count, "sum", "sum")
        code.emit("vrcp", dst=total, a=total)
    code.signal(VPU, s.weighed)
    with _product(s, rows, count) as sums:
        for sem in s.sent:
            code.wait(MXU, sem)
        inverse = _one(s, "sum", rows)
        code.emit("readout", dst=_slot(s, "o", dim0=rows), acc=sums, row=inverse)
    for sem in s.staged:
        code.signal(MXU, sem)
    for name in "kv":
        advance(s, name)


def fold(s: Attention, head: Reg, rows: Reg, sequence: int) -> None:
    """Block of keys by block of keys; at the end o = total / sum, on the vector unit."""
    code = s.work.code
    with code.stepping(0, sequence, s.keys) as (at, count):
        with code.scope():
            first = code.calc("add", head, at)
            for name in "kv":
                bring(s, name, first, count)
        _scores(s, rows, count)
        _fold_weights(s, at, rows, count)
        with _product(s, rows, count) as sums:
            code.emit("readout", dst=_one(s, "part", rows), acc=sums)
        code.signal(MXU, s.multiplied)
        _fold_values(s, at, rows)
        for name in "kv":
            advance(s, name)
    for sem in s.sent:
        code.wait(VPU, sem)
    with code.scope():
        total = _one(s, "sum", rows)
        code.emit("vrcp", dst=total, a=total)
        each = code.tensor(_each(s, "sum", s.dim), dim0=rows)
        code.emit("vmul", dst=_slot(s, "o", dim0=rows), a=_one(s, "total", rows), b=each)
    for sem in s.staged:
        code.signal(VPU, sem)


def _fold_weights(s: Attention, at: Reg, rows: Reg, count: Reg) -> None:
    """Queue on the VPU: a block's weights, and `old`, by how much sums so far shrink."""
    code = s.work.code
    code.wait(VPU, s.scored)
    with code.scope():
        scores = code.tensor(s.local["scores"], dim0=rows, dim1=count)
        largest, old, part = (_one(s, name, rows) for name in ("max", "old", "part_sum"))
        with code.unless("ne", at, 0):
            code.emit("vrmax", dst=largest, src=scores)
        with code.unless("eq", at, 0):
            code.emit("vcopy", dst=old, a=largest)
            code.emit("vrmax", dst=part, src=scores)
            code.emit("vmax", dst=largest, a=largest, b=part)
            code.emit("vsub", dst=old, a=old, b=largest)
            code.emit("vexp2", dst=old, a=old)
        _weigh(s, rows, count, "max", "part_sum")
        total = _one(s, "sum", rows)
        with code.unless("ne", at, 0):
            code.emit("vcopy", dst=total, a=part)
        with code.unless("eq", at, 0):
            code.emit("vmul", dst=total, a=total, b=old)
            code.emit("vadd", dst=total, a=total, b=part)
    code.signal(VPU, s.weighed)


def _fold_values(s: Attention, at: Reg, rows: Reg) -> None:
    """Queue on the VPU: total = total * old + part."""
    code = s.work.code
    code.wait(VPU, s.multiplied)
    with code.scope():
        total, part = _one(s, "total", rows), _one(s, "part", rows)
        with code.unless("ne", at, 0):
            code.emit("vcopy", dst=total, a=part)
        with code.unless("eq", at, 0):
            each = code.tensor(_each(s, "old", s.dim), dim0=rows)
            code.emit("vmul", dst=total, a=total, b=each)
            code.emit("vadd", dst=total, a=total, b=part)
