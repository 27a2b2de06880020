"""Retire streams for tests of the timing model: by hand, and random but free of deadlock.

A random stream is made in one global order in which every wait comes after the signals that
satisfy it. Units keep that order, so the earliest instruction that has not run can always run:
no queue depth, latency or bandwidth can make the stream deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator import retire
from emulator.accounting import ProgramInfo
from emulator.timing.model import Timing
from emulator.timing.result import EntryTiming
from isa.chip import Chip, load_chip
from isa.descriptor import Space
from isa.faults import DMA0, MXU, NUM_UNITS, VPU
from isa.formats import Format
from isa.spec import BY_MNEMONIC

Stream = NDArray[np.int64]
HBM, CSRAM, TSRAM = (int(space) for space in (Space.HBM, Space.CSRAM, Space.TSRAM))
FP32, BF16, FP8, FP4 = Format.FP32, Format.BF16, Format.E4M3FN, Format.E2M1
MINI = load_chip("t1-mini")
T1 = load_chip("t1")
INFO = ProgramInfo(
    ops=("embed", "attend", "multiply", "sample"),
    op_of_pc=np.array([0, 0, 1, 1, 2, 2, 3, -1], np.int32),
    region_classes=(0, 3, 4, 6),
)


def record(tile: int, unit: int, mnemonic: str, /, **words: int) -> Stream:
    """One record; words by their names in emulator/retire.py."""
    out = np.zeros(retire.WORDS, np.int64)
    out[retire.TILE], out[retire.UNIT] = tile, unit
    out[retire.OPCODE] = BY_MNEMONIC[mnemonic].opcode
    for name, value in words.items():
        out[getattr(retire, name)] = value
    return out


def halt(tile: int, **words: int) -> Stream:
    """The end of a tile's part."""
    return record(tile, 0, "halt", **words)


def wait(tile: int, unit: int, sem: int, count: int = 1, **words: int) -> Stream:
    """A unit waits."""
    return record(tile, unit, "wait", SEM=sem, COUNT=count, **words)


def signal(
    tile: int, unit: int, sem: int, count: int = 1, scope: int = 0, target: int = 0, **words: int
) -> Stream:
    """A unit signals: scope 0 self, 1 tile, 2 cluster, 3 all."""
    return record(tile, unit, "signal", SEM=sem, COUNT=count, SCOPE=scope, TARGET=target, **words)


def gemm(
    tile: int, m: int, n: int, k: int, a: int = FP8, w: int = FP8, split: int = 1, **words: int
) -> Stream:
    """A GEMM without bounds."""
    bits = {BF16: 16, FP8: 8, FP4: 4}
    return record(
        tile,
        MXU,
        "gemm",
        FLAGS={1: 0, 2: 2, 4: 4}[split],
        ROWS=m,
        COLUMNS=n,
        DEPTH=k,
        FORMATS=a | w << 8,
        MACS=m * n * k,
        BYTES_A=m * k * bits[Format(a)] // 8,
        BYTES_W=n * k * bits[Format(w)] // 8,
        BYTES_ACC=4 * m * n,
        **words,
    )


def readout(tile: int, m: int, n: int, **words: int) -> Stream:
    """Read the accumulator out as BF16."""
    return record(
        tile,
        MXU,
        "readout",
        ROWS=m,
        COLUMNS=n,
        FORMATS=FP32 | BF16 << 8,
        BYTES_READ=4 * m * n,
        BYTES_WRITTEN=2 * m * n,
        **words,
    )


def vector(
    tile: int, mnemonic: str, rows: int, last: int, k: int = 0, strides: int = 0, **words: int
) -> Stream:
    """A vector instruction on FP32; innermost strides are 1 unless given."""
    elements = rows * last
    sources = {"vector1": 1, "vector2": 2, "vector4": 4}.get(BY_MNEMONIC[mnemonic].timing, 1)
    return record(
        tile,
        VPU,
        mnemonic,
        ELEMENTS=elements,
        VECTOR_ROWS=rows,
        LAST_AXIS=last,
        FORMATS=FP32 | FP32 << 8,
        TOPK=k,
        STRIDES=strides or (1 | 1 << 20 | 1 << 40),
        BYTES_READ=4 * elements * sources,
        BYTES_WRITTEN=4 * elements,
        **words,
    )


def dma(
    tile: int,
    channel: int,
    src: int,
    dst: int,
    size: int,
    src_owner: int | None = None,
    dst_owner: int | None = None,
    src_address: int = 0,
    dst_address: int = 0,
    run: int = 0,
    stride: int = 0,
    fan: int = 1,
    fanstep: int = 1,
    mnemonic: str = "dma",
    **words: int,
) -> Stream:
    """A transfer; contiguous unless `run` (bytes) and `stride` are given; TSRAM is the own one."""
    run = run or size
    if src_owner is None:
        src_owner = tile if src == TSRAM else 0
    return record(
        tile,
        DMA0 + channel,
        mnemonic,
        SPACES=src | dst << 8 | fan << 16,
        SRC_OWNER=src_owner,
        DST_OWNER=tile if dst_owner is None else dst_owner,
        FANSTEP=fanstep,
        SRC_ADDRESS=src_address,
        DST_ADDRESS=dst_address,
        BYTES=size,
        RUNS=run | run << 32,
        STRIDE=stride,
        **words,
    )


def stream(chip: Chip, *records: Stream) -> Stream:
    """Records, then the halts of all tiles."""
    return np.array([*records, *(halt(tile) for tile in range(chip.num_tiles))], np.int64)


def timed(
    chip: Chip, records: Stream, chunk: int | None = None, timing: Timing | None = None
) -> EntryTiming:
    """The timing of one entry whose stream arrives in chunks."""
    timing = Timing(chip, INFO) if timing is None else timing
    timing.begin("entry")
    for first in range(0, len(records), chunk or len(records)):
        timing.feed(records[first : first + (chunk or len(records))])
    return timing.end()


def span(chip: Chip, *records: Stream) -> int:
    """Cycles from first start to last end of records that are one operation."""
    found = timed(chip, stream(chip, *records))
    assert len(found.keys) == 1
    return int(found.spans[0])


# ---- random streams


@dataclass
class _Maker:
    """Makes one random stream; `credit` counts signals sent and not yet taken."""

    chip: Chip
    rng: np.random.Generator
    records: list[Stream] = field(default_factory=list)
    credit: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def add(self, made: Stream) -> None:
        made[retire.GAP] = self.pick(0, 0, 1, 7) | self.pick(0, 1) << 32
        made[retire.PC] = self.pick(*range(8))
        made[retire.CONTEXT] = self.pick(0, 1)
        self.records.append(made)

    def tile(self) -> int:
        return int(self.rng.integers(self.chip.num_tiles))

    def synchronise(self) -> None:
        """A unit signals units of one or more tiles; then one of them waits."""
        tile, unit = self.tile(), self.pick(*range(NUM_UNITS))
        target, waiter = self.tile(), self.pick(*range(NUM_UNITS))
        sem = waiter + NUM_UNITS * self.pick(0, 1)  # a semaphore has one waiting unit
        scope = self.pick(0, 1, 2, 3)
        per_cluster = self.chip.tiles_per_cluster
        cluster = tile // per_cluster * per_cluster
        reached = {
            0: [tile],
            1: [target],
            2: list(range(cluster, cluster + per_cluster)),
            3: list(range(self.chip.num_tiles)),
        }[scope]
        count = self.pick(1, 2)
        self.add(signal(tile, unit, sem, count, scope, target))
        for each in reached:
            self.credit[each, sem] += count
        waiting = self.pick(*reached)
        taken = int(self.rng.integers(1, self.credit[waiting, sem] + 1))
        self.credit[waiting, sem] -= taken
        self.add(wait(waiting, waiter, sem, taken))

    def transfer(self) -> None:
        tile, size = self.tile(), self.pick(0, 32, 200, 4096, 10000, 40000)
        src, dst = self.pick(HBM, CSRAM, TSRAM), self.pick(HBM, CSRAM, TSRAM)
        owners = {HBM: 3, CSRAM: self.chip.clusters, TSRAM: self.chip.num_tiles}
        fan = owners[dst] if dst != HBM and self.pick(0, 0, 1) else 1
        run = self.pick(0, 0, 32, 100, 1000)
        self.add(
            dma(
                tile,
                self.pick(*range(self.chip.tile.dma.channels)),
                src,
                dst,
                size // run * run if run else size,
                src_owner=int(self.rng.integers(owners[src])),
                dst_owner=0 if fan > 1 else int(self.rng.integers(owners[dst])),
                src_address=int(self.rng.integers(1 << 20)),
                dst_address=int(self.rng.integers(1 << 20)),
                run=run,
                stride=run + self.pick(0, 28, 9000),
                fan=fan,
                mnemonic=str(self.rng.choice(["dma", "dma", "dmag", "dmas"])),
            )
        )

    def compute(self) -> None:
        tile, m, n = self.tile(), self.pick(0, 1, 3, 40), self.pick(1, 16, 100)
        kind = self.pick(0, 1, 2, 3)
        if kind == 0:
            a, w, split = self.pick(BF16, FP8, FP4), self.pick(BF16, FP8, FP4), self.pick(1, 2, 4)
            self.add(gemm(tile, m, n, self.pick(32, 64, 200), a, w, split))
        elif kind == 1:
            self.add(readout(tile, m, n))
        else:
            name = str(self.rng.choice(_VECTOR))
            step = self.pick(0, 1, 2, 16, 32)
            strides = step | step << 20 | 1 << 40
            self.add(vector(tile, name, m, n, k=2, strides=strides))


_VECTOR = ["vadd", "vexp2", "vrsum", "vexp2sum", "vscan", "vtopk", "vquant"]


def random_stream(chip: Chip, seed: int, length: int = 120) -> Stream:
    """A legal stream of about `length` records on all units of a chip."""
    maker = _Maker(chip, np.random.default_rng(seed))
    for _ in range(length):
        kind = maker.rng.random()
        if kind < 0.4:
            maker.synchronise()
        elif kind < 0.7:
            maker.transfer()
        elif kind < 0.95:
            maker.compute()
        else:
            maker.add(record(maker.tile(), 0, "ld", LD_SPACE=maker.pick(0, 1, 2), BYTES=4))
    for tile in range(chip.num_tiles):
        maker.add(halt(tile))
    return np.array(maker.records, np.int64)


def shuffled(records: Stream, seed: int) -> Stream:
    """The same stream with its tiles interleaved in another way."""
    rng = np.random.default_rng(seed)
    tiles = records[:, retire.TILE]
    turns = rng.permutation(tiles)
    queues = {int(tile): iter(records[tiles == tile]) for tile in np.unique(tiles)}
    return np.array([next(queues[int(tile)]) for tile in turns], np.int64)


# ---- the makers themselves


def test_shuffling_keeps_each_tile_in_order() -> None:
    records = random_stream(MINI, 1)
    other = shuffled(records, 2)
    assert (records != other).any()
    for tile in range(MINI.num_tiles):
        same = records[:, retire.TILE] == tile
        assert (records[same] == other[other[:, retire.TILE] == tile]).all()


def test_random_streams_never_wait_for_more_than_was_signalled() -> None:
    for seed in range(20):
        balance: dict[tuple[int, int], int] = defaultdict(int)
        for row in random_stream(MINI, seed):
            if row[retire.OPCODE] == BY_MNEMONIC["wait"].opcode:
                key = int(row[retire.TILE]), int(row[retire.SEM])
                balance[key] -= int(row[retire.COUNT])
                assert balance[key] >= 0
            elif row[retire.OPCODE] == BY_MNEMONIC["signal"].opcode:
                for tile in _reached(row):
                    balance[tile, int(row[retire.SEM])] += int(row[retire.COUNT])


def _reached(row: Stream) -> list[int]:
    tile, per_cluster = int(row[retire.TILE]), MINI.tiles_per_cluster
    cluster = tile // per_cluster * per_cluster
    return {
        0: [tile],
        1: [int(row[retire.TARGET])],
        2: list(range(cluster, cluster + per_cluster)),
        3: list(range(MINI.num_tiles)),
    }[int(row[retire.SCOPE])]
