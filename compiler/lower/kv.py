"""Where keys and values lie: the cache in HBM, and copies of a step's own rows in CSRAM."""

from __future__ import annotations

from compiler.emit import Reg
from compiler.hbm import PAGE
from compiler.lower.context import Lowering
from compiler.precision import KV_FORMATS
from isa.descriptor import Descriptor, Space
from isa.formats import Format

PARTS = ("k", "v")


def early(lo: Lowering) -> bool:
    """Whether pages are read before the step's own keys are known, which come from CSRAM then."""
    plan = lo.plan
    wanted = "early-pages" not in plan.options.without
    return wanted and plan.tile.pages_ahead and "kv_new" in plan.buffers.raw


def kv_format(lo: Lowering) -> Format:
    """The format of keys and values."""
    return KV_FORMATS[lo.plan.options.kv]


def row_bytes(lo: Lowering) -> int:
    """Bytes of one position of one head."""
    return lo.plan.config.head_dim * (2 if kv_format(lo) is Format.BF16 else 1)


def page_bytes(lo: Lowering) -> int:
    """Bytes of one head's page of keys or values."""
    return PAGE * row_bytes(lo)


def cache_bytes(lo: Lowering) -> int:
    """Bytes from one head's pages to the next head's."""
    return lo.plan.capacity.pages * page_bytes(lo)


def cache_view(lo: Lowering, part: str, rows: int) -> Descriptor:
    """[rows, head_dim] of the cache: by default the first pages of layer 0, head 0."""
    dim = lo.plan.config.head_dim
    base = lo.plan.hbm.base[f"{part}_cache"]
    return Descriptor(Space.HBM, kv_format(lo), (rows, dim), (dim, 1), base)


def cache_offset(lo: Lowering, head: Reg) -> Reg:
    """A new register: bytes from the cache's start to this layer's pages of a KV head."""
    code, config = lo.code, lo.plan.config
    index = code.calc("mul", lo.layer, config.kv_heads)
    code.alu("add", index, index, head)
    return code.alu("mul", index, index, cache_bytes(lo))


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
        fan=place.fan if written else 1,
        fanstep=1 if written else 0,
    )
