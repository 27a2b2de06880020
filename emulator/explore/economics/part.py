"""A chip as a thing that is made: its description, and what its file says of the real part."""

from __future__ import annotations

from dataclasses import dataclass

from isa.chip import Chip
from isa.chip_about import About


@dataclass(frozen=True)
class Part:
    """A chip with what is known of it beside its architecture."""

    chip: Chip
    about: About | None = None
    #: The chip that `about` describes, if `chip` is a variation of it.
    base: Chip | None = None

    @staticmethod
    def load(name_or_path: str) -> Part:
        """A chip by name or file, with what its file says of itself."""
        from isa.chip import load_about, load_chip

        return Part(load_chip(name_or_path), load_about(name_or_path))

    def varied(self, chip: Chip) -> Part:
        """A variation of this part: what no model knows of it stays the same."""
        return Part(chip, self.about, self.base or self.chip)

    @property
    def node(self) -> str | None:
        """The process, None for the technology's default."""
        return None if self.about is None else self.about.node

    @property
    def weights(self) -> str:
        """Where the weights lie: hbm, sram or hardwired."""
        return "hbm" if self.about is None else self.about.weights

    @property
    def dies(self) -> int:
        """Compute dies in the package."""
        return int(self.figure("dies") or 1)

    @property
    def share(self) -> float:
        """Which share of a package and its server the chip is: below 1 for a core of several."""
        return self.figure("share") or 1.0

    @property
    def has_hbm(self) -> bool:
        """Whether there is any HBM."""
        return self.chip.hbm.bytes > 0

    def figure(self, name: str) -> float | None:
        """A published figure; None if none is known."""
        return None if self.about is None else self.about.figure(name)


def sram_bytes(chip: Chip) -> int:
    """All SRAM that programs see: tiles', accumulators', clusters'."""
    tile = chip.tile
    return (
        chip.num_tiles * (tile.tsram.bytes + tile.acc.bytes)
        + chip.clusters * chip.cluster.csram.bytes
    )


def peak_flops(chip: Chip, a_bits: int, w_bits: int) -> float:
    """Dense FLOP/s of all arrays for operands of these widths; a MAC is two."""
    mxu = chip.tile.mxu
    return 2 * mxu.rows * mxu.columns * mxu.rate(a_bits, w_bits) * chip.num_tiles * chip.clock_hz
