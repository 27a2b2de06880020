"""Which items a tile takes, one after the other.

In general by number, in rounds over all tiles that go back and forth. But where all rows are one
sequence's in several row groups, half of a tile's items are of its own group and half of the group
that mirrors it: later groups see more pages, so tiles get as many, and queries come from near.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.emit import ZERO, Label, Reg
from compiler.lower.attention_items import item_rows, rows_of, segments_end
from compiler.lower.context import Lowering
from compiler.lower.kv import crosswise

TURN, MIRRORED = 1, 2  #: in an index: every second item; items of the group that mirrors the own
SCALE = 4  #: of an item's number in an index


@dataclass(frozen=True)
class Place:
    """A place in the tile's work, in registers: an item by its number in a segment.

    ``index`` is SCALE times that number, plus TURN and MIRRORED.
    """

    segment: Reg
    index: Reg


def first_place(lo: Lowering) -> Place:
    """New registers: the tile's first item."""
    code = lo.code
    place = Place(code.reg(0), _first_number(lo))
    code.alu("mul", place.index, place.index, SCALE)
    alone, found = code.label("one_sequence"), code.label("first_place")
    _if_alone(lo, alone)
    seek(lo, place)
    if lo.most_groups > 1:
        code.emit("jmp", target=found)
        code.place(alone)
        with code.scope():
            group, lane = lo.place()
            code.set(place.segment, group)
            code.alu("mul", place.index, lane, SCALE)
        _seek_alone(lo, place)
        code.place(found)
    return place


def next_place(lo: Lowering, place: Place) -> None:
    """The tile's next item."""
    code = lo.code
    alone, done = code.label("one_sequence"), code.label("next")
    next_by_number(lo, place, alone)
    if lo.most_groups > 1:
        code.emit("jmp", target=done)
        code.place(alone)
        code.alu("xor", place.index, place.index, TURN)
        _advance_alone(lo, place)
        _seek_alone(lo, place)
        code.place(done)


def next_by_number(lo: Lowering, place: Place, alone: Label) -> None:
    """The same in general (see `_first_number`, `_behind`).

    Branches to `alone` if all rows are one sequence's in several row groups.
    """
    code, tiles = lo.code, lo.plan.chip.num_tiles
    back, moved = code.label("back"), code.label("moved")
    _if_alone(lo, alone)
    with code.scope():
        behind = _behind(lo)
        with code.scope():
            code.emit("beq", ra=code.calc("and", place.index, TURN), b=0, target=back)
        code.alu("add", place.index, place.index, behind)
        code.alu("add", place.index, place.index, -TURN)
        code.emit("jmp", target=moved)
        code.place(back)
        code.alu("sub", place.index, place.index, behind)
        code.alu("add", place.index, place.index, SCALE * 2 * tiles + TURN)
        code.place(moved)
    seek(lo, place)


def _first_number(lo: Lowering) -> Reg:
    """A new register: the number of the tile's first item in general.

    In one row group neighbours are in different clusters. So a KV head's items are in the cluster
    that has its resident pages, where the heads are a multiple of the clusters. With several, they
    are next to each other: queries come from the cluster of their row group.
    """
    number = lo.code.reg(lo.tile)
    with _one_group(lo):
        crosswise(lo, number)
    return number


def _behind(lo: Lowering) -> Reg:
    """A new register: SCALE times b, so that of T tiles a second item is 2T - b behind the first.

    And the third is b behind that, and so on: later items take longer, and tiles get as many. Tile
    t has items t, 2T - 1 - t, 2T + t. In one row group clusters do not change places: tile j of
    cluster c of C has items j C + c, 2T - (j + 1) C + c, 2T + j C + c.
    """
    code, chip = lo.code, lo.plan.chip
    behind = code.calc("mul", lo.tile, 2 * SCALE)
    code.alu("add", behind, behind, SCALE)
    with _one_group(lo):
        code.alu("remu", behind, lo.tile, chip.tiles_per_cluster)
        code.alu("mul", behind, behind, 2 * SCALE * chip.clusters)
        code.alu("add", behind, behind, SCALE * chip.clusters)
    return behind


@contextmanager
def _one_group(lo: Lowering) -> Iterator[None]:
    """What is done in steps of one row group only."""
    if lo.most_groups == 1:
        yield
        return
    with lo.code.unless("ne", lo.groups, 1):
        yield


def seek(lo: Lowering, place: Place) -> None:
    """Move on to the segment that has the item; beyond the last if none has."""
    code = lo.code
    top, out = code.label("seek"), code.label("found")
    code.place(top)
    with code.scope():
        code.emit("bge", ra=place.segment, b=segments_end(lo), target=out)
    with code.scope():
        items = _items(lo, place.segment)
        code.emit("blt", ra=place.index, b=items, target=out)
        code.alu("sub", place.index, place.index, items)
    code.alu("add", place.segment, place.segment, 1)
    code.emit("jmp", target=top)
    code.place(out)


def _items(lo: Lowering, segment: Reg) -> Reg:
    """A new register (and another): SCALE times the items of a segment in its row group."""
    code = lo.code
    _, items = rows_of(lo, segment)
    with code.scope():
        most = item_rows(lo)
        code.alu("add", items, items, most)
        code.alu("add", items, items, -1)
        code.alu("divu", items, items, most)
    return code.alu("mul", items, items, SCALE * lo.plan.config.kv_heads)


# -- one sequence in several row groups ------------------------------------------------------------


def _if_alone(lo: Lowering, target: Label) -> None:
    """Branch if all rows are one sequence's in several row groups: segments are groups then."""
    if lo.most_groups > 1:
        several = lo.code.label("several_sequences")
        lo.code.emit("beq", ra=lo.groups, b=1, target=several)
        lo.code.emit("beq", ra=lo.segments, b=1, target=target)
        lo.code.place(several)


def _advance_alone(lo: Lowering, place: Place) -> None:
    """From lane l's item of 2L in its own group to 2L - 1 - l in the mirroring one, and back."""
    code = lo.code
    own, done = code.label("own_group"), code.label("advanced")
    with code.scope():
        group, lane = lo.place()
        code.alu("mul", lane, lane, 2 * SCALE)
        with code.scope():
            mirrored = code.calc("and", place.index, MIRRORED)
            code.emit("bne", ra=mirrored, b=0, target=own)
        with code.scope():
            lanes = lo.lanes()
            code.alu("mul", lanes, lanes, 2 * SCALE)
            code.alu("sub", lanes, lanes, lane)
            code.alu("add", place.index, place.index, lanes)
        code.alu("add", place.index, place.index, MIRRORED - SCALE)
        code.alu("sub", place.segment, lo.groups, group)
        code.alu("add", place.segment, place.segment, -1)
        code.emit("jmp", target=done)
        code.place(own)
        code.alu("add", place.index, place.index, lane)
        code.alu("add", place.index, place.index, SCALE - MIRRORED)
        code.set(place.segment, group)
        code.place(done)


def _seek_alone(lo: Lowering, place: Place) -> None:
    """Move on to the next item that there is; beyond the last segment if there is none.

    No group has more rows than the first.
    """
    code = lo.code
    top, missing, found = code.label("seek_alone"), code.label("missing"), code.label("found_alone")
    code.place(top)
    with code.scope():
        code.emit("blt", ra=place.index, b=_items(lo, place.segment), target=found)
    with code.scope():
        end = _items(lo, ZERO)
        with code.scope():
            lanes = lo.lanes()
            code.alu("mul", lanes, lanes, 2 * SCALE)
            code.alu("add", end, end, lanes)
        code.emit("blt", ra=place.index, b=end, target=missing)
    code.set(place.segment, lo.groups)
    code.emit("jmp", target=found)
    code.place(missing)
    _advance_alone(lo, place)
    code.emit("jmp", target=top)
    code.place(found)
