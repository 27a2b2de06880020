"""Rings, pipelines and barriers over tiles."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import DMA0, MXU, VPU, Make, Script, ints, pattern, u8
from emulator.conformance.suites.sync_flow import BUFFER, bring_out, finish, words
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "wait/ring": _ring,
        "wait/pipeline": _pipeline,
        "wait/ping-pong": _ping_pong,
        "wait/barrier-central": partial(_barrier, True),
        "wait/barrier-all": partial(_barrier, False),
        "wait/tree": _tree,
        "signal/fan": _fan,
        "wait/exchange": _exchange,
        "wait/write-after-read": _write_after_read,
    }
    for space in (Space.HBM, Space.CSRAM, Space.TSRAM):
        cases[f"signal/through-{space.name.lower()}"] = partial(_through, space)
    return [Maker(f"sync/{name}", make) for name, make in cases.items()]


def _ring(chip: Chip, name: str) -> Case:
    """A word goes around all tiles; each adds its number plus one; three rounds."""
    s = Script(chip, name, "tile to tile by remote writes, three times around")
    tiles, rounds = chip.num_tiles, 3
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("add", rd=2, ra=1, b=1)
    s.emit("remu", rd=3, ra=2, b=tiles)
    s.load(1, ints(BUFFER, 1))
    s.load(2, ints(BUFFER + 64, 1))
    s.load(3, ints(BUFFER, 1))
    s.emit("dset", dst=3, field="owner", b=(3, 0))
    with s.on(0):
        s.emit("signal", unit="ctl", sem=1, count=1)
    s.emit("loop", count=rounds, target="end")
    s.test("wait", unit="vpu", sem=1, count=1)
    s.emit("vadd", dst=2, a=1, b=(2, 0), scalar=1)
    s.emit("signal", unit="vpu", sem=2, count=1)
    s.test("wait", unit="dma1", sem=2, count=1)
    s.emit("dma", channel="dma1", dst=3, src=2)
    s.test("signal", unit="dma1", sem=1, count=1, scope="tile", tile=3)
    s.label("end")
    s.fence(DMA0 + 1)
    value, seen = 0, [0] * tiles
    for _ in range(rounds):
        for tile in range(tiles):
            value += tile + 1
            seen[tile] = value
    with s.on(0):
        s.emit("wait", unit="vpu", sem=1, count=1)  # the last word has come back
        s.fence(VPU)
        bring_out(s, words(value), BUFFER)
    for tile in range(tiles):
        with s.on(tile):
            bring_out(s, words(seen[tile]), BUFFER + 64)
    return finish(s, "sync-tiles", "sync-scope")


def _pipeline(chip: Chip, name: str) -> Case:
    """Every tile works on one item while the next works on the one before; credits go back."""
    s = Script(chip, name, "a pipeline of all tiles with one buffer each, twenty items")
    tiles, items = chip.num_tiles, 20
    results = s.result(words(*(10 * i + sum(range(1, tiles + 1)) for i in range(items))))
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("add", rd=2, ra=1, b=1)
    s.emit("sub", rd=4, ra=1, b=1)
    s.load(1, ints(BUFFER, 1))  # comes in
    s.load(2, ints(BUFFER + 64, 1))  # goes out
    for tile in range(tiles):
        with s.on(tile):
            last = tile == tiles - 1
            s.emit("signal", unit="ctl", sem=3, count=1)  # the way on is free
            s.load(
                3,
                ints(results, 1, Space.HBM) if last else replace(ints(BUFFER, 1), owner=tile + 1),
            )
            s.emit("li", rd=5, imm=0)
            end = s.fresh("end")
            s.emit("loop", count=items, target=end)
            if tile == 0:
                s.emit("viota", dst=1, start=(5, 0))
            else:
                s.emit("wait", unit="vpu", sem=1, count=1)
            s.test("wait", unit="vpu", sem=3, count=1)
            s.emit("vadd", dst=2, a=1, b=(2, 0), scalar=1)
            if tile:
                s.test("signal", unit="vpu", sem=2, count=1, scope="tile", tile=4)
            s.emit("signal", unit="vpu", sem=5, count=1)
            s.emit("wait", unit="dma1", sem=5, count=1)
            if not last:
                # Not before the next tile has taken the item before, except for the first.
                s.emit("wait", unit="dma1", sem=2, count=(6, 0))
                s.emit("li", rd=6, imm=1)
            s.emit("dma", channel="dma1", dst=3, src=2)
            if last:
                s.emit("dadd", dst=3, field="base", b=4)
            else:
                s.test("signal", unit="dma1", sem=1, count=1, scope="tile", tile=2)
            s.emit("signal", unit="dma1", sem=3, count=1)
            s.emit("add", rd=5, ra=5, b=10)
            s.label(end)
            s.fence(DMA0 + 1)
    return finish(s, "sync-tiles", "sync-order", "sync-scope")


def _ping_pong(chip: Chip, name: str) -> Case:
    """Two control processors take turns, thirty times."""
    s = Script(chip, name, "tile 0 and the last tile signal each other in turn")
    last, turns = chip.num_tiles - 1, 30
    s.emit("li", rd=2, imm=last)
    for tile in (0, last):
        with s.on(tile):
            end = s.fresh("end")
            s.emit("loop", count=turns, target=end)
            if tile == 0:
                s.test("signal", unit="ctl", sem=1, count=1, scope="tile", tile=2)
            s.test("wait", unit="ctl", sem=1, count=1)
            s.emit("add", rd=1, ra=1, b=1)
            if tile == last:
                s.test("signal", unit="ctl", sem=1, count=1, scope="tile", tile=0)
            s.label(end)
    s.keep(1, *[turns if tile in (0, last) else 0 for tile in range(chip.num_tiles)])
    s.deliver(*range(chip.num_tiles))
    return finish(s, "sync-scope", "sync-counts")


def _barrier(central: bool, chip: Chip, name: str) -> Case:
    """Before each barrier a tile writes a word; after it, it reads its neighbour's."""
    s = Script(chip, name, "twelve barriers; each tile reads what another wrote before each")
    tiles, rounds = chip.num_tiles, 12
    board = 0x1000
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("add", rd=2, ra=1, b=1)
    s.emit("remu", rd=2, ra=2, b=tiles)
    s.load(1, ints(BUFFER, 1))
    s.load(2, replace(ints(board, 1), space=Space.CSRAM, owner=0))
    s.load(3, replace(ints(board, 1), space=Space.CSRAM, owner=0))
    s.load(4, ints(BUFFER + 64, 1))
    for register, source in ((2, 1), (3, 2)):
        s.emit("mul", rd=7, ra=source, b=4)
        s.emit("dadd", dst=register, field="base", b=(7, 0))
    s.emit("mul", rd=5, ra=1, b=1000)
    s.emit("loop", count=rounds, target="end")
    s.emit("add", rd=5, ra=5, b=1)
    s.emit("viota", dst=1, start=(5, 0))
    s.fence(VPU)
    s.emit("dma", channel="dma1", dst=2, src=1)
    s.fence(DMA0 + 1)
    for half in range(2):
        if central:
            s.barrier()
        else:
            s.test("signal", unit="ctl", sem=4, count=1, scope="all")
            s.test("wait", unit="ctl", sem=4, count=tiles)
        if half == 0:
            s.emit("dma", channel="dma1", dst=4, src=3)
            s.fence(DMA0 + 1)
            s.emit("ld", rd=8, src=4, index=0)
            s.emit("mul", rd=9, ra=9, b=3)
            s.emit("add", rd=9, ra=9, b=(8, 0))
    s.label("end")
    expected = []
    for tile in range(tiles):
        total = 0
        for turn in range(1, rounds + 1):
            total = total * 3 + (tile + 1) % tiles * 1000 + turn
        expected.append(total)
    s.keep(9, *expected)
    s.deliver(*range(tiles))
    return finish(s, "sync-tiles", "sync-scope", "sync-add")


def _tree(chip: Chip, name: str) -> Case:
    """A sum over tiles: clusters first, then across; the result goes to all."""
    s = Script(chip, name, "partial sums in each cluster, the total to every tile")
    tiles, per = chip.num_tiles, chip.tiles_per_cluster
    size = 8
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("rdsr", rd=2, special="CLUSTER_ID")
    s.emit("mul", rd=3, ra=2, b=per)  # the first tile of the cluster
    s.emit("sub", rd=4, ra=1, b=(3, 0))
    s.emit("mul", rd=5, ra=1, b=100)
    s.load(1, ints(BUFFER, size))
    s.emit("viota", dst=1, start=(5, 7))
    s.emit("signal", unit="vpu", sem=1, count=1)
    s.emit("wait", unit="dma1", sem=1, count=1)
    s.load(2, ints(BUFFER + 0x100, size))
    s.emit("dset", dst=2, field="owner", b=(3, 0))
    s.emit("mul", rd=6, ra=4, b=4 * size)
    s.emit("dadd", dst=2, field="base", b=(6, 0))
    s.emit("dma", channel="dma1", dst=2, src=1)
    s.test("signal", unit="dma1", sem=2, count=1, scope="tile", tile=3)
    for cluster in range(chip.clusters):
        with s.on(cluster * per):
            s.test("wait", unit="vpu", sem=2, count=per)
            _sum(s, BUFFER + 0x300, BUFFER + 0x100, per, size)
            s.emit("signal", unit="vpu", sem=3, count=1)
            s.emit("wait", unit="dma2", sem=3, count=1)
            s.load(5, replace(ints(BUFFER + 0x400 + 4 * size * cluster, size), owner=0))
            s.load(6, ints(BUFFER + 0x300, size))
            s.emit("dma", channel="dma2", dst=5, src=6)
            s.test("signal", unit="dma2", sem=4, count=1, scope="tile", tile=0)
    with s.on(0):
        s.test("wait", unit="vpu", sem=4, count=chip.clusters)
        _sum(s, BUFFER + 0x600, BUFFER + 0x400, chip.clusters, size)
        s.emit("signal", unit="vpu", sem=5, count=1)
        s.emit("wait", unit="dma3", sem=5, count=1)
        s.load(5, replace(ints(BUFFER + 0x700, size), owner=0, fan=tiles, fanstep=1))
        s.load(6, ints(BUFFER + 0x600, size))
        s.emit("dma", channel="dma3", dst=5, src=6)
        s.test("signal", unit="dma3", sem=6, count=1, scope="all")
    s.test("wait", unit="dma0", sem=6, count=1)
    total = [sum(100 * tile + 7 + i for tile in range(tiles)) for i in range(size)]
    for tile in range(tiles):
        with s.on(tile):
            bring_out(s, words(*total), BUFFER + 0x700)
    return finish(s, "sync-tiles", "sync-scope", "sync-add")


def _sum(s: Script, dst: int, src: int, count: int, size: int) -> None:
    """The sum of rows of I32, by the vector unit: first a copy, then one row after the other."""
    s.load(7, ints(dst, size))
    s.load(8, ints(src, size))
    s.emit("vcopy", dst=7, a=8)
    for _ in range(count - 1):
        s.emit("dadd", dst=8, field="base", b=4 * size)
        s.emit("vadd", dst=7, a=7, b=8)


def _fan(chip: Chip, name: str) -> Case:
    """One copy into all tiles, one signal to all: the data are in each when it comes."""
    s = Script(chip, name, "a fan of a destination, then a signal of scope all, five times")
    tiles, rounds, size = chip.num_tiles, 5, 300
    rows = [pattern(size, 60 + i) for i in range(rounds)]
    address = s.data(b"".join(rows))
    everywhere = replace(u8(Space.TSRAM, BUFFER, size, 0), fan=tiles, fanstep=1)
    last = tiles - 1
    with s.on(last):
        s.load(1, everywhere)
        s.load(2, u8(Space.HBM, address, size))
        s.emit("loop", count=rounds, target="sent")
        s.emit("dma", channel="dma1", dst=1, src=2)
        s.test("signal", unit="dma1", sem=1, count=1, scope="all")
        s.emit("dadd", dst=2, field="base", b=size)
        s.test("wait", unit="dma1", sem=2, count=tiles)
        s.label("sent")
    s.emit("li", rd=1, imm=last)
    for tile in range(tiles):
        with s.on(tile):
            s.load(3, u8(Space.TSRAM, BUFFER, size))
            s.load(4, u8(Space.HBM, s.result(b"".join(rows)), size))
            end = s.fresh("end")
            s.emit("loop", count=rounds, target=end)
            s.test("wait", unit="dma2", sem=1, count=1)
            s.emit("dma", channel="dma2", dst=4, src=3)
            s.test("signal", unit="dma2", sem=2, count=1, scope="tile", tile=1)
            s.emit("dadd", dst=4, field="base", b=size)
            s.label(end)
    return finish(s, "sync-tiles", "sync-scope", "sync-after-work")


def _through(space: Space, chip: Chip, name: str) -> Case:
    """Tile 0 writes into a memory and signals; every unit of the last tile reads from there."""
    s = Script(chip, name, f"data handed over in {space.name}")
    last, size = chip.num_tiles - 1, 64
    content = pattern(size, 33)
    owner = {Space.HBM: -1, Space.CSRAM: 0, Space.TSRAM: 0}[space]
    base = s.slot(size) if space is Space.HBM else 0x900
    if space is Space.HBM:
        s.expect(base, content)
    board = u8(space, base, size, owner)
    here = 0x2000
    with s.on(last):
        s.test("wait", unit="dma1", sem=1, count=1)
        s.move(1, u8(Space.TSRAM, here, size), board)
        s.emit("signal", unit="dma1", sem=2, count=1)
        s.test("wait", unit="vpu", sem=2, count=1)
        s.load(1, ints(here + size, 16))
        s.load(2, ints(here, 16))
        s.emit("vcopy", dst=1, a=2)
        s.emit("signal", unit="vpu", sem=3, count=1)
        s.test("wait", unit="mxu", sem=3, count=1)
        row = Descriptor(Space.TSRAM, Format.FP32, (1, 16), (16, 1), here + size)
        s.load(3, row)
        s.load(4, replace(row, space=Space.ACC, base=0))
        s.load(5, row.at(here + 2 * size))
        s.emit("seed", acc=4, src=3)
        s.emit("readout", dst=5, acc=4)
        s.fence(MXU)
        bring_out(s, content * 3, here)
        if space is Space.HBM:
            s.load(6, ints(base, 16, Space.HBM))
            s.emit("ld", rd=7, src=6, index=3)
    with s.on(0):
        s.emit("li", rd=1, imm=last)
        s.move(2, board, u8(Space.HBM, s.data(content), size))
        s.test("signal", unit="dma2", sem=1, count=1, scope="tile", tile=1)
    if space is Space.HBM:
        s.keep(7, *[0] * last, struct.unpack("<16i", content)[3])
        s.deliver(last)
    return finish(s, "sync-tiles", "sync-after-work")


def _exchange(chip: Chip, name: str) -> Case:
    """All tiles send a row to all tiles at once, and wait for all."""
    s = Script(chip, name, "all to all: each tile's row in a place of its own in every tile")
    tiles, size = chip.num_tiles, 48
    rows = [pattern(size, 70 + tile) for tile in range(tiles)]
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("mul", rd=2, ra=1, b=size)
    s.load(2, u8(Space.HBM, s.data(b"".join(rows)), size))
    s.emit("dadd", dst=2, field="base", b=(2, 0))
    s.load(1, replace(u8(Space.TSRAM, BUFFER, size, 0), fan=tiles, fanstep=1))
    s.emit("dadd", dst=1, field="base", b=(2, 0))
    s.emit("dma", channel="dma1", dst=1, src=2)
    s.test("signal", unit="dma1", sem=1, count=1, scope="all")
    s.test("wait", unit="dma0", sem=1, count=tiles)
    for tile in range(tiles):
        with s.on(tile):
            bring_out(s, b"".join(rows), BUFFER)
    return finish(s, "sync-tiles", "sync-add")


def _write_after_read(chip: Chip, name: str) -> Case:
    """A buffer is overwritten only after its reader on another tile has said so."""
    s = Script(chip, name, "tile 0 reads the last tile's buffer, which then changes it")
    last, size = chip.num_tiles - 1, 2048
    first, second = pattern(size, 90), pattern(size, 91)
    there = u8(Space.TSRAM, BUFFER, size, last)
    with s.on(last):
        s.move(1, there, u8(Space.HBM, s.data(first), size))
        s.test("signal", unit="dma1", sem=1, count=1, scope="tile", tile=0)
        s.test("wait", unit="dma1", sem=2, count=1)
        s.move(1, there, u8(Space.HBM, s.data(second), size))
        s.fence(DMA0 + 1)
        bring_out(s, second, BUFFER)
    with s.on(0):
        s.emit("li", rd=1, imm=last)
        s.test("wait", unit="dma2", sem=1, count=1)
        s.move(2, u8(Space.HBM, s.result(first), size), there)
        s.test("signal", unit="dma2", sem=2, count=1, scope="tile", tile=1)
    return finish(s, "sync-tiles", "sync-blocks")
