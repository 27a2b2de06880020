"""The end of a step, for the rows that want logits: lm_head, top-k on every tile, sampling.

Each tile keeps the logits of its vocabulary columns, takes their top k, and shares the candidates;
then one tile per row merges them and draws: p = exp2((l - max) * L/T), running sums in rank order,
the first above u * total. With one candidate that is greedy.

Where a tile has no room for the logits of all of its columns, they come in parts: of each it shares
k candidates before the next. Lists of candidates are in ascending order of their columns, so that
ties go to the lowest token however many there are.
"""

from __future__ import annotations

from compiler.emit import Label, Reg, Scaled
from compiler.hbm import WANTED_WORDS
from compiler.lower.context import Lowering
from compiler.lower.cutting import own_panels
from compiler.lower.linear import product
from compiler.lower.readout import stage
from compiler.lower.tokens import IN, OUT, VPU
from compiler.lower.turns import Block, Linear
from isa.descriptor import PANEL_COLUMNS, Descriptor
from isa.formats import Format

MINUS_INFINITY = float("-inf")


def lm_head(lo: Lowering, name: str) -> None:
    """logits of this tile's columns, their top k, and both out."""
    work = Linear(lo.plan.hbm.matrices["lm_head"], lo.plan.buffers.rows["hw"], None)
    with lo.phase(name):
        if lo.plan.tile.head.parts > 1:
            product(lo, work, _keep_part)
        else:
            _all_at_once(lo, work)


def _all_at_once(lo: Lowering, work: Linear) -> None:
    code, tokens, rankings = lo.code, lo.tokens, lo.plan.tile.head.rankings
    code.wait(VPU, tokens.out_free)
    _fill(lo)
    product(lo, work, _keep)
    begin, stop = own_panels(lo, work.matrix, alone=True)
    with code.scope():
        last = _last_block(lo, begin, stop) if rankings > 1 else begin
        _rank(lo, (begin, last, stop), rankings - 1)
    code.signal(VPU, tokens.out_full)
    code.wait(OUT, tokens.out_full)
    _send_logits(lo, begin, stop)
    _send_candidates(lo, None)
    code.signal(OUT, tokens.out_free)


def _logits(lo: Lowering, columns: int = 1) -> Descriptor:
    wide = lo.plan.tile.head.columns
    return lo.tsram("logits", Format.FP32, (1, columns), (wide, 1))


def _fill(lo: Lowering) -> None:
    """-Inf in the first k columns: a tile may have fewer columns than candidates to name."""
    code, k = lo.code, lo.plan.capacity.top_k
    with code.scope():
        wide = lo.plan.tile.head.columns
        counted = lo.tsram("logits", Format.I32, (1, k), (wide, 1))
        numbers = code.tensor(_logits(lo, k), dim0=lo.wanted)
        code.emit("viota", dst=code.tensor(counted, dim0=lo.wanted), start=0)
        code.emit("vcvt", dst=numbers, a=code.tensor(counted, dim0=lo.wanted))
        code.emit("vmul", dst=numbers, a=numbers, b=0.0)
        code.emit("vadd", dst=numbers, a=numbers, b=MINUS_INFINITY)


def _keep(lo: Lowering, work: Linear, block: Block) -> None:
    """Copy a block's meaningful columns to this tile's logits."""
    code = lo.code
    with code.scope():
        left = _meant(lo, block)
        offset, _ = own_panels(lo, work.matrix, alone=True)
        _copy(lo, block, left, code.alu("sub", offset, block.first, offset))
    if lo.plan.tile.head.rankings > 1:
        _rank_most(lo, work, block)


def _meant(lo: Lowering, block: Block) -> Reg:
    """A new register: a block's meaningful columns."""
    code, left = lo.code, _columns(lo, block.first)
    with code.scope():
        columns = code.calc("mul", block.panels, PANEL_COLUMNS)
        return code.alu("min", left, left, columns)


def _copy(lo: Lowering, block: Block, left: Reg, offset: Reg) -> None:
    """Copy a block's `left` columns to the logits, behind `offset` panels (changed)."""
    code, wide = lo.code, lo.plan.tile.head.columns
    code.alu("mul", offset, offset, 4 * PANEL_COLUMNS)
    down = ("base", Scaled(block.row, 4 * wide))
    dst = code.tensor(_logits(lo), ("base", offset), down, dim0=block.rows, dim1=left)
    code.emit("vcopy", dst=dst, a=stage(lo, block, left))


def _keep_part(lo: Lowering, work: Linear, block: Block) -> None:
    """Copy a block's columns to the logits; with a part's last, rank them, and send both."""
    code, tokens = lo.code, lo.tokens
    begin, stop = own_panels(lo, work.matrix, alone=True)
    with code.scope():
        number, offset = _part_of(lo, block, begin)
        with code.scope():
            earlier = code.calc("add", offset, block.row)
            with code.unless("ne", earlier, 0):
                code.wait(VPU, tokens.out_free)
        with code.scope():
            _copy(lo, block, _meant(lo, block), code.reg(offset))
        more = code.label("more_of_the_part")
        _unless_last(lo, block, (number, offset, stop), more)
        first = code.alu("sub", offset, block.first, offset)
        code.alu("add", stop, block.first, block.panels)
        _rank(lo, (first, first, stop), 0)
        code.signal(VPU, tokens.out_full)
        code.wait(OUT, tokens.out_full)
        _send_logits(lo, first, stop)
        _send_candidates(lo, number)
        code.signal(OUT, tokens.out_free)
        code.place(more)


def _part_of(lo: Lowering, block: Block, begin: Reg) -> tuple[Reg, Reg]:
    """New registers: the part of a block, and how many of its panels come before the block."""
    code, head = lo.code, lo.plan.tile.head
    offset = code.calc("sub", block.first, begin)
    number = code.calc("divu", offset, head.part_panels)
    code.alu("min", number, number, head.parts - 1)
    with code.scope():
        code.alu("sub", offset, offset, code.calc("mul", number, head.part_panels))
    return number, offset


def _unless_last(lo: Lowering, block: Block, at: tuple[Reg, Reg, Reg], more: Label) -> None:
    """Branch if a part has more to come: other rows, or other panels.

    `at`: the part, the panels before the block, and one past the tile's last.
    """
    code, head, (number, offset, stop) = lo.code, lo.plan.tile.head, at
    last = code.label("last_of_the_part")
    with code.scope():
        end = code.calc("add", block.row, block.rows)
        code.emit("blt", ra=end, b=lo.wanted, target=more)
        code.alu("add", end, block.first, block.panels)
        code.emit("beq", ra=end, b=stop, target=last)
        code.emit("beq", ra=number, b=head.parts - 1, target=more)
        code.alu("add", end, offset, block.panels)
        code.emit("blt", ra=end, b=head.part_panels, target=more)
    code.place(last)


def _last_block(lo: Lowering, begin: Reg, stop: Reg) -> Reg:
    """A new register: first panel of this tile's last block."""
    code, wide = lo.code, lo.plan.tile.head.panels
    last = code.calc("sub", stop, begin)
    code.alu("add", last, last, -1)
    code.alu("divu", last, last, wide)
    code.alu("mul", last, last, wide)
    return code.alu("add", last, last, begin)


def _rank_most(lo: Lowering, work: Linear, block: Block) -> None:
    """With the last part of the last block but one: rank what there is while the last comes."""
    code, other = lo.code, lo.code.label("not_yet")
    with code.scope():
        row = code.calc("add", block.row, block.rows)
        code.emit("blt", ra=row, b=lo.wanted, target=other)
        begin, stop = own_panels(lo, work.matrix, alone=True)
        last = _last_block(lo, begin, stop)
        code.alu("add", row, block.first, block.panels)
        code.emit("bne", ra=row, b=last, target=other)
        _rank(lo, (begin, begin, last), 0)
    code.place(other)


def _columns(lo: Lowering, first: Reg) -> Reg:
    """A new register: vocabulary columns from panel `first` on."""
    code = lo.code
    left = code.reg(lo.plan.config.vocab)
    with code.scope():
        before = code.calc("mul", first, PANEL_COLUMNS)
        code.alu("sub", left, left, before)
    return code.alu("max", left, left, 0)


def _own_columns(lo: Lowering, begin: Reg, stop: Reg) -> Reg:
    """A new register: this tile's vocabulary columns."""
    code = lo.code
    left = _columns(lo, begin)
    with code.scope():
        width = code.calc("sub", stop, begin)
        code.alu("max", width, width, 0)
        code.alu("mul", width, width, PANEL_COLUMNS)
        return code.alu("min", left, left, width)


def _rank(lo: Lowering, panels: tuple[Reg, Reg, Reg], number: int) -> None:
    """top_values, top_ids = the k largest of some of this tile's logits, in a part of its places.

    `panels`: the tile's first, the first to rank, and one past the last; `number`: of the part.
    """
    code, tile, k = lo.code, lo.plan.tile, lo.plan.capacity.top_k
    begin, first, stop = panels
    with code.scope():
        width = _own_columns(lo, first, stop)
        code.alu("max", width, width, k)
        offset = code.calc("mul", first, PANEL_COLUMNS)
        places = []
        for name, fmt in (("top_values", Format.FP32), ("top_ids", Format.I32)):
            place = lo.tsram(name, fmt, (1, k), (tile.head.lists * k, 1))
            places.append(code.tensor(place, ("base", 4 * k * number), dim0=lo.wanted))
        src = code.tensor(_logits(lo), dim0=lo.wanted, dim1=width)
        with code.scope():
            before = code.calc("sub", first, begin)
            code.alu("mul", before, before, 4 * PANEL_COLUMNS)
            code.emit("dadd", dst=src, field="base", b=before)
        code.emit("vtopk", values=places[0], indices=places[1], src=src, offset=offset)


def _send_logits(lo: Lowering, begin: Reg, stop: Reg) -> None:
    code, vocab = lo.code, lo.plan.config.vocab
    with code.scope():
        width = _own_columns(lo, begin, stop)
        offset = code.calc("mul", begin, 4 * PANEL_COLUMNS)
        rows = lo.hbm("logits", Format.FP32, (lo.plan.capacity.wanted, vocab))
        dst = code.tensor(rows, ("base", offset), dim0=lo.wanted, dim1=width)
        src = code.tensor(_logits(lo), dim0=lo.wanted, dim1=width)
        code.emit("dma", channel=OUT, dst=dst, src=src)


def _send_candidates(lo: Lowering, part: Reg | None) -> None:
    """This tile's lists of candidates, or that of a part, to their place behind other tiles'."""
    code, head = lo.code, lo.plan.tile.head
    nbytes = 4 * lo.plan.capacity.top_k * head.lists
    for place, name in (("top_values", "cand_values"), ("top_ids", "cand_ids")):
        with code.scope():
            offset = code.calc("mul", lo.tile, nbytes * head.parts)
            if part is not None:
                with code.scope():
                    code.alu("add", offset, offset, code.calc("mul", part, nbytes))
            buffer = lo.plan.buffers.raw[name]
            view = buffer.view(Format.U8, 1, nbytes)
            dst = lo.target(buffer, view, None, ("base", offset), dim0=lo.wanted)
            src = code.tensor(lo.tsram(place, Format.U8, (1, nbytes)), dim0=lo.wanted)
            code.emit("dma", channel=OUT, dst=dst, src=src)


# -- sampling ------------------------------------------------------------------------------------


def sample(lo: Lowering, name: str) -> None:
    """next = one token per wanted row, drawn from the merged candidates."""
    code, tokens = lo.code, lo.tokens
    tiles = lo.plan.chip.num_tiles
    with lo.phase(name, last=True), code.stepping(lo.tile, lo.wanted, tiles) as (row, _):
        code.wait(VPU, tokens.out_free)
        _merge(lo, row)
        _draw(lo, row)
        _gather(lo, "pick_token", "pick_ids", "pick_index")
        code.signal(VPU, tokens.in_free)
        code.signal(VPU, tokens.out_full)
        code.wait(OUT, tokens.out_full)
        _send_picks(lo, row)
        code.signal(OUT, tokens.out_free)


def _merge(lo: Lowering, row: Reg) -> None:
    """pick_values, pick_ids = the k best candidates of all tiles, in rank order."""
    code, tokens, k = lo.code, lo.tokens, lo.plan.capacity.top_k
    candidates = lo.plan.chip.num_tiles * lo.plan.tile.head.rankings * k
    values, ids = (lo.plan.buffers.raw[name] for name in ("cand_values", "cand_ids"))
    code.wait(IN, tokens.in_free)
    with code.scope():
        offset = code.calc("mul", row, values.row_bytes)
        row_of = values.view(Format.FP32, 4, candidates)
        src = code.tensor(row_of, ("base", offset), dim0=1)
        place = lo.tsram("cand_values", Format.FP32, (1, candidates))
        code.emit("dma", channel=IN, dst=code.tensor(place), src=src)
        code.signal(IN, tokens.in_full)
        code.wait(VPU, tokens.in_full)
        code.emit(
            "vtopk",
            values=code.tensor(lo.tsram("pick_values", Format.FP32, (1, k))),
            indices=code.tensor(lo.tsram("pick_order", Format.I32, (1, k))),
            src=code.tensor(place),
        )
    _wait_for_vector(lo)
    with code.scope():
        offset = code.calc("mul", row, ids.row_bytes)
        owner = ids.view(Format.I32, 4, 1)
        column = Descriptor(owner.space, Format.I32, (candidates, 1), (1, 1), owner.base)
        src = code.tensor(column, ("base", offset))
        dst = code.tensor(lo.tsram("pick_ids", Format.I32, (k, 1)))
        index = code.tensor(lo.tsram("pick_order", Format.I32, (k,)))
        code.emit("dmag", channel=IN, dst=dst, src=src, index=index)
    code.signal(IN, tokens.in_full)
    code.wait(VPU, tokens.in_full)


def _wait_for_vector(lo: Lowering) -> None:
    lo.code.signal(VPU, lo.tokens.vector_to_in)
    lo.code.wait(IN, lo.tokens.vector_to_in)


def _draw(lo: Lowering, row: Reg) -> None:
    """pick_index = rank of the drawn candidate."""
    code = lo.code
    with code.scope():
        entry = code.calc("mul", row, WANTED_WORDS)
        kept = code.reg()
        words = lo.tsram("wanted", Format.I32, (WANTED_WORDS * lo.plan.capacity.wanted,))
        code.emit("ld", rd=kept, src=code.tensor(words), index=entry + 3)
        code.alu("min", kept, kept, lo.plan.capacity.top_k)
        code.alu("max", kept, kept, 1)
        parameter = code.calc("mul", row, 4 * WANTED_WORDS)
        _probabilities(lo, kept, parameter)
        _threshold(lo, kept, parameter)


def _probabilities(lo: Lowering, kept: Reg, parameter: Reg) -> None:
    """pick_sum = running sums of exp2((l - max) * L/T) over the kept candidates."""
    code = lo.code
    with code.scope():
        p = code.tensor(lo.tsram("pick_p", Format.FP32, (1, 1)), dim1=kept)
        values = code.tensor(lo.tsram("pick_values", Format.FP32, (1, 1)), dim1=kept)
        best = code.tensor(lo.tsram("pick_values", Format.FP32, (1, 1), (0, 0)), dim1=kept)
        code.emit("vsub", dst=p, a=values, b=best)
        number = lo.tsram("wanted", Format.FP32, (1, 1), (0, 0))
        inverse = code.tensor(number, ("base", parameter), ("base", 4), dim1=kept)
        code.emit("vmul", dst=p, a=p, b=inverse)
        code.emit("vexp2", dst=p, a=p)
        sums = code.tensor(lo.tsram("pick_sum", Format.FP32, (1, 1)), dim1=kept)
        code.emit("vscan", dst=sums, a=p)


def _threshold(lo: Lowering, kept: Reg, parameter: Reg) -> None:
    """The first running sum above RNE(u * total), else the last."""
    code = lo.code
    with code.scope():
        last = code.calc("mul", kept, 4)
        total = code.tensor(lo.tsram("pick_sum", Format.FP32, (1, 1)), ("base", last), ("base", -4))
        number = lo.tsram("wanted", Format.FP32, (1, 1), (0, 0))
        u = code.tensor(number, ("base", parameter), ("base", 8))
        bound = code.tensor(lo.tsram("pick_threshold", Format.FP32, (1, 1)))
        code.emit("vmul", dst=bound, a=u, b=total)
        spread = code.tensor(lo.tsram("pick_threshold", Format.FP32, (1, 1), (0, 0)), dim1=kept)
        sums = code.tensor(lo.tsram("pick_sum", Format.FP32, (1, 1)), dim1=kept)
        mask = code.tensor(lo.tsram("pick_mask", Format.U8, (1, 1)), dim1=kept)
        code.emit("vcmp.gt", dst=mask, a=sums, b=spread)
        flags = code.tensor(lo.tsram("pick_flag", Format.FP32, (1, 1)), dim1=kept)
        code.emit("vcvt", dst=flags, a=mask)
        final = code.tensor(
            lo.tsram("pick_flag", Format.FP32, (1, 1)), ("base", last), ("base", -4)
        )
        code.emit("vmax", dst=final, a=final, b=1.0)
        index = code.tensor(lo.tsram("pick_index", Format.I32, (1, 1)))
        code.emit("vargmax", dst=index, src=flags)


def _gather(lo: Lowering, dst: str, src: str, index: str) -> None:
    """dst = src[index], one I32, once the VPU has made the index."""
    code, tokens, k = lo.code, lo.tokens, lo.plan.capacity.top_k
    _wait_for_vector(lo)
    with code.scope():
        code.emit(
            "dmag",
            channel=IN,
            dst=code.tensor(lo.tsram(dst, Format.I32, (1, 1))),
            src=code.tensor(lo.tsram(src, Format.I32, (k, 1))),
            index=code.tensor(lo.tsram(index, Format.I32, (1,))),
        )
    code.signal(IN, tokens.in_full)
    code.wait(VPU, tokens.in_full)


def _send_picks(lo: Lowering, row: Reg) -> None:
    """The token, and the ranked candidates, to the host's buffers."""
    code, k, wanted = lo.code, lo.plan.capacity.top_k, lo.plan.capacity.wanted
    for place, name, count in (
        ("pick_token", "next", 1),
        ("pick_values", "ranked", k),
        ("pick_ids", "ranked_ids", k),
    ):
        with code.scope():
            offset = code.calc("mul", row, 4 * count)
            rows = lo.hbm(name, Format.U8, (wanted, 4 * count))
            dst = code.tensor(rows, ("base", offset), dim0=1)
            src = code.tensor(lo.tsram(place, Format.U8, (1, 4 * count)))
            code.emit("dma", channel=OUT, dst=dst, src=src)
