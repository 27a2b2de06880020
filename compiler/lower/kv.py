"""Where keys and values lie: the cache in HBM; in CSRAM copies of pages, and of a step's rows."""

from __future__ import annotations

from collections.abc import Callable

from compiler.emit import Reg, Scaled
from compiler.hbm import PAGE
from compiler.lower.attention_items import PAGE_ROW, segment_word
from compiler.lower.context import Lowering, Plan
from compiler.lower.tokens import KEYS, VALUES
from compiler.precision import KV_FORMATS
from isa.descriptor import Descriptor, Space
from isa.formats import Format

PARTS = ("k", "v")

# Addresses of pages: bytes from the cache's start, or below 0: a place in a cluster's CSRAM, plus
# CLUSTER for each cluster before it (less one for the tile's own), less FAR.
CLUSTER = 1 << 36  #: more than any place in CSRAM
FAR = CLUSTER << 13  #: more than any place in any cluster's
OWN = -CLUSTER


def reads_early(plan: Plan) -> bool:
    """Whether pages are read before the step's own keys are known, which come from CSRAM then."""
    wanted = "early-pages" not in plan.options.without
    return wanted and plan.tile.pages_ahead and "kv_new" in plan.buffers.raw


def early(lo: Lowering) -> bool:
    """Whether the program does (see `reads_early`)."""
    return reads_early(lo.plan)


def kv_format(lo: Lowering) -> Format:
    """The format of keys and values."""
    return KV_FORMATS[lo.plan.options.kv]


def row_bytes(lo: Lowering) -> int:
    """Bytes of one position of one head."""
    return lo.plan.config.head_dim * (2 if kv_format(lo) is Format.BF16 else 1)


def page_bytes(lo: Lowering) -> int:
    """Bytes of one head's page of keys or values."""
    return PAGE * row_bytes(lo)


def in_halves(plan: Plan, pages: int) -> bool:
    """Whether a page comes by two channels: one has too few requests under way for so many."""
    dma = plan.chip.tile.dma
    element = 2 if KV_FORMATS[plan.options.kv] is Format.BF16 else 1
    return pages * PAGE * plan.config.head_dim * element > dma.outstanding * dma.request_bytes


def cache_bytes(lo: Lowering) -> int:
    """Bytes from one head's pages to the next head's."""
    return lo.plan.capacity.pages * page_bytes(lo)


def cache_view(lo: Lowering, part: str, rows: int) -> Descriptor:
    """[rows, head_dim] of the cache: by default the first pages of layer 0, head 0."""
    dim = lo.plan.config.head_dim
    base = lo.plan.hbm.base[f"{part}_cache"]
    return Descriptor(Space.HBM, kv_format(lo), (rows, dim), (dim, 1), base)


def page_number(lo: Lowering, segment: Reg, block: Reg, dst: Reg | None = None) -> Reg:
    """In a new register or `dst`: which page of the cache a block of a sequence is."""
    code = lo.code
    page = segment_word(lo, segment, PAGE_ROW, dst)
    code.alu("mul", page, page, lo.plan.capacity.blocks)
    code.alu("add", page, page, block)
    with code.scope():
        table = code.tensor(lo.tsram("pages", Format.I32, (lo.plan.capacity.pages,)))
        code.emit("ld", rd=page, src=table, index=page)
    return page


def layer_head(lo: Lowering, head: Reg) -> Reg:
    """A new register: which KV head of all layers' a head of this layer is."""
    index = lo.code.calc("mul", lo.layer, lo.plan.config.kv_heads)
    return lo.code.alu("add", index, index, head)


def cache_offset(lo: Lowering, head: Reg) -> Reg:
    """A new register: bytes from the cache's start to this layer's pages of a KV head."""
    index = layer_head(lo, head)
    return lo.code.alu("mul", index, index, cache_bytes(lo))


def cache_page(lo: Lowering, head: Reg, page: Reg) -> Reg:
    """`page`, the number of a page, becomes bytes from the cache's start to it, of this layer."""
    code = lo.code
    code.alu("mul", page, page, page_bytes(lo))
    with code.scope():
        return code.alu("add", page, page, cache_offset(lo, head))


def copy_view(lo: Lowering, part: str, rows: int) -> Descriptor:
    """[rows, head_dim] of the keys or values of a copy of a page at the head of the own CSRAM."""
    dim, base = lo.plan.config.head_dim, PARTS.index(part) * page_bytes(lo)
    return Descriptor(Space.CSRAM, kv_format(lo), (rows, dim), (dim, 1), base)


def crosswise(lo: Lowering, into: Reg | None = None) -> Reg:
    """In a new register or `into`: the tile's number, counted across clusters: j C + c.

    Tile j of cluster c of C. Modulo the KV heads it is a head whose resident pages are in this
    cluster, where heads are a multiple of clusters.
    """
    code, chip = lo.code, lo.plan.chip
    number = code.alu("remu", into or code.reg(), lo.tile, chip.tiles_per_cluster)
    code.alu("mul", number, number, chip.clusters)
    with code.scope():
        return code.alu("add", number, number, code.rdsr("CLUSTER_ID"))


def new_row_bytes(lo: Lowering) -> int:
    """Bytes of a row of the copies: every head's keys, or values."""
    return lo.plan.config.kv_heads * row_bytes(lo)


def new_view(lo: Lowering, part: str, columns: int, written: bool = False) -> Descriptor:
    """[1, columns] of this step's keys or values in CSRAM: rows of the step, head after head."""
    place, config = lo.plan.buffers.raw["kv_new"], lo.plan.config
    base = place.base + PARTS.index(part) * lo.plan.capacity.rows * new_row_bytes(lo)
    return Descriptor(
        Space.CSRAM,
        kv_format(lo),
        (1, columns),
        (config.kv_heads * config.head_dim, 1),
        base,
        owner=0 if written else -1,
        fan=lo.plan.chip.clusters if written else 1,
        fanstep=1 if written else 0,
    )


def write_cache(lo: Lowering) -> None:
    """Queue on dma6 and dma7: this step's keys and values from their copies to the cache."""
    each_head(lo, _scatter)


def each_head(lo: Lowering, write: Callable[[Lowering, Reg, Reg, Reg], None]) -> None:
    """A tile takes some of the rows of a head, or (where heads are more than tiles) some heads.

    `write` is given the head, the first row and how many, and may use these two up.
    """
    code, tiles = lo.code, lo.plan.chip.num_tiles
    heads = lo.plan.config.kv_heads
    ways = max(1, tiles // heads)
    done = code.label("cached")
    with code.scope():
        head = crosswise(lo)
        first = code.calc("divu", head, heads)
        code.emit("bge", ra=first, b=ways, target=done)
        code.alu("remu", head, head, heads)
        code.alu("mul", first, first, lo.rows)
        count, top = code.calc("add", first, lo.rows), code.label("head")
        code.alu("divu", first, first, ways)
        code.alu("divu", count, count, ways)
        code.alu("sub", count, count, first)
        code.emit("beq", ra=count, b=0, target=done)
        code.place(top)
        write(lo, head, first, count)
        if heads > tiles:
            code.set(first, 0)
            code.set(count, lo.rows)
            code.alu("add", head, head, tiles)
            code.emit("blt", ra=head, b=heads, target=top)
    code.place(done)


def _scatter(lo: Lowering, head: Reg, first: Reg, count: Reg) -> None:
    """Rows of a head to their places in the cache: kv_rows holds page * 128 + slot."""
    code, dim = lo.code, lo.plan.config.head_dim
    for unit, part in ((KEYS, "k"), (VALUES, "v")):
        with code.scope():
            view = cache_view(lo, part, lo.plan.capacity.pages * PAGE)
            dst = code.tensor(view, ("base", cache_offset(lo, head)))
            entries = lo.tsram("kv_rows", Format.I32, (1,))
            index = code.tensor(entries, ("base", Scaled(first, 4)), dim0=count)
            rows, column = Scaled(first, new_row_bytes(lo)), Scaled(head, row_bytes(lo))
            src = code.tensor(new_view(lo, part, dim), ("base", rows), ("base", column), dim0=count)
            code.emit("dmas", channel=unit, dst=dst, src=src, index=index)
