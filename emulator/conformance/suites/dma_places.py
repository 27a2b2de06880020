"""Where the DMA suites' tensors lie: the kinds of memory as a tile sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from emulator.conformance.copies import Copies, Window
from emulator.conformance.image import BITS
from isa.chip import Chip
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format


@dataclass(frozen=True)
class Place:
    """A kind of memory: whose it is, seen from the issuing tile."""

    name: str
    space: Space
    whose: str  # "own", "named" (own, by number), "other", "far" (of another cluster)

    def owner(self, chip: Chip, tile: int) -> int:
        """The descriptor's owner."""
        if self.whose == "own" or self.space is Space.HBM:
            return -1
        return self.resolved(chip, tile)

    def resolved(self, chip: Chip, tile: int) -> int:
        """Whose memory it is, by number."""
        per = chip.tiles_per_cluster
        if self.space is Space.HBM:
            return 0
        if self.space is Space.CSRAM:
            cluster = tile // per
            return cluster if self.whose != "far" else (cluster + 1) % chip.clusters
        if self.whose == "other":
            return tile // per * per + (tile + 1) % per
        return tile if self.whose != "far" else (tile + per) % chip.num_tiles


PLACES: Final = (
    Place("hbm", Space.HBM, "own"),
    Place("csram", Space.CSRAM, "own"),
    Place("csram-named", Space.CSRAM, "named"),
    Place("csram-far", Space.CSRAM, "far"),
    Place("tsram", Space.TSRAM, "own"),
    Place("tsram-named", Space.TSRAM, "named"),
    Place("tsram-other", Space.TSRAM, "other"),
    Place("tsram-far", Space.TSRAM, "far"),
)


def open_at(c: Copies, place: Place, tile: int, base: int | None = None, size: int = 512) -> Window:
    """A window in a place."""
    return c.window(place.space, place.resolved(c.chip, tile), base, size)


def dense(
    window: Window, fmt: Format, shape: tuple[int, ...], at: int = 0, owner: int | None = None
) -> Descriptor:
    """A row-major tensor in a window."""
    whose = window.owner if owner is None else owner
    whose = -1 if window.space is Space.HBM else whose
    strides = contiguous(shape)
    return Descriptor(window.space, fmt, shape, strides, window.base + at, owner=whose)


def strided(
    window: Window, fmt: Format, shape: tuple[int, ...], strides: tuple[int, ...], at: int = 0
) -> Descriptor:
    """A tensor with strides of its own in a window."""
    whose = -1 if window.space is Space.HBM else window.owner
    return Descriptor(window.space, fmt, shape, strides, window.base + at, owner=whose)


def bytes_of(fmt: Format, count: int) -> int:
    """Bytes of dense elements."""
    return (count * BITS[fmt] + 7) // 8
