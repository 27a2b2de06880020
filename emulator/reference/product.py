"""A whole matrix product as the contract has it, with K cut into ranges (`ksplit`).

No tiles, chunks or programs: every range by itself from +0, then one addition after the other.
Source: the arithmetic contract, sections 1 and "numeric options".
"""

from __future__ import annotations

import numpy as np

from emulator.reference.arith import F32, add
from emulator.reference.matrix import block_gemm

BLOCK = 32


def ranges_of(k: int, ksplit: int) -> list[range]:
    """The elements of K in each range r: of B blocks, from r * B // ksplit to the next one's."""
    blocks = [range(start, min(start + BLOCK, k)) for start in range(0, k, BLOCK)]
    found: list[range] = []
    for number in range(ksplit):
        mine = [
            block
            for index, block in enumerate(blocks)
            if number * len(blocks) // ksplit <= index < (number + 1) * len(blocks) // ksplit
        ]
        found.append(range(mine[0].start, mine[-1].stop))
    return found


def product(a: F32, w: F32, ksplit: int = 1) -> F32:
    """a[M, K] times w[N, K], transposed: sums in FP32 [M, N]."""
    total: F32 | None = None
    for part in ranges_of(a.shape[1], ksplit):
        columns = slice(part.start, part.stop)
        nothing = np.zeros((a.shape[0], w.shape[0]), np.float32)
        sums = block_gemm(nothing, a[:, columns], w[:, columns], None, None, BLOCK)
        total = sums if total is None else add(total, sums)
    assert total is not None
    return total
