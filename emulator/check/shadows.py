"""The shadow of every memory: eight bytes for each byte, that take no room until they are used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.check import layout as at
from emulator.memory import zeros
from isa.chip import Chip
from isa.errors import ProgramError
from isa.program import Program, Region, Role, Symbol

_PIECE = 1 << 17  # cells renewed at a time


class Shadows:
    """Shadows of CSRAM, TSRAM, accumulators and HBM regions; `places`: their rows for the checker.

    Regions that have data and cannot be written need none: they are always as they were.
    """

    def __init__(self, program: Program, chip: Chip) -> None:
        self.regions = sorted(program.regions, key=lambda region: region.base)
        sizes = {
            at.CSRAM: (chip.clusters, chip.cluster.csram.bytes),
            at.TSRAM: (chip.num_tiles, chip.tile.tsram.bytes),
            at.ACC: (chip.num_tiles, chip.tile.acc.bytes),
        }
        self.places = np.zeros((at.REGIONS + len(self.regions), at.P_WORDS), np.int64)
        self.cells: dict[int, NDArray[np.int64]] = {}
        for place, (owners, nbytes) in sizes.items():
            # Only its own matrix unit reads an accumulator, so nobody else can be in its way.
            self._add(place, owners * nbytes, nbytes, 0, place != at.ACC, known=False)
        symbols = [symbol for symbol in program.symbols if symbol.role is not Role.OUT]
        for number, region in enumerate(self.regions):
            if region.writable or not region.has_data:
                known = region.has_data or _covers(region, symbols)
                place = at.REGIONS + number
                self._add(place, region.size, region.size, region.base, region.writable, known)
        self.places[at.CSRAM, [at.P_PADDING, at.P_BEYOND]] = padding_of(program)
        for symbol in symbols:
            self.host_writes(symbol.address, symbol.size)

    def _add(
        self, place: int, cells: int, nbytes: int, origin: int, reads: bool, known: bool
    ) -> None:
        self.cells[place] = zeros(cells, 8).view(np.int64).reshape(-1)
        row = (self.cells[place].ctypes.data, nbytes, origin, reads, known)
        self.places[place, : len(row)] = row

    def host_writes(self, address: int, nbytes: int) -> None:
        """The host has written HBM, between two entries."""
        for number, region in enumerate(self.regions):
            place = at.REGIONS + number
            if place not in self.cells or self.places[place, at.P_KNOWN]:
                continue
            if region.base <= address < region.end:
                first = address - region.base
                self.cells[place][first : first + nbytes] = at.BEFORE

    def renew(self) -> None:
        """All that was written was written before; nobody is reading."""
        for cells in self.cells.values():
            for start in range(0, len(cells), _PIECE):
                piece = cells[start : start + _PIECE]
                if piece.any():  # what was never used takes no room here either
                    piece[:] = np.minimum(piece & 0xFFFFFFFF, at.BEFORE)


def padding_of(program: Program) -> tuple[int, int]:
    """Bytes of every CSRAM that may be read unwritten: {"check": {"padding": {"csram": [0, 64]}}}.

    Raises ProgramError if that is anything else.
    """
    check = program.metadata.get("check", {})
    declared = check.get("padding", {}) if isinstance(check, dict) else {}
    match declared:
        case {"csram": [int(first), int(beyond)]} if len(declared) == 1:
            if 0 <= first <= beyond < 1 << 48:
                return first, beyond
        case {} if declared == {}:
            return 0, 0
    problem = 'metadata: check.padding: expected {"csram": [first byte, byte behind the last]}'
    raise ProgramError(f"{program.path}: {problem}")


def _covers(region: Region, symbols: Sequence[Symbol]) -> bool:
    """Whether symbols lie on all of a region, however large: then nothing need be marked in it."""
    reached = region.base
    for symbol in sorted(symbols, key=lambda symbol: symbol.address):
        if symbol.address <= reached:
            reached = max(reached, symbol.address + symbol.size)
    return reached >= region.end
