"""A digest of all that the timing model and the accounting look at in a retire stream, but MACs.

Two streams with one digest take the same cycles, unit by unit and row by row, if they are of one
chip and begin with the same semaphores: the model is a function of the records of each tile, in
their order. Not all of a record counts. It never looks at how many MACs were executed, nor at where
in SRAM a scalar was loaded from; and of other addresses in SRAM only at the granule, which is a
port of CSRAM and where pieces are cut, and at whether a transfer reads what the one before it
wrote. So the next position of a sequence, whose keys go one row further, may well take the same.

Per tile there are two sums of words times odd numbers, chained: 128 bits, and different streams
share them by chance alone.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from emulator.jit import njit
from emulator.retire import (
    BYTES,
    DST_ADDRESS,
    LD_ADDRESS,
    LD_SPACE,
    MACS,
    OPCODE,
    SRC_ADDRESS,
    TILE,
    UNIT,
    WORDS,
)
from emulator.timing import layout as at
from emulator.timing import pieces
from emulator.timing.bits import down
from emulator.timing.compiled import helper
from emulator.timing.costs import over
from emulator.timing.dma import extent, must_follow, remember
from emulator.timing.tables import row, table

Ints = NDArray[np.int64]

_SUMS = 2  # of a tile
_TERMS = WORDS + 1  # the words of a record, and whether it must follow the one before
_HALF = 32


def _odd_numbers() -> Ints:
    """Multipliers: [sum, term], any odd numbers without a pattern."""
    found = np.random.default_rng(0).integers(-(1 << 63), 1 << 63, (_SUMS, _TERMS), np.int64)
    return found | 1


@helper
def _place(p, pool, i, source):
    """What counts of the address of one side of a transfer; told apart from whole addresses."""
    space = pieces.source_space(pool[i]) if source else pieces.target_space(pool[i])
    address = pool[i, SRC_ADDRESS] if source else pool[i, DST_ADDRESS]
    leads = pieces.leads_with_source(pool[i]) == source
    if space == pieces.HBM or (leads and pieces.is_listed(pool[i])):
        return 2 * address
    if space == pieces.TSRAM and not leads:
        return 1
    low, high = extent(pool, i, source)
    granule = over(p, low, at.P_INTERLEAVE)
    if granule != over(p, max(high - 1, low), at.P_INTERLEAVE):
        return 2 * address
    return 1 if space == pieces.TSRAM else 2 * granule + 1


@njit
def add(addresses, count):
    """Take in so many records; `addresses` are those of the arrays that `Digest` keeps."""
    p, opcodes = row(addresses[0], "p"), table(addresses[1], 2, "opcodes")
    sums, last = table(addresses[2], _SUMS, "sums"), table(addresses[3], at.C_RING, "last")
    odd, pool = table(addresses[4], _TERMS, "odd"), table(addresses[5], WORDS, "chunk")
    for i in range(count):
        kind, tile, follows = opcodes[pool[i, OPCODE], 0], pool[i, TILE], 0
        source, target = pool[i, SRC_ADDRESS], pool[i, DST_ADDRESS]
        if kind == at.OP_DMA:
            if pool[i, BYTES] > 0:
                u = tile * at.UNITS + pool[i, UNIT]
                follows = int(must_follow(last, pool, u, i))
                remember(last, pool, u, i)
                source, target = _place(p, pool, i, True), _place(p, pool, i, False)
        elif kind == at.OP_GEMM or (kind == at.OP_LOAD and pool[i, LD_SPACE] != pieces.HBM):
            source = 0  # MACS, LD_ADDRESS
        for j in range(_SUMS):
            total = sums[tile, j] + follows * odd[j, WORDS]
            for word in range(SRC_ADDRESS):
                total += pool[i, word] * odd[j, word]
            total += source * odd[j, SRC_ADDRESS] + target * odd[j, DST_ADDRESS]
            for word in range(DST_ADDRESS + 1, WORDS):
                total += pool[i, word] * odd[j, word]
            total = (total ^ down(total, _HALF)) * odd[j, 0]
            sums[tile, j] = total ^ down(total, _HALF)


assert MACS == LD_ADDRESS == SRC_ADDRESS, "words of a record that `add` takes for one"


class Digest:
    """Of the records of one entry, in chunks; the order of tiles among one another is none."""

    def __init__(self, p: Ints, opcodes: Ints) -> None:
        """`p` and `opcodes`: the timing model's constants (emulator/timing/state.py)."""
        tiles = int(p[at.P_TILES])
        self._arrays = (
            p,
            opcodes,
            np.zeros((tiles, _SUMS), np.int64),
            np.full((tiles * at.UNITS, at.C_RING), -1, np.int64),
            _odd_numbers(),
        )
        self._addresses = np.array([a.ctypes.data for a in (*self._arrays, p)], np.int64)

    def add(self, chunk: Ints) -> None:
        """The next records, int64 [n, 16]."""
        self._addresses[-1] = chunk.ctypes.data
        add(self._addresses, len(chunk))

    def key(self, semaphores: Ints) -> bytes:
        """The digest of all records so far, and of the counts that they began with."""
        found = hashlib.blake2b(self._arrays[2].tobytes(), digest_size=16)
        found.update(np.ascontiguousarray(semaphores, np.int64).tobytes())
        return found.digest()
