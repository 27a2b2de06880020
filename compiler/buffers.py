"""Activations between phases: every cluster's CSRAM holds a copy, or HBM does where it is full."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arena import Arena, DoesNotFit
from compiler.config import ModelConfig
from compiler.fuse import Phases
from compiler.hbm import Capacity, rope_columns
from compiler.matrices import Matrix
from compiler.precision import KV_FORMATS, PRECISIONS, Precision
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

    def copies(self, name: str, nbytes: int) -> dict[str, Bytes]:
        """Bytes in every cluster's CSRAM, or nothing where they do not fit."""
        try:
            base = self.csram.take(name, nbytes)
        except DoesNotFit:
            return {}
        return {name: Bytes(name, Space.CSRAM, base, 1, nbytes, self.clusters)}

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
    kv: str,
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
    found.append(place.rows("rope", rows, rope_columns(config), FP32))
    candidates = 4 * chip.num_tiles * capacity.top_k
    raw = {
        "cand_values": place.bytes("cand_values", capacity.wanted, candidates),
        "cand_ids": place.bytes("cand_ids", capacity.wanted, candidates),
    }
    raw |= _attention_copies(place, config, capacity, kv, chip)
    return Buffers({b.name: b for b in found}, raw, place.csram.top, place.spill.top)


SPLIT_UNITS = 4  # score rows a tile may have to fold, for pages to be spread over tiles (estimate)
PARTIALS_LIMIT = (
    4 << 20
)  # bytes of partial results: 1024 pages of 8B's row for a cluster (estimate)


def split_rows(config: ModelConfig, chip: Chip) -> int:
    """Most rows of a step whose pages are spread over tiles: few, or folding takes too long."""
    return SPLIT_UNITS * chip.num_tiles // config.heads


def _attention_copies(
    place: _Placer, config: ModelConfig, capacity: Capacity, kv: str, chip: Chip
) -> dict[str, Bytes]:
    """Where CSRAM has room: the step's own keys and values, and what pages give by themselves."""
    element = 2 if KV_FORMATS[kv] is Format.BF16 else 1
    wide = capacity.rows * config.kv_heads * config.head_dim * element
    found = place.copies("kv_new", 2 * wide)
    rows = min(split_rows(config, chip), capacity.rows)
    heads = -(-config.kv_heads // chip.clusters)
    page = config.heads // config.kv_heads * partial_bytes(config)
    if rows and capacity.blocks > 1 and chip.num_tiles > config.kv_heads:
        nbytes = min(rows * heads * page * capacity.blocks, PARTIALS_LIMIT)
        found |= place.copies("partials", nbytes)
    return found


def partial_bytes(config: ModelConfig) -> int:
    """A score row's part of attention over some pages: o (head_dim), l and m, FP32."""
    return 4 * (config.head_dim + 2)


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
