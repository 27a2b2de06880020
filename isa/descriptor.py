"""Tensor descriptors: where a tensor lies, and how its elements are stored.

A descriptor is 16 little-endian 64-bit words, in a program's descriptor table and in a tile's
descriptor registers alike. Word numbers are the ``W_*`` constants.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from isa.formats import Format, Layout, ScaleKind

WORDS = 16
MAX_RANK = 4

W_BASE = 0  #: byte address of element 0 within its space
W_META = 1  #: space | format << 8 | layout << 16 | scale kind << 24 | rank << 32
W_OWNER = 2  #: tile (TSRAM, ACC) or cluster (CSRAM) that owns the memory; -1: the issuing one's
W_FAN = 3  #: a DMA destination's number of owners: owner, owner + fanstep, ...; 1 elsewhere
W_FANSTEP = 4
W_CHIP = 5  #: reserved for several chips; 0
W_SCALE = 6  #: byte address of scale 0, in the same space and owner
W_DIM = 7  #: four words, outermost dimension first; those beyond the rank are 1
W_STRIDE = 11  #: four words, in elements, 0 to broadcast; those beyond the rank are 0
W_SSTRIDE = 15  #: scale strides in bytes: row (or panel) in the low 40 bits, block in the high 24

PANEL_COLUMNS = 16  #: output columns of one panel of the stored order of weights
PANEL_WORD_BYTES = 4


class Space(IntEnum):
    """Memory spaces."""

    HBM = 0
    CSRAM = 1
    TSRAM = 2
    ACC = 3


@dataclass(frozen=True)
class Descriptor:
    """A tensor descriptor (see the architecture page for the addressing rules).

    Shapes and strides count elements; ``base`` and ``scale`` are byte addresses; ``scale_strides``
    are bytes. For the PANEL layout ``strides[0]`` is the distance between panels in elements and
    ``strides[1]`` is 1.
    """

    space: Space
    format: Format
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: int = 0
    layout: Layout = Layout.STRIDED
    scale_kind: ScaleKind = ScaleKind.NONE
    scale: int = 0
    scale_strides: tuple[int, int] = (0, 0)
    owner: int = -1
    fan: int = 1
    fanstep: int = 0

    def at(self, base: int) -> "Descriptor":
        """The same tensor at another address."""
        return replace(self, base=base)

    def words(self) -> NDArray[np.int64]:
        """The 16 words of this descriptor."""
        out = np.zeros(WORDS, np.int64)
        rank = len(self.shape)
        out[W_BASE] = self.base
        out[W_META] = (
            self.space | self.format << 8 | self.layout << 16 | self.scale_kind << 24 | rank << 32
        )
        out[W_OWNER : W_CHIP + 1] = (self.owner, self.fan, self.fanstep, 0)
        out[W_SCALE] = self.scale
        out[W_DIM : W_DIM + 4] = 1
        out[W_DIM : W_DIM + rank] = self.shape
        out[W_STRIDE : W_STRIDE + rank] = self.strides
        out[W_SSTRIDE] = self.scale_strides[0] | self.scale_strides[1] << 40
        return out


def from_words(words: NDArray[np.int64]) -> Descriptor:
    """The descriptor of 16 words. Raises ValueError for codes outside their enumerations."""
    meta = int(words[W_META])
    rank = meta >> 32 & 0xFF
    if rank > MAX_RANK or meta >> 40:
        raise ValueError(f"descriptor of rank {rank}, meta {meta:#x}")
    return Descriptor(
        Space(meta & 0xFF),
        Format(meta >> 8 & 0xFF),
        tuple(int(x) for x in words[W_DIM : W_DIM + rank]),
        tuple(int(x) for x in words[W_STRIDE : W_STRIDE + rank]),
        int(words[W_BASE]),
        Layout(meta >> 16 & 0xFF),
        ScaleKind(meta >> 24 & 0xFF),
        int(words[W_SCALE]),
        (int(words[W_SSTRIDE]) & (1 << 40) - 1, int(words[W_SSTRIDE]) >> 40 & (1 << 24) - 1),
        int(words[W_OWNER]),
        int(words[W_FAN]),
        int(words[W_FANSTEP]),
    )


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)
