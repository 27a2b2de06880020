"""What every phase's lowering shares: the code, the plan, and the tokens between units (tokens.py).

Row groups: a step of many rows gives each group of clusters its own rows, so that weights are
brought once for all and activations stay in the group. Tiles of a group are its lanes. The fewest
groups are taken whose buffers hold the step's rows; a step of few rows has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.buffers import Buffers, Bytes, Rows
from compiler.config import ModelConfig
from compiler.emit import ZERO, Code, Desc, Reg, Scaled, Sem, Value
from compiler.hbm import Capacity, Hbm
from compiler.lower.tokens import IN, OUT, Tokens
from compiler.options import Options
from compiler.precision import Precision
from compiler.tile_memory import PART_SLOTS, TilePlan
from isa.chip import Chip
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format, ScaleKind

if TYPE_CHECKING:
    from compiler.lower.stream import Stream


@dataclass(frozen=True)
class Plan:
    """Everything decided before instructions are written."""

    config: ModelConfig
    options: Options
    activations: Precision
    capacity: Capacity
    chip: Chip
    hbm: Hbm
    buffers: Buffers
    tile: TilePlan

    @property
    def groups(self) -> tuple[int, ...]:
        """Numbers of row groups a step may have, ascending."""
        need = -(-self.capacity.rows // self.capacity.group_rows)
        ways = [n for n in range(1, self.chip.clusters + 1) if self.chip.clusters % n == 0]
        return tuple(n for n in ways if n == 1 or ways[ways.index(n) - 1] < need)


def owes(plan: Plan) -> bool:
    """Whether weights may wait until attention's pages are on their way."""
    return not {"pages-first", "prefetch"} & set(plan.options.without)


class Lowering:
    """The state of a lowering: code, plan, tokens and the registers that live all step long."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.code = Code()
        self.tokens = Tokens(self.code)
        self.rows, self.segments, self.wanted = Reg(1), Reg(2), Reg(3)
        self.tile = self.code.reg()
        self.layer = self.code.reg()
        self.groups = self.code.reg()
        self.slot = self.code.reg()  # of the weight ring
        # Where the weight stream is: matrices of layers to come; panels before the block << 32,
        # plus the depth.
        self.w_left, self.w_at = self.code.reg(), self.code.reg()
        without = plan.options.without
        # The phase that the stream may not leave, without prefetch. With it, chunks that are owed
        # until pages are read; below 0, see `ring`.
        self.limit = self.code.reg() if "prefetch" in without else None
        self.due = ZERO if "prefetch" in without else self.code.reg()
        groups = plan.groups
        self.most_groups = groups[-1]
        self.stream: Stream

    def start(self) -> None:
        """At the head of `step`: the registers that live all step long (others are zero)."""
        self.code.emit("rdsr", rd=self.tile, special="TILE_ID")
        code, each = self.code, self.plan.capacity.group_rows
        code.set(self.groups, 1)
        enough = code.label("enough_groups")
        for groups in self.plan.groups:
            code.set(self.groups, groups)
            if groups < self.most_groups:
                code.emit("blt", ra=self.rows, b=groups * each + 1, target=enough)
        code.place(enough)

    # -- phases --------------------------------------------------------------------------------

    @contextmanager
    def phase(self, name: str, first: bool = False, last: bool = False) -> Iterator[None]:
        """A phase: dma4 starts behind the last barrier, dma5 ends with the next."""
        code, tokens = self.code, self.tokens
        with code.op(name), code.scope():
            if not first:
                self.pass_barrier()
            code.signal(IN, tokens.order)
            yield
            code.wait(OUT, tokens.order)
            if not last:
                self._reach_barrier()

    def halfway(self) -> None:
        """A barrier inside a phase, for those steps that need one; dma4 goes on behind it."""
        code, tokens = self.code, self.tokens
        code.wait(OUT, tokens.order)
        self._reach_barrier()
        self.pass_barrier()
        code.signal(IN, tokens.order)

    def _reach_barrier(self) -> None:
        """This tile's results are out; the first of a cluster says so for all of them."""
        code, tokens, chip = self.code, self.tokens, self.plan.chip
        with code.scope():
            first = code.rdsr("CLUSTER_ID")
            code.alu("mul", first, first, chip.tiles_per_cluster)
            code.signal_tile(OUT, tokens.arrived, first)
            with code.unless("ne", first, self.tile):
                code.wait(OUT, tokens.arrived, chip.tiles_per_cluster)
                code.signal(OUT, tokens.barrier, 1, "all")

    def pass_barrier(self) -> None:
        """dma4 waits until every tile's results are out."""
        self.code.wait(IN, self.tokens.barrier, self.plan.chip.clusters)

    def initial_tokens(self) -> tuple[tuple[Sem, int], ...]:
        """What `reset` hands out: empty slots of every buffer."""
        tokens = self.tokens
        return (
            (tokens.in_free, 1),
            (tokens.out_free, 1),
            (tokens.old_free, PART_SLOTS),
            (tokens.part_free, PART_SLOTS),
            (tokens.const_free, 1),
            (tokens.column_free, 1),
            *((sem, self.plan.chip.tiles_per_cluster) for sem in tokens.a_free),
            (tokens.stage_free, 1),
            (tokens.q_free, 2),
            (tokens.k_free, self.plan.tile.page_slots),
            (tokens.v_free, self.plan.tile.page_slots),
            (tokens.k_room, self.plan.tile.page_slots),
            (tokens.v_room, self.plan.tile.page_slots),
            (tokens.partial_free, 1),
            (tokens.k_over, 1),
            (tokens.v_over, 1),
        )

    # -- row groups ----------------------------------------------------------------------------

    def lanes(self) -> Reg:
        """A new register: tiles of a row group."""
        return self._of_group(self.plan.chip.num_tiles)

    def group_clusters(self) -> Reg:
        """A new register: clusters of a row group, each with a copy of the group's rows."""
        return self._of_group(self.plan.chip.clusters)

    def _of_group(self, count: int) -> Reg:
        code = self.code
        share = code.reg(count)
        return share if self.most_groups == 1 else code.alu("divu", share, share, self.groups)

    def place(self) -> tuple[Reg, Reg]:
        """New registers: this tile's row group, and its lane (its number in the group)."""
        lanes = self.lanes()
        group = self.code.calc("divu", self.tile, lanes)
        return group, self.code.alu("remu", lanes, self.tile, lanes)

    def group(self) -> Reg:
        """A new register: this tile's row group."""
        group = self.lanes()
        return self.code.alu("divu", group, self.tile, group)

    def rows_each(self) -> Reg:
        """A new register: rows of every group but, perhaps, the last ones."""
        code = self.code
        if self.most_groups == 1:
            return code.reg(self.rows)
        count = code.calc("add", self.rows, self.groups)
        code.alu("add", count, count, -1)
        return code.alu("divu", count, count, self.groups)

    def group_rows(self, group: Reg) -> tuple[Reg, Reg]:
        """New registers: first row of a group in the step, and how many it has."""
        code = self.code
        count = self.rows_each()
        first = code.calc("mul", group, count)
        with code.scope():
            left = code.calc("sub", self.rows, first)
            code.alu("min", count, count, left)
        return first, code.alu("max", count, count, 0)

    def own_rows(self) -> Reg:
        """A new register: rows of this tile's group."""
        code, count = self.code, self.code.reg(self.rows)
        if self.most_groups > 1:
            with code.scope():
                code.set(count, self.group_rows(self.group())[1])
        return count

    def first_row(self) -> Reg:
        """A new register: first row of this tile's group in the step."""
        code = self.code
        if self.most_groups == 1:
            return code.reg(0)
        first = self.group()
        with code.scope():
            code.alu("mul", first, first, self.rows_each())
        return first

    # -- sharing work --------------------------------------------------------------------------

    def share(self, count: Value, alone: bool = False) -> tuple[Reg, Reg]:
        """This lane's part [begin, end) of `count` things: lane*count/lanes, rounded down.

        `alone`: the things are not a row group's but everybody's, and every tile is a lane.
        """
        code = self.code
        begin, end = code.reg(), code.reg(count)
        with code.scope():
            if alone or self.most_groups == 1:
                lanes: Value = self.plan.chip.num_tiles
                code.alu("mul", begin, end, self.tile)
            else:
                lanes = self.lanes()
                lane = code.calc("remu", self.tile, lanes)
                code.alu("mul", begin, end, lane)
            code.alu("add", end, end, begin)
            code.alu("divu", begin, begin, lanes)
            code.alu("divu", end, end, lanes)
        return begin, end

    # -- buffers -------------------------------------------------------------------------------

    def source(
        self,
        part: Bytes,
        view: Descriptor,
        row: Reg | None = None,
        *adds: tuple[str, Value | Scaled],
        **dims: Value,
    ) -> Desc:
        """A descriptor of an activation buffer, from a row of the own group on, to be read."""
        return self.fill_source(self.code.desc(), (part, view, row), *adds, **dims)

    def fill_source(
        self,
        desc: Desc,
        place: tuple[Bytes, Descriptor, Reg | None],
        *adds: tuple[str, Value | Scaled],
        **dims: Value,
    ) -> Desc:
        """The same in a register at hand. In HBM there is one copy of all groups' rows."""
        code, (part, view, row) = self.code, place
        code.fill(desc, view, *adds, **dims)
        with code.scope():
            if part.grouped and part.space is Space.HBM and self.most_groups > 1:
                first = self.first_row()
                code.alu("mul", first, first, part.row_bytes)
                code.emit("dadd", dst=desc, field="base", b=first)
            if row is not None:
                offset = code.calc("mul", row, part.row_bytes)
                code.emit("dadd", dst=desc, field="base", b=offset)
        return desc

    def target(
        self,
        part: Bytes,
        view: Descriptor,
        row: Reg | None = None,
        *adds: tuple[str, Value | Scaled],
        **dims: Value,
    ) -> Desc:
        """The same as a DMA destination: in all clusters that have a copy."""
        desc = self.source(part, view, row, *adds, **dims)
        if part.space is Space.CSRAM:
            self._everywhere(desc, part)
        return desc

    def _everywhere(self, dst: Desc, part: Bytes) -> None:
        code = self.code
        if not part.grouped or self.most_groups == 1:
            code.emit("dset", dst=dst, field="owner", b=0)
            code.emit("dset", dst=dst, field="fan", b=self.plan.chip.clusters)
        else:
            with code.scope():
                clusters, owner = self.group_clusters(), self.group()
                code.emit("dset", dst=dst, field="fan", b=clusters)
                code.alu("mul", owner, owner, clusters)
                code.emit("dset", dst=dst, field="owner", b=owner)
        code.emit("dset", dst=dst, field="fanstep", b=1)

    # -- descriptors ---------------------------------------------------------------------------

    def tsram(
        self, name: str, fmt: Format, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
    ) -> Descriptor:
        """A tensor at a named place of the tile's SRAM; dense unless strides are given."""
        base = self.plan.tile.at[name]
        return Descriptor(Space.TSRAM, fmt, shape, strides or contiguous(shape), base)

    def acc(self, rows: int, columns: int, base: int = 0) -> Descriptor:
        """FP32 [rows, columns] in the accumulator."""
        return Descriptor(Space.ACC, Format.FP32, (rows, columns), (columns, 1), base)

    def hbm(self, name: str, fmt: Format, shape: tuple[int, ...]) -> Descriptor:
        """A dense tensor at a named place of HBM."""
        return Descriptor(Space.HBM, fmt, shape, contiguous(shape), self.plan.hbm.base[name])

    # -- quantisation --------------------------------------------------------------------------

    def quantised(self, data: str, scale: str, rows: int, columns: int) -> Descriptor:
        """[rows, columns] in the activation format at named places of TSRAM."""
        p = self.plan.activations
        at = self.plan.tile.at
        width = p.data_bytes(columns) * 8 // p.bits
        scale_width = p.scale_bytes(columns)
        return Descriptor(
            Space.TSRAM,
            p.element,
            (rows, columns),
            (width, 1),
            at[data],
            scale_kind=p.scale_kind,
            scale=at[scale] if p.block else 0,
            scale_strides=(scale_width, 1) if p.scale_kind is not ScaleKind.NONE else (0, 0),
        )

    def quantise(self, dst: Desc, src: Desc, row_scale: Desc | None) -> None:
        """dst = src in the activation format."""
        p, code = self.plan.activations, self.code
        suffix = ".floor" if self.plan.options.scale_mode == "floor" else ""
        if p.scale_kind is ScaleKind.MX32:
            code.emit("vquant" + suffix, dst=dst, src=src)
        elif p.scale_kind is ScaleKind.NV16:
            code.emit("vquant", dst=dst, src=src, ts=1.0)
        elif p.row_scaled:
            assert row_scale is not None
            code.emit("vquantr" + suffix, dst=dst, scale=row_scale, src=src)
        else:
            code.emit("vcvt", dst=dst, a=src)

    def send(self, rows: Rows, data: str, scale: str, first: Reg, count: Value, width: int) -> None:
        """Queue on dma5: `count` whole rows from TSRAM to a buffer, from row `first`."""
        p, code = rows.precision, self.code
        parts = [(rows.data, data, p.data_bytes(width))]
        if rows.scales is not None:
            parts.append((rows.scales, scale, p.scale_bytes(width)))
        for buffer, place, nbytes in reversed(parts):  # the scales' latency is behind the elements
            with code.scope():
                target = buffer.whole(Format.U8, 1, nbytes)
                dst = self.target(buffer, target, first, dim0=count)
                source = self.tsram(place, Format.U8, (1, *target.shape[1:]))
                src = code.tensor(source, dim0=count)
                code.emit("dma", channel=OUT, dst=dst, src=src)
        if rows.row_scale is not None:
            self._send_row_scales(rows.row_scale, scale, first, count)

    def _send_row_scales(self, buffer: Bytes, scale: str, first: Reg, count: Value) -> None:
        code = self.code
        with code.scope():
            dst = self.target(buffer, buffer.view(Format.U8, 1, 1), first, dim0=count)
            src = code.tensor(self.tsram(scale, Format.U8, (1, 1)), dim0=count)
            code.emit("dma", channel=OUT, dst=dst, src=src)
