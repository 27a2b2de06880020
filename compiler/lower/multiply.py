"""The product of a chunk: activations in the tile times a slot of the weight ring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compiler.emit import Code, Desc, Label, Reg, Value
from compiler.lower.activations import activations, first_half, in_halves, take_chunk
from compiler.lower.context import Lowering, Plan
from compiler.lower.readout import block_panels, half_bytes, sums_of
from compiler.lower.ring import slot_offset
from compiler.lower.turns import Linear, Turn, blocks_of, bytes_of
from compiler.matrices import K_PAD, Matrix
from compiler.precision import Precision
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Layout, ScaleKind


def multiply(lo: Lowering, work: Linear, turn: Turn, depth: Reg) -> None:
    """Queue on the MXU: the chunk's product."""
    code = lo.code
    with code.scope():
        columns = block_panels(lo, turn)
        code.alu("mul", columns, columns, PANEL_COLUMNS)
        sums = code.tensor(sums_of(lo), dim0=turn.rows, dim1=columns)
        with code.scope():
            half = code.calc("and", turn.parts, 1)
            code.alu("mul", half, half, half_bytes(lo))
            code.emit("dadd", dst=sums, field="base", b=half)
        a = activations(lo, work, turn, depth)
        w = _weights(lo, work.matrix, turn, columns, depth)
        with _by_rows(lo, turn.rows) as variants:
            for split in variants:
                done = code.label("multiplied")
                if in_halves(lo, work):
                    _start_soon(lo, work, turn, (split, depth, done), acc=sums, a=a, w=w)
                if split == 1 and drains_sooner(lo.plan):
                    _drain_soon(lo, work, turn, (depth, done), acc=sums, a=a, w=w)
                _gemm(code, turn.k, split, acc=sums, a=a, w=w)
                code.place(done)


# Rows below which sub-arrays' shorter drain is worth it: they read and write sums more often, which
# costs energy in proportion to the rows (estimate).
SKINNY = 64


@contextmanager
def _by_rows(lo: Lowering, rows: Value) -> Iterator[Iterator[int]]:
    """The array's split to emit code for: the option's, or for many and for few rows in turn."""
    code, option = lo.code, lo.plan.options.split
    widest = max(lo.plan.chip.tile.mxu.splits)
    if option is not None or widest == 1:
        yield iter((option or 1,))
        return
    few, done = code.label("few_rows"), code.label("gemm_done")
    skinny = lo.plan.options.tiling.of("skinny", SKINNY)

    def variants() -> Iterator[int]:
        with code.scope():
            code.emit("blt", ra=code.reg(rows), b=skinny, target=few)
        yield 1
        code.emit("jmp", target=done)
        code.place(few)
        yield widest
        code.place(done)

    yield variants()


def drains_sooner(plan: Plan) -> bool:
    """Whether what is read out next ends in sub-arrays' products."""
    return plan.options.split is None and max(plan.chip.tile.mxu.splits) > 1


def _start_soon(
    lo: Lowering, work: Linear, turn: Turn, how: tuple[int, Reg, Label], **operands: Desc
) -> None:
    """The product in two parts, if the chunk of activations comes in two halves; else nothing.

    `how`: the array's split, the chunk's depth, and where to go then.
    """
    code, (split, depth, done), whole = lo.code, how, lo.code.label("comes_whole")
    with code.scope():
        at = first_half(lo, turn, whole)
        _first_part(code, turn, at, split, operands)
        take_chunk(lo, turn, 1)
        _last_part(code, work, (at, depth), split, operands)
    code.emit("jmp", target=done)
    code.place(whole)


def _first_part(code: Code, turn: Turn, at: Reg, split: int, operands: dict[str, Desc]) -> None:
    """The product of a chunk's first rows of K."""
    for name in ("a", "w"):
        code.emit("dset", dst=operands[name], field="dim1", b=at)
    _gemm(code, turn.k, split, **operands)


def _last_part(
    code: Code, work: Linear, rows: tuple[Reg, Reg], split: int, operands: dict[str, Desc]
) -> None:
    """That of the others: `rows` are how many came before, and all."""
    at, depth = rows
    with code.scope():
        rest = code.calc("sub", depth, at)
        for name in ("a", "w"):
            code.emit("dset", dst=operands[name], field="dim1", b=rest)
    _move_along(code, operands["a"], at, work.src.precision, 1)
    _move_along(code, operands["w"], at, work.matrix.precision, PANEL_COLUMNS)
    code.emit("gemm.acc" + ("" if split == 1 else f".split{split}"), **operands)


def _last_rows(plan: Plan) -> int:
    """Rows of K that sub-arrays take: as many as the array has, and whole blocks of scales."""
    return max(1 << plan.chip.tile.mxu.rows.bit_length() - 1, K_PAD)


def _drain_soon(
    lo: Lowering, work: Linear, turn: Turn, end: tuple[Reg, Label], **operands: Desc
) -> None:
    """The product in two parts, if the accumulator is read out behind it; else nothing.

    A read-out waits until the array has drained, and sub-arrays drain sooner: they take the last
    rows of K. `end`: the chunk's depth, and where to go then.
    """
    code, matrix, (depth, done) = lo.code, work.matrix, end
    whole, split = code.label("in_one_piece"), code.label("last_rows")
    with code.scope():
        # Behind a block's first chunk the block before is read out, behind the last one the last.
        at = code.reg()
        with code.unless("ne", turn.k, 0):
            code.emit("bge", ra=turn.parts, b=2, target=split)
        code.alu("add", at, turn.k, turn.depth)
        code.emit("blt", ra=at, b=matrix.k_stored, target=whole)
        code.alu("add", at, turn.first, turn.wide)
        code.emit("blt", ra=at, b=turn.stop, target=whole)
        code.place(split)
        code.alu("add", at, depth, -1)
        code.alu("and", at, at, -_last_rows(lo.plan))
        code.emit("beq", ra=at, b=0, target=whole)
        _first_part(code, turn, at, 1, operands)
        _last_part(code, work, (at, depth), max(lo.plan.chip.tile.mxu.splits), operands)
    code.emit("jmp", target=done)
    code.place(whole)


def _move_along(code: Code, operand: Desc, k: Reg, precision: Precision, columns: int) -> None:
    """Move an operand's address by `k`, where `columns` elements of each k lie together."""
    with code.scope():
        count = code.calc("mul", k, columns)
        code.emit("dadd", dst=operand, field="base", b=bytes_of(code, count, precision))
        if precision.block:
            code.alu("divu", count, k, precision.block)
            code.alu("mul", count, count, columns)
            code.emit("dadd", dst=operand, field="scale", b=count)


def _gemm(code: Code, k: Reg, split: int, **operands: Desc) -> None:
    """A product that starts the accumulator at the first chunk of K and adds to it later."""
    suffix = "" if split == 1 else f".split{split}"
    later, done = code.label("later"), code.label("done")
    code.emit("bne", ra=k, b=0, target=later)
    code.emit("gemm" + suffix, **operands)
    code.emit("jmp", target=done)
    code.place(later)
    code.emit("gemm.acc" + suffix, **operands)
    code.place(done)


def _weights(lo: Lowering, matrix: Matrix, turn: Turn, columns: Reg, depth: Reg) -> Desc:
    """The chunk in the stream's current slot."""
    code, p, tile = lo.code, matrix.precision, lo.plan.tile
    scaled = p.scale_kind is not ScaleKind.NONE
    w = Descriptor(
        Space.TSRAM,
        p.element,
        (1, 1),
        (1, 1),
        tile.at["weights"],
        layout=Layout.PANEL,
        scale_kind=p.scale_kind,
        scale=tile.at["weights"] if scaled else 0,
        scale_strides=(1, PANEL_COLUMNS) if scaled else (0, 0),
    )
    result = code.desc()
    with code.scope():
        stride = code.calc("mul", turn.depth, PANEL_COLUMNS)
        offset = code.reg()
        slot_offset(lo, offset)
        adds: list[tuple[str, Value]] = [("base", offset)]
        sets: dict[str, Value] = {"stride0": stride}
        if scaled:
            scales = code.reg()
            slot_offset(lo, scales, scales=True)
            adds.append(("scale", scales))
            scale_stride = blocks_of(code, turn.depth, p.block)
            sets["sstride0"] = code.alu("mul", scale_stride, scale_stride, PANEL_COLUMNS)
        code.fill(result, w, *adds, dim0=columns, dim1=depth, **sets)
    return result
