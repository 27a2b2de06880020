"""The whole program: the `reset` and `step` entries, and the phases between."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, getcontext

from compiler.emit import ZERO, Code, Label, Reg, Sum
from compiler.fuse import Phase, Phases
from compiler.hbm import WANTED_WORDS
from compiler.lower.attention import attend, leave_pages, read_ahead
from compiler.lower.context import Lowering, Plan
from compiler.lower.cutting import LAYER_MATRICES, takes_heads
from compiler.lower.epilogue import residual, swiglu
from compiler.lower.head import lm_head, sample
from compiler.lower.heads import heads
from compiler.lower.linear import linear, most_fused
from compiler.lower.ring import close_ring, open_ring
from compiler.lower.rowwise import copy_norms, embed, norm, norm_wanted, requantise
from compiler.lower.stream import fill_ring, write_stream
from compiler.lower.tokens import CTL, IN, VPU, Tokens
from compiler.lower.turns import Epilogue
from compiler.lower.whole_heads import qkv_end
from isa.formats import Format

#: FP32 3FB8AA3B, the arithmetic contract's L (log2 e), exactly.
L = Decimal(0x3FB8AA3B & 0x7FFFFF | 0x800000) / Decimal(1 << 23)


def lower(plan: Plan, phases: Phases) -> tuple[Code, Tokens, dict[str, Label], int]:
    """The code of every tile, its semaphores and entries, and the pc of where it counts layers."""
    lo = Lowering(plan)
    reset, step = lo.code.label("reset"), lo.code.label("step")
    lo.code.place(reset)
    _reset(lo)
    lo.stream = write_stream(lo)
    lo.code.place(step)
    layer_count = _step(lo, phases)
    return lo.code, lo.tokens, {"reset": reset, "step": step}, layer_count


def score_scale(head_dim: int) -> float:
    """RNE(L / sqrt(d)): what scores are multiplied by, as the double nearest to the real number.

    The encoder rounds it to FP32. 60 digits leave no doubt about either rounding.
    """
    getcontext().prec = 60
    return float(L / Decimal(head_dim).sqrt())


def _reset(lo: Lowering) -> None:
    """Once after loading: empty slots, constants, and tables that never change."""
    code = lo.code
    with code.op("reset"), code.scope():
        for sem, count in lo.initial_tokens():
            code.signal(CTL, sem, count)
        number = lo.tsram("score_scale", Format.FP32, (1,))
        dst = code.tensor(number)
        code.emit("viota", dst=code.tensor(lo.tsram("score_scale", Format.I32, (1,))), start=0)
        code.emit("vcvt", dst=dst, a=code.tensor(lo.tsram("score_scale", Format.I32, (1,))))
        code.emit("vadd", dst=dst, a=dst, b=score_scale(lo.plan.config.head_dim))
        _fetch(lo, "windows", "windows", (lo.plan.config.layers,))
        code.emit("rdsr", rd=lo.tile, special="TILE_ID")
        copy_norms(lo)
        code.emit("halt")


def _fetch(lo: Lowering, source: str, place: str, shape: tuple[int, ...], **dims: Reg) -> None:
    """Queue on dma4: an I32 table from HBM to its place in TSRAM."""
    code = lo.code
    with code.scope():
        src = code.tensor(lo.hbm(source, Format.I32, shape), **dims)
        dst = code.tensor(lo.tsram(place, Format.I32, shape), **dims)
        code.emit("dma", channel=IN, dst=dst, src=src)


def _step(lo: Lowering, phases: Phases) -> int:
    """One step; the pc of the instruction that says how many layers there are."""
    code = lo.code
    lo.start()
    with code.op("weights"):
        layer_count = len(code.lines)
        code.set(lo.layer, lo.plan.config.layers)
        code.alu("mul", lo.w_left, lo.layer, len(LAYER_MATRICES))
        if lo.limit is not None:
            code.set(lo.limit, lo.w_left)
        open_ring(lo)
        if lo.limit is None:
            fill_ring(lo)
    with code.op("tables"):
        _tables(lo)
        _bounds(lo)
    embed(lo)
    with code.scope():
        layers = code.reg(lo.layer)
    code.set(lo.layer, 0)
    with code.loop(layers):
        code.emit("mark", context=lo.layer + 1)
        for phase in phases.layer:
            _layer_phase(lo, phase)
        code.alu("add", lo.layer, lo.layer, 1)
    code.emit("mark", context=0)
    _after(lo, phases)
    return layer_count


def _after(lo: Lowering, phases: Phases) -> None:
    """The rows that want logits, if any."""
    code = lo.code
    final, end = code.label("final"), code.label("end")
    code.emit("bne", ra=lo.wanted, b=0, target=final)
    lo.pass_barrier()
    code.emit("jmp", target=end)
    code.place(final)
    for phase in phases.after:
        with code.scope():
            if phase.kind == "norm":
                norm_wanted(lo, phase.name, "hw")
            elif phase.kind == "linear":
                lm_head(lo, phase.name)
            else:
                sample(lo, phase.name)
    code.place(end)
    close_ring(lo)
    code.emit("halt")


def _tables(lo: Lowering) -> None:
    """The host's tables of this step, to TSRAM; the control processor waits for them.

    A tile brings one and writes it to all: they would all queue at the same channel of HBM.
    """
    code, capacity, tiles = lo.code, lo.plan.capacity, lo.plan.chip.num_tiles
    rows = (capacity.rows,)
    tables: list[tuple[str, int, str, tuple[int, ...], dict[str, Reg]]] = [
        ("rows", 4 * capacity.rows * part, place, rows, {"dim0": lo.rows})
        for part, place in enumerate(("tokens", "positions", "kv_rows"))
    ]
    tables += [
        ("wanted", 0, "wanted", (capacity.wanted, WANTED_WORDS), {"dim0": lo.wanted}),
        ("segments", 0, "segments", (capacity.sequences, 4), {"dim0": lo.segments}),
        ("pages", 0, "pages", (capacity.pages,), {}),
    ]
    for number, (source, offset, place, shape, dims) in enumerate(tables):
        with code.unless("ne", lo.tile, number % tiles), code.scope():
            src = code.tensor(lo.hbm(source, Format.I32, shape), ("base", offset), **dims)
            target = replace(lo.tsram(place, Format.I32, shape), owner=0, fan=tiles, fanstep=1)
            code.emit("dma", channel=IN, dst=code.tensor(target, **dims), src=src)
            code.signal(IN, lo.tokens.tables, 1, "all")
    code.wait(CTL, lo.tokens.tables, len(tables))


def _bounds(lo: Lowering) -> None:
    """Each row's visible positions [begin, end), without and with the model's window."""
    code, tokens = lo.code, lo.tokens
    window = max(lo.plan.config.windows)
    with code.scope():
        position = code.tensor(lo.tsram("positions", Format.I32, (1, 1)), dim0=lo.rows)
        for name, first in (("bounds_full", None), ("bounds_window", 1 - window)):
            column = lo.tsram(name, Format.I32, (1, 1), (2, 1))
            with code.scope():
                begin = code.tensor(column, dim0=lo.rows)
                end = code.tensor(column, ("base", 4), dim0=lo.rows)
                code.emit("vadd", dst=end, a=position, b=_integer(1))
                if first is None:
                    code.emit("vmul", dst=begin, a=position, b=_integer(0))
                else:
                    code.emit("vadd", dst=begin, a=position, b=_integer(first))
                    code.emit("vmax", dst=begin, a=begin, b=_integer(0))
    code.signal(VPU, tokens.vector_to_in)
    code.wait(IN, tokens.vector_to_in)


def _integer(value: int) -> Sum:
    """An I32 number operand."""
    return ZERO + value


def _layer_phase(lo: Lowering, phase: Phase) -> None:
    """One phase of a layer."""
    code, plan = lo.code, lo.plan
    with code.scope():
        if phase.kind == "norm":
            with code.unless("lt", lo.rows, most_fused(lo.plan) + 1):
                norm(lo, phase.name, "h")
        elif phase.kind == "linear":
            src, end = _LINEAR[phase.name]
            src = src if src in ("h",) or f"{src}q" not in plan.buffers.rows else f"{src}q"
            epilogue = swiglu(phase.quantised) if end is None else end
            matrix = plan.hbm.matrices[phase.name]
            linear(lo, phase.name, matrix, src, (epilogue, _NORM.get(phase.name)))
            if phase.name == LAYER_MATRICES[-1]:
                leave_pages(lo)
        elif phase.kind == "heads":
            finished = code.label("heads_finished")
            if takes_heads(plan):
                code.emit("bne", ra=lo.groups, b=1, target=finished)
            read_ahead(lo, "attention")
            heads(lo, phase.name)
            code.place(finished)
        elif phase.kind == "attend":
            attend(lo, phase.name, phase.quantised)
        else:
            src = {"o_quantise": "o", "down_quantise": "f"}[phase.name]
            requantise(lo, phase.name, src, f"{src}q")


#: The norm before a linear phase, where there is one.
_NORM = {"qkv": "attn_norm", "gate_up": "mlp_norm"}

#: Linear phases of a layer: input buffer, and what follows the product (None: SwiGLU).
_LINEAR: dict[str, tuple[str, Epilogue | None]] = {
    "qkv": ("h", qkv_end),
    "o": ("o", residual),
    "gate_up": ("h", None),
    "down": ("f", residual),
}
