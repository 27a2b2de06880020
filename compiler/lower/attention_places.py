"""Which items a tile takes, one after the other: by number, in rounds that go back and forth."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit import Reg
from compiler.lower.attention_items import item_rows, rows_of, segments_end
from compiler.lower.context import Lowering


@dataclass(frozen=True)
class Place:
    """A place in the tile's work, in registers: an item by its number in a segment.

    ``index`` is twice that number, plus 1 in every second round over the tiles: rounds go back and
    forth, since later items see more pages, and so tiles get as many.
    """

    segment: Reg
    index: Reg


def seek(lo: Lowering, place: Place) -> None:
    """Move on to the segment that has the item; beyond the last if none has."""
    code, config = lo.code, lo.plan.config
    top, out = code.label("seek"), code.label("found")
    code.place(top)
    with code.scope():
        code.emit("bge", ra=place.segment, b=segments_end(lo), target=out)
    with code.scope():
        _, items = rows_of(lo, place.segment)
        with code.scope():
            most = item_rows(lo)
            code.alu("add", items, items, most)
            code.alu("add", items, items, -1)
            code.alu("divu", items, items, most)
        code.alu("mul", items, items, 2 * config.kv_heads)
        code.emit("blt", ra=place.index, b=items, target=out)
        code.alu("sub", place.index, place.index, items)
    code.alu("add", place.segment, place.segment, 1)
    code.emit("jmp", target=top)
    code.place(out)


def next_place(lo: Lowering, place: Place) -> None:
    """The tile's item of the next round: tile t of T has items t, 2T - 1 - t, 2T + t and so on."""
    code, tiles = lo.code, lo.plan.chip.num_tiles
    back, done = code.label("back"), code.label("next")
    with code.scope():
        ahead = code.calc("mul", lo.tile, 4)
        with code.scope():
            code.emit("beq", ra=code.calc("and", place.index, 1), b=0, target=back)
        code.alu("add", place.index, place.index, ahead)
        code.alu("add", place.index, place.index, 1)
        code.emit("jmp", target=done)
        code.place(back)
        code.alu("sub", place.index, place.index, ahead)
        code.alu("add", place.index, place.index, 4 * tiles - 1)
        code.place(done)
    seek(lo, place)
