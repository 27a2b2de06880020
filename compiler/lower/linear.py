"""Phases split by output columns: matrix products with what follows them column by column.

Each lane owns a run of panels. For a block of panels its weights come by the weight stream
(stream.py), chunk by chunk of K. Activations come from CSRAM: all of K at once, where a step's rows
are few enough, else chunk by chunk with the weights. What the accumulator holds is read out some
rows and columns at a time, and the VPU finishes it (bias, residual, SwiGLU, quantise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.buffers import Rows
from compiler.emit import Code, Desc, Reg, Scaled, Sem, Value
from compiler.lower import stream
from compiler.lower.context import CONST, IN, MXU, OUT, VPU, Lowering, Plan
from compiler.lower.rowwise import NORMS, layer_base, load_gains, load_rows, rms_norm
from compiler.matrices import Matrix
from compiler.precision import Precision
from compiler.tile_memory import A_SLOTS, PART_SLOTS, STAGE_PANELS
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format, Layout, ScaleKind

PARTS_A_CHUNK = 2  #: of the block before that are finished behind a chunk's product
# How activations come, beside the number of a slot of their semaphores (see `_Turn`).
RING = 0  #: chunk by chunk with the weights, into a ring of slots
ARRIVING = A_SLOTS  #: all of K fits: chunk by chunk with the first block's weights
RESIDENT = 2 * A_SLOTS  #: all of K is there
SHARED_ROWS = 32  # rows from which tiles of a cluster bring activations for one another: estimate


@dataclass(frozen=True)
class Block:
    """What is read out at a time, at run time.

    Panels from `first` on, and rows from `row` of the own group on; `stride` elements lie between
    two rows of the stage. `side` is its slot of what is brought for it, and of what it makes.
    """

    first: Reg
    panels: Reg
    row: Reg
    rows: Reg
    stride: Reg
    side: Reg


Epilogue = Callable[[Lowering, "Linear", Block], None]


@dataclass(frozen=True)
class Linear:
    """One linear phase: matrix, input rows, this layer's number; `alone`: not by row groups."""

    matrix: Matrix
    src: Rows
    layer: Reg | None

    @property
    def alone(self) -> bool:
        """Whether all tiles share the columns, and have the same rows."""
        return self.layer is None


@dataclass(frozen=True)
class _Turn:
    """Registers of a phase that outlive the stream's subroutine.

    Panels [first, stop) are to come, `wide` at a time; K goes from `k` in steps of `depth`; `slot`
    is that of the activations' semaphores plus RING, ARRIVING or RESIDENT. `parts` is twice the number of parts of the block before
    that are still to be finished, plus the half of the accumulator that the block at hand uses;
    `side` is the slot of the part at hand.
    """

    rows: Reg
    first: Reg
    stop: Reg
    wide: Reg
    depth: Reg
    k: Reg
    slot: Reg
    parts: Reg
    side: Reg


def most_fused(plan: Plan) -> int:
    """The most rows of a step that every tile normalises itself, in front of a product.

    That saves a barrier and the way through CSRAM, and costs every tile what one would do. The
    rows' places are those of the stage.
    """
    if "fused-norm" in plan.options.without:
        return 0
    if plan.buffers.norms < 0:
        return 0  # all tiles at once would queue for the gains
    matrices, hidden = plan.hbm.matrices, plan.config.hidden
    rooms = [stream.most_resident(plan, matrices[name]) for name in ("qkv", "gate_up")]
    return min(plan.tile.stage // hidden, plan.capacity.group_rows, *rooms)


def linear(
    lo: Lowering, name: str, matrix: Matrix, src: str, around: tuple[Epilogue, str | None]
) -> None:
    """Lower one linear phase of a layer.

    `around`: what finishes each block on the VPU and sends it; and the norm of x that is the
    input, if it is one: a step of few rows makes it here.
    """
    work = Linear(matrix, lo.plan.buffers.rows[src], lo.layer)
    with lo.phase(name):
        product(lo, work, *around)


def product(lo: Lowering, work: Linear, end: Epilogue, norm: str | None = None) -> None:
    """All blocks of a product: of the own group's rows, or of those that want logits.

    The array starts on a block in one half of the accumulator while the one before is read out of
    the other half, part by part, for the VPU to finish.
    """
    code = lo.code
    with code.scope():
        with code.sparing(lo.stream.taken):
            turn = _Turn(*(code.reg() for _ in range(9)))
        _begin(lo, work, turn)
        _bring_activations(lo, work, turn, norm)
        if lo.limit is not None:
            stream.fill_ring(lo)
        finish = _write_finish(lo, work, turn, end)
        top, out = code.label("block"), code.label("blocks_end")
        code.place(top)
        code.emit("bge", ra=turn.first, b=turn.stop, target=out)
        _chunks(lo, work, turn, finish)
        with code.unless("lt", turn.slot, ARRIVING):
            code.set(turn.slot, RESIDENT)
        _finish_all(lo, turn, finish)
        _block_is_done(lo, turn)
        code.emit("jmp", target=top)
        code.place(out)
        _finish_all(lo, turn, finish)
        _help(lo, work, turn)
        if lo.limit is not None:
            code.alu("sub", lo.limit, lo.limit, 1)


def _begin(lo: Lowering, work: Linear, turn: _Turn) -> None:
    """Work out this tile's part."""
    code, matrix = lo.code, work.matrix
    with code.scope():
        code.set(turn.rows, lo.wanted if work.alone else lo.own_rows())
        begin, stop = stream.own_panels(lo, matrix, work.alone)
        code.set(turn.first, begin)
        code.set(turn.stop, stop)
        stream.cut(lo, matrix, turn.wide, turn.depth, work.alone)
    code.set(turn.parts, 0)
    code.set(turn.side, 0)


def _bring_activations(lo: Lowering, work: Linear, turn: _Turn, norm: str | None) -> None:
    """Decide how the activations come; make them, if that is done here."""
    code = lo.code
    done = code.label("activations")
    code.set(turn.slot, RESIDENT)
    if norm is not None and most_fused(lo.plan) > 0:
        with code.unless("ge", lo.rows, most_fused(lo.plan) + 1):
            # A tile without columns has nothing that would keep its barrier behind its norm.
            with code.unless("ge", turn.first, turn.stop):
                _normalise(lo, work, norm)
                code.wait(MXU, lo.tokens.a_made)
            code.emit("jmp", target=done)
    _load_row_scales(lo, work.src, turn.rows)
    with code.scope():
        rows, several = stream.rows_each(lo, work.alone), code.label("several_chunks")
        code.emit("blt", ra=stream.resident_rows(lo, work.matrix), b=rows, target=several)
    code.set(turn.slot, ARRIVING)
    code.emit("jmp", target=done)
    code.place(several)
    code.set(turn.slot, RING)
    code.place(done)


def _normalise(lo: Lowering, work: Linear, norm: str) -> None:
    """Queue on dma4 and the VPU: a = quantise(RMSNorm(x) * gain), all rows of the step."""
    code, tokens, config, p = lo.code, lo.tokens, lo.plan.config, work.src.precision
    load_rows(lo, "x", config.hidden, 0, lo.rows, "extra")
    load_gains(lo, 4 * NORMS[norm] * config.hidden, "gain", config.hidden, lo.layer)
    code.wait(VPU, tokens.const_full)
    code.wait(VPU, tokens.in_full)
    with code.scope():
        places = ("extra", "stage", "lin_out", "gain")
        rms_norm(lo, places, config.hidden, config.rms_eps, lo.rows)
    with code.scope():
        src = code.tensor(lo.tsram("stage", Format.FP32, (1, config.hidden)), dim0=lo.rows)
        dst = code.tensor(lo.quantised("a_data", "a_scale", 1, config.hidden), dim0=lo.rows)
        factors = None
        if p.row_scaled:
            factors = code.tensor(lo.tsram("row_scale", Format.E8M0, (1, 1)), dim0=lo.rows)
        lo.quantise(dst, src, factors)
    for sem in (tokens.in_free, tokens.const_free, tokens.a_made):
        code.signal(VPU, sem)


def _load_row_scales(lo: Lowering, src: Rows, rows: Value) -> None:
    """Queue on dma4: the activations' row scales, for the read-out."""
    if src.row_scale is None:
        return
    code = lo.code
    with code.scope():
        source = lo.buffer(src.row_scale, src.row_scale.view(Format.U8, 1, 1), 0, dim0=rows)
        dst = code.tensor(lo.tsram("row_scale", Format.U8, (1, 1)), dim0=rows)
        code.emit("dma", channel=IN, dst=dst, src=source)
    code.signal(IN, lo.tokens.row_full)
    code.wait(MXU, lo.tokens.row_full)


def _block_panels(lo: Lowering, turn: _Turn) -> Reg:
    """A new register: panels of the current block."""
    panels = lo.code.calc("sub", turn.stop, turn.first)
    return lo.code.alu("min", panels, panels, turn.wide)


# -- products ----------------------------------------------------------------------------------


def _chunks(lo: Lowering, work: Linear, turn: _Turn, finish: stream.Stream) -> None:
    """acc = a * w^T over all chunks of K.

    Behind each, the stream brings another chunk, and parts of the block before are finished.
    """
    code, k = lo.code, work.matrix.k_stored
    top = code.label("chunk")
    code.set(turn.k, 0)
    code.place(top)
    with code.scope():
        depth = code.reg(work.matrix.k)
        code.alu("sub", depth, depth, turn.k)
        code.alu("min", depth, depth, turn.depth)
        with code.unless("ge", turn.slot, RESIDENT):
            _load_chunk(lo, work, turn, depth)
        stream.take(lo)
        _multiply(lo, work, turn, depth)
        stream.give(lo, work.alone)
        with code.unless("ge", turn.slot, RESIDENT):
            _free_slot(lo, work, turn)
    if work.matrix.name == "qkv":
        stream.bring_late(lo, (turn.first, turn.stop, turn.wide), (turn.depth, k))
    else:
        stream.bring(lo)
    stream.next_slot(lo)
    with code.loop(PARTS_A_CHUNK), code.unless("lt", turn.parts, 2):
        code.call(finish.label, finish.taken)
    code.alu("add", turn.k, turn.k, turn.depth)
    code.emit("blt", ra=turn.k, b=k, target=top)


def _help(lo: Lowering, work: Linear, turn: _Turn) -> None:
    """Bring others their activations for a block that only they have, if there is one.

    Lanes differ by one unit of panels, and so by one block at most.
    """
    if not _may_share(lo, work):
        return
    code, end = lo.code, lo.code.label("helped")
    code.emit("blt", ra=lo.rows, b=SHARED_ROWS, target=end)
    code.emit("bge", ra=turn.slot, b=RESIDENT, target=end)
    with code.scope():
        begin, _ = stream.own_panels(lo, work.matrix, work.alone)
        code.alu("add", begin, begin, stream.most_panels(lo, work.matrix, work.alone))
        code.emit("bge", ra=turn.first, b=begin, target=end)
    top = code.label("chunk")
    code.set(turn.k, 0)
    code.place(top)
    with code.scope():
        depth = code.reg(work.matrix.k)
        code.alu("sub", depth, depth, turn.k)
        code.alu("min", depth, depth, turn.depth)
        _load_chunk(lo, work, turn, depth)
        _free_slot(lo, work, turn)
    code.alu("add", turn.k, turn.k, turn.depth)
    code.emit("blt", ra=turn.k, b=work.matrix.k_stored, target=top)
    _empty_part(lo)
    code.place(end)


def _empty_part(lo: Lowering) -> None:
    """Queue what a part goes through, but nothing is moved: the barrier comes behind the array."""
    code, tokens = lo.code, lo.tokens
    code.wait(MXU, tokens.stage_free)
    code.signal(MXU, tokens.stage_full)
    code.wait(VPU, tokens.stage_full)
    code.signal(VPU, tokens.stage_free)
    code.wait(VPU, tokens.part_free)
    code.signal(VPU, tokens.part_full)
    code.wait(OUT, tokens.part_full)
    code.signal(OUT, tokens.part_free)


def bytes_of(code: Code, elements: Value, precision: Precision) -> Reg:
    """A new register: bytes of packed elements, rounded up."""
    count = code.reg(elements)
    if precision.bits == 4:
        code.alu("add", count, count, 1)
        return code.alu("shr", count, count, 1)
    return code.alu("mul", count, count, precision.bits // 8)


def blocks_of(code: Code, elements: Value, block: int) -> Reg:
    """A new register: scale blocks that cover the elements."""
    count = code.reg(elements)
    code.alu("add", count, count, block - 1)
    return code.alu("divu", count, count, block)


def _load_chunk(lo: Lowering, work: Linear, turn: _Turn, depth: Reg) -> None:
    """Queue on dma4: a[:, k : k + depth] into the next slot, or to its place among all of K.

    Where there are many rows, each tile of the cluster brings some of them, and writes them to all.
    """
    code, src = lo.code, work.src
    p, slots = src.precision, stream.a_slot_bytes(lo.plan, work.alone)
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
                lo.buffer(buffer, buffer.raw(), first, at, into=source, **dims)
                _slot_place(code, turn, slot, (span[0], stride), whole)
                target = lo.tsram(name, Format.U8, (1, 1))
                code.fill(dst, target, at, stride0=stride, **dims)
                code.alu("mul", stride, stride, first)
                code.emit("dadd", dst=dst, field="base", b=stride)
        _move_chunk(lo, work, turn, moves, rows)


def _slot_place(
    code: Code, turn: _Turn, slot: int, registers: tuple[Reg, Reg], whole: int
) -> None:
    """Make of (a chunk's place in a row, its bytes) its place in TSRAM, and bytes between rows."""
    start, stride = registers
    ring, done = code.label("ring"), code.label("placed")
    code.emit("blt", ra=turn.slot, b=ARRIVING, target=ring)
    code.set(stride, whole)
    code.emit("jmp", target=done)
    code.place(ring)
    code.alu("mul", start, turn.slot, slot)
    code.place(done)


def _brought_rows(lo: Lowering, work: Linear, turn: _Turn) -> tuple[Reg, Reg]:
    """New registers: first and number of the rows this tile brings."""
    code, tiles = lo.code, lo.plan.chip.tiles_per_cluster
    first, rows = code.reg(0), code.reg(turn.rows)
    if not _may_share(lo, work):
        return first, rows
    with code.unless("lt", lo.rows, SHARED_ROWS), code.scope():
        number = code.calc("remu", lo.tile, tiles)
        code.alu("mul", first, rows, number)
        code.alu("add", rows, rows, first)
        code.alu("divu", first, first, tiles)
        code.alu("divu", rows, rows, tiles)
        code.alu("sub", rows, rows, first)
    return first, rows


def _may_share(lo: Lowering, work: Linear) -> bool:
    """Whether tiles of a cluster may bring activations for one another."""
    several = lo.plan.chip.tiles_per_cluster > 1
    return several and not work.alone and "multicast" not in lo.plan.options.without


def _move_chunk(
    lo: Lowering, work: Linear, turn: _Turn, moves: list[tuple[Desc, Desc]], rows: Reg
) -> None:
    """Queue the transfers of a chunk, once its slot is free wherever they write; the MXU waits."""
    code, tokens, tiles = lo.code, lo.tokens, lo.plan.chip.tiles_per_cluster
    if _may_share(lo, work):
        with code.unless("lt", lo.rows, SHARED_ROWS), code.scope():
            owner = code.calc("divu", lo.tile, tiles)
            code.alu("mul", owner, owner, tiles)
            for dst, _ in moves:
                code.emit("dset", dst=dst, field="owner", b=owner)
                code.emit("dset", dst=dst, field="fan", b=tiles)
                code.emit("dset", dst=dst, field="fanstep", b=1)
    for slot, end in _by_slot(code, turn):
        code.wait(IN, tokens.a_free[slot], tiles)
        with code.unless("eq", rows, 0):
            for dst, src in moves:
                code.emit("dma", channel=IN, dst=dst, src=src)
        _tell_cluster(lo, work, IN, tokens.a_full[slot])
        code.wait(MXU, tokens.a_full[slot], tiles)
        end()


def _free_slot(lo: Lowering, work: Linear, turn: _Turn) -> None:
    """Queue on the MXU: the chunk of activations is used; the next slot is the current one."""
    code = lo.code
    for slot, end in _by_slot(code, turn):
        _tell_cluster(lo, work, MXU, lo.tokens.a_free[slot])
        code.alu("add", turn.slot, turn.slot, 1 if slot < A_SLOTS - 1 else 1 - A_SLOTS)
        end()


def _by_slot(code: Code, turn: _Turn) -> Iterator[tuple[int, Callable[[], None]]]:
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
    if not _may_share(lo, work):
        code.signal(unit, sem, tiles)
        return
    few, done = code.label("few"), code.label("told")
    code.emit("blt", ra=lo.rows, b=SHARED_ROWS, target=few)
    code.signal(unit, sem, 1, "cluster")
    code.emit("jmp", target=done)
    code.place(few)
    code.signal(unit, sem, tiles)
    code.place(done)


def _multiply(lo: Lowering, work: Linear, turn: _Turn, depth: Reg) -> None:
    """Queue on the MXU: the chunk's product."""
    code = lo.code
    with code.scope():
        columns = _block_panels(lo, turn)
        code.alu("mul", columns, columns, PANEL_COLUMNS)
        sums = code.tensor(_sums(lo), dim0=turn.rows, dim1=columns)
        with code.scope():
            half = code.calc("and", turn.parts, 1)
            code.alu("mul", half, half, _half_bytes(lo))
            code.emit("dadd", dst=sums, field="base", b=half)
        a = _activations(lo, work, turn, depth)
        w = _weights(lo, work.matrix, turn, columns, depth)
        with _by_rows(lo, turn.rows) as variants:
            for split in variants:
                _gemm(code, turn.k, split, acc=sums, a=a, w=w)


SKINNY = 32  # rows below which sub-arrays' shorter drain is worth more than long streams (estimate)


@contextmanager
def _by_rows(lo: Lowering, rows: Value) -> Iterator[Iterator[int]]:
    """The array's split to emit code for: the option's, or for many and for few rows in turn."""
    code, option = lo.code, lo.plan.options.split
    widest = max(lo.plan.chip.tile.mxu.splits)
    if option is not None or widest == 1:
        yield iter((option or 1,))
        return
    few, done = code.label("few_rows"), code.label("gemm_done")

    def variants() -> Iterator[int]:
        with code.scope():
            code.emit("blt", ra=code.reg(rows), b=SKINNY, target=few)
        yield 1
        code.emit("jmp", target=done)
        code.place(few)
        yield widest
        code.place(done)

    yield variants()


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


def _sums(lo: Lowering) -> Descriptor:
    """Half of the accumulator, as wide as the widest block."""
    return lo.acc(1, lo.plan.tile.block_panels * PANEL_COLUMNS)


def _half_bytes(lo: Lowering) -> int:
    capacity = lo.plan.capacity
    rows = max(capacity.group_rows, capacity.wanted)
    return 4 * rows * lo.plan.tile.block_panels * PANEL_COLUMNS


def _activations(lo: Lowering, work: Linear, turn: _Turn, depth: Reg) -> Desc:
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
        slot, scale_slot = stream.a_slot_bytes(lo.plan, work.alone)
        adds = [("base", code.calc("mul", turn.slot, slot))]
        sets: dict[str, Value] = {"stride0": turn.depth}
        if blocks:
            adds.append(("scale", code.calc("mul", turn.slot, scale_slot)))
            sets["sstride0"] = blocks_of(code, turn.depth, p.block)
        code.fill(result, a, *adds, dim0=turn.rows, dim1=depth, **sets)
    code.place(done)
    return result


def _weights(lo: Lowering, matrix: Matrix, turn: _Turn, columns: Reg, depth: Reg) -> Desc:
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
        scale=tile.at["weights"] + tile.w_slot if scaled else 0,
        scale_strides=(1, PANEL_COLUMNS) if scaled else (0, 0),
    )
    result = code.desc()
    with code.scope():
        stride = code.calc("mul", turn.depth, PANEL_COLUMNS)
        offset = code.reg()
        stream.slot_offset(lo, offset)
        adds: list[tuple[str, Value]] = [("base", offset)]
        sets: dict[str, Value] = {"stride0": stride}
        if scaled:
            adds.append(("scale", offset))
            scale_stride = blocks_of(code, turn.depth, p.block)
            sets["sstride0"] = code.alu("mul", scale_stride, scale_stride, PANEL_COLUMNS)
        code.fill(result, w, *adds, dim0=columns, dim1=depth, **sets)
    return result


# -- read-out ----------------------------------------------------------------------------------


def _block_is_done(lo: Lowering, turn: _Turn) -> None:
    """The block at hand becomes the one before: all its parts are to be finished."""
    code = lo.code
    with code.scope():
        parts, regions = _parts(lo, turn, _block_panels(lo, turn))
        code.alu("mul", parts, parts, regions)
        code.alu("mul", parts, parts, 2)
        code.alu("xor", turn.parts, turn.parts, 1)
        code.alu("add", turn.parts, turn.parts, parts)
    code.alu("add", turn.first, turn.first, turn.wide)


def _parts(lo: Lowering, turn: _Turn, panels: Reg) -> tuple[Reg, Reg]:
    """New registers: parts of a region that is read out at a time, and regions of a block."""
    code = lo.code
    parts, regions = code.reg(), code.reg()
    with code.scope():
        across = _region_panels(lo, turn.rows)
        code.alu("add", regions, panels, across)
        code.alu("add", regions, regions, -1)
        code.alu("divu", regions, regions, across)
        rows = _part_rows(lo, turn.rows)
        code.alu("add", parts, turn.rows, rows)
        code.alu("add", parts, parts, -1)
        code.alu("divu", parts, parts, rows)
    return parts, regions


def _region_panels(lo: Lowering, rows: Reg) -> Reg:
    """A new register: panels read out at a time, all rows of them; the more, the fewer rows."""
    code, tile = lo.code, lo.plan.tile
    panels = code.reg(tile.stage // PANEL_COLUMNS)
    if tile.wide_stage > tile.stage and lo.most_groups > 1:
        with code.unless("eq", lo.groups, 1):
            code.set(panels, tile.wide_stage // PANEL_COLUMNS)
    with code.scope():
        code.alu("divu", panels, panels, code.calc("max", rows, 1))
    code.alu("and", panels, panels, -STAGE_PANELS)  # those that stay together
    row = tile.stage // PART_SLOTS // PANEL_COLUMNS // STAGE_PANELS * STAGE_PANELS
    return code.alu("min", panels, panels, min(tile.block_panels, row))  # a part has a row


def _part_rows(lo: Lowering, rows: Reg) -> Reg:
    """A new register: rows of a region that the VPU finishes at a time."""
    code = lo.code
    part = code.reg(lo.plan.tile.stage // PART_SLOTS // PANEL_COLUMNS)
    with code.scope():
        code.alu("divu", part, part, _region_panels(lo, rows))
    return part


def _finish_all(lo: Lowering, turn: _Turn, finish: stream.Stream) -> None:
    """Finish what is left of the block before."""
    code = lo.code
    top, out = code.label("part"), code.label("parts_end")
    code.place(top)
    code.emit("blt", ra=turn.parts, b=2, target=out)
    code.call(finish.label, finish.taken)
    code.emit("jmp", target=top)
    code.place(out)


def _write_finish(lo: Lowering, work: Linear, turn: _Turn, end: Epilogue) -> stream.Stream:
    """Write the subroutine: finish the next part of the block before.

    With a region's first part, the region is read out to the stage; with its last, that is free.
    """
    code = lo.code
    over, label = code.label("over"), code.label("finish")
    code.emit("jmp", target=over)
    with code.subroutine(label) as taken:
        first, panels, row = (code.reg() for _ in range(3))
        code.alu("sub", first, turn.first, turn.wide)
        code.alu("sub", panels, turn.stop, first)
        code.alu("min", panels, panels, turn.wide)
        count, stride = code.reg(), _region_panels(lo, turn.rows)
        with code.scope():
            parts, index = _parts(lo, turn, panels)
            code.alu("mul", index, index, parts)
            left = code.calc("shr", turn.parts, 1)
            _load_columns(lo, work, (first, panels), (left, index))
            code.alu("sub", index, index, left)
            code.alu("divu", left, index, parts)  # the region, and then its first panel
            code.alu("mul", left, left, stride)
            code.alu("add", first, first, left)
            code.alu("sub", panels, panels, left)
            code.alu("min", panels, panels, stride)
            code.alu("remu", row, index, parts)
            code.set(count, _part_rows(lo, turn.rows))
            code.alu("mul", row, row, count)
        with code.scope():
            left = code.calc("sub", turn.rows, row)
            code.alu("min", count, count, left)
        code.alu("mul", stride, stride, PANEL_COLUMNS)
        block = Block(first, panels, row, count, stride, turn.side)
        with code.unless("ne", row, 0):
            _read_out(lo, work, turn, block)
            code.wait(VPU, lo.tokens.stage_full)
        code.alu("add", turn.parts, turn.parts, -2)
        if work.matrix.precision.column_scaled:
            with code.unless("ge", turn.parts, 2):
                code.signal(MXU, lo.tokens.column_free)
        end(lo, work, block)
        code.alu("add", turn.side, turn.side, 1)
        code.alu("and", turn.side, turn.side, PART_SLOTS - 1)
        code.alu("add", row, row, count)
        with code.unless("lt", row, turn.rows):
            code.signal(VPU, lo.tokens.stage_free)
            if work.matrix.bias >= 0:
                code.signal(VPU, lo.tokens.const_free)
    code.place(over)
    return stream.Stream(label, taken)


def _load_columns(
    lo: Lowering, work: Linear, block: tuple[Reg, Reg], parts: tuple[Reg, Reg]
) -> None:
    """Queue on dma7, with a block's first part: its column factors, for the read-out."""
    matrix, code, tokens = work.matrix, lo.code, lo.tokens
    if not matrix.precision.column_scaled:
        return
    first, panels = block
    with code.unless("ne", *parts), code.scope():
        code.wait(CONST, tokens.column_free)
        address = layer_base(code, matrix.columns, work.layer, matrix.vector_bytes)
        columns = code.calc("mul", panels, PANEL_COLUMNS)
        source = Descriptor(Space.HBM, Format.FP32, (1,), (1,))
        at = ("base", Scaled(first, 4 * PANEL_COLUMNS))
        src = code.tensor(source, ("base", address), at, dim0=columns)
        dst = code.tensor(lo.tsram("columns", Format.FP32, (1,)), dim0=columns)
        code.emit("dma", channel=CONST, dst=dst, src=src)
        code.signal(CONST, tokens.column_full)
        code.wait(MXU, tokens.column_full)


def _read_out(lo: Lowering, work: Linear, turn: _Turn, block: Block) -> None:
    """Queue on the MXU: stage = acc, times row and column factors where the formats have them."""
    code, tokens = lo.code, lo.tokens
    code.wait(MXU, tokens.stage_free)
    with code.scope():
        factors: dict[str, Desc] = {}
        columns, across = code.calc("mul", block.panels, PANEL_COLUMNS), code.reg()
        code.alu("sub", across, block.first, turn.first)
        code.alu("add", across, across, turn.wide)
        code.alu("mul", across, across, PANEL_COLUMNS * 4)
        if work.src.row_scale is not None:
            row = lo.tsram("row_scale", Format.E8M0, (1, 1))
            factors["row"] = code.tensor(row, dim0=turn.rows)
        if work.matrix.precision.column_scaled:
            vector = lo.tsram("columns", Format.FP32, (1, 1))
            factors["col"] = code.tensor(vector, ("base", across), dim1=columns)
        sums = code.tensor(_sums(lo), ("base", across), dim0=turn.rows, dim1=columns)
        code.alu("and", across, turn.parts, 1)
        code.alu("xor", across, across, 1)  # the half that is not at hand
        code.alu("mul", across, across, _half_bytes(lo))
        code.emit("dadd", dst=sums, field="base", b=across)
        place = lo.tsram("stage", Format.FP32, (1, 1))
        dst = code.tensor(place, dim0=turn.rows, dim1=columns, stride0=block.stride)
        code.emit("readout", dst=dst, acc=sums, **factors)
    code.signal(MXU, tokens.stage_full)


def stage(lo: Lowering, block: Block, columns: Value) -> Desc:
    """The first columns of the part, as the array has read it out, FP32 in TSRAM."""
    code = lo.code
    place = lo.tsram("stage", Format.FP32, (1, 1))
    result = code.tensor(place, dim0=block.rows, dim1=columns, stride0=block.stride)
    with code.scope():
        down = code.calc("mul", block.row, block.stride)
        code.alu("mul", down, down, 4)
        code.emit("dadd", dst=result, field="base", b=down)
    return result


def work_space(lo: Lowering, block: Block, columns: Value, name: str) -> Desc:
    """The first columns of the part's slot of a place, FP32 in TSRAM."""
    code, place = lo.code, lo.tsram(name, Format.FP32, (1, 1))
    result = code.tensor(place, dim0=block.rows, dim1=columns, stride0=block.stride)
    add_slot(lo, block, result)
    return result


def add_slot(lo: Lowering, block: Block, place: Desc, scales: bool = False) -> None:
    """Move an address to the part's slot: that of its elements, or of their scales."""
    code, size = lo.code, lo.plan.tile.stage // PART_SLOTS
    with code.scope():
        slot = code.calc("mul", block.side, size // 16 if scales else 4 * size)
        code.emit("dadd", dst=place, field="scale" if scales else "base", b=slot)
