"""The executor's own memory, filled in from a program, a chip and their memories."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import retire
from emulator.fast import layout as at
from emulator.fast.postponed import LEAST as LEAST_COPY
from emulator.fast.postponed import P_WORDS
from emulator.fast.rules import rule_table
from emulator.kernels.scratch import LINE
from emulator.memory import Memory, zeros
from isa.chip import Chip
from isa.codec import decode_program
from isa.errors import ProgramError
from isa.faults import DMA0, NUM_UNITS
from isa.program import Program, RegionClass
from isa.spec import INSTRUCTIONS
from isa.spec.model import NO_DESCRIPTOR

Words = NDArray[np.int64]

#: Retire records of a tile between two supersteps: few, so they stay in caches. A power of two.
RING_ROWS = 256
ALL_RING_ROWS = 1 << 17  # of all tiles together, beyond 64 for each
_SITES = 1 << 12  # numbers that the slot of an instruction holds
BUDGET = 1 << 15  # a tile's share of a superstep: some 100 us
#: What one worker does before it wakes others: some 100 us, as long as waking takes (estimate).
ALONE = 1 << 15


def address(array: NDArray[Any]) -> int:
    """Host address of an array's first byte. The caller keeps the array."""
    return int(array.ctypes.data)


def lines(rows: int, nbytes: int) -> NDArray[np.uint8]:
    """Zero bytes [rows, nbytes] that begin with a cache line: descriptors then lie in two each."""
    memory = zeros(rows * nbytes + LINE)
    first = -address(memory) % LINE
    return memory[first : first + rows * nbytes].reshape(rows, nbytes)


class Blocks:
    """All blocks of one machine. They must stay where they are: compiled code has addresses."""

    def __init__(self, program: Program, chip: Chip, memory: Memory, timing_only: bool) -> None:
        self.memory = memory
        self.rows = decoded_rows(program, chip)
        self.rules = rule_table()
        self.regions = _region_rows(memory)
        self.table = np.ascontiguousarray(program.descriptors, np.int64).reshape(-1, 16)
        self.kernels = np.zeros(256, np.int64)
        self.sites = _site_rows(program)
        self.tiles = lines(chip.num_tiles, at.T_WORDS * 8).view(np.int64)
        self.rings: list[Words] = []
        slots = NUM_UNITS * chip.tile.queue_depth
        self.queues = lines(chip.num_tiles, slots * 8 * at.Q_WORDS)
        self.machine = np.zeros(at.M_WORDS, np.int64)
        self.postponed = np.zeros((chip.num_tiles, P_WORDS), np.int64)
        self._fill_machine(chip, timing_only)
        tiles = np.arange(chip.num_tiles)
        self.tiles[:, at.T_ID] = tiles
        self.tiles[:, at.T_CLUSTER] = tiles // chip.tiles_per_cluster
        self.tiles[:, at.T_QUEUES] = address(self.queues) + tiles * self.queues.shape[1]

    def _fill_machine(self, chip: Chip, timing_only: bool) -> None:
        memory, m = self.memory, self.machine
        m[at.M_TILES] = chip.num_tiles
        m[at.M_TILES_PER_CLUSTER] = chip.tiles_per_cluster
        m[at.M_CLUSTERS] = chip.clusters
        m[at.M_CODE], m[at.M_CODE_ROWS] = address(self.rows), len(self.rows)
        m[at.M_TABLE], m[at.M_TABLE_ROWS] = address(self.table), len(self.table)
        m[at.M_QUEUE_DEPTH] = chip.tile.queue_depth
        m[at.M_REGIONS], m[at.M_REGION_ROWS] = address(self.regions), len(self.regions)
        for word, array in (
            (at.M_TSRAM, memory.tsram),
            (at.M_CSRAM, memory.csram),
            (at.M_ACC, memory.acc),
        ):
            m[word], m[word + 1] = address(array), array.shape[1]
        m[at.M_KERNELS], m[at.M_RULES] = address(self.kernels), address(self.rules)
        m[at.M_TILE0] = address(self.tiles)
        m[at.M_TIMING_ONLY] = timing_only
        m[at.M_BUDGET] = BUDGET
        m[at.M_LEAST_COPY] = LEAST_COPY
        m[at.M_ALONE] = ALONE
        m[at.M_SITES] = address(self.sites) if len(self.sites) else 0

    def start(self, pc: int, arguments: list[int], recording: bool) -> None:
        """Clear what ringing an entry clears, and put the arguments in place."""
        for first, beyond in at.T_CLEARED:
            self.tiles[:, first:beyond] = 0
        self.tiles[:, at.T_PC] = pc
        self.tiles[:, at.T_RUNNABLE] = 1
        first = at.T_REGISTERS + 1
        self.tiles[:, first : first + len(arguments)] = arguments
        self.machine[at.M_RECORDING] = recording
        if recording and not self.rings:
            share = max(64, ALL_RING_ROWS // len(self.tiles))
            rows = min(RING_ROWS, 1 << share.bit_length() - 1)
            for tile in range(len(self.tiles)):
                self.rings.append(np.empty((rows, retire.WORDS), np.int64))
                self._place_ring(tile)

    def _place_ring(self, tile: int) -> None:
        self.tiles[tile, at.T_RING] = address(self.rings[tile])
        self.tiles[tile, at.T_RING_ROWS] = len(self.rings[tile])

    def queue_head(self, tile: int, unit: int, head: int) -> tuple[int, int]:
        """The pc and the number (rb + immediate) at the head of a unit's queue."""
        depth = int(self.machine[at.M_QUEUE_DEPTH])
        slot = 8 * at.Q_WORDS * (unit * depth + head)
        words = self.queues[tile, slot : slot + 16].view(np.int64)
        return int(words[at.Q_PC]), int(words[at.Q_NUMBER])

    def grow_rings(self) -> None:
        """Double the rings that are more than half full although they have been drained.

        A unit that waits for long holds back the records of everything issued after its wait.
        """
        held = self.tiles[:, at.T_RING_TAIL] - self.tiles[:, at.T_RING_HEAD]
        for tile in np.flatnonzero(2 * held > self.tiles[:, at.T_RING_ROWS]):
            old = self.rings[tile]
            numbers = np.arange(self.tiles[tile, at.T_RING_HEAD], self.tiles[tile, at.T_RING_TAIL])
            new = np.empty((2 * len(old), retire.WORDS), np.int64)
            new[numbers % len(new)] = old[numbers % len(old)]
            self.rings[tile] = new
            self._place_ring(int(tile))


def decoded_rows(program: Program, chip: Chip) -> NDArray[np.uint8]:
    """The program as the loop reads it: uint8 [n, ROW_BYTES]; opcode 0 is illegal."""
    decoded = decode_program(program.code)
    rows = np.zeros((len(decoded), at.ROW_BYTES), np.uint8)
    for offset, name in (
        (at.ROW_OP, "op"),
        (at.ROW_FLAGS, "flags"),
        (at.ROW_RD, "rd"),
        (at.ROW_RA, "ra"),
        (at.ROW_RB, "rb"),
        (at.ROW_UNIT, "exec_unit"),
        (at.ROW_SEM, "sem"),
        (at.ROW_SCOPE, "scope"),
        (at.ROW_SEL, "sel"),
        *((at.ROW_D + i, f"d{i}") for i in range(5)),
    ):
        rows[:, offset] = decoded[name]
    rows[:, at.ROW_IMM : at.ROW_IMM + 8] = _as_bytes(decoded["imm"], np.int64)
    rows[:, at.ROW_TARGET : at.ROW_TARGET + 4] = _as_bytes(decoded["target"], np.uint32)
    rows[:, at.ROW_SITE : at.ROW_SITE + 4] = _as_bytes(decoded["site"], np.uint32)
    # A channel that the chip lacks makes an instruction illegal.
    rows[decoded["exec_unit"] >= DMA0 + chip.tile.dma.channels, at.ROW_OP] = 0
    for index in range(5):
        used = _descriptors_used(decoded["op"], index)
        rows[~used, at.ROW_D + index] = NO_DESCRIPTOR
    return rows


def _as_bytes(values: NDArray[Any], dtype: type) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values.astype(dtype)).view(np.uint8).reshape(len(values), -1)


def _descriptors_used(opcodes: NDArray[np.int64], index: int) -> NDArray[np.bool_]:
    """Whether slot d<index> belongs to an operand of each instruction."""
    table = np.zeros(256, np.bool_)
    for entry in INSTRUCTIONS:
        table[entry.opcode] = any(operand.slot == f"d{index}" for operand in entry.operands)
    return table[opcodes]


def _region_rows(memory: Memory) -> Words:
    rows = np.zeros((len(memory.regions), at.REGION_WORDS), np.int64)
    for row, region in zip(rows, memory.regions, strict=True):
        row[at.REGION_BASE], row[at.REGION_END] = region.base, region.end
        row[at.REGION_HOST] = 0 if region.data is None else address(region.data)
        row[at.REGION_WRITABLE] = region.writable
        row[at.REGION_CONTROL] = region.kind == RegionClass.CONTROL
    return rows


def _site_rows(program: Program) -> Words:
    """Choice sites of the program's metadata: {"choice_sites": {"3": {"low": 0, "high": 8}}}.

    A timing-only run draws a site's values uniformly from low..high-1.
    """
    sites = program.metadata.get("choice_sites", {})
    if not sites:
        return np.zeros((0, at.SITE_WORDS), np.int64)
    rows = np.zeros((_SITES, at.SITE_WORDS), np.int64)
    for name, site in sites.items() if isinstance(sites, dict) else [("", sites)]:
        if not _is_site(name, site):
            problem = f"choice site {name!r}: expected a number below 4096 with low and high"
            raise ProgramError(f"{program.path}: metadata: {problem}")
        rows[int(name)] = (site["low"], site["high"] - site["low"])
    return rows


def _is_site(name: str, site: object) -> bool:
    """Whether an instruction can name the site, and its bounds are what an `ld` can give."""
    bounds = [site.get("low"), site.get("high")] if isinstance(site, dict) else [None]
    known = name.isascii() and name.isdecimal() and len(name) < 5 and int(name) < _SITES
    return known and all(type(bound) is int and abs(bound) <= 1 << 31 for bound in bounds)
