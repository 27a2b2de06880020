"""What phases other than products need in a tile's SRAM: they use the same memory in turn.

Attention's pages may lie apart from it, so that they can come while other phases run.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arena import ALIGN as ARENA_ALIGN
from compiler.arena import Arena, DoesNotFit
from compiler.buffers import partial_bytes
from compiler.config import ModelConfig
from compiler.fuse import Phases
from compiler.hbm import PAGE, Capacity, rope_columns
from compiler.matrices import Matrix
from compiler.precision import KV_FORMATS, Precision
from compiler.tiling import RULES, Tiling
from isa.chip import Chip
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format

LANES_A_NORM = 32  # for each row that is normalised at a time: more, and starts count for little
NORM_SLOTS = 2  # of rows to be normalised: some come while others are worked on


class KnobDoesNotFit(DoesNotFit):
    """A knob of the tiling cannot have its value, whatever the others have."""


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
    whole_heads: bool  #: lanes may take whole heads of q, k and v in steps of several row groups
    tiling: Tiling = RULES


@dataclass(frozen=True)
class PhaseSizes:
    """What phases but the linear ones take at once: see TilePlan."""

    norm_rows: int
    head_rows: int
    attend_rows: int
    page_slots: int
    pages_ahead: bool
    fold_pages: int
    lent_slots: int
    lent_bytes: int


def place_phases(
    arena: Arena, sizing: Sizing, capacity: Capacity, span: tuple[int, int], slot: int | None
) -> PhaseSizes:
    """Attention first, whose pages may lie apart from what phases use in turn; then the others.

    `span`: where the memory of the linear phases begins and ends; the arena's top is where all of
    it does. `slot`: bytes of a slot of weights, which such pages may lend; None: not apart.
    """
    base, end = span
    arena.top = base
    rows, slots, ahead = _pages(arena, sizing, end, slot is not None)
    top, size = arena.top, arena.size
    tops, lent = [top], (0, 0)
    if ahead:
        arena.size = arena.names["k_block"][0]
        lent = _lent(2 * arena.names["k_block"][1], slot or 0, sizing.tiling.lent)
    elif sizing.tiling.lent:
        raise KnobDoesNotFit("lent: no room for pages apart from what phases use in turn")
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
    return PhaseSizes(found["norm"], found["heads"], rows, slots, ahead, fold_pages, *lent)


def _norm(arena: Arena, sizing: Sizing, capacity: Capacity) -> int:
    requantised = [p.ops[0].columns for p in sizing.phases.layer if p.kind == "requantise"]
    width = max(sizing.config.hidden, *requantised, 0)
    base = arena.top
    most = max(sizing.chip.tile.vpu.lanes // LANES_A_NORM, 4)
    for rows in (1 << n for n in reversed(range(most.bit_length()))):
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


MOST_LENT = 2  # slots of weights that pages lend: more would be used too late (estimate)


LEAST_LENT = 0.75  # of a slot: chunks are seldom as large as it is (estimate)


def _pages(arena: Arena, sizing: Sizing, end: int, apart: bool) -> tuple[int, int, bool]:
    """Slots of KV pages, and the rest of attention: query rows, slots, and whether they are apart.

    Slots beyond all that the phases use in turn can be filled while other phases run. Most rows
    count first, then slots apart from the rest, then their number.
    """
    config, base = sizing.config, arena.top
    element = 2 if KV_FORMATS[sizing.kv] == Format.BF16 else 1
    page = PAGE * config.head_dim * element
    best: tuple[int, bool, int] | None = None
    for slots, ahead in _page_slots(sizing, apart):
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


def _page_slots(sizing: Sizing, apart: bool) -> list[tuple[int, bool]]:
    """Slots of KV pages to try, and whether they lie apart from the rest."""
    given = sizing.tiling.page_slots
    if given is not None:
        return [(given, False), (given, True)] if apart else [(given, False)]
    found = [(2, False), (4, False)]
    if apart:
        found += [(slots, True) for slots in range(2, 7)]
        if sizing.chip.tile.mxu.columns >= 2 * PAGE:  # two pages are multiplied at once
            found.append((8, True))
    return found


def _lent(have: int, slot: int, given: int | None) -> tuple[int, int]:
    """Slots of weights that `have` bytes of pages can be, and bytes of one: nearly a whole slot."""
    for count in range(MOST_LENT, 0, -1) if given is None else range(given, 0, -1):
        nbytes = have // count // ARENA_ALIGN * ARENA_ALIGN
        if nbytes >= slot * LEAST_LENT:
            return count, min(nbytes, slot)
        if given is not None:
            raise KnobDoesNotFit(f"lent: {have} bytes of pages")
    return 0, 0


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
    base, given = arena.top, sizing.tiling.attend_rows
    if given is not None and given % group:
        raise KnobDoesNotFit(f"attend_rows: no multiple of the {group} query heads of a KV head")
    for queries in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1) if given is None else (given,):
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


def part_rope_bytes(sizing: Sizing, capacity: Capacity, part: int, panels: int) -> int:
    """Bytes of RoPE's rows of a part, if lanes take whole heads; else 0.

    They do where the fewest row groups have a head for each lane, and a head is not read out in
    pieces. `part`: elements of a part; `panels`: of a region, of all rows of a row group.
    """
    config, chip = sizing.config, sizing.chip
    qkv = next(m for m in sizing.matrices if m.name == "qkv")
    unit = config.head_dim // PANEL_COLUMNS
    several = [n for n in range(2, chip.clusters + 1) if chip.clusters % n == 0]
    if not sizing.whole_heads or capacity.rows <= capacity.group_rows or not several:
        return 0
    if config.head_dim % PANEL_COLUMNS or panels < unit or (qkv.bias_sources and config.qk_norm):
        return 0
    if config.heads + 2 * config.kv_heads < chip.num_tiles // several[0]:
        return 0
    return part // (panels * PANEL_COLUMNS) * rope_columns(config) * 4


def place_sample(arena: Arena, sizing: Sizing, capacity: Capacity, rankings: int) -> None:
    """Places of sampling, from the top on: candidates of all tiles, and what is picked of them."""
    candidates = sizing.chip.num_tiles * rankings * capacity.top_k
    arena.take("cand_values", 4 * candidates)
    for name in ("pick_values", "pick_order", "pick_ids", "pick_p", "pick_sum", "pick_flag"):
        arena.take(name, 4 * capacity.top_k)
    arena.take("pick_mask", capacity.top_k)
    for name in ("pick_threshold", "pick_index", "pick_token"):
        arena.take(name, 4)
