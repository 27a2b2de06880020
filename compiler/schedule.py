"""The schedule: how a plan's step is cut up, where each piece lies, and what orders its use.

    found = schedule(plan)
    print(found.dump())
    verify_schedule(found, code)

The lowering writes code that works these numbers out from the step's rows as it runs; here they are
worked out once more, by themselves, for people to read and for checks to hold the code against.

A **regime** is what all steps of a range of rows have in common: how many row groups there are, and
so how many tiles share a matrix's columns. A **cut** says how one lane's part of a matrix goes
through its tile in a regime. A **life** is a place in SRAM: who fills it, who uses it, and the two
semaphores that keep one from getting ahead of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.emit import Code, Line, Sem
from compiler.errors import CompileError
from compiler.lower.attention_split import split_bytes
from compiler.lower.context import Plan
from compiler.lower.cutting import HEAD, a_slot_bytes, most_resident, ring_elements
from compiler.lower.kv import reads_early
from compiler.lower.linear import most_fused
from compiler.lower.lives import LIVES, SEVERAL, Life, Pair
from compiler.lower.tokens import Tokens
from compiler.matrices import Matrix
from compiler.stage_sizes import STAGE_PANELS
from compiler.tile_memory import PART_SLOTS
from isa.descriptor import PANEL_COLUMNS


@dataclass(frozen=True)
class Regime:
    """Steps of up to `rows` rows: `groups` row groups of `lanes` tiles, `each` rows at most."""

    rows: int
    groups: int
    lanes: int
    each: int
    ring: int  #: slots of the weight ring
    stage: int  #: elements that are read out at a time


@dataclass(frozen=True)
class Cut:
    """A matrix in a regime: the panels of the lane with most, and what it works on at a time."""

    matrix: str
    panels: int
    block: int
    depth: int
    chunks: int
    chunk_bytes: int  #: of weights, without scales
    resident: bool  #: all of K of the activations is in the tile at once


@dataclass(frozen=True)
class Schedule:
    """A plan's regimes, cuts (by regime), and lives."""

    plan: Plan
    regimes: tuple[Regime, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    lives: tuple[Life, ...]

    def dump(self) -> str:
        """The schedule as text: a table of cuts for each regime, and the lives."""
        lines: list[str] = []
        fused = most_fused(self.plan)
        for regime, cuts in zip(self.regimes, self.cuts, strict=True):
            lines += _dump_regime(regime, cuts)
        if fused:
            lines.append(f"steps of up to {fused} rows: norms on every tile, in front of products")
        lines.append(_dump_one_row(self.plan))
        if self.plan.tile.head.parts > 1:
            lines.append(_dump_head(self.plan))
        lines.append("weights: " + " -> ".join(name for name in self._stream()))
        lines.append("places in a tile (filled by -> used by; semaphores full/free):")
        for life in self.lives:
            lines.append(f"  {life.text()}")
        return "\n".join(lines)

    def _stream(self) -> Iterator[str]:
        names = [name for name in self.plan.hbm.matrices if name != HEAD]
        yield f"({', '.join(names)}) x {self.plan.config.layers}"
        yield HEAD


def schedule(plan: Plan) -> Schedule:
    """The schedule of a plan."""
    regimes = tuple(_regimes(plan))
    cuts = tuple(
        tuple(cut(plan, regime, matrix) for matrix in plan.hbm.matrices.values())
        for regime in regimes
    )
    return Schedule(plan, regimes, cuts, LIVES)


def _regimes(plan: Plan) -> Iterator[Regime]:
    chip, tile, each = plan.chip, plan.tile, plan.capacity.group_rows
    wide = tile.wide_stage > tile.stage
    for groups in plan.groups:
        rows = min(groups * each, plan.capacity.rows)
        several = groups > 1 and wide
        yield Regime(
            rows,
            groups,
            chip.num_tiles // groups,
            -(-rows // groups),
            tile.w_depth - several,
            tile.wide_stage if several else tile.stage,
        )


def cut(plan: Plan, regime: Regime, matrix: Matrix) -> Cut:
    """How a matrix is cut in a regime, on the lane that has most of it, with all rows."""
    tile, alone = plan.tile, matrix.name == HEAD
    lanes = plan.chip.num_tiles if alone else regime.lanes
    rows = plan.capacity.wanted if alone else regime.each
    units, unit = _units(plan, regime, matrix)
    most = min(-(-units // lanes) * unit, matrix.panels)
    block = max(1, min(most, tile.block_panels))
    k, bits = matrix.k_stored, matrix.precision.bits
    resident = rows <= most_resident(plan, matrix, regime.groups > 1)
    if (resident or unit > matrix.unit) and len(plan.groups) > 1 and not alone:
        block = min(block, regime.stage // PANEL_COLUMNS // rows // STAGE_PANELS * STAGE_PANELS)
        block = block // unit * unit if unit > matrix.unit else block
    depth = tile.w_slot * 8 // bits // PANEL_COLUMNS // block
    if not resident:
        depth = min(depth, ring_elements(plan, alone) // rows)
    depth = depth // tile.align * tile.align
    chunks = -(-k // depth)
    even = -(-k // chunks)
    depth = min(k, -(-even // tile.align) * tile.align)
    panels = _most_panels(matrix, lanes, units, unit)
    nbytes = depth * min(block, panels) * PANEL_COLUMNS * bits // 8
    return Cut(matrix.name, panels, block, depth, -(-k // depth), nbytes, resident)


def _units(plan: Plan, regime: Regime, matrix: Matrix) -> tuple[int, int]:
    """What lanes share: units of a matrix, or heads, and panels of one."""
    config = plan.config
    if matrix.name != "qkv" or regime.groups == 1 or "part_rope" not in plan.tile.at:
        return matrix.units, matrix.unit
    return config.heads + 2 * config.kv_heads, config.head_dim // PANEL_COLUMNS


def _most_panels(matrix: Matrix, lanes: int, units: int, unit: int) -> int:
    """Panels of the lane that has most: its last unit may be a smaller one."""
    edges = [min(n * units // lanes * unit, matrix.panels) for n in range(lanes + 1)]
    return max(end - begin for begin, end in itertools.pairwise(edges))


def _dump_regime(regime: Regime, cuts: tuple[Cut, ...]) -> Iterator[str]:
    groups = "one row group" if regime.groups == 1 else f"{regime.groups} row groups"
    yield (
        f"steps of up to {regime.rows} rows: {groups} of {regime.lanes} tiles, "
        f"{regime.ring} slots of weights, {regime.stage} elements read out at a time"
    )
    yield "  matrix     panels  block   depth  chunks     bytes  activations"
    for one in cuts:
        how = "all of K" if one.resident else "by chunks"
        blocks = -(-one.panels // one.block)
        yield (
            f"  {one.matrix:<9} {one.panels:>7} {one.block:>6} {one.depth:>7} "
            f"{one.chunks * blocks:>7} {one.chunk_bytes:>9}  {how}"
        )


def _dump_head(plan: Plan) -> str:
    """How logits come that have no room together."""
    head = plan.tile.head
    return f"logits of a tile: {head.parts} parts of {head.part_panels} panels, and what is left"


def _dump_one_row(plan: Plan) -> str:
    """What a step of one row does."""
    how = [
        "norms with products" if most_fused(plan) else "norms in phases of their own",
        "pages before the step's keys" if reads_early(plan) else "pages behind a barrier",
        "pages on all tiles" if split_bytes(plan) else "a head's pages on one tile",
    ]
    return f"a step of one row: {', '.join(how)}"


# -- checks --------------------------------------------------------------------------------------


def verify_schedule(found: Schedule, code: Code, tokens: Tokens) -> None:
    """No resource has more asked of it than it has; every place's uses are ordered by waits.

    Raises CompileError, which is a defect of the compiler.
    """
    for regime, cuts in zip(found.regimes, found.cuts, strict=True):
        for one in cuts:
            _check_cut(found.plan, regime, one)
    _check_places(found)
    pairs = [(life, pair) for life in found.lives for pair in life.pairs(tokens)]
    both = {(pair.full, pair.free) for _, pair in pairs}
    for life, pair in pairs:
        alone = sum(pair.full in two or pair.free in two for two in both) == 1
        check_life(life, code.lines, pair, alone)


def _check_cut(plan: Plan, regime: Regime, one: Cut) -> None:
    tile, matrix = plan.tile, plan.hbm.matrices[one.matrix]
    rows = plan.capacity.wanted if one.matrix == HEAD else regime.each
    columns = one.block * PANEL_COLUMNS
    scales = matrix.precision.scale_bytes(one.depth) * columns
    _check(one.chunk_bytes <= tile.w_slot, f"{one.matrix}: a chunk is larger than a slot")
    _check(scales <= tile.w_scale_slot, f"{one.matrix}: a chunk's scales are more than a slot's")
    _check(2 * 4 * rows * columns <= plan.chip.tile.acc.bytes, f"{one.matrix}: beyond ACC")
    _check(rows * STAGE_PANELS * PANEL_COLUMNS <= regime.stage, f"{one.matrix}: beyond the stage")
    _check(tile.stage // PART_SLOTS >= STAGE_PANELS * PANEL_COLUMNS, "a part has no row")
    if not one.resident:
        data, scale_slot = a_slot_bytes(plan, one.matrix == HEAD)
        p = plan.activations
        _check(rows * p.data_bytes(one.depth) <= data, f"{one.matrix}: activations beyond a slot")
        _check(rows * p.scale_bytes(one.depth) <= scale_slot, f"{one.matrix}: scales beyond a slot")


def _check_places(found: Schedule) -> None:
    """Places that are alive at the same time do not overlap."""
    tile = found.plan.tile
    for phase in sorted({name for life in found.lives for name in life.phases}):
        names = {
            place
            for life in found.lives
            if phase in life.phases or not life.phases
            for place in life.places
            if place in tile.at
        }
        if tile.pages_ahead and phase != SEVERAL:
            names |= {"k_block", "v_block"}
        alive = sorted((tile.at[name], tile.at[name] + tile.sizes[name], name) for name in names)
        for (_, end, before), (begin, _, after) in itertools.pairwise(alive):
            _check(end <= begin, f"{phase}: {before} overlaps {after}")
        _check(not alive or alive[-1][1] <= tile.size, f"{phase}: beyond the tile's memory")
    lent = tile.lent_slots * tile.lent_bytes
    _check(not lent or lent <= 2 * tile.sizes["k_block"], "lent: beyond the pages' memory")
    rope = tile.at.get("part_rope", tile.size)
    _check(tile.at["a_data"] + tile.wide_room <= rope, f"{SEVERAL}: activations beyond their room")


def check_life(life: Life, lines: list[Line], pair: Pair, alone: bool) -> None:
    """Each filling is behind a wait for room, each use behind one for it; and both tell the other.

    In every operation that does one of the two it must do the other, if the semaphores are `alone`,
    of no other pair: that a step's counts are right, and that no access comes before its wait, is
    for `emu run --check` to say.
    """
    what = f"{', '.join(life.places)}: {{}}"
    full, free = pair.full, pair.free
    used = [line for line in lines if line.mnemonic in ("wait", "signal")]
    if not any(line.fields["sem"] == full for line in used):
        return  # this program has no such place
    uses = _ops(used, "wait", full, pair.user)
    fills = _ops(used, "signal", full, pair.maker)
    _check(bool(uses), what.format("is used without a wait"))
    _check(bool(fills), what.format("is never said to be full"))
    if free is None:
        return
    frees = _ops(used, "signal", free, pair.freer)
    rooms = _ops(used, "wait", free, pair.maker)
    _check(bool(rooms), what.format("is filled without a wait"))
    _check(bool(frees), what.format("is never said to be free"))
    if alone:
        _check(fills <= rooms, what.format("is filled without a wait in some operation"))
        ring = isinstance(life.maker, tuple)  # whose slots are taken back at the end of a step
        _check(ring or rooms <= fills, what.format("is not said to be full in some operation"))
        _check(uses <= frees, what.format("is not said to be free in some operation"))
        _check(frees <= uses, what.format("is used without a wait in some operation"))


def _ops(lines: list[Line], mnemonic: str, sem: Sem, unit: str) -> set[int]:
    """Operations in which the unit does so; none if others do, but the control processor."""
    found = [line for line in lines if line.mnemonic == mnemonic and line.fields["sem"] == sem]
    others = {str(line.fields["unit"]) for line in found} - {"ctl", unit}
    return set() if others else {line.op for line in found if line.fields["unit"] == unit}


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise CompileError(f"internal: schedule: {problem}")
