"""The memories of a chip, for both executors: HBM regions and the SRAMs, as NumPy bytes.

    memory = Memory.for_program(program, chip)
    memory.write(address, array_of_uint8); memory.read(address, nbytes)     # HBM, by the host
    memory.tsram[tile], memory.csram[cluster], memory.acc[tile]             # uint8 rows

Everything starts at zero, and untouched pages cost nothing: a 100 GB key-value cache is a
reservation until something is written. Regions that come from a program file are its own
copy-on-write map.
"""

from __future__ import annotations

import mmap
import sys
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isa.chip import Chip
from isa.errors import ProgramError
from isa.program import Program, RegionClass
from isa.program import Region as Declared

Bytes = NDArray[np.uint8]

IO_LIMIT = 64 << 20  #: bytes of an `io` region up to which timing-only runs hold it
_LAZY_LIMIT = 16 << 20  # beyond this, ask for pages that are not even reserved
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE; Python does not name it


class AddressError(ValueError):
    """A host access that does not lie inside one region, or in one without bytes."""


@dataclass(frozen=True, eq=False)
class Region:
    """A region of HBM. `data` is None where a timing-only run holds no bytes."""

    name: str
    base: int
    size: int
    writable: bool
    kind: RegionClass
    data: Bytes | None

    @property
    def end(self) -> int:
        """One past the last byte's address."""
        return self.base + self.size


@dataclass(frozen=True, eq=False)
class Memory:
    """All memories of one chip. Regions are sorted by base and do not overlap."""

    regions: tuple[Region, ...]
    tsram: Bytes  #: [tiles, bytes]
    csram: Bytes  #: [clusters, bytes]
    acc: Bytes  #: [tiles, bytes]

    @classmethod
    def for_program(cls, program: Program, chip: Chip, timing_only: bool = False) -> Memory:
        """Zeroed memories with the program's regions in place.

        Raises ProgramError if bytes are needed that the program is without.
        """
        program.check_chip(chip)
        declared = sorted(program.regions, key=lambda region: region.base)
        for before, after in pairwise(declared):
            if before.end > after.base:
                raise ProgramError(f"{program.path}: regions {before.name}, {after.name} overlap")
        return cls(
            tuple(_region(program, region, timing_only) for region in declared),
            zeros(chip.num_tiles, chip.tile.tsram.bytes),
            zeros(chip.clusters, chip.cluster.csram.bytes),
            zeros(chip.num_tiles, chip.tile.acc.bytes),
        )

    def find(self, address: int, nbytes: int) -> int:
        """Index of the region that holds all of [address, address + nbytes), or -1."""
        index = bisect_right(self.regions, address, key=lambda region: region.base) - 1
        if index < 0 or nbytes < 0 or address + nbytes > self.regions[index].end:
            return -1
        return index

    def view(self, address: int, nbytes: int) -> Bytes:
        """The bytes [address, address + nbytes) of HBM themselves, not a copy."""
        index = self.find(address, nbytes)
        if index < 0:
            raise AddressError(f"HBM {address:#x}, {nbytes} bytes: not inside one region")
        region = self.regions[index]
        if region.data is None:
            raise AddressError(f"region {region.name} holds no bytes in a timing-only run")
        return region.data[address - region.base : address - region.base + nbytes]

    def read(self, address: int, nbytes: int) -> Bytes:
        """A copy of [address, address + nbytes) of HBM."""
        return self.view(address, nbytes).copy()

    def write(self, address: int, data: Bytes | bytes) -> None:
        """Write bytes to HBM. The host may write regions that programs may only read."""
        source = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        self.view(address, source.size)[:] = source.reshape(-1)


def zeros(*shape: int) -> Bytes:
    """Zero bytes that take no memory until they are touched, however many."""
    size = 1
    for extent in shape:
        size *= extent
    if size < _LAZY_LIMIT or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(shape, np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8).reshape(shape)


def _region(program: Program, declared: Declared, timing_only: bool) -> Region:
    """A declared region with its bytes."""
    name, kind = declared.name, declared.kind
    real = kind == RegionClass.CONTROL or (kind == RegionClass.IO and declared.size <= IO_LIMIT)
    if timing_only and not real:
        return Region(name, declared.base, declared.size, declared.writable, kind, None)
    if declared.omitted:
        problem = f"region {name!r} is without its bytes: the program can only be timed"
        raise ProgramError(f"{program.path}: {problem}")
    data = declared.contents()
    if data is None:
        data = zeros(declared.size)
    elif declared.writable:
        # Machines may share a program; what they can write must be their own.
        data = np.array(data, np.uint8)
    data = np.ascontiguousarray(data)
    return Region(name, declared.base, declared.size, declared.writable, kind, data)
