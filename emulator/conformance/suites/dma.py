"""Cases of the DMA channels: copies, gathers and scatters between all memories."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import dma_copy, dma_edges, dma_extra, dma_rows

RULES: Final = {
    "dma-spaces": "a channel reaches HBM, every cluster's CSRAM and every tile's TSRAM",
    "dma-owner": "owner -1 is the issuing tile or its cluster; another number is that one",
    "dma-strides": "each side has strides of its own, in elements; a source may repeat or overlap",
    "dma-broadcast": "a source stride of 0 repeats an element",
    "dma-fan": "a destination is written in owner, owner + fanstep, ..., fan times",
    "dma-bits": "bits are copied: NaN payloads, -0 and unused codes stay as they are",
    "dma-nibbles": "E2M1 elements lie two to a byte, the one of even index in the low bits",
    "dma-scales": "scales do not travel, and scale kinds are not looked at",
    "dma-empty": "a tensor with a dimension of 0 moves nothing and has no addresses",
    "dma-sizes": "no byte beside the destination changes, whatever the sizes and addresses",
    "dma-ends": "the last byte of a memory or region can be read and written",
    "dma-order": "a channel takes its instructions in order, each as if after the one before",
    "dma-channels": "each channel of a tile is a unit of its own",
    "dma-gather": "dst[i, ...] = src[index[i], ...], an index as often as it is listed",
    "dma-scatter": "for i ascending: of two rows for one place the later one stays",
    "dma-index-list": "the index list lies in the issuing tile's TSRAM, with a stride of its own",
}


def makers() -> list[Maker]:
    """The cases."""
    parts = (dma_copy, dma_edges, dma_rows, dma_extra)
    return [maker for part in parts for maker in part.makers()]
