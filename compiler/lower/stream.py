"""The weight stream: chunks of all matrices, layer after layer, into one ring of slots.

The stream is a subroutine that brings the next chunk into the slot just freed; linear phases call
it once for each chunk they use. So it runs a whole ring ahead of the array, across phases and
layers, and no barrier holds it up. Chunks come in the order in which they are used: matrix by
matrix, block of panels by block, and K ascending.

Tiles at the same lane of every row group use the same weights: each brings a part of a chunk and
writes it to all of them (multicast). Semaphores of a slot count tiles: `w_full` those whose part
has arrived, `w_free` those that have used the chunk, always as many as there are row groups.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Desc, Label, Reg, Taken
from compiler.lower.context import Lowering, Plan, owes
from compiler.lower.cutting import (
    HEAD,
    LAYER_MATRICES,
    chunks_of,
    cut,
    most_resident,
    own_panels,
)
from compiler.lower.ring import (
    LENT,
    advance,
    each_lent,
    lent_slots,
    ring_slots,
    shares_weights,
    slot_offset,
    tell,
)
from compiler.lower.tokens import MXU, W_CHANNELS
from compiler.matrices import Matrix
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format

DEPTH_BITS = 32  # of the stream's place that say how deep in K it is


@dataclass(frozen=True)
class Stream:
    """The subroutine and the registers it changes."""

    label: Label
    taken: Taken


@dataclass(frozen=True)
class _Chunk:
    """Registers of a chunk under way: panels of this tile's part, and its four descriptors."""

    count: Reg
    data: tuple[Desc, Desc]  # to, from
    scales: tuple[Desc, Desc]


# -- the subroutine ------------------------------------------------------------------------------


def write_stream(lo: Lowering) -> Stream:
    """Write the subroutine: bring the next chunk into the slot `lo.slot`, if there is one left."""
    code, matrices = lo.code, lo.plan.hbm.matrices
    label = code.label("stream")
    with code.op("weights"), code.subroutine(label) as taken:
        top, issue, end = code.label("again"), code.label("issue"), code.label("no_more")
        chunk = _Chunk(code.reg(), (code.desc(), code.desc()), (code.desc(), code.desc()))
        code.place(top)
        if lo.limit is not None:
            code.emit("bne", ra=lo.limit, b=lo.w_left, target=end)
        ways = len(LAYER_MATRICES)
        for number, name in enumerate((*LAYER_MATRICES, HEAD)):
            other = code.label("other")
            if name == HEAD:
                code.emit("bne", ra=lo.w_left, b=0, target=end)
                code.emit("beq", ra=lo.wanted, b=0, target=end)
            else:
                code.emit("blt", ra=lo.w_left, b=1, target=other)
                with code.scope():
                    which = code.calc("and", lo.w_left, ways - 1)
                    code.emit("bne", ra=which, b=-number % ways, target=other)
            with code.scope():
                _next_chunk(lo, matrices[name], chunk, top, name == HEAD)
            code.emit("jmp", target=issue)
            code.place(other)
        code.place(issue)
        _issue(lo, chunk)
        code.place(end)
    return Stream(label, taken)


def _next_chunk(lo: Lowering, matrix: Matrix, chunk: _Chunk, top: Label, alone: bool) -> None:
    """Describe the next chunk of a matrix and move on; with the next matrix, if it has no more."""
    code = lo.code
    first, stop = own_panels(lo, matrix, alone)
    wide, depth = code.reg(), code.reg()
    cut(lo, matrix, wide, depth, alone)
    with code.scope():
        code.alu("add", first, first, code.calc("shr", lo.w_at, DEPTH_BITS))
    with code.unless("lt", first, stop):
        code.alu("sub", lo.w_left, lo.w_left, 1)
        code.set(lo.w_at, 0)
        code.emit("jmp", target=top)
    panels = code.alu("sub", stop, stop, first)
    code.alu("min", panels, panels, wide)
    part = _own_part(lo, chunk, panels, alone)
    code.alu("add", first, first, part)
    with code.scope():
        _describe(lo, matrix, chunk, (first, part, depth), alone)
    code.alu("add", lo.w_at, lo.w_at, depth)
    with code.scope():
        k = _depth(lo)
        with code.unless("lt", k, matrix.k_stored):
            code.alu("sub", lo.w_at, lo.w_at, k)
            code.alu("shl", wide, wide, DEPTH_BITS)
            code.alu("add", lo.w_at, lo.w_at, wide)


def _depth(lo: Lowering) -> Reg:
    """A new register: how deep in K the stream is."""
    return lo.code.calc("and", lo.w_at, (1 << DEPTH_BITS) - 1)


def _own_part(lo: Lowering, chunk: _Chunk, panels: Reg, alone: bool) -> Reg:
    """Set the number of panels this tile brings; a new register: how many come before them."""
    code = lo.code
    if not shares_weights(lo, alone):
        code.set(chunk.count, panels)
        return code.reg(0)
    group = lo.group()
    code.alu("mul", chunk.count, panels, group)
    code.alu("add", panels, panels, chunk.count)
    code.alu("divu", group, chunk.count, lo.groups)
    code.alu("divu", panels, panels, lo.groups)
    code.alu("sub", chunk.count, panels, group)
    return group


def _describe(
    lo: Lowering, matrix: Matrix, chunk: _Chunk, at: tuple[Reg, Reg, Reg], alone: bool
) -> None:
    """Fill the descriptors of a chunk's part: `at` is its first panel, those before, the depth."""
    code, p = lo.code, matrix.precision
    first, part, depth = at
    with code.scope():
        width = code.reg(matrix.k_stored)
        with code.scope():
            code.alu("sub", width, width, _depth(lo))
        code.alu("min", width, width, depth)
        column = p.bits * PANEL_COLUMNS // 8
        sides = [("data", column, 1, matrix.data, matrix.data_bytes, matrix.panel_bytes)]
        if p.block:
            sides.append(
                (
                    "scales",
                    PANEL_COLUMNS,
                    p.block,
                    matrix.scales,
                    matrix.scales_bytes,
                    matrix.panel_scale_bytes,
                )
            )
        for name, scale, block, base, layer_bytes, panel_bytes in sides:
            dst, src = chunk.data if name == "data" else chunk.scales
            with code.scope():
                address = code.calc("mul", first, panel_bytes)
                along = code.reg()
                if not alone:
                    base += matrix.layers * layer_bytes
                    code.alu("add", along, lo.w_left, len(LAYER_MATRICES) - 1)
                    code.alu("divu", along, along, len(LAYER_MATRICES))
                    code.alu("mul", along, along, layer_bytes)
                    code.alu("sub", address, address, along)
                code.alu("and", along, lo.w_at, (1 << DEPTH_BITS) - 1)
                _columns(lo, along, along, scale, block)
                code.alu("add", address, address, along)
                _columns(lo, along, width, scale, block)
                source = Descriptor(Space.HBM, Format.U8, (1, 1), (panel_bytes, 1), base)
                code.fill(src, source, ("base", address), dim0=chunk.count, dim1=along)
                _columns(lo, address, depth, scale, block)
                target = lo.tsram("weights", Format.U8, (1, 1))
                code.fill(dst, target, dim0=chunk.count, dim1=along, stride0=address)
                code.alu("mul", address, address, part)
                code.emit("dadd", dst=dst, field="base", b=address)
                slot_offset(lo, along, scales=name == "scales")
                code.emit("dadd", dst=dst, field="base", b=along)
                if shares_weights(lo, alone):
                    lanes = lo.lanes()
                    code.emit("dset", dst=dst, field="fan", b=lo.groups)
                    code.emit("dset", dst=dst, field="fanstep", b=lanes)
                    code.alu("remu", lanes, lo.tile, lanes)
                    code.emit("dset", dst=dst, field="owner", b=lanes)


def _columns(lo: Lowering, dst: Reg, k: Reg, scale: int, block: int) -> None:
    """dst = bytes of a panel that is `k` deep, or of its scales."""
    code = lo.code
    if block == 1:
        code.alu("mul", dst, k, scale)
        return
    code.alu("add", dst, k, block - 1)
    code.alu("divu", dst, dst, block)
    code.alu("mul", dst, dst, scale)


def _issue(lo: Lowering, chunk: _Chunk) -> None:
    """Queue the chunk on its slot's channel."""
    code, tokens = lo.code, lo.tokens
    if lent_slots(lo.plan):
        with code.unless("lt", lo.slot, LENT):
            for number, end in each_lent(lo):
                channel = W_CHANNELS[number]
                code.wait(channel, tokens.w_free[number])
                _move(lo, channel, chunk)
                code.signal(channel, tokens.w_full[number])
                code.emit("ret")
                end()
    for slot in range(lo.plan.tile.w_depth):
        channel, other = W_CHANNELS[slot], code.label("other_slot")
        code.emit("bne", ra=lo.slot, b=slot, target=other)
        code.wait(channel, tokens.w_free[slot], lo.groups)
        with code.unless("eq", chunk.count, 0):
            _move(lo, channel, chunk)
        alone = code.label("alone")
        if lo.most_groups > 1:
            code.emit("blt", ra=lo.w_left, b=1, target=alone)
            tell(lo, channel, tokens.w_full, slot, alone=False)
            code.emit("ret")
        code.place(alone)
        tell(lo, channel, tokens.w_full, slot, alone=True)
        code.emit("ret")
        code.place(other)


def _move(lo: Lowering, channel: str, chunk: _Chunk) -> None:
    """Queue the two transfers of a chunk: elements, and scales if there are any."""
    code, matrices = lo.code, lo.plan.hbm.matrices.values()
    scaled = [matrix for matrix in matrices if matrix.precision.block]
    code.emit("dma", channel=channel, dst=chunk.data[0], src=chunk.data[1])
    if len(scaled) == len(matrices):
        code.emit("dma", channel=channel, dst=chunk.scales[0], src=chunk.scales[1])
    elif scaled:
        _issue_if_scaled(lo, channel, chunk)


def _issue_if_scaled(lo: Lowering, channel: str, chunk: _Chunk) -> None:
    """The scales' transfer, where either the layers' matrices or the head have none."""
    code, head = lo.code, lo.plan.hbm.matrices[HEAD]
    relation = "ge" if head.precision.block else "lt"
    with code.unless(relation, lo.w_left, 1):
        code.emit("dma", channel=channel, dst=chunk.scales[0], src=chunk.scales[1])


# -- around it -----------------------------------------------------------------------------------


def bring(lo: Lowering) -> None:
    """Bring the next chunk of the stream into the current slot."""
    lo.code.call(lo.stream.label, lo.stream.taken)


def bring_again(lo: Lowering) -> None:
    """The same into a slot whose chunk was used; what is lent is filled once only."""
    if not lent_slots(lo.plan):
        bring(lo)
        return
    with lo.code.unless("ge", lo.slot, LENT):
        bring(lo)


def borrow(lo: Lowering) -> None:
    """Attention is over: bring the chunks behind the ring's into the memory of its pages.

    They are gate and up's, since the ring has all of o's; and must be used before activations of
    down need that memory.
    """
    lent, plan = lent_slots(lo.plan), lo.plan
    if not lent:
        return
    code, none = lo.code, lo.code.label("nothing_lent")
    matrices = [plan.hbm.matrices[name] for name in ("o", "gate_up")]
    code.emit("blt", ra=lo.segments, b=_few(plan) + 1, target=none)
    if lo.most_groups > 1:
        code.emit("bne", ra=lo.groups, b=1, target=none)
    rows = min(most_resident(plan, matrix, beside_pages=True) for matrix in matrices)
    code.emit("bge", ra=lo.rows, b=rows + 1, target=none)
    with code.scope():
        room = plan.tile.lent_bytes - plan.tile.w_scale_slot
        first = chunks_of(lo, matrices[0], plan.tile.w_slot, none)
        code.emit("bge", ra=first, b=plan.tile.w_depth + 1, target=none)
        code.alu("add", first, first, chunks_of(lo, matrices[1], room, none))
        code.emit("blt", ra=first, b=plan.tile.w_depth + lent, target=none)
    code.set(lo.due, -(plan.tile.w_depth + lent))
    for number in range(lent):
        code.signal(MXU, lo.tokens.w_free[number])
        code.alu("add", lo.slot, lo.slot, LENT)
        bring(lo)
    code.alu("sub", lo.slot, lo.slot, lent * LENT)
    code.place(none)


def _few(plan: Plan) -> int:
    """Sequences of a step whose pages do not keep HBM busy for long: they are not one each tile."""
    return (plan.chip.num_tiles - 1) // plan.config.kv_heads


def bring_late(lo: Lowering, one_block: tuple[Reg, Reg, Reg], chunk: tuple[Reg, Reg, int]) -> None:
    """Bring the next chunk, or owe it until attention's pages are on their way.

    The ring would only fill up, and then be full while HBM has nothing to do between attention's
    last page and the first use of a slot. So the last chunk of a matrix waits; but not where pages
    are few, nor where chunks of the same matrix are still to come. `one_block`: first panel, one
    past the last, and panels of a block; `chunk`: where it begins, how deep it is, and K.
    """
    code, owed = lo.code, lo.due
    if not owes(lo.plan) or lo.plan.tile.w_depth == 1:
        bring(lo)
        return
    now, done = code.label("bring_now"), code.label("brought")
    first, stop, wide = one_block
    code.emit("blt", ra=lo.segments, b=_few(lo.plan) + 1, target=now)
    if lo.most_groups > 1:
        code.emit("bne", ra=lo.groups, b=1, target=now)
    with code.scope():
        end = code.calc("add", chunk[0], chunk[1])
        if lent_slots(lo.plan):
            code.alu("add", end, end, chunk[1])
        code.emit("blt", ra=end, b=chunk[2], target=now)
        code.alu("add", end, first, wide)
        code.emit("blt", ra=end, b=stop, target=now)
        code.alu("mul", end, chunk[1], lo.plan.tile.w_depth - 1)
        code.emit("blt", ra=end, b=chunk[2], target=now)
    code.alu("add", owed, owed, 1)
    code.emit("jmp", target=done)
    code.place(now)
    bring(lo)
    code.place(done)


def bring_owed(lo: Lowering) -> None:
    """Bring the chunks that are owed, into the slots before the current one."""
    if not owes(lo.plan):
        return
    code, none = lo.code, lo.code.label("nothing_owed")
    code.emit("beq", ra=lo.due, b=0, target=none)
    code.alu("sub", lo.slot, lo.slot, lo.due)
    with code.unless("ge", lo.slot, 0), code.scope():
        code.alu("add", lo.slot, lo.slot, ring_slots(lo))
    with code.loop(lo.due):
        bring(lo)
        advance(lo)
    code.set(lo.due, 0)
    code.place(none)


def fill_ring(lo: Lowering) -> None:
    """Bring as many chunks as the ring has slots, from the current one on."""
    code = lo.code
    with code.scope():
        slots = ring_slots(lo)
    with code.loop(slots):
        bring(lo)
        advance(lo)
