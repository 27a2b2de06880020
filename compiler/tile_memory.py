"""What lies where in a tile's SRAM, and how big the pieces are that flow through it.

Persistent tables come first, then the weight ring, then one area that the phases use in turn:
a phase's first write there follows a barrier that follows the last phase's last use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.arena import Arena, DoesNotFit
from compiler.buffers import partial_bytes
from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.fuse import Phases
from compiler.hbm import PAGE, Capacity, rope_columns
from compiler.matrices import Matrix
from compiler.precision import KV_FORMATS, Precision
from isa.chip import Chip
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format

A_DEPTH = 2  # activation chunks in flight
W_SLOT_LIMIT = 96 * 1024  # larger chunks only delay a phase's first product
CHUNKS = (4096, 2048, 1024, 512, 256, 128, 64, 32)
ROWS = (128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True)
class TilePlan:
    """Sizes and addresses in TSRAM (bytes).

    ``chunk`` is the depth of K a GEMM takes at once, ``block_panels`` its width in panels,
    ``w_depth`` the weight ring's slots; ``norm_rows``, ``head_rows`` and ``attend_rows`` (query
    rows of one head times the group) are what those phases take at once. ``page_slots`` KV pages
    are on their way to the array, in memory of their own if ``pages_ahead``; ``fold_pages`` are
    what the fold of pages attended to elsewhere takes at once.
    """

    chunk: int
    block_panels: int
    w_depth: int
    w_slot: int
    w_scale_slot: int
    a_slot: int
    a_scale_slot: int
    norm_rows: int
    head_rows: int
    attend_rows: int
    page_slots: int
    pages_ahead: bool
    fold_pages: int
    logit_columns: int
    at: dict[str, int] = field(default_factory=dict)
    used: int = 0
    size: int = 0


@dataclass(frozen=True)
class Sizing:
    """What a layout of TSRAM is made for."""

    config: ModelConfig
    phases: Phases
    matrices: tuple[Matrix, ...]
    activations: Precision
    kv: str
    chip: Chip


def plan_tile(sizing: Sizing, capacity_for: CapacityFor, rows: int | None) -> tuple[TilePlan, int]:
    """The best layout that fits: most rows first, then deepest chunks, then the deepest ring.

    Returns it with the rows of a step it is for.

    Raises CompileError if nothing fits.
    """
    last: Exception | None = None
    for candidate in (rows,) if rows else ROWS:
        for block_panels in (8, 4):
            for chunk in CHUNKS:
                for depth in (4, 3, 2):
                    try:
                        capacity = capacity_for(candidate)
                        return _layout(sizing, capacity, chunk, block_panels, depth), candidate
                    except DoesNotFit as problem:
                        last = problem
    raise CompileError(
        f"{sizing.chip.name}: no tiling fits a tile ({last}); choose fewer --rows, "
        "--sequences or --logit-rows, or less --context"
    )


class CapacityFor:
    """Capacity as a function of the rows of a step."""

    def __init__(
        self, sequences: int, context: int, top_k: int, logit_rows: int | None = None
    ) -> None:
        self.sequences, self.context, self.top_k = sequences, context, top_k
        self.logit_rows = logit_rows or sequences

    def __call__(self, rows: int) -> Capacity:
        """Capacity with that many rows a step."""
        wanted = min(rows, self.logit_rows)
        return Capacity(rows, wanted, self.sequences, self.context, self.top_k)


def logit_columns(matrix: Matrix, tiles: int, top_k: int) -> int:
    """Logits of one tile, at least as many as candidates are drawn from them."""
    return max(-(-matrix.units // tiles) * matrix.unit * PANEL_COLUMNS, top_k)


def _layout(
    sizing: Sizing, capacity: Capacity, chunk: int, block_panels: int, depth: int
) -> TilePlan:
    deepest = max(matrix.k_stored for matrix in sizing.matrices)
    chunk = min(chunk, deepest)
    columns = block_panels * PANEL_COLUMNS
    w_slot = max(m.precision.data_bytes(chunk) for m in sizing.matrices) * columns
    w_scale = max(m.precision.scale_bytes(chunk) for m in sizing.matrices)
    if w_slot > W_SLOT_LIMIT and chunk > CHUNKS[-1]:
        raise DoesNotFit("weight chunk beyond its limit")
    if capacity.rows * columns * 4 > sizing.chip.tile.acc.bytes:
        raise DoesNotFit(f"ACC: {capacity.rows} rows of {columns} columns")
    arena = Arena("TSRAM", sizing.chip.tile.tsram.bytes)
    head = next(m for m in sizing.matrices if m.name == "lm_head")
    wide = logit_columns(head, sizing.chip.num_tiles, capacity.top_k)
    _persistent(arena, sizing, capacity, wide)
    arena.take("w_data", depth * w_slot)
    arena.take("w_scale", depth * w_scale * columns)
    base = arena.top
    a_slot = capacity.rows * sizing.activations.data_bytes(chunk)
    a_scale = capacity.rows * sizing.activations.scale_bytes(chunk)
    tops = [_linear(arena, capacity.rows, columns, a_slot, a_scale)]
    try:
        found = _phases(arena, sizing, capacity, base, tops[0], apart=True)
    except DoesNotFit:
        found = _phases(arena, sizing, capacity, base, tops[0], apart=False)
    tops.append(arena.top)
    arena.top = base
    _sample(arena, sizing, capacity)
    tops.append(arena.top)
    return TilePlan(
        chunk,
        block_panels,
        depth,
        w_slot,
        w_scale * columns,
        a_slot,
        a_scale,
        found.norm_rows,
        found.head_rows,
        found.attend_rows,
        found.page_slots,
        found.pages_ahead,
        found.fold_pages,
        wide,
        {name: address for name, (address, _) in arena.names.items()},
        max(tops),
        arena.size,
    )


@dataclass(frozen=True)
class _Phases:
    """What phases but the linear ones take at once: see TilePlan."""

    norm_rows: int
    head_rows: int
    attend_rows: int
    page_slots: int
    pages_ahead: bool
    fold_pages: int


def _phases(
    arena: Arena, sizing: Sizing, capacity: Capacity, base: int, end: int, apart: bool
) -> _Phases:
    """Attention first, whose pages may lie `apart` from what phases use in turn; then the others.

    `end` is where the linear phases' memory ends; the arena's top is where all of it does.
    """
    arena.top = base
    rows, slots, ahead = _pages(arena, sizing, end, apart)
    top, size = arena.top, arena.size
    tops = [top]
    if ahead:
        arena.size = arena.names["k_block"][0]
    found = {}
    try:
        for name, layout in (("norm", _norm), ("heads", _heads)):
            arena.top = base
            found[name] = layout(arena, sizing, capacity)
            tops.append(arena.top)
        arena.top = base
        fold_pages = _fold(arena, sizing, arena.size if ahead else top)
    finally:
        arena.size = size
    arena.top = max(tops)
    return _Phases(found["norm"], found["heads"], rows, slots, ahead, fold_pages)


def _persistent(arena: Arena, sizing: Sizing, capacity: Capacity, wide: int) -> None:
    config, rows = sizing.config, capacity.rows
    half = PANEL_COLUMNS * 8 * 4
    sizes = {
        "tokens": 4 * rows,
        "positions": 4 * rows,
        "kv_rows": 4 * rows,
        "wanted": 16 * capacity.wanted,
        "segments": 16 * capacity.sequences,
        "pages": 4 * capacity.pages,
        "windows": 4 * config.layers,
        "bounds_full": 8 * rows,
        "bounds_window": 8 * rows,
        "score_scale": 4,
        "gain": 4 * config.hidden,
        "head_gains": 8 * config.head_dim,
        "bias": half,
        "columns": half,
        "row_scale": rows,
        "logits": 4 * capacity.wanted * wide,
        "top_values": 4 * capacity.wanted * capacity.top_k,
        "top_ids": 4 * capacity.wanted * capacity.top_k,
    }
    for name, nbytes in sizes.items():
        arena.take(name, nbytes)


def _linear(arena: Arena, rows: int, columns: int, a_slot: int, a_scale: int) -> int:
    arena.take("a_data", A_DEPTH * a_slot)
    arena.take("a_scale", A_DEPTH * a_scale)
    for name in ("stage", "extra", "lin_out"):
        arena.take(name, rows * columns * 4)
    arena.take("lin_scale", rows * columns // 16)
    return arena.top


def _norm(arena: Arena, sizing: Sizing, capacity: Capacity) -> int:
    requantised = [p.ops[0].columns for p in sizing.phases.layer if p.kind == "requantise"]
    width = max(sizing.config.hidden, *requantised, 0)
    base = arena.top
    for rows in (16, 8, 4, 2, 1):
        arena.top = base
        try:
            arena.take("norm_in", rows * width * 4)
            arena.take("norm_tmp", rows * width * 4)
            arena.take("norm_sum", rows * 4)
            arena.take("norm_out", rows * width * 4)
            arena.take("norm_scale", rows * (width // 16 + 1))
            return rows
        except DoesNotFit as problem:
            last = problem
    raise last


def _heads(arena: Arena, sizing: Sizing, capacity: Capacity) -> int:
    """Rows of a head (rows times heads) that the heads phase takes at once."""
    dim = sizing.config.head_dim
    most = capacity.rows * (sizing.config.heads + 2 * sizing.config.kv_heads)
    base = arena.top
    for rows in (256, 128, 64, 32, 16, 8, 4, 2, 1):
        arena.top = base
        try:
            for name in ("head_in", "head_tmp", "head_rot"):
                arena.take(name, rows * dim * 4)
            arena.take("head_sum", rows * 4)
            arena.take("head_rope", min(rows, capacity.rows) * rope_columns(sizing.config) * 4)
            arena.take("head_out", rows * dim * 4)
            return min(rows, most)
        except DoesNotFit as problem:
            last = problem
    raise last


def _pages(arena: Arena, sizing: Sizing, end: int, apart: bool) -> tuple[int, int, bool]:
    """Slots of KV pages, and the rest of attention: query rows, slots, and whether they are apart.

    Slots beyond all that the phases use in turn can be filled while other phases run. Most rows
    count first, then slots apart from the rest, then their number.
    """
    config, base = sizing.config, arena.top
    element = 2 if KV_FORMATS[sizing.kv] == Format.BF16 else 1
    page = PAGE * config.head_dim * element
    best: tuple[int, bool, int] | None = None
    candidates = ((2, False), (4, False), (2, True), (3, True), (4, True))
    for slots, ahead in candidates if apart else candidates[:2]:
        try:
            rows = _place_pages(arena, sizing, (base, end), slots * page, ahead)
        except DoesNotFit as problem:
            last = problem
            continue
        best = max(best or (0, False, 0), (rows, ahead, slots))
    if best is None:
        raise last
    rows, ahead, slots = best
    _place_pages(arena, sizing, (base, end), slots * page, ahead)
    return rows, slots, ahead


def _place_pages(
    arena: Arena, sizing: Sizing, span: tuple[int, int], nbytes: int, ahead: bool
) -> int:
    """Attention's memory in what the phases share (`span`), its pages behind that if `ahead`."""
    arena.top = span[0]
    if ahead:
        size = arena.size
        arena.size -= 2 * (nbytes + arena.align)
        try:
            rows = _attend(arena, sizing)
        finally:
            arena.size = size
        arena.top = max(arena.top, span[1])
        arena.take("k_block", nbytes)
        arena.take("v_block", nbytes)
        return rows
    arena.take("k_block", nbytes)
    arena.take("v_block", nbytes)
    return _attend(arena, sizing)


def _attend(arena: Arena, sizing: Sizing) -> int:
    """All of attention but its pages; two of what the array and the vector unit hand over."""
    config = sizing.config
    group, dim = config.heads // config.kv_heads, config.head_dim
    base = arena.top
    for queries in (128, 64, 32, 16, 8, 4, 2, 1):
        rows = max(1, queries // group) * group
        arena.top = base
        try:
            arena.take("q", 2 * rows * dim * 2)
            arena.take("bounds", 2 * rows * 8)
            arena.take("scores", 2 * rows * PAGE * 4)
            arena.take("probs", 2 * rows * PAGE * 2)
            arena.take("partial", 3 * rows * partial_bytes(config))
            arena.take("att_out", rows * dim * 4)
            arena.take("att_scale", rows * dim // 16 + rows)
            arena.take("m_new", rows * 4)
            arena.take("rescale", 2 * rows * 4)
            if rows * max(PAGE, dim) * 4 * 2 > sizing.chip.tile.acc.bytes:
                raise DoesNotFit(f"ACC: {rows} rows of scores and outputs")
            return rows
        except DoesNotFit as problem:
            last = problem
    raise last


def _fold(arena: Arena, sizing: Sizing, end: int) -> int:
    """Pages that the fold takes at once, from the top up to `end`; 0 if not even two fit.

    It follows a barrier behind the last use of what attended to this tile's own pages.
    """
    config, base = sizing.config, arena.top
    group = config.heads // config.kv_heads
    for pages in (32, 16, 8, 4, 2):
        arena.top = base
        arena.take("fold", pages * group * partial_bytes(config))
        arena.take("fold_peak", pages * group * 4)
        arena.take("fold_rescale", 2 * pages * group * 4)
        arena.take("fold_dense", group * config.head_dim * 4)
        arena.take("fold_out", group * config.head_dim * 4)
        arena.take("fold_scale", group * config.head_dim // 16 + group)
        if arena.top <= end:
            return pages
    return 0


def _sample(arena: Arena, sizing: Sizing, capacity: Capacity) -> None:
    candidates = sizing.chip.num_tiles * capacity.top_k
    arena.take("cand_values", 4 * candidates)
    for name in ("pick_values", "pick_order", "pick_ids", "pick_p", "pick_sum", "pick_flag"):
        arena.take(name, 4 * capacity.top_k)
    arena.take("pick_mask", capacity.top_k)
    for name in ("pick_threshold", "pick_index", "pick_token"):
        arena.take(name, 4)
