"""The activations of a linear phase on their way into the tile: see linear.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from compiler.buffers import Rows
from compiler.emit import Code, Desc, Label, Reg, Sem, Value
from compiler.lower import cutting
from compiler.lower.context import Lowering
from compiler.lower.tokens import IN, MXU
from compiler.lower.turns import Linear, Turn, blocks_of, bytes_of
from compiler.tile_memory import A_SLOTS
from isa.descriptor import Descriptor, Space
from isa.formats import Format, ScaleKind

# How activations come, beside the number of a slot of their semaphores (see `Turn`).
RING = 0  #: chunk by chunk with the weights, into a ring of slots

ARRIVING = A_SLOTS  #: all of K fits: chunk by chunk with the first block's weights

RESIDENT = 2 * A_SLOTS  #: all of K is there

SHARED_ROWS = 32  # rows from which tiles of a cluster bring activations for one another: estimate


def load_row_scales(lo: Lowering, src: Rows, rows: Value) -> None:
    """Queue on dma4: the activations' row scales, for the read-out."""
    if src.row_scale is None:
        return
    code = lo.code
    with code.scope():
        source = lo.source(src.row_scale, src.row_scale.view(Format.U8, 1, 1), None, dim0=rows)
        dst = code.tensor(lo.tsram("row_scale", Format.U8, (1, 1)), dim0=rows)
        code.emit("dma", channel=IN, dst=dst, src=source)
    code.signal(IN, lo.tokens.row_full)
    code.wait(MXU, lo.tokens.row_full)


def load_first(lo: Lowering, work: Linear, turn: Turn) -> None:
    """Queue on dma4: a block's first chunks, as many as there are slots.

    So they are all on their way before the array's queue is full of what waits for them.
    """
    code = lo.code
    top, out = code.label("load"), code.label("loaded")
    with code.scope():
        slot, left = code.reg(turn.slot), code.reg(A_SLOTS)
        code.place(top)
        with code.scope():
            depth, whole = chunk_depth(code, work, turn), code.label("whole")
            if in_halves(lo, work):
                code.set(depth, first_half(lo, turn, whole))
                code.place(whole)
            _load_chunk(lo, work, turn, depth)
            code.alu("add", turn.k, turn.k, depth)
        _advance(lo, turn)
        code.emit("bge", ra=turn.k, b=work.matrix.k, target=out)
        code.alu("add", left, left, -1)
        code.emit("bne", ra=left, b=0, target=top)
        code.place(out)
        code.set(turn.slot, slot)
    code.set(turn.k, 0)


def in_halves(lo: Lowering, work: Linear) -> bool:
    """Whether a phase's first chunk may come in halves: who brings, frees and multiplies it asks.

    The few rows of logits are no group's.
    """
    return lo.most_groups > 1 and not work.alone


def first_half(lo: Lowering, turn: Turn, whole: Label) -> Reg:
    """A new register: how deep a phase's first chunk's first half is; to `whole` without halves.

    With several row groups that chunk is large, and the array would wait for all of it.
    """
    code = lo.code
    code.emit("bne", ra=turn.k, b=0, target=whole)
    code.emit("blt", ra=turn.slot, b=ARRIVING, target=whole)
    code.emit("bge", ra=turn.slot, b=RESIDENT, target=whole)
    code.emit("beq", ra=lo.groups, b=1, target=whole)
    depth = code.calc("shr", turn.depth, 1)
    code.alu("and", depth, depth, -lo.plan.tile.align)
    code.emit("beq", ra=depth, b=0, target=whole)
    return depth


def pass_on(lo: Lowering, work: Linear, turn: Turn, taken: bool) -> None:
    """Queue: free the chunk's slot, and bring the chunk that comes into it; the next is current.

    A first chunk in two halves has two slots, so what comes into its first is a chunk nearer.
    `taken`: the array has waited for the chunk.
    """
    code, top, whole = lo.code, lo.code.label("pass"), lo.code.label("whole")
    with code.scope():
        ahead = code.reg(A_SLOTS)
        if in_halves(lo, work):
            with code.scope():
                first_half(lo, turn, whole)
            code.set(ahead, A_SLOTS - 1)
            code.place(whole)
        code.place(top)
        if not taken:
            take_chunk(lo, turn)
        _free_slot(lo, work, turn)
        _load_next(lo, work, turn, ahead)
        code.alu("add", ahead, ahead, 1)
        code.emit("beq", ra=ahead, b=A_SLOTS, target=top)


def _load_next(lo: Lowering, work: Linear, turn: Turn, ahead: Reg) -> None:
    """Queue on dma4: a chunk so many ahead, into the slot at hand, if there is one."""
    code = lo.code
    with code.scope():
        distance = code.calc("mul", turn.depth, ahead)
        code.alu("add", turn.k, turn.k, distance)
        with code.unless("ge", turn.k, work.matrix.k_stored):
            _load_chunk(lo, work, turn, chunk_depth(code, work, turn))
        code.alu("sub", turn.k, turn.k, distance)
    _advance(lo, turn)


def chunk_depth(code: Code, work: Linear, turn: Turn) -> Reg:
    """A new register: how deep the chunk of activations at `k` is, or what is left of it."""
    depth = code.calc("divu", turn.k, turn.depth)
    code.alu("add", depth, depth, 1)
    code.alu("mul", depth, depth, turn.depth)
    code.alu("min", depth, depth, work.matrix.k)
    return code.alu("sub", depth, depth, turn.k)


def _load_chunk(lo: Lowering, work: Linear, turn: Turn, depth: Reg) -> None:
    """Queue on dma4: a[:, k : k + depth] into the slot at hand, or to its place among all of K.

    Where there are many rows, each tile of the cluster brings some of them, and writes them to all.
    """
    code, src = lo.code, work.src
    p, slots = src.precision, cutting.a_slot_bytes(lo.plan, work.alone)
    sides = [("a_data", slots[0], src.data, p.data_bytes(work.matrix.k))]
    if src.scales is not None:
        sides.append(("a_scale", slots[1], src.scales, p.scale_bytes(work.matrix.k)))
    with code.scope():
        moves = [(code.desc(), code.desc()) for _ in sides]
        first, rows = _brought_rows(lo, work, turn)
        for (dst, source), (name, slot, buffer, whole) in zip(moves, sides, strict=True):
            with code.scope():
                if name == "a_data":
                    span = bytes_of(code, turn.k, p), bytes_of(code, depth, p)
                    stride = bytes_of(code, turn.depth, p)
                else:
                    start = code.calc("divu", turn.k, p.block)
                    span = start, blocks_of(code, depth, p.block)
                    stride = blocks_of(code, turn.depth, p.block)
                dims = {"dim0": rows, "dim1": span[1]}
                at = ("base", span[0])
                lo.fill_source(source, (buffer, buffer.raw(), first), at, **dims)
                _slot_place(code, turn, slot, (span[0], stride), whole)
                target = lo.tsram(name, Format.U8, (1, 1))
                code.fill(dst, target, at, stride0=stride, **dims)
                code.alu("mul", stride, stride, first)
                code.emit("dadd", dst=dst, field="base", b=stride)
        _move_chunk(lo, work, turn, moves, rows)


def _slot_place(code: Code, turn: Turn, slot: int, registers: tuple[Reg, Reg], whole: int) -> None:
    """Make of (a chunk's place in a row, its bytes) its place in TSRAM, and bytes between rows."""
    start, stride = registers
    ring, done = code.label("ring"), code.label("placed")
    code.emit("blt", ra=turn.slot, b=ARRIVING, target=ring)
    code.set(stride, whole)
    code.emit("jmp", target=done)
    code.place(ring)
    code.alu("mul", start, turn.slot, slot)
    code.place(done)


def _brought_rows(lo: Lowering, work: Linear, turn: Turn) -> tuple[Reg, Reg]:
    """New registers: first and number of the rows this tile brings."""
    code, tiles = lo.code, lo.plan.chip.tiles_per_cluster
    first, rows = code.reg(0), code.reg(turn.rows)
    if not may_share(lo, work):
        return first, rows
    with code.unless("lt", lo.rows, shared_rows(lo)), code.scope():
        number = code.calc("remu", lo.tile, tiles)
        code.alu("mul", first, rows, number)
        code.alu("add", rows, rows, first)
        code.alu("divu", first, first, tiles)
        code.alu("divu", rows, rows, tiles)
        code.alu("sub", rows, rows, first)
    return first, rows


def may_share(lo: Lowering, work: Linear) -> bool:
    """Whether tiles of a cluster may bring activations for one another."""
    several = lo.plan.chip.tiles_per_cluster > 1
    return several and not work.alone and "multicast" not in lo.plan.options.without


def shared_rows(lo: Lowering) -> int:
    """Rows of a step from which they do."""
    return lo.plan.options.tiling.of("shared_rows", SHARED_ROWS)


def _move_chunk(
    lo: Lowering, work: Linear, turn: Turn, moves: list[tuple[Desc, Desc]], rows: Reg
) -> None:
    """Queue the transfers of a chunk, once its slot is free wherever they write."""
    code, tokens, tiles = lo.code, lo.tokens, lo.plan.chip.tiles_per_cluster
    if may_share(lo, work):
        with code.unless("lt", lo.rows, shared_rows(lo)), code.scope():
            owner = code.calc("divu", lo.tile, tiles)
            code.alu("mul", owner, owner, tiles)
            for dst, _ in moves:
                code.emit("dset", dst=dst, field="owner", b=owner)
                code.emit("dset", dst=dst, field="fan", b=tiles)
                code.emit("dset", dst=dst, field="fanstep", b=1)
    for slot, end in _by_slot(code, turn):
        code.wait(IN, tokens.a_free[slot], tiles)
        with code.unless("eq", rows, 0):
            for dst, src in reversed(moves):  # few scales are soon there, but not behind elements
                code.emit("dma", channel=IN, dst=dst, src=src)
        _tell_cluster(lo, work, IN, tokens.a_full[slot])
        end()


def take_chunk(lo: Lowering, turn: Turn, ahead: int = 0) -> None:
    """Queue on the MXU: wait for the chunk of activations in the slot at hand, or so many ahead."""
    code = lo.code
    for number, end in _by_slot(code, turn):
        slot = (number + ahead) % A_SLOTS
        code.wait(MXU, lo.tokens.a_full[slot], lo.plan.chip.tiles_per_cluster)
        end()


def _free_slot(lo: Lowering, work: Linear, turn: Turn) -> None:
    """Queue on the MXU: the chunk of activations is used."""
    for slot, end in _by_slot(lo.code, turn):
        _tell_cluster(lo, work, MXU, lo.tokens.a_free[slot])
        end()


def _advance(lo: Lowering, turn: Turn) -> None:
    """The next slot is the current one."""
    code, advanced = lo.code, lo.code.label("advanced")
    with code.scope():
        number = code.calc("and", turn.slot, A_SLOTS - 1)
        code.alu("add", turn.slot, turn.slot, 1)
        code.emit("bne", ra=number, b=A_SLOTS - 1, target=advanced)
    code.alu("sub", turn.slot, turn.slot, A_SLOTS)
    code.place(advanced)


def _by_slot(code: Code, turn: Turn) -> Iterator[tuple[int, Callable[[], None]]]:
    """Code for each slot of the activations' semaphores; call what comes along at its end."""
    done = code.label("slot_done")
    with code.scope():
        number = code.calc("and", turn.slot, A_SLOTS - 1)
        for slot in range(A_SLOTS):
            other = code.label("other_slot")
            if slot < A_SLOTS - 1:
                code.emit("bne", ra=number, b=slot, target=other)
            yield slot, lambda: code.emit("jmp", target=done)
            code.place(other)
    code.place(done)


def _tell_cluster(lo: Lowering, work: Linear, unit: str, sem: Sem) -> None:
    """Queue a signal to every tile that shares activations; alone, as often to the own tile."""
    code, tiles = lo.code, lo.plan.chip.tiles_per_cluster
    if not may_share(lo, work):
        code.signal(unit, sem, tiles)
        return
    few, done = code.label("few"), code.label("told")
    code.emit("blt", ra=lo.rows, b=shared_rows(lo), target=few)
    code.signal(unit, sem, 1, "cluster")
    code.emit("jmp", target=done)
    code.place(few)
    code.signal(unit, sem, tiles)
    code.place(done)


def activations(lo: Lowering, work: Linear, turn: Turn, depth: Reg) -> Desc:
    """The chunk of a: part of all of it, or a slot of the ring."""
    code, p, at = lo.code, work.src.precision, lo.plan.tile.at
    result, ring, done = code.desc(), code.label("a_ring"), code.label("a_done")
    scaled = p.scale_kind is not ScaleKind.NONE
    blocks = bool(p.block)
    a = Descriptor(
        Space.TSRAM,
        p.element,
        (1, 1),
        (p.data_bytes(work.matrix.k) * 8 // p.bits, 1),
        at["a_data"],
        scale_kind=p.scale_kind,
        scale=at["a_scale"] if scaled else 0,
        scale_strides=(p.scale_bytes(work.matrix.k), 1) if scaled else (0, 0),
    )
    code.emit("blt", ra=turn.slot, b=ARRIVING, target=ring)
    with code.scope():
        adds: list[tuple[str, Value]] = [("base", bytes_of(code, turn.k, p))]
        if blocks:
            adds.append(("scale", code.calc("divu", turn.k, p.block)))
        code.fill(result, a, *adds, dim0=turn.rows, dim1=depth)
    code.emit("jmp", target=done)
    code.place(ring)
    with code.scope():
        slot, scale_slot = cutting.a_slot_bytes(lo.plan, work.alone)
        adds = [("base", code.calc("mul", turn.slot, slot))]
        sets: dict[str, Value] = {"stride0": turn.depth}
        if blocks:
            adds.append(("scale", code.calc("mul", turn.slot, scale_slot)))
            sets["sstride0"] = blocks_of(code, turn.depth, p.block)
        code.fill(result, a, *adds, dim0=turn.rows, dim1=depth, **sets)
    code.place(done)
    return result
