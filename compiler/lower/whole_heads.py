"""How QKV's blocks end in steps of several row groups: heads are finished where they are made.

A lane takes whole heads there (`cutting.takes_heads`). What a phase of its own does for few rows
(`heads`) is done part by part behind the product, and no FP32 of QKV leaves the tile.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.emit import Desc, Reg
from compiler.hbm import rope_columns
from compiler.lower.context import Lowering
from compiler.lower.cutting import takes_heads
from compiler.lower.epilogue import add_bias, store
from compiler.lower.heads import (
    VALUE,
    Block,
    Room,
    gather_heads,
    kinds,
    load_head_gains,
    norm_heads,
    send_heads,
    turn_heads,
)
from compiler.lower.tokens import IN, OUT, VPU
from compiler.lower.turns import Block as Part
from compiler.lower.turns import Linear
from compiler.tile_memory import PART_SLOTS
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format


def qkv_end(lo: Lowering, work: Linear, part: Part) -> None:
    """What follows QKV's product: FP32 to where the heads' phase finds it, or the heads at once."""
    few, done = lo.code.label("for_the_phase"), lo.code.label("qkv_end")
    if takes_heads(lo.plan):
        with lo.code.scope():
            lo.code.emit("beq", ra=lo.groups, b=1, target=few)
        _finish(lo, work, part)
        lo.code.emit("jmp", target=done)
    lo.code.place(few)
    store("qkv")(lo, work, part)
    lo.code.place(done)


def _finish(lo: Lowering, work: Linear, part: Part) -> None:
    """The part's heads through norm, RoPE and conversion to where they belong, kind by kind."""
    code, tokens, config = lo.code, lo.tokens, lo.plan.config
    add_bias(lo, work, part)
    if config.qk_norm:
        with code.unless("ne", part.row, 0):
            load_head_gains(lo)
    _load_rope(lo, part)
    code.wait(VPU, tokens.old_full)
    first = 0
    for kind, count in kinds(config):
        with code.scope():
            head, heads = _heads_of(lo, part, first, count)
            with code.unless("lt", heads, 1):
                _run(lo, part, kind, (head, heads), first)
        first += count
    code.signal(VPU, tokens.old_free)


def _step_row(lo: Lowering, part: Part) -> Reg:
    """A new register: the step's row that is the part's first."""
    row = lo.first_row()
    return lo.code.alu("add", row, row, part.row)


def _load_rope(lo: Lowering, part: Part) -> None:
    """Queue on dma4: cos, -sin, sin of the part's rows."""
    code, width, tokens = lo.code, rope_columns(lo.plan.config), lo.tokens
    source = lo.plan.buffers.rows["rope"].data
    code.wait(IN, tokens.old_free)
    with code.scope():
        view = source.view(Format.FP32, 4, width)
        src = code.tensor(view, dim0=part.rows)
        with code.scope():  # every cluster has those of all rows
            offset = _step_row(lo, part)
            code.alu("mul", offset, offset, source.row_bytes)
            code.emit("dadd", dst=src, field="base", b=offset)
        dst = code.tensor(lo.tsram("part_rope", Format.FP32, (1, width)), dim0=part.rows)
        _in_rope(lo, part, dst)
        code.emit("dma", channel=IN, dst=dst, src=src)
    code.signal(IN, tokens.old_full)


def _in_rope(lo: Lowering, part: Part, desc: Desc) -> None:
    """Queue: move to the part's slot of RoPE's rows."""
    code, size = lo.code, lo.plan.tile.sizes["part_rope"] // PART_SLOTS
    with code.scope():
        code.emit("dadd", dst=desc, field="base", b=code.calc("mul", part.side, size))


def _heads_of(lo: Lowering, part: Part, first: int, count: int) -> tuple[Reg, Reg]:
    """New registers: the part's first head of a kind, and how many it has; `first` of all kinds."""
    code, unit = lo.code, lo.plan.config.head_dim // PANEL_COLUMNS
    head, number = code.calc("divu", part.first, unit), code.calc("divu", part.panels, unit)
    code.alu("add", head, head, -first)
    code.alu("add", number, number, head)
    code.alu("min", number, number, count)
    code.alu("max", head, head, 0)
    return head, code.alu("sub", number, number, head)


def _run(lo: Lowering, part: Part, kind: str, heads: tuple[Reg, Reg], first: int) -> None:
    """Heads of one kind: `heads` are the first of the kind and how many, `first` among all."""
    code, tokens, dim = lo.code, lo.tokens, lo.plan.config.head_dim

    def columns() -> Reg:
        """A new register: columns of the part before these."""
        before = code.calc("mul", heads[0], dim)
        with code.scope():
            code.alu("sub", before, before, code.calc("mul", part.first, PANEL_COLUMNS))
        return code.alu("add", before, before, first * dim)

    def in_source(desc: Desc) -> None:
        with code.scope():
            at = columns()
            with code.scope():
                code.alu("add", at, at, code.calc("mul", part.row, part.stride))
            code.alu("mul", at, at, 4)
            code.emit("dadd", dst=desc, field="base", b=at)

    def in_out(desc: Desc) -> None:
        with code.scope():
            at = columns()
            code.alu("mul", at, at, part.rows)
            code.alu("mul", at, at, 2)  # bytes of an element, at most
            with code.scope():
                size = lo.plan.tile.stage // PART_SLOTS
                code.alu("add", at, at, code.calc("mul", part.side, 4 * size))
            code.emit("dadd", dst=desc, field="base", b=at)

    places = ("stage", "part_head", "part_turned", "part_sums", "part_rope", "lin_out")
    room = Room(*places, part.stride, in_source, lambda desc: _in_rope(lo, part, desc), in_out)
    block = Block(kind, *heads, part.row, part.rows, room)
    if lo.plan.config.qk_norm and kind != VALUE:
        gather_heads(lo, block)
        norm_heads(lo, block, "part_turned")
    turn_heads(lo, block, tokens.part_free)
    code.signal(VPU, tokens.part_full)
    code.wait(OUT, tokens.part_full)
    with code.scope():
        send_heads(lo, replace(block, row=_step_row(lo, part)))
    code.signal(OUT, tokens.part_free)
