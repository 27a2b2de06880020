"""A program in memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.chip import Chip, architecture_digest
from isa.errors import ProgramError
from isa.formats import FORMATS, Format
from isa.spec import ISA_VERSION

Chunk = bytes | bytearray | memoryview | NDArray[Any]
#: Gives a region's bytes piece by piece, from the start at every call.
Source = Callable[[], Iterable[Chunk]]


class RegionClass(IntEnum):
    """What a region holds, for traffic by class. The codes are frozen: files hold them."""

    WEIGHTS = 0
    SCALES = 1
    EMBEDDINGS = 2
    KV = 3
    ACTIVATIONS = 4
    TABLES = 5  #: constants such as RoPE's
    CONTROL = 6  #: small, host-written row tables and the like: real even when only timing
    IO = 7  #: what the host reads


class Role(IntEnum):
    """What the host does with a symbol. The codes are frozen: files hold them."""

    IN = 0
    OUT = 1
    STATE = 2


@dataclass(frozen=True, eq=False)
class Region:
    """A range of HBM. Without ``data`` and ``source`` it is zero at start.

    ``data`` is a uint8 array of ``size`` bytes; after loading, a private view of the file.
    ``source`` gives the same bytes in pieces, so that a large program need not be in memory to
    be written. ``omitted`` says that there are bytes, and that the program is without them: it
    can be timed, and not executed.
    """

    name: str
    base: int
    size: int
    kind: RegionClass
    writable: bool = False
    data: NDArray[np.uint8] | None = None
    source: Source | None = None
    omitted: bool = False

    @property
    def end(self) -> int:
        """One past the last byte's address."""
        return self.base + self.size

    @property
    def has_data(self) -> bool:
        """Whether the region starts with given bytes rather than zeros."""
        return self.data is not None or self.source is not None

    def contents(self) -> NDArray[np.uint8] | None:
        """The bytes, made from ``source`` if need be; None if zero at start or omitted."""
        if self.source is None:
            return self.data
        return np.concatenate([as_bytes(chunk) for chunk in self.source()] or [np.empty(0, "u1")])


@dataclass(frozen=True)
class Symbol:
    """A tensor the host may name: row-major at an HBM address, inside one region."""

    name: str
    address: int
    shape: tuple[int, ...]
    format: Format
    role: Role

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def size(self) -> int:
        """Number of bytes; 4-bit elements lie two to a byte."""
        return (self.elements * FORMATS[self.format].bits + 7) // 8


@dataclass(frozen=True, eq=False)
class Debug:
    """Names of graph operations, and for each instruction its operation's index (-1: none).

    An empty ``index`` says nothing about any instruction.
    """

    ops: tuple[str, ...] = ()
    index: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))


@dataclass(frozen=True)
class RequiredChip:
    """The chip a program was made for: its name, and all that code depends on."""

    name: str
    architecture: dict[str, int]

    @property
    def digest(self) -> str:
        """Equal to the digest of every chip that can run the program."""
        return architecture_digest(self.architecture)


def require(chip: Chip) -> RequiredChip:
    """What a program made for ``chip`` requires."""
    return RequiredChip(chip.name, dict(chip.architecture))


@dataclass(frozen=True, eq=False)
class Program:
    """A program: see docs/architecture.md, section 3.

    ``code`` is uint64 [n, 2], low word first; ``descriptors`` int64 [m, 16]; ``entries`` maps
    names to instruction indices. ``path`` names the program in errors; ``isa`` is the version
    whose specification it was made by.
    """

    code: NDArray[np.uint64]
    descriptors: NDArray[np.int64]
    entries: dict[str, int]
    regions: tuple[Region, ...]
    symbols: tuple[Symbol, ...]
    chip: RequiredChip
    debug: Debug = field(default_factory=Debug)
    metadata: dict[str, Any] = field(default_factory=dict)
    tokenizer: bytes | None = None
    isa: tuple[int, int] = ISA_VERSION
    path: str = "program"

    @property
    def timing_only(self) -> bool:
        """Whether bytes are missing, so that the program can only be timed."""
        return any(region.omitted for region in self.regions)

    def symbol(self, name: str) -> Symbol:
        """The symbol of that name; ProgramError names those there are."""
        for symbol in self.symbols:
            if symbol.name == name:
                return symbol
        known = ", ".join(symbol.name for symbol in self.symbols) or "none"
        raise ProgramError(f"{self.path}: no symbol {name!r}; it has {known}")

    def region(self, name: str) -> Region:
        """The region of that name; ProgramError names those there are."""
        for region in self.regions:
            if region.name == name:
                return region
        known = ", ".join(region.name for region in self.regions) or "none"
        raise ProgramError(f"{self.path}: no region {name!r}; it has {known}")

    def region_at(self, address: int) -> Region | None:
        """The region an HBM address lies in."""
        return next((r for r in self.regions if r.base <= address < r.end), None)

    def entry(self, name: str) -> int:
        """The instruction an entry starts at; ProgramError names the entries there are."""
        if name not in self.entries:
            known = ", ".join(self.entries) or "none"
            raise ProgramError(f"{self.path}: no entry {name!r}; it has {known}")
        return self.entries[name]

    def op_name(self, pc: int) -> str | None:
        """The graph operation an instruction came from, if the program says."""
        if not 0 <= pc < len(self.debug.index) or self.debug.index[pc] < 0:
            return None
        return self.debug.ops[int(self.debug.index[pc])]

    def check_chip(self, chip: Chip) -> None:
        """Raise ProgramError if the program was not made for such a chip, saying what differs."""
        mine, other = self.chip.architecture, chip.architecture
        differing = [key for key in other | mine if mine.get(key) != other.get(key)]
        if differing:
            first = differing[0]
            raise ProgramError(
                f"{self.path}: required chip: made for {self.chip.name} with {first} = "
                f"{mine.get(first)}, not for {chip.name} with {first} = {other.get(first)}; "
                f"make it again with --chip {chip.name}"
            )


def as_bytes(chunk: Chunk) -> NDArray[np.uint8]:
    """The bytes of a chunk, without a copy where it is contiguous."""
    if isinstance(chunk, np.ndarray):
        return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
    return np.frombuffer(chunk, np.uint8)
