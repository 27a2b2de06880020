"""Rows of the vector unit, the quantise unit and the conversions, against reading memory.

Each row's value is the bytes an operation must read and write, per second, on one thread. It is a
series of calls, each on operands that fit a tile's memory, over more memory than the caches hold,
as when the tiles of a chip take their turns. What is written counts like what is read, although
memory takes longer for it: the yardstick is the faster of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from emulator.bench.host import Host
from emulator.bench.measure import in_turns, one_thread
from emulator.bench.rows import Bar, Entry, Measured
from emulator.bench.stored import KernelCall, Matrix, aligned
from emulator.kernels.scratch import SCRATCH_BYTES
from isa.formats import Format, ScaleKind

GIGA = 1e9
BAR = Bar(">=", 0.5)  #: within 2x of the bandwidth
COLUMNS = 2048
TILE_ROWS = 64  #: of a call
TOP = 8

FP32, BF16, FP8, FP4 = Format.FP32, Format.BF16, Format.E4M3FN, Format.E2M1
U8, I32, E8M0 = Format.U8, Format.I32, Format.E8M0


@dataclass(frozen=True)
class Shape:
    """An operand: its format, and its size where that is not a tile's rows."""

    fmt: Format
    kind: ScaleKind = ScaleKind.NONE
    columns: int = COLUMNS
    rows: int = TILE_ROWS

    def rooms(self, tiles: int) -> list[Matrix]:
        """Destinations of all tiles, which lie together as the memories of tiles do."""
        return self._cut(Matrix.room(self.fmt, self.rows * tiles, self.columns, self.kind))

    def filled(self, tiles: int, seed: int) -> list[Matrix]:
        """Sources of all tiles: Gaussian, or zeros where the format is no float's."""
        if self.fmt in (U8, I32, E8M0):
            return self.rooms(tiles)
        rows = self.rows * tiles
        return self._cut(Matrix.random(self.fmt, rows, self.columns, self.kind, seed=seed))

    def _cut(self, whole: Matrix) -> list[Matrix]:
        return [whole.part(row, row + self.rows) for row in range(0, whole.rows, self.rows)]


@dataclass(frozen=True)
class Operation:
    """An instruction on operands: destinations, then sources."""

    name: str
    mnemonic: str
    out: Sequence[Shape]
    sources: Sequence[Shape | None]


def _plain(mnemonic: str, count: int, fmt: Format = FP32) -> Operation:
    name = f"{mnemonic}_{fmt.name.lower()}"
    return Operation(name, mnemonic, [Shape(fmt)], [Shape(fmt)] * count)


def _convert(out: Format, source: Format) -> Operation:
    short = {FP32: "fp32", BF16: "bf16", FP8: "fp8", FP4: "fp4"}
    return Operation(f"vcvt_{short[source]}_to_{short[out]}", "vcvt", [Shape(out)], [Shape(source)])


def _quantise(name: str, fmt: Format, kind: ScaleKind, source: Format = FP32) -> Operation:
    return Operation(f"vquant_{name}", "vquant", [Shape(fmt, kind)], [Shape(source)])


_COLUMN = Shape(FP32, columns=1)
OPERATIONS = (
    _plain("vadd", 2),
    _plain("vadd", 2, BF16),
    _plain("vmul", 2),
    _plain("vdiv", 2),
    _plain("vmax", 2),
    _plain("vmuladd2", 4),
    _plain("vsqrt", 1),
    _plain("vrcp", 1),
    _plain("vrsqrt", 1),
    _plain("vexp2", 1),
    Operation("vcmp_fp32", "vcmp", [Shape(U8)], [Shape(FP32)] * 2),
    Operation("vsel_fp32", "vsel", [Shape(FP32)], [Shape(U8), Shape(FP32), Shape(FP32)]),
    _plain("vcopy", 1),
    Operation(
        "vtrans_fp32", "vtrans", [Shape(FP32, columns=TILE_ROWS, rows=COLUMNS)], [Shape(FP32)]
    ),
    _plain("vscan", 1),
    Operation("vrsum_fp32", "vrsum", [_COLUMN], [Shape(FP32), None]),
    Operation("vrmax_fp32", "vrmax", [_COLUMN], [Shape(FP32), None]),
    Operation("vargmax_fp32", "vargmax", [Shape(I32, columns=1)], [Shape(FP32)]),
    Operation(
        "vtopk_fp32", "vtopk", [Shape(FP32, columns=TOP), Shape(I32, columns=TOP)], [Shape(FP32)]
    ),
    Operation("readout_bf16", "readout", [Shape(BF16)], [Shape(FP32), None, Shape(FP32, rows=1)]),
    *(_convert(out, FP32) for out in (BF16, FP8, FP4)),
    *(_convert(FP32, source) for source in (BF16, FP8, FP4)),
    _quantise("mxfp8", FP8, ScaleKind.MX32),
    _quantise("mxfp8_from_bf16", FP8, ScaleKind.MX32, BF16),
    _quantise("mxfp4", FP4, ScaleKind.MX32),
    _quantise("nvfp4", FP4, ScaleKind.NV16),
    Operation("vquantr_fp8", "vquantr", [Shape(FP8), Shape(E8M0, columns=1)], [Shape(FP32)]),
)


def entries() -> list[Entry]:
    """A row for each operation."""
    return [
        Entry(operation.name, "GB/s", partial(measure, operation), "read bandwidth, 1 thread", BAR)
        for operation in OPERATIONS
    ]


def measure(operation: Operation, host: Host) -> Measured:
    """One thread, in turns with reading memory."""
    tiles = max(1, host.effort.vector_bytes // (4 * COLUMNS * TILE_ROWS))
    operands = _operands(operation, tiles)
    scratch = aligned(SCRATCH_BYTES)
    calls = [KernelCall(operation.mnemonic, each, scratch) for each in operands]
    moved = sum(matrix.nbytes for each in operands for matrix in each if matrix is not None)
    method, reading = host.reading(1)
    probe = one_thread(float(moved), lambda: [call() for call in calls])
    rate, limit = in_turns(probe, reading, host.effort.repeats)
    elements = float(tiles) * TILE_ROWS * COLUMNS
    note = f"{rate / moved * elements / GIGA:.2f} G elements/s; read by {method}"
    return Measured(rate / GIGA, limit / GIGA, note, elements, moved, 1)


def _operands(operation: Operation, tiles: int) -> list[tuple[Matrix | None, ...]]:
    """Destinations and sources of each tile's call."""
    absent: list[Matrix | None] = [None] * tiles
    out = [shape.rooms(tiles) for shape in operation.out]
    sources = [
        absent if shape is None else list(shape.filled(tiles, seed))
        for seed, shape in enumerate(operation.sources)
    ]
    return list(zip(*out, *sources, strict=True))
