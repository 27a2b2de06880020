"""Attention of one row of a sequence: what decode is made of, with as little control as possible.

Written for arrays with columns for two pages: two are multiplied at once where both are full, a
*span*. All pages but the last are seen as a whole, so none needs bounds. Both products of a turn,
the next span's scores and this one's values, are queued before either is read out, since what is
read out waits until all products are out of the array. What pages give lies in areas of the slots
that they came in, so that no two are in each other's way. And an item's last page waits with the
first scores of the next item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.buffers import partial_bytes
from compiler.emit import ZERO, Desc, Label, Reg, Scaled, Value
from compiler.hbm import PAGE
from compiler.lower.attention_items import (
    COUNT,
    POSITION,
    group_of,
    parity_offset,
    segment_word,
    segments_end,
)
from compiler.lower.attention_pages import await_pages, free_pages, own_in_place, page_view
from compiler.lower.attention_places import Place, next_by_number
from compiler.lower.attention_products import gemm
from compiler.lower.context import Lowering, Plan
from compiler.lower.kv import kv_format, page_bytes
from compiler.lower.tokens import MXU, VPU
from isa.descriptor import Descriptor, Space
from isa.formats import Format

Loader = Callable[[], None]


def takes_rows(plan: Plan) -> bool:
    """Whether items of one row are attended to here: where two pages can be multiplied at once.

    Half of the slots hold the pages of a turn. Areas need the room of one parity of two of what
    pages give, since an item is finished in the other. With a window pages would need bounds.
    """
    config, tile = plan.config, plan.tile
    group = config.heads // config.kv_heads
    wide = plan.chip.tile.mxu.columns >= 2 * PAGE and tile.page_slots >= 8
    return wide and not any(config.windows) and tile.page_slots * group <= tile.attend_rows


CARRIED = 2  #: in the flags: the first scores of an item were queued with the item before


@dataclass(frozen=True)
class Row:
    """An item: its row's position, and the number by whose parity its query takes turns."""

    position: Reg
    turn: Reg


class RowPages:
    """Writes the code for all pages of an item of one row."""

    def __init__(self, lo: Lowering, row: Row, used: Reg, block: Reg) -> None:
        """`used` is the offset of the slot to multiply next, `block` the page that is in it."""
        self.lo, self.row, self.used, self.block = lo, row, used, block
        self.group, self.dim = group_of(lo), lo.plan.config.head_dim

    def write(self, end: Reg, load: Loader, place: Place, flags: Reg) -> None:
        """`block` becomes `end`; `load` writes the loading of a page into the slot at `used`.

        `place` is the item's; in `flags` CARRIED is taken out, and put in if the next item's
        first scores have been queued: then `place` is that item's already.
        """
        code, block = self.lo.code, self.block
        one, two, last = code.label("one_page"), code.label("two_pages"), code.label("last_page")
        self._first(one, two, flags)
        code.place(one)
        code.emit("bge", ra=block, b=end, target=last)
        alone = code.label("one_alone")
        self._unless_two(1, alone)
        self._turn(1, 2, load)
        code.emit("jmp", target=two)
        code.place(alone)
        self._turn(1, 1, load)
        code.emit("jmp", target=one)
        code.place(two)
        alone = code.label("two_alone")
        self._unless_two(2, alone)
        self._turn(2, 2, load)
        code.emit("jmp", target=two)
        code.place(alone)
        self._turn(2, 1, load)
        code.emit("jmp", target=one)
        code.place(last)
        self._last(place, flags)
        load()

    def _first(self, one: Label, two: Label, flags: Reg) -> None:
        """The scores of the first pages, unless they were carried; then on to `one` or `two`."""
        code, block, begun = self.lo.code, self.block, self.lo.code.label("begun")
        with code.scope():
            code.emit("bne", ra=code.calc("and", flags, CARRIED), b=0, target=begun)
        self._wait_for_query()
        alone = code.label("first_alone")
        self._unless_two(0, alone)
        self._scores(2)
        code.alu("add", block, block, 2)
        code.emit("jmp", target=two)
        code.place(alone)
        self._scores(1)
        code.alu("add", block, block, 1)
        code.emit("jmp", target=one)
        code.place(begun)
        code.alu("sub", flags, flags, CARRIED)
        alone = code.label("begun_alone")
        self._unless_two(0, alone)
        code.alu("add", block, block, 2)
        code.emit("jmp", target=two)
        code.place(alone)
        code.alu("add", block, block, 1)

    def _last(self, place: Place, flags: Reg) -> None:
        """The last page's values; with the first scores of the next item, if that is a row too."""
        lo, code = self.lo, self.lo.code
        none, done = code.label("not_carried"), code.label("values_end")
        with code.scope():
            after = Place(code.reg(place.segment), code.reg(place.index))
            next_by_number(lo, after, none)
            with code.scope():
                code.emit("bge", ra=after.segment, b=segments_end(lo), target=none)
            with code.scope():
                code.emit("bne", ra=segment_word(lo, after.segment, COUNT), b=1, target=none)
            position = segment_word(lo, after.segment, POSITION)
            following = RowPages(lo, Row(position, after.index), self.used, ZERO)
            code.alu("or", flags, flags, CARRIED)
            code.set(place.segment, after.segment)
            code.set(place.index, after.index)
            following._wait_for_query()
            alone = code.label("carried_alone")
            following._unless_two(1, alone)
            self._products(1, following, 2, last=True)
            code.emit("jmp", target=done)
            code.place(alone)
            self._products(1, following, 1, last=True)
        code.emit("jmp", target=done)
        code.place(none)
        self._products(1, None, 0, last=True)
        code.place(done)

    def _turn(self, pages: int, following: int, load: Loader) -> None:
        """Values of `pages` pages; scores of those behind them, of which `block` is the first."""
        code = self.lo.code
        self._products(pages, self, following)
        with code.loop(pages):
            load()
        code.alu("add", self.block, self.block, following)

    def _products(
        self, pages: int, other: RowPages | None, following: int, last: bool = False
    ) -> None:
        """Values of `pages` pages, and scores of the `following` ones, which may be another's."""
        if other is not None:
            other._multiply_keys(pages, following)
        self._multiply_values(pages, last)
        if other is not None:
            other._read_scores(pages, following)
        self._read_values(pages)
        for page in range(pages):
            self._fold(page, pages)

    def _scores(self, pages: int) -> None:
        """The item's first pages."""
        self._multiply_keys(0, pages)
        self._read_scores(0, pages)

    def _wait_for_query(self) -> None:
        self.lo.code.wait(MXU, self.lo.tokens.q_full)
        self.lo.code.wait(VPU, self.lo.tokens.bounds_full)

    def _unless_two(self, ahead: int, target: Label) -> None:
        """Branch unless `block`, `ahead` slots on, and the page behind it are full and a span."""
        code = self.lo.code
        with code.scope():
            number = self._number(ahead)
            code.emit("bne", ra=code.alu("and", number, number, 1), b=0, target=target)
        with code.scope():
            full = code.calc("shr", self.row.position, 7)
            code.emit("blt", ra=full, b=self.block + 2, target=target)

    # -- places --------------------------------------------------------------------------------

    def _slot(self, ahead: int) -> Reg:
        """A new register: offset of a slot some slots on."""
        code, lo = self.lo.code, self.lo
        end = lo.plan.tile.page_slots * page_bytes(lo)
        slot = code.calc("add", self.used, ahead * page_bytes(lo))
        if ahead:
            with code.unless("lt", slot, end):
                code.alu("add", slot, slot, -end)
        return slot

    def _number(self, ahead: int) -> Reg:
        """A new register: number of a slot some slots on."""
        number = self._slot(ahead)
        return self.lo.code.alu("divu", number, number, page_bytes(self.lo))

    def _area(self, name: str, fmt: Format, ahead: int, rows: int, keys: Value) -> Desc:
        """[rows, keys]: scores or probabilities of pages in slots from one on."""
        code, size = self.lo.code, 4 if fmt is Format.FP32 else 2
        place = self.lo.tsram(name, fmt, (rows, PAGE))
        tensor = self._at(place, ahead, self.group * PAGE * size)
        if keys != PAGE:
            code.emit("dset", dst=tensor, field="dim1", b=keys)
        return tensor

    def _at(self, place: Descriptor, ahead: int, nbytes: int) -> Desc:
        """A tensor, `nbytes` further on for each slot."""
        code = self.lo.code
        tensor = code.desc()
        with code.scope():
            offset = ("base", Scaled(self._number(ahead), nbytes))
            return code.fill(tensor, place, offset)

    def _partial(self, ahead: int, rows: int, first: int, columns: int) -> Desc:
        """Columns of the results [rows, o | l | m] of pages in slots from one on."""
        stride, base = partial_bytes(self.lo.plan.config), self.lo.plan.tile.attend_rows
        place = Descriptor(
            Space.TSRAM,
            Format.FP32,
            (rows, columns),
            (stride // 4, 1),
            self.lo.plan.tile.at["partial"] + base * stride + 4 * first,
        )
        return self._at(place, ahead, self.group * stride)

    def _sum(self, first: int, columns: int) -> Desc:
        """Columns of the sum of the pages so far."""
        stride = partial_bytes(self.lo.plan.config)
        place = self.lo.tsram("partial", Format.FP32, (self.group, columns), (stride // 4, 1))
        return self.lo.code.tensor(place, ("base", 4 * first))

    def _keys(self, pages: int) -> Value:
        """Keys of a page that `block` is: all, if two are taken at once."""
        return PAGE if pages > 1 else self._seen()

    def _seen(self, back: int = 0) -> Reg:
        """A new register: keys of the page `back` in front of `block` that the row sees."""
        code = self.lo.code
        keys = code.calc("shl", self.block, 7)
        code.alu("sub", keys, self.row.position, keys)
        code.alu("add", keys, keys, 1 + back * PAGE)
        return code.alu("min", keys, keys, PAGE)

    # -- scores --------------------------------------------------------------------------------

    def _multiply_keys(self, ahead: int, pages: int) -> None:
        """Queue on the MXU: q * k^T."""
        lo, code = self.lo, self.lo.code
        await_pages(lo, "k", own_in_place(lo), pages)
        with code.scope():
            acc = code.tensor(lo.acc(self.group, pages * PAGE))
            stored = code.tensor(page_view(lo, "k", pages * PAGE), ("base", self._slot(ahead)))
            if pages == 1:
                keys = self._keys(pages)
                code.emit("dset", dst=acc, field="dim1", b=keys)
                code.emit("dset", dst=stored, field="dim0", b=keys)
            q = code.tensor(lo.tsram("q", Format.BF16, (self.group, self.dim)))
            nbytes = lo.plan.tile.attend_rows * self.dim * 2
            offset = parity_offset(lo, self.row.turn, nbytes)
            code.emit("dadd", dst=q, field="base", b=offset)
            gemm(lo, acc=acc, a=q, w=stored)

    def _read_scores(self, ahead: int, pages: int) -> None:
        """scores = q * k^T * L/sqrt(d), page by page; then m, l and p = exp2(s - m) of all."""
        lo, code, tokens = self.lo, self.lo.code, self.lo.tokens
        rows = pages * self.group
        with code.scope():
            keys = self._keys(pages)
            scores = self._area("scores", Format.FP32, ahead, rows, keys)
            factor = lo.tsram("score_scale", Format.FP32, (self.group, 1), (0, 0))
            scale = code.tensor(factor)
            acc = lo.acc(self.group, PAGE)
            wide = Descriptor(acc.space, acc.format, acc.shape, (pages * PAGE, 1), acc.base)
            for page in range(pages):
                with code.scope():
                    dst = self._area("scores", Format.FP32, ahead, self.group, keys)
                    code.emit("dadd", dst=dst, field="base", b=page * self.group * PAGE * 4)
                    src = code.tensor(wide, ("base", 4 * page * PAGE))
                    if pages == 1:
                        code.emit("dset", dst=src, field="dim1", b=keys)
                    code.emit("readout", dst=dst, acc=src, row=scale)
            code.signal(MXU, tokens.s_full)
            free_pages(lo, "k", own_in_place(lo), pages)
            code.wait(VPU, tokens.s_full)
            self._softmax(ahead, rows, scores, keys)
        code.signal(VPU, tokens.p_full)

    def _softmax(self, ahead: int, rows: int, scores: Desc, keys: Value) -> None:
        code = self.lo.code
        peak = self._partial(ahead, rows, self.dim + 1, 1)
        code.emit("vrmax", dst=peak, src=scores)
        total = self._partial(ahead, rows, self.dim, 1)
        probs = self._area("probs", Format.BF16, ahead, rows, keys)
        code.emit("vexp2sum", dst=probs, total=total, a=scores, b=peak)

    # -- values --------------------------------------------------------------------------------

    def _multiply_values(self, pages: int, last: bool) -> None:
        """Queue on the MXU: p * v, page by page."""
        lo, code, tokens = self.lo, self.lo.code, self.lo.tokens
        await_pages(lo, "v", own_in_place(lo), pages)
        code.wait(MXU, tokens.p_full)
        for page in range(pages):
            with code.scope():
                keys = self._seen(1) if last else PAGE
                probs = self._area("probs", Format.BF16, 0, self.group, keys)
                code.emit("dadd", dst=probs, field="base", b=page * self.group * PAGE * 2)
                stored = Descriptor(
                    Space.TSRAM,
                    kv_format(lo),
                    (self.dim, PAGE),
                    (1, self.dim),
                    lo.plan.tile.at["v_block"] + page * page_bytes(lo),
                )
                v = code.tensor(stored, ("base", self.used))
                if last:
                    code.emit("dset", dst=v, field="dim1", b=keys)
                gemm(lo, acc=code.tensor(self._outputs(self.group, page)), a=probs, w=v)

    def _outputs(self, rows: int, page: int = 0) -> Descriptor:
        behind = self.lo.plan.tile.attend_rows * PAGE * 4
        return self.lo.acc(rows, self.dim, behind + page * self.group * self.dim * 4)

    def _read_values(self, pages: int) -> None:
        """o of pages, before the fold."""
        code, tokens, rows = self.lo.code, self.lo.tokens, pages * self.group
        with code.scope():
            acc = code.tensor(self._outputs(rows))
            code.emit("readout", dst=self._partial(0, rows, 0, self.dim), acc=acc)
        code.signal(MXU, tokens.o_full)
        free_pages(self.lo, "v", own_in_place(self.lo), pages)
        code.wait(VPU, tokens.o_full)

    # -- fold ----------------------------------------------------------------------------------

    def _fold(self, page: int, pages: int) -> None:
        """m, l, o of the pages so far take in a page; of the first they are copies."""
        code = self.lo.code
        if page:
            self._take_in(page)
            return
        later, done = code.label("later_page"), code.label("folded")
        code.emit("bne", ra=self.block, b=pages, target=later)
        with code.scope():
            columns = self.dim + 2
            src = self._partial(0, self.group, 0, columns)
            code.emit("vcopy", dst=self._sum(0, columns), a=src)
        code.emit("jmp", target=done)
        code.place(later)
        self._take_in(0)
        code.place(done)

    def _take_in(self, page: int) -> None:
        """One factor for either side of each row: see `attention_fold`."""
        lo, code, dim, group = self.lo, self.lo.code, self.dim, self.group
        rows = lo.plan.tile.attend_rows
        with code.scope():
            old = self._sum(dim + 1, 1)
            new = self._partial(page, group, dim + 1, 1)
            peak = code.tensor(lo.tsram("m_new", Format.FP32, (group, 1)))
            code.emit("vmax", dst=peak, a=old, b=new)
            c = code.tensor(lo.tsram("rescale", Format.FP32, (group, 1)))
            c_b = code.tensor(lo.tsram("rescale", Format.FP32, (group, 1)), ("base", 4 * rows))
            code.emit("vsub", dst=c, a=old, b=peak)
            code.emit("vsub", dst=c_b, a=new, b=peak)
            factors = lo.tsram("rescale", Format.FP32, (2, group, 1), (rows, 1, 1))
            both = code.tensor(factors)
            code.emit("vexp2", dst=both, a=both)
            code.emit("vcopy", dst=old, a=peak)
        with code.scope():
            total, own = self._sum(0, dim + 1), self._partial(page, group, 0, dim + 1)
            spread = lo.tsram("rescale", Format.FP32, (group, dim + 1), (1, 0))
            c, c_b = code.tensor(spread), code.tensor(spread, ("base", 4 * rows))
            code.emit("vmuladd2", dst=total, a=total, b=c, c=own, e=c_b)
