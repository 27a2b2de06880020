"""What lies where in a tile's SRAM, and how big the pieces are that flow through it.

Persistent tables come first, then the weight ring, then one area that the phases use in turn:
a phase's first write there follows a barrier that follows the last phase's last use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.arena import ALIGN as ARENA_ALIGN
from compiler.arena import Arena, DoesNotFit
from compiler.buffers import partial_bytes
from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.fuse import Phases
from compiler.hbm import PAGE, Capacity, rope_columns
from compiler.matrices import K_PAD, Matrix
from compiler.precision import KV_FORMATS, Precision
from isa.chip import Chip
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format

PART_SLOTS = 2  # of parts that the VPU finishes: one comes or goes while it works on another
NORM_SLOTS = 2  # of rows to be normalised: some come while others are worked on
LEAST_SLOTS = 2  # of the weight ring
A_SLOTS = 4  # chunks of activations in flight, where they do not all fit at once
LARGEST_SLOT = 1 << 17  # bytes of weights of a chunk: 128 KiB, but more where memory is larger
SLOT_SHARE = 10  # of a tile's memory; so the ring takes less than half of it
BLOCKS = (32, 16, 8, 4)  # panels of a block: up to four times the columns of t1's array
ROWS = (128, 64, 32, 16, 8, 4, 2, 1)
ALIGN = 128  # depth of chunks is a multiple of it, where they are large enough
STAGE_PANELS = 4  # panels that can be read out at a time, whatever the rows; more with fewer


@dataclass(frozen=True)
class TilePlan:
    """Sizes and addresses in TSRAM (bytes).

    Weights come in chunks of at most ``block_panels`` panels and ``w_slot`` bytes, a multiple of
    ``align`` deep unless K ends, into a ring of ``w_depth`` slots. Activations have ``a_room``
    bytes, and ``a_scale_room`` for their scales; in a step of several row groups, which reads no
    pages early, ``wide_room`` in all; beside the logits, ``head_room``. ``stage`` elements are read
    out at a time (and finished in PART_SLOTS turns), or ``wide_stage`` in a step of several row
    groups: its ring has a slot less, which lies behind the stage. ``norm_rows``, ``head_rows`` and
    ``attend_rows`` (query rows of one head times the group) are what those phases take at once.
    ``page_slots`` KV pages are on their way to the array, in memory of their own if
    ``pages_ahead``; ``fold_pages`` are what the fold of pages attended to elsewhere takes at once.
    """

    block_panels: int
    align: int
    w_depth: int
    w_slot: int
    w_scale_slot: int
    a_room: int
    a_scale_room: int
    wide_room: int
    head_room: int
    stage: int
    wide_stage: int
    norm_rows: int
    head_rows: int
    attend_rows: int
    page_slots: int
    pages_ahead: bool
    fold_pages: int
    logit_columns: int
    at: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
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
    groups: int  #: row groups at most


def plan_tile(sizing: Sizing, capacity_for: CapacityFor, rows: int | None) -> tuple[TilePlan, int]:
    """The best layout that fits: most rows first, then the largest chunks, then the deepest ring.

    Returns it with the rows of a row group it is for: with as many row groups as clusters, a step
    may have that many times more.

    Raises CompileError if nothing fits.
    """
    last = DoesNotFit(f"{rows} rows are more than {ROWS[0]} for each of {sizing.groups} row groups")
    for candidate in _group_rows(sizing, rows):
        for slot, block_panels, depth in itertools.product(
            _slots(sizing), BLOCKS, (4, 3, LEAST_SLOTS)
        ):
            try:
                capacity = capacity_for(candidate, rows)
                return _layout(sizing, capacity, (slot, block_panels, depth)), candidate
            except DoesNotFit as problem:
                last = problem
    raise CompileError(
        f"{sizing.chip.name}: no tiling fits a tile ({last}); choose fewer --rows, "
        "--sequences or --logit-rows, or less --context"
    )


def _slots(sizing: Sizing) -> Iterator[int]:
    """Bytes of a slot of the weight ring to try, largest first."""
    most = max(LARGEST_SLOT, sizing.chip.tile.tsram.bytes // SLOT_SHARE)
    return (1 << n for n in range(most.bit_length() - 1, 9, -1))


def _group_rows(sizing: Sizing, rows: int | None) -> Iterator[int]:
    """Rows of a row group to try, so that `rows` fit a step."""
    groups = sizing.groups
    if rows is None:
        yield from ROWS
        return
    for candidate in (rows, *ROWS):
        if candidate <= min(rows, ROWS[0]) and candidate * groups >= rows:
            yield candidate


class CapacityFor:
    """Capacity as a function of the rows of a step."""

    def __init__(
        self,
        groups: int,
        sequences: int,
        context: int,
        top_k: int,
        logit_rows: int | None = None,
    ) -> None:
        self.groups = groups
        self.sequences, self.context, self.top_k = sequences, context, top_k
        self.logit_rows = logit_rows or sequences

    def __call__(self, group_rows: int, rows: int | None) -> Capacity:
        """Capacity with that many rows a row group."""
        total = rows or group_rows * self.groups
        wanted = min(total, self.logit_rows)
        return Capacity(total, group_rows, wanted, self.sequences, self.context, self.top_k)


def logit_columns(matrix: Matrix, tiles: int, top_k: int) -> int:
    """Logits of one tile, at least as many as candidates are drawn from them."""
    return max(-(-matrix.units // tiles) * matrix.unit * PANEL_COLUMNS, top_k)


def _layout(sizing: Sizing, capacity: Capacity, ring: tuple[int, int, int]) -> TilePlan:
    slot, block_panels, depth = ring
    columns = block_panels * PANEL_COLUMNS
    widest = max(m.precision.bits for m in sizing.matrices)
    align = ALIGN if slot * 8 // widest >= columns * ALIGN else K_PAD
    if slot * 8 // widest < columns * align:
        raise DoesNotFit("weight chunk too small for a block")
    most = max(capacity.group_rows, capacity.wanted)
    if 2 * most * columns * 4 > sizing.chip.tile.acc.bytes:
        raise DoesNotFit(f"ACC: twice {most} rows of {columns} columns")
    w_scale = max(m.precision.scale_bytes(slot * 8 // m.precision.bits) for m in sizing.matrices)
    w_scale = -(-w_scale // ARENA_ALIGN) * ARENA_ALIGN
    arena = Arena("TSRAM", sizing.chip.tile.tsram.bytes)
    head = next(m for m in sizing.matrices if m.name == "lm_head")
    wide = logit_columns(head, sizing.chip.num_tiles, capacity.top_k)
    _persistent(arena, sizing, capacity, columns)
    stage = max(capacity.group_rows, capacity.wanted, PART_SLOTS) * STAGE_PANELS * PANEL_COLUMNS
    arena.take("stage", 4 * stage)
    arena.take("weights", depth * (slot + w_scale))
    wide_stage = stage
    while depth > LEAST_SLOTS and wide_stage * 8 <= stage * 4 + slot + w_scale:
        wide_stage *= 2
    base = arena.top
    least = _parts(arena, sizing, capacity, stage, align, wide)
    try:
        found = _phases(arena, sizing, capacity, base, least, apart=True)
    except DoesNotFit:
        found = _phases(arena, sizing, capacity, base, least, apart=False)
    tops = [arena.top]
    rooms = _activations(arena, sizing, capacity, found.pages_ahead, align, wide)
    tops.append(arena.top)
    arena.top = base
    _sample(arena, sizing, capacity)
    tops.append(arena.top)
    return TilePlan(
        block_panels,
        align,
        depth,
        slot,
        w_scale,
        *rooms,
        stage,
        wide_stage,
        found.norm_rows,
        found.head_rows,
        found.attend_rows,
        found.page_slots,
        found.pages_ahead,
        found.fold_pages,
        wide,
        {name: address for name, (address, _) in arena.names.items()},
        {name: size for name, (_, size) in arena.names.items()},
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


def _persistent(arena: Arena, sizing: Sizing, capacity: Capacity, columns: int) -> None:
    config, rows = sizing.config, capacity.rows
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
        "bias": 4 * columns,
        "columns": 4 * columns,
        "row_scale": max(capacity.group_rows, capacity.wanted),
        "top_values": 4 * capacity.wanted * capacity.top_k,
        "top_ids": 4 * capacity.wanted * capacity.top_k,
    }
    for name, nbytes in sizes.items():
        arena.take(name, nbytes)


def _parts(
    arena: Arena, sizing: Sizing, capacity: Capacity, stage: int, align: int, wide: int
) -> int:
    """Places of a linear phase but its activations; one past the least these need, with logits."""
    for name in ("extra", "lin_out"):
        arena.take(name, stage * 4)
    arena.take("lin_scale", stage // 16)
    p, rows = sizing.activations, max(capacity.group_rows, capacity.wanted)
    least = rows * (p.data_bytes(align) + p.scale_bytes(align)) + 2 * ARENA_ALIGN
    return arena.top + A_SLOTS * least + _logits_bytes(capacity, wide) + 2 * ARENA_ALIGN


def _logits_bytes(capacity: Capacity, wide: int) -> int:
    return -(-4 * capacity.wanted * wide // ARENA_ALIGN) * ARENA_ALIGN


def _activations(
    arena: Arena, sizing: Sizing, capacity: Capacity, ahead: bool, align: int, wide: int
) -> tuple[int, int, int, int]:
    """What the parts of a linear phase leave is for activations, and for logits at its end.

    Returns bytes for activations, for their scales, for activations with the pages' memory, and
    for activations beside the logits.
    """
    p, (address, size) = sizing.activations, arena.names["lin_scale"]
    arena.top = address + size
    end = arena.names["k_block"][0] if ahead else arena.size
    whole, scales = _rooms(p, arena.size - arena.top - 4 * ARENA_ALIGN)
    if scales:
        arena.take("a_scale", scales)
    room = (end - arena.top) // ARENA_ALIGN * ARENA_ALIGN - ARENA_ALIGN
    logits = _logits_bytes(capacity, wide)
    arena.take("a_data", max(room, 0))
    arena.names["logits"] = (arena.names["a_data"][0] + room - logits, logits)
    for have, most in ((room, capacity.group_rows), (room - logits, capacity.wanted)):
        slot, scale_slot = a_slot(have), a_slot(scales)
        if slot < most * p.data_bytes(align) or scale_slot < most * p.scale_bytes(align):
            raise DoesNotFit(f"activations of {most} rows")
    return room, scales, max(whole, room) if ahead else room, room - logits


def a_slot(room: int) -> int:
    """Bytes of a slot of activations, where they come in chunks."""
    return max(room, 0) // A_SLOTS // ARENA_ALIGN * ARENA_ALIGN


def _rooms(p: Precision, size: int) -> tuple[int, int]:
    """Bytes divided between elements and their scales."""
    if not p.block:
        return max(size, 0), 0
    blocks = max(size, 0) // (p.data_bytes(p.block) + 1) // ARENA_ALIGN * ARENA_ALIGN
    return blocks * p.data_bytes(p.block), blocks


def _norm(arena: Arena, sizing: Sizing, capacity: Capacity) -> int:
    requantised = [p.ops[0].columns for p in sizing.phases.layer if p.kind == "requantise"]
    width = max(sizing.config.hidden, *requantised, 0)
    base = arena.top
    for rows in (4, 2, 1):
        arena.top = base
        try:
            arena.take("norm_in", NORM_SLOTS * rows * width * 4)
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
    most = capacity.group_rows * (sizing.config.heads + 2 * sizing.config.kv_heads)
    base = arena.top
    for rows in (256, 128, 64, 32, 16, 8, 4, 2, 1):
        arena.top = base
        try:
            for name in ("head_in", "head_tmp", "head_rot"):
                arena.take(name, rows * dim * 4)
            arena.take("head_sum", rows * 4)
            arena.take(
                "head_rope", min(rows, capacity.group_rows) * rope_columns(sizing.config) * 4
            )
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
        # At the very end, so that what lies before is in one piece.
        arena.top = max(arena.top, span[1], arena.size - 2 * (nbytes + arena.align))
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
