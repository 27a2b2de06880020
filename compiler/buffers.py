"""Activations between phases: in the CSRAM of every cluster of a row group, or else in HBM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from compiler.arena import Arena, DoesNotFit
from compiler.config import ModelConfig
from compiler.copies import Resident, Staged
from compiler.fuse import Phases
from compiler.hbm import Capacity, norm_floats, rope_columns
from compiler.matrices import Matrix
from compiler.precision import KV_FORMATS, PRECISIONS, Precision
from isa.chip import Chip
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import Format

ROW_ALIGN = 64


@dataclass(frozen=True)
class Bytes:
    """Rows of bytes in CSRAM or HBM.

    Those of a `grouped` buffer are the step's: in CSRAM a row group's, in HBM all of them. A row
    may be in several `pieces`, with room between, that each begin at another port of CSRAM.
    """

    name: str
    space: Space
    base: int
    rows: int
    row_bytes: int
    grouped: bool
    pieces: int = 1

    def view(self, fmt: Format, size: int, columns: int) -> Descriptor:
        """[rows, columns] of a format of `size` bytes; the first columns of each row."""
        strides = (self.row_bytes // size, 1)
        return Descriptor(self.space, fmt, (self.rows, columns), strides, self.base)

    def whole(self, fmt: Format, size: int, columns: int) -> Descriptor:
        """The same of all columns: [rows, columns], or [rows, pieces, columns of one]."""
        if self.pieces == 1:
            return self.view(fmt, size, columns)
        shape = (self.rows, self.pieces, columns // self.pieces)
        row = self.row_bytes // size
        return Descriptor(self.space, fmt, shape, (row, row // self.pieces, 1), self.base)

    def raw(self) -> Descriptor:
        """[rows, row_bytes] of bytes."""
        return self.view(Format.U8, 1, self.row_bytes)


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
    """Every activation buffer by name; `csram` and `spill` bytes are taken in all.

    ``norms`` is the CSRAM address of a copy of the region `norms`, -1 without; ``staged`` and
    ``resident`` say where pages of the cache are in CSRAM, if there are any.
    """

    rows: dict[str, Rows]
    raw: dict[str, Bytes]
    norms: int
    csram: int
    spill: int
    staged: Staged | None = None
    resident: Resident | None = None


FP32 = Precision("fp32", Format.FP32, 32)


class _Placer:
    def __init__(self, chip: Chip, capacity: Capacity) -> None:
        self.csram = Arena("CSRAM", chip.cluster.csram.bytes)
        self.spill = Arena("activations", 1 << 46)
        self.capacity = capacity

    def place(self, name: str, row_bytes: int, rows: int | None = None) -> Bytes:
        """A buffer of a step's rows, or of so many."""
        grouped = rows is None
        near, far = (self.capacity.group_rows, self.capacity.rows) if rows is None else (rows, rows)
        try:
            base = self.csram.take(name, near * row_bytes)
            return Bytes(name, Space.CSRAM, base, near, row_bytes, grouped)
        except DoesNotFit:
            base = self.spill.take(name, far * row_bytes)
            return Bytes(name, Space.HBM, base, far, row_bytes, grouped)

    def copy(self, name: str, nbytes: int) -> int:
        """Address in CSRAM of a copy of something in HBM; -1 if there is no room."""
        try:
            return self.csram.take(name, nbytes)
        except DoesNotFit:
            return -1

    def copies(self, name: str, nbytes: int) -> dict[str, Bytes]:
        """Bytes in every cluster's CSRAM, or nothing where they do not fit."""
        base = self.copy(name, nbytes)
        return {} if base < 0 else {name: Bytes(name, Space.CSRAM, base, 1, nbytes, False)}

    def rows(self, name: str, columns: int, precision: Precision, rows: int | None = None) -> Rows:
        data = self.place(f"{name}.data", _aligned(precision.data_bytes(columns)), rows)
        scales = row_scale = None
        if precision.block:
            scales = self.place(f"{name}.scales", _aligned(precision.scale_bytes(columns)), rows)
        if precision.row_scaled:
            row_scale = self.place(f"{name}.row_scale", 1, rows)
        return Rows(name, columns, precision, data, scales, row_scale)


def _aligned(row_bytes: int) -> int:
    return -(-row_bytes // ROW_ALIGN) * ROW_ALIGN


def layout_buffers(
    config: ModelConfig,
    phases: Phases,
    matrices: dict[str, Matrix],
    capacity: Capacity,
    activations: Precision,
    kv: str,
    chip: Chip,
    rankings: int,
) -> Buffers:
    """Place the activations of a step; most reused first. `rankings`: see HeadSizes."""
    place = partial(_place, config, phases, matrices, capacity, activations, kv, chip, rankings)
    found, pieces = place(1), _pieces(config, matrices, chip)
    more = capacity.group_rows * (pieces * chip.hbm.interleave - 4 * config.hidden)
    return found if found.csram + more > chip.cluster.csram.bytes or pieces == 1 else place(pieces)


PIECE_SHARE = 4  # of a granule: pieces are no smaller, or too much room would be between (estimate)


def _pieces(config: ModelConfig, matrices: dict[str, Matrix], chip: Chip) -> int:
    """Pieces of a row of x, one for each port of CSRAM, if they are smaller than its granules.

    What lanes add to x in steps of most row groups then lies at their own port, and keeps the
    network free. No lane of any step may have columns of two pieces.
    """
    ports, granule = chip.cluster.csram.ports, chip.hbm.interleave
    whole = all(
        m.units % ports == 0 and m.units * m.unit * PANEL_COLUMNS == config.hidden
        for m in (matrices["o"], matrices["down"])
    )
    if not whole or chip.tiles_per_cluster % ports:
        return 1
    size = 4 * config.hidden // ports
    return ports if granule <= size * PIECE_SHARE < granule * PIECE_SHARE else 1


def _place(
    config: ModelConfig,
    phases: Phases,
    matrices: dict[str, Matrix],
    capacity: Capacity,
    activations: Precision,
    kv: str,
    chip: Chip,
    rankings: int,
    pieces: int,
) -> Buffers:
    """The same with rows of x in so many pieces."""
    place = _Placer(chip, capacity)
    wide = config.heads * config.head_dim
    quantised = {phase.name: phase.quantised for phase in phases.layer}
    o_precision = activations if quantised["attention"] else FP32
    f_precision = activations if quantised["gate_up"] else FP32
    qkv_columns = matrices["qkv"].panels * PANEL_COLUMNS
    found = [
        _x(place, config, chip, pieces),
        place.rows("h", config.hidden, activations),
        place.rows("qkv", qkv_columns, FP32),
        place.rows("q", wide, PRECISIONS["bf16"]),
        place.rows("o", wide, o_precision),
        place.rows("f", config.ffn, f_precision),
        place.rows("hw", config.hidden, activations, capacity.wanted),
    ]
    if not quantised["attention"]:
        found.append(place.rows("oq", wide, activations))
    if not quantised["gate_up"]:
        found.append(place.rows("fq", config.ffn, activations))
    candidates = 4 * chip.num_tiles * rankings * capacity.top_k
    raw = {
        "cand_values": place.place("cand_values", _aligned(candidates), capacity.wanted),
        "cand_ids": place.place("cand_ids", _aligned(candidates), capacity.wanted),
    }
    found.append(place.rows("rope", rope_columns(config), FP32, capacity.rows))
    raw |= _attention_copies(place, config, capacity, kv, chip)
    norms = place.copy("norms", 4 * norm_floats(config))
    return Buffers({b.name: b for b in found}, raw, norms, place.csram.top, place.spill.top)


def _x(place: _Placer, config: ModelConfig, chip: Chip, pieces: int) -> Rows:
    """x is placed first, so that its first piece is at the first port."""
    if pieces == 1:
        return place.rows("x", config.hidden, FP32)
    data = place.place("x.data", pieces * chip.hbm.interleave)
    return Rows("x", config.hidden, FP32, replace(data, pieces=pieces), None, None)


SPLIT_UNITS = 4  # score rows a tile may have to fold, for pages to be spread over tiles (estimate)
PARTIALS_LIMIT = 4 << 20  # bytes of partial results: 1024 pages of 8B's row (estimate)


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
        return replace(part, base=part.base + spill_base)

    rows = {
        name: Rows(
            name, b.columns, b.precision, _some(moved(b.data)), moved(b.scales), moved(b.row_scale)
        )
        for name, b in buffers.rows.items()
    }
    raw = {name: _some(moved(part)) for name, part in buffers.raw.items()}
    return replace(buffers, rows=rows, raw=raw)


def _some(part: Bytes | None) -> Bytes:
    assert part is not None
    return part
