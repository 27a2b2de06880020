"""Where everything lies in HBM: the program's regions and the addresses the code uses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.arena import Arena, DoesNotFit
from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.matrices import Matrix
from compiler.precision import KV_FORMATS
from isa.chip import Chip
from isa.formats import Format

PAGE = 128  # positions of a KV page: one attention block of the arithmetic contract
WANTED_WORDS = 4  # a wanted row's entry: row, L/T (FP32), u (FP32), top k
REGION_ALIGN = 65536


@dataclass(frozen=True)
class RegionPlan:
    """A region of HBM before it has bytes."""

    name: str
    base: int
    size: int
    writable: bool
    klass: str


@dataclass(frozen=True)
class Hbm:
    """Addresses (bytes) by name, and the regions they lie in."""

    regions: tuple[RegionPlan, ...]
    base: dict[str, int]
    matrices: dict[str, Matrix]

    @property
    def end(self) -> int:
        """Bytes of HBM that are needed: one past the last region."""
        return max(region.base + region.size for region in self.regions)

    def region(self, name: str) -> RegionPlan:
        """A region by name."""
        return next(region for region in self.regions if region.name == name)


@dataclass(frozen=True)
class Capacity:
    """How much one step and the cache hold; ``group_rows``: one row group's part of a step."""

    rows: int
    group_rows: int
    wanted: int
    sequences: int
    context: int
    top_k: int

    @property
    def blocks(self) -> int:
        """KV pages of one sequence."""
        return -(-self.context // PAGE)

    @property
    def pages(self) -> int:
        """KV pages in all."""
        return self.sequences * self.blocks


class _Builder:
    def __init__(self, size: int) -> None:
        self.arena = Arena("HBM", size, REGION_ALIGN)
        self.regions: list[RegionPlan] = []

    def add(self, name: str, nbytes: int, klass: str, writable: bool = False) -> int:
        base = self.arena.take(name, nbytes)
        self.regions.append(RegionPlan(name, base, nbytes, writable, klass))
        return base


def layout_hbm(
    config: ModelConfig,
    matrices: tuple[Matrix, ...],
    capacity: Capacity,
    kv: str,
    spill: int,
    chip: Chip,
) -> Hbm:
    """Place every region. `spill`: bytes of activations that do not fit CSRAM."""
    build = _Builder(chip.hbm.bytes)
    try:
        return _layout(build, config, matrices, capacity, kv, spill)
    except DoesNotFit as problem:
        raise CompileError(
            f"the model does not fit {chip.name}: {problem}; choose a smaller --context or "
            "--sequences, or narrower formats; to time it all the same, --no-weights "
            "--ignore-capacity"
        ) from None


def _layout(
    build: _Builder,
    config: ModelConfig,
    matrices: tuple[Matrix, ...],
    capacity: Capacity,
    kv: str,
    spill: int,
) -> Hbm:
    base = {
        "rows": build.add("rows", 12 * capacity.rows, "control", True),
        "wanted": build.add("wanted", 16 * capacity.wanted, "control", True),
        "segments": build.add("segments", 16 * capacity.sequences, "control", True),
        "pages": build.add("pages", 4 * capacity.pages, "control", True),
        "windows": build.add("windows", 4 * config.layers, "control"),
        "embed": build.add("embed", 2 * config.vocab * config.hidden, "embeddings"),
        "norms": build.add("norms", 4 * norm_floats(config), "weights"),
        "rope": build.add("rope", 4 * capacity.context * rope_columns(config), "tables"),
    }
    placed = {matrix.name: _place(build, matrix) for matrix in matrices}
    element = 2 if KV_FORMATS[kv] == Format.BF16 else 1
    cache = config.layers * config.kv_heads * capacity.pages * PAGE * config.head_dim * element
    base["k_cache"] = build.add("k_cache", cache, "kv", True)
    base["v_cache"] = build.add("v_cache", cache, "kv", True)
    base["logits"] = build.add("logits", 4 * capacity.wanted * config.vocab, "io", True)
    base["next"] = build.add("next", 4 * capacity.wanted, "io", True)
    ranked = 4 * capacity.wanted * capacity.top_k
    base["ranked"] = build.add("ranked", ranked, "io", True)
    base["ranked_ids"] = build.add("ranked_ids", ranked, "io", True)
    base["spill"] = build.add("activations", spill, "activations", True) if spill else 0
    return Hbm(tuple(build.regions), base, placed)


def _place(build: _Builder, matrix: Matrix) -> Matrix:
    name, layers = matrix.name, matrix.layers
    data = build.add(f"{name}.data", layers * matrix.data_bytes, "weights")
    scales = columns = bias = -1
    if matrix.precision.block:
        scales = build.add(f"{name}.scales", layers * matrix.scales_bytes, "scales")
    if matrix.precision.column_scaled:
        columns = build.add(f"{name}.columns", layers * matrix.vector_bytes, "scales")
    if matrix.bias_sources:
        bias = build.add(f"{name}.bias", layers * matrix.vector_bytes, "weights")
    return replace(matrix, data=data, scales=scales, columns=columns, bias=bias)


def rope_columns(config: ModelConfig) -> int:
    """FP32 values per position of the RoPE table: cos, -sin, sin, each of half a head."""
    return 3 * (config.head_dim // 2)


def norm_floats(config: ModelConfig) -> int:
    """FP32 gains: per layer attention, MLP and head norms (q, k), then the final norm."""
    return config.layers * norm_stride(config) + config.hidden


def norm_stride(config: ModelConfig) -> int:
    """FP32 gains of one layer: attn_norm, mlp_norm, and with qk_norm the q and k head norms."""
    return 2 * config.hidden + (2 * config.head_dim if config.qk_norm else 0)
