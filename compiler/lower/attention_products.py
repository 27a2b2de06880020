"""One page of attention: its keys and values give m, l and o of the rows that see it.

Every page by itself, as the arithmetic contract has it: scores on the array, their softmax on the
vector unit, the product with the values on the array. The result is [rows, head_dim + 2]: o, l, m.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.buffers import partial_bytes
from compiler.emit import Desc, Reg, Scaled
from compiler.hbm import PAGE
from compiler.lower.attention_items import Item, Part, parity_offset, seen
from compiler.lower.attention_pages import (
    Own,
    await_new,
    await_pages,
    block_keys,
    free_pages,
    page_view,
)
from compiler.lower.context import Lowering
from compiler.lower.kv import kv_format
from compiler.lower.tokens import MXU, VPU
from isa.descriptor import Descriptor, Space
from isa.formats import Format

# -- tensors -----------------------------------------------------------------------------------


def _side(lo: Lowering, number: Reg, size: int, columns: int, part: Part) -> Reg:
    """A new register: offset of rows of one of two matrices that take turns."""
    code = lo.code
    nbytes = lo.plan.tile.attend_rows * columns * size
    offset = parity_offset(lo, number, nbytes)
    with code.scope():
        code.alu("add", offset, offset, code.calc("mul", part.offset, columns * size))
    return offset


def _matrix(
    lo: Lowering, name: str, fmt: Format, columns: int, part: Part, number: Reg, **sets: Reg
) -> Desc:
    """Rows of one of two dense [rows, columns] matrices in TSRAM."""
    size = 2 if fmt is Format.BF16 else 4
    tensor = lo.code.tensor(lo.tsram(name, fmt, (1, columns)), dim0=part.count, **sets)
    with lo.code.scope():
        offset = _side(lo, number, size, columns, part)
        lo.code.emit("dadd", dst=tensor, field="base", b=offset)
    return tensor


def partial(
    lo: Lowering, part: Part, block: Reg | None, first: int, columns: int, spread: int = 0
) -> Desc:
    """Columns of a result [rows, o | l | m]: of a block, or (None) the sum of blocks so far.

    With `spread` the one column is repeated so often.
    """
    code, stride = lo.code, partial_bytes(lo.plan.config)
    strides = (stride // 4, 0 if spread else 1)
    place = lo.tsram("partial", Format.FP32, (1, spread or columns), strides)
    offset = ("base", Scaled(part.offset, stride))
    tensor = code.tensor(place, offset, ("base", 4 * first), dim0=part.count)
    if block is not None:  # behind the sum lie two that take turns
        nbytes = lo.plan.tile.attend_rows * stride
        with code.scope():
            side = parity_offset(lo, block, nbytes)
            code.emit("dadd", dst=tensor, field="base", b=side + nbytes)
    return tensor


def _bounds(lo: Lowering, item: Item, part: Part) -> Desc:
    return _matrix(lo, "bounds", Format.I32, 2, part, item.turn)


def gemm(lo: Lowering, **operands: Desc | Reg) -> None:
    """A product on the array, divided as far as it goes: that drains soonest, and costs nothing."""
    widest = max(lo.plan.chip.tile.mxu.splits)
    lo.code.emit("gemm" if widest == 1 else f"gemm.split{widest}", **operands)


# -- the page ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Descriptors of a page's scores in the accumulator, and of what softmax reads and writes."""

    acc: Desc
    scale: Desc
    scores: Desc
    bounds: Desc
    peak: Desc
    total: Desc
    probs: Desc


@dataclass(frozen=True)
class Values:
    """Descriptors of a page's o: in the accumulator, and where it is read out to."""

    acc: Desc
    o: Desc


def multiply_keys(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own) -> Scores:
    """Queue on the MXU: q * k^T of a page."""
    code, dim = lo.code, lo.plan.config.head_dim
    await_pages(lo, "k", own)
    await_new(lo, item, block, "k", own)
    with code.scalars():
        part, keys = seen(lo, item, block), block_keys(lo, item, block, own)
        acc = code.tensor(lo.acc(1, PAGE), dim0=part.count, dim1=keys)
        with code.scope():
            stored = code.tensor(page_view(lo, "k"), ("base", slot), dim0=keys)
            gemm(lo, acc=acc, a=_matrix(lo, "q", Format.BF16, dim, part, item.turn), w=stored)
        factor = lo.tsram("score_scale", Format.FP32, (1, 1), (0, 0))
        return Scores(
            acc,
            code.tensor(factor, dim0=part.count),
            _matrix(lo, "scores", Format.FP32, PAGE, part, block, dim1=keys),
            _bounds(lo, item, part),
            partial(lo, part, block, dim + 1, 1),
            partial(lo, part, block, dim, 1),
            _matrix(lo, "probs", Format.BF16, PAGE, part, block, dim1=keys),
        )


def multiply_values(lo: Lowering, item: Item, block: Reg, slot: Reg, own: Own) -> Values:
    """Queue on the MXU: p * v of a page."""
    code, dim = lo.code, lo.plan.config.head_dim
    await_pages(lo, "v", own)
    await_new(lo, item, block, "v", own)
    code.wait(MXU, lo.tokens.p_full)
    transposed = Descriptor(
        Space.TSRAM, kv_format(lo), (dim, 1), (1, dim), lo.plan.tile.at["v_block"]
    )
    with code.scalars():
        keys, part = block_keys(lo, item, block, own), seen(lo, item, block)
        behind = lo.plan.tile.attend_rows * PAGE * 4
        acc = code.tensor(lo.acc(1, dim, behind), dim0=part.count)
        with code.scope():
            p = _matrix(lo, "probs", Format.BF16, PAGE, part, block, dim1=keys)
            v = code.tensor(transposed, ("base", slot), dim1=keys)
            bounds = _bounds(lo, item, part)
            gemm(lo, acc=acc, a=p, w=v, bounds=bounds, k0=code.calc("shl", block, 7))
        return Values(acc, partial(lo, part, block, 0, dim))


def read_scores(lo: Lowering, found: Scores, own: Own) -> None:
    """Queue on the MXU: scores = q * k^T * L/sqrt(d) of a page."""
    code, tokens = lo.code, lo.tokens
    code.emit("readout", dst=found.scores, acc=found.acc, row=found.scale)
    code.signal(MXU, tokens.s_full)
    free_pages(lo, "k", own)


def softmax(lo: Lowering, found: Scores, block: Reg) -> None:
    """Queue on the VPU: m, l and p = exp2(s - m) of a page."""
    code, tokens = lo.code, lo.tokens
    code.wait(VPU, tokens.s_full)
    with code.scope():
        limits: dict[str, Desc | Reg] = {
            "bounds": found.bounds,
            "k0": code.calc("shl", block, 7),
        }
        code.emit("vrmax", dst=found.peak, src=found.scores, **limits)
        operands = {"dst": found.probs, "total": found.total, "a": found.scores, "b": found.peak}
        code.emit("vexp2sum", **operands, **limits)
    code.signal(VPU, tokens.p_full)


def read_values(lo: Lowering, found: Values, own: Own) -> None:
    """o of a page, before the fold."""
    code, tokens = lo.code, lo.tokens
    code.emit("readout", dst=found.o, acc=found.acc)
    code.signal(MXU, tokens.o_full)
    free_pages(lo, "v", own)
    code.wait(VPU, tokens.o_full)
