"""Retire records, as the reference model writes them.

Source: docs/architecture.md, section 5. One record is 16 integers; the order of a tile's records
is that in which its control processor issued them.
"""

from __future__ import annotations

from typing import Final

from emulator.reference.registry import Run
from emulator.reference.state import Op
from emulator.reference.tensor import Tensor
from isa.descriptor import Space
from isa.faults import DMA0
from isa.spec.sync import SCOPES

Words = list[int]

_STRIDE_LIMIT: Final = (1 << 20) - 1
_RUN_LIMIT: Final = (1 << 31) - 1
#: What these read says more about their work than what they write.
_MEASURED_BY_SOURCE: Final = frozenset(
    {"vrsum", "vrmax", "vrmin", "vargmax", "vtopk", "vquant", "vquantr", "vtrans"}
)
_TWO_RESULTS: Final = frozenset({"vtopk", "vquantr", "vexp2sum"})


def record(op: Op, run: Run | None) -> Words:
    """The record of a retired instruction."""
    head = [op.tile, op.unit, op.pc, op.context, op.gap, op.entry.opcode, op.field("flags")]
    body = _body(op, run)
    return head + body + [0] * (9 - len(body))


def _body(op: Op, run: Run | None) -> Words:
    """Words 7 to 15, trailing zeros left out."""
    name = op.entry.mnemonic
    if name == "wait":
        return [op.field("sem"), op.b]
    if name == "signal":
        scope = op.field("scope")
        return [op.field("sem"), op.b, scope, op.a if scope == SCOPES["tile"] else 0]
    if run is None:
        return []
    if name == "ld":
        return _load(op, run["src"])
    if name == "gemm":
        return _gemm(run)
    if name in ("readout", "seed"):
        return _readout(run)
    return _dma(run) if op.unit >= DMA0 else _vector(run)


def _load(op: Op, src: Tensor) -> Words:
    d = src.descriptor
    size = src.bits // 8
    return [src.space, src.owners[0], 0, 0, d.base + op.b * d.strides[0] * size, 0, size]


def _formats(first: Tensor, second: Tensor) -> int:
    kinds = first.scale_kind << 16 | second.scale_kind << 24
    return first.format | second.format << 8 | kinds | second.descriptor.layout << 32


def _gemm(run: Run) -> Words:
    acc, a, w = run["acc"], run["a"], run["w"]
    sizes = [*acc.shape, a.shape[1], _formats(a, w), run.macs, 0]
    return [*sizes, a.nbytes, w.nbytes, acc.nbytes]


def _readout(run: Run) -> Words:
    target, source, *factors = run.all
    read = sum(t.nbytes for t in (source, *factors))
    return [*target.shape, 0, _formats(source, target), 0, 0, read, target.nbytes]


def _vector(run: Run) -> Words:
    name, operands = run.op.entry.mnemonic, run.all
    written = 2 if name in _TWO_RESULTS else 1
    dst, source = operands[0], operands[written] if len(operands) > written else operands[0]
    third = operands[1] if written == 2 else (operands[2] if len(operands) > 2 else None)
    measured = source if name in _MEASURED_BY_SOURCE else dst
    last = measured.shape[-1] if measured.shape else 1
    strides = _inner(dst) | (_inner(source) << 20 if len(operands) > 1 else 0)
    strides |= _inner(third) << 40 if third is not None else 0
    return [
        measured.count,
        measured.count // last if last else 0,
        last,
        _formats(source, dst),
        dst.shape[1] if name == "vtopk" else 0,
        strides,
        sum(t.nbytes for t in operands[written:]),
        sum(t.nbytes for t in operands[:written]),
    ]


def _inner(operand: Tensor) -> int:
    """Innermost stride, as far as it fits its 20 bits."""
    strides = operand.descriptor.strides
    return min(strides[-1], _STRIDE_LIMIT) if strides else 0


def _dma(run: Run) -> Words:
    dst, src, name = run["dst"], run["src"], run.op.entry.mnemonic
    fan = dst.descriptor.fan
    moved = src if name == "dmas" else dst
    size = (moved.count * moved.bits + 7) // 8
    src_run, src_step = _runs(src, name == "dmag") if size else (0, 0)
    dst_run, dst_step = _runs(dst, name == "dmas") if size else (0, 0)
    from_src = src.space is Space.HBM or dst.space is not Space.HBM
    return [
        src.space | dst.space << 8 | fan << 16,
        src.owners[0],
        dst.owners[0],
        dst.descriptor.fanstep if fan > 1 else 0,
        src.descriptor.base,
        dst.descriptor.base,
        size,
        min(src_run, _RUN_LIMIT) | min(dst_run, _RUN_LIMIT) << 32,
        src_step if from_src else dst_step,
    ]


def _runs(operand: Tensor, by_row: bool) -> tuple[int, int]:
    """Bytes of a contiguous run, and from one run to the next; an index list cuts at every row."""
    axes = list(zip(operand.shape, operand.descriptor.strides, strict=True))
    row, inner = (axes[:1], axes[1:]) if by_row else ([], axes)
    elements = 1
    while inner and (inner[-1][0] == 1 or inner[-1][1] == elements):
        elements *= inner.pop()[0]
    outer = [(n, stride) for n, stride in inner if n != 1] or row
    step = outer[-1][1] if outer else 0
    return (elements * operand.bits + 7) // 8, step * operand.bits // 8
