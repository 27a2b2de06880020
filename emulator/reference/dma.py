"""The DMA channels' instructions: copies, gathers and scatters of bits.

Source: isa/spec/dma.py. All elements are read before any is written.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from emulator.reference.faults import require
from emulator.reference.registry import EVERY, INTEGERS, Rule, Run, same_shapes, tensor
from emulator.reference.tensor import Tensor, store_codes
from isa.descriptor import Space
from isa.faults import Fault
from isa.formats import Format

_REACHABLE: Final = frozenset({Space.HBM, Space.CSRAM, Space.TSRAM})
_SRC: Final = Rule(EVERY, spaces=_REACHABLE, uses_scales=False, own=False)
_DST: Final = Rule(EVERY, spaces=_REACHABLE, uses_scales=False, own=False, write=True, fan=True)
_INDEX: Final = Rule(INTEGERS, rank=1)


def _one_format(run: Run) -> bool:
    return run["dst"].format is run["src"].format


def _whole_bytes(run: Run) -> bool:
    """E2M1 moves in bytes: its innermost dimension is even."""
    shape = run["src"].shape
    return run["src"].format is not Format.E2M1 or (len(shape) > 0 and shape[-1] % 2 == 0)


def _copy_shapes(run: Run) -> bool:
    return same_shapes(run) and _whole_bytes(run)


@tensor("dma", {"dst": _DST, "src": _SRC}, _copy_shapes, _one_format)
def dma(run: Run) -> None:
    """dst[i...] = src[i...], into each of dst's owners."""
    run["dst"].store(run["src"].codes())


def _indexed(run: Run, listed: Tensor, table: Tensor) -> bool:
    """`listed` is [n, ...], `table` [R, ...], the index list [n]."""
    if not listed.shape or len(listed.shape) != len(table.shape):
        return False
    rows = run["index"].shape == listed.shape[:1] and listed.shape[1:] == table.shape[1:]
    # The rows of 4-bit elements are whole bytes only if they have a dimension of their own.
    packed = run["src"].format is Format.E2M1 and len(listed.shape) < 2
    return rows and not packed and _whole_bytes(run)


def _gather_shapes(run: Run) -> bool:
    return _indexed(run, run["dst"], run["src"])


def _scatter_shapes(run: Run) -> bool:
    return _indexed(run, run["src"], run["dst"])


def _indices(run: Run, rows: int) -> list[int]:
    """The index list; every entry must name one of the table's rows."""
    indices: list[int] = run["index"].integers().tolist()
    for index in indices:
        require(0 <= index < rows, Fault.OUT_OF_BOUNDS, f"index {index} of {rows} rows")
    return indices


@tensor("dmag", {"dst": _DST, "src": _SRC, "index": _INDEX}, _gather_shapes, _one_format)
def dmag(run: Run) -> None:
    """dst[i, ...] = src[index[i], ...]."""
    src = run["src"]
    indices = _indices(run, src.shape[0])
    if run["dst"].count:
        run["dst"].store(src.codes()[indices])


@tensor("dmas", {"dst": _DST, "src": _SRC, "index": _INDEX}, _scatter_shapes, _one_format)
def dmas(run: Run) -> None:
    """For i ascending: dst[index[i], ...] = src[i, ...]."""
    dst, src = run["dst"], run["src"]
    indices = _indices(run, dst.shape[0])
    if src.count == 0:
        return
    codes, addresses = src.codes(), dst.bit_addresses()
    for memory in dst.memories:
        for row, index in enumerate(indices):
            store_codes(memory, np.atleast_1d(addresses[index]), dst.format, codes[row])
