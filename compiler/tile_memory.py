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
from compiler.errors import CompileError
from compiler.hbm import Capacity
from compiler.head_sizes import HeadSizes, head_in_parts, whole_head
from compiler.matrices import K_PAD
from compiler.precision import Precision
from compiler.stage_sizes import STAGE_PANELS, stage_elements, wide_stage_elements
from compiler.tile_phases import (
    KnobDoesNotFit,
    Sizing,
    part_rope_bytes,
    place_phases,
    place_sample,
)
from compiler.tiling import OPTION, RULES, Tiling
from isa.descriptor import PANEL_COLUMNS

PART_SLOTS = 2  # of parts that the VPU finishes: one comes or goes while it works on another
LEAST_SLOTS, MOST_SLOTS = 2, 4  # of the weight ring
A_SLOTS = 4  # chunks of activations in flight, where they do not all fit at once
LARGEST_SLOT = 1 << 17  # bytes of weights of a chunk: 128 KiB, but more where memory is larger
SLOT_SHARE = 10  # of a tile's memory; so the ring takes less than half of it
BLOCKS = (32, 16, 8, 4)  # panels of a block: up to four times the columns of t1's array
LEAST_ROWS = 128  # of the largest row group to try, but as many as a larger array has rows
FAR_LARGER = 4  # times a chunk, where logits in parts leave room: worth their rankings (estimate)
ALIGN = 128  # depth of chunks is a multiple of it, where they are large enough


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
    ``pages_ahead``, which is memory for ``lent_slots`` slots of weights of ``lent_bytes`` (with
    scales at the end); ``fold_pages`` are what the fold of pages attended to elsewhere takes at
    once. ``head`` is how a tile's logits are kept and ranked.
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
    lent_slots: int
    lent_bytes: int
    head: HeadSizes
    at: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    used: int = 0
    size: int = 0


def plan_tile(sizing: Sizing, capacity_for: CapacityFor, rows: int | None) -> tuple[TilePlan, int]:
    """The best layout that fits: most rows first, then the largest chunks, then the deepest ring.

    Returns it with the rows of a row group it is for: with as many row groups as clusters, a step
    may have that many times more. Logits come in parts only if fewer rows could want some without,
    or chunks would be far smaller.

    Raises CompileError if nothing fits.
    """
    found: list[tuple[TilePlan, int]] = []
    problems: list[DoesNotFit] = []
    for in_parts in (False, True):
        try:
            found.append(_first_fit(sizing, capacity_for, rows, in_parts))
        except DoesNotFit as problem:
            problems.append(problem)
    if not found:
        raise CompileError(f"{sizing.chip.name}: {problems[0]}")
    best = found[0]
    for other in found[1:]:
        had, has = (capacity_for(group_rows, rows).wanted for _, group_rows in (best, other))
        far_larger = other[0].w_slot >= FAR_LARGER * best[0].w_slot
        best = other if has > had or (has == had and far_larger) else best
    return best


def _first_fit(
    sizing: Sizing, capacity_for: CapacityFor, rows: int | None, in_parts: bool
) -> tuple[TilePlan, int]:
    """The same with logits in parts, or not. Raises DoesNotFit."""
    tiling = sizing.tiling
    most = tiling.of("group_rows", _most_rows(sizing))
    problems = [
        DoesNotFit(f"{rows} rows are more than {most} for each of {sizing.groups} row groups")
    ]
    depths = (MOST_SLOTS, 3, LEAST_SLOTS) if tiling.slots is None else (tiling.slots,)
    blocks = BLOCKS if tiling.block is None else (tiling.block,)
    for candidate in _group_rows(sizing, rows):
        for slot, block_panels, depth in itertools.product(_slots(sizing), blocks, depths):
            try:
                capacity = capacity_for(candidate, rows)
                head = _head(sizing, capacity, block_panels, in_parts)
                return _layout(sizing, capacity, (slot, block_panels, depth), head), candidate
            except DoesNotFit as problem:
                problems.append(problem)
    raise DoesNotFit(_refusal(tiling, problems))


class NoSuchBlock(DoesNotFit):
    """A block that is too wide for its chunk or the accumulator, however much memory there is."""


def _refusal(tiling: Tiling, problems: list[DoesNotFit]) -> str:
    """Why nothing fits: what was tried last; or what says most about a tiling that was given."""
    if tiling == RULES:
        return (
            f"no tiling fits a tile ({problems[-1]}); choose fewer --rows, "
            "--sequences or --logit-rows, or less --context"
        )
    tried = problems[1:] or problems
    reason = min(tried, key=_says_little)
    return f"{OPTION} {tiling.text()} fits no tile ({reason}); leave more to the compiler"


def _says_little(problem: DoesNotFit) -> int:
    """How little a reason says: a knob's own say most, blocks that are just too wide nothing."""
    return 0 if isinstance(problem, KnobDoesNotFit) else 1 + isinstance(problem, NoSuchBlock)


def _head(sizing: Sizing, capacity: Capacity, block_panels: int, in_parts: bool) -> HeadSizes:
    tiles = sizing.chip.num_tiles
    matrix = next(m for m in sizing.matrices if m.name == "lm_head")
    if in_parts:
        size = sizing.chip.tile.tsram.bytes
        return head_in_parts(matrix, tiles, capacity, block_panels, size)
    return whole_head(matrix, tiles, capacity.top_k, block_panels)


def _slots(sizing: Sizing) -> Iterator[int]:
    """Bytes of a slot of the weight ring to try, largest first."""
    if sizing.tiling.chunk is not None:
        return iter((sizing.tiling.chunk,))
    most = max(LARGEST_SLOT, sizing.chip.tile.tsram.bytes // SLOT_SHARE)
    return (1 << n for n in range(most.bit_length() - 1, 9, -1))


def _most_rows(sizing: Sizing) -> int:
    """Of a row group: an array of many rows takes as long to load and to drain, and needs more."""
    return max(LEAST_ROWS, 1 << sizing.chip.tile.mxu.rows.bit_length() - 1)


def _group_rows(sizing: Sizing, rows: int | None) -> Iterator[int]:
    """Rows of a row group to try, so that `rows` fit a step."""
    groups, given = sizing.groups, sizing.tiling.group_rows
    most = given or _most_rows(sizing)
    tried = [most >> n for n in range(most.bit_length())] if given is None else [given]
    if rows is None:
        yield from tried
        return
    for candidate in (rows, *tried) if given is None else tried:
        if candidate <= min(rows, most) and candidate * groups >= rows:
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


def _layout(
    sizing: Sizing, capacity: Capacity, ring: tuple[int, int, int], head: HeadSizes
) -> TilePlan:
    slot, block_panels, depth = ring
    columns = block_panels * PANEL_COLUMNS
    widest = max(m.precision.bits for m in sizing.matrices)
    align = ALIGN if slot * 8 // widest >= columns * ALIGN else K_PAD
    if slot * 8 // widest < columns * align:
        raise NoSuchBlock("weight chunk too small for a block")
    most = max(capacity.group_rows, capacity.wanted)
    if 2 * most * columns * 4 > sizing.chip.tile.acc.bytes:
        raise NoSuchBlock(f"ACC: twice {most} rows of {columns} columns")
    w_scale = max(m.precision.scale_bytes(slot * 8 // m.precision.bits) for m in sizing.matrices)
    w_scale = -(-w_scale // ARENA_ALIGN) * ARENA_ALIGN
    arena = Arena("TSRAM", sizing.chip.tile.tsram.bytes)
    _persistent(arena, sizing, capacity, columns, head.lists)
    panel = max(capacity.group_rows, capacity.wanted, PART_SLOTS) * PANEL_COLUMNS
    stage = stage_elements(sizing, panel)
    arena.take("stage", 4 * stage)
    arena.take("weights", depth * (slot + w_scale))
    wide_stage = wide_stage_elements(
        sizing.tiling, panel, stage, depth > LEAST_SLOTS, slot + w_scale
    )
    base = arena.top
    least = _parts(arena, sizing, capacity, stage, align, head)
    try:
        found = place_phases(arena, sizing, capacity, (base, least), slot + w_scale)
    except DoesNotFit:
        found = place_phases(arena, sizing, capacity, (base, least), None)
    tops = [arena.top]
    address, size = arena.names["lin_scale"]
    arena.top = address + size
    if found.pages_ahead:
        region = wide_stage // capacity.group_rows // PANEL_COLUMNS // STAGE_PANELS * STAGE_PANELS
        arena.size -= _rope_of_parts(arena, sizing, capacity, stage, min(region, block_panels))
    logits = _logits_bytes(capacity, head)
    rooms = _activations(arena, sizing, capacity, found.pages_ahead, align, logits)
    arena.size = sizing.chip.tile.tsram.bytes
    tops.append(arena.top)
    arena.top = base
    place_sample(arena, sizing, capacity, head.rankings)
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
        found.lent_slots,
        found.lent_bytes,
        head,
        {name: address for name, (address, _) in arena.names.items()},
        {name: size for name, (_, size) in arena.names.items()},
        max(tops),
        arena.size,
    )


def _persistent(arena: Arena, sizing: Sizing, capacity: Capacity, columns: int, lists: int) -> None:
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
        "top_values": 4 * capacity.wanted * capacity.top_k * lists,
        "top_ids": 4 * capacity.wanted * capacity.top_k * lists,
    }
    for name, nbytes in sizes.items():
        arena.take(name, nbytes)


def _parts(
    arena: Arena, sizing: Sizing, capacity: Capacity, stage: int, align: int, head: HeadSizes
) -> int:
    """Places of a linear phase but its activations; one past the least these need.

    With logits the whole memory must do, since no pages are read while there are some.
    """
    for name in ("extra", "lin_out"):
        arena.take(name, stage * 4)
    arena.take("lin_scale", stage // 16)
    p, rows = sizing.activations, max(capacity.group_rows, capacity.wanted)
    least = rows * (p.data_bytes(align) + p.scale_bytes(align)) + 2 * ARENA_ALIGN
    end = arena.top + A_SLOTS * least + 2 * ARENA_ALIGN
    if end + _logits_bytes(capacity, head) > arena.size:
        raise DoesNotFit(f"{arena.name}: logits of {capacity.wanted} rows")
    return end


def _logits_bytes(capacity: Capacity, head: HeadSizes) -> int:
    return -(-4 * capacity.wanted * head.columns // ARENA_ALIGN) * ARENA_ALIGN


def _activations(
    arena: Arena, sizing: Sizing, capacity: Capacity, ahead: bool, align: int, logits: int
) -> tuple[int, int, int, int]:
    """What the parts of a linear phase leave is for activations, and for logits at its end.

    Returns bytes for activations, for their scales, for activations with the pages' memory, and
    for activations beside the logits.
    """
    p = sizing.activations
    end = arena.names["k_block"][0] if ahead else arena.size
    whole, scales = _rooms(p, arena.size - arena.top - 4 * ARENA_ALIGN)
    if scales:
        arena.take("a_scale", scales)
    room = (end - arena.top) // ARENA_ALIGN * ARENA_ALIGN - ARENA_ALIGN
    arena.take("a_data", max(room, 0))
    size = sizing.chip.tile.tsram.bytes // ARENA_ALIGN * ARENA_ALIGN
    arena.names["logits"] = (size - logits, logits)
    head = size - logits - arena.names["a_data"][0]
    for have, most in ((room, capacity.group_rows), (head, capacity.wanted)):
        slot, scale_slot = a_slot(have), a_slot(scales)
        if slot < most * p.data_bytes(align) or scale_slot < most * p.scale_bytes(align):
            raise DoesNotFit(f"activations of {most} rows")
    return room, scales, max(whole, room) if ahead else room, head


def _rope_of_parts(
    arena: Arena, sizing: Sizing, capacity: Capacity, stage: int, region: int
) -> int:
    """Place what lanes need that take whole heads: at the end of the pages' memory, which is free.

    A part is of `region` panels, and half of the `stage` elements; or all, where no head has a norm
    and a row group's activations fit a tile beside it. Returns the bytes taken; 0 if lanes do not,
    which is so as well where these would no longer fit.
    """
    size, pages = arena.size - arena.top - 4 * ARENA_ALIGN, arena.names["k_block"][0]
    p, k = sizing.activations, sizing.config.hidden
    extra, nbytes = arena.names["extra"]
    for part in (stage, stage // PART_SLOTS):
        rope = part_rope_bytes(sizing, capacity, part, region)
        rope = PART_SLOTS * (-(-rope // ARENA_ALIGN) * ARENA_ALIGN)
        fit = [_rooms(p, left)[0] // p.data_bytes(k) for left in (size, size - rope)]
        if part < stage:
            fits = fit[1] >= min(fit[0], capacity.group_rows)
        else:
            fits = fit[1] >= capacity.group_rows and arena.size - rope >= pages
        if rope and fits and (part < stage or not sizing.config.qk_norm):
            break
    else:
        return 0
    arena.names["part_rope"] = (arena.size - rope, rope)
    arena.names["part_turned"] = (extra, nbytes)
    if sizing.config.qk_norm:
        for number, name in enumerate(("part_head", "part_turned")):
            arena.names[name] = (extra + number * nbytes // 2, nbytes // 2)
    arena.names["part_sums"] = arena.names["lin_scale"]
    return rope


def a_slot(room: int) -> int:
    """Bytes of a slot of activations, where they come in chunks."""
    return max(room, 0) // A_SLOTS // ARENA_ALIGN * ARENA_ALIGN


def _rooms(p: Precision, size: int) -> tuple[int, int]:
    """Bytes divided between elements and their scales."""
    if not p.block:
        return max(size, 0), 0
    blocks = max(size, 0) // (p.data_bytes(p.block) + 1) // ARENA_ALIGN * ARENA_ALIGN
    return blocks * p.data_bytes(p.block), blocks
