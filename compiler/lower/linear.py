"""Phases split by output columns: matrix products with what follows them column by column.

Each lane owns a run of panels. For a block of panels its weights come by the weight stream
(stream.py), chunk by chunk of K. Activations come from CSRAM: all of K at once, where a step's rows
are few enough, else chunk by chunk with the weights. What the accumulator holds is read out some
rows and columns at a time, and the VPU finishes it (bias, residual, SwiGLU, quantise).
"""

from __future__ import annotations

from compiler.lower import cutting, stream
from compiler.lower.activations import (
    ARRIVING,
    RESIDENT,
    RING,
    chunk_depth,
    load_first,
    load_row_scales,
    may_share,
    pass_on,
    shared_rows,
    take_chunk,
)
from compiler.lower.context import Lowering, Plan
from compiler.lower.cutting import LAYER_MATRICES
from compiler.lower.kept import cache_is_written
from compiler.lower.multiply import multiply
from compiler.lower.readout import block_is_done, empty_part, finish_all, write_finish
from compiler.lower.ring import give, next_slot, take
from compiler.lower.rowwise import NORMS, load_gains, load_rows, rms_norm
from compiler.lower.staged import pages_are_staged, stage_pages
from compiler.lower.tokens import MXU, VPU
from compiler.lower.turns import Epilogue, Linear, Turn
from compiler.matrices import Matrix
from isa.formats import Format

PARTS_A_CHUNK = 2  #: of the block before that are finished behind a chunk's product, but one first


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
    rooms = [cutting.most_resident(plan, matrices[name]) for name in ("qkv", "gate_up")]
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
        if name == LAYER_MATRICES[0]:
            stage_pages(lo)
        if name == LAYER_MATRICES[1]:
            stream.borrow(lo)
        product(lo, work, *around)
        if name == LAYER_MATRICES[0]:
            pages_are_staged(lo)
        if name == LAYER_MATRICES[1]:
            cache_is_written(lo)


def product(lo: Lowering, work: Linear, end: Epilogue, norm: str | None = None) -> None:
    """All blocks of a product: of the own group's rows, or of those that want logits.

    The array starts on a block in one half of the accumulator while the one before is read out of
    the other half, part by part, for the VPU to finish.
    """
    code = lo.code
    with code.scope():
        with code.sparing(lo.stream.taken):
            turn = Turn(*(code.reg() for _ in range(9)))
        _begin(lo, work, turn)
        _bring_activations(lo, work, turn, norm)
        if lo.limit is not None:
            stream.fill_ring(lo)
        finish = write_finish(lo, work, turn, end)
        top, out = code.label("block"), code.label("blocks_end")
        code.place(top)
        code.emit("bge", ra=turn.first, b=turn.stop, target=out)
        _chunks(lo, work, turn, finish)
        with code.unless("lt", turn.slot, ARRIVING):
            code.set(turn.slot, RESIDENT)
        finish_all(lo, turn, finish)
        block_is_done(lo, work, turn)
        code.emit("jmp", target=top)
        code.place(out)
        finish_all(lo, turn, finish)
        _help(lo, work, turn)
        if lo.limit is not None:
            code.alu("sub", lo.limit, lo.limit, 1)


def _begin(lo: Lowering, work: Linear, turn: Turn) -> None:
    """Work out this tile's part."""
    code, matrix = lo.code, work.matrix
    with code.scope():
        code.set(turn.rows, lo.wanted if work.alone else lo.own_rows())
        begin, stop = cutting.own_panels(lo, matrix, work.alone)
        code.set(turn.first, begin)
        code.set(turn.stop, stop)
        cutting.cut(lo, matrix, turn.wide, turn.depth, work.alone)
    code.set(turn.parts, 0)
    code.set(turn.side, 0)


def _bring_activations(lo: Lowering, work: Linear, turn: Turn, norm: str | None) -> None:
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
    load_row_scales(lo, work.src, turn.rows)
    with code.scope():
        rows, several = cutting.rows_each(lo, work.alone), code.label("several_chunks")
        code.emit("blt", ra=cutting.resident_rows(lo, work.matrix), b=rows, target=several)
    code.set(turn.slot, ARRIVING)
    code.emit("jmp", target=done)
    code.place(several)
    code.set(turn.slot, RING)
    code.place(done)


def _normalise(lo: Lowering, work: Linear, norm: str) -> None:
    """Queue on dma4 and the VPU: a = quantise(RMSNorm(x) * gain), all rows of the step."""
    code, tokens, config, p = lo.code, lo.tokens, lo.plan.config, work.src.precision
    load_rows(lo, "x", config.hidden, None, lo.rows, "extra")
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


def _chunks(lo: Lowering, work: Linear, turn: Turn, finish: stream.Stream) -> None:
    """acc = a * w^T over all chunks of K.

    Behind each, the stream brings another chunk, and parts of the block before are finished.
    """
    code, k = lo.code, work.matrix.k_stored
    top = code.label("chunk")
    code.set(turn.k, 0)
    with code.unless("ge", turn.slot, RESIDENT):
        load_first(lo, work, turn)
    code.place(top)
    with code.scope():
        with code.unless("ge", turn.slot, RESIDENT):
            take_chunk(lo, turn)
        take(lo)
        multiply(lo, work, turn, chunk_depth(code, work, turn))
        give(lo, work.alone)
        with code.unless("ge", turn.slot, RESIDENT):
            pass_on(lo, work, turn, taken=True)
    if work.matrix.name == "qkv":
        stream.bring_late(lo, (turn.first, turn.stop, turn.wide), (turn.k, turn.depth, k))
    else:
        stream.bring_again(lo)
    next_slot(lo)
    _finish_some(lo, turn, finish)
    code.alu("add", turn.k, turn.k, turn.depth)
    code.emit("blt", ra=turn.k, b=k, target=top)


def _finish_some(lo: Lowering, turn: Turn, finish: stream.Stream) -> None:
    """Finish parts of the block before, one behind the first chunk.

    That one is read out first: the next would fill the vector unit's queue meanwhile, and keep the
    control processor from the array's next product.
    """
    code, done = lo.code, lo.code.label("some_finished")
    for number in range(lo.plan.options.tiling.of("parts", PARTS_A_CHUNK)):
        code.emit("blt", ra=turn.parts, b=2, target=done)
        code.call(finish.label, finish.taken)
        if number == 0:
            code.emit("beq", ra=turn.k, b=0, target=done)
    code.place(done)


def _help(lo: Lowering, work: Linear, turn: Turn) -> None:
    """Bring others their activations for a block that only they have, if there is one.

    Lanes differ by one unit of panels, and so by one block at most.
    """
    if not may_share(lo, work):
        return
    code, end = lo.code, lo.code.label("helped")
    code.emit("blt", ra=lo.rows, b=shared_rows(lo), target=end)
    code.emit("bge", ra=turn.slot, b=RESIDENT, target=end)
    with code.scope():
        begin, _ = cutting.own_panels(lo, work.matrix, work.alone)
        code.alu("add", begin, begin, cutting.most_panels(lo, work.matrix, work.alone))
        code.emit("bge", ra=turn.first, b=begin, target=end)
    top = code.label("chunk")
    code.set(turn.k, 0)
    load_first(lo, work, turn)
    code.place(top)
    pass_on(lo, work, turn, taken=False)
    code.alu("add", turn.k, turn.k, turn.depth)
    code.emit("blt", ra=turn.k, b=work.matrix.k_stored, target=top)
    empty_part(lo)
    code.place(end)
