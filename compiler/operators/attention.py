"""Attention of whole sequences: o = softmax(q k^T / sqrt(dim)) v for every head.

An item is a head's block of query rows. A tile takes every num_tiles-th: scores on the array, read
out times log2(e) / sqrt(dim); their softmax on the vector unit; the product with the values on the
array, read out over each row's sum. Scores and probabilities never leave the tile. A sequence whose
scores do not fit it is taken in blocks of keys, which are folded (`attention_parts.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from compiler.operators.attention_parts import (
    MXU,
    VPU,
    Attention,
    advance,
    bring,
    fold,
    send,
    whole,
)
from compiler.operators.rowwise import LOG2E
from compiler.operators.workspace import (
    Workspace,
    check_format,
    check_shape,
    does_not_fit,
    slot_bytes,
    split_channels,
)
from isa.chip import Chip
from isa.formats import Format
from isa.program import Program, Role

FORMATS = (Format.BF16, Format.FP16)


@dataclass(frozen=True)
class Tiling:
    """Query rows and keys at a time; whether the keys are fewer than the sequence."""

    rows: int
    keys: int
    folded: bool


def attention(
    chip: Chip,
    heads: int,
    sequence: int,
    dim: int,
    fmt: Format = Format.BF16,
    slots: int = 2,
) -> Program:
    """o[heads, sequence, dim] of q, k and v of the same shape; every row sees every position."""
    check_shape("attention", heads=heads, sequence=sequence, dim=dim, slots=slots)
    check_format("attention", "the format", fmt, FORMATS)
    shape = tiling(chip, sequence, dim, fmt, slots)
    state = _prepare(chip, (heads, sequence, dim), fmt, slots, shape)
    _scale_factor(state, LOG2E / math.sqrt(dim))
    _lower(state, heads, sequence)
    return state.work.program(block=shape.rows, keys=shape.keys, slots=slots)


def _sizes(shape: Tiling, dim: int, slots: int) -> Iterator[tuple[str, bool, tuple[int, int], int]]:
    """(name, whether FP32, shape, slots) of everything in the tile's SRAM."""
    rows, keys = shape.rows, shape.keys
    yield "q", False, (rows, dim), slots
    yield "k", False, (keys, dim), slots
    yield "v", False, (keys, dim), slots
    yield "o", False, (rows, dim), slots
    yield "scores", True, (rows, keys), 1
    yield "weights", False, (rows, keys), 1
    yield "sum", True, (rows, 1), 1
    yield "scale", True, (1, 1), 1
    if shape.folded:
        for name in ("max", "old", "part_sum"):
            yield name, True, (rows, 1), 1
        for name in ("total", "part"):
            yield name, True, (rows, dim), 1


def tiling(chip: Chip, sequence: int, dim: int, fmt: Format, slots: int) -> Tiling:
    """All keys at a time if as many query rows as the array is deep fit beside them; else fewer.

    Blocks of keys are halved until that many rows fit, but are no narrower than the array.
    """
    wanted = min(sequence, chip.tile.mxu.rows)
    least = min(sequence, chip.tile.mxu.columns)
    keys, found = sequence, None
    while True:
        rows = _most_rows(chip, Tiling(sequence, keys, keys < sequence), dim, fmt, slots)
        if rows and (found is None or rows > found.rows):
            found = Tiling(rows, keys, keys < sequence)
        if rows >= wanted or keys == least:
            break
        keys = max(-(-keys // 2), least)
    if found is None:
        what = f"a row of scores for {least} keys of dimension {dim}, with keys and values"
        raise does_not_fit("attention", chip, f"{what}, in a tile's memories")
    return found


def _most_rows(chip: Chip, shape: Tiling, dim: int, fmt: Format, slots: int) -> int:
    """The most query rows that fit a tile, the sequence being cut evenly; 0 if none does."""
    sequence, parts = shape.rows, 1
    while True:
        rows = -(-sequence // parts)
        need = sum(
            count * slot_bytes(Format.FP32 if wide else fmt, size)
            for _, wide, size, count in _sizes(replace(shape, rows=rows), dim, slots)
        )
        sums = 4 * rows * max(shape.keys, dim)
        if need <= chip.tile.tsram.bytes and sums <= chip.tile.acc.bytes:
            return rows
        if rows == 1:
            return 0
        parts = max(parts + 1, -(-sequence // (rows - 1)))


def _prepare(
    chip: Chip, shape: tuple[int, int, int], fmt: Format, slots: int, tile: Tiling
) -> Attention:
    dim = shape[2]
    work = Workspace("attention", chip)
    code = work.code
    hbm = {name: work.tensor(name, shape, fmt, Role.IN) for name in "qkv"}
    hbm["o"] = work.tensor("o", shape, fmt, Role.OUT)
    local = {
        name: work.local(name, Format.FP32 if wide else fmt, size, count)
        for name, wide, size, count in _sizes(tile, dim, slots)
    }
    *groups, senders = split_channels("attention", chip, 2, 2, 2, 2)
    rings = {name: work.channels(g, slots) for name, g in zip("qkv", groups, strict=True)}
    state = Attention(
        work,
        tile.rows,
        tile.keys,
        dim,
        tile.folded,
        slots,
        hbm,
        local,
        rings,
        senders,
        tuple(code.sem() for _ in senders),
        tuple(work.credit(VPU if tile.folded else MXU, slots) for _ in senders),
        code.sem(),
        code.sem(),
        code.sem(),
        {name: code.reg(0) for name in "qkvo"},
    )
    work.hand_out()
    return state


def _scale_factor(s: Attention, value: float) -> None:
    """Put the scores' factor into the tile's SRAM, as bits: the read-out takes it from there."""
    code = s.work.code
    with code.scope():
        bits = int(np.float32(value).view(np.int32))
        code.emit(
            "viota", dst=code.tensor(replace(s.local["scale"], format=Format.I32)), start=bits
        )
    code.signal(VPU, s.weighed)
    code.wait(MXU, s.weighed)


def _lower(s: Attention, heads: int, sequence: int) -> None:
    work, code = s.work, s.work.code
    blocks = -(-sequence // s.block)
    with code.op("attention"), code.scope():
        top, out = code.label("item"), code.label("out")
        item = code.reg(work.tile)
        code.place(top)
        code.emit("bge", ra=item, b=heads * blocks, target=out)
        with code.scope():
            head = code.calc("divu", item, blocks)
            code.alu("mul", head, head, sequence)
            row = code.calc("remu", item, blocks)
            code.alu("mul", row, row, s.block)
            rows = code.reg(sequence)
            code.alu("sub", rows, rows, row)
            code.alu("min", rows, rows, s.block)
            code.alu("add", row, row, head)
            bring(s, "q", row, rows)
            for sem in s.rings["q"].full:
                code.wait(MXU, sem)
            with code.scope():
                if s.folded:
                    fold(s, head, rows, sequence)
                else:
                    whole(s, head, rows, code.reg(sequence))
            for sem in s.rings["q"].free:
                code.signal(MXU, sem)
            send(s, row, rows)
            for name in "qo":
                advance(s, name)
        code.alu("add", item, item, work.chip.num_tiles)
        code.emit("jmp", target=top)
        code.place(out)
