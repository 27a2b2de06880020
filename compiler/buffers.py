"""Activations between phases: every cluster's CSRAM holds a copy, or HBM does where it is full."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arena import Arena, DoesNotFit
from compiler.config import ModelConfig
from compiler.fuse import Phases
from compiler.hbm import Capacity
from compiler.matrices import Matrix
from compiler.precision import PRECISIONS, Precision
from isa.chip import Chip
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format

ROW_ALIGN = 64


@dataclass(frozen=True)
class Bytes:
    """Rows of bytes in CSRAM (written to `fan` clusters) or HBM."""

    name: str
    space: Space
    base: int
    rows: int
    row_bytes: int
    fan: int

    def view(self, fmt: Format, size: int, columns: int, written: bool = False) -> Descriptor:
        """[rows, columns] of a format of `size` bytes; the first columns of each row.

        As a DMA destination (`written`) it names all its owners.
        """
        everywhere = written and self.space is Space.CSRAM
        return Descriptor(
            self.space,
            fmt,
            (self.rows, columns),
            (self.row_bytes // size, 1),
            self.base,
            owner=0 if everywhere else -1,
            fan=self.fan if everywhere else 1,
            fanstep=1 if everywhere else 0,
        )

    def raw(self, written: bool = False) -> Descriptor:
        """[rows, row_bytes] of bytes."""
        return self.view(Format.U8, 1, self.row_bytes, written)


@dataclass(frozen=True)
class Rows:
    """A matrix of activations, `columns` wide, in a precision, with its scales."""

    name: str
    columns: int
    precision: Precision
    data: Bytes
    scales: Bytes | None
    row_scale: Bytes | None


@dataclass(frozen=True)
class Buffers:
    """Every activation buffer by name; `csram` and `spill` bytes are taken in all."""

    rows: dict[str, Rows]
    raw: dict[str, Bytes]
    csram: int
    spill: int


FP32 = Precision("fp32", Format.FP32, 32)


class _Placer:
    def __init__(self, chip: Chip) -> None:
        self.csram = Arena("CSRAM", chip.cluster.csram.bytes)
        self.spill = Arena("activations", 1 << 46)
        self.clusters = chip.clusters

    def bytes(self, name: str, rows: int, row_bytes: int) -> Bytes:
        stride = -(-row_bytes // ROW_ALIGN) * ROW_ALIGN
        try:
            base = self.csram.take(name, rows * stride)
            return Bytes(name, Space.CSRAM, base, rows, stride, self.clusters)
        except DoesNotFit:
            base = self.spill.take(name, rows * stride)
            return Bytes(name, Space.HBM, base, rows, stride, 1)

    def rows(self, name: str, rows: int, columns: int, precision: Precision) -> Rows:
        data = self.bytes(f"{name}.data", rows, precision.data_bytes(columns))
        scales = row_scale = None
        if precision.block:
            scales = self.bytes(f"{name}.scales", rows, precision.scale_bytes(columns))
        if precision.row_scaled:
            row_scale = self.bytes(f"{name}.row_scale", 1, rows)
        return Rows(name, columns, precision, data, scales, row_scale)


def layout_buffers(
    config: ModelConfig,
    phases: Phases,
    matrices: dict[str, Matrix],
    capacity: Capacity,
    activations: Precision,
    chip: Chip,
) -> Buffers:
    """Place the activations of a step; most reused first."""
    place, rows = _Placer(chip), capacity.rows
    wide = config.heads * config.head_dim
    quantised = {phase.name: phase.quantised for phase in phases.layer}
    o_precision = activations if quantised["attention"] else FP32
    f_precision = activations if quantised["gate_up"] else FP32
    qkv_columns = matrices["qkv"].panels * PANEL_COLUMNS
    found = [
        place.rows("x", rows, config.hidden, FP32),
        place.rows("h", rows, config.hidden, activations),
        place.rows("qkv", rows, qkv_columns, FP32),
        place.rows("q", rows, wide, PRECISIONS["bf16"]),
        place.rows("o", rows, wide, o_precision),
        place.rows("f", rows, config.ffn, f_precision),
        place.rows("hw", capacity.wanted, config.hidden, activations),
    ]
    if not quantised["attention"]:
        found.append(place.rows("oq", rows, wide, activations))
    if not quantised["gate_up"]:
        found.append(place.rows("fq", rows, config.ffn, activations))
    candidates = 4 * chip.num_tiles * capacity.top_k
    raw = {
        "cand_values": place.bytes("cand_values", capacity.wanted, candidates),
        "cand_ids": place.bytes("cand_ids", capacity.wanted, candidates),
    }
    return Buffers({b.name: b for b in found}, raw, place.csram.top, place.spill.top)


def at_address(buffers: Buffers, spill_base: int) -> Buffers:
    """The same buffers once the HBM address of the spilled ones is known."""

    def moved(part: Bytes | None) -> Bytes | None:
        if part is None or part.space is not Space.HBM:
            return part
        return Bytes(
            part.name, part.space, part.base + spill_base, part.rows, part.row_bytes, part.fan
        )

    rows = {
        name: Rows(
            name, b.columns, b.precision, _some(moved(b.data)), moved(b.scales), moved(b.row_scale)
        )
        for name, b in buffers.rows.items()
    }
    raw = {name: _some(moved(part)) for name, part in buffers.raw.items()}
    return Buffers(rows, raw, buffers.csram, buffers.spill)


def _some(part: Bytes | None) -> Bytes:
    assert part is not None
    return part
