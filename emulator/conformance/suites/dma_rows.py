"""Gathers and scatters of rows by index lists."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.copies import Copies, Window
from emulator.conformance.suites.dma_places import PLACES, Place, dense, open_at, strided
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format

GATHER, SCATTER = "dmag", "dmas"
_LIST: Final = 0x7000  #: where index lists lie in TSRAM
_ROWS: Final = 9
_INDICES: Final = (4, 0, _ROWS - 1, 4, 1, 0)
_RULE: Final = {GATHER: "rule:dma-gather", SCATTER: "rule:dma-scatter"}


def makers() -> list[Maker]:
    """The cases of this module."""
    out = [Maker(f"dma/dmag/{fmt.name.lower()}", partial(_formats, fmt)) for fmt in Format]
    for mnemonic in (GATHER, SCATTER):
        for number, place in enumerate(PLACES):
            name = f"dma/{mnemonic}/table-{place.name}"
            full = number % 2 == (mnemonic == GATHER)  # of each kind one half in the fast suite
            out.append(Maker(name, partial(_places, mnemonic, place, number, full), full))
        plans = {"repeats": _repeats, "strides": _strides, "lists": _lists, "empty": _empty,
                 "channels": _channels, "fan": _fan, "ends": _ends}  # fmt: skip
        out += [
            Maker(f"dma/{mnemonic}/{what}", partial(make, mnemonic)) for what, make in plans.items()
        ]
    return out


def index_list(
    c: Copies, tile: int, rows: tuple[int, ...], stride: int = 1, at: int = 0
) -> Descriptor:
    """An I32 list in a tile's memory; with a stride, other numbers lie in between."""
    content = bytearray()
    for row in rows:
        content += row.to_bytes(4, "little") + b"\x7f\xff\xff\xff" * (stride - 1)
    base = _LIST + at
    c.window(Space.TSRAM, tile, base, data=bytes(content))
    return Descriptor(Space.TSRAM, Format.I32, (len(rows),), (stride,), base)


def _sides(mnemonic: str, table: Descriptor, listed: Descriptor) -> dict[str, Any]:
    if mnemonic == GATHER:
        return {"dst": listed, "src": table}
    return {"dst": table, "src": listed}


def _places(mnemonic: str, place: Place, number: int, full: bool, chip: Chip, name: str) -> Case:
    """The table in one kind of memory, the listed rows in HBM, CSRAM and TSRAM in turn."""
    tile = number % chip.num_tiles
    c = Copies(chip, name, f"tile {tile}: rows of {place.name} by an index list")
    base = None if place.space is Space.HBM else 0x300
    table = open_at(c, place, tile, base, 256)
    index = index_list(c, tile, _INDICES)
    rows = dense(table, Format.BF16, (_ROWS, 5), 10, place.owner(chip, tile))
    for at, other in enumerate((PLACES[0], PLACES[1 + number % 3], PLACES[4 + number % 4])):
        start = None if other.space is Space.HBM else 0x1000 + 0x200 * at
        window = open_at(c, other, tile, start, 128)
        listed = dense(window, Format.BF16, (6, 5), 6, other.owner(chip, tile))
        c.do(mnemonic, tile=tile, index=index, **_sides(mnemonic, rows, listed))
    return c.case([_RULE[mnemonic], "rule:dma-spaces"], full)


def _pair(c: Copies, table: Space, listed: Space) -> tuple[Window, Window]:
    one = c.window(table, 0, None if table is Space.HBM else 0x100, 2048)
    return one, c.window(listed, 0, None if listed is Space.HBM else 0x2000, 2048)


def _formats(fmt: Format, chip: Chip, name: str) -> Case:
    """Rows of one to three dimensions of their own, and rank 1, where a row is an element."""
    c = Copies(chip, name, f"{fmt.name}: rows of every rank, gathered and scattered")
    index = index_list(c, 0, _INDICES)
    shapes: list[tuple[int, ...]] = [(4,), (3, 2), (2, 1, 4)]
    if fmt is not Format.E2M1:
        shapes.append(())
    for mnemonic in (GATHER, SCATTER):
        table = c.window(Space.HBM, size=2048)
        listed = c.window(Space.TSRAM, 0, 0x1000 if mnemonic == GATHER else 0x2000, 2048)
        for number, row in enumerate(shapes):
            at = 512 * number
            sides = _sides(
                mnemonic,
                dense(table, fmt, (_ROWS, *row), at),
                dense(listed, fmt, (len(_INDICES), *row), at),
            )
            c.do(mnemonic, index=index, site=number, **sides)
    nibbles = ["rule:dma-nibbles"] if fmt is Format.E2M1 else []
    return c.case([*_RULE.values(), *nibbles])


def _repeats(mnemonic: str, chip: Chip, name: str) -> Case:
    """The same index again and again; a scatter leaves the last row."""
    c = Copies(chip, name, "one index for all, alternating ones, all rows backwards")
    table, listed = _pair(c, Space.CSRAM, Space.HBM)
    lists = ((3,) * 8, (0, _ROWS - 1) * 4, tuple(range(_ROWS - 1, -1, -1)), (5,), (1, 2, 1, 2, 1))
    for number, rows in enumerate(lists):
        index = index_list(c, 0, rows, at=256 * number)
        sides = _sides(
            mnemonic,
            dense(table, Format.I32, (_ROWS, 3), 150 * number + 2 * (number % 2)),
            dense(listed, Format.I32, (len(rows), 3), 200 * number),
        )
        c.do(mnemonic, index=index, **sides)
    return c.case([_RULE[mnemonic]])


def _strides(mnemonic: str, chip: Chip, name: str) -> Case:
    """Gaps between rows and within them, exchanged axes; sources with stride 0."""
    c = Copies(chip, name, "strided tables and rows")
    table, listed = _pair(c, Space.TSRAM, Space.CSRAM)
    index = index_list(c, 0, _INDICES)
    plans: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        ((4,), (7, 1), (5, 1)),
        ((4,), (1, 9), (1, 6)),
        ((2, 3), (11, 1, 3), (6, 3, 1)),
        ((2, 3), (6, 3, 1), (13, 6, 2)),
    ]
    for number, (row, one, other) in enumerate(plans):
        sides = _sides(
            mnemonic,
            strided(table, Format.FP16, (_ROWS, *row), one, 400 * number),
            strided(listed, Format.FP16, (len(_INDICES), *row), other, 400 * number),
        )
        c.do(mnemonic, index=index, **sides)
    repeated = {
        GATHER: ((_ROWS, 4), (0, 1), (6, 4), (4, 1)),
        SCATTER: ((_ROWS, 4), (4, 1), (6, 4), (0, 0)),
    }[mnemonic]
    sides = _sides(
        mnemonic,
        strided(table, Format.FP16, repeated[0], repeated[1], 1700),
        strided(listed, Format.FP16, repeated[2], repeated[3], 1700),
    )
    c.do(mnemonic, index=index, **sides)
    return c.case([_RULE[mnemonic], "rule:dma-strides", "rule:dma-broadcast"])


def _lists(mnemonic: str, chip: Chip, name: str) -> Case:
    """Index lists: with a stride, with stride 0, of one element, with the owner named."""
    c = Copies(chip, name, "where the index list lies")
    table, listed = _pair(c, Space.HBM, Space.TSRAM)
    spread = index_list(c, 0, (2, 7, 0, 8), stride=3)
    single = index_list(c, 0, (6,), at=512)
    lists = [spread, replace(single, shape=(4,), strides=(0,)), replace(spread, owner=0), single]
    for number, index in enumerate(lists):
        sides = _sides(
            mnemonic,
            dense(table, Format.E5M2, (_ROWS, 7), 100 * number + 1),
            dense(listed, Format.E5M2, (index.shape[0], 7), 50 * number),
        )
        c.do(mnemonic, index=index, site=4095 - number, **sides)
    return c.case([_RULE[mnemonic], "rule:dma-index-list"])


def _empty(mnemonic: str, chip: Chip, name: str) -> Case:
    """No rows, and rows of nothing."""
    c = Copies(chip, name, "an empty list; an empty list of an empty table; rows of no elements")
    table, listed = _pair(c, Space.TSRAM, Space.HBM)
    index = index_list(c, 0, (0, 1))
    none = replace(index, shape=(0,), base=2)
    plans: list[tuple[tuple[int, ...], tuple[int, ...], Descriptor]] = [
        ((_ROWS, 4), (0, 4), none),
        ((0, 4), (0, 4), none),
        ((_ROWS, 0), (2, 0), index),
    ]
    for one, other, rows in plans:
        steps = (4, 1)  # a destination must not have a stride of 0, were it empty or not
        pair = (strided(table, Format.BF16, one, steps), strided(listed, Format.BF16, other, steps))
        c.do(mnemonic, index=rows, **_sides(mnemonic, *pair))
    last = _sides(mnemonic, dense(table, Format.U8, (3, 4)), dense(listed, Format.U8, (2, 4)))
    c.do(mnemonic, index=index, **last)
    return c.case(["rule:dma-empty"])


def _channels(mnemonic: str, chip: Chip, name: str) -> Case:
    """Every channel with a list of its own."""
    c = Copies(chip, name, "each channel of a tile")
    table, listed = _pair(c, Space.HBM, Space.CSRAM)
    for channel in range(chip.tile.dma.channels):
        index = index_list(c, 0, (channel % _ROWS, 8 - channel % _ROWS), at=64 * channel)
        sides = _sides(
            mnemonic,
            dense(table, Format.U8, (_ROWS, 11), 110 * channel),
            dense(listed, Format.U8, (2, 11), 24 * channel),
        )
        c.do(mnemonic, channel=channel, index=index, **sides)
    return c.case(["rule:dma-channels"])


def _fan(mnemonic: str, chip: Chip, name: str) -> Case:
    """A destination in several tiles and clusters."""
    c = Copies(chip, name, "rows into several owners")
    source = c.window(Space.HBM, size=512)
    tiles = [c.window(Space.TSRAM, tile, 0x100, 512) for tile in range(chip.num_tiles)]
    clusters = [c.window(Space.CSRAM, cluster, 0x80, 512) for cluster in range(chip.clusters)]
    index = index_list(c, 0, _INDICES)
    for window, count in ((tiles[0], chip.num_tiles), (clusters[0], chip.clusters)):
        shapes = {GATHER: (len(_INDICES), 8), SCATTER: (_ROWS, 8)}
        dst = replace(
            dense(window, Format.FP32, shapes[mnemonic], 32), owner=0, fan=count, fanstep=1
        )
        rows = {GATHER: _ROWS, SCATTER: len(_INDICES)}[mnemonic]
        c.do(mnemonic, index=index, dst=dst, src=dense(source, Format.FP32, (rows, 8), 16))
    return c.case([_RULE[mnemonic], "rule:dma-fan"])


def _ends(mnemonic: str, chip: Chip, name: str) -> Case:
    """Tables, rows and lists that end with their memory."""
    c = Copies(chip, name, "the last row ends at the last byte; so does the list")
    size, far = chip.tile.tsram.bytes, chip.cluster.csram.bytes
    content = b"".join(row.to_bytes(4, "little") for row in _INDICES)
    c.window(Space.TSRAM, 0, size - len(content), data=content)
    index = Descriptor(Space.TSRAM, Format.I32, (len(_INDICES),), (1,), size - len(content))
    table, listed = c.window(Space.CSRAM, 0, far - 60, 60), c.window(Space.HBM, size=64)
    sides = _sides(
        mnemonic,
        dense(table, Format.BF16, (_ROWS, 3), 60 - 54),
        dense(listed, Format.BF16, (6, 3), 64 - 36),
    )
    c.do(mnemonic, index=index, **sides)
    return c.case([_RULE[mnemonic], "rule:dma-ends"])
