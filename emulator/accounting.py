"""Traffic and work of a retire stream: sums that need no clock.

    accounting = Accounting(chip, ProgramInfo.of(program))
    for chunk in chunks:
        accounting.feed(chunk)
    traffic = accounting.take()         # a Traffic, and start again from zero

Bytes of HBM are given twice: useful (what the program asked for), and padded to the bursts that
the memory really transfers, address by address. The order of records does not matter.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.accounting_columns import CLASSES, HBM_COLUMNS, ROW_COLUMNS, TOTALS
from emulator.accounting_kernel import tally
from emulator.timing import layout as at
from emulator.timing.state import State, grown, make_state
from isa.chip import Chip
from isa.formats import Format
from isa.program import Program, RegionClass

Ints = NDArray[np.int64]

OTHER_CLASS = len(RegionClass)  #: HBM outside the regions the program declares
CLASS_NAMES = (*(kind.name.lower() for kind in RegionClass), "other")


@dataclass(frozen=True)
class ProgramInfo:
    """What of a program the reports need: operation names, and what the HBM regions hold."""

    ops: tuple[str, ...] = ()
    op_of_pc: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    region_classes: tuple[int, ...] = ()
    name: str = "program"

    @staticmethod
    def of(program: Program) -> "ProgramInfo":
        """The information in a program."""
        classes = tuple(int(region.kind) for region in program.regions)
        return ProgramInfo(program.debug.ops, program.debug.index, classes, program.path)

    def op_name(self, op: int) -> str:
        """Name of an operation; -1 stands for instructions that belong to none."""
        return self.ops[op] if 0 <= op < len(self.ops) else "(no operation)"


@dataclass
class Traffic:
    """Sums over a stream. Rows are operations in a context, in the order they were first seen."""

    keys: Ints  #: [rows, 2] operation (-1: none) and context
    rows: Ints  #: [rows, ROW_COLUMNS]
    hbm_rows: Ints  #: [rows, CLASS_NAMES, HBM_COLUMNS] bytes
    totals: Ints  #: [TOTALS]
    macs_by_formats: Ints  #: [formats of a, formats of w]

    @property
    def hbm(self) -> Ints:
        """Bytes of HBM by region class and column: [CLASS_NAMES, HBM_COLUMNS]."""
        return np.asarray(self.hbm_rows.sum(axis=0), np.int64)

    def row(self, name: str) -> Ints:
        """A column of the rows, by name."""
        return self.rows[:, ROW_COLUMNS.index(name)]

    def total(self, name: str) -> int:
        """A sum, by name."""
        return int(self.totals[TOTALS.index(name)])

    def hbm_bytes(self, column: str) -> dict[str, int]:
        """HBM bytes of a column (`read`, `read padded`, ...) by region class; zeros left out."""
        values = self.hbm[:, HBM_COLUMNS.index(column)]
        return {name: int(value) for name, value in zip(CLASS_NAMES, values, strict=True) if value}

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates by pair of formats, `activations x weights`."""
        return {
            f"{Format(a).name.lower()} x {Format(w).name.lower()}": int(count)
            for (a, w), count in np.ndenumerate(self.macs_by_formats)
            if count
        }


class Accounting:
    """Sums up retire streams."""

    def __init__(self, chip: Chip, info: ProgramInfo, state: State | None = None) -> None:
        state = make_state(chip) if state is None else state
        self._constants = state[:8]  # up to the places where things are attached
        self._op_of_pc = np.array(info.op_of_pc, np.int64)
        self._class_of_region = np.array((*info.region_classes, OTHER_CLASS), np.int64)
        self._stamps = np.zeros(int(state.p[at.R_COUNT]) + 1, np.int64)  # last: the stamp
        self._clear(64)

    def _clear(self, capacity: int) -> None:
        self._keys = np.zeros((capacity, 2), np.int64)
        self._by_row = np.zeros((capacity, len(ROW_COLUMNS)), np.int64)
        self._hash = np.full(4 * capacity, -1, np.int64)
        self._count = np.zeros(1, np.int64)
        self._hbm = np.zeros((CLASSES * capacity, len(HBM_COLUMNS)), np.int64)
        self._totals = np.zeros(len(TOTALS), np.int64)
        self._macs = np.zeros((len(Format), len(Format)), np.int64)
        self._placed: Ints | None = None  # where these are, for `tally`

    def feed(self, chunk: Ints) -> NDArray[np.int64]:
        """Add records [n, 16]: the number of each one's row."""
        chunk = np.ascontiguousarray(chunk, np.int64)
        rows = np.empty(len(chunk), np.int64)
        done = 0
        while done < len(chunk):
            done = tally(self._addresses(chunk, rows), done)
            if done < len(chunk):
                self._grow()
        return rows

    def _addresses(self, chunk: Ints, rows: Ints) -> Ints:
        """Address and length of every array, in the order in which `tally` takes them."""
        if self._placed is None:  # asking NumPy for all of them takes as long as some 100 records
            kept = (
                *self._constants,
                self._stamps,
                self._op_of_pc,
                self._class_of_region,
                self._hash,
                self._count,
                self._keys,
                self._by_row,
                self._hbm,
                self._totals,
                self._macs,
            )
            pairs = [*((array.ctypes.data, len(array)) for array in kept), (0, 0), (0, 0)]
            self._placed = np.array(pairs, np.int64)
        self._placed[-2] = chunk.ctypes.data, len(chunk)
        self._placed[-1] = rows.ctypes.data, len(rows)
        return self._placed

    def _grow(self) -> None:
        """Double the rows; the kernel fills the new hash table when it next needs it."""
        capacity = 2 * len(self._keys)
        self._keys = grown(self._keys, capacity)
        self._by_row = grown(self._by_row, capacity)
        self._hbm = grown(self._hbm, CLASSES * capacity)
        self._hash = np.full(4 * capacity, -2, np.int64)  # -2 in front: to be filled anew
        self._placed = None

    @property
    def keys(self) -> Ints:
        """Operation and context of each row so far."""
        return self._keys[: self.row_count]

    @property
    def row_count(self) -> int:
        """Rows so far."""
        return int(self._count[0])

    def take(self) -> Traffic:
        """The sums since the last call; they start again from zero."""
        count = self.row_count
        traffic = Traffic(
            self._keys[:count].copy(),
            self._by_row[:count].copy(),
            self._hbm[: CLASSES * count].reshape(count, CLASSES, len(HBM_COLUMNS)).copy(),
            self._totals,
            self._macs,
        )
        self._clear(len(self._keys))
        return traffic
