"""How a matrix product is cut: over tiles, into blocks of the accumulator, into chunks of K.

Chunks begin and end at blocks of K, so that no bit depends on them.
The rule is one for all shapes and chips: of the cuttings that fit, the one whose slowest tile
takes the least by a closed form of what the chip's file says about array, links and HBM.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from isa.chip import Chip

BLOCK = 32  #: of K; elements with one sum in the matrix unit (docs/isa/numerics.md)
RUN_BYTES = 512  #: a chunk's rows are at least so long, where K allows: HBM likes long runs
MOST_SLOTS = 4
MOST_SHARING = 8  #: tiles that one transfer writes to


@dataclass(frozen=True)
class Shape:
    """A product [m, n, k], the bytes of an element of a, w and the result, and ranges of K."""

    m: int
    n: int
    k: int
    a: int
    w: int
    out: int
    ranges: int = 1

    @property
    def depth(self) -> int:
        """Of the longest range."""
        return longest_range(self.k, self.ranges)


def range_edges(k: int, ranges: int) -> list[int]:
    """Where the ranges of K begin, and where the last one ends."""
    blocks = _ceil(k, BLOCK)
    return [min(number * blocks // ranges * BLOCK, k) for number in range(ranges + 1)]


def longest_range(k: int, ranges: int) -> int:
    """Elements of the longest range of K."""
    return max(end - begin for begin, end in itertools.pairwise(range_edges(k, ranges)))


@dataclass(frozen=True)
class Cutting:
    """`grid_m` x `grid_n` tiles a range of K; blocks of rows x columns; chunks of K; slots."""

    grid_m: int
    grid_n: int
    rows: int
    columns: int
    chunk: int
    slots: int
    ranges: int = 1

    @property
    def grid(self) -> int:
        """Tiles of a range of K."""
        return self.grid_m * self.grid_n

    @property
    def tiles(self) -> int:
        """Tiles that have work."""
        return self.grid * self.ranges

    @property
    def sharing_a(self) -> int:
        """Neighbours in a row of the grid that get the same rows of a by one transfer."""
        return _sharing(self.grid_n)

    @property
    def sharing_w(self) -> int:
        """Neighbours in a column of the grid that get the same rows of w by one transfer."""
        return _sharing(self.grid_m)


def _sharing(tiles: int) -> int:
    return max(ways for ways in range(1, MOST_SHARING + 1) if tiles % ways == 0)


def cuttings(chip: Chip, shape: Shape, slots: int | None) -> list[Cutting]:
    """All that fit the tile's memories, with the longest chunk of K of which any does."""
    chunk = _chunk(chip, shape)
    found = list(_with_chunk(chip, shape, slots, chunk))
    while not found and chunk > BLOCK:
        chunk = _ceil(_ceil(chunk, 2), BLOCK) * BLOCK
        found = list(_with_chunk(chip, shape, slots, chunk))
    return found


def _with_chunk(chip: Chip, shape: Shape, slots: int | None, chunk: int) -> Iterator[Cutting]:
    array, tiles = chip.tile.mxu, chip.num_tiles // shape.ranges
    for grid_m in range(1, min(tiles, shape.m) + 1):
        blocks = _ceil(shape.n, array.columns)
        grid_n = min(tiles // grid_m, blocks)
        rows, columns = _ceil(shape.m, grid_m), _ceil(blocks, grid_n)
        for height in _parts(rows):
            for wide in _parts(columns):
                width = min(wide * array.columns, shape.n)
                for depth in [slots] if slots else range(MOST_SLOTS, 0, -1):
                    found = Cutting(grid_m, grid_n, height, width, chunk, depth, shape.ranges)
                    if fits(chip, shape, found):
                        yield found
                        break


def _chunk(chip: Chip, shape: Shape) -> int:
    depth = chip.tile.mxu.rows
    folds = max(1, _ceil(RUN_BYTES, depth * min(shape.a, shape.w)))
    return min(shape.depth, _ceil(folds * depth, BLOCK) * BLOCK)


def _parts(count: int) -> Iterator[int]:
    """count cut evenly into 1, 2, 3, 4, 6, 8, 12, ... parts: the size of the largest."""
    seen, parts = set(), 1
    while True:
        size = _ceil(count, parts)
        if size not in seen:
            seen.add(size)
            yield size
        if size == 1:
            return
        parts = (
            parts + 1
            if parts < 4
            else parts * 3 // 2
            if parts & (parts - 1) == 0
            else (1 << parts.bit_length())
        )


def fits(chip: Chip, shape: Shape, cut: Cutting) -> bool:
    """Whether rings, stage and accumulator have room for a cutting."""
    sub = min(cut.columns, chip.tile.mxu.columns)
    a, w = cut.rows * cut.chunk * shape.a, cut.columns * cut.chunk * shape.w
    stage = cut.rows * sub * (shape.out + (4 * cut.ranges if cut.ranges > 1 else 0))
    need = cut.slots * (a + w) + min(cut.slots, 2) * stage + 64 * 16
    sums = cut.rows * cut.columns * 4
    return need <= chip.tile.tsram.bytes and sums <= chip.tile.acc.bytes


def cycles(chip: Chip, shape: Shape, cut: Cutting) -> float:
    """What the slowest tile takes, about.

    A chunk takes its time in the array, into the tile and over HBM, whichever is longest; and a
    slot of the ring goes through a transfer's start, its bytes and the array one after the other.
    The first chunk and the last result have nothing to hide behind.
    """
    array, start = chip.tile.mxu, chip.tile.dma.start
    columns = _ceil(_ceil(shape.n, array.columns), cut.grid_n) * array.columns
    blocks = _ceil(_ceil(shape.m, cut.grid_m), cut.rows) * _ceil(columns, cut.columns)
    busy = _array(chip, shape, cut)
    a, w = cut.rows * shape.a * cut.chunk, cut.columns * shape.w * cut.chunk
    into = (a + w) / chip.noc.link_bytes
    over = cut.tiles * (a / cut.sharing_a + w / cut.sharing_w) / _hbm(chip)
    load = start + max(into, over)
    period = max(busy, into, over, (load + busy) / cut.slots)
    read = cut.rows * cut.columns * 4 / chip.tile.acc.bytes_per_cycle
    last = cut.rows * min(cut.columns, array.columns) * shape.out
    store = start + max(last / chip.noc.link_bytes, cut.grid * last / _hbm(chip))
    total = blocks * (_ceil(shape.depth, cut.chunk) * period + read)
    total = max(total, traffic(chip, shape, cut) / _hbm(chip)) + load + store
    return total if cut.ranges == 1 else total + _adding(chip, cut)


def _adding(chip: Chip, cut: Cutting) -> float:
    """Cycles of the last partial sums on their way to range 0, and of adding them up."""
    vpu, others = chip.tile.vpu, cut.ranges - 1
    elements = cut.rows * min(cut.columns, chip.tile.mxu.columns)
    way = chip.tile.dma.start_sram + others * elements * 4 / chip.noc.link_bytes
    return way + others * (vpu.start + 2 * elements / vpu.lanes)


def _array(chip: Chip, shape: Shape, cut: Cutting) -> float:
    """Cycles of the array for a chunk: its folds, with or without the filling of each."""
    array = chip.tile.mxu
    bits = {1: 8, 2: 16}
    rate = array.rate(bits[shape.a], bits[shape.w])
    depth = int(array.rows * max(rate, 1))
    folds = _ceil(cut.columns, array.columns) * _ceil(cut.chunk, depth)
    stream = max(cut.rows / min(rate, 1), array.min_interval)
    fill = depth * shape.w / array.weight_load_rows_per_cycle
    drain = array.pe_latency * (array.rows - 1) + array.columns - 1
    return folds * (max(stream, fill) if array.double_buffered else stream + fill + drain)


def _hbm(chip: Chip) -> float:
    """Bytes a cycle."""
    return chip.hbm.bytes_per_second / chip.clock_hz * (1 - chip.hbm.refresh)


def traffic(chip: Chip, shape: Shape, cut: Cutting) -> float:
    """Bytes over HBM: a for every block of columns, w for every block of rows."""
    array = chip.tile.mxu.columns
    columns = min(_ceil(_ceil(shape.n, array), cut.grid_n) * array, shape.n)
    again_a = cut.grid_n // cut.sharing_a * _ceil(columns, cut.columns)
    again_w = cut.grid_m // cut.sharing_w * _ceil(_ceil(shape.m, cut.grid_m), cut.rows)
    a, w = shape.m * shape.k * shape.a, shape.n * shape.k * shape.w
    return a * again_a + w * again_w + shape.m * shape.n * shape.out


def plan(chip: Chip, shape: Shape, slots: int | None) -> Cutting | None:
    """The cutting to use; None if none fits."""
    found = cuttings(chip, shape, slots)
    if not found:
        return None
    return min(found, key=lambda cut: (cycles(chip, shape, cut), traffic(chip, shape, cut)))


def _ceil(count: int, size: int) -> int:
    return -(-count // size)
