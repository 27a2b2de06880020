"""Pages of the cache in CSRAM, in what everything else leaves of it: staged, and resident.

Staged pages are copied in a step of several row groups, for that step: a layer's, to every
cluster. Resident ones are the first of the cache, kept from step to step, and read in steps of one.
HBM has every page all the same: it is where tools look for the state, and writing a row twice costs
next to nothing beside reading it in every step to come.

In either, a page of a KV head is its keys, then its values. The pages of a head that are resident
are a *run*: in one cluster's CSRAM, in the order of the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arena import ALIGN
from compiler.config import ModelConfig
from compiler.hbm import PAGE, Capacity
from compiler.precision import KV_FORMATS
from isa.chip import Chip
from isa.formats import FORMATS


@dataclass(frozen=True)
class Staged:
    """`pages` pages, of all KV heads each, in `nbytes` from `base` on."""

    base: int
    pages: int
    nbytes: int


@dataclass(frozen=True)
class Resident:
    """Runs of `pages` pages, of `run_bytes` each, from `base` on.

    Run n = layer * KV heads + head is the (n / clusters)-th in the CSRAM of cluster n % clusters,
    which has ``runs``.
    """

    base: int
    pages: int
    runs: int
    run_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of each cluster's CSRAM."""
        return self.runs * self.run_bytes


@dataclass(frozen=True)
class Room:
    """What is left of CSRAM, and what it is to be used for."""

    config: ModelConfig
    capacity: Capacity
    kv: str
    chip: Chip
    used: int

    def place(self, staged: bool, resident: bool) -> tuple[Staged | None, Resident | None]:
        """Either, if it is wanted and a page fits.

        Staged pages serve prefill, resident ones decode: where both are wanted, staged pages take
        half at most, and resident ones, which are of all layers, the rest. Where one of those
        would not fit, staged ones take all.
        """
        base, end = -(-self.used // ALIGN) * ALIGN, self.chip.cluster.csram.bytes
        if resident and self._worthwhile():
            half = self._stage(base, base + (end - base) // 2) if staged else None
            kept = self._keep(base if half is None else base + half.nbytes, end)
            if kept is not None:
                return half, kept
        return self._stage(base, end) if staged else None, None

    def _worthwhile(self) -> bool:
        """Whether the clusters that have a layer's runs would give them as fast as HBM does."""
        csram, homes = self.chip.cluster.csram, min(self.config.kv_heads, self.chip.clusters)
        rate = homes * csram.bytes_per_cycle * self.chip.clock_hz
        return rate >= self.chip.hbm.bytes_per_second

    def _page(self) -> int:
        """Bytes of a head's keys and values."""
        return 2 * PAGE * self.config.head_dim * FORMATS[KV_FORMATS[self.kv]].bits // 8

    def _stage(self, base: int, end: int) -> Staged | None:
        page = self.config.kv_heads * self._page()
        pages = min(self.capacity.blocks, (end - base) // page)
        return Staged(base, pages, pages * page) if pages > 0 else None

    def _keep(self, base: int, end: int) -> Resident | None:
        runs = -(-self.config.layers * self.config.kv_heads // self.chip.clusters)
        pages = min((end - base) // (runs * self._page()), self.capacity.pages)
        return Resident(base, pages, runs, pages * self._page()) if pages > 0 else None
